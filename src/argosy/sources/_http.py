"""The shared HTTP server of the webhook family: one port serves all kinds and events, and changes while it
runs.

A source asks for a route and answers requests until it leaves. Between the wire and the source stand, in this
order: the path, the bearer token, the method, the number of requests under way, the size of the body, and the
time that the bus may take. A source therefore sees only requests that are complete and allowed, and says 200
only after ``emit`` returned. Texts and statuses are upstream's
(``pkg/eventsources/common/webhook/webhook.go``) except where the table in ``docs/reference/differences.md``
says otherwise.

When a route leaves, requests under way are finished. Its place is kept for ``linger_seconds``, so that a
source that is started anew (a manifest was edited) misses no request: those that come meanwhile wait for it.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from argosy.errors import ArgosyError, BusUnavailable, ConfigError, EventInvalid, EventTooLarge
from argosy.sources import _http_routes as routes

if TYPE_CHECKING:
    from argosy.sources._http_protocol import Limits, Listener
    from argosy.sources._http_tls import ServerTls, Texts

_log = logging.getLogger("argosy.http")

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

    @cached_property
    def query(self) -> Mapping[str, list[str]]:
        """The query parameters, a list of values each."""
        return routes.query(self.query_string)

    def header(self, name: str) -> str:
        """The first value of a header, by its canonical name; empty where there is none."""
        values = self.headers.get(name)
        return values[0] if values else ""


@dataclass(frozen=True)
class Response:
    """An answer. ``text`` is sent as UTF-8; ``retry_after_seconds`` above 0 tells the client to come back."""

    status: int
    text: str = ""
    content_type: str = "text/plain; charset=utf-8"
    retry_after_seconds: int = 0


SUCCESS = Response(200, "success")
_HEALTHY = Response(200, "OK")
_NOT_FOUND = Response(404, "404 page not found\n")

Handler = Callable[[Request], Awaitable[Response]]
"""Answers a request. May raise EventInvalid (400), EventTooLarge (413), BusUnavailable (503); anything else
is a 500.
"""


@dataclass(eq=False)
class Route:
    """A source's place on a port. ``url`` is where it listens, as this machine sees it."""

    name: str
    template: routes.PathTemplate
    handler: Handler
    methods: frozenset[str]
    token: Callable[[], str] | None
    max_payload_size: int
    refused: Callable[[str], None]
    url: str = ""
    under_way: set[asyncio.Task[Any]] = field(default_factory=set)
    idle: asyncio.Event = field(default_factory=asyncio.Event)


class HttpServers:
    """All HTTP ports of a process: an async context manager that the runtime owns and every source shares.

    ``wait_seconds`` bounds how long a request may wait for the bus before it is answered 503;
    ``linger_seconds`` is how long a place stays reserved for a source that starts anew; ``drain_seconds``
    bounds the wait for clients at the end; ``max_in_flight`` requests per route are accepted at a time,
    further ones get 503.
    """

    def __init__(
        self,
        host: str = "0.0.0.0",
        *,
        wait_seconds: float = 10.0,
        linger_seconds: float = 2.0,
        drain_seconds: float = 10.0,
        body_seconds: float = 60.0,
        max_in_flight: int = 256,
        limits: Limits | None = None,
    ) -> None:
        self.host = host
        self.wait_seconds = wait_seconds
        self.linger_seconds = linger_seconds
        self.drain_seconds = drain_seconds
        self.body_seconds = body_seconds
        self.max_in_flight = max_in_flight
        self._limits = limits
        self._ports: dict[int, _Port] = {}
        self._closing: dict[int, Listener] = {}
        self._opening = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        for port in list(self._ports.values()):
            port.close()
        listeners = list(self._closing.values())
        self._closing.clear()
        await asyncio.gather(*(listener.drain(self.drain_seconds) for listener in listeners))

    @property
    def listening(self) -> list[str]:
        """The URLs of all routes, sorted."""
        return sorted(route.url for port in self._ports.values() for route in port.routes)

    @asynccontextmanager
    async def route(
        self,
        *,
        port: int,
        endpoint: str,
        handler: Handler,
        name: str,
        methods: Collection[str] = (),
        tls: Callable[[], Texts] | None = None,
        token: Callable[[], str] | None = None,
        max_payload_size: int = 1024 * 1024,
        refused: Callable[[str], None] | None = None,
    ) -> AsyncIterator[Route]:
        """Answer requests to ``endpoint`` with ``handler`` while the context is open; on exit, finish those
        under way.

        ``name`` says in errors whose route it is. Empty ``methods`` allow all. ``tls`` and ``token`` are
        asked anew at each handshake and request. ``refused`` is told of each request that the source will not
        see. Raises ConfigError if the place is taken or does not fit the port's TLS, SourceError if the port
        cannot be opened.
        """
        template = routes.PathTemplate(endpoint)
        if template.text == "/health":
            raise ConfigError(
                f"endpoint '/health' of {name} is the health check of every port; choose another endpoint"
            )
        route = Route(name, template, handler, frozenset(methods), token, max_payload_size, refused or _ignore)
        async with self._opening:
            place = await self._place(port, route, tls)
        try:
            yield route
        finally:
            place.remove(route)
            try:
                await _finished(route)
            finally:
                place.release(route)

    async def _place(self, number: int, route: Route, read: Callable[[], Texts] | None) -> _Port:
        port = self._ports.get(number)
        if port is not None and not port.routes and (port.tls is None) != (read is None):
            port.close()
            port = None
        if port is None:
            if closing := self._closing.pop(number, None):
                await closing.closed()
            port = await _Port.open(self, number, route.name, read)
        else:
            port.accepts(route, read)
        # A port that the system chose (0) goes by the number it has got.
        self._ports[port.listener.port] = port
        port.add(route)
        return port

    def _closed(self, port: _Port) -> None:
        if self._ports.get(port.listener.port) is port:
            del self._ports[port.listener.port]
        self._closing[port.listener.port] = port.listener


def _ignore(reason: str) -> None:
    """For a route whose owner does not count refusals."""


async def _finished(route: Route) -> None:
    """Return once the requests under way are answered; if cancelled (the time to drain is over), break them
    off.
    """
    while route.under_way:
        route.idle.clear()
        try:
            await route.idle.wait()
        except asyncio.CancelledError:
            for task in route.under_way:
                task.cancel()
            raise


class _Port:
    """One open port: its routes, the places kept for routes that left, and the way from a request to its
    answer.
    """

    def __init__(self, servers: HttpServers, listener: Listener, tls: ServerTls | None) -> None:
        self.servers = servers
        self.listener = listener
        self.tls = tls
        self.routes: list[Route] = []
        self._literal: dict[str, Route] = {}
        self._kept: dict[str, tuple[routes.PathTemplate, asyncio.Event]] = {}

    @classmethod
    async def open(cls, servers: HttpServers, number: int, name: str, read: Callable[[], Texts] | None) -> _Port:
        from argosy.sources._http_protocol import Limits, Listener
        from argosy.sources._http_tls import ServerTls

        tls = None
        if read is not None:
            tls = ServerTls(
                read,
                lambda sentence: _log.warning(sentence, extra={"action": "certificate", "port": number, "route": name}),
            )

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await port(scope, receive, send)

        listener = Listener(app, servers._limits or Limits())
        port = cls(servers, listener, tls)
        await listener.open(servers.host, number, tls.context if tls else None)
        return port

    def accepts(self, route: Route, read: Callable[[], Texts] | None) -> None:
        """Raise ConfigError if ``route`` cannot stand on this port beside the others."""
        number = self.listener.port
        for other in self.routes:
            if other.template.shape == route.template.shape:
                raise ConfigError(
                    f"endpoint {route.template.text!r} on port {number} is taken by {other.name};"
                    f" give {route.name} another endpoint or another port"
                )
        if (self.tls is None) != (read is None):
            has, wants = ("TLS", "none") if self.tls else ("no TLS", "it")
            raise ConfigError(
                f"port {number} has {has} because of {self.routes[0].name}, and {route.name} wants {wants};"
                " give both the same serverCertSecret and serverKeySecret, or different ports"
            )
        if self.tls is not None and read is not None:
            if not self.routes:
                self.tls.read_from(read)
            elif self.tls.texts != read():
                raise ConfigError(
                    f"port {number} has the certificate of {self.routes[0].name}, and {route.name} names another;"
                    " give both the same serverCertSecret and serverKeySecret, or different ports"
                )

    def add(self, route: Route) -> None:
        scheme = "https" if self.tls else "http"
        host = f"[{self.servers.host}]" if ":" in self.servers.host else self.servers.host
        route.url = f"{scheme}://{host}:{self.listener.port}{route.template.text}"
        self.routes.append(route)
        if route.template.literal:
            self._literal[route.template.text] = route
        if kept := self._kept.pop(route.template.shape, None):
            kept[1].set()

    def remove(self, route: Route) -> None:
        """Hand no further request to ``route``; keep its place until ``release``."""
        self.routes.remove(route)
        if route.template.literal:
            del self._literal[route.template.text]
        self._kept[route.template.shape] = (route.template, asyncio.Event())

    def release(self, route: Route) -> None:
        """``route`` has answered all; forget its place after the time that a successor has."""
        kept = self._kept.get(route.template.shape)
        if kept is None:
            return
        if self.servers.linger_seconds > 0:
            asyncio.get_running_loop().call_later(self.servers.linger_seconds, self._forget, route.template.shape, kept)
        else:
            self._forget(route.template.shape, kept)

    def _forget(self, shape: str, kept: tuple[routes.PathTemplate, asyncio.Event]) -> None:
        if self._kept.get(shape) is kept:
            del self._kept[shape]
            kept[1].set()
        self._close_if_unused()

    def _close_if_unused(self) -> None:
        if not self.routes and not self._kept:
            self.close()

    def close(self) -> None:
        """Stop listening and wake those that wait for a successor."""
        self.listener.close()
        self.servers._closed(self)
        for _, event in self._kept.values():
            event.set()
        self._kept.clear()

    def _find(self, path: str) -> tuple[Route, dict[str, str]] | None:
        if route := self._literal.get(path):
            return route, {}
        for route in self.routes:
            if not route.template.literal and (params := route.template.match(path)) is not None:
                return route, params
        return None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request: an ASGI application."""
        exchange = _Exchange(scope, receive, send, self.servers.body_seconds)
        try:
            response = await self._answer(exchange)
        except asyncio.CancelledError:
            # Broken off because the time to drain is over. Nothing was acknowledged; uvicorn needs an answer,
            # not an exception.
            response = Response(503, "shutting down", retry_after_seconds=1)
        await exchange.answer(response)

    async def _answer(self, exchange: _Exchange) -> Response:
        path = exchange.scope["path"]
        if path == "/health":
            return _HEALTHY
        found = self._find(path)
        if found is None:
            for template, event in self._kept.values():
                if template.match(path) is not None:
                    found = await self._successor(path, event)
                    if found is None:
                        return Response(503, "the event source is starting anew", retry_after_seconds=1)
                    break
            else:
                return _NOT_FOUND
        route, params = found
        headers = routes.headers(exchange.scope["headers"])
        if refusal := _unauthorized(route, headers) or self._unacceptable(route, exchange):
            route.refused(f"answered {refusal.status}: {refusal.text}")
            return refusal
        task = asyncio.current_task()
        assert task is not None
        route.under_way.add(task)
        try:
            return await self._handle(route, params, headers, exchange)
        finally:
            route.under_way.discard(task)
            route.idle.set()

    async def _successor(self, path: str, event: asyncio.Event) -> tuple[Route, dict[str, str]] | None:
        try:
            async with asyncio.timeout(self.servers.linger_seconds):
                await event.wait()
        except TimeoutError:
            return None
        return self._find(path)

    def _unacceptable(self, route: Route, exchange: _Exchange) -> Response | None:
        if route.methods and exchange.scope["method"] not in route.methods:
            return Response(400, "http method does not match")
        if exchange.announced > route.max_payload_size:
            return _too_large(route)
        if len(route.under_way) >= self.servers.max_in_flight:
            return Response(503, "too many requests are under way", retry_after_seconds=1)
        return None

    async def _handle(
        self, route: Route, params: dict[str, str], headers: dict[str, list[str]], exchange: _Exchange
    ) -> Response:
        body = await exchange.body(route.max_payload_size)
        if isinstance(body, Response):
            refusal = _too_large(route) if body.status == 413 else body
            route.refused(f"answered {refusal.status}: {refusal.text}")
            return refusal
        scope = exchange.scope
        request = Request(
            scope["method"], scope["path"], params, scope["query_string"].decode("latin-1"), headers, body
        )
        try:
            async with asyncio.timeout(self.servers.wait_seconds) as waiting:
                return await route.handler(request)
        except EventInvalid as error:
            route.refused(str(error))
            return Response(400, str(error))
        except EventTooLarge as error:
            route.refused(str(error))
            return Response(413, str(error))
        except (TimeoutError, BusUnavailable) as error:
            if isinstance(error, BusUnavailable) or waiting.expired():
                route.refused("answered 503: the event bus does not answer")
                return Response(503, "the event bus does not answer", retry_after_seconds=5)
            return _failed(route, error)
        except Exception as error:  # noqa: BLE001 - one request's failure is answered and must not reach the others
            return _failed(route, error)


def _failed(route: Route, error: Exception) -> Response:
    # Foreign exceptions may hold a part of the request; only our own sentences are free of secrets.
    known = isinstance(error, ArgosyError)
    _log.error(
        "a request to %s was not recorded: %s",
        route.url,
        error if known else type(error).__name__,
        extra={"action": "request", "route": route.name},
        exc_info=None if known else error,
    )
    return Response(500, "failed to record event")


def _too_large(route: Route) -> Response:
    return Response(413, f"the body is larger than maxPayloadSize, {route.max_payload_size} bytes")


def _unauthorized(route: Route, headers: dict[str, list[str]]) -> Response | None:
    """The refusal of a request whose token is wrong. Masks the Authorization header on the way."""
    given = headers.get("Authorization", [""])[0]
    if given:
        headers["Authorization"] = [MASK]
    if route.token is None:
        return None
    try:
        token = route.token()
    except ArgosyError as error:
        _log.error(
            "requests to %s are refused: %s",
            route.url,
            error,
            extra={"action": "authorize", "route": route.name},
        )
        return Response(500, "Error loading auth token")
    if not token:
        return Response(500, "Error loading auth token")
    if not given.startswith("Bearer "):
        return Response(401, "Invalid Authorization Header")
    if not hmac.compare_digest(given.removeprefix("Bearer ").encode(), token.encode()):
        return Response(401, "Invalid Auth token")
    return None


class _Exchange:
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
        headers = [
            (b"content-type", response.content_type.encode("latin-1")),
            (b"content-length", str(len(text)).encode()),
            (b"date", _date()),
        ]
        if response.retry_after_seconds:
            headers.append((b"retry-after", str(response.retry_after_seconds).encode()))
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
