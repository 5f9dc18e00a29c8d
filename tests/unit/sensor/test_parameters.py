"""Parameters: the order in which a value is looked for, how it is set, payloads."""

from __future__ import annotations

from typing import Any

import pytest

from argosy.errors import Rejected
from argosy.event import Event
from argosy.manifests.fields import TriggerParameter
from argosy.sensor import parameters

EVENT = Event(
    id="7",
    source="web",
    subject="in",
    type="webhook",
    time="2026-01-01T12:00:00.5Z",
    data=b'{"s":"x","n":1.50,"big":12345678901234567890,"o":{"b": 1},"nil":null,"name":"ada"}',
)
EVENTS = {"dep": EVENT}


def _parameter(dest: str = "out", operation: str = "", **src: Any) -> TriggerParameter:
    return TriggerParameter.model_validate(
        {"src": {"dependencyName": "dep", **src}, "dest": dest, "operation": operation}
    )


@pytest.mark.parametrize(
    ("src", "text"),
    [
        ({"dataKey": "s"}, "x"),
        ({"dataKey": "n"}, "1.5"),
        ({"dataKey": "big"}, "12345678901234567890"),
        ({"dataKey": "o"}, '{"b": 1}'),
        ({"dataKey": "nil"}, "null"),
        ({"dataKey": "missing", "value": "else"}, "else"),
        ({"dataTemplate": "{{ .Input.name | title }}"}, "Ada"),
        ({"dataTemplate": "{{ .Input.missing }}", "dataKey": "s"}, "x"),
        ({"contextKey": "time"}, "2026-01-01T12:00:00Z"),
        ({"contextTemplate": "{{ .Input.source | upper }}"}, "WEB"),
        ({"dataKey": "s", "contextKey": "type"}, "x"),
        ({"value": "literal"}, "literal"),
    ],
)
def test_a_value_is_looked_for_in_this_order(src: dict[str, Any], text: str) -> None:
    found = parameters.resolve(_parameter(**src).src, EVENTS)

    assert found is not None and found.text == text


def test_nothing_selected_is_the_whole_event_with_its_data_in_base64() -> None:
    found = parameters.resolve(_parameter().src, EVENTS)

    assert found is not None
    assert found.text.startswith('{"context":{"id":"7","source":"web","specversion":"1.0","type":"webhook"')
    assert '"data":"eyJzIjoi' in found.text


def test_a_value_that_cannot_be_found_names_every_step_that_was_tried() -> None:
    with pytest.raises(Rejected, match="'dep'.*template.*path 'gone' does not exist"):
        parameters.resolve(_parameter(dataTemplate="{{ .Input.gone }}", dataKey="gone").src, EVENTS)


def test_without_an_event_a_parameter_is_its_value_or_skipped() -> None:
    assert parameters.resolve(_parameter(dataKey="s").src, {}) is None
    assert parameters.apply_to({"out": 1}, [_parameter(dataKey="s")], {}) == {"out": 1}
    assert parameters.apply_to({}, [_parameter(dataKey="s", value="v")], {}) == {"out": "v"}


@pytest.mark.parametrize(
    ("parameter", "result"),
    [
        (_parameter(dataKey="n"), {"out": "1.5"}),
        (_parameter(dataKey="n", useRawData=True), {"out": 1.5}),
        (_parameter(dataKey="nil", useRawData=True), {"out": None}),
        (_parameter(dataKey="s", operation="append"), {"out": "hox"}),
        (_parameter(dataKey="s", operation="prepend"), {"out": "xho"}),
        (_parameter("new.0.k", "append", dataKey="s"), {"out": "ho", "new": [{"k": "x"}]}),
    ],
)
def test_a_value_is_set(parameter: TriggerParameter, result: dict[str, Any]) -> None:
    assert parameters.apply_to({"out": "ho"}, [parameter], EVENTS) == result


def test_a_payload_is_built_in_order_and_an_empty_dest_is_all_of_it() -> None:
    entries = [_parameter("a", dataKey="s"), _parameter("b.c", dataKey="n", useRawData=True)]

    assert parameters.payload(entries, EVENTS) == b'{"a":"x","b":{"c":1.50}}'
    assert parameters.payload([*entries, _parameter("", dataKey="o")], EVENTS) == b'{"b": 1}'
    assert parameters.payload(entries, {}) == b""
