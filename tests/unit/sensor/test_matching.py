"""A compiled sensor: which dependencies take an event, what they hand on, and which triggers run for it."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from argosy.errors import ConfigError
from argosy.event import Event
from argosy.lang import gojson
from argosy.manifests.sensor import Sensor, parse_sensor
from argosy.sensor.matching import Matcher, Reading
from argosy.sensor.remembering import TriggerMemory
from tests.unit.sensor._cases import event


def _sensor(dependencies: str, triggers: str = "- template: {name: t, log: {}}", more: str = "") -> Sensor:
    text = f"""\
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {{name: s}}
spec:
{_indented(more, 2)}
  dependencies:
{_indented(dependencies, 4)}
  triggers:
{_indented(triggers, 4)}
"""
    sensor, problems = parse_sensor(yaml.safe_load(text))
    assert sensor is not None, problems
    return sensor


def _indented(text: str, by: int) -> str:
    return "\n".join(" " * by + line for line in text.splitlines())


PLAIN = "- {name: d, eventSourceName: web, eventName: in}"
TWO = """\
- name: low
  eventSourceName: web
  eventName: in
  filters: {data: [{path: n, type: number, comparator: "<", value: ["20"]}]}
- name: high
  eventSourceName: web
  eventName: in
  filters: {data: [{path: n, type: number, comparator: ">", value: ["50"]}]}
"""


def test_an_event_is_for_the_dependencies_that_name_its_source_and_its_name_exactly() -> None:
    matcher = Matcher(_sensor(PLAIN))

    assert [one.dependency for one in matcher.decide(event({}))] == ["d"]
    for other in ({"source": "Web"}, {"source": "web2"}, {"subject": "i"}, {"source": "*", "subject": "*"}):
        assert matcher.decide(event({}, **other)) == []
    assert matcher.pairs == [("web", "in")]


def test_several_dependencies_on_one_event_decide_each_for_itself_in_the_order_of_the_manifest() -> None:
    matcher = Matcher(_sensor(TWO))

    accepted = {n: [one.dependency for one in matcher.decide(event({"n": n})) if one.event] for n in (1, 30, 60)}

    assert accepted == {1: ["low"], 30: [], 60: ["high"]}
    assert [one.dependency for one in matcher.decide(event({"n": 1}))] == ["low", "high"]


def test_an_event_is_transformed_then_filtered_and_only_then_handed_on() -> None:
    matcher = Matcher(
        _sensor("""\
- name: d
  eventSourceName: web
  eventName: in
  transform: {jq: ".ref = (.ref | ltrimstr(\\"refs/heads/\\"))"}
  filters:
    data: [{path: ref, type: string, value: ["^main$"]}]
    context: {datacontenttype: application/json, type: webhook}
""")
    )
    before = event({"ref": "refs/heads/main", "big": 1}, id="7", datacontenttype="text/plain")

    (decision,) = matcher.decide(before)

    assert decision.event is not None
    assert gojson.loads(decision.event.data) == {"ref": "main", "big": 1}
    # What a transform makes is JSON; everything else of the context stays.
    assert decision.event.datacontenttype == "application/json"
    assert (decision.event.id, decision.event.time) == ("7", before.time)
    assert before.data == b'{"ref":"refs/heads/main","big":1}'


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ([1], "transform.jq: the event's data is an array; it must be an object"),
        ({"ref": None}, "transform.jq: "),
    ],
)
def test_an_event_that_cannot_be_transformed_is_dropped_with_the_reason(data: Any, reason: str) -> None:
    matcher = Matcher(_sensor(PLAIN[:-1] + ", transform: {jq: '.ref |= ascii_downcase'}}"))

    (decision,) = matcher.decide(event(data))

    assert decision.event is None
    assert decision.verdict.failed
    assert decision.verdict.reason.startswith(reason)


def test_an_event_without_data_is_not_transformed() -> None:
    matcher = Matcher(_sensor(PLAIN[:-1] + ", transform: {jq: '{}'}}"))

    (decision,) = matcher.decide(event(text=b""))

    assert decision.event is not None
    assert decision.event.data == b""


def test_sensors_that_share_a_reading_decide_as_each_does_alone() -> None:
    with_transform = (
        PLAIN[:-1] + ", transform: {jq: '.n += 1'}, filters: {data: [{path: n, type: number, value: ['2']}]}}"
    )
    matchers = [Matcher(_sensor(text)) for text in (PLAIN, with_transform, TWO, with_transform)]
    for n in (1, 2, 60):
        one = event({"n": n})
        reading = Reading(one)

        shared = [[repr(decision) for decision in matcher.decide(one, reading)] for matcher in matchers]

        assert shared == [[repr(decision) for decision in matcher.decide(one)] for matcher in matchers]


class TestAPlan:
    def test_without_and_runs_at_once_with_the_one_event(self) -> None:
        matcher = Matcher(_sensor(TWO, "- template: {name: t, conditions: low || high, log: {}}"))
        (plan,) = matcher.plans
        (decision, _) = matcher.decide(event({"n": 1}))
        assert decision.event is not None

        (completed,) = TriggerMemory(plan).take("low", decision.event, position=1, at=0.0).completed

        assert not plan.remembers
        assert completed.events == {"low": decision.event}

    def test_without_conditions_waits_for_all_dependencies(self) -> None:
        (plan,) = Matcher(_sensor(TWO)).plans

        assert str(plan.condition) == "low && high"
        assert plan.condition.joins

    def test_hands_over_what_was_waiting_on_the_other_side_of_an_or_too(self) -> None:
        three = "\n".join(f"- {{name: {name}, eventSourceName: web, eventName: {name}}}" for name in "abc")
        matcher = Matcher(_sensor(three, "- template: {name: t, conditions: a || b && c, log: {}}"))
        (plan,) = matcher.plans
        memory = TriggerMemory(plan)

        assert memory.take("b", event({}, id="b"), position=1, at=0.0).completed == []
        (completed,) = memory.take("a", event({}, id="a"), position=2, at=0.0).completed

        assert set(completed.events) == {"a", "b"}
        assert list(memory.held()) == []

    def test_does_not_look_at_dependencies_that_its_condition_does_not_name(self) -> None:
        (plan,) = Matcher(_sensor(TWO, "- template: {name: t, conditions: low, log: {}}")).plans

        assert plan.names == ("low",)

    def test_resets_in_utc_where_no_zone_is_given(self) -> None:
        reset = '- template: {name: t, log: {}, conditionsReset: [{byTime: {cron: "59 23 * * *"%s}}]}'
        zones = [
            str(Matcher(_sensor(TWO, reset % zone)).plans[0].resets[0].zone)
            for zone in ("", ", timezone: America/Los_Angeles")
        ]

        assert zones == ["UTC", "America/Los_Angeles"]


def test_the_digest_of_a_dependency_changes_with_what_it_says_and_with_strict() -> None:
    def digests(*arguments: str) -> list[str]:
        return list(Matcher(_sensor(*arguments)).plans[0].definitions.values())

    trigger = "- template: {name: t, log: {}}"
    assert digests(PLAIN) == digests(PLAIN[:-1] + ", filtersLogicalOperator: ''}")
    changed = [PLAIN[:-1] + ", transform: {jq: .}}", PLAIN[:-1] + ", filters: {script: 'return true'}}"]
    all_of_them = [digests(PLAIN), *map(digests, changed), digests(PLAIN, trigger, "strict: true")]
    assert len({tuple(one) for one in all_of_them}) == 4


@pytest.mark.parametrize(
    ("dependencies", "triggers", "words"),
    [
        (PLAIN[:-1] + ", transform: {jq: '.a |'}}", "- template: {name: t, log: {}}", "dependency 'd': "),
        (PLAIN[:-1] + ", filters: {script: 'return ('}}", "- template: {name: t, log: {}}", "dependency 'd': "),
        (PLAIN, "- template: {name: t, conditions: d && e, log: {}}", "trigger 't': .*no dependency 'e'"),
        (PLAIN, "- template: {name: t, conditions: '!d', log: {}}", "trigger 't': .*'!' is not part"),
        (
            PLAIN,
            "- template: {name: t, log: {}, conditionsReset: [{byTime: {cron: '@daily'}}]}",
            "trigger 't': .*write the five fields",
        ),
    ],
)
def test_a_text_that_does_not_parse_is_refused_with_the_dependency_or_trigger_named(
    dependencies: str, triggers: str, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        Matcher(_sensor(dependencies, triggers))


def test_deciding_leaves_the_event_as_it_was() -> None:
    matcher = Matcher(_sensor(PLAIN[:-1] + ", transform: {jq: '.list += [1]'}}"))
    one = event({"list": []})
    reading = Reading(one)

    first = matcher.decide(one, reading)[0].event
    second = matcher.decide(one, reading)[0].event

    assert isinstance(first, Event) and first is second
    assert reading.document.value == {"list": []}
