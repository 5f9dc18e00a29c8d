"""The ``python`` trigger calls functions out of modules that are written into a folder here."""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from argosy.errors import Rejected, RetryAfter, TriggerError
from argosy.manifests.fields import Json
from argosy.triggers.python import PythonConfig, load
from tests.conformance.trigger import Receiver, Stage, TriggerSuite, event

_RECEIVER = """
import asyncio
from argosy.errors import Rejected

seen, last, mode, waiting, gate = [], {}, "well", 0, asyncio.Event()

async def handle(events):
    global waiting
    if mode == "refuse":
        raise Rejected("the ledger does not take this order")
    if mode == "fail":
        raise ConnectionError("the ledger is away")
    waiting += 1
    try:
        if mode == "hold":
            await gate.wait()
    finally:
        waiting -= 1
    given = {name: {"id": events[name].id, "data": events[name].data} for name in events}
    last.update(action_id=events.action_id, attempt=events.attempt, sensor=events.sensor, trigger=events.trigger, events=given)
    seen.append(events.action_id)
"""


class _Folder:
    """A folder of modules whose names no other test has."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def module(self, text: str) -> str:
        name = f"handlers_{uuid.uuid4().hex[:8]}"
        (self.path / f"{name}.py").write_text(text)
        return name


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[_Folder]:
    path, modules = list(sys.path), set(sys.modules)
    yield _Folder(tmp_path)
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.startswith("handlers_"):
            del sys.modules[name]


class _Function(Receiver):
    networked = False

    def __init__(self, folder: _Folder) -> None:
        name = folder.module(_RECEIVER)
        self.block = {"handler": f"{name}:handle", "path": str(folder.path)}
        load(PythonConfig.model_validate(self.block))
        self.module: Any = sys.modules[name]

    async def effects(self) -> list[str]:
        return list(self.module.seen)

    async def arrived(self) -> Json:
        return dict(self.module.last)

    async def refuse(self) -> None:
        self.module.mode = "refuse"

    async def fail(self) -> None:
        self.module.mode = "fail"

    async def hold(self) -> None:
        self.module.mode = "hold"

    async def release(self) -> None:
        self.module.mode = "well"
        self.module.gate.set()

    async def held(self) -> int:
        waiting: int = self.module.waiting
        return waiting


class TestPython(TriggerSuite):
    kind = "python"
    bad_blocks: ClassVar[list[tuple[dict[str, Json], str]]] = [
        ({}, "handler"),
        ({"handler": "no_function"}, "write package.module:function"),
        ({"handler": "a b:c"}, "write package.module:function"),
        ({"handler": "a:b", "timeoutSeconds": 0}, "timeoutSeconds"),
    ]

    @pytest.fixture
    async def receiver(self, folder: _Folder) -> _Function:
        return _Function(folder)


@pytest.fixture
async def fire(folder: _Folder) -> AsyncIterator[Any]:
    stage = Stage("python")
    async with stage.open() as trigger:

        async def fire(text: str, block: dict[str, Json] | None = None, **named: Any) -> Any:
            given = {"handler": f"{folder.module(text)}:handle", "path": str(folder.path), **(block or {})}
            return await stage.fire(trigger, given, **named)

        yield fire


class TestTheCall:
    async def test_a_handler_sees_the_events_and_the_action(self, fire: Any) -> None:
        text = """
def handle(events):
    one = events["one"]
    assert list(events) == ["one", "two"] and len(events) == 2
    return {
        "data": one.data, "id": one.id, "source": one.source, "subject": one.subject, "type": one.type,
        "time": one.time, "action": [events.action_id, events.attempt, events.sensor, events.trigger],
    }
"""
        events = {"one": event({"a": [1, None]}, id="1"), "two": event(2, id="2")}
        outcome = await fire(text, events=events, id="a-1", attempt=3)
        assert outcome.detail == {
            "data": {"a": [1, None]},
            "id": "1",
            "source": "webhook",
            "subject": "example",
            "type": "webhook",
            "time": "2026-11-23T10:00:00.5Z",
            "action": ["a-1", 3, "stage", "act"],
        }

    async def test_args_are_passed_by_name_and_each_try_has_its_own(self, fire: Any, folder: _Folder) -> None:
        text = "def handle(events, items, extra=1):\n    items.append(extra)\n    return {'items': items}\n"
        stage = Stage("python")
        block = {"handler": f"{folder.module(text)}:handle", "path": str(folder.path), "args": {"items": [0]}}
        async with stage.open() as trigger:
            for _ in range(2):
                assert (await stage.fire(trigger, block)).detail == {"items": [0, 1]}

    async def test_a_synchronous_handler_does_not_hold_up_the_loop(self, fire: Any, folder: _Folder) -> None:
        # Given a handler that waits for a file which only the loop will write
        text = """
import pathlib, time
def handle(events, file):
    while not pathlib.Path(file).exists():
        time.sleep(0.01)
    return "seen"
"""
        file = folder.path / "go"
        task = asyncio.create_task(fire(text, {"args": {"file": str(file)}}))
        await asyncio.sleep(0)
        # When the loop writes it
        file.write_text("")
        # Then the handler ends
        assert (await task).message == "seen"

    async def test_an_object_with_an_async_call_is_awaited(self, fire: Any) -> None:
        text = "class C:\n    async def __call__(self, events):\n        return 'called'\nhandle = C()\n"
        assert (await fire(text)).message == "called"

    @pytest.mark.parametrize(
        ("returned", "message", "detail"),
        [
            ("None", "is done", {}),
            ("'two orders'", "two orders", {}),
            ("{'a': (1, 2)}", "is done", {"a": [1, 2]}),
            ("{'a': object()}", "returned a dict that is not JSON and was not kept", {}),
            ("object()", "returned a object that is not JSON and was not kept", {}),
            ("7", "is done", {"result": 7}),
            ("[1, 'a']", "is done", {"result": [1, "a"]}),
            ("False", "is done", {"result": False}),
        ],
    )
    async def test_what_it_returns_is_the_outcome(
        self, fire: Any, returned: str, message: str, detail: dict[str, Json]
    ) -> None:
        outcome = await fire(f"def handle(events):\n    return {returned}\n")
        assert message in outcome.message
        assert outcome.detail == detail

    async def test_a_module_finds_its_neighbours(self, fire: Any, folder: _Folder) -> None:
        neighbour = folder.module("word = 'neighbourly'\n")
        assert (await fire(f"import {neighbour}\ndef handle(events):\n    return {neighbour}.word\n")).message == (
            "neighbourly"
        )


_TYPES = """
from __future__ import annotations
import dataclasses, datetime, decimal, enum, typing, uuid
import pydantic

class Size(enum.Enum):
    SMALL = "s"

@dataclasses.dataclass
class Line:
    sku: str
    count: int

class Order(pydantic.BaseModel):
    id: int
    lines: list[Line] = []

class Odd:
    pass
"""


class TestTypedArguments:
    @pytest.mark.parametrize(
        ("hint", "given", "seen"),
        [
            ("int", "17", "17"),
            ("float", "1.5", "1.5"),
            ("bool", "true", "True"),
            ("str", 17, "'17'"),
            ("str", "x", "'x'"),
            ("decimal.Decimal", "1.10", "Decimal('1.10')"),
            ("datetime.date", "2026-01-31", "datetime.date(2026, 1, 31)"),
            ("uuid.UUID", "00000000-0000-0000-0000-000000000001", "UUID('00000000-0000-0000-0000-000000000001')"),
            ("Size", "s", "<Size.SMALL: 's'>"),
            ("list[int]", ["1", 2], "[1, 2]"),
            ("int | None", None, "None"),
            ("typing.Literal['a', 'b']", "a", "'a'"),
            ("Line", {"sku": "pen", "count": "2"}, "Line(sku='pen', count=2)"),
            (
                "Order",
                {"id": "7", "lines": [{"sku": "pen", "count": 1}]},
                "Order(id=7, lines=[Line(sku='pen', count=1)])",
            ),
            ("typing.Any", "17", "'17'"),
            ("Odd", "17", "'17'"),
            ("NotThere", "17", "'17'"),
            ("dict", {"a": "1"}, "{'a': '1'}"),
        ],
    )
    async def test_an_argument_is_what_its_annotation_wants(self, fire: Any, hint: str, given: Json, seen: str) -> None:
        text = f"{_TYPES}\ndef handle(events, value: {hint}):\n    return repr(value)\n"

        assert (await fire(text, {"args": {"value": given}})).message == seen

    @pytest.mark.parametrize(
        ("hint", "given", "words"),
        [
            ("int", "many", r"argument 'value' is no int: .*integer"),
            ("int", 1.5, r"argument 'value' is no int"),
            ("Line", {"sku": "pen", "count": "x"}, r"argument 'value\.count' is no Line"),
            ("list[Line]", [{"sku": "pen"}], r"argument 'value\.0\.count' is no list\[.*Line\]: Field required"),
            ("typing.Literal['a']", "hunter2", r"is no Literal\['a'\]"),
        ],
    )
    async def test_one_that_cannot_be_is_rejected_by_name_and_not_shown(
        self, fire: Any, hint: str, given: Json, words: str
    ) -> None:
        text = f"{_TYPES}\ndef handle(events, value: {hint}):\n    return repr(value)\n"

        with pytest.raises(Rejected, match=words) as raised:
            await fire(text, {"args": {"value": given}})

        assert "hunter2" not in str(raised.value)

    async def test_defaults_methods_and_other_arguments_are_left_alone(self, fire: Any) -> None:
        text = (
            "class C:\n    async def __call__(self, events, n: int, m: int = None, **rest: int):\n"
            "        return {'n': n, 'm': m, **rest}\nhandle = C()\n"
        )

        assert (await fire(text, {"args": {"n": "1", "x": "2"}})).detail == {"n": 1, "m": None, "x": "2"}

    @pytest.mark.parametrize(
        ("returned", "detail"),
        [
            ("Line('pen', 2)", {"sku": "pen", "count": 2}),
            ("Order(id=7)", {"id": 7, "lines": []}),
            ("{'at': datetime.date(2026, 1, 31), 'size': Size.SMALL}", {"at": "2026-01-31", "size": "s"}),
        ],
    )
    async def test_what_such_a_handler_returns_is_kept_as_json(
        self, fire: Any, returned: str, detail: dict[str, Json]
    ) -> None:
        assert (await fire(f"{_TYPES}\ndef handle(events):\n    return {returned}\n")).detail == detail


class TestFailures:
    @pytest.mark.parametrize("prefix", ["", "async "])
    @pytest.mark.parametrize(
        ("raised", "said"),
        [
            ("raise ValueError('too many')", "raised ValueError: too many"),
            ("raise StopIteration", "raised RuntimeError: coroutine raised StopIteration"),
            ("raise TimeoutError", "raised TimeoutError"),
            ("raise SystemExit(3)", "raised SystemExit: 3"),
        ],
    )
    async def test_an_exception_is_a_failed_try(self, fire: Any, prefix: str, raised: str, said: str) -> None:
        with pytest.raises(TriggerError, match=rf"handler 'handlers_\w+:handle' {said}") as error:
            await fire(f"{prefix}def handle(events):\n    {raised}\n")
        assert type(error.value) is TriggerError

    async def test_rejected_and_retry_after_pass_through(self, fire: Any) -> None:
        with pytest.raises(Rejected, match=r"^never$"):
            await fire("from argosy.errors import *\ndef handle(events):\n    raise Rejected('never')\n")
        with pytest.raises(RetryAfter) as error:
            await fire("from argosy.errors import *\ndef handle(events):\n    raise RetryAfter('later', 9)\n")
        assert error.value.seconds == 9

    @pytest.mark.parametrize("prefix", ["", "async "])
    async def test_a_handler_that_does_not_end_fails(self, fire: Any, prefix: str) -> None:
        wait = "await asyncio.sleep(60)" if prefix else "gate.wait(60)"
        text = f"import asyncio, threading\ngate = threading.Event()\n{prefix}def handle(events):\n    {wait}\n"
        with pytest.raises(TriggerError, match=r"did not end within 0\.2 s"):
            await fire(text, {"timeoutSeconds": 0.2})
        for name, module in list(sys.modules.items()):
            if name.startswith("handlers_"):
                module.gate.set()

    async def test_arguments_that_do_not_fit_are_rejected(self, fire: Any) -> None:
        with pytest.raises(Rejected, match=r"cannot be called with args \['b'\]: missing a required argument: 'a'"):
            await fire("def handle(events, a, **rest): ...\n", {"args": {"b": 1}})

    async def test_data_that_is_not_json_is_rejected_when_it_is_read(self, fire: Any) -> None:
        broken = event({})
        object.__setattr__(broken, "data", b"{")
        with pytest.raises(Rejected, match="the data of event 'e-1' is not JSON"):
            await fire("def handle(events):\n    events['dep'].data\n", events={"dep": broken})


class TestLoading:
    @pytest.mark.parametrize(
        ("text", "function", "said"),
        [
            ("", "handle", "has no 'handle'"),
            ("handle = 3", "handle", "is a int, not a function"),
            ("import no_such_module_here", "handle", r"no module 'no_such_module_here' \(it imports"),
            ("1/0", "handle", "cannot be imported: ZeroDivisionError: division by zero"),
            ("import sys; sys.exit(2)", "handle", "cannot be imported: SystemExit: 2"),
            ("def handle(:", "handle", "cannot be imported: SyntaxError"),
        ],
    )
    async def test_what_cannot_be_loaded_is_rejected_by_name(
        self, folder: _Folder, text: str, function: str, said: str
    ) -> None:
        name = folder.module(text)
        stage = Stage("python")
        async with stage.open() as trigger:
            with pytest.raises(Rejected, match=rf"handler '{name}:{function}': .*{said}"):
                await stage.fire(trigger, {"handler": f"{name}:{function}", "path": str(folder.path)})

    def test_a_module_that_is_not_there_is_named(self) -> None:
        with pytest.raises(Rejected, match="there is no module 'nowhere_at_all'; install it, or give path"):
            load(PythonConfig(handler="nowhere_at_all:f"))
        with pytest.raises(Rejected, match="path '/nowhere' is no folder"):
            load(PythonConfig(handler="a:f", path="/nowhere"))

    def test_a_module_of_another_folder_is_not_taken_for_this_one(self, folder: _Folder, tmp_path: Path) -> None:
        # Given two folders with a module of one name
        name = folder.module("def handle(events): ...\n")
        other = tmp_path / "other"
        other.mkdir()
        (other / f"{name}.py").write_text("def handle(events): ...\n")
        load(PythonConfig(handler=f"{name}:handle", path=str(folder.path)))
        # When the second is asked for, then it is refused, not confused
        with pytest.raises(Rejected, match="another of this name was loaded from"):
            load(PythonConfig(handler=f"{name}:handle", path=str(other)))

    def test_a_method_and_a_mounted_link_are_found(self, folder: _Folder, tmp_path: Path) -> None:
        # Given a file as Kubernetes mounts it: a link to a folder beside
        data = tmp_path / "outside"
        data.mkdir()
        mounted = tmp_path / "mounted"
        mounted.mkdir()
        name = folder.module("class Orders:\n    @staticmethod\n    def bill(events): ...\n")
        (folder.path / f"{name}.py").rename(data / "real.py")
        (mounted / f"{name}.py").symlink_to(data / "real.py")
        # Then a method in it can be loaded
        assert load(PythonConfig(handler=f"{name}:Orders.bill", path=str(mounted))).__name__ == "bill"
