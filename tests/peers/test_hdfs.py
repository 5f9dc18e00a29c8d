"""The ``hdfs`` source against a real HDFS: the suite of all sources, which changes are told, and what happens while nobody
looks or nobody answers. A NameNode that stands by is a double that answers as one: a mini cluster has none.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import PurePosixPath
from typing import Any, ClassVar

import pytest

from argosy.errors import BusError, SourceError
from argosy.manifests.fields import Json
from argosy.sources._hdfs_rpc import _field, _number, _packet
from tests.conformance.source import DictBucket, SourceSuite, Stage, Upstream, eventually, on_stage, raising
from tests.peers.hadoop_server import Files, Hadoop

_numbers = itertools.count(1)
_ALL = "CREATE|WRITE|REMOVE|RENAME|CHMOD"


@pytest.fixture(scope="module")
def hadoop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hadoop]:
    with Hadoop(tmp_path_factory.mktemp("hadoop")) as server:
        yield server


class Folder(Upstream):
    """A directory in which every message is a new file; what it was told is which files the source remembers."""

    redelivers = True
    keeps = True
    names_messages = True

    def __init__(self, server: Hadoop, files: Files) -> None:
        self.server = server
        self.files = files
        self.path = f"/folder-{next(_numbers)}"
        self.bucket = DictBucket()
        self.block = {
            "addresses": [server.address],
            "hdfsUser": "argosy",
            "directory": f"{self.path}/",
            "pathRegexp": r"\.txt$",
            "type": "CREATE",
            "checkInterval": "30ms",
        }

    async def send(self, text: str) -> None:
        await self.files.write(f"{self.path}/{text}.txt", b"")

    def text_of(self, data: Any) -> str:
        assert list(data) == ["name", "op", "metadata"]
        assert data["op"] == 1
        assert PurePosixPath(data["name"]).parent == PurePosixPath(self.path)
        return PurePosixPath(data["name"]).stem

    async def acknowledged(self) -> int:
        shards = [entry.value for key, entry in self.bucket.entries.items() if key.startswith("files/")]
        return sum(len(json.loads(shard)) for shard in shards)


@pytest.fixture
async def upstream(hadoop: Hadoop) -> AsyncIterator[Folder]:
    folder = Folder(hadoop, Files(hadoop))
    await folder.files.make(folder.path)
    yield folder


@pytest.fixture
async def stage(upstream: Folder) -> AsyncIterator[Stage]:
    async with on_stage("hdfs", dict(upstream.block), bucket=upstream.bucket) as stage:
        yield stage


_WHOLE: dict[str, Json] = {
    "addresses": ["namenode:8020"], "hdfsUser": "u", "directory": "/a", "path": "b", "type": "CREATE",
}  # fmt: skip


class TestHdfs(SourceSuite):
    kind = "hdfs"
    gaps: ClassVar[dict[str, str]] = {
        "test_a_rotated_secret_is_taken_up_without_a_restart": "Kerberos is not built, and HDFS has no other secrets",
    }
    bad_blocks: ClassVar[list[tuple[dict[str, Json], str]]] = [
        ({**_WHOLE, "addresses": []}, "addresses"),
        ({**_WHOLE, "addresses": ["hdfs://namenode"]}, "addresses"),
        ({**_WHOLE, "hdfsUser": ""}, "hdfsUser"),
        ({**_WHOLE, "directory": "a"}, "absolute path"),
        ({**_WHOLE, "path": ""}, "path or pathRegexp"),
        ({**_WHOLE, "pathRegexp": "b"}, "path or pathRegexp"),
        ({**_WHOLE, "path": "", "pathRegexp": "("}, "pathRegexp"),
        ({**_WHOLE, "type": "CREATE|MOVE"}, "'MOVE'"),
        ({key: value for key, value in _WHOLE.items() if key != "type"}, "type"),
        ({**_WHOLE, "checkInterval": "soon"}, "checkInterval"),
        ({**_WHOLE, "checkInterval": "0s"}, "greater than 0"),
        ({**_WHOLE, "krbRealm": "EXAMPLE"}, "Kerberos is not built"),
        ({**_WHOLE, "krbKeytabSecret": {"name": "k", "key": "k"}}, "Kerberos is not built"),
    ]

    @pytest.fixture
    async def upstream(self, upstream: Folder) -> Folder:
        """That of the module, which its other tests have, too."""
        return upstream


def _told(stage: Stage, upstream: Folder) -> list[tuple[str, int]]:
    return [(event.data["name"].removeprefix(upstream.path), event.data["op"]) for event in stage.emitted]


async def _next(stage: Stage, upstream: Folder, *expected: tuple[str, int]) -> None:
    """These are told next, in any order. What follows at once is not looked at: a file is seen growing while it is
    written."""
    seen = stage.__dict__.setdefault("seen", 0)
    await eventually(
        lambda: set(expected) <= set(_told(stage, upstream)[seen:]), f"{expected}, not {_told(stage, upstream)[seen:]}"
    )
    await upstream.settle()
    first = _told(stage, upstream)[seen:][: len(expected)]
    assert sorted(first) == sorted(expected), _told(stage, upstream)[seen:]
    stage.__dict__["seen"] = len(stage.emitted)


async def test_each_change_has_its_bits(upstream: Folder, stage: Stage) -> None:
    # Given a source that wants all changes, also of directories below
    files, root = upstream.files, upstream.path
    stage.block |= {"type": _ALL, "metadata": {"m": "1"}}
    await files.make(f"{root}/in")
    await stage.start()
    # When a file comes, grows, gets another mode, moves, is written anew, and goes, then each is told
    await files.write(f"{root}/in/a.txt")
    await _next(stage, upstream, ("/in/a.txt", 1))
    await files.append(f"{root}/in/a.txt", b"more")
    await _next(stage, upstream, ("/in/a.txt", 2))
    await files.mode(f"{root}/in/a.txt", "600")
    await _next(stage, upstream, ("/in/a.txt", 16))
    await files.move(f"{root}/in/a.txt", f"{root}/b.txt")
    await _next(stage, upstream, ("/in/a.txt", 4), ("/b.txt", 1 | 8))
    await files.move(f"{root}/b.txt", f"{root}/b.tmp")
    await _next(stage, upstream, ("/b.txt", 4))
    await files.move(f"{root}/b.tmp", f"{root}/b.txt")
    await _next(stage, upstream, ("/b.txt", 1))
    await files.remove(f"{root}/b.txt")
    await _next(stage, upstream, ("/b.txt", 4))
    # And a directory is told like a file
    await files.make(f"{root}/d.txt")
    await _next(stage, upstream, ("/d.txt", 1))
    assert stage.emitted[0].raw == f'{{"name":"{root}/in/a.txt","op":1,"metadata":{{"m":"1"}}}}'.encode()
    assert len({event.id for event in stage.emitted}) == len(stage.emitted)
    assert not stage.errors


async def test_two_changes_between_two_looks_are_one_event_and_only_wanted_ones_are_told(
    upstream: Folder, stage: Stage
) -> None:
    # Given a source that wants changes of mode, and is away
    await upstream.send("a")
    stage.block["type"] = "CHMOD|REMOVE"
    await stage.start()
    await stage.stop()
    # When a file is written and gets another mode, and another one comes
    await upstream.files.append(f"{upstream.path}/a.txt", b"more")
    await upstream.files.mode(f"{upstream.path}/a.txt", "600")
    await upstream.send("b")
    await stage.start()
    # Then the first is told with both bits, and the other not
    await _next(stage, upstream, ("/a.txt", 2 | 16))
    await upstream.settle()
    assert len(stage.emitted) == 1


async def test_a_file_that_is_written_anew_is_a_file_that_was_written(upstream: Folder, stage: Stage) -> None:
    # Given a file
    await upstream.send("a")
    stage.block["type"] = "WRITE"
    await stage.start()
    await stage.stop()
    # When another one takes its place
    await upstream.files.write(f"{upstream.path}/a.txt", b"another")
    await stage.start()
    # Then it was written
    await _next(stage, upstream, ("/a.txt", 2))


@pytest.mark.parametrize("directory", ["{}", "{}/"])
async def test_one_path_below_the_directory_with_and_without_a_slash(
    upstream: Folder, stage: Stage, directory: str
) -> None:
    # Given a source that wants one path
    del stage.block["pathRegexp"]
    stage.block |= {"directory": directory.format(upstream.path), "path": "in/a.txt"}
    await stage.start()
    # When that file comes, and others of its name elsewhere
    await upstream.files.write(f"{upstream.path}/a.txt")
    await upstream.files.write(f"{upstream.path}/other/a.txt")
    await upstream.files.write(f"{upstream.path}/in/a.txt")
    # Then it alone is told
    await _next(stage, upstream, ("/in/a.txt", 1))
    assert {name for name, _ in _told(stage, upstream)} == {"/in/a.txt"}


async def test_what_is_there_at_the_first_look_is_taken_as_it_is_and_a_directory_in_pages(
    upstream: Folder, stage: Stage
) -> None:
    # Given a directory with more files than the NameNode tells at once
    for number in range(12):
        await upstream.send(f"old-{number:02}")
    await stage.start()
    # When more come, then those are told, each once, in their order
    for number in range(12):
        await upstream.send(f"new-{number:02}")
    await stage.events(12)
    await upstream.settle()
    assert [name for name, _ in _told(stage, upstream)] == [f"/new-{number:02}.txt" for number in range(12)]


async def test_an_event_that_was_begun_has_the_same_id_after_a_crash(upstream: Folder, stage: Stage) -> None:
    # Given a bus that fails once the event was offered
    await stage.start()
    stage.failure = BusError("the bus is away")
    await upstream.send("a")
    await eventually(lambda: len(stage.offered) >= 2)
    # When it is back
    stage.failure = None
    (event,) = await stage.events(1)
    # Then all that were offered are the same event
    assert {offered.id for offered in stage.offered} == {event.id}


async def test_a_killed_cluster_is_come_back_to_and_nothing_is_missing(upstream: Folder, stage: Stage) -> None:
    # Given a file whose emit is under way
    await stage.start()
    stage.close_gate()
    await upstream.send("before")
    await eventually(lambda: stage.under_way == 1)
    # When the cluster is killed and comes back
    await upstream.server.restart()
    stage.open_gate()
    await eventually(lambda: len(stage.listening) >= 2)
    await upstream.files.make(f"{upstream.path}/after.txt")
    # Then nothing is missing, and what is told twice has one id
    await eventually(lambda: {name for name, _ in _told(stage, upstream)} == {"/before.txt", "/after.txt"})
    assert len({event.id for event in stage.emitted}) == 2
    assert all(isinstance(error, SourceError) and "127.0.0.1" in str(error) for error in stage.errors)


async def test_a_cluster_that_stands_still_is_noticed(
    upstream: Folder, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a source that is soon impatient
    monkeypatch.setattr("argosy.sources._hdfs_rpc._ANSWER_SECONDS", 1.0)
    await stage.start()
    # When the cluster stands still
    upstream.server.signal(signal.SIGSTOP)
    try:
        await eventually(lambda: bool(stage.errors))
    finally:
        upstream.server.signal(signal.SIGCONT)
    # Then the run ends with a sentence
    assert "has not answered for 1 s" in str(stage.errors[0])


async def test_a_host_that_is_led_elsewhere(upstream: Folder, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given the name of a NameNode in a cluster, and where it is here
    monkeypatch.setenv("ARGOSY_RESOLVE", f"namenode.hadoop:8020={upstream.server.address}")
    stage.block["addresses"] = ["namenode.hadoop"]
    # When the source starts, then it receives
    await stage.start()
    assert "hdfs://namenode.hadoop:8020" in stage.listening[0]
    await upstream.send("one")
    await stage.events(1)


async def test_the_next_address_is_asked_where_one_is_away_or_stands_by(upstream: Folder, stage: Stage) -> None:
    # Given an address where nobody is, and a NameNode that stands by
    async with _standby() as port:
        stage.block["addresses"] = ["127.0.0.1:9", f"127.0.0.1:{port}", upstream.server.address]
        # When the source starts, then it comes to the active one
        await stage.start()
        await upstream.send("one")
        await stage.events(1)
        # And where none is active, it says so
        await stage.stop()
        async with raising("hdfs", {**stage.block, "addresses": [f"127.0.0.1:{port}"]}) as sentence:
            assert f"no NameNode is active: hdfs://127.0.0.1:{port} stand by" in sentence


async def test_refusals_are_sentences(upstream: Folder) -> None:
    server, block = upstream.server, upstream.block
    await upstream.files.make(f"{upstream.path}/closed")
    await upstream.files.mode(f"{upstream.path}/closed", "700")
    cases: list[tuple[dict[str, Json], list[str]]] = [
        ({**block, "directory": "/no/such"}, ["has no directory '/no/such'"]),
        ({**block, "directory": f"{upstream.path}/closed"}, ["Permission denied: user=argosy"]),
        ({**block, "addresses": ["127.0.0.1:9"]}, ["nothing listens at hdfs://127.0.0.1:9"]),
        ({**block, "addresses": ["no.such.invalid"]}, ["no host 'no.such.invalid'"]),
        ({**block, "addresses": [f"127.0.0.1:{server.tls_port}"]}, ["is it the port of the NameNode?"]),
    ]
    for faulty, named in cases:
        async with raising("hdfs", faulty) as sentence:
            assert all(text in sentence for text in named), sentence


class _standby:
    """A double of a NameNode that stands by: to the first call it answers as Hadoop's does."""

    async def __aenter__(self) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(7)
        for _ in range(2):
            await reader.readexactly(int.from_bytes(await reader.readexactly(4), "big"))
        said = b"Operation category READ is not supported in state standby"
        java = b"org.apache.hadoop.ipc.StandbyException"
        writer.write(_packet(_number(1, 1) + _number(2, 1) + _number(3, 9) + _field(4, java) + _field(5, said)))
        await writer.drain()
        writer.close()
