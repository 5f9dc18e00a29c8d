"""Looks at an EventSource or a Sensor: is it right, can it run, does it run, and what does its status have to say.

An object with an error goes on as it was: its pods are left alone until the spec is right again. One whose mode changes is served by the
new one before the old one goes, where both may work at once: that is where others would find nobody listening.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from argosy.errors import ConfigError
from argosy.kubernetes import workloads
from argosy.kubernetes.buses import with_authority
from argosy.kubernetes.client import AlreadyExists, Object
from argosy.kubernetes.controller.conditions import (
    CONFIGURED,
    DEPENDENCIES_PROVIDED,
    DEPLOYED,
    PERMITTED,
    READY,
    SOURCES_PROVIDED,
    TRIGGERS_PROVIDED,
    Condition,
    fails,
    holds,
    is_true,
    unknown,
)
from argosy.kubernetes.controller.desk import Desk, NotMade, judged, place, reasons
from argosy.kubernetes.controller.permitted import RECHECK_SECONDS
from argosy.kubernetes.names import API_SECRET, RUNNER, SHARDS, Mode, mode_of, ours
from argosy.manifests.bundle import Finding, Key
from argosy.manifests.checks._needs import is_exclusive
from argosy.manifests.eventsource import EventSource, declared_events
from argosy.manifests.sensor import Sensor, declared_by_emit
from argosy.manifests.spelling import did_you_mean

_UPSTREAMS = {"EventSource": "eventsource-controller", "Sensor": "sensor-controller"}
"""Finalizers that upstream's controller may have left on an object that is ours now."""
_AGAIN_SECONDS = 40.0
"""So soon one is looked at again that waits for others: people are told of what lasts."""
_MOST_SHARDS = 64


class _Served(NamedTuple):
    """How an object is deployed, whether it works, and who serves it."""

    deployed: Condition
    works: Condition
    mode: Mode
    failure: Exception | None = None


async def look(desk: Desk, key: Key) -> float | None:
    """Bring one object to what it says; in how many seconds to look again. Raises what the API server says."""
    seen, owned = desk.cluster.get(*key), desk.cluster.owned(key)
    if seen is None:
        await desk.clear(owned)
        return None
    if not ours(seen["metadata"]):
        return None
    if seen["metadata"].get("deletionTimestamp"):
        await desk.clear(owned)
        left = [one for one in seen["metadata"].get("finalizers") or () if one != _UPSTREAMS[key.kind]]
        await desk.finalize(seen, left)
        return None
    former = [one for one in owned if not _belongs(one, seen)]
    await desk.clear(former)
    owned = [one for one in owned if one not in former]
    one, errors = judged(seen)
    if not isinstance(one, EventSource | Sensor):
        deployed = _as_it_was(seen, owned)
        conditions = [*_faults(key.kind, errors), deployed]
        await desk.tell(seen, [*conditions, _ready(conditions)])
        return None
    provided = _provided(desk, one)
    served = await _serve(desk, seen, one, owned)
    permitted = await desk.permits.condition(one)
    # What keeps it from running at all comes first.
    conditions = [served.deployed, served.works, *provided, permitted]
    fields: dict[str, Any] = {**desk.reports.fields(key), "mode": served.mode}
    if isinstance(one, EventSource):
        fields.setdefault("events", len(one.events))
    told = [each for each in conditions if each.type != READY]
    await desk.tell(seen, [*told, _ready(conditions)], fields)
    if served.failure is not None:
        raise served.failure
    settled = served.deployed.status == "True" and all(one.status == "True" for one in provided)
    return RECHECK_SECONDS if settled else _AGAIN_SECONDS


def _belongs(item: Object, seen: Object) -> bool:
    owners = item["metadata"].get("ownerReferences") or ()
    return any(one.get("uid") == seen["metadata"].get("uid") for one in owners)


def _ready(conditions: Sequence[Condition]) -> Condition:
    """All in one: the first thing that is wrong, and how many more."""
    wrong = [one for one in conditions if one.status == "False"]
    wrong += [one for one in conditions if one.status == "Unknown" and one.type != PERMITTED]
    if not wrong:
        return holds(READY, "Running")
    more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
    return fails(READY, wrong[0].reason, (wrong[0].message or f"{wrong[0].type} is not true") + more)


# Whether it is right


def _faults(kind: str, errors: list[Finding]) -> list[Condition]:
    if kind == "EventSource":
        return [fails(SOURCES_PROVIDED, "InvalidEventSource", reasons(errors))]
    triggers = [error for error in errors if error.path.startswith("spec.triggers")]
    others = [error for error in errors if error not in triggers]
    dependencies = (
        fails(DEPENDENCIES_PROVIDED, "InvalidDependencies", reasons(others)) if others else holds(DEPENDENCIES_PROVIDED)
    )
    return [
        dependencies,
        fails(TRIGGERS_PROVIDED, "InvalidTriggers", reasons(triggers)) if triggers else holds(TRIGGERS_PROVIDED),
    ]


def _provided(desk: Desk, one: EventSource | Sensor) -> list[Condition]:
    if isinstance(one, EventSource):
        return [holds(SOURCES_PROVIDED)]
    lacking = list(_lacking(desk, one))
    if not lacking:
        return [holds(DEPENDENCIES_PROVIDED), holds(TRIGGERS_PROVIDED)]
    reason = "UnknownEventSource" if any(source for source, _ in lacking) else "UnknownEvent"
    text = "; ".join(dict.fromkeys(sentence for _, sentence in lacking))
    return [
        fails(DEPENDENCIES_PROVIDED, reason, f"{text}; the sensor runs, and waits for them"),
        holds(TRIGGERS_PROVIDED),
    ]


def _lacking(desk: Desk, sensor: Sensor) -> Iterator[tuple[bool, str]]:
    """What the sensor waits for and nobody in the namespace emits: whether it is the source that is not there, and a sentence."""
    space = sensor.metadata.namespace
    emitted: dict[str, set[str]] | None = None
    for dependency in sensor.dependencies:
        name, event = dependency.event_source_name, dependency.event_name
        source = desk.cluster.get("EventSource", space, name)
        known = declared_events(source) if source else set()
        if event in known:
            continue
        if emitted is None:
            emitted = {}
            for other in desk.cluster.of("Sensor", space):
                for by, what in declared_by_emit(other):
                    emitted.setdefault(by, set()).add(what)
        if event in emitted.get(name, ()):
            continue
        if source or name in emitted:
            near = did_you_mean(event, known | emitted.get(name, set()))
            yield False, f"EventSource '{name}' has no event '{event}'{near}"
        else:
            names = [each["metadata"]["name"] for each in desk.cluster.of("EventSource", space)]
            near = did_you_mean(name, [*names, *emitted])
            yield True, f"there is no EventSource '{name}' in namespace '{space}'{near}"


# Whether it runs


def _as_it_was(seen: Object, owned: list[Object]) -> Condition:
    if any(item["kind"] == "Deployment" for item in owned):
        return holds(DEPLOYED, "Before", "what was valid last goes on; the spec has to be mended first")
    if (seen.get("status") or {}).get("mode") == "shared":
        text = "what was valid last goes on until the runner is started anew; the spec has to be mended first"
        return holds(DEPLOYED, "Before", text)
    return unknown(DEPLOYED, "NotYet", "the spec has to be mended first")


async def _serve(desk: Desk, seen: Object, one: EventSource | Sensor, owned: list[Object]) -> _Served:
    space = desk.cluster.get("Namespace", "", one.metadata.namespace)
    settings = desk.settings()
    mode = mode_of(seen["metadata"], (space or {}).get("metadata"), settings.mode)
    before: Mode = "shared" if (seen.get("status") or {}).get("mode") == "shared" else "dedicated"
    config, missing = _bus(desk, one)
    if config is None:
        assert missing is not None
        return _Served(missing, fails(READY, missing.reason, missing.message), before)
    try:
        if mode == "shared":
            return await _share(desk, seen, one, owned, space)
        return await _dedicate(desk, seen, one, owned, config, before)
    except ConfigError as error:
        deployed = fails(DEPLOYED, "BuildDeploymentSpecFailed", str(error))
        return _Served(deployed, fails(READY, deployed.reason, deployed.message), before)
    except NotMade as error:
        deployed = fails(DEPLOYED, f"{error.verb}{error.kind}Failed", str(error))
        return _Served(deployed, fails(READY, deployed.reason, deployed.message), before, error)


def _bus(desk: Desk, one: EventSource | Sensor) -> tuple[dict[str, Any] | None, Condition | None]:
    """The way to the object's bus, or why there is none."""
    space, name = one.metadata.namespace, one.event_bus_name
    bus = desk.cluster.get("EventBus", space, name)
    if bus is None:
        near = did_you_mean(name, [each["metadata"]["name"] for each in desk.cluster.of("EventBus", space)])
        return None, fails(DEPLOYED, "EventBusNotFound", f"there is no EventBus '{name}' in namespace '{space}'{near}")
    config = (bus.get("status") or {}).get("config")
    if not config or not is_true(bus, DEPLOYED) or not is_true(bus, CONFIGURED):
        why = next(
            (
                f": {each.get('message') or each.get('reason')}"
                for each in (bus.get("status") or {}).get("conditions") or ()
                if each.get("type") in (CONFIGURED, DEPLOYED) and each.get("status") == "False"
            ),
            "",
        )
        return None, fails(DEPLOYED, "EventBusNotReady", f"EventBus '{name}' is not ready{why}")
    return with_authority(space, name, config), None


def _overlaps(one: EventSource | Sensor) -> bool:
    """Whether two may serve it at once, and must where nobody is to find it away."""
    return isinstance(one, EventSource) and not is_exclusive(one)


async def _dedicate(
    desk: Desk, seen: Object, one: EventSource | Sensor, owned: list[Object], config: dict[str, Any], before: Mode
) -> _Served:
    if isinstance(one, EventSource):
        wanted = workloads.event_source(one, config, desk.settings())
    else:
        wanted = workloads.sensor(one, config, desk.settings())
    key = Key(one.kind, one.metadata.namespace, one.metadata.name)
    services = [item for item in wanted if item["kind"] == "Service"]
    if not any(item["kind"] == "Deployment" for item in owned):
        # A pod reads the token when it starts, so it has to be there before the first one.
        await open_api(desk, one.metadata.namespace)
    await desk.bring(seen, [item for item in wanted if item not in services])
    works = _works(desk, key, next(item for item in wanted if item["kind"] == "Deployment"))
    moving = before == "shared" and _overlaps(one) and works.status != "True"
    if not moving:
        await desk.bring(seen, services)
        # What upstream's controller has made goes once ours works; both may serve meanwhile.
        if works.status == "True" or not _overlaps(one):
            await desk.clear(_rest(owned, wanted))
        else:
            await desk.clear([item for item in _rest(owned, wanted) if item["kind"] != "Deployment"])
    return _Served(holds(DEPLOYED, "Succeeded"), works, "shared" if moving else "dedicated")


async def open_api(desk: Desk, namespace: str) -> None:
    """Make the token that opens the API of the namespace's pods, unless there is one."""
    if await desk.cluster.read("Secret", namespace, API_SECRET) is not None:
        return
    secret = workloads.api_secret(namespace, secrets.token_urlsafe(32))
    desk.wrote("create", secret)
    try:
        await desk.cluster.create(secret)
    except AlreadyExists:
        return  # made in this very moment; there is one, and that is all that matters


async def _share(
    desk: Desk, seen: Object, one: EventSource | Sensor, owned: list[Object], space: Object | None
) -> _Served:
    settings = desk.settings()
    key = Key(one.kind, one.metadata.namespace, one.metadata.name)
    heard = desk.reports.ready(key, RUNNER)
    own = [item for item in owned if item["kind"] == "Deployment"]
    wanted: list[Object] = []
    if isinstance(one, EventSource):
        wanted = workloads.shared_event_source(one, shards_of(space, settings))
    if not (own and _overlaps(one) and not heard):
        await desk.bring(seen, wanted)
        await desk.clear(_rest(owned, wanted))
        mode: Mode = "shared"
    else:
        mode = "dedicated"
    idle = workloads.without_effect(one)
    note = f"served by the namespace's runner{', where these have no effect: ' + ', '.join(idle) if idle else ''}"
    if heard:
        works = holds(READY, "Running")
    elif not desk.reports.complete:
        works = _before(seen)
    else:
        why = desk.reports.waiting_for(key) or "no runner says yet that it serves it"
        works = fails(READY, "RunnerNotReady", why)
    return _Served(holds(DEPLOYED, "Shared", note), works, mode)


def shards_of(space: Object | None, settings: workloads.Settings) -> int:
    """How many runners a namespace has; an annotation that is no number does not count."""
    said = str(((space or {"metadata": {}})["metadata"].get("annotations") or {}).get(SHARDS) or "")
    return min(int(said), _MOST_SHARDS) if said.isdigit() and int(said) else settings.shards


def _before(seen: Object) -> Condition:
    """``Ready`` as the status has it: nobody was asked yet."""
    for one in (seen.get("status") or {}).get("conditions") or ():
        if one.get("type") == READY and one.get("status") == "True":
            return holds(READY, str(one.get("reason") or "Running"))
    return fails(READY, "RunnerNotReady", "no runner says yet that it serves it")


def _rest(owned: list[Object], wanted: list[Object]) -> list[Object]:
    kept = {place(item) for item in wanted}
    return [item for item in owned if place(item) not in kept and item["kind"] != "Pod"]


def _works(desk: Desk, key: Key, wanted: Object) -> Condition:
    """Whether the pods of a Deployment serve, as the cluster and they say."""
    live = desk.cluster.get(*place(wanted))
    name, replicas = wanted["metadata"]["name"], wanted["spec"]["replicas"]
    status = (live or {}).get("status") or {}
    if live is None or (status.get("observedGeneration") or 0) < (live["metadata"].get("generation") or 0):
        return fails(READY, "PodsNotAvailable", f"the pods of Deployment '{name}' are being made")
    available, updated = status.get("availableReplicas") or 0, status.get("updatedReplicas") or 0
    why = desk.reports.waiting_for(key)
    if available >= replicas and updated >= replicas:
        return fails(READY, "Waiting", why) if why else holds(READY, "Running")
    for one in status.get("conditions") or ():
        if one.get("type") == "ReplicaFailure" and one.get("status") == "True":
            return fails(READY, "PodsNotMade", f"Deployment '{name}': {one.get('message')}")
    late = [
        str(one.get("message"))
        for one in status.get("conditions") or ()
        if one.get("type") == "Progressing" and one.get("status") == "False"
    ]
    told = [f"{available} of {replicas} pods of Deployment '{name}' are available", *late, *([why] if why else [])]
    return fails(READY, "PodsNotAvailable", "; ".join(told))
