"""Transforms: an object in, an object out, in one of two languages; what comes of anything else."""

from __future__ import annotations

from typing import Any

import pytest

from argosy.errors import LangError
from argosy.lang.gjson import Document
from argosy.manifests.sensor import Transform
from argosy.sensor import transform
from argosy.sensor.matching import Reading
from tests.unit.sensor._cases import event


def _run(data: Any, **program: str) -> Any:
    compiled = transform.compile(Transform.model_validate(program))
    assert compiled is not None
    return compiled(Document(event(data).data)).value


@pytest.mark.parametrize(
    ("program", "data", "made"),
    [
        ({"jq": ".a += 1 | .b *= 2"}, {"a": 1, "b": "2"}, {"a": 2, "b": "22"}),
        ({"jq": "{first: .a}, {second: .a}"}, {"a": 1}, {"first": 1}),
        ({"jq": ".body |= fromjson"}, {"body": '{"x":[1,null]}'}, {"body": {"x": [1, None]}}),
        ({"jq": "{a: .a}"}, None, {"a": None}),
        ({"script": "event.c.d[1] = 4 return event"}, {"a": 1, "c": {"d": [3]}}, {"a": 1, "c": {"d": [4]}}),
        ({"script": "event.env = setmetatable({}, {__is_array = true}) return event"}, {"env": 1}, {"env": []}),
        ({"script": "event.env = {} return event"}, {"env": 1}, {"env": {}}),
        ({"script": "return {list = {1, nil, 3}, [-2] = 'two'}"}, {}, {"-2": "two", "list": [1, None, 3]}),
        ({"script": "return {x = {1, name = 'lost'}}"}, {}, {"x": [1]}),
        ({"script": "return 1, event"}, {"a": 1}, {"a": 1}),
        ({"script": "event.a = nil return event"}, {"a": 1, "b": True}, {"b": True}),
        ({"script": "return event"}, {"a": [1, None, [2], {"b": None}, "x"]}, {"a": [1, {}, "x"]}),
        ({"script": "event.a = 1 return event"}, None, {"a": 1}),
        ({"jq": '{by: "jq"}', "script": "return {by = 'lua'}"}, {}, {"by": "jq"}),
    ],
)
def test_a_program_makes_a_new_object_of_the_data(program: dict[str, str], data: Any, made: Any) -> None:
    assert _run(data, **program) == made


@pytest.mark.parametrize(
    ("program", "data", "words"),
    [
        ({"jq": "."}, [1], "transform.jq: the event's data is an array; it must be an object"),
        ({"jq": "."}, "text", "transform.jq: the event's data is text; it must be an object"),
        ({"script": "return event"}, 1, "transform.script: the event's data is a number; it must be an object"),
        ({"jq": "empty"}, {}, "transform.jq: the program yielded nothing; it must yield an object"),
        ({"jq": "[.a]"}, {}, "transform.jq: the program yielded an array; it must yield an object"),
        ({"jq": ".a"}, {"a": None}, "transform.jq: the program yielded null; it must yield an object"),
        ({"jq": ".a.b.c"}, {"a": "x"}, "transform.jq: "),
        ({"script": "return 'hello'"}, {}, "transform.script: the program yielded text; it must yield an object"),
        ({"script": "local x"}, {}, "transform.script: the program yielded null; it must yield an object"),
        ({"script": "return {1, 2}"}, {}, "transform.script: the program yielded an array; it must yield an object"),
        ({"script": "return event.a.b"}, {}, "transform.script: the script failed in line 1"),
    ],
)
def test_anything_but_an_object_fails_and_says_what_it_is(program: dict[str, str], data: Any, words: str) -> None:
    with pytest.raises(LangError) as caught:
        _run(data, **program)

    assert caught.value.message.startswith(words)


def test_data_that_is_not_json_fails() -> None:
    compiled = transform.compile(Transform(jq="."))
    assert compiled is not None

    with pytest.raises(LangError, match=r"transform\.jq: .*JSON"):
        compiled(Document(b"not json"))


@pytest.mark.parametrize("program", [{"jq": ".a |"}, {"script": "return ("}])
def test_a_program_that_does_not_parse_is_refused_when_it_is_compiled(program: dict[str, str]) -> None:
    with pytest.raises(LangError):
        transform.compile(Transform.model_validate(program))


def test_there_may_be_none() -> None:
    assert transform.compile(None) is None
    assert transform.compile(Transform()) is None


def test_equal_programs_run_once_for_an_event_however_many_sensors_have_them() -> None:
    one = transform.compile(Transform(jq=".seen = true"))
    other = transform.compile(Transform(jq=".seen = true"))
    assert one is not None and one is other
    reading = Reading(event({"a": 1}))

    made = reading.transformed(one)

    assert isinstance(made, Document)
    assert reading.transformed(one) is made
    assert reading.accepted(one, made) is reading.accepted(one, made)
