"""One conversation with Nautobot's REST API: requests in the name of a token, pages, and what a refusal says.

Nautobot answers a refusal with JSON: ``{"detail": …}``, or the fields with their errors. 401 and 403 are about the token, 404 is an unknown endpoint
or an object that is gone, 409 an object that others need. Two refusals pass when another action has done its part, and are tried again: what others need, and
a reference to what is not there yet. It ignores fields that it does not know without a word; what it knows, ``OPTIONS`` tells.
Sources: docs.nautobot.com "REST API Overview" and the answers of Nautobot 3.2.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import orjson

from argosy.errors import Rejected, TriggerError
from argosy.manifests.fields import Json
from argosy.triggers import _http
from argosy.triggers._egress import Egress

if TYPE_CHECKING:
    import httpx2

MOST_MATCHES = 1000
"""How many objects one lookup may look at."""
_PAGE = 50
_MOST_BYTES = 16 * 1024 * 1024
_LONGEST_SAYING = 600
_NO_SUCH_VALUE = "is not one of the available choices"
_NO_SUCH_OBJECT = "Related object not found"

Object = dict[str, Any]


class Refused(Rejected):
    """Nautobot said no, with a status of 400 to 499."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Api:
    """The API behind ``base`` (``https://nautobot.example.com/api``). Each request may take ``seconds``."""

    client: httpx2.AsyncClient
    base: str
    token: str = field(repr=False)
    traceparent: str
    egress: Egress
    seconds: float

    async def search(self, endpoint: str, filters: Sequence[tuple[str, str]], depth: int) -> list[Object]:
        """All objects that pass the filters, page by page, with related objects to this depth.

        Raises Rejected where they are more than ``MOST_MATCHES``.
        """
        found: dict[str, Object] = {}
        offset = 0
        while True:
            query = [*filters, ("depth", str(depth)), ("limit", str(_PAGE)), ("offset", str(offset))]
            try:
                answer = await self.ask("GET", f"{endpoint}/", query)
            except Refused as refused:
                if refused.status == 400 and _NO_SUCH_VALUE in str(refused):
                    return []  # what the filter names is not there, so nothing is in it
                raise
            if not isinstance(answer, dict) or not isinstance(answer.get("results"), list):
                raise Rejected(
                    f"{self._what('GET', endpoint + '/')} answered with something else than a list of objects"
                )
            page, count = answer["results"], int(answer.get("count") or 0)
            if count > MOST_MATCHES:
                said = ", ".join(f"{name}={value}" for name, value in filters)
                raise Rejected(f"{count} objects of {endpoint!r} have {said}; name more fields in 'key'")
            found.update((str(each.get("id")), each) for each in page)
            offset += len(page)
            if not page or offset >= count:
                return list(found.values())

    async def fields(self, endpoint: str) -> dict[str, Json]:
        """The fields of an endpoint's objects, with ``type`` and ``read_only``; empty where Nautobot does not tell (this user)."""
        answer = await self.ask("OPTIONS", f"{endpoint}/")
        actions = answer.get("actions") if isinstance(answer, dict) else None
        fields = actions.get("POST") if isinstance(actions, dict) else None
        return fields if isinstance(fields, dict) else {}

    async def ask(
        self, method: str, path: str, query: Sequence[tuple[str, str]] = (), body: Json | None = None
    ) -> Json:
        """What it answers to a request that it takes, None where that is empty. Raises Refused, TriggerError, RetryAfter."""
        url = f"{self.base}/{path}" + (f"?{urlencode(query)}" if query else "")
        what = self._what(method, path)
        headers = {
            "Authorization": f"Token {self.token}",
            "Accept": "application/json",
            "traceparent": self.traceparent,
        }
        content = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            content = orjson.dumps(body)
        try:
            async with asyncio.timeout(self.seconds):
                with _http.sentences(what):
                    request = self.client.build_request(method, url, headers=headers, content=content)
                    # A redirect would turn a POST into a GET, and shows that the address is not Nautobot's own.
                    response, raw = await _http.ask(self.client, request, _MOST_BYTES, rules=self.egress, follow="none")
        except TimeoutError as error:
            raise TriggerError(f"{what}: no answer within {self.seconds:g} s") from error
        # What a proxy says back may quote the request.
        return _judged(response, raw.replace(self.token.encode(), "…".encode()), what)

    def _what(self, method: str, path: str) -> str:
        return f"{method} {_http.place(f'{self.base}/{path}')}"


def _judged(response: httpx2.Response, raw: bytes, what: str) -> Json:
    status = response.status_code
    said = f"{what} answered {status}"
    if response.has_redirect_location:
        where = _http.place(response.headers.get("Location", ""))
        raise Rejected(f"{said}, a redirect to {where}; write Nautobot's own address in 'url'")
    try:
        document = orjson.loads(raw) if raw else None
        told = True
    except orjson.JSONDecodeError:
        document, told = None, False
    if status < 400:
        if not told:
            raise TriggerError(f"{said} with something else than JSON; is 'url' that of a Nautobot?")
        return document
    if words := _words(document):
        said += f": {words}"
    failure = _http.failure(status, said, response.headers.get("Retry-After"))
    if not isinstance(failure, Rejected):
        raise failure
    if status == 409 or (status == 400 and _NO_SUCH_OBJECT in words):
        # Another action may yet remove what needs it, or make what it refers to.
        raise TriggerError(said)
    raise Refused(said + _remedy(status, words), status)


def _remedy(status: int, words: str) -> str:
    if "Unknown filter field" in words:
        return "; see 'key'"
    if status == 401 or (status == 403 and "oken" in words):
        return "; see 'token'"
    if status == 403:
        return "; the user of the token needs the permission"
    return ""


def _words(document: Json, name: str = "") -> str:
    """What a refusal says, as one line: ``name: This field is required.; status: …``."""
    if isinstance(document, dict):
        parts = []
        for key, value in document.items():
            bare = key in ("detail", "non_field_errors", "__all__")
            parts.append(_words(value, name if bare else f"{name}.{key}" if name else key))
        text = "; ".join(part for part in parts if part)
    elif isinstance(document, list):
        text = "; ".join(part for part in (_words(each) for each in document) if part)
        text = f"{name}: {text}" if name and text else text
    else:
        text = "" if document is None else " ".join(str(document).split())
        text = f"{name}: {text}" if name and text else text
    return text if len(text) <= _LONGEST_SAYING else text[:_LONGEST_SAYING] + "…"
