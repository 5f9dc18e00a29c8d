"""What the Kubernetes API's words mean: the kinds it serves, and its refusals as our errors with what to do.

The rules are those of the Kubernetes API conventions ("HTTP status codes", "Response status kind"). Whether
another try can help is decided here once, for triggers and sources alike.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, NoReturn
from urllib.parse import quote

import orjson

from argosy import retry_after
from argosy.errors import Rejected, RetryAfter, TriggerError

PatchStrategy = Literal[
    "application/merge-patch+json",
    "application/json-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
]
"""The patch types of the API (Kubernetes API conventions, "patch operations")."""


class NotFound(TriggerError):
    """The object, its namespace, or the kind itself is not there (404)."""


class KindUnknown(TriggerError):
    """The server does not serve this API version (yet): its definition is not installed."""


class Conflict(TriggerError):
    """The object was changed by someone else since it was read (409)."""


class AlreadyExists(Conflict):
    """An object of this name is there already (409)."""


class Expired(TriggerError):
    """The server no longer remembers that resource version (410): list again, then watch from there."""


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind as the server serves it. ``group`` is empty for the core API."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool
    verbs: frozenset[str] = frozenset()

    @property
    def api_version(self) -> str:
        """``v1``, ``apps/v1``: what stands in ``apiVersion``."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str | None = None, part: str = "") -> str:
        """The path of the collection, of one object, or of a part of it (a subresource, such as ``status``). ``namespace`` None
        means all namespaces, or none.
        """
        parts = [root(self.api_version)]
        if self.namespaced and namespace:
            parts += ["namespaces", quote(namespace, safe="")]
        parts.append(self.plural)
        if name is not None:
            parts.append(quote(name, safe=""))
        if part:
            parts.append(part)
        return "/".join(parts)


class Call(NamedTuple):
    """What was asked, for the sentence if it fails."""

    verb: str
    resource: Resource | None = None
    namespace: str | None = None
    name: str | None = None
    part: str = ""

    def __str__(self) -> str:
        if self.resource is None:
            return self.verb
        group = f".{self.resource.group}" if self.resource.group else ""
        part = f"/{self.part}" if self.part else ""
        what = f"{self.verb} {self.resource.plural}{part}{group}"
        name = f" {self.name!r}" if self.name else ""
        where = f" in namespace {self.namespace!r}" if self.namespace and self.resource.namespaced else ""
        return what + name + where


def root(api_version: str) -> str:
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"


def status_of(raw: bytes) -> dict[str, Any]:
    """The server's Status object; where a proxy answered in its place, its text as the message."""
    try:
        status = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return {"message": raw[:200].decode(errors="replace").strip()}
    return status if isinstance(status, dict) else {}


def refuse(code: int, status: dict[str, Any], headers: Mapping[str, str], call: Call) -> NoReturn:
    """Raise what a failed call means (Kubernetes API conventions, "HTTP status codes" and "Response status
    kind").
    """
    details = status.get("details") or {}
    reason, said = status.get("reason") or "", str(status.get("message") or f"HTTP {code}")
    if call.resource is not None and call.resource.plural == "secrets" and code in (400, 422):
        said = "the object is not valid (the server's words may quote the secret, so they are left out)"
        details = {}
    sentence = f"{call}: {said}"
    if code == 401:
        raise TriggerError(f"{call}: the Kubernetes API does not accept our credentials; renew them")
    if code == 403 and "exceeded quota" in said:
        raise TriggerError(sentence)  # the server says Forbidden, but room may come back
    if code == 403:
        raise Rejected(sentence + _grant(call, said))
    if code == 404:
        raise NotFound(sentence)
    if code == 409 and reason == "AlreadyExists":
        raise AlreadyExists(sentence)
    if code == 409:
        raise Conflict(sentence)
    if code == 410:
        raise Expired(sentence)
    wait = retry_after.seconds(headers.get("Retry-After") or str(details.get("retryAfterSeconds") or ""))
    if code == 429 or code >= 500:
        raise RetryAfter(sentence, wait) if wait is not None else TriggerError(sentence)
    causes = [f"{cause.get('field') or 'object'}: {cause.get('message')}" for cause in details.get("causes") or ()]
    unsaid = [cause for cause in causes if cause not in said]
    raise Rejected(sentence + (f" ({'; '.join(unsaid)})" if unsaid else ""))


def _grant(call: Call, said: str) -> str:
    """How to allow the call, if it was the server's access rules that refused it (and not an admission
    webhook).
    """
    resource = call.resource
    if resource is None or "cannot " not in said:
        return ""
    what = f"{resource.plural}.{resource.group}" if resource.group else resource.plural
    what += f"/{call.part}" if call.part else ""
    if resource.namespaced and call.namespace:
        role, where = "role", f" -n {call.namespace}"
    else:
        role, where = "clusterrole", ""
    name = f"argosy-{resource.plural}"
    return (
        f"; to allow it: kubectl create {role} {name} --verb={call.verb} --resource={what}{where}, "
        f"and bind it to that user with kubectl create {role}binding"
    )


async def lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The lines of a stream, as bytes: no decoding, no matter how they were cut into chunks."""
    rest: list[bytes] = []
    async for chunk in chunks:
        *whole, last = chunk.split(b"\n")
        for line in whole:
            rest.append(line)
            if text := b"".join(rest):
                yield text
            rest.clear()
        rest.append(last)


_TOKENS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]')
_DEEPEST = 400


def read(text: bytes) -> Any:
    """What a JSON text of the API server says. Raises orjson.JSONDecodeError.

    The server keeps objects that are nested deeper than can be read here. They must not hide all others of a list, so what is in the depth
    is read as null; what is left is still too deep to be valid.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return orjson.loads(_cut(text))


def _cut(text: bytes) -> bytes:
    parts, kept_from, depth = [], 0, 0
    for found in _TOKENS.finditer(text):
        token = found[0]
        if token in (b"{", b"["):
            depth += 1
            if depth == _DEEPEST:
                parts += [text[kept_from : found.start()], b"null"]
        elif token in (b"}", b"]"):
            if depth == _DEEPEST:
                kept_from = found.end()
            depth -= 1
    return b"".join([*parts, text[kept_from:]])
