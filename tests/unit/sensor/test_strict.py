"""``strict: true`` on a sensor: where upstream's meaning is a trap, filters and scripts mean what they seem to say."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from argosy.errors import ConfigError, LangError
from argosy.manifests.bundle import loads
from argosy.manifests.checks.traps import traps
from argosy.manifests.sensor import parse_sensor
from argosy.sensor import transform
from argosy.sensor.matching import Matcher
from tests.unit.sensor._cases import decide, event, outcome


def _data(**clause: Any) -> dict[str, Any]:
    return {"data": [{"path": "k", **clause}]}


@pytest.mark.parametrize(
    ("clause", "found", "upstream", "strict"),
    [
        ({"type": "string", "value": ["v", "w"], "comparator": "!="}, "v", "pass", "reject"),
        ({"type": "string", "value": ["v", "w"], "comparator": "!="}, "x", "pass", "pass"),
        ({"type": "number", "value": ["1", "2"], "comparator": "!="}, 1, "pass", "reject"),
        ({"type": "number", "value": ["1", "2"], "comparator": "!="}, 3, "pass", "pass"),
        ({"type": "string", "value": ["main"]}, "not-main-at-all", "pass", "reject"),
        ({"type": "string", "value": ["main|dev"]}, "main", "pass", "pass"),
        ({"type": "string", "value": ["main|dev"]}, "mainly", "pass", "reject"),
        ({"type": "string", "value": ["main.*"]}, "mainly", "pass", "pass"),
        ({"type": "string", "value": ["main"], "comparator": "!="}, "mainly", "reject", "pass"),
        ({"type": "string", "value": ["main"]}, "main\n", "pass", "reject"),
        ({"type": "number", "value": ["5"], "comparator": "<"}, "text", "pass", "undecided"),
        ({"type": "number", "value": ["5"], "comparator": "<"}, None, "pass", "undecided"),
        ({"type": "number", "value": ["1"]}, True, "pass", "undecided"),
        ({"type": "number", "value": ["5"], "comparator": "<"}, "4.5", "pass", "pass"),
        ({"type": "bool", "value": ["false"]}, "no", "pass", "undecided"),
        ({"type": "bool", "value": ["false"]}, None, "pass", "undecided"),
        ({"type": "bool", "value": ["true"]}, 7, "pass", "undecided"),
        ({"type": "bool", "value": ["true"]}, "true", "pass", "pass"),
        ({"type": "bool", "value": ["true"], "comparator": "!="}, True, "pass", "reject"),
        ({"type": "bool", "value": ["true"], "comparator": "!="}, False, "reject", "pass"),
    ],
)
def test_a_clause_means_what_it_seems_to_say(clause: dict[str, Any], found: Any, upstream: str, strict: str) -> None:
    assert outcome(decide(_data(**clause), {"k": found})) == upstream
    assert outcome(decide(_data(**clause), {"k": found}, strict=True)) == strict


@pytest.mark.parametrize(("kind", "comparator"), [("string", ">"), ("string", "<="), ("bool", ">")])
def test_a_comparator_that_has_no_meaning_for_the_type_is_refused(kind: str, comparator: str) -> None:
    spec = _data(type=kind, value=["true"], comparator=comparator)

    assert not decide(spec, {"k": True}).failed
    with pytest.raises(LangError, match="compared with = and !="):
        decide(spec, {"k": True}, strict=True)


def test_a_filter_that_cannot_be_decided_does_not_outvote_one_that_passed() -> None:
    spec = {**_data(type="string", value=["v"]), "context": {"source": "web"}}

    assert outcome(decide(spec, {}, "or")) == "undecided"
    assert outcome(decide(spec, {}, "or", strict=True)) == "pass"
    assert outcome(decide(spec, {}, "and", strict=True)) == "undecided"


def test_an_or_without_a_filter_passes_like_any_dependency_without_one() -> None:
    assert outcome(decide({}, {}, "or")) == "reject"
    assert outcome(decide({}, {}, "or", strict=True)) == "pass"


class TestAScript:
    DATA: dict[str, Any] = {"rows": [[1, 2], [3]], "n": 1}  # noqa: RUF012

    def test_sees_arrays_inside_arrays(self) -> None:
        script = {"script": "return #event.rows == 2 and event.rows[2][1] == 3"}

        assert outcome(decide(script, self.DATA)) == "reject"
        assert outcome(decide(script, self.DATA, strict=True)) == "pass"

    def test_fails_where_an_array_holds_a_null_that_lua_has_no_place_for(self) -> None:
        verdict = decide({"script": "return true"}, {"rows": [1, None, 3]}, strict=True)

        assert outcome(verdict) == "undecided"
        assert "holds a null" in verdict.reason

    def test_of_a_transform_keeps_what_it_does_not_touch(self) -> None:
        spec = _Script("event.n = 2 return event")
        one, other = transform.compile(spec), transform.compile(spec, strict=True)
        assert one is not None and other is not None

        document = _document(self.DATA)

        assert one(document).value == {"rows": {}, "n": 2}
        assert other(document).value == {"rows": [[1, 2], [3]], "n": 2}


class _Script:
    jq = ""

    def __init__(self, script: str) -> None:
        self.script = script


def _document(data: Any) -> Any:
    from argosy.lang.gjson import Document

    return Document(event(data).data)


SENSOR = """\
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {name: s}
spec:
  strict: %s
  dependencies:
    - name: d
      eventSourceName: web
      eventName: in
      filters:
        data:
          - {path: k, type: string, value: [main], comparator: "%s"}
  triggers:
    - template: {name: t, log: {}}
"""


def test_a_sensor_says_strict_once_for_all_its_dependencies() -> None:
    for word, accepted in (("false", True), ("true", False)):
        bundle = loads(SENSOR % (word, ""))
        (decision,) = Matcher(bundle.sensors[0]).decide(event({"k": "mainly"}))
        assert (decision.event is not None) is accepted


def test_a_strict_sensor_with_a_comparator_without_meaning_is_refused_with_the_dependency_named() -> None:
    sensor, _ = parse_sensor(yaml.safe_load(SENSOR % ("true", ">")))
    assert sensor is not None

    with pytest.raises(ConfigError, match="dependency 'd'.*compared with"):
        Matcher(sensor)
    assert [(one.code, one.severity) for one in traps(sensor)] == [("strict-comparator", "error")]
