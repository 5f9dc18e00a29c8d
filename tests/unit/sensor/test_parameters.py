"""Parameters and payloads: where a value is looked for, in what form it is set, and what is built of it
(``pkg/sensors/triggers/params.go`` of upstream)."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from argosy.errors import Rejected
from argosy.event import Event
from argosy.lang import gojson
from argosy.manifests.fields import TriggerParameter
from argosy.sensor import parameters

DATA = (
    b'{"s":"x","n":1.50,"whole":8,"big":12345678901234567890,"exp":1e3,"huge":1e400,"o":{"b": 1},"l":["ca", "us"],"nil":null,'
    b'"name":"ada","yes":true,"html":"<a&b>","uni":"\\u00e9\\n"}'
)
EVENT = Event(
    id="7",
    source="web",
    subject="in",
    type="webhook",
    time="2026-01-01T12:00:00.5Z",
    data=DATA,
    extensions={"extra": "<1>"},
)
EVENTS = {"dep": EVENT}


def _parameter(dest: str = "out", operation: str = "", **src: Any) -> TriggerParameter:
    return TriggerParameter.model_validate(
        {"src": {"dependencyName": "dep", **src}, "dest": dest, "operation": operation}
    )


def _value(events: dict[str, Event] | None = None, **src: Any) -> str | None:
    found = parameters.resolve(_parameter(**src).src, EVENTS if events is None else events)
    return None if found is None else found.text


class TestLookingForAValue:
    @pytest.mark.parametrize(
        ("src", "text"),
        [
            ({"dataKey": "s"}, "x"),
            ({"dataKey": "n"}, "1.5"),
            ({"dataKey": "whole"}, "8"),
            ({"dataKey": "exp"}, "1000"),
            ({"dataKey": "yes"}, "true"),
            ({"dataKey": "big"}, "12345678901234567890"),
            ({"dataKey": "o"}, '{"b": 1}'),
            ({"dataKey": "l"}, '["ca", "us"]'),
            ({"dataKey": "nil"}, "null"),
            ({"dataKey": "nil", "value": "else"}, "null"),
            ({"dataKey": "l.#"}, "2"),
            ({"dataKey": "missing", "value": "else"}, "else"),
            ({"dataKey": "missing", "value": ""}, ""),
            ({"dataKey": "s", "value": "else"}, "x"),
            ({"dataTemplate": "{{ .Input.name | title }}"}, "Ada"),
            ({"dataTemplate": "{{ .Input.name }}", "dataKey": "s"}, "ada"),
            ({"dataTemplate": "{{ .Input.missing }}", "dataKey": "s"}, "x"),
            ({"dataTemplate": '{{ "" }}', "dataKey": "s"}, "x"),
            ({"dataTemplate": '{{ fail "no" }}', "dataKey": "s"}, "x"),
            ({"dataTemplate": "{{ nope }}", "dataKey": "s"}, "x"),
            ({"dataTemplate": "{{ nope }}", "dataKey": "missing", "value": "else"}, "else"),
            ({"contextKey": "subject"}, "in"),
            ({"contextKey": "time"}, "2026-01-01T12:00:00Z"),
            ({"contextKey": "specversion"}, "1.0"),
            ({"contextKey": "missing", "value": "else"}, "else"),
            ({"contextTemplate": "{{ .Input.source | upper }}"}, "WEB"),
            ({"contextTemplate": "{{ .Input.missing }}", "contextKey": "id"}, "7"),
            ({"dataKey": "s", "contextKey": "type"}, "x"),
            ({"dataTemplate": "{{ .Input.s }}", "contextTemplate": "{{ .Input.id }}"}, "x"),
            ({"dataKey": "missing", "contextKey": "type", "value": "else"}, "else"),
            ({"value": "literal"}, "literal"),
            ({"value": "literal", "useRawData": True}, "literal"),
        ],
    )
    def test_goes_template_then_key_then_value_and_data_before_context(self, src: dict[str, Any], text: str) -> None:
        assert _value(**src) == text

    def test_without_a_selection_gives_the_whole_event_with_its_data_in_base64(self) -> None:
        whole = gojson.loads(_value() or "")

        assert list(whole) == ["context", "data"]
        assert list(whole["context"])[:7] == [
            "id",
            "source",
            "specversion",
            "type",
            "datacontenttype",
            "subject",
            "time",
        ]
        assert whole["context"]["time"] == "2026-01-01T12:00:00Z"
        assert base64.b64decode(whole["data"]) == DATA
        assert '"extra":"\\u003c1\\u003e"' in (_value() or "")

    def test_names_every_step_that_gave_nothing(self) -> None:
        with pytest.raises(Rejected, match=r"'dep'.*template.*path 'gone' does not exist.*give it a default"):
            _value(dataTemplate="{{ .Input.gone }}", dataKey="gone")

    def test_of_equal_keys_is_the_first_in_keys_and_in_templates(self) -> None:
        events = {"dep": Event("7", "web", "in", "webhook", "", b'{"a":1,"a":2}')}

        assert _value(events, dataKey="a") == "1"
        assert _value(events, dataTemplate="{{ .Input.a }}") == "1"

    def test_does_not_fall_from_data_to_context(self) -> None:
        with pytest.raises(Rejected, match="path 'gone'"):
            _value(dataKey="gone", contextKey="id")


class TestWithoutTheEvent:
    """An ``||`` may hold without it."""

    @pytest.mark.parametrize("src", [{}, {"dataKey": "s"}, {"contextTemplate": "x"}])
    def test_a_parameter_is_its_value_or_skipped(self, src: dict[str, Any]) -> None:
        assert _value({}, **src) is None
        assert _value({}, **src, value="v") == "v"
        assert parameters.apply_to({"out": 1}, [_parameter(**src)], {}) == {"out": 1}
        assert parameters.apply_to({}, [_parameter(**src, value="v")], {}) == {"out": "v"}


class TestWithDataThatIsNotJson:
    def _events(self, data: bytes, kind: str) -> dict[str, Event]:
        return {"dep": Event("7", "web", "in", "webhook", "2026-01-01T12:00:00Z", data, kind)}

    @pytest.mark.parametrize(
        ("text", "key", "value"),
        [
            ("name: test\nage: 20\n", "name", "test"),
            ("age: 20", "age", "20"),
            ("on: yes", "true", "true"),
            ("at: 2024-01-02", "at", "2024-01-02"),
            ("port: 0o17", "port", "15"),
            ("1: one", "1", "one"),
            ("a: &x [1]\nb: *x", "b", "[1]"),
            ("a: 1\n---\na: 2", "a", "1"),
        ],
    )
    def test_yaml_is_read_by_kubernetes_rules(self, text: str, key: str, value: str) -> None:
        assert _value(self._events(text.encode(), "application/yaml"), dataKey=key) == value

    @pytest.mark.parametrize(
        ("data", "kind", "words"),
        [
            (b"{", "application/json", "not JSON"),
            (b"a: [", "application/yaml", "not YAML: line 2"),
            (b"a,b", "text/csv", "content type 'text/csv' cannot be read"),
            (b"", "application/json", "no data"),
        ],
    )
    def test_anything_else_is_the_value_or_a_refusal_with_the_reason(self, data: bytes, kind: str, words: str) -> None:
        events = self._events(data, kind)

        assert _value(events, dataKey="a", value="else") == "else"
        assert _value(events, contextKey="id") == "7"
        with pytest.raises(Rejected, match=words):
            _value(events, dataKey="a")

    def test_a_bomb_of_aliases_is_a_refusal(self) -> None:
        bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
            f"{name}: &{name} [{','.join(['*' + before] * 10)}]\n"
            for before, name in zip("abcdefghi", "bcdefghij", strict=True)
        )

        with pytest.raises(Rejected):
            _value(self._events(bomb.encode(), "application/yaml"), dataKey="j")

    def test_the_whole_event_still_has_its_bytes(self) -> None:
        assert gojson.loads(_value(self._events(b"\xff\x00", "text/plain")) or "")["data"] == "/wA="
        assert gojson.loads(_value(self._events(b"", "application/json")) or "")["data"] is None

    @pytest.mark.parametrize(
        ("time", "shown"),
        [
            ("", None),
            ("soon", "soon"),
            ("0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00+14:00"),
            ("0042-01-01T00:00:00Z",) * 2,
        ],
    )
    def test_a_time_that_cannot_be_placed_is_shown_as_it_stands(self, time: str, shown: str | None) -> None:
        events = {"dep": Event("7", "web", "in", "webhook", time, b"{}")}

        assert gojson.loads(_value(events) or "")["context"]["time"] == shown


class TestSettingAValue:
    @pytest.mark.parametrize(
        ("parameter", "result"),
        [
            (_parameter(dataKey="n"), {"out": "1.5"}),
            (_parameter(dataKey="yes"), {"out": "true"}),
            (_parameter(dataKey="nil"), {"out": "null"}),
            (_parameter(dataKey="o"), {"out": '{"b": 1}'}),
            (_parameter(dataKey="n", useRawData=True), {"out": 1.5}),
            (_parameter(dataKey="yes", useRawData=True), {"out": True}),
            (_parameter(dataKey="nil", useRawData=True), {"out": None}),
            (_parameter(dataKey="o", useRawData=True), {"out": {"b": 1}}),
            (_parameter(dataKey="s", useRawData=True), {"out": "x"}),
            (_parameter(value="1", useRawData=True), {"out": "1"}),
            (_parameter(dataTemplate="{{ .Input.whole }}", useRawData=True), {"out": "8"}),
            (_parameter(dataKey="s", operation="overwrite"), {"out": "x"}),
            (_parameter(dataKey="s", operation="append"), {"out": "hox"}),
            (_parameter(dataKey="s", operation="prepend"), {"out": "xho"}),
            (_parameter(dataKey="whole", operation="append", useRawData=True), {"out": "ho8"}),
            (_parameter("new", "append", dataKey="l", useRawData=True), {"out": "ho", "new": ["ca", "us"]}),
            (_parameter("new.0.k", "append", dataKey="s"), {"out": "ho", "new": [{"k": "x"}]}),
            (_parameter("a\\.b", dataKey="s"), {"out": "ho", "a.b": "x"}),
            (_parameter("m.:0", dataKey="s"), {"out": "ho", "m": {"0": "x"}}),
            (_parameter("list.-1", dataKey="s"), {"out": "ho", "list": ["x"]}),
        ],
    )
    def test_writes_text_or_with_raw_data_json_and_makes_the_way(
        self, parameter: TriggerParameter, result: dict[str, Any]
    ) -> None:
        assert parameters.apply_to({"out": "ho"}, [parameter], EVENTS) == result

    def test_goes_on_with_what_the_one_before_made(self) -> None:
        entries = [
            _parameter(dataKey="s"),
            _parameter("out", "append", dataKey="name"),
            _parameter("copy", "prepend", value="-"),
        ]

        assert parameters.apply_to({}, entries, EVENTS) == {"out": "xada", "copy": "-"}

    def test_leaves_every_other_byte_alone(self) -> None:
        before = b'{"a": 1.0, "out" : "old",\n"z":[ 1 ]}'

        assert parameters.apply(before, [_parameter(dataKey="s")], EVENTS) == before.replace(b"old", b"x")

    def test_turns_numbers_into_text_when_it_joins_them(self) -> None:
        assert parameters.apply_to({"out": 5}, [_parameter(operation="append", dataKey="whole")], EVENTS) == {
            "out": "58"
        }

    @pytest.mark.parametrize("dest", ["", "list.key", "#.x"])
    def test_says_where_it_cannot_be_set(self, dest: str) -> None:
        for operation in ("", "append"):
            entry = TriggerParameter.model_construct(src=_parameter(dataKey="s").src, dest=dest, operation=operation)
            try:
                made = parameters.apply(b'{"list":[1]}', [entry], EVENTS)
            except Rejected as error:
                assert f"cannot be set at {dest!r}" in str(error)
            else:
                assert gojson.valid(made)


class TestAPayload:
    def test_is_built_in_order(self) -> None:
        entries = [_parameter("a", dataKey="s"), _parameter("b.c", dataKey="n", useRawData=True)]

        assert parameters.payload(entries, EVENTS) == b'{"a":"x","b":{"c":1.5}}'
        assert parameters.payload([], EVENTS) == b""

    def test_is_an_array_where_the_first_place_is_an_index(self) -> None:
        assert (
            parameters.payload([_parameter("0", dataKey="s"), _parameter("-1", dataKey="name")], EVENTS)
            == b'["x","ada"]'
        )

    def test_overwrites_whatever_the_operation_says(self) -> None:
        entries = [_parameter("a", dataKey="s"), _parameter("a", "append", dataKey="name")]

        assert parameters.payload(entries, EVENTS) == b'{"a":"ada"}'

    def test_is_the_first_value_without_a_place_as_it_stands(self) -> None:
        first, whole, later = _parameter("a", dataKey="s"), _parameter("", dataKey="o"), _parameter("", dataKey="s")

        assert parameters.payload([first, whole, later], EVENTS) == b'{"b": 1}'
        absent = TriggerParameter.model_validate({"src": {"dependencyName": "other"}})
        assert parameters.payload([absent, later], EVENTS) == b"x"

    def test_leaves_out_an_entry_of_an_event_that_did_not_come(self) -> None:
        entries = [_parameter("a", dataKey="s"), _parameter("b", dataKey="s", value="v")]

        assert parameters.payload(entries, {}) == b'{"b":"v"}'

    def test_escapes_text_no_more_than_upstream_does(self) -> None:
        for raw in (False, True):
            entries = [_parameter("h", dataKey="html", useRawData=raw), _parameter("u", dataKey="uni", useRawData=raw)]

            assert parameters.payload(entries, EVENTS) == b'{"h":"<a&b>","u":"\\u00e9\\n"}'.replace(
                b"\\u00e9", "é".encode()
            )

    def test_stays_json_with_a_number_that_go_could_not_hold(self) -> None:
        assert parameters.payload([_parameter("n", dataKey="huge", useRawData=True)], EVENTS) == b'{"n":1e400}'

    def test_fails_as_a_whole_when_one_entry_has_no_value(self) -> None:
        with pytest.raises(Rejected, match="path 'gone'"):
            parameters.payload([_parameter("a", dataKey="s"), _parameter("b", dataKey="gone")], EVENTS)
