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
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Self

from argosy.errors import ConfigError
from argosy.sources import _http_routes as routes
from argosy.sources._http_messages import MASK, SUCCESS, Handler, Request, Response
from argosy.sources._http_port import Port, Route, Settings, finished

if TYPE_CHECKING:
    from argosy.sources._http_protocol import Limits, Listener
    from argosy.sources._http_tls import Texts

__all__ = ["MASK", "SUCCESS", "Handler", "HttpServers", "Request", "Response", "Route"]


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
        self._settings = Settings(host, wait_seconds, linger_seconds, body_seconds, max_in_flight, limits)
        self._drain_seconds = drain_seconds
        self._ports: dict[int, Port] = {}
        self._closing: list[Listener] = []
        self._opening = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        for port in list(self._ports.values()):
            port.close()
        listeners, self._closing = self._closing, []
        await asyncio.gather(*(listener.drain(self._drain_seconds) for listener in listeners))

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
            kept = place.remove(route)
            try:
                await finished(route)
            finally:
                place.release(kept)

    async def _place(self, number: int, route: Route, read: Callable[[], Texts] | None) -> Port:
        port = self._ports.get(number)
        if port is not None and not port.routes and (port.tls is None) != (read is None):
            port.close()
            port = None
        if port is None:
            for listener in self._closing:
                if listener.port == number:
                    await listener.closed()
            self._closing = [listener for listener in self._closing if listener.busy]
            port = await Port.open(self._settings, number, route.name, read, self._closed)
        else:
            port.accepts(route, read)
        # A port that the system chose (0) goes by the number it has got.
        self._ports[port.listener.port] = port
        port.add(route)
        return port

    def _closed(self, port: Port) -> None:
        if self._ports.get(port.listener.port) is port:
            del self._ports[port.listener.port]
        self._closing.append(port.listener)


def _ignore(reason: str) -> None:
    """For a route whose owner does not count refusals."""
