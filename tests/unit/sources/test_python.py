"""The ``python`` source: the suite of every source for each kind of function, and what functions do wrong."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from argosy.errors import EventTooLarge
from tests.conformance.source import SourceSuite, VirtualClock, ended, eventually, on_stage, raising
from tests.unit.sources import python_origin
from tests.unit.sources.python_origin import ENDED, FROM_OUTSIDE, Mail

HERE = "tests.unit.sources.python_origin"


class _Suite(SourceSuite):
    kind = "python"
    function: ClassVar[str]
    bad_blocks: ClassVar[list[tuple[dict[str, Any], str]]] = [
        ({}, "handler"),
        ({"handler": "module"}, "package.module:function"),
        ({"handler": "a b:c"}, "package.module:function"),
        ({"handler": "a:b", "interval": "0s"}, "interval"),
        ({"handler": "a:b", "secrets": {"token": {}}}, "key"),
    ]

    @pytest.fixture
    async def upstream(self) -> AsyncIterator[Mail]:
        yield Mail(self.function)


class TestGenerator(_Suite, SourceSuite):
    kind = "python"
    function = "generator"


class TestFunction(_Suite):
    function = "watcher"


class TestThreadGenerator(_Suite):
    function = "thread_generator"


class TestThreadFunction(_Suite):
    function = "thread_watcher"


def stage_of(function: str, **fields: Any) -> Any:
    given = {name: fields.pop(name) for name in ("secrets", "clock") if name in fields}
    return on_stage("python", {"handler": f"{HERE}:{function}", **fields}, **given)


async def test_the_cursor_is_remembered_and_the_function_is_called_again_after_the_interval() -> None:
    # Given a function that counts to three from where it stood, every hour
    clock = VirtualClock(dt.datetime(2026, 1, 31, tzinfo=dt.UTC))
    async with stage_of("counter", args={"until": 3}, interval="1h", clock=clock) as stage:
        await stage.start()
        await stage.events(3)
        await eventually(lambda: clock.sleeping == 1)
        # When an hour passes, and when it is restarted, then it goes on
        await clock.advance(3600)
        await stage.events(6)
        await eventually(lambda: clock.sleeping == 1)
        await stage.stop()
        await stage.start()
        await stage.events(9)
        assert [event.data["body"] for event in stage.emitted] == [*range(1, 10)]
        assert not stage.errors


async def test_the_cursor_of_a_message_moves_only_once_its_event_is_kept() -> None:
    mail = Mail("generator")
    async with on_stage("python", mail.block) as stage:
        await stage.start()
        stage.close_gate()
        await mail.send("one")
        await eventually(lambda: stage.under_way == 1)
        assert await stage.bucket.get("cursor") is None
        stage.open_gate()
        await eventually(lambda: mail.mailbox.acknowledged == [1])
        kept = await stage.bucket.get("cursor")
        assert kept is not None and kept.value == b"1"


async def test_an_object_that_can_be_called_is_a_function_as_well() -> None:
    mail = Mail("reader")
    async with on_stage("python", mail.block) as stage:
        await stage.start()
        await mail.send("one")
        (event,) = await stage.events(1)
        assert (mail.text_of(event.data), event.id) == ("one", "1")


async def test_no_more_than_the_limit_wait_for_the_bus() -> None:
    mail = Mail("watcher")
    async with on_stage("python", mail.block) as stage:
        await stage.start()
        stage.close_gate()
        for number in range(100):
            await mail.send(str(number))
        await eventually(lambda: stage.under_way == 64)
        await mail.settle()
        assert stage.under_way == 64
        # And when it ends meanwhile, then those are finished and acknowledged, and no others begun
        task = stage.begin_stop()
        await asyncio.sleep(0)
        stage.open_gate()
        await ended(task)
        assert len(stage.emitted) == len(mail.mailbox.acknowledged) == 64


@pytest.mark.parametrize(
    ("function", "said", "line"),
    [
        ("failing", "raised ValueError: login with *** failed", 'raise ValueError(f"login'),
        ("failing_later", "raised LookupError: no such order", 'raise LookupError("no such'),
        ("leaving", "raised SystemExit: 3", "raise SystemExit(3)"),
        ("leaving_thread", "raised SystemExit: 3", "raise SystemExit(3)"),
    ],
)
async def test_what_a_function_raises_is_said_with_its_place_and_without_its_secrets(
    function: str, said: str, line: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secrets = {("s", "t"): "t0ken"}
    async with stage_of(function, secrets=secrets) as stage:
        stage.block["secrets"] = {"token": {"name": "s", "key": "t"}}
        await stage.start()
        await eventually(lambda: bool(stage.errors))
        told = str(stage.errors[0])
        assert told.startswith(f"handler '{HERE}:{function}' {said} (")
        path, number = told.rpartition(" (")[2].rstrip(")").rsplit(":", 1)
        assert path == python_origin.__file__
        assert line in Path(path).read_text().splitlines()[int(number) - 1]
        assert "t0ken" not in told + caplog.text


async def test_what_is_no_json_is_counted_and_the_next_is_served() -> None:
    async with stage_of("odd") as stage:
        await stage.start()
        await stage.events(1)
        assert stage.emitted[0].data == {"body": "good"}
        assert len(stage.refused) == 2 and "(object) is no JSON" in stage.refused[0]
        kept = await stage.bucket.get("cursor")
        assert kept is not None and kept.value == b'"behind"'
        assert not stage.errors


async def test_an_event_that_the_bus_never_takes_is_counted() -> None:
    async with stage_of("counter", args={"until": 1}, interval="1h") as stage:
        stage.failure = EventTooLarge("the event is too large")
        await stage.start()
        await eventually(lambda: stage.refused == ["the event is too large"])


async def test_functions_clean_up_when_the_source_ends() -> None:
    ENDED.clear()
    for function in ("tidy", "tidy_thread"):
        async with stage_of(function) as stage:
            await stage.start()
            await stage.events(1)
            await asyncio.sleep(0.05)
            await stage.stop()
    assert ENDED == ["tidy", "tidy_thread"]


@pytest.mark.parametrize("function", ["deaf", "deaf_thread"])
async def test_a_function_that_does_not_end_is_left_alone(
    function: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a function that does not heed what it is told
    monkeypatch.setattr("argosy.sources.python._END_SECONDS", 0.1)
    ENDED.clear()
    async with stage_of(function) as stage:
        await stage.start()
        await asyncio.sleep(0.05)
        # When the source is cancelled, then it ends, and says so
        await stage.stop()
        assert "does not end when it is told to" in caplog.text
        # And what the function does later becomes no event
        FROM_OUTSIDE.put("go on") if function == "deaf_thread" else ENDED.append("now")
        await eventually(lambda: ENDED[-1:] == ["Stopped" if function == "deaf_thread" else "deaf"])
        assert stage.offered == []
        await eventually(lambda: not any(t.name == "argosy-handler" for t in threading.enumerate()))


async def test_what_cannot_be_called_is_said() -> None:
    for block, said in [
        ({"handler": "no.such:thing"}, "there is no module 'no'"),
        ({"handler": f"{HERE}:nothing"}, "has no 'nothing'"),
        ({"handler": f"{HERE}:ENDED"}, "not a function"),
        ({"handler": f"{HERE}:counter"}, "cannot be called with a feed and args []"),
        ({"handler": f"{HERE}:counter", "args": {"up": 1}}, "args ['up']"),
        ({"handler": f"{HERE}:counter", "path": "/no/such"}, "is no folder"),
    ]:
        async with raising("python", block) as sentence:
            assert said in sentence


async def test_a_plain_function_that_hides_an_async_one_is_told_so() -> None:
    async with stage_of("secret_coroutine") as stage:
        await stage.start()
        await eventually(lambda: bool(stage.errors))
        assert "is no 'async def' and gave a coroutine" in str(stage.errors[0])


async def test_a_refusal_is_counted_and_a_secret_that_the_manifest_does_not_give_is_named() -> None:
    async with stage_of("refusing") as stage:
        await stage.start()
        await eventually(lambda: bool(stage.errors))
        assert stage.refused[0] == "a letter without a stamp"
        assert "the manifest has no secret 'other'" in str(stage.errors[0])


async def test_a_function_of_a_folder_beside_the_manifest(tmp_path: Path) -> None:
    (tmp_path / "my_source_of_a_folder.py").write_text("async def once(feed):\n    yield {'a': 1.5}\n")
    async with on_stage(
        "python", {"handler": "my_source_of_a_folder:once", "path": str(tmp_path), "interval": "1h"}
    ) as stage:
        await stage.start()
        (event,) = await stage.events(1)
        assert event.raw == b'{"body":{"a":1.5}}' and event.id is None
