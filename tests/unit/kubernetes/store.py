"""A small API server in memory, and a picture of it that lags behind: for what no real one can be made to do, which is to bring news in any
order, and to see a controller die between any two writes. Nothing else may be tested with it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from argosy.kubernetes.client import AlreadyExists, Conflict, Object
from argosy.kubernetes.controller.caches import KEPT, owner_of
from argosy.kubernetes.controller.conditions import DEPENDENCIES_PROVIDED, is_true
from argosy.kubernetes.controller.waits import waited_for
from argosy.kubernetes.watching import Place, place_of
from argosy.manifests.bundle import Key

Where = tuple[str, str, str]


class Crash(BaseException):
    """The controller's process has died."""


class Store:
    """What the API server holds, and all that ever happened there."""

    def __init__(self) -> None:
        self.objects: dict[Where, Object] = {}
        self.news: dict[str, list[tuple[Where, Object | None]]] = {kind: [] for kind in KEPT}
        self.writes = 0
        self._version = 0
        self._applied: dict[Where, Object] = {}
        self._made: dict[Where, int] = {}

    def put(self, where: Where, item: Object) -> Object:
        """Store a new state of an object, unless it is what is there already."""
        before = self.objects.get(where)
        about = item["metadata"]
        if before is not None and _bare(before) == _bare(item):
            return before
        self._version += 1
        self.writes += 1
        about["resourceVersion"] = str(self._version)
        if before is None:
            self._made[where] = self._made.get(where, 0) + 1
            about["uid"] = f"{where[0]}-{where[2]}-{self._made[where]}"
            about["generation"] = 1
        elif before.get("spec") != item.get("spec"):
            about["generation"] = before["metadata"]["generation"] + 1
        if about.get("deletionTimestamp") and not about.get("finalizers"):
            del self.objects[where]
            self._tell(where, None)
            return item
        self.objects[where] = item
        self._tell(where, item)
        return item

    def remove(self, where: Where) -> None:
        """What a deletion does: finalizers delay it."""
        item = self.objects.get(where)
        if item is None or item["metadata"].get("deletionTimestamp"):
            return
        item = copy.deepcopy(item)
        item["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        self.put(where, item)
        if where not in self.objects:
            self._applied.pop(where, None)

    def _tell(self, where: Where, item: Object | None) -> None:
        if where[0] in self.news:
            self.news[where[0]].append((where, item))

    def apply(self, wanted: Object) -> Object:
        """Server-side apply of one manager, with force."""
        where = (wanted["kind"], *_place(wanted))
        live = copy.deepcopy(self.objects.get(where) or {})
        _without(live, self._applied.get(where) or {}, wanted)
        self._applied[where] = copy.deepcopy(wanted)
        return self.put(where, _merged(live, wanted))


def _bare(item: Object) -> Object:
    about = {key: value for key, value in item["metadata"].items() if key not in ("resourceVersion", "generation")}
    return {**item, "metadata": about}


def _place(item: Object) -> Place:
    return place_of(item)


def _without(live: Any, before: Any, wanted: Any) -> None:
    """Take away what was applied before and is not any more."""
    if not isinstance(live, dict) or not isinstance(before, dict):
        return
    for key, value in before.items():
        if key not in (wanted or {}):
            live.pop(key, None)
        else:
            _without(live.get(key), value, wanted[key])


def _merged(live: Any, wanted: Any) -> Any:
    if isinstance(live, dict) and isinstance(wanted, dict):
        return {**live, **{key: _merged(live.get(key), value) for key, value in wanted.items()}}
    return copy.deepcopy(wanted)


def _patched(live: Any, patch: Any) -> Any:
    """A JSON merge patch: what is null goes."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    made = copy.deepcopy(live) if isinstance(live, dict) else {}
    for key, value in patch.items():
        if value is None:
            made.pop(key, None)
        else:
            made[key] = _patched(made.get(key), value)
    return made


class View:
    """A controller's picture of the store, which is as new as ``deliver`` made it, and its writes."""

    def __init__(self, store: Store, changed: Callable[[View, str, Place, Key | None], None]) -> None:
        self.store = store
        self.dies_after = -1
        """After how many writes the process dies; below 0: never."""
        self._changed = changed
        self._seen: dict[Where, Object] = {}
        self._read = dict.fromkeys(store.news, 0)
        for kind in store.news:
            self.relist(kind)

    def relist(self, kind: str) -> None:
        """Read everything of a kind anew: all of it is told once more."""
        before = {where: item for where, item in self._seen.items() if where[0] == kind}
        now = {where: item for where, item in self.store.objects.items() if where[0] == kind}
        self._read[kind] = len(self.store.news[kind])
        for where in {**before, **now}:
            self._take(where, now.get(where))

    def deliver(self, kind: str) -> bool:
        """Take in the next piece of news of a kind; False if there is none."""
        news = self.store.news[kind]
        if self._read[kind] == len(news):
            return False
        where, item = news[self._read[kind]]
        self._read[kind] += 1
        self._take(where, item)
        return True

    def _take(self, where: Where, item: Object | None) -> None:
        before = self._seen.pop(where, None)
        if item is not None:
            self._seen[where] = item
        known = item or before
        self._changed(self, where[0], Place(*where[1:]), owner_of(known) if known else None)

    # The cluster of a reconciler

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        return self._seen.get((kind, namespace, name))

    def of(self, kind: str, namespace: str) -> list[Object]:
        return [item for where, item in sorted(self._seen.items()) if where[:2] == (kind, namespace)]

    def each(self, kind: str) -> list[Object]:
        return [item for where, item in sorted(self._seen.items()) if where[0] == kind]

    def waited(self, namespace: str) -> list[str]:
        return sorted({source for item in self.of("Sensor", namespace) for source in waited_for(item)})

    def waiting(self, namespace: str, source: str) -> list[Object]:
        return [item for item in self.of("Sensor", namespace) if source in waited_for(item)]

    def unsettled(self, namespace: str) -> list[Object]:
        return [item for item in self.of("Sensor", namespace) if not is_true(item, DEPENDENCIES_PROVIDED)]

    def owned(self, owner: Key) -> list[Object]:
        return [item for item in self._seen.values() if owner_of(item) == owner]

    async def read(self, kind: str, namespace: str, name: str) -> Object | None:
        return self.store.objects.get((kind, namespace, name))

    async def listed(self, kind: str, namespace: str, labels: str) -> list[Object]:
        wanted = dict(one.split("=") for one in labels.split(","))
        return [
            item
            for where, item in self.store.objects.items()
            if where[:2] == (kind, namespace) and wanted.items() <= (item["metadata"].get("labels") or {}).items()
        ]

    async def apply(self, wanted: Object) -> Object:
        self._alive()
        return self.store.apply(wanted)

    async def create(self, body: Object) -> Object:
        self._alive()
        where = (body["kind"], *place_of(body))
        if where in self.store.objects:
            raise AlreadyExists("it is there already")
        return self.store.put(where, copy.deepcopy(body))

    async def patch(self, seen: Object, body: Object, part: str = "") -> Object:
        self._alive()
        where = (seen["kind"], *place_of(seen))
        live = self.store.objects.get(where)
        if live is None or live["metadata"]["resourceVersion"] != seen["metadata"]["resourceVersion"]:
            raise Conflict("it has changed")
        return self.store.put(where, _patched(live, body))

    async def delete(self, seen: Object) -> None:
        self._alive()
        where = (seen["kind"], *place_of(seen))
        live = self.store.objects.get(where)
        if live is not None and live["metadata"]["uid"] == seen["metadata"]["uid"]:
            self.store.remove(where)

    def _alive(self) -> None:
        if self.dies_after == 0:
            raise Crash
        self.dies_after -= 1
