"""Whatever stands in a manifest, reading it gives objects and findings, never an exception."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from argosy.manifests.additions import additions
from argosy.manifests.bundle import from_objects

pytestmark = pytest.mark.usefixtures("toys")

SRC = {"dependencyName": "d", "dataKey": "a", "contextTemplate": "x", "value": "v"}
SENSOR: dict[str, Any] = {
    "apiVersion": "argoproj.io/v1alpha1",
    "kind": "Sensor",
    "metadata": {"name": "n", "namespace": "s", "labels": {"a": "b"}},
    "spec": {
        "dependencies": [
            {
                "name": "d",
                "eventSourceName": "s",
                "eventName": "e",
                "transform": {"jq": ".a"},
                "filters": {
                    "data": [{"path": "a", "type": "number", "value": ["1"], "comparator": ">"}],
                    "exprs": [{"expr": "a == 1", "fields": [{"path": "a", "name": "a"}]}],
                    "context": {"type": "t"},
                    "time": {"start": "01:00:00", "stop": "02:00:00", "timezone": "UTC"},
                },
            }
        ],
        "triggers": [
            {
                "template": {
                    "name": "t",
                    "conditions": "d",
                    "conditionsReset": [{"byTime": {"cron": "* * * * *"}}],
                    "toySend": {"url": "u", "parameters": [{"src": SRC, "dest": "url"}]},
                    "policy": {"status": {"allow": [200]}},
                },
                "parameters": [{"src": SRC, "dest": "toySend.url"}],
                "retryStrategy": {"duration": "1s", "factor": 2},
                "rateLimit": {"requestsPerUnit": 1},
                "dlqTrigger": {"template": {"name": "dead", "log": {}}},
            }
        ],
    },
}
SOURCE: dict[str, Any] = {
    "apiVersion": "argoproj.io/v1alpha1",
    "kind": "EventSource",
    "metadata": {"name": "s"},
    "spec": {
        "toyHook": {
            "e": {
                "endpoint": "/e",
                "port": "1",
                "token": {"name": "x", "key": "k"},
                "filter": {"expression": "a"},
            }
        },
        "github": {"g": {}},
    },
}
BUS: dict[str, Any] = {
    "apiVersion": "argoproj.io/v1alpha1",
    "kind": "EventBus",
    "metadata": {"name": "default"},
    "spec": {
        "jetstream": {"version": "1", "streamConfig": "maxAge: 1h"},
        "nats": {"native": {"auth": "none"}},
    },
}
SECRET: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "x"},
    "data": {"k": "aGk="},
}
LIST: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "List",
    "items": [{**SENSOR, "metadata": {"name": "listed"}}],
}

WORDS = ["name", "", "src", "toySend", "x.y"]

anything = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**40) | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["", "d", "e", "a.b", "{{", "&&", "-1", "x" * 300, "name", "é"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=2),
    max_leaves=5,
)  # fmt: skip


def places(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in steps:
        yield (*way, step)
        yield from places(inner, (*way, step))


@st.composite
def spoilt(draw: st.DrawFn) -> list[dict[str, Any]]:
    """The manifests above with up to three values replaced or removed, anywhere."""
    whole = copy.deepcopy([SENSOR, SOURCE, BUS, SECRET, LIST])
    for _ in range(draw(st.integers(1, 3))):
        *way, last = draw(st.sampled_from([place for place in places(whole) if len(place) > 1]))
        holder: Any = whole
        for step in way:
            holder = holder[step]
        if draw(st.booleans()):
            holder[last] = draw(anything)
        else:
            del holder[last]
    return whole


@given(spoilt())
@example([{"kind": "Sensor"}, {"kind": "List", "items": [None, 5, {"kind": 5}]}])
@settings(
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
)
def test_reading_never_raises(objects: list[dict[str, Any]]) -> None:
    bundle = from_objects(objects)
    for finding in [*bundle.findings, *additions(bundle)]:
        assert str(finding)
        assert finding.severity in ("error", "warning", "info")
    # And every object is there to run or has an error, never both and never neither, unless two have one name
    if "duplicate-object" not in {finding.code for finding in bundle.findings}:
        broken = {finding.object for finding in bundle.findings if finding.severity == "error"}
        made = [*bundle.sensors, *bundle.event_sources, *bundle.event_buses]
        running = {f"{one.kind} {one.metadata.namespace}/{one.metadata.name}" for one in made}
        for key in bundle.origins:
            if key.kind in ("Sensor", "EventSource", "EventBus"):
                assert (str(key) in running) != (str(key) in broken)


@pytest.mark.parametrize("levels", [200, 300, 900])
@pytest.mark.parametrize("kind", ["EventSource", "EventBus", "Sensor"])
def test_what_is_nested_too_deeply_is_said_and_hides_no_other_object(kind: str, levels: int) -> None:
    deep: Any = {}
    for _ in range(levels):
        deep = {"a": deep}
    item = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": kind,
        "metadata": {"name": "deep"},
        "spec": {"template": deep},
    }
    bundle = from_objects([item, SENSOR])
    assert [one.metadata.name for one in bundle.sensors] == ["n"]
    assert any(one.severity == "error" and one.object.endswith("deep") for one in bundle.findings)
