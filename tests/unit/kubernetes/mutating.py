"""Valid objects, changed at random, and what the running process says of the outcome."""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from argosy import registry
from argosy.bus._jetstream_settings import StreamSettings, server_urls
from argosy.errors import ArgosyError
from argosy.kubernetes.admission.known import Known
from argosy.kubernetes.admission.review import review
from argosy.manifests._yaml import Fault, documents
from argosy.manifests.bundle import from_objects
from argosy.runtime.lines import in_flight
from argosy.runtime.sensors import queues_of
from argosy.sensor.matching import Matcher
from argosy.sources._filter import decision
from tests.unit.kubernetes.asking import BUS, Object, cluster, of, question

_ROOT = Path(__file__).parents[3]
_KINDS = ("EventBus", "EventSource", "Sensor")
_MORE = (
    "EventBus a\njetstream: {version: latest, replicas: 3, streamConfig: 'maxMsgs: 5'}",
    "EventBus b\njetstreamExotic: {url: 'nats://nats:4222', streamConfig: 'maxAge: 1h'}",
    "EventBus c\nnats: {native: {replicas: 3, auth: token}}",
)
_WORDS = st.sampled_from(
    (
        *("", "a", ".", "..0", "-1", "0", "99999999999", "metadata", "spec", "name", "default", "order", "orders"),
        *(
            "#(a",
            "{{",
            "{{ .Input }}",
            "(",
            "a && b",
            "${x}",
            "\u0000",
            "2006-01-02T15:04:05Z",
            "NaN",
            "1h",
            "* * * * *",
        ),
        *("nats://x:4222", "http://", "replicas: 9", "maxMsgs: many", "[1", "true", "string", "number", "<", "!="),
    )
)
_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | _WORDS
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_WORDS | st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@cache
def valid() -> list[Object]:
    """The examples of all kinds, and of the project, that are valid by themselves."""
    plugins = [registry.source(kind) for kind in registry.source_kinds()]
    triggers = [registry.trigger(kind) for kind in registry.trigger_kinds()]
    texts = [plugin.example for plugin in (*plugins, *triggers) if plugin is not None]
    texts += [path.read_text() for path in sorted((_ROOT / "examples").rglob("*.yaml"))]
    found = [one.value for text in texts for one in documents(text) if not isinstance(one, Fault)]
    found = [one for one in found if isinstance(one, dict) and one.get("kind") in _KINDS] + [of(one) for one in _MORE]
    return [one for one in found if from_objects([one]).count("error") == 0]


def _places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return ([at] if at else []) + [place for key, item in inner for place in _places(item, (*at, key))]


def _holder(value: Any, at: tuple[Any, ...]) -> Any:
    for part in at[:-1]:
        value = value[part]
    return value


@st.composite
def mutated(draw: st.DrawFn) -> Object:
    """A valid object with one to four changes in its spec or elsewhere."""
    item = copy.deepcopy(draw(st.sampled_from(valid())))
    kind, name = item["kind"], item["metadata"]["name"]
    for _ in range(draw(st.integers(1, 4))):
        everywhere = [at for at in _places(item) if at not in (("kind",), ("metadata",), ("metadata", "name"))]
        if not everywhere:
            break
        at = draw(st.sampled_from(everywhere))
        parent = _holder(item, at)
        match draw(st.sampled_from(("remove", "replace", "replace", "rename", "move", "repeat"))):
            case "remove":
                del parent[at[-1]]
            case "replace":
                parent[at[-1]] = draw(_VALUES)
            case "rename" if isinstance(parent, dict):
                parent[draw(_WORDS | st.text(max_size=8))] = parent.pop(at[-1])
            case "move":
                other = draw(st.sampled_from(everywhere))
                if at != other[: len(at)]:
                    parent[at[-1]] = copy.deepcopy(_holder(item, other)[other[-1]])
            case "repeat" if isinstance(parent, list):
                parent.append(copy.deepcopy(parent[at[-1]]))
    # An API server knows what it is asked for, whatever the object says; labels and annotations it reads itself.
    about = item["metadata"] if isinstance(item.get("metadata"), dict) else {}
    return {**item, "kind": kind, "metadata": {**about, "name": name}}


def refused_at_run(item: Object) -> str:
    """Why the running process would not take this object; empty where it would.

    It is read as a process reads what its API server gives it, and its texts are compiled as when it starts.
    """
    bundle = from_objects([item])
    for sensor in bundle.sensors:
        try:
            Matcher(sensor)
            for _, trigger in queues_of(sensor):
                in_flight(trigger)
        except ArgosyError as error:
            return str(error)
    for source in bundle.event_sources:
        try:
            for event in source.events:
                decision(event.config)
        except ArgosyError as error:
            return str(error)
    for bus in bundle.event_buses:
        try:
            StreamSettings.parse(bus.spec.stream_config or None)
            if bus.spec.engine == "jetstreamExotic" and bus.spec.jetstream_exotic:
                server_urls(bus.spec.jetstream_exotic.url)
        except ArgosyError as error:
            return str(error)
    taken = [*bundle.sensors, *bundle.event_sources, *bundle.event_buses]
    return "" if taken else "; ".join(one.message for one in bundle.findings if one.severity == "error")


@cache
def _there() -> Known:
    return cluster(*(one for one in valid() if one["kind"] == "EventSource"))


def judged(item: Object) -> None:
    """Assert that the webhook answers, and admits nothing that would not run."""
    there = _there()
    asked = question(item)
    asked["request"]["object"]["metadata"]["namespace"] = there.namespace
    response = review(asked, there)["response"]
    assert response["allowed"] in (True, False)
    assert all(one.isprintable() and len(one.encode()) <= 256 for one in response.get("warnings", ()))
    if response["allowed"]:
        assert not refused_at_run(item), item
    else:
        assert response["status"]["message"]
        assert response["status"]["details"]["causes"]
    # And whatever is there, an update to it and its deletion are answered, too
    review(question(item, "UPDATE", BUS if item["kind"] == "EventBus" else item), there)
    review(question(None, "DELETE", item), there)
