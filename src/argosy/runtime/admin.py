"""The process's own small HTTP server: ``/healthz`` (it lives), ``/readyz`` (all that is configured works), ``/metrics``."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from argosy.errors import ConfigError
from argosy.sources._http import HttpServers, Request, Response


def parse_address(text: str) -> tuple[str, int]:
    """Host and port of ``HOST:PORT``; raises ConfigError for anything else."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"{text!r} is no address; write HOST:PORT, for example 127.0.0.1:7777")
    return host.strip("[]"), int(port)


@asynccontextmanager
async def admin(
    address: str, waiting_for: Callable[[], Awaitable[list[str]]], metrics: Callable[[], Awaitable[bytes]]
) -> AsyncIterator[str]:
    """Serve while the context is open; gives the base URL. ``waiting_for`` names what is not ready."""
    host, port = parse_address(address)

    async def healthz(request: Request) -> Response:
        return Response(200, "ok")

    async def readyz(request: Request) -> Response:
        late = await waiting_for()
        body = json.dumps({"ready": not late, "waitingFor": late})
        return Response(503 if late else 200, body, "application/json")

    async def exposition(request: Request) -> Response:
        return Response(200, (await metrics()).decode(), "text/plain; version=0.0.4; charset=utf-8")

    async with HttpServers(host, linger_seconds=0.0, drain_seconds=1.0) as servers:  # noqa: SIM117 - the port may be 0
        async with servers.route(port=port, endpoint="/healthz", handler=healthz, name="admin") as first:
            base = first.url.removesuffix("/healthz")
            port = int(base.rpartition(":")[2])
            async with (
                servers.route(port=port, endpoint="/readyz", handler=readyz, name="admin"),
                servers.route(port=port, endpoint="/metrics", handler=exposition, name="admin"),
            ):
                yield base
