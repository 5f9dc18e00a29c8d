"""The volumes of a pod as folders on this machine, written and renewed as a kubelet does it.

Files of Secrets, ConfigMaps, the pod's own fields and service account tokens lie in a folder with a time for a name; ``..data``
points to it, each file's own name to ``..data/<name>``, and a change swaps ``..data`` in one rename. An emptyDir is anybody's
to write. A claim becomes a folder that is root's, as most provisioners give it, and stays until the claim goes; ``fsGroup``
opens both kinds as it does on a cluster.
"""

from __future__ import annotations

import base64
import os
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tests.cluster.watched import Object, Watched


class NotYet(Exception):
    """Something that a pod needs is not there; it is tried again. The message says what."""


class Source(NamedTuple):
    """Where the contents of volumes come from."""

    secrets: Watched
    config_maps: Watched
    token: Callable[[Object, Mapping[str, Any]], str]
    """A new token of the pod's account, for a ``serviceAccountToken`` block."""
    claims: Path
    """The folder with a folder for each PersistentVolumeClaim."""


class Volume:
    """One volume of a pod. ``folder`` is what is mounted."""

    def __init__(self, pod: Object, block: Mapping[str, Any], place: Path, source: Source) -> None:
        self.name: str = block["name"]
        self._pod = pod
        self._block = block
        self._source = source
        self._group: int | None = (pod["spec"].get("securityContext") or {}).get("fsGroup")
        self._held: dict[str, tuple[bytes, int]] | None = None
        self._tokens: dict[str, tuple[str, float]] = {}
        claim = block.get("persistentVolumeClaim")
        if claim:
            self.folder = source.claims / pod["metadata"]["namespace"] / claim["claimName"]
        else:
            self.folder = place / self.name
        self.plain = bool(claim) or "emptyDir" in block
        if not self.plain and not {"secret", "configMap", "projected", "downwardAPI"} & block.keys():
            raise NotImplementedError(f"this kubelet has no volumes like {block!r}")

    def renew(self) -> None:
        """Bring the files up to date. Raises NotYet."""
        if self.plain:
            if not self.folder.exists():
                self.folder.mkdir(parents=True)
                self._open()
            return
        wanted = self._files()
        if wanted == self._held:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o755)
        fresh = self.folder / f"..{time.time_ns()}"
        fresh.mkdir()
        for name, (content, mode) in wanted.items():
            file = fresh / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
            if self._group is not None:
                os.chown(file, -1, self._group)
                mode |= 0o040
            file.chmod(mode)
        data, swap = self.folder / "..data", self.folder / "..data_tmp"
        old = self.folder / os.readlink(data) if data.is_symlink() else None
        swap.symlink_to(fresh.name)
        swap.rename(data)
        shown = {name.split("/")[0] for name in wanted}
        for name in shown:
            if not (self.folder / name).is_symlink():
                (self.folder / name).symlink_to(f"..data/{name}")
        for link in self.folder.iterdir():
            if not link.name.startswith("..") and link.name not in shown:
                link.unlink()
        if old is not None:
            shutil.rmtree(old)
        self._held = wanted

    def _open(self) -> None:
        if "emptyDir" in self._block:
            self.folder.chmod(0o777)
        if self._group is not None:
            os.chown(self.folder, -1, self._group)
            self.folder.chmod(self.folder.stat().st_mode | 0o2070)

    def _files(self) -> dict[str, tuple[bytes, int]]:
        """Every file, with its mode. Raises NotYet."""
        block = self._block
        if "projected" in block:
            mode = block["projected"].get("defaultMode", 0o644)
            found: dict[str, tuple[bytes, int]] = {}
            for each in block["projected"].get("sources") or ():
                ((kind, about),) = each.items()
                found |= self._of(kind, about, mode)
            return found
        kind = next(kind for kind in ("secret", "configMap", "downwardAPI") if kind in block)
        return self._of(kind, block[kind] or {}, (block[kind] or {}).get("defaultMode", 0o644))

    def _of(self, kind: str, about: Mapping[str, Any], mode: int) -> dict[str, tuple[bytes, int]]:
        if kind == "serviceAccountToken":
            return {about["path"]: (self._token(about).encode(), 0o644 if self._group is None else 0o600)}
        if kind == "downwardAPI":
            return {
                item["path"]: (field(self._pod, item["fieldRef"]["fieldPath"]).encode(), item.get("mode", mode))
                for item in about.get("items") or ()
            }
        name = about.get("secretName") or about.get("name") or ""
        namespace = self._pod["metadata"]["namespace"]
        found = (self._source.secrets if kind == "secret" else self._source.config_maps).get(namespace, name)
        if found is None:
            if about.get("optional"):
                return {}
            raise NotYet(f'{kind} "{name}" not found')
        values = contents(kind, found)
        if "items" not in about:
            return {key: (value, mode) for key, value in values.items()}
        lacking = [item["key"] for item in about["items"] if item["key"] not in values]
        if lacking and not about.get("optional"):
            raise NotYet(f'{kind} "{name}" has no key {lacking[0]!r}')
        return {
            item["path"]: (values[item["key"]], item.get("mode", mode))
            for item in about["items"]
            if item["key"] in values
        }

    def _token(self, about: Mapping[str, Any]) -> str:
        """The token that is held, or a new one where four fifths of its time are over, as a kubelet renews it."""
        seconds = about.get("expirationSeconds", 3600)
        held = self._tokens.get(about["path"])
        if held is None or time.time() > held[1]:
            held = (self._source.token(self._pod, about), time.time() + 0.8 * seconds)
            self._tokens[about["path"]] = held
        return held[0]


def contents(kind: str, found: Object) -> dict[str, bytes]:
    """What a Secret or a ConfigMap holds."""
    if kind == "secret":
        return {key: base64.b64decode(value) for key, value in (found.get("data") or {}).items()}
    plain = {key: value.encode() for key, value in (found.get("data") or {}).items()}
    return plain | {key: base64.b64decode(value) for key, value in (found.get("binaryData") or {}).items()}


def field(pod: Object, path: str) -> str:
    """A field of the pod, as the downward API names it."""
    metadata, spec = pod["metadata"], pod["spec"]
    if path.endswith("']"):
        kind, _, key = path.removesuffix("']").partition("['")
        return str((metadata.get(kind.removeprefix("metadata.")) or {}).get(key, ""))
    if path in ("metadata.labels", "metadata.annotations"):
        held = metadata.get(path.removeprefix("metadata.")) or {}
        return "\n".join(f'{key}="{value}"' for key, value in sorted(held.items()))
    known = {
        "metadata.name": metadata["name"],
        "metadata.namespace": metadata["namespace"],
        "metadata.uid": metadata["uid"],
        "spec.nodeName": spec.get("nodeName", ""),
        "spec.serviceAccountName": spec.get("serviceAccountName", ""),
        "status.podIP": pod["status"].get("podIP", ""),
        "status.podIPs": pod["status"].get("podIP", ""),
        "status.hostIP": pod["status"].get("hostIP", ""),
    }
    if path not in known:
        raise NotImplementedError(f"this kubelet does not know the field {path!r}")
    return str(known[path])
