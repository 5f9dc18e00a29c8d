"""Mistakes that people make, one by one: each is refused, and the refusal names its place."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.unit.kubernetes.asking import BUS, SENSOR, SOURCE, Object, answered, cluster, fields, of, question, warned

_GONE = object()


def planted(item: Object, place: str, value: Any) -> Object:
    """The object with something else at a place; ``_GONE`` takes it away."""
    made = copy.deepcopy(item)
    here: Any = made
    *way, last = [int(step) if step.isdigit() else step for step in place.split("/")]
    for step in way:
        here = here.setdefault(step, {}) if isinstance(here, dict) else here[step]
    if value is _GONE:
        del here[last]
    else:
        here[last] = value
    return made


_HOOK = "spec/webhook/created"
_DEPENDENCY = "spec/dependencies/0"
_TRIGGER = "spec/triggers/0"
_FILTER = f"{_DEPENDENCY}/filters"

SOURCES = [
    (f"{_HOOK}/prot", "12000", "spec.webhook.created.prot"),
    (f"{_HOOK}/port", 12000, "spec.webhook.created.port"),
    (f"{_HOOK}/port", "http", "spec.webhook.created.port"),
    (f"{_HOOK}/endpoint", _GONE, "spec.webhook.created.endpoint"),
    (f"{_HOOK}/method", "FETCH", "spec.webhook.created.method"),
    (f"{_HOOK}/endpoint", "/paid", "spec.webhook.paid"),
    (f"{_HOOK}/endpoint", "/health", "spec.webhook.created"),
    (f"{_HOOK}/serverCertSecret", {"name": "tls", "key": "crt"}, "spec.webhook"),
    ("spec/webhok", {}, "spec.webhok"),
    ("spec/webhook", [], "spec.webhook"),
    ("spec/replicas", "two", "spec.replicas"),
    ("spec/calendar/created", {"interval": "10s"}, "spec.calendar.created"),
    ("spec/calendar/tick", {"interval": "often"}, "spec.calendar.tick"),
    ("spec/calendar/tick", {"schedule": "61 * * * *"}, "spec.calendar.tick"),
    ("spec/kafka/k", {"topic": "t"}, "spec.kafka.k.url"),
    (f"{_HOOK}/filter", {"expression": "body.total >"}, "spec.webhook.created.filter.expression"),
    (f"{_HOOK}/authSecret", {"name": "token"}, "spec.webhook.created.authSecret.key"),
    ("apiVersion", "argoproj.io/v1alpha2", "apiVersion"),
    ("spec", _GONE, "spec"),
    ("spec", None, "spec"),
]
SENSORS = [
    (f"{_DEPENDENCY}/eventSourceName", "ordres", "spec.dependencies[0].eventSourceName"),
    (f"{_DEPENDENCY}/eventSourceName", "Orders", "spec.dependencies[0].eventSourceName"),
    (f"{_DEPENDENCY}/eventName", "creatd", "spec.dependencies[0].eventName"),
    (f"{_DEPENDENCY}/eventName", _GONE, "spec.dependencies[0].eventName"),
    (f"{_DEPENDENCY}/name", _GONE, "spec.dependencies[0].name"),
    (f"{_DEPENDENCY}/evenName", "created", "spec.dependencies[0].evenName"),
    ("spec/dependencies", [], "spec.dependencies"),
    ("spec/triggers", [], "spec.triggers"),
    ("spec/dependency", [], "spec.dependency"),
    (f"{_TRIGGER}/template/name", _GONE, "spec.triggers[0].template.name"),
    (f"{_TRIGGER}/template/conditions", "order && payment", "spec.triggers[0].template.conditions"),
    (f"{_TRIGGER}/template/conditions", "order &&", "spec.triggers[0].template.conditions"),
    (f"{_TRIGGER}/template", {"name": "bill"}, "spec.triggers[0].template"),
    (f"{_TRIGGER}/template/htpp", {}, "spec.triggers[0].template.htpp"),
    (f"{_TRIGGER}/template/http/url", _GONE, "spec.triggers[0].template.http.url"),
    (f"{_TRIGGER}/template/http/timeout", "soon", "spec.triggers[0].template.http.timeout"),
    (f"{_TRIGGER}/retryStrategy", {"steps": "many"}, "spec.triggers[0].retryStrategy.steps"),
    (f"{_TRIGGER}/parameters", [{"src": {"dataKey": "body.id"}, "dest": "http.url"}], "spec.triggers[0].parameters[0]"),
    (f"{_TRIGGER}/rateLimit", {"unit": "Fortnight"}, "spec.triggers[0].rateLimit"),
    (f"{_TRIGGER}/template/http/payload", [{"dest": "id"}], "spec.triggers[0].template.http.payload[0].src"),
    (f"{_FILTER}/data", [{"path": "body.total", "type": "nmber", "value": ["1"]}], "spec.dependencies[0].filters"),
    (f"{_FILTER}/data", [{"path": "body.total", "type": "number"}], "spec.dependencies[0].filters.data[0].value"),
    (
        f"{_FILTER}/exprs",
        [{"expr": "a =", "fields": [{"name": "a", "path": "b"}]}],
        "spec.dependencies[0].filters.exprs",
    ),
    (f"{_FILTER}/time", {"start": "25:00:00", "stop": "26:00:00"}, "spec.dependencies[0].filters.time"),
    (f"{_FILTER}/script", "return (", "spec.dependencies[0].filters.script"),
    (f"{_DEPENDENCY}/transform", {"jq": ".body |"}, "spec.dependencies[0].transform.jq"),
    (f"{_DEPENDENCY}/filtersLogicalOperator", "xor", "spec.dependencies[0].filtersLogicalOperator"),
]
BUSES = [
    ("spec/jetstream/version", _GONE, "spec.jetstream.version"),
    ("spec/jetstream/replicas", 2, "spec.jetstream.replicas"),
    ("spec/jetstream/streamConfig", "maxMsgs: many", "spec.jetstream.streamConfig"),
    ("spec/jetstream/streamConfig", "maxAge: a week", "spec.jetstream.streamConfig"),
    ("spec/jetstreem", {}, "spec.jetstreem"),
    ("spec", {}, "spec"),
    ("spec", {"nats": {}}, "spec.nats"),
    ("spec", {"nats": {"exotic": {"clusterID": "a", "url": "nats://b"}}}, "spec.nats.exotic"),
    ("spec", {"kafka": {}}, "spec.kafka.url"),
    ("spec", {"jetstreamExotic": {"url": "http://nats:4222"}}, "spec.jetstreamExotic.url"),
]


def _each(item: Object, planted_: list[tuple[str, Any, str]]) -> list[Any]:
    return [
        pytest.param(planted(item, *mistake), field, id=f"{item['kind']}-{mistake[0].rpartition('/')[2]}-{number}")
        for number, (*mistake, field) in enumerate(planted_)
    ]


@pytest.mark.parametrize(("item", "field"), [*_each(SOURCE, SOURCES), *_each(SENSOR, SENSORS), *_each(BUS, BUSES)])
def test_a_mistake_is_refused_where_it_stands(item: Object, field: str) -> None:
    there = cluster(SOURCE) if item["kind"] == "Sensor" else cluster()
    response = answered(question(item), there)
    # Then it is refused, as not valid, and one of the places is the one of the mistake
    assert any(one.startswith(field) for one in fields(response)), response["status"]
    status = response["status"]
    assert (status["code"], status["reason"], status["status"]) == (422, "Invalid", "Failure")
    assert field in status["message"]
    assert status["details"]["kind"] == item["kind"]


def test_what_is_not_mistaken_is_admitted() -> None:
    # Given the objects into which the mistakes were planted
    for item in (SOURCE, SENSOR, BUS):
        assert answered(question(item), cluster(SOURCE)) == {"uid": "1f2e", "allowed": True}


def test_all_mistakes_of_an_object_are_said_at_once() -> None:
    item = planted(planted(SENSOR, f"{_DEPENDENCY}/evenName", "a"), f"{_TRIGGER}/template/http/urll", "b")
    response = answered(question(item), cluster(SOURCE))
    assert fields(response) == ["spec.dependencies[0].evenName", "spec.triggers[0].template.http.urll"]
    # And a person reads them line by line
    first, *lines = response["status"]["message"].splitlines()
    assert first == "Sensor 'billing' is not valid:"
    assert lines[0] == (
        "spec.dependencies[0].evenName: unknown field 'evenName'; did you mean 'eventName'? [unknown-field]"
    )
    assert len(lines) == 2


def test_the_same_mistake_at_two_places_is_told_of_both() -> None:
    # kubectl leaves out a cause whose message it has shown already.
    text = of("""EventSource a
webhook:
  x: {endpoint: /x, method: POST}
  y: {endpoint: /y, method: POST}
""")
    causes = answered(question(text))["status"]["details"]["causes"]
    assert len({one["message"] for one in causes}) == len(causes) == 2


def test_what_lint_only_warns_of_is_told_and_admitted() -> None:
    value = [{"src": {"dependencyName": "ordr", "dataKey": "body.id"}, "dest": "http.url"}]
    said = warned(answered(question(planted(SENSOR, f"{_TRIGGER}/parameters", value)), cluster(SOURCE)))
    assert said == (
        "spec.triggers[0].parameters[0].src.dependencyName: 'ordr' is no dependency of this sensor;"
        " did you mean 'order'? [unknown-dependency]"
    )


def test_a_secret_in_the_wrong_place_is_not_repeated() -> None:
    item = planted(SOURCE, f"{_HOOK}/authSecret", "hunter2")
    assert "hunter2" not in str(answered(question(item)))
