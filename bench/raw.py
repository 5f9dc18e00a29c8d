"""The yardstick: a bare loop that publishes to JetStream and reads back, with nothing of Argosy in it.

One process, nats-py, uvloop, file storage, as many messages under way as Argosy has. What Argosy does in a second is also
told as a part of this, for the same machine in the same minute.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import uvloop

from argosy.bus.embedded import EmbeddedServer

_WINDOW = 256
_BODY = b'{"specversion":"1.0","id":"%d","data":{"kind":"order","item":"' + b"x" * 400 + b'"}}'


async def _measure(folder: Path, count: int) -> dict[str, float]:
    from nats.aio.client import Client

    async with EmbeddedServer(folder) as server:
        given = await server.admit("bench/raw")
        client = Client()
        await client.connect(server.url, user=given.user, password=given.password, allow_reconnect=False)
        stream = client.jetstream(publish_async_max_pending=_WINDOW)
        await stream.add_stream(name="raw", subjects=["raw.*"])
        numbers = {}
        began, cpu = time.perf_counter(), time.process_time()
        await _publish(stream, count)
        numbers["published per second"] = count / (time.perf_counter() - began)
        numbers["publish cpu us"] = (time.process_time() - cpu) / count * 1e6
        began, cpu = time.perf_counter(), time.process_time()
        await _read(stream, count)
        numbers["read per second"] = count / (time.perf_counter() - began)
        numbers["read cpu us"] = (time.process_time() - cpu) / count * 1e6
        await client.close()
        return numbers


async def _publish(stream: Any, count: int) -> None:
    left = iter(range(count))

    async def publish() -> None:
        for number in left:
            await stream.publish("raw.one", _BODY % number)

    await asyncio.gather(*(publish() for _ in range(_WINDOW)))


async def _read(stream: Any, count: int) -> None:
    from nats.js.api import AckPolicy, ConsumerConfig

    config = ConsumerConfig(ack_policy=AckPolicy.NONE)
    subscription = await stream.pull_subscribe("raw.one", config=config)
    got = 0
    while got < count:
        got += len(await subscription.fetch(_WINDOW, timeout=10))


def measure(folder: Path, count: int) -> dict[str, float]:
    """Messages per second, published and read."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_measure(folder, count))
