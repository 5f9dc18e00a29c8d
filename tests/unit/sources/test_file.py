"""The ``file`` source on real directories: the suite of every source, each change, and what happens while
nobody watches."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from argosy.errors import BusError, SourceError
from tests.conformance.source import DictBucket, SourceSuite, Stage, Upstream, eventually, on_stage


class Folder(Upstream):
    """A directory in which every message is a new file; what it was told is which files the source
    remembers."""

    redelivers = True
    keeps = True
    names_messages = True

    def __init__(self, path: Path, *, polling: bool) -> None:
        self.path = path
        self.bucket = DictBucket()
        self.block = {
            "eventType": "CREATE",
            "watchPathConfig": {"directory": f"{path}/", "pathRegexp": r"\.txt$"},
            "polling": polling,
        }

    async def send(self, text: str) -> None:
        (self.path / f"{text}.txt").write_text("content")

    def text_of(self, data: Any) -> str:
        assert set(data) == {"name", "op", "metadata"}
        assert data["op"] == 1
        expected = "" if self.block["polling"] else f"{self.path}/"
        assert data["name"] == expected + Path(data["name"]).name
        return Path(data["name"]).stem

    async def acknowledged(self) -> int:
        shards = [entry.value for key, entry in self.bucket.entries.items() if key.startswith("files/")]
        return sum(len(json.loads(shard)) for shard in shards)


class TestFile(SourceSuite):
    kind = "file"
    bad_blocks = [  # noqa: RUF012
        ({"watchPathConfig": {"directory": "/a", "path": "b"}}, "eventType"),
        ({"eventType": "CREATED", "watchPathConfig": {"directory": "/a", "path": "b"}}, "'CREATED'"),
        ({"eventType": "CREATE"}, "watchPathConfig"),
        ({"eventType": "CREATE", "watchPathConfig": {"path": "b"}}, "directory"),
        ({"eventType": "CREATE", "watchPathConfig": {"directory": "a", "path": "b"}}, "absolute"),
        ({"eventType": "CREATE", "watchPathConfig": {"directory": "/a"}}, "path or pathRegexp"),
        (
            {"eventType": "CREATE", "watchPathConfig": {"directory": "/a", "path": "b", "pathRegexp": "c"}},
            "path or pathRegexp",
        ),
        ({"eventType": "CREATE", "watchPathConfig": {"directory": "/a", "pathRegexp": "("}}, "pathRegexp"),
        ({"eventType": "CREATE", "watchPathConfig": {"directory": "/a", "path": "b/c"}}, "'b/c'"),
    ]

    @pytest.fixture
    async def upstream(self, tmp_path: Path) -> AsyncIterator[Folder]:
        yield Folder(tmp_path, polling=False)


class TestFileByPolling(SourceSuite):
    kind = "file"
    bad_blocks = TestFile.bad_blocks

    @pytest.fixture
    async def upstream(self, tmp_path: Path) -> AsyncIterator[Folder]:
        yield Folder(tmp_path, polling=True)


def block(directory: Path | str, event: str, **paths: str) -> dict[str, Any]:
    return {"eventType": event, "watchPathConfig": {"directory": str(directory), **(paths or {"pathRegexp": "."})}}


def told(stage: Stage) -> list[tuple[str, int]]:
    return [(Path(event.data["name"]).name, event.data["op"]) for event in stage.emitted]


def act(directory: Path) -> None:
    """Everything that may happen to a file."""
    (directory / "a").write_text("created and written")
    (directory / "a").chmod(0o600)
    with (directory / "a").open("a") as file:
        file.write("written again")
    (directory / "a").rename(directory / "b")
    (directory / "b").unlink()


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ("CREATE", [("a", 1), ("b", 1)]),
        ("WRITE", [("a", 2), ("a", 2)]),
        ("CHMOD", [("a", 16)]),
        ("RENAME", [("a", 8)]),
        ("REMOVE", [("b", 4)]),
    ],
)
async def test_only_the_wanted_change_is_told(event: str, expected: list[tuple[str, int]], tmp_path: Path) -> None:
    # Given a source that wants one kind of change
    async with on_stage("file", block(tmp_path, event)) as stage:
        await stage.start()
        # When a file is created, written, changed in mode, renamed and removed
        act(tmp_path)
        # Then exactly that kind is told, with fsnotify's bit
        await stage.events(len(expected))
        assert told(stage) == expected


@pytest.mark.parametrize("event", ["CREATE", "WRITE", "CHMOD", "RENAME", "REMOVE"])
@pytest.mark.parametrize("polling", [False, True])
async def test_what_happens_while_nobody_watches_is_found_at_the_next_start(
    event: str, polling: bool, tmp_path: Path
) -> None:
    # Given a directory whose files are known, and a source that is stopped
    for name in ("kept", "written", "moded", "renamed", "removed"):
        (tmp_path / name).write_text("content")
    async with on_stage("file", {**block(tmp_path, event), "polling": polling}) as stage:
        await stage.start()
        await stage.stop()
        # When each change happens to another file
        (tmp_path / "new").write_text("content")
        (tmp_path / "written").write_text("other content")
        (tmp_path / "moded").chmod(0o600)
        (tmp_path / "renamed").rename(tmp_path / "moved")
        (tmp_path / "removed").unlink()
        await stage.start()
        # Then the wanted one is told when the source is back, and only once
        expected = {
            "CREATE": [("moved", 1), ("new", 1)],
            "WRITE": [("moved", 2), ("new", 2), ("written", 2)],
            "CHMOD": [("moded", 16)],
            "RENAME": [("renamed", 8)],
            "REMOVE": [("removed", 4)],
        }[event]
        assert told(stage) == expected
        await stage.stop()
        await stage.start()
        assert told(stage) == expected


async def test_an_event_with_the_marks_of_a_finished_one_has_an_id_of_its_own(tmp_path: Path) -> None:
    # Given a file that was told, and removed while its source watched
    file, other = tmp_path / "a", tmp_path.parent / "elsewhere"
    other.write_text("")
    async with on_stage("file", block(tmp_path, "CREATE", path="a")) as stage:
        await stage.start()
        other.rename(file)
        await stage.events(1)
        file.rename(other)
        await eventually(lambda: _forgotten(stage), "the file was forgotten")
        await stage.stop()
        # When the same file, inode and all, comes back while nobody watches
        other.rename(file)
        await stage.start()
        # Then that is another event
        first, second = await stage.events(2)
        assert first.id != second.id


def _forgotten(stage: Stage) -> bool:
    assert isinstance(stage.bucket, DictBucket)
    return all(json.loads(entry.value) == {} for key, entry in stage.bucket.entries.items() if key.startswith("files/"))


async def test_a_rename_out_of_the_directory_that_was_begun_is_told_again_with_its_id(tmp_path: Path) -> None:
    # Given an event that the bus did not take
    source = tmp_path / "watched"
    source.mkdir()
    (source / "a").write_text("")
    async with on_stage("file", block(source, "RENAME")) as stage:
        await stage.start()
        stage.failure = BusError("no")
        (source / "a").rename(tmp_path / "a")
        await eventually(lambda: bool(stage.offered), "the event was offered")
        # When the bus takes it
        stage.failure = None
        (event,) = await stage.events(1)
        # Then it is the same event, although the directory alone could not tell it from a removal
        assert (event.data["op"], event.id) == (8, stage.offered[0].id)


async def test_another_pattern_begins_anew_with_the_files_as_they_are(tmp_path: Path) -> None:
    async with on_stage("file", block(tmp_path, "CREATE", path="a")) as stage:
        await stage.start()
        await stage.stop()
        (tmp_path / "b").write_text("")
        stage.block["watchPathConfig"] = {"directory": str(tmp_path), "path": "b"}
        await stage.start()
        assert stage.emitted == []
        (tmp_path / "b").unlink()
        (tmp_path / "b").write_text("")
        await stage.events(1)


@pytest.mark.parametrize("slash", ["", "/"])
async def test_a_path_matches_with_and_without_a_slash_behind_the_directory(slash: str, tmp_path: Path) -> None:
    async with on_stage("file", block(f"{tmp_path}{slash}", "CREATE", path="x.txt")) as stage:
        await stage.start()
        (tmp_path / "y.txt").write_text("")
        (tmp_path / "x.txt").write_text("")
        await stage.events(1)
        assert [event.data["name"] for event in stage.emitted] == [f"{tmp_path}/x.txt"]


@pytest.mark.parametrize(
    ("slash", "pattern", "expected"),
    [("", "^a", "ab"), ("", "^/a", "ab"), ("/", "^a", "ab"), ("/", "^/a|^b", "b"), ("/", "t", "bt")],
)
async def test_a_pattern_is_searched_in_the_name(slash: str, pattern: str, expected: str, tmp_path: Path) -> None:
    async with on_stage("file", block(f"{tmp_path}{slash}", "CREATE", pathRegexp=f"{pattern}|b$")) as stage:
        await stage.start()
        # When files are created, the last of which every pattern finds
        for name in ("a", "t", "z", "b"):
            (tmp_path / name).write_text("")
        await eventually(lambda: ("b", 1) in told(stage), "the last file was told")
        # Then those before it that the pattern finds were told too
        assert sorted(name for name, _ in told(stage)) == sorted(expected)


async def test_names_that_are_not_utf8_are_told_and_remembered(tmp_path: Path) -> None:
    # Given a file whose name is not UTF-8
    name = os.path.join(os.fsencode(tmp_path), b"caf\xe9.txt")
    async with on_stage("file", block(tmp_path, "CREATE")) as stage:
        await stage.start()
        with open(name, "wb"):
            pass
        # Then it is told as Go would print it, and not again at the next start
        (event,) = await stage.events(1)
        assert event.data["name"] == f"{tmp_path}/caf\ufffd.txt"
        await stage.stop()
        await stage.start()
        assert len(stage.emitted) == 1


@pytest.mark.parametrize("polling", [False, True])
async def test_a_directory_that_is_missing_or_goes_away_is_named(polling: bool, tmp_path: Path) -> None:
    # Given no directory
    directory = tmp_path / "later"
    async with on_stage("file", {**block(directory, "CREATE"), "polling": polling}) as stage:
        starting = asyncio.create_task(stage.start())
        await eventually(lambda: bool(stage.errors), "the source failed")
        # Then the error names it
        assert isinstance(stage.errors[0], SourceError)
        assert f"{str(directory)!r} does not exist" in str(stage.errors[0])
        # And once it is there, files in it are told
        directory.mkdir()
        await starting
        (directory / "a").write_text("")
        await stage.events(1)
        # And when it goes away, that is said too
        stage.errors.clear()
        shutil.rmtree(directory)
        await eventually(lambda: bool(stage.errors), "the source failed")
        assert str(directory) in str(stage.errors[0])


async def test_a_file_instead_of_a_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    async with on_stage("file", block(tmp_path / "file", "CREATE")) as stage:
        starting = asyncio.create_task(stage.start())
        await eventually(lambda: bool(stage.errors), "the source failed")
        assert "is not a directory" in str(stage.errors[0])
        starting.cancel()


async def test_a_flood_of_files_is_told_without_loss_or_repetition(tmp_path: Path) -> None:
    # Given a bus that does not answer, and more changes than are read ahead
    async with on_stage("file", block(tmp_path, "CREATE", pathRegexp=r"^n\d+$")) as stage:
        await stage.start()
        stage.close_gate()
        for number in range(200):
            (tmp_path / f"n{number}").write_text("")
        for _ in range(100):
            (tmp_path / "noise").write_text("")
        # When it answers again
        stage.open_gate()
        # Then each file is told once
        await stage.events(200)
        assert sorted(name for name, _ in told(stage)) == sorted(f"n{number}" for number in range(200))


async def test_changes_that_the_kernel_dropped_are_found_by_looking(tmp_path: Path) -> None:
    # Given a source that is held up by the bus
    async with on_stage("file", block(tmp_path, "CREATE")) as stage:
        await stage.start()
        stage.close_gate()
        (tmp_path / "a").write_text("")
        (tmp_path / "b").write_text("")
        await eventually(lambda: stage.under_way == 1, "emit was called")
        # When more happens than the source reads ahead and the kernel's queue holds, and then a file comes
        for _ in range(12):
            for number in range(4000):
                os.utime(tmp_path / "ab"[number % 2])
            await asyncio.sleep(0)
        (tmp_path / "dropped").write_text("")
        # Then it is found all the same
        stage.open_gate()
        await eventually(lambda: ("dropped", 1) in told(stage), "the dropped change was found")
        assert told(stage) == [("a", 1), ("b", 1), ("dropped", 1)]
        assert not stage.errors
