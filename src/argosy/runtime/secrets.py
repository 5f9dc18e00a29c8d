"""Where secrets come from: Secret manifests, what is mounted in a pod, a folder, the environment; in this order. Values are never logged.

In a pod of one object its Secrets are mounted at ``/argo-events/secrets/<secret>/<key>``, its ConfigMaps at ``/argo-events/config/<name>/<key>``,
and what opens the bus at ``/etc/eventbus/auth/auth.yaml`` (upstream's paths); the kubelet keeps them fresh. A folder holds ``<namespace>/<secret>/<key>`` or ``<secret>/<key>`` (what Kubernetes mounts). A variable is called
``ARGOSY_SECRET_<SECRET>_<KEY>``, upper case, with everything that is no letter or digit as ``_``; ``ARGOSY_CONFIG_…`` for ConfigMaps.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, quote_plus

from argosy.errors import SecretMissing
from argosy.manifests.fields import ConfigMapKeySelector, SecretKeySelector

Values = Mapping[tuple[str, str], Mapping[str, str]]
"""(namespace, name) to key to text."""

_SHORTEST = 5
"""A shorter secret is not looked for in texts: it would be found in words that have nothing to do with it."""


def _variable(kind: str, name: str, key: str) -> str:
    return f"ARGOSY_{kind}_" + re.sub(r"[^A-Z0-9]", "_", f"{name}_{key}".upper())


@dataclass(frozen=True)
class Mounts:
    """What the kubelet mounts below ``root``. ``access`` names the Secret and the key that open the bus, which has a place of its own."""

    root: Path = Path("/")
    access: tuple[str, str] | None = None

    def paths(self, what: str, name: str, key: str) -> list[Path]:
        """Where this key of a ``Secret`` or ``ConfigMap`` may be."""
        found = [self.root / "argo-events" / ("secrets" if what == "Secret" else "config") / name / key]
        if what == "Secret" and (name, key) == self.access:
            found.append(self.root / "etc/eventbus/auth/auth.yaml")
        return found


class Secrets:
    """Looks secrets and config maps up, each time anew, so that a rotated value is seen. ``update`` replaces the manifests' part."""

    def __init__(self, folder: Path | None = None, *, mounts: Mounts | None = None) -> None:
        self._folder = folder
        self._mounts = mounts
        self._secrets: Values = {}
        self._config_maps: Values = {}
        self._read: dict[tuple[str, str, str], str] = {}

    def update(self, secrets: Values, config_maps: Values) -> bool:
        """Take the values of newly loaded manifests in place of the former ones; whether they are others."""
        changed = (self._secrets, self._config_maps) != (secrets, config_maps)
        self._secrets = secrets
        self._config_maps = config_maps
        return changed

    def secret(self, namespace: str, selector: SecretKeySelector) -> str:
        """The secret's text, one trailing newline cut. Raises SecretMissing with all places that were looked at."""
        value = self._find(namespace, selector.name, selector.key, "Secret", "SECRET", self._secrets)
        self._read[namespace, selector.name, selector.key] = value
        return value

    def hidden(self, text: str) -> str:
        """The text without the secrets that were read here or stand in manifests, also as a URL writes them: for words of others that leave
        the process.
        """
        known = {*self._read.values(), *(value.strip() for held in self._secrets.values() for value in held.values())}
        for value in sorted(known, key=len, reverse=True):
            if len(value) >= _SHORTEST:
                for written in (value, quote(value, safe=""), quote_plus(value)):
                    text = text.replace(written, "***")
        return text

    def config_map(self, namespace: str, selector: ConfigMapKeySelector) -> str:
        """As ``secret``, for ConfigMaps."""
        return self._find(namespace, selector.name, selector.key, "ConfigMap", "CONFIG", self._config_maps)

    def _find(self, namespace: str, name: str, key: str, what: str, kind: str, manifests: Values) -> str:
        held = manifests.get((namespace, name))
        if held is not None and key in held:
            return held[key].removesuffix("\n")
        places = [f"no {what} manifest {name!r} in namespace {namespace!r} has it"]
        for path in self._paths(namespace, what, name, key):
            try:
                return path.read_text().removesuffix("\n")
            except OSError as error:
                places.append(f"{path}: {error.strerror}")
            except ValueError:
                places.append(f"{path}: is not text in UTF-8")
        variable = _variable(kind, name, key)
        if variable in os.environ:
            return os.environ[variable].removesuffix("\n")
        places.append(f"the variable {variable} is not set")
        raise SecretMissing(f"key {key!r} of {what} {name!r} cannot be found: {'; '.join(places)}")

    def _paths(self, namespace: str, what: str, name: str, key: str) -> list[Path]:
        """The files that may hold the value, the first that does counts."""
        # None of the three may lead out of the folder.
        if {namespace, name, key} & {"", ".", ".."} or "/" in namespace + name + key:
            return []
        paths = self._mounts.paths(what, name, key) if self._mounts is not None else []
        if self._folder is not None:
            paths += [self._folder / namespace / name / key, self._folder / name / key]
        return paths
