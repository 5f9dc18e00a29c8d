"""The feed of a pod of one object: what its variables say, and which of them is to blame."""

from __future__ import annotations

import base64
import json
from typing import Any, Literal

import pytest

from argosy.errors import ConfigError
from argosy.runtime.feeds import Environment

SOURCE = {
    "metadata": {"name": "front", "namespace": "team", "creationTimestamp": None},
    "spec": {"eventBusName": "main", "webhook": {"hello": {"port": "12000", "endpoint": "/", "method": "POST"}}},
}
SENSOR = {
    "metadata": {"name": "tell", "namespace": "team"},
    "spec": {
        "dependencies": [{"name": "it", "eventSourceName": "front", "eventName": "hello"}],
        "triggers": [{"template": {"name": "say", "log": {}}}],
    },
}
CONFIG = {"jetstream": {"url": "nats://host:4222", "accessSecret": {"name": "access", "key": "auth"}}}


def encoded(value: Any) -> str:
    """As a controller writes it."""
    return base64.b64encode(json.dumps(value).encode()).decode()


def environment(**more: str) -> dict[str, str]:
    """What a pod of the EventSource has, with some of it written anew."""
    return {"EVENTSOURCE_OBJECT": encoded(SOURCE), "EVENTBUS_CONFIG": encoded(CONFIG)} | more


async def test_an_event_source_comes_with_the_bus_that_it_names() -> None:
    feed = Environment("EventSource", environment())

    bundle = feed.now()
    assert bundle is not None and not bundle.findings
    assert [source.metadata.name for source in bundle.event_sources] == ["front"]
    bus = bundle.event_bus("team", "main")
    assert bus is not None and bus.spec.jetstream_exotic is not None
    assert bus.spec.jetstream_exotic.url == "nats://host:4222"
    assert feed.access == ("access", "auth")
    # It never changes: the controller makes other pods.
    assert [bundle async for bundle in feed.changes()] == []


def test_a_sensor_comes_without_complaints_about_what_is_not_there_to_be_seen() -> None:
    variables = {"SENSOR_OBJECT": encoded(SENSOR), "EVENTBUS_CONFIG": encoded(CONFIG)}

    bundle = Environment("Sensor", variables).now()
    assert bundle is not None
    assert [sensor.metadata.name for sensor in bundle.sensors] == ["tell"]
    assert bundle.event_bus("team") is not None
    assert not bundle.findings


@pytest.mark.parametrize(
    ("kind", "variables", "sentence"),
    [
        ("EventSource", {}, "variable EVENTSOURCE_OBJECT is not set"),
        ("Sensor", environment(), "variable SENSOR_OBJECT is not set"),
        ("EventSource", {"EVENTSOURCE_OBJECT": encoded(SOURCE)}, "variable EVENTBUS_CONFIG is not set"),
        ("EventSource", environment(EVENTSOURCE_OBJECT="no base64"), "EVENTSOURCE_OBJECT is not JSON in base64"),
        ("EventSource", environment(EVENTBUS_CONFIG="bm8="), "EVENTBUS_CONFIG is not JSON in base64"),
        ("EventSource", environment(EVENTBUS_CONFIG="W10="), "EVENTBUS_CONFIG is no JSON object"),
        (
            "EventSource",
            environment(EVENTSOURCE_OBJECT=encoded({"spec": {}})),
            "EVENTSOURCE_OBJECT holds no EventSource",
        ),
        ("EventSource", environment(EVENTBUS_CONFIG=encoded({})), "EVENTBUS_CONFIG: .* names neither"),
        (
            "EventSource",
            environment(EVENTBUS_CONFIG=encoded({"nats": {"url": "a"}})),
            "EVENTBUS_CONFIG: .* NATS Streaming",
        ),
    ],
)
def test_the_variable_that_is_missing_or_broken_is_named(
    kind: Literal["EventSource", "Sensor"], variables: dict[str, str], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        Environment(kind, variables)


def test_an_object_that_is_wrong_is_a_finding_that_says_where() -> None:
    wrong = {**SOURCE, "spec": {"webhook": {"hello": {"port": "12000", "endpint": "/", "method": "POST"}}}}

    bundle = Environment("EventSource", environment(EVENTSOURCE_OBJECT=encoded(wrong))).now()
    assert bundle is not None and not bundle.event_sources
    assert "spec.webhook.hello.endpint" in {finding.path for finding in bundle.findings}
