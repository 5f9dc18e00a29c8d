"""What the controller sees of a cluster, and how it writes there.

``Cluster`` is all that the reconcilers know of it: a picture of the objects that may be a little behind, and writes that hold only for what
was seen. ``Caches`` keeps the picture by watches. What a write answered takes the place of what was seen until the watch brings news, so
that two looks in a row do not write the same twice.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any, NamedTuple, Protocol

from argosy.kubernetes.client import Client, Conflict, NotFound, Object, Resource
from argosy.kubernetes.controller.waits import Waits
from argosy.kubernetes.names import CONTROLLER, FIELD_MANAGER, GROUP_VERSION, RUNNER
from argosy.kubernetes.watching import Cache, Place, place_of, running
from argosy.manifests.bundle import Key

OBJECTS = ("EventBus", "EventSource", "Sensor")
"""The kinds that people write."""
_SERVED = ("EventSource", "Sensor")


class Kept(NamedTuple):
    """A kind that is watched. ``selected`` are only those objects that a controller of ours, or upstream's, has made."""

    api_version: str
    plural: str
    selected: bool = True
    metadata_only: bool = False


KEPT: dict[str, Kept] = {
    "EventBus": Kept(GROUP_VERSION, "eventbus", selected=False),
    "EventSource": Kept(GROUP_VERSION, "eventsources", selected=False),
    "Sensor": Kept(GROUP_VERSION, "sensors", selected=False),
    "Deployment": Kept("apps/v1", "deployments"),
    "StatefulSet": Kept("apps/v1", "statefulsets"),
    "Service": Kept("v1", "services"),
    "ConfigMap": Kept("v1", "configmaps"),
    "Pod": Kept("v1", "pods"),
    "PodDisruptionBudget": Kept("policy/v1", "poddisruptionbudgets"),
    "NetworkPolicy": Kept("networking.k8s.io/v1", "networkpolicies"),
}
"""Secrets are not among them: a right to watch them is a right to read all of them."""
NAMESPACES = Kept("v1", "namespaces", selected=False, metadata_only=True)
GRANTS = {
    "Role": Kept("rbac.authorization.k8s.io/v1", "roles", selected=False, metadata_only=True),
    "RoleBinding": Kept("rbac.authorization.k8s.io/v1", "rolebindings", selected=False, metadata_only=True),
}
"""Looked at only for when they change; the controller does without where it may not."""
CLUSTER_GRANTS = {
    "ClusterRole": Kept("rbac.authorization.k8s.io/v1", "clusterroles", selected=False, metadata_only=True),
    "ClusterRoleBinding": Kept(
        "rbac.authorization.k8s.io/v1", "clusterrolebindings", selected=False, metadata_only=True
    ),
}

Changed = Callable[[str, Place, Key | None], None]
"""Told of each object that came, changed or went: its kind, its place, and the one that it belongs to."""


def owner_of(item: Object) -> Key | None:
    """The object that this one belongs to, as its controlling owner reference says, or for those without one the label."""
    about = item["metadata"]
    for one in about.get("ownerReferences") or ():
        if one.get("controller") and str(one.get("apiVersion", "")).startswith("argoproj.io/"):
            return Key(one["kind"], about["namespace"], one["name"])
    if (about.get("labels") or {}).get(CONTROLLER) == RUNNER:
        return Key("Namespace", "", about["namespace"])
    return None


def _essence(item: Object | None) -> tuple[Any, ...] | None:
    if item is None:
        return None
    about = item["metadata"]
    fields = ("uid", "generation", "deletionTimestamp", "finalizers", "labels", "annotations")
    return (*(about.get(field) for field in fields), (item.get("status") or {}).get("mode") or "dedicated")


class Cluster(Protocol):
    """What a reconciler knows of a cluster. Objects that it gets must not be changed."""

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        """The object as it was last seen."""

    def of(self, kind: str, namespace: str) -> list[Object]:
        """All objects of a kind in a namespace as they were last seen, by name."""

    def each(self, kind: str) -> list[Object]:
        """All objects of a kind, wherever they are."""

    def owned(self, owner: Key) -> list[Object]:
        """All watched objects that say that they belong to this one, as they were last seen."""

    def waited(self, namespace: str) -> list[str]:
        """The event sources that Sensors of a namespace name."""

    def waiting(self, namespace: str, source: str) -> list[Object]:
        """The Sensors of a namespace that name this event source."""

    def unsettled(self, namespace: str) -> list[Object]:
        """The Sensors of a namespace of which it is not said that all that they wait for is there."""

    async def read(self, kind: str, namespace: str, name: str) -> Object | None:
        """The object as it is now: for kinds that are not watched, and where the last look is not enough."""

    async def listed(self, kind: str, namespace: str, labels: str) -> list[Object]:
        """The objects that a selector chooses as they are now: for kinds that are not watched."""

    async def apply(self, wanted: Object) -> Object:
        """Make the fields of ``wanted`` so, whoever set them before."""

    async def create(self, body: Object) -> Object:
        """A new object. Raises AlreadyExists."""

    async def patch(self, seen: Object, body: Object, part: str = "") -> Object:
        """Merge ``body`` into the object, or into its ``part``. Raises Conflict where it is no longer as it was seen."""

    async def delete(self, seen: Object) -> None:
        """Remove that very object. One that is gone, or another of its name, is no error."""


_DIRECT = {
    "Secret": ("v1", "secrets"),
    "PersistentVolumeClaim": ("v1", "persistentvolumeclaims"),
    "ServiceAccount": ("v1", "serviceaccounts"),
    "Role": ("rbac.authorization.k8s.io/v1", "roles"),
    "RoleBinding": ("rbac.authorization.k8s.io/v1", "rolebindings"),
}


class Caches:
    """A ``Cluster`` over the API server. ``namespaces`` are those that it sees; None for all."""

    def __init__(
        self, client: Client, namespaces: Iterable[str] | None, made_by: Iterable[str], changed: Changed
    ) -> None:
        """``made_by`` are the words of the label ``controller`` that choose what is kept of other kinds than ours."""
        self._client = client
        self._spaces: list[str | None] = [None] if namespaces is None else [*sorted(namespaces)]
        self._changed = changed
        self._owner: dict[tuple[str, Place], Key] = {}
        self._owned: dict[Key, set[tuple[str, Place]]] = {}
        self._waits = Waits()
        self._essences: dict[tuple[str, Place], tuple[Any, ...]] = {}
        self._written: dict[tuple[str, Place], tuple[str, Object]] = {}
        labels = f"{CONTROLLER} in ({','.join(sorted(made_by))})"
        self._needed = {kind: self._made(kind, kept, labels) for kind, kept in KEPT.items()}
        self._extra: dict[str, list[Cache]] = {}
        grants: Mapping[str, Kept] = GRANTS
        if namespaces is None:
            self._needed["Namespace"] = self._made("Namespace", NAMESPACES, "")
            grants = {**GRANTS, **CLUSTER_GRANTS}
        self._extra = {kind: self._made(kind, kept, "") for kind, kept in grants.items()}

    def _made(self, kind: str, kept: Kept, labels: str) -> list[Cache]:
        def changed(place: Place) -> None:
            if kind == "Sensor":
                self._waits.note(place, self.get(kind, *place))
            before, now = self._owner.get((kind, place)), self._noted(kind, place) if kept.selected else None
            if kind not in _SERVED or self._says_more(kind, place):
                self._changed(kind, place, now or before)

        return [
            Cache(
                self._client,
                kept.api_version,
                kept.plural,
                space,
                labels=labels if kept.selected else "",
                metadata_only=kept.metadata_only,
                changed=changed,
            )
            for space in self._spaces
        ]

    @contextlib.asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Watch while the context is open; it opens when everything has been listed once."""
        needed = [cache for caches in self._needed.values() for cache in caches]
        extra = [cache for caches in self._extra.values() for cache in caches]
        async with running(*needed, *extra):
            for cache in needed:
                await cache.synced.wait()
            yield

    @property
    def problems(self) -> list[str]:
        """Which kinds are not followed now, and why."""
        return [
            f"{cache.what}: {cache.problem}" if cache.problem else f"{cache.what} are being listed"
            for caches in self._needed.values()
            for cache in caches
            if cache.problem or not cache.synced.is_set()
        ]

    def each(self, kind: str) -> list[Object]:
        """All objects of a kind."""
        return [self._fresh(kind, item) for cache in self._needed[kind] for item in cache]

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        for cache in self._needed.get(kind, ()):
            if cache.namespace in (None, namespace):
                seen = cache.get(namespace, name)
                return self._fresh(kind, seen) if seen else None
        return None

    def of(self, kind: str, namespace: str) -> list[Object]:
        return [
            self._fresh(kind, item)
            for cache in self._needed.get(kind, ())
            if cache.namespace in (None, namespace)
            for item in cache.of(namespace)
        ]

    def owned(self, owner: Key) -> list[Object]:
        found = (self.get(kind, *place) for kind, place in sorted(self._owned.get(owner, ())))
        return [item for item in found if item is not None]

    def waited(self, namespace: str) -> list[str]:
        return self._waits.sources(namespace)

    def waiting(self, namespace: str, source: str) -> list[Object]:
        return self._sensors(self._waits.of(namespace, source))

    def unsettled(self, namespace: str) -> list[Object]:
        return self._sensors(self._waits.unsettled(namespace))

    def _sensors(self, places: list[Place]) -> list[Object]:
        return [item for place in places if (item := self.get("Sensor", *place))]

    @property
    def owners(self) -> list[Key]:
        """Everything to which a watched object belongs, whether it is there or not."""
        return sorted(self._owned)

    def _says_more(self, kind: str, place: Place) -> bool:
        """Whether an object says something else than before to anybody but who reads its status: that is ours."""
        essence = _essence(next((item for cache in self._needed[kind] if (item := cache.get(*place))), None))
        before = self._essences.pop((kind, place), None)
        if essence:
            self._essences[kind, place] = essence
        return essence != before

    def _noted(self, kind: str, place: Place) -> Key | None:
        """Who the object belongs to now; None also if it is gone."""
        item = next(
            (item for cache in self._needed.get(kind, ()) if (item := cache.get(*place)) is not None),
            None,
        )
        if before := self._owner.pop((kind, place), None):
            self._owned[before].discard((kind, place))
            if not self._owned[before]:
                del self._owned[before]
        owner = owner_of(item) if item else None
        if owner:
            self._owner[kind, place] = owner
            self._owned.setdefault(owner, set()).add((kind, place))
        return owner

    def _fresh(self, kind: str, seen: Object) -> Object:
        place = place_of(seen)
        base, written = self._written.get((kind, place), ("", seen))
        if base == seen["metadata"].get("resourceVersion"):
            return written
        self._written.pop((kind, place), None)
        return seen

    def _wrote(self, kind: str, answer: Object) -> Object:
        """Note an answer over what the watch has brought so far."""
        for cache in self._needed.get(kind, ()):
            place = place_of(answer)
            if cache.namespace in (None, place.namespace) and (seen := cache.get(*place)):
                self._written[kind, place] = (str(seen["metadata"].get("resourceVersion")), answer)
        return answer

    async def _resource(self, kind: str) -> Resource:
        kept = KEPT.get(kind)
        version, plural = (kept.api_version, kept.plural) if kept else _DIRECT[kind]
        return await self._client.discover_plural(version, plural)

    async def read(self, kind: str, namespace: str, name: str) -> Object | None:
        try:
            return await self._client.get(await self._resource(kind), name, namespace)
        except NotFound:
            return None

    async def listed(self, kind: str, namespace: str, labels: str) -> list[Object]:
        return (await self._client.list(await self._resource(kind), namespace, labels=labels)).items

    async def apply(self, wanted: Object) -> Object:
        return self._wrote(wanted["kind"], await self._client.apply(wanted, manager=FIELD_MANAGER))

    async def create(self, body: Object) -> Object:
        resource = await self._resource(body["kind"])
        return await self._client.create(resource, body, body["metadata"].get("namespace"))

    async def patch(self, seen: Object, body: Object, part: str = "") -> Object:
        about, kind = seen["metadata"], seen["kind"]
        body = {**body, "metadata": {**(body.get("metadata") or {}), "resourceVersion": about["resourceVersion"]}}
        answer = await self._client.patch(
            await self._resource(kind), about["name"], body, about["namespace"], part=part, manager=FIELD_MANAGER
        )
        return self._wrote(kind, answer)

    async def delete(self, seen: Object) -> None:
        about = seen["metadata"]
        try:
            await self._client.delete(
                await self._resource(seen["kind"]), about["name"], about.get("namespace"), uid=about["uid"]
            )
        except (NotFound, Conflict):
            return
