"""Requests to one route while the bus is far away: one after the other, and 64 at a time.

Between ``argosy run`` and a NATS server stands a relay that delays every byte. So what is measured is whether requests of a
route wait for each other, and not how fast the machine is.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from argosy.bus.embedded import EmbeddedServer
from bench.running import Running, free_port, load

_SOURCE = """
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata: {{name: web}}
spec:
  webhook:
    in: {{port: "{port}", endpoint: /web, method: POST}}
"""
_DELAY_SECONDS = 0.01
"""In each direction."""


async def _relay(port: int) -> asyncio.Server:
    """A port that leads to ``port``, a hundredth of a second away."""
    loop = asyncio.get_running_loop()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            # Timers of one delay fire in the order in which they were set, so the bytes stay in order.
            loop.call_later(_DELAY_SECONDS, writer.write, data)
        loop.call_later(_DELAY_SECONDS, writer.close)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pump(reader, back), pump(there, writer), return_exceptions=True)

    return await asyncio.start_server(serve, "127.0.0.1", 0)


def _requests(folder: Path, bus: str, count: int) -> dict[str, float]:
    port = free_port()
    with Running(folder, _SOURCE.format(port=port), bus=bus):
        load(f"127.0.0.1:{port}/web", count=64, connections=64)
        serial = load(f"127.0.0.1:{port}/web", count=count // 16, connections=1)
        together = load(f"127.0.0.1:{port}/web", count=count, connections=64)
    one, many = count // 16 / serial["seconds"], count / together["seconds"]
    return {
        "requests, bus 20 ms away, 1 connection per second": one,
        "requests, bus 20 ms away, 64 connections per second": many,
        "requests, bus 20 ms away: 64 connections to 1": many / one,
    }


async def _measure(folder: Path, count: int) -> dict[str, float]:
    async with EmbeddedServer(folder / "bus") as server:
        given = await server.admit("bench/far")
        relay = await _relay(int(server.url.rpartition(":")[2]))
        where = f"nats://{given.user}:{given.password}@127.0.0.1:{relay.sockets[0].getsockname()[1]}"
        try:
            return await asyncio.to_thread(_requests, folder / "run", where, count)
        finally:
            relay.close()


def measure(folder: Path, count: int) -> dict[str, float]:
    """Requests per second, each answered once the bus has confirmed its event."""
    return asyncio.run(_measure(folder, count))
