"""One HTTP port: its routes, and the way from a request to its answer."""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from argosy.errors import ArgosyError, BusUnavailable, ConfigError, EventInvalid, EventTooLarge
from argosy.sources import _http_routes as routes
from argosy.sources._http_messages import MASK, Exchange, Handler, Request, Response
from argosy.sources._http_tls import Texts

if TYPE_CHECKING:
    from argosy.sources._http_protocol import Limits, Listener
    from argosy.sources._http_tls import ServerTls

_log = logging.getLogger("argosy.http")

_HEALTHY = Response(200, "OK")
_NOT_FOUND = Response(404, "404 page not found\n")


@dataclass(frozen=True)
class Settings:
    """What all ports of a process have in common; the words are those of ``HttpServers``."""

    host: str
    wait_seconds: float
    linger_seconds: float
    body_seconds: float
    max_in_flight: int
    limits: Limits | None


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


class Kept(NamedTuple):
    """The place of a route that left; ``ended`` once it was given to another or forgotten."""

    template: routes.PathTemplate
    ended: asyncio.Event


async def finished(route: Route) -> None:
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


class Port:
    """One open port: its routes, the places kept for routes that left, and the way from a request to its
    answer.
    """

    def __init__(
        self, settings: Settings, listener: Listener, tls: ServerTls | None, closed: Callable[[Port], None]
    ) -> None:
        self._settings = settings
        self._closed = closed
        self.listener = listener
        self.tls = tls
        self.routes: list[Route] = []
        self._literal: dict[str, Route] = {}
        self._kept: dict[str, Kept] = {}

    @classmethod
    async def open(
        cls,
        settings: Settings,
        number: int,
        name: str,
        read: Callable[[], Texts] | None,
        closed: Callable[[Port], None],
    ) -> Port:
        """Open a port for the route ``name``; ``closed`` is called when it has stopped listening."""
        from argosy.sources._http_protocol import Limits, Listener
        from argosy.sources._http_tls import ServerTls

        def warn(sentence: str) -> None:
            _log.warning(sentence, extra={"action": "certificate", "port": number, "route": name})

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await port(scope, receive, send)

        tls = ServerTls(read, warn) if read is not None else None
        listener = Listener(app, settings.limits or Limits())
        port = cls(settings, listener, tls, closed)
        await listener.open(settings.host, number, tls.context if tls else None)
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
            elif self.tls.texts.authorities != (wanted := Texts(*read())).authorities:
                raise ConfigError(
                    f"port {number} asks its clients for certificates as {self.routes[0].name} says, and {route.name}"
                    " wants other ones, or none; give both the same verify.mtls.authorities, or different ports"
                )
            elif self.tls.texts != wanted:
                raise ConfigError(
                    f"port {number} has the certificate of {self.routes[0].name}, and {route.name} names another;"
                    " give both the same serverCertSecret and serverKeySecret, or different ports"
                )

    def add(self, route: Route) -> None:
        scheme = "https" if self.tls else "http"
        host = f"[{self._settings.host}]" if ":" in self._settings.host else self._settings.host
        route.url = f"{scheme}://{host}:{self.listener.port}{route.template.text}"
        self.routes.append(route)
        if route.template.literal:
            self._literal[route.template.text] = route
        if kept := self._kept.pop(route.template.shape, None):
            kept.ended.set()

    def remove(self, route: Route) -> Kept:
        """Hand no further request to ``route``; keep its place until ``release``."""
        self.routes.remove(route)
        if route.template.literal:
            del self._literal[route.template.text]
        kept = self._kept[route.template.shape] = Kept(route.template, asyncio.Event())
        return kept

    def release(self, kept: Kept) -> None:
        """The route that left has answered all; forget its place after the time that a successor has."""
        if self._settings.linger_seconds > 0:
            asyncio.get_running_loop().call_later(self._settings.linger_seconds, self._forget, kept)
        else:
            self._forget(kept)

    def _forget(self, kept: Kept) -> None:
        if self._kept.get(kept.template.shape) is kept:
            del self._kept[kept.template.shape]
            kept.ended.set()
            self._close_if_unused()

    def _close_if_unused(self) -> None:
        if not self.routes and not self._kept:
            self.close()

    def close(self) -> None:
        """Stop listening and wake those that wait for a successor."""
        self.listener.close()
        self._closed(self)
        for kept in self._kept.values():
            kept.ended.set()
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
        exchange = Exchange(scope, receive, send, self._settings.body_seconds)
        try:
            response = await self._answer(exchange)
        except asyncio.CancelledError:
            # Broken off because the time to drain is over. Nothing was acknowledged; uvicorn needs an answer,
            # not an exception.
            response = Response(503, "shutting down", retry_after_seconds=1)
        await exchange.answer(response)

    async def _answer(self, exchange: Exchange) -> Response:
        path = exchange.scope["path"]
        if path == "/health":
            return _HEALTHY
        found = self._find(path)
        if found is None:
            kept = next((kept for kept in self._kept.values() if kept.template.match(path) is not None), None)
            if kept is None:
                return _NOT_FOUND
            found = await self._successor(path, kept)
            if found is None:
                return Response(503, "the event source is starting anew", retry_after_seconds=1)
        route, params = found
        headers = routes.headers(exchange.scope["headers"])
        credentials = headers.get("Authorization", [""])[0]
        if refusal := _unauthorized(route, headers) or self._unacceptable(route, exchange):
            route.refused(f"answered {refusal.status}: {refusal.text}")
            return refusal
        task = asyncio.current_task()
        assert task is not None
        route.under_way.add(task)
        try:
            return await self._handle(route, params, headers, credentials, exchange)
        finally:
            route.under_way.discard(task)
            route.idle.set()

    async def _successor(self, path: str, kept: Kept) -> tuple[Route, dict[str, str]] | None:
        try:
            async with asyncio.timeout(self._settings.linger_seconds):
                await kept.ended.wait()
        except TimeoutError:
            return None
        return self._find(path)

    def _unacceptable(self, route: Route, exchange: Exchange) -> Response | None:
        if route.methods and exchange.scope["method"] not in route.methods:
            return Response(400, "http method does not match")
        if exchange.announced > route.max_payload_size:
            return _too_large(route)
        if len(route.under_way) >= self._settings.max_in_flight:
            return Response(503, "too many requests are under way", retry_after_seconds=1)
        return None

    async def _handle(
        self,
        route: Route,
        params: dict[str, str],
        headers: dict[str, list[str]],
        credentials: str,
        exchange: Exchange,
    ) -> Response:
        body = await exchange.body(route.max_payload_size)
        if isinstance(body, Response):
            refusal = _too_large(route) if body.status == 413 else body
            route.refused(f"answered {refusal.status}: {refusal.text}")
            return refusal
        scope = exchange.scope
        request = Request(
            scope["method"],
            scope["path"],
            params,
            scope["query_string"].decode("latin-1"),
            headers,
            body,
            (scope.get("client") or ("",))[0],
            scope.get("certificate") or {},
            credentials,
        )
        try:
            async with asyncio.timeout(self._settings.wait_seconds) as waiting:
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
    )
    if not known:
        _log.debug("the exception behind it", exc_info=error, extra={"action": "request", "route": route.name})
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
