"""Random work on a JetStream bus gives what the same work gives on the memory engine.

Every example works on names of its own, so that one server serves all. Positions and revisions are the
engines' own and are compared by what they do, not by their value.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from argosy.bus._base import Bus, Lease, Pair, Subscription
from argosy.bus.memory import MemoryBus
from argosy.errors import BusError
from tests.brokers.nats_server import JetStreamStore, NatsServer
from tests.conformance.bus import event, ids, soon

EVENTS = ("e1", "e2")
NAMES = st.sampled_from(["a", "b", "c.d", "ä b"])
LOG = st.one_of(
    st.tuples(st.just("publish"), st.sampled_from(EVENTS), st.integers(0, 40)),
    st.tuples(st.just("publish"), st.sampled_from(EVENTS), st.integers(0, 40)),
    st.tuples(st.just("read"), st.sampled_from(["x", "y"]), st.integers(1, 5)),
    st.tuples(st.just("commit"), st.sampled_from(["x", "y"]), st.integers(0, 5)),
    st.tuples(st.just("reopen"), st.sampled_from(["x", "y"]), st.just(0)),
)
QUEUE = st.one_of(
    st.tuples(st.just("put"), NAMES, st.booleans()),
    st.tuples(st.just("take"), st.just(""), st.just(0)),
    st.tuples(st.just("take"), st.just(""), st.just(0)),
    st.tuples(st.sampled_from(["retry", "retry", "back", "dead"]), st.text(max_size=5), st.just(0)),
    st.tuples(st.just("done"), st.binary(max_size=3), st.just(0)),
    st.tuples(st.just("let go"), st.just(""), st.just(0)),
    st.tuples(st.just("ask"), NAMES, st.just(0)),
    st.tuples(st.sampled_from(["redrive", "redrive", "discard"]), NAMES, st.just(0)),
)
BUCKET = st.one_of(
    st.tuples(st.just("write"), NAMES, st.sampled_from(["any", "right", "stale", "new"])),
    st.tuples(st.just("delete"), NAMES, st.just(0)),
    st.tuples(st.just("look"), st.just(""), st.just(0)),
)
_examples = itertools.count()


class Worker:
    """Does operations on one bus and says what came of each. ``mark`` keeps the names of examples apart."""

    def __init__(self, bus: Bus, mark: str) -> None:
        self.bus = bus
        self.mark = mark
        self.queue = bus.queue(f"q {mark}")
        self.bucket = bus.bucket(f"b {mark}")
        self.pairs = {
            "x": [Pair(mark, "e1")],
            "y": [Pair(mark, "e1"), Pair(mark, "e2")],
        }
        self.stacks: dict[str, AsyncExitStack] = {}
        self.open: dict[str, Subscription] = {}
        self.handed: dict[str, list[int]] = {"x": [], "y": []}
        self.taking = AsyncExitStack()
        self.leases: AsyncIterator[Lease] | None = None
        self.held: Lease | None = None
        self.revisions: dict[str, list[int]] = {}

    async def start(self) -> None:
        for name in ("x", "y"):
            await self.subscribe(name)

    async def subscribe(self, name: str) -> None:
        stack = self.stacks[name] = AsyncExitStack()
        self.open[name] = await stack.enter_async_context(
            self.bus.subscribe(f"{name} {self.mark}", self.pairs[name], max_in_flight=4)
        )
        self.handed[name] = []

    async def stop(self) -> None:
        for stack in self.stacks.values():
            await stack.aclose()
        await self.taking.aclose()

    async def do(self, what: str, first: Any, second: Any, expected: Any) -> Any:
        """The result. ``expected`` is the model's, where the number of entries to wait for must be known."""
        if what == "publish":
            await self.bus.publish(event(second, Pair(self.mark, first)))
        elif what == "read":
            return await self.read(first, second, expected)
        elif what == "commit":
            if self.handed[first]:
                index = min(second, len(self.handed[first]) - 1)
                await self.open[first].commit(self.handed[first][index])
                self.handed[first] = self.handed[first][index + 1 :]
        elif what == "reopen":
            await self.stacks[first].aclose()
            await self.subscribe(first)
        elif what == "put":
            return await self.queue.put(first, first.encode(), again=second)
        elif what == "take":
            return await self.take(expected)
        elif what in ("done", "retry", "dead", "back") and self.held:
            lease, self.held = self.held, None
            if what == "done":
                await lease.done(first)
            elif what == "retry":
                await lease.retry_in(0, first)
            elif what == "dead":
                await lease.dead_letter(first)
            else:
                await lease.hand_back()
        elif what == "let go":
            await self.taking.aclose()
            self.leases = self.held = None
        elif what == "ask":
            letters = [(each.id, each.body, each.reason, each.failures) for each in await self.queue.dead_letters()]
            shelves = [await self.queue.items(shelf) for shelf in ("dead", "ended")]  # type: ignore[arg-type]
            items = [[(each.id, each.state, each.error, each.failures) for each in shelf] for shelf in shelves]
            queued = [(each.id, each.body, each.failures) for each in await self.queue.items("queued")]
            return await self.queue.outcome(first), letters, await self.queue.depth(), items, queued
        elif what == "redrive":
            return await self.queue.redrive(first)
        elif what == "discard":
            item = await self.queue.find(first)
            if item is not None and item.state == "dead":
                return await self.queue.discard(first, "of no use", "ann")
        elif what == "write":
            return await self.write(first, second)
        elif what == "delete":
            await self.bucket.delete(first)
        elif what == "look":
            keys = await self.bucket.keys()
            entries = [await self.bucket.get(key) for key in keys]
            return keys, [entry.value if entry else None for entry in entries]
        return None

    async def read(self, name: str, count: int, expected: Any) -> Any:
        found: list[Any] = []
        batches = aiter(self.open[name])
        while len(found) < (count if expected is None else len(expected)):
            waiting = asyncio.ensure_future(anext(batches))
            if expected is None:
                # The model answers at once or not at all: then there is nothing more to be had.
                await asyncio.sleep(0)
                if not waiting.done():
                    waiting.cancel()
                    await asyncio.gather(waiting, return_exceptions=True)
                    break
            found += await soon(waiting)
        self.handed[name] += [delivery.position for delivery in found]
        return list(zip(ids(found), [delivery.repeated for delivery in found], strict=True))

    async def take(self, expected: Any) -> Any:
        if self.held:
            return None
        if self.leases is None:
            self.leases = await self.taking.enter_async_context(self.queue.take())
        if expected is None and not await self.queue.depth():
            return None
        self.held = await soon(anext(self.leases))
        return self.held.id, self.held.body, self.held.failures, self.held.last_error

    async def write(self, key: str, how: str) -> Any:
        known = self.revisions.setdefault(key, [])
        entry = await self.bucket.get(key)
        revision = {
            "any": None,
            "right": entry.revision if entry else 0,
            "stale": known[-2] if len(known) > 1 else 10**9,
            "new": 0,
        }[how]
        try:
            known.append(await self.bucket.put(key, how.encode(), revision=revision))
        except BusError:
            return "refused"
        return "written" if known == sorted(set(known)) else "the revision does not grow"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    folder: Path = tmp_path_factory.mktemp("nats")
    server = NatsServer(folder)
    asyncio.run(server.start())
    yield server
    server.end()


async def compare(server: NatsServer, operations: list[tuple[str, Any, Any]]) -> None:
    mark = f"m{next(_examples)}"
    async with MemoryBus() as memory, JetStreamStore(server).handle() as jetstream:
        model, real = Worker(memory, mark), Worker(jetstream, mark)
        await model.start()
        await real.start()
        for what, first, second in operations:
            expected = await model.do(what, first, second, None)
            if what == "take" and expected is None:
                continue  # nothing is there to be taken; waiting for it would show nothing
            assert await real.do(what, first, second, expected) == expected, (what, first, second)
        await model.stop()
        await real.stop()


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
    ],
)
@given(data=st.data(), part=st.sampled_from([LOG, QUEUE, BUCKET, st.one_of(LOG, QUEUE, BUCKET)]))
def test_jetstream_does_what_memory_does(server: NatsServer, data: st.DataObject, part: Any) -> None:
    operations = data.draw(st.lists(part, min_size=30, max_size=80))
    asyncio.run(compare(server, operations))
