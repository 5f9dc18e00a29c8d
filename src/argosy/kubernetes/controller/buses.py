"""Looks at an EventBus: installs its servers, says how they are reached, and keeps it while somebody uses it.

The finalizer is upstream's, with upstream's meaning: an EventBus goes when no EventSource and no Sensor of its namespace names it any more,
and its volumes go with it.
"""

from __future__ import annotations

from argosy.errors import ConfigError
from argosy.kubernetes import workloads
from argosy.kubernetes.client import Object
from argosy.kubernetes.controller.announcing import Said
from argosy.kubernetes.controller.conditions import (
    CONFIGURED,
    DEPLOYED,
    READY,
    Condition,
    fails,
    holds,
    unknown,
)
from argosy.kubernetes.controller.desk import Desk, NotMade, judged, place, reasons
from argosy.kubernetes.names import CONTROLLER, EVENT_BUS_NAME, ours
from argosy.manifests.bundle import Key
from argosy.manifests.eventbus import EventBus

FINALIZER = "eventbus-controller"
_AGAIN_SECONDS = 600.0
"""Secrets are not watched, and certificates age: so often an installed bus is looked at in any case."""
_REASONS = {
    "Secret": "JetStreamAuthSecretsFailed",
    "ConfigMap": "JetStreamConfigMapFailed",
    "Service": "JetStreamServiceFailed",
    "StatefulSet": "JetStreamStatefulSetFailed",
}
_SHOWN = 5


async def look(desk: Desk, key: Key) -> float | None:
    """Bring one EventBus to what it says; in how many seconds to look again. Raises what the API server says."""
    seen, owned = desk.cluster.get(*key), desk.cluster.owned(key)
    owned = [item for item in owned if item["kind"] != "Pod"]
    if seen is None:
        # What is left of it holds data only where somebody took the finalizer away: volumes stay.
        await desk.clear(owned)
        return None
    if not ours(seen["metadata"]):
        return None
    one, errors = judged(seen)
    bus = one if isinstance(one, EventBus) else None
    finalizers = list(seen["metadata"].get("finalizers") or ())
    blocked: list[Condition] = []
    if seen["metadata"].get("deletionTimestamp"):
        users = _users(desk, key)
        if not users:
            await _remove(desk, seen, bus, owned, finalizers)
            return None
        blocked = [fails(READY, "InUse", _in_use(users))]
        desk.announce(Said(seen, "Warning", "InUse", blocked[0].message))
    elif FINALIZER not in finalizers:
        seen = await desk.finalize(seen, [*finalizers, FINALIZER])
    if bus is None:
        faulty = fails(CONFIGURED, "InvalidSpec", reasons(errors))
        installed = any(item["kind"] == "StatefulSet" for item in owned)
        deployed = (
            holds(DEPLOYED, "Before", "what was valid last goes on")
            if installed
            else unknown(DEPLOYED, "NotYet", "the spec has to be mended first")
        )
        await desk.tell(seen, [faulty, deployed, *(blocked or [fails(READY, faulty.reason, faulty.message)])])
        return None
    return await _install(desk, seen, bus, owned, blocked)


async def _install(
    desk: Desk, seen: Object, bus: EventBus, owned: list[Object], blocked: list[Condition]
) -> float | None:
    settings = desk.settings()
    try:
        config = workloads.bus_config(bus, settings)
        installed = workloads.installed(bus, settings) is not None
        wanted = workloads.event_bus(bus, settings, await _credentials(desk, bus) if installed else None)
    except ConfigError as error:
        faulty = fails(CONFIGURED, "InvalidSpec", str(error))
        deployed = unknown(DEPLOYED, "NotYet", "the spec has to be mended first")
        await desk.tell(seen, [faulty, deployed, *(blocked or [fails(READY, faulty.reason, faulty.message)])])
        return _AGAIN_SECONDS
    except NotMade as error:
        await _tell_not_made(desk, seen, error, blocked)
        raise
    try:
        await desk.bring(seen, wanted)
    except (ConfigError, NotMade) as error:
        await _tell_not_made(desk, seen, error, blocked)
        raise
    kept = {place(item) for item in wanted}
    await desk.clear([item for item in owned if place(item) not in kept])
    if not installed:
        await _forget(desk, seen, bus)
    if installed:
        deployed = holds(DEPLOYED, "Succeeded", "JetStream is installed")
        works = _works(desk, next(item for item in wanted if item["kind"] == "StatefulSet"))
    else:
        deployed = holds(DEPLOYED, "Skipped", "somebody else runs the servers")
        works = holds(READY, "Skipped", "somebody else runs the servers")
    await desk.tell(seen, [holds(CONFIGURED), deployed, *(blocked or [works])], {"config": config})
    return _AGAIN_SECONDS if installed else None


async def _credentials(desk: Desk, bus: EventBus) -> workloads.Credentials:
    space, now = bus.metadata.namespace, desk.clock.now()
    server = await desk.cluster.read("Secret", space, workloads.server_secret_name(bus))
    client = await desk.cluster.read("Secret", space, workloads.client_secret_name(bus))
    held = workloads.kept(server, client)
    try:
        if held is not None:
            return workloads.renewed(held, bus, now)
        await _check_volumes(desk, bus)
        return workloads.made(bus, now)
    except ConfigError as error:
        raise NotMade("Update" if held else "Create", "Secret", str(error)) from error


async def _check_volumes(desk: Desk, bus: EventBus) -> None:
    """Raises ConfigError where volumes hold events that a new key could not open: servers would not start, or begin anew over them."""
    space, volume = bus.metadata.namespace, workloads.volume_name(bus)
    claims = [
        one["metadata"]["name"]
        for one in await desk.cluster.listed("PersistentVolumeClaim", space, _labels(bus.metadata.name))
        if one["metadata"]["name"].startswith(f"{volume}-") and not one["metadata"].get("deletionTimestamp")
    ]
    js = workloads.installed(bus, desk.settings())
    if claims and js is not None and js.persistence is not None:
        raise ConfigError(
            f"Secret {workloads.server_secret_name(bus)!r} with the key of the events in {', '.join(sorted(claims))} is gone; put it back,"
            " or delete these PersistentVolumeClaims, which gives up what is in them"
        )


async def _tell_not_made(desk: Desk, seen: Object, error: ConfigError | NotMade, blocked: list[Condition]) -> None:
    kind = error.kind if isinstance(error, NotMade) else "StatefulSet"
    deployed = fails(DEPLOYED, _REASONS.get(kind, f"JetStream{kind}Failed"), str(error))
    ready = blocked or [fails(READY, deployed.reason, deployed.message)]
    await desk.tell(seen, [holds(CONFIGURED), deployed, *ready])


def _works(desk: Desk, wanted: Object) -> Condition:
    live = desk.cluster.get(*place(wanted))
    replicas = wanted["spec"]["replicas"]
    running = ((live or {}).get("status") or {}).get("readyReplicas") or 0
    text = f"{running} of {replicas} servers are ready"
    if running >= replicas:
        return holds(READY, "Running")
    if running > replicas // 2:
        return holds(READY, "Degraded", text)
    return fails(READY, "ServersNotReady", text)


# The end of a bus


def _users(desk: Desk, key: Key) -> list[str]:
    """The objects of the namespace that name the bus, whoever's they are."""
    return [
        f"{kind} '{item['metadata']['name']}'"
        for kind in ("EventSource", "Sensor")
        for item in desk.cluster.of(kind, key.namespace)
        if ((item.get("spec") or {}).get("eventBusName") or "default") == key.name
    ]


def _in_use(users: list[str]) -> str:
    more = f" and {len(users) - _SHOWN} more" if len(users) > _SHOWN else ""
    use = "uses" if len(users) == 1 else "use"
    return f"it is to be deleted, and goes on because {', '.join(users[:_SHOWN])}{more} {use} it; delete them first"


async def _remove(desk: Desk, seen: Object, bus: EventBus | None, owned: list[Object], finalizers: list[str]) -> None:
    if FINALIZER not in finalizers:
        return
    about = seen["metadata"]
    space, name = about["namespace"], about["name"]
    await desk.clear(owned)
    await desk.clear(await desk.cluster.listed("PersistentVolumeClaim", space, _labels(name)))
    if bus is not None:
        # Of one whose spec cannot be read the garbage collector takes the Secrets.
        await _forget(desk, seen, bus)
    await desk.finalize(seen, [one for one in finalizers if one != FINALIZER])


def _labels(name: str) -> str:
    """What chooses all that belongs to the bus of this name."""
    return f"{CONTROLLER}=eventbus-controller,{EVENT_BUS_NAME}={workloads.label_value(name)}"


async def _forget(desk: Desk, seen: Object, bus: EventBus) -> None:
    """Remove the credentials of an installation."""
    about = seen["metadata"]
    for name in (workloads.server_secret_name(bus), workloads.client_secret_name(bus)):
        found = await desk.cluster.read("Secret", about["namespace"], name)
        owners = (found or {"metadata": {}})["metadata"].get("ownerReferences") or ()
        if found and any(one.get("uid") == about.get("uid") for one in owners):
            await desk.clear([found])
