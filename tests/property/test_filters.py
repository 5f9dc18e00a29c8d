"""Whatever an event holds, filters and transforms decide and say why in a bounded sentence; nothing is raised."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from argosy.event import Event
from argosy.lang.gjson import Document
from argosy.manifests.findings import check
from argosy.manifests.sensor import Filters, Transform
from argosy.sensor import filters
from argosy.sensor.matching import Reading
from argosy.sensor.transform import compile as compile_transform

_KEYS = st.sampled_from(["a", "b", "a.b", "0", "", "\x00", "#", "é", "x" * 3000])
_VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(10**30), 10**30),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=20),
        st.just("y" * 5000),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(_KEYS, inner, max_size=4)),
    max_leaves=12,
)
_TEXTS = st.one_of(
    _VALUES.map(lambda value: json.dumps(value).encode()),
    st.binary(max_size=40),
    st.sampled_from(
        [
            b"",
            b"null",
            b"[" * 3000,
            b'{"a":' * 3000,
            rb'{"a":"\ud800"}',
            b'{"a":1e999}',
            b'{"a":1,"a":2}',
            b'{"a":"\xff"}',
            b'"\\u0000"',
        ]
    ),
)
_PATHS = st.sampled_from(
    ["a", "a.b", "a.0", "a.#", "a.#.b", "[a,b]", "{a,b}", 'a.#(=="x")#', "@this", "..0", "a|@keys", "*", "a.b.c.d"]
)
_TIMES = st.one_of(
    st.just("2026-01-01T00:00:00Z"),
    st.text(max_size=12),
    st.sampled_from(["", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"]),
)


def _filters(path: str) -> list[dict[str, Any]]:
    clause = {"path": path, "type": "string", "value": ["^x$"]}
    return [
        {"data": [clause]},
        {"data": [{**clause, "comparator": "!="}]},
        {"data": [{**clause, "template": "{{ .Input | trunc 5 | b64dec }}"}]},
        {"data": [{"path": path, "type": "number", "value": ["1", "0x1p2"], "comparator": ">="}]},
        {"data": [{"path": path, "type": "bool", "value": ["false"]}]},
        {"exprs": [{"expr": "v > 1 || v =~ 'x'", "fields": [{"name": "v", "path": path}]}]},
        {"context": {"type": "t"}, "time": {"start": "22:00:00", "stop": "06:00:00", "timezone": "Pacific/Apia"}},
        {"script": "return event.a == event.b"},
    ]


@settings(max_examples=400, deadline=None)
@given(text=_TEXTS, path=_PATHS, time=_TIMES, operator=st.sampled_from(["", "or"]), strict=st.booleans())
def test_filters_never_raise_and_their_reasons_are_short(
    text: bytes, path: str, time: str, operator: str, strict: bool
) -> None:
    event = Event(id="1", source="s", subject="e", type="t", time=time, data=text)
    for spec in _filters(path):
        model, problems = check(Filters, spec)
        assert model is not None, problems
        compiled = filters.compile(model, operator, strict=strict)
        assert compiled is not None

        verdict = compiled(Document(text), event)

        assert not (verdict.passed and verdict.failed)
        assert 0 < len(verdict.reason) < 2000
        assert "\n" not in verdict.reason


@settings(max_examples=200, deadline=None)
@given(text=_TEXTS, program=st.sampled_from(["jq", "script"]))
def test_a_transform_yields_an_object_or_says_why_not(text: bytes, program: str) -> None:
    source = {"jq": ".a = (.b // 1)", "script": "event.a = event.b return event"}[program]
    transform = compile_transform(Transform.model_validate({program: source}))
    assert transform is not None

    made = Reading(Event(id="1", source="s", subject="e", type="t", time="", data=text)).transformed(transform)

    assert isinstance(made, Exception) or isinstance(made.value, dict)
