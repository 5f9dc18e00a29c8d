"""Where the object comes from that a trigger creates or changes: the manifest itself, a file, a web address,
a ConfigMap.

It is read at every try, as upstream does, so a changed file counts from the next action on. Of several
places the first counts, in upstream's order (``pkg/sensors/artifacts/store.go``): s3, inline, file, url,
git, configmap, resource. The text is YAML by Kubernetes' rules. Parameters are set by the runtime
afterwards.
"""

from __future__ import annotations

import asyncio
import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from argosy.connecting import mounts
from argosy.errors import Rejected, TriggerError
from argosy.manifests import _yaml
from argosy.manifests.fields import ArtifactLocation, URLSource
from argosy.triggers import _http

if TYPE_CHECKING:
    from argosy.triggers._base import TriggerContext

_MOST_BYTES = 4 * 2**20  # no API server takes an object that is larger
_MOST_BYTES_URL = 512 * 1024  # upstream's limit; it cuts there, which leaves half an object
_URL_SECONDS = 60.0


async def fetch(location: ArtifactLocation, ctx: TriggerContext) -> dict[str, Any]:
    """The object as JSON has it, the caller's own. Raises Rejected if it is none, TriggerError if it cannot
    be had now.
    """
    if location.s3 is not None:
        raise _later("s3")
    if location.inline is not None:
        return parse(location.inline, "source.inline")
    if location.file is not None:
        text = await asyncio.to_thread(read, Path(location.file.path))
        return parse(text, f"source.file {location.file.path!r}")
    if location.url is not None:
        return parse(await _download(location.url), f"source.url {_http.place(location.url.path)!r}")
    if location.git is not None:
        raise _later("git")
    if location.configmap is not None:
        selector = location.configmap
        return parse(ctx.config_map(selector), f"source.configmap, key {selector.key!r} of {selector.name!r}")
    if location.resource is not None:
        return copy.deepcopy(location.resource)
    raise Rejected("source names no place: give one of resource, inline, file, url, configmap")


def _later(place: str) -> Rejected:
    return Rejected(
        f"source.{place} comes with a later version of Argosy; use resource, inline, file, url or configmap"
    )


def parse(text: str, what: str) -> dict[str, Any]:
    """The object in a YAML text. Raises Rejected, which names ``what`` it is the text of."""
    # Upstream reads the first document and leaves the rest; here too, one action makes one object.
    first = next(_yaml.documents(text), None)
    if first is None:
        raise Rejected(f"{what} is empty; it should hold the object")
    if isinstance(first, _yaml.Fault):
        raise Rejected(f"{what} is not YAML: line {first.line}, column {first.column}: {first.message}")
    if not isinstance(first.value, dict):
        raise Rejected(f"{what} holds no object: a Kubernetes object begins with apiVersion and kind")
    return first.value


def read(path: Path) -> str:
    """The text of ``source.file``. Raises TriggerError where it cannot be read now, Rejected where it is no such text."""
    try:
        with path.open("rb") as file:
            raw = file.read(_MOST_BYTES + 1)
        if len(raw) > _MOST_BYTES:
            raise Rejected(f"source.file {str(path)!r} is larger than {_MOST_BYTES // 2**20} MiB; no object is")
        return raw.decode()
    except OSError as error:
        raise TriggerError(f"source.file {str(path)!r} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise Rejected(f"source.file {str(path)!r} is not text in UTF-8") from error


async def _download(source: URLSource) -> str:
    import httpx2

    what = f"source.url {_http.place(source.path)!r}"
    # Upstream's default is not to verify; here it must be said (verifyCert: false).
    verified = source.verify_cert is not False
    try:
        async with asyncio.timeout(_URL_SECONDS):
            with _http.sentences(what):
                trust = await asyncio.to_thread(_http.trust, verified)
                async with httpx2.AsyncClient(verify=trust, timeout=None, mounts=mounts(verify=trust)) as client:
                    request = client.build_request("GET", source.path)
                    response = await _http.send(client, request, link_local=False)
                    try:
                        if response.status_code != 200:
                            raise TriggerError(f"{what} answered {response.status_code}, not 200")
                        raw = b"".join([piece async for piece in _http.read(response, _MOST_BYTES_URL + 1)])
                    finally:
                        await response.aclose()
    except TimeoutError as error:
        raise TriggerError(f"{what} did not answer within {_URL_SECONDS:g} s") from error
    if len(raw) > _MOST_BYTES_URL:
        raise Rejected(f"{what} is larger than {_MOST_BYTES_URL // 1024} KiB")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise Rejected(f"{what} is not text in UTF-8") from error
