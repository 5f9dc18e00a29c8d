"""What an EventSource and a Sensor become where each has pods of its own.

The pods look as upstream's do, so that what looks for them goes on finding them: labels, environment, places of Secrets
(``pkg/reconciler/{eventsource,sensor}/resource.go``). Names are the same at every call, where upstream lets the server draw them.
"""

from __future__ import annotations

import base64
from copy import deepcopy
from typing import Any

import orjson

from argosy import registry
from argosy.errors import ConfigError
from argosy.kubernetes.kinds import Kinds
from argosy.kubernetes.names import dns_label
from argosy.kubernetes.workloads import _pod
from argosy.kubernetes.workloads._mounts import BusConfig, Volumes, mounted
from argosy.kubernetes.workloads._owned import disruption, mappings, metadata, selector, texts
from argosy.kubernetes.workloads.settings import Settings
from argosy.manifests.checks._needs import LEADER_ELECTION, is_elected, is_exclusive, parts
from argosy.manifests.checks._walk import each_trigger, mapping
from argosy.manifests.eventsource import EventSource
from argosy.manifests.sensor import Sensor

Object = dict[str, Any]
_ROLLING = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
_RECREATE = {"type": "Recreate"}
_LONGEST = 128 * 1024 - 1
"""What Linux takes as one variable, its name and the ``=`` included."""


def event_source(source: EventSource, bus: BusConfig, settings: Settings) -> list[Object]:
    """The Deployment, its Service and its PodDisruptionBudget, as far as the manifest asks for them.

    ``bus`` is the ``status.config`` of its EventBus. Raises ConfigError if the object is too large for a pod's environment, or the bus
    cannot be reached by what is said of it.
    """
    replicas = max(1, source.spec.replicas or 1)
    elected = is_elected(source)
    needs_token = elected or _asks(source)
    several = elected or not is_exclusive(source)
    extra = [_pod.text_env("ARGOSY_ELECT", "lease")] if elected else []
    deployment = _deployment(
        source,
        f"{source.metadata.name}-eventsource",
        ("eventsource-service", "EVENTSOURCE_OBJECT"),
        bus,
        settings,
        replicas,
        extra,
        _ROLLING if several else _RECREATE,
        token=needs_token,
        drain=not is_exclusive(source),
        ready=_pod.READY_FOR_REQUESTS if len(source.events) > 1 else _pod.READY,
    )
    made = [deployment]
    if service := event_source_service(source, selector(source)):
        made.append(service)
    if replicas > 1:
        made.append(disruption(source, f"{source.metadata.name}-eventsource"))
    return deepcopy(made)


def sensor(one: Sensor, bus: BusConfig, settings: Settings) -> list[Object]:
    """The Deployment of a Sensor, and a PodDisruptionBudget for several pods. As ``event_source``."""
    replicas = max(1, one.spec.replicas or 1)
    deployment = _deployment(
        one,
        f"{one.metadata.name}-sensor",
        ("sensor-service", "SENSOR_OBJECT"),
        bus,
        settings,
        replicas,
        [],
        _RECREATE,
        token=_asks(one),
        drain=False,
    )
    if one.spec.revision_history_limit is not None:
        deployment["spec"]["revisionHistoryLimit"] = one.spec.revision_history_limit
    made = [deployment, disruption(one, f"{one.metadata.name}-sensor")] if replicas > 1 else [deployment]
    return deepcopy(made)


def event_source_service(source: EventSource, pods: dict[str, str]) -> Object | None:
    """The Service that ``spec.service`` asks for, in front of these pods; None if it names no ports."""
    given = source.spec.service or {}
    ports = given.get("ports")
    if not isinstance(ports, list) or not ports:
        return None
    about = metadata(
        source,
        dns_label(f"{source.metadata.name}-eventsource-svc"),
        inherit=True,
        labels=texts(mapping(given, "metadata", "labels")),
        annotations=texts(mapping(given, "metadata", "annotations")),
    )
    spec: Object = {"type": "ClusterIP", "ports": _named(ports), "selector": pods}
    if given.get("clusterIP"):
        spec["clusterIP"] = given["clusterIP"]
    return {"apiVersion": "v1", "kind": "Service", "metadata": about, "spec": spec}


def _named(ports: list[Object]) -> list[Object]:
    """The API server wants a name for each of several ports."""
    if len(ports) == 1:
        return list(ports)
    return [
        one if one.get("name") else {**one, "name": f"{str(one.get('protocol') or 'TCP').lower()}-{one.get('port')}"}
        for one in mappings(ports)
    ]


def _asks(one: EventSource | Sensor) -> bool:
    """Whether its process asks the Kubernetes API, or runs code of which nobody can tell."""
    if any(not part.rights.nothing for part in parts(one, Kinds())):
        return True
    if not (one.spec.template or {}).get("serviceAccountName"):
        return False
    if isinstance(one, EventSource):
        plugins: list[Any] = [registry.source(event.kind) for event in one.events]
    else:
        plugins = [_trigger(trigger.kind) for _, trigger in each_trigger(one)]
    return any(
        plugin is None or plugin.kind == "python" or not plugin.__module__.startswith("argosy.") for plugin in plugins
    )


def _trigger(kind: str) -> Any:
    try:
        return registry.trigger(kind)
    except ConfigError:
        return None


def _deployment(
    one: EventSource | Sensor,
    name: str,
    words: tuple[str, str],
    bus: BusConfig,
    settings: Settings,
    replicas: int,
    extra: list[Object],
    strategy: Object,
    *,
    token: bool,
    drain: bool,
    ready: str = _pod.READY,
) -> Object:
    template = one.spec.template or {}
    own = selector(one)
    volumes = Volumes(template.get("volumes"), mapping(template, "container").get("volumeMounts"))
    mounted(one, bus, volumes)
    verb, variable = words
    env = [
        _pod.text_env(variable, _carried(one, variable)),
        _pod.text_env("EVENTBUS_SUBJECT", f"eventbus-{one.metadata.namespace}"),
        _pod.field_env("POD_NAME", "metadata.name"),
        _pod.text_env("LEADER_ELECTION", one.metadata.annotations.get(LEADER_ELECTION, "")),
        _pod.text_env("EVENTBUS_CONFIG", _encoded(bus)),
        *_pod.common_env(settings),
        *extra,
    ]
    main = _pod.container(verb, env, volumes.all()[1], template, settings, drain=drain, ready=ready)
    spec = _pod.pod(main, volumes, template, settings, token=token)
    _pod.spread(spec, own, replicas)
    about: Object = {"labels": _pod.labels(template, own)}
    if annotations := _pod.pod_annotations(template):
        about["annotations"] = annotations
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(one, name, inherit=True),
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": own},
            "strategy": strategy,
            "template": {"metadata": about, "spec": spec},
        },
    }


def _carried(one: EventSource | Sensor, variable: str) -> str:
    """The object as its pod reads it: what it is and what it says, nothing that changes while it runs."""
    about = {"name": one.metadata.name, "namespace": one.metadata.namespace}
    if uid := one.raw["metadata"].get("uid"):
        about["uid"] = uid  # what its pod makes, a Lease, goes with it
    text = _encoded(
        {
            "apiVersion": one.raw["apiVersion"],
            "kind": one.kind,
            "metadata": about,
            "spec": one.raw["spec"],
        }
    )
    if len(text) + len(variable) + 1 > _LONGEST:
        raise ConfigError(
            f"{one.kind} {one.metadata.name!r} is too large for the environment of a pod ({len(text) // 1024} KiB of"
            f" {_LONGEST // 1024}); split it, or have it served by the namespace's runner (argosy.dev/mode: shared)"
        )
    return text


def _encoded(value: object) -> str:
    return base64.b64encode(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).decode()
