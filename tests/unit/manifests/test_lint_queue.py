"""What lint says of the fields that govern a trigger's queue: ``queue`` and ``rateLimit``."""

from __future__ import annotations

from typing import Any

import pytest

from argosy.manifests.additions import additions
from argosy.manifests.bundle import from_objects
from argosy.manifests.schema import schema
from tests.unit.manifests.test_crosscheck import found, one, sensor, source

pytestmark = pytest.mark.usefixtures("toys")

KEY = {"dependencyName": "d", "dataKey": "body.id"}


def _paths(**trigger: Any) -> list[tuple[str, str, str]]:
    return [(one.severity, one.path, one.message) for one in from_objects([source(), sensor(**trigger)]).findings]


def test_a_whole_queue_block_says_nothing() -> None:
    queue = {"concurrency": 4, "key": KEY, "delay": "10m", "suspend": "queue"}
    limit = {"unit": "Minute", "requestsPerUnit": 3, "burst": 2}

    assert _paths(queue=queue, rateLimit=limit) == []


@pytest.mark.parametrize(
    ("trigger", "path", "words"),
    [
        ({"queue": {"concurrency": 0}}, "queue.concurrency", "greater than or equal to 1"),
        ({"queue": {"concurrency": 257}}, "queue.concurrency", "less than or equal to 256"),
        ({"queue": {"delay": "-1s"}}, "queue.delay", "greater than or equal to 0"),
        ({"queue": {"delay": "soon"}}, "queue.delay", "duration"),
        ({"queue": {"suspend": "yes"}}, "queue.suspend", "queue"),
        ({"queue": {"concurency": 2}}, "queue.concurency", "concurrency"),
        ({"queue": {"concurrency": 2, "key": {"dataKey": "a"}}}, "queue.key", "needs dependencyName"),
        ({"queue": {"concurrency": 2, "key": {"dependencyName": "d"}}}, "queue.key", "needs one of dataKey"),
        ({"rateLimit": {"requestsPerUnit": 0}}, "rateLimit.requestsPerUnit", "greater than or equal to 1"),
        ({"rateLimit": {"requestsPerUnit": -3}}, "rateLimit.requestsPerUnit", "greater than or equal to 1"),
        ({"rateLimit": {"requestsPerUnit": 3, "burst": 0}}, "rateLimit.burst", "greater than or equal to 1"),
    ],
)
def test_what_cannot_be_meant_is_an_error_at_its_place(trigger: dict[str, Any], path: str, words: str) -> None:
    ((severity, where, message),) = _paths(**trigger)

    assert (severity, where) == ("error", f"spec.triggers[0].{path}")
    assert words in message


def test_a_key_of_what_is_no_dependency_is_a_warning() -> None:
    queue = {"concurrency": 2, "key": {"dependencyName": "dd", "dataKey": "a"}}

    finding = one(source(), sensor(queue=queue), code="unknown-dependency")

    assert (finding.severity, finding.path) == ("warning", "spec.triggers[0].queue.key.dependencyName")
    assert "did you mean 'd'?" in finding.message


@pytest.mark.parametrize(
    ("src", "code"),
    [
        ({"dataKey": "a.#(b==1"}, "bad-gjson"),
        ({"dataTemplate": "{{ .Input.a "}, "bad-gotemplate"),
        ({"contextTemplate": "{{ nothing }}"}, "bad-gotemplate"),
    ],
)
def test_a_key_that_does_not_parse_is_named(src: dict[str, str], code: str) -> None:
    queue = {"concurrency": 2, "key": {"dependencyName": "d", **src}}

    finding = one(source(), sensor(queue=queue), code=code)

    assert finding.path == f"spec.triggers[0].queue.key.{next(iter(src))}"


def test_a_key_where_one_action_runs_at_a_time_has_no_effect() -> None:
    finding = one(source(), sensor(queue={"key": KEY}), code="no-effect")

    assert (finding.severity, finding.path) == ("warning", "spec.triggers[0].queue.key")


def test_a_dead_letter_trigger_is_not_suspended_by_itself() -> None:
    below = {"template": {"name": "b", "toySend": {"url": "u"}}, "queue": {"suspend": "drop"}}

    finding = one(source(), sensor(dlqTrigger=below), code="no-effect")

    assert finding.path == "spec.triggers[0].dlqTrigger.queue.suspend"
    assert not found(source(), sensor(queue={"suspend": "drop"}), code="no-effect")


def test_strict_upstream_names_the_fields_that_are_ours() -> None:
    bundle = from_objects(
        [source(), sensor(queue={"delay": "1s"}, rateLimit={"requestsPerUnit": 1, "burst": 2}, atLeastOnce=True)]
    )

    paths = {finding.path for finding in additions(bundle) if "is Argosy's own" in finding.message}

    assert {"spec.triggers[0].queue", "spec.triggers[0].rateLimit.burst"} <= paths


def test_the_schema_knows_them() -> None:
    definitions = schema("Sensor")["$defs"]

    assert {"concurrency", "key", "delay", "suspend"} <= set(definitions["ActionQueue"]["properties"])
    assert "burst" in definitions["RateLimit"]["properties"]
