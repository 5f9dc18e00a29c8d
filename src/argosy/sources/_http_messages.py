"""One HTTP request and its answer: as a source sees them, and as they come and go on the wire."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import cached_property
from typing import Any

from argosy.sources._http_routes import headers, query
from argosy.sources._raw import Raw

MASK = "*** Masked Auth Secret ***"
"""What stands in events in place of an Authorization header."""


@dataclass(frozen=True)
class Request:
    """One complete request. ``headers`` has Go's canonical names, a list of values each, no ``Host``, no
    credentials.
    """

    method: str
    path: str
    """Percent-decoded."""
    path_params: Mapping[str, str]
    query_string: str
    headers: Mapping[str, list[str]]
    body: bytes
    client: str = ""
    """The sender's address as the connection has it; behind a proxy, the proxy's."""
    certificate: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The client's certificate as ``ssl`` tells it; empty where it showed none that was asked for."""
    credentials: str = field(default="", repr=False)
    """The Authorization header before it was masked; for checks only, never for events."""

    @cached_property
    def query(self) -> Mapping[str, list[str]]:
        """The query parameters, a list of values each."""
        return query(self.query_string)

    def header(self, name: str) -> str:
        """The first value of a header, by its canonical name; empty where there is none."""
        values = self.headers.get(name)
        return values[0] if values else ""

    @property
    def media_type(self) -> str:
        """The content type in lower case, without its parameters."""
        return self.header("Content-Type").partition(";")[0].strip().lower()


def recorded(raw: Raw, method: str) -> Request:
    """A request that was written down, as a route's handler would get it; ``method`` is what it is by default."""
    given = headers([(name.lower().encode(), value.encode()) for name, value in raw.headers.items()])
    if given.get("Authorization"):
        given["Authorization"] = [MASK]
    return Request((raw.method or method).upper(), "", {}, raw.query, given, raw.body)


@dataclass(frozen=True)
class Response:
    """An answer. ``text`` is sent as UTF-8; ``retry_after_seconds`` above 0 tells the client to come back."""

    status: int
    text: str = ""
    content_type: str = "text/plain; charset=utf-8"
    retry_after_seconds: int = 0
    headers: tuple[tuple[str, str], ...] = ()
    """Further ones, by name and value; no text of a request."""


SUCCESS = Response(200, "success")

Handler = Callable[[Request], Awaitable[Response]]
"""Answers a request. May raise EventInvalid (400), EventTooLarge (413), BusUnavailable (503); anything else
is a 500.
"""


class Exchange:
    """One request on the wire: its body as it comes in, and the answer."""

    def __init__(self, scope: Any, receive: Any, send: Any, body_seconds: float) -> None:
        self.scope = scope
        self._receive = receive
        self._send = send
        self._body_seconds = body_seconds
        self._complete = False
        self.announced = 0
        """The Content-Length, 0 where there is none."""
        self._expects_continue = False
        for name, value in scope["headers"]:
            if name == b"content-length":
                self.announced = int(value)
            elif name == b"expect":
                self._expects_continue = True

    async def body(self, limit: int) -> bytes | Response:
        """The whole body, or the refusal (413, 408, 400) of one that is too large, too slow or incomplete."""
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._body_seconds):
                while True:
                    message = await self._receive()
                    if message["type"] == "http.disconnect":
                        return Response(400, "the body is incomplete")
                    chunk = message.get("body", b"")
                    size += len(chunk)
                    if size > limit:
                        return Response(413)
                    chunks.append(chunk)
                    if not message.get("more_body"):
                        self._complete = True
                        return b"".join(chunks)
        except TimeoutError:
            return Response(408, "the body did not arrive in time")

    async def answer(self, response: Response) -> None:
        """Send the answer."""
        text = response.text.encode()
        headers = [(b"date", _date())]
        if response.status != 204:  # which has no content; RFC 9110 8.6
            headers.append((b"content-type", response.content_type.encode("latin-1")))
            headers.append((b"content-length", str(len(text)).encode()))
        if response.retry_after_seconds:
            headers.append((b"retry-after", str(response.retry_after_seconds).encode()))
        headers += [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in response.headers]
        if self._expects_continue and not self._complete:
            # The client may or may not send its body now, so the next bytes could be either; RFC 9110 10.1.1.
            headers.append((b"connection", b"close"))
        await self._send({"type": "http.response.start", "status": response.status, "headers": headers})
        await self._send({"type": "http.response.body", "body": text})


_dates: dict[int, bytes] = {}


def _date() -> bytes:
    now = int(time.time())
    if now not in _dates:
        _dates.clear()
        _dates[now] = formatdate(now, usegmt=True).encode()
    return _dates[now]
