"""What a change in the cluster means for which objects, and the look at each of them.

``routes`` turns a change into keys, and only that: what a look finds out it reads from the caches. A key of a namespace waits a moment, so that
many changes in a namespace are one look.
"""

from __future__ import annotations

from collections.abc import Iterator

from argosy.kubernetes.client import Object
from argosy.kubernetes.controller import buses, namespaces, serving
from argosy.kubernetes.controller.caches import CLUSTER_GRANTS, GRANTS, OBJECTS, Cluster
from argosy.kubernetes.controller.conditions import DEPLOYED, PERMITTED, is_true
from argosy.kubernetes.controller.desk import Desk, key_of
from argosy.kubernetes.names import RUNNER
from argosy.kubernetes.watching import Place
from argosy.manifests.bundle import Key
from argosy.manifests.sensor import declared_by_emit

_LOOKS = {
    "EventBus": buses.look,
    "EventSource": serving.look,
    "Sensor": serving.look,
    "Namespace": namespaces.look,
}


_ACTING = ("EventSource", "Sensor")


async def look(desk: Desk, key: Key) -> float | None:
    """Bring what the key names to what it should be; in how many seconds to look again, or None. Raises what the API server says."""
    return await _LOOKS[key.kind](desk, key)


def namespace_key(name: str) -> Key:
    """The key of a namespace."""
    return Key("Namespace", "", name)


def routes(cluster: Cluster, kind: str, place: Place, owner: Key | None) -> Iterator[Key]:
    """The keys that a change of this object makes worth a look."""
    space, name = place
    if kind == "Namespace":
        yield namespace_key(name)
        yield from (key for key, _ in _served(cluster, name))
    elif kind == "EventBus":
        yield Key(kind, space, name)
        yield from (
            key for key, item in _served(cluster, space) if _bus_of(item) == name or not is_true(item, DEPLOYED)
        )
    elif kind in OBJECTS:
        yield Key(kind, space, name)
        yield namespace_key(space)
        yield from _around(cluster, kind, place)
    elif kind in GRANTS or kind in CLUSTER_GRANTS:
        if name == RUNNER:
            yield namespace_key(space)
    elif owner is not None and kind != "Pod":
        yield owner


def entitled(cluster: Cluster) -> Iterator[Key]:
    """The keys of all objects whose service accounts need any rights, wherever: somebody may act in another namespace than his own."""
    yield from (key_of(item) for kind in _ACTING for item in cluster.each(kind) if _asks(item))


def _served(cluster: Cluster, space: str) -> Iterator[tuple[Key, Object]]:
    for kind in _ACTING:
        yield from ((key_of(item), item) for item in cluster.of(kind, space))


def _asks(item: Object) -> bool:
    """Whether its account needs any rights, as far as its status tells."""
    conditions = (item.get("status") or {}).get("conditions") or ()
    return any(one.get("type") == PERMITTED and one.get("reason") != "NothingNeeded" for one in conditions)


def _bus_of(item: Object) -> str:
    return str((item.get("spec") or {}).get("eventBusName") or "default")


def _around(cluster: Cluster, kind: str, place: Place) -> Iterator[Key]:
    """The bus that an object used may now be free to go, and sensors may find, or miss, what they wait for."""
    space, name = place
    for bus in cluster.of("EventBus", space):
        if bus["metadata"].get("deletionTimestamp"):
            yield key_of(bus)
    item = cluster.get(kind, space, name)
    emitted = {name} if kind == "EventSource" else {source for source, _ in declared_by_emit(item or {})}
    if kind == "Sensor":
        # What it emitted before nobody knows any more: something that is no event source.
        emitted |= {source for source in cluster.waited(space) if not cluster.get("EventSource", space, source)}
    for source in sorted(emitted):
        yield from (key_of(other) for other in cluster.waiting(space, source))
    if emitted:
        yield from (key_of(other) for other in cluster.unsettled(space))
