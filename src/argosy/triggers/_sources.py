"""Where the object comes from that a trigger creates or changes: the manifest itself, a file, a web address,
a git repository, a bucket, a ConfigMap.

It is looked at for every try, as upstream does, so a change counts from the next action on; but what is unchanged is not brought
again: a web server and a bucket are asked whether there is something new, a repository is fetched into a copy that stays, and a
text is parsed once. Of several places the first counts, in upstream's order (``pkg/sensors/artifacts/store.go``): s3, inline,
file, url, git, configmap, resource. The text is YAML by Kubernetes' rules. Parameters are set by the runtime
afterwards.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from argosy.errors import Rejected, TriggerError
from argosy.manifests import _yaml
from argosy.manifests.artifacts import ArtifactLocation, URLSource
from argosy.triggers import _http
from argosy.triggers._git import Repositories
from argosy.triggers._http_clients import Clients, Tls, of_environment
from argosy.triggers._source_s3 import Buckets

if TYPE_CHECKING:
    from argosy.triggers._base import TriggerContext

_MOST_BYTES = 4 * 2**20  # no API server takes an object that is larger
_MOST_BYTES_URL = 512 * 1024  # upstream's limit; it cuts there, which leaves half an object
_URL_SECONDS = 60.0
_VALIDATORS = {"ETag": "If-None-Match", "Last-Modified": "If-Modified-Since"}


class Objects:
    """Reads the object of one trigger, whenever it is asked; a context manager that keeps connections and copies."""

    def __init__(self, ctx: TriggerContext) -> None:
        self._ctx = ctx
        self._held = contextlib.AsyncExitStack()
        self._parsed: tuple[str, str, dict[str, Any]] | None = None
        self._clients = Clients()
        self._page: _Page | None = None
        self._repositories: Repositories | None = None
        self._buckets: Buckets | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._held.aclose()
        await self._clients.close()

    async def fetch(self, location: ArtifactLocation) -> dict[str, Any]:
        """The object as JSON has it, the caller's own. Raises Rejected if it is none, TriggerError if it cannot
        be had now.
        """
        if location.s3 is not None:
            if self._buckets is None:
                self._buckets = await self._held.enter_async_context(Buckets(self._ctx))
            raw = await self._buckets.read(location.s3, _MOST_BYTES)
            key, bucket = (location.s3.bucket.key, location.s3.bucket.name) if location.s3.bucket else ("", "")
            what = f"source.s3 {key!r} of bucket {bucket!r}"
            return self._object(_text(raw, what), what)
        if location.inline is not None:
            return self._object(location.inline, "source.inline")
        if location.file is not None:
            text = await asyncio.to_thread(read, Path(location.file.path))
            return self._object(text, f"source.file {location.file.path!r}")
        if location.url is not None:
            return self._object(await self._download(location.url), f"source.url {_http.place(location.url.path)!r}")
        if location.git is not None:
            if self._repositories is None:
                self._repositories = self._held.enter_context(Repositories(self._ctx, self._clients))
            raw = await self._repositories.read(location.git, _MOST_BYTES)
            what = f"source.git, {location.git.file_path!r} of {_http.place(location.git.url)!r}"
            return self._object(_text(raw, what), what)
        if location.configmap is not None:
            selector = location.configmap
            what = f"source.configmap, key {selector.key!r} of {selector.name!r}"
            return self._object(self._ctx.config_map(selector), what)
        if location.resource is not None:
            return copy.deepcopy(location.resource)
        raise Rejected("source names no place: give one of resource, inline, file, url, git, configmap, s3")

    def _object(self, text: str, what: str) -> dict[str, Any]:
        if self._parsed is None or self._parsed[:2] != (text, what):
            self._parsed = (text, what, parse(text, what))
        return copy.deepcopy(self._parsed[2])

    async def _download(self, source: URLSource) -> str:
        what = f"source.url {_http.place(source.path)!r}"
        # Upstream's default is not to verify; here it must be said (verifyCert: false).
        before = self._page if self._page is not None and self._page.address == source.path else None
        tls = Tls(verified=source.verify_cert is not False)
        try:
            async with (
                asyncio.timeout(_URL_SECONDS),
                self._clients.use(tls, of_environment(source.path), "") as client,
            ):
                with _http.sentences(what):
                    request = client.build_request("GET", source.path, headers=before.conditions if before else {})
                    response, raw = await _http.ask(client, request, _MOST_BYTES_URL + 1)
        except TimeoutError as error:
            raise TriggerError(f"{what} did not answer within {_URL_SECONDS:g} s") from error
        if before is not None and response.status_code == 304:
            return before.text
        if response.status_code != 200:
            raise TriggerError(f"{what} answered {response.status_code}, not 200")
        if len(raw) > _MOST_BYTES_URL:
            raise Rejected(f"{what} is larger than {_MOST_BYTES_URL // 1024} KiB")
        text = _text(raw, what)
        found = {_VALIDATORS[name]: response.headers[name] for name in _VALIDATORS if name in response.headers}
        self._page = _Page(source.path, text, found) if found else None
        return text


class _Page(NamedTuple):
    """What a web server last said, and by which headers it can tell whether that still holds."""

    address: str
    text: str
    conditions: dict[str, str]


def _text(raw: bytes, what: str) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise Rejected(f"{what} is not text in UTF-8") from error


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
