"""Manifests and what they become, as the tests of workloads look at them."""

from __future__ import annotations

import datetime as dt
from functools import cache
from typing import Any

import yaml

from argosy.kubernetes.workloads import Credentials, made
from argosy.manifests.eventbus import EventBus, parse_event_bus
from argosy.manifests.eventsource import EventSource, parse_event_source
from argosy.manifests.sensor import Sensor, parse_sensor

Object = dict[str, Any]
NOW = dt.datetime(2026, 11, 26, 12, tzinfo=dt.UTC)
BUS = {
    "jetstream": {
        "url": "nats://eventbus-default-js-svc.shop.svc:4222",
        "accessSecret": {"name": "eventbus-default-js-client-auth", "key": "client-auth"},
        "streamConfig": "replicas: 3\n",
        "tls": {"caCertSecret": {"name": "eventbus-default-js-client-auth", "key": "ca-cert"}},
    }
}


def _raw(kind: str, name: str, spec: str, metadata: str) -> Object:
    about = {"name": name, "namespace": "shop", "uid": f"uid-{name}", **yaml.safe_load(metadata or "{}")}
    return {"apiVersion": "argoproj.io/v1alpha1", "kind": kind, "metadata": about, "spec": yaml.safe_load(spec)}


def event_source_of(spec: str, name: str = "orders", metadata: str = "") -> EventSource:
    """A valid EventSource with this spec."""
    one, problems = parse_event_source(_raw("EventSource", name, spec, metadata))
    assert one, problems
    return one


def sensor_of(spec: str, name: str = "orders", metadata: str = "") -> Sensor:
    """A valid Sensor with this spec."""
    one, problems = parse_sensor(_raw("Sensor", name, spec, metadata))
    assert one, problems
    return one


def event_bus_of(spec: str, name: str = "default", metadata: str = "") -> EventBus:
    """A valid EventBus with this spec."""
    one, problems = parse_event_bus(_raw("EventBus", name, spec, metadata))
    assert one, problems
    return one


@cache
def credentials() -> Credentials:
    """Credentials of the bus ``default``."""
    return made(event_bus_of("{jetstream: {version: latest}}"), NOW)


def only(objects: list[Object], kind: str) -> Object:
    """The one object of this kind."""
    found = [one for one in objects if one["kind"] == kind]
    assert len(found) == 1, [one["kind"] for one in objects]
    return found[0]


def pod(objects: list[Object], kind: str = "Deployment") -> Object:
    """The pod's spec in the one object of this kind."""
    spec: Object = only(objects, kind)["spec"]["template"]["spec"]
    return spec


def main(objects: list[Object], kind: str = "Deployment") -> Object:
    """The first container of that pod."""
    container: Object = pod(objects, kind)["containers"][0]
    return container


def env(objects: list[Object]) -> dict[str, Any]:
    """The variables of the container by name; what is not plain text as it stands."""
    return {one["name"]: one.get("value", one.get("valueFrom")) for one in main(objects)["env"]}
