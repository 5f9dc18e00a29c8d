"""A process that redrives or discards is killed between any two of its requests to the server: nothing is lost, nothing is there twice."""

from __future__ import annotations

import asyncio
import signal
import sys

import pytest

from argosy.bus._base import Queue
from tests.brokers.nats_server import JetStreamStore, NatsServer
from tests.conformance.bus import take
from tests.conformance.items import kill

# Dies by SIGKILL instead of sending its request number LIMIT; says how many it sent where it gets to its end.
CHILD = """
import asyncio, os, signal, sys
from argosy.bus._jetstream_link import Link
from argosy.bus.jetstream import JetStreamBus

url, limit, verb, item = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
sent, counting = 0, False
publish = Link._publish


async def counted(self, *args):
    global sent
    if counting:
        if sent == limit:
            os.kill(os.getpid(), signal.SIGKILL)
        sent += 1
    await publish(self, *args)


async def main():
    global counting
    Link._publish = counted
    async with JetStreamBus(url) as bus:
        queue = bus.queue("q")
        counting = True
        assert await (queue.redrive(item) if verb == "redrive" else queue.discard(item, "of no use", "ann"))
        counting = False
        print(sent)


asyncio.run(main())
"""


async def _killed_at(server: NatsServer, limit: int, verb: str, item: str) -> int | None:
    """Run the child; None if it was killed at its request number ``limit``, else how many it sent."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CHILD, server.url, str(limit), verb, item, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await child.communicate()
    assert child.returncode in (0, -signal.SIGKILL)
    return int(said) if child.returncode == 0 else None


async def _done(queue: Queue) -> list[str]:
    """Take what is queued and finish it; the ids, in order."""
    ids = []
    async with queue.take() as leases:
        while await queue.depth():
            lease = await take(leases)
            assert lease.body == f"body of {lease.id}".encode()
            assert lease.failures == 0
            await lease.done()
            ids.append(lease.id)
    return ids


@pytest.mark.parametrize("in_between", ["at once", "worked on"])
async def test_a_redrive_that_is_killed_anywhere_can_be_completed(server: NatsServer, in_between: str) -> None:
    async with JetStreamStore(server).handle() as bus:
        queue = bus.queue("q")
        sent, limit = None, 0
        while sent is None:
            item = f"item {limit}"
            await kill(queue, item)
            sent = await _killed_at(server, limit, "redrive", item)
            # Then it is dead or queued, as anybody sees it
            found = await queue.find(item)
            assert found is not None
            assert found.state in ("dead", "waiting")
            assert found.body == f"body of {item}".encode()
            dead = [letter.id for letter in await queue.dead_letters()]
            queued = [one.id for one in await queue.items("queued")]
            assert [*dead, *queued] == [item]
            if in_between == "worked on":
                # And work that goes on meanwhile does it at most once
                assert await _done(queue) == queued
            await queue.redrive(item)
            assert await _done(queue) == ([item] if in_between == "at once" or dead else [])
            assert (await queue.dead_letters(), await queue.redrive(item)) == ([], False)
            found = await queue.find(item)
            assert found is not None
            assert found.state == "done"
            limit += 1
        assert limit - 1 == sent
        assert sent >= 8


async def test_a_discard_that_is_killed_anywhere_can_be_completed(server: NatsServer) -> None:
    async with JetStreamStore(server).handle() as bus:
        queue = bus.queue("q")
        sent, limit = None, 0
        while sent is None:
            item = f"item {limit}"
            await kill(queue, item)
            sent = await _killed_at(server, limit, "discard", item)
            found = await queue.find(item)
            assert found is not None
            assert found.state in ("dead", "discarded")
            assert [letter.id for letter in await queue.dead_letters()] == ([item] if found.state == "dead" else [])
            await queue.discard(item, "of no use", "ann")
            found = await queue.find(item)
            assert found is not None
            assert (found.state, found.error) == ("discarded", "of no use (discarded by ann)")
            assert await queue.dead_letters() == []
            assert not await queue.redrive(item)
            assert await _done(queue) == []
            limit += 1
        assert sent >= 5
