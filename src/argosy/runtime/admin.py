"""The process's own small HTTP server: ``/healthz`` (it lives), ``/readyz`` (all that is configured works), ``/metrics``, and the local API.

``/readyz/once`` is for who sends requests to a process that serves many objects: yes from the first time that all worked, and in any
case after a minute. One broker that is away must not keep everybody else's requests from their sources.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from argosy.errors import ConfigError
from argosy.runtime.api import ROOT, Api

_DRAIN_SECONDS = 1.0
_SETTLING_SECONDS = 60.0


def parse_address(text: str) -> tuple[str, int]:
    """Host and port of ``HOST:PORT``; raises ConfigError for anything else."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"{text!r} is no address; write HOST:PORT, for example 127.0.0.1:7777")
    return host.strip("[]"), int(port)


def reachable(url: str) -> str:
    """The URL as this machine reaches it, where the server listens on all addresses."""
    return url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")


@asynccontextmanager
async def admin(
    address: str,
    waiting_for: Callable[[], Awaitable[list[str]]],
    metrics: Callable[[], Awaitable[bytes]],
    api: Api | None,
) -> AsyncIterator[str]:
    """Serve while the context is open; gives the base URL. ``waiting_for`` names what is not ready."""
    from argosy.sources._http_protocol import Limits, Listener

    host, port = parse_address(address)
    settled = time.monotonic() + _SETTLING_SECONDS

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal settled
        path = scope["path"]
        if api is not None and (path == ROOT or path.startswith(ROOT + "/")):
            await api(scope, receive, send)
        elif path in ("/healthz", "/health"):
            await _answer(send, 200, b"ok")
        elif path in ("/readyz", "/readyz/once"):
            late = await waiting_for()
            if path == "/readyz/once":
                settled = settled if late else 0.0
                late = late if time.monotonic() < settled else []
            body = json.dumps({"ready": not late, "waitingFor": late}).encode()
            await _answer(send, 503 if late else 200, body, b"application/json")
        elif path == "/metrics":
            await _answer(send, 200, await metrics(), b"text/plain; version=0.0.4; charset=utf-8")
        else:
            await _answer(send, 404, b"404 page not found\n")

    listener = Listener(app, Limits())
    await listener.open(host, port, None)
    try:
        yield f"http://{f'[{host}]' if ':' in host else host}:{listener.port}"
    finally:
        if api is not None:
            api.close()
        listener.close()
        await listener.drain(_DRAIN_SECONDS)


async def _answer(send: Any, status: int, body: bytes, content_type: bytes = b"text/plain; charset=utf-8") -> None:
    headers = [(b"content-type", content_type), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
