"""Small objects that the tests of the controller share."""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]


def argo(kind: str, name: str, spec: Object, **metadata: Any) -> Object:
    """An object of one of the three kinds."""
    about = {"name": name, **metadata}
    return {"apiVersion": "argoproj.io/v1alpha1", "kind": kind, "metadata": about, "spec": spec}


def exotic(name: str = "default", **metadata: Any) -> Object:
    """A bus that somebody else runs."""
    return argo("EventBus", name, {"jetstreamExotic": {"url": "nats://nats.elsewhere.svc:4222"}}, **metadata)


def source(name: str = "hooks", event: str = "pushed", **metadata: Any) -> Object:
    """An EventSource that listens, with a Service."""
    spec = {
        "service": {"ports": [{"port": 12000, "targetPort": 12000}]},
        "webhook": {event: {"endpoint": "/push", "method": "POST", "port": "12000"}},
    }
    return argo("EventSource", name, spec, **metadata)


def sensor(name: str = "tell", of: str = "hooks", event: str = "pushed", **spec: Any) -> Object:
    """A Sensor that writes what it hears into the log."""
    dependencies = [{"name": "push", "eventSourceName": of, "eventName": event}]
    triggers = [{"template": {"name": "say", "log": {}}}]
    return argo("Sensor", name, {"dependencies": dependencies, "triggers": triggers, **spec})
