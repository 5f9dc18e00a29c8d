"""The feed of a runner: the EventSources, Sensors and EventBuses of a namespace that are left to runners, followed in the Kubernetes API.

What these objects name, Secrets and ConfigMaps, is read and followed too, each by its name alone, so that a role may say which
(``argosy.kubernetes.controller.access``). An object that is not there yet, or may not be read yet, stops nobody: who needs it is started when it
comes. A server that goes away stops nobody either: everything runs on as it was, and what happened meanwhile is seen when it is back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterable
from typing import Any

from argosy.errors import ConfigError
from argosy.kubernetes.buses import reachable
from argosy.kubernetes.client import Client
from argosy.kubernetes.names import GROUP_VERSION, Mode, mode_of, ours
from argosy.kubernetes.references import references
from argosy.kubernetes.watching import Cache, Place
from argosy.manifests.bundle import Bundle, from_objects
from argosy.runtime.feeds import Feed, errors_alone

_log = logging.getLogger("argosy.runtime")

_QUIET_SECONDS, LONGEST_QUIET_SECONDS = 0.1, 1.0
"""Changes that come closer together than the first are taken as one, but none waits longer than the second."""
_SYNC_SECONDS = 5.0
"""How long what objects name for the first time is waited for; a role that allows it may come after the object."""
_KEPT = ("name", "namespace", "labels", "annotations", "uid")
"""What is looked at of an object's metadata; the rest, and the status, changes without meaning anything here."""
_PLURALS = {"EventSource": "eventsources", "Sensor": "sensors", "EventBus": "eventbus"}
_VALUES = {"Secret": "secrets", "ConfigMap": "configmaps"}
Object = dict[str, Any]


class Cluster(Feed):
    """The objects of ``namespace`` that runners serve. ``default`` is the mode of those that do not say theirs."""

    repeats = False

    def __init__(self, client: Client, namespace: str, *, default: Mode) -> None:
        self.namespace = namespace
        self._client = client
        self._default = default
        self._moved = asyncio.Event()
        self._caches = {kind: self._cache(GROUP_VERSION, plural) for kind, plural in _PLURALS.items()}
        self._named: dict[tuple[str, str], Cache] = {}
        """What objects name, by kind and name."""
        self._tasks: dict[Cache, asyncio.Task[None]] = {}
        self._said: dict[str, str] = {}

    @property
    def what(self) -> str:
        return f"namespace '{self.namespace}'"

    def late(self) -> list[str]:
        late = [cache for cache in self._caches.values() if not cache.synced.is_set()]
        return [f"the {cache.what} of namespace '{self.namespace}'" for cache in late]

    def now(self) -> None:
        return None

    async def changes(self) -> AsyncIterator[Bundle]:
        for cache in self._caches.values():
            self._tasks[cache] = asyncio.create_task(cache.run())
        last = Bundle()
        seen: list[Object] | None = None
        try:
            await asyncio.gather(*(cache.synced.wait() for cache in self._caches.values()))
            while True:
                self._moved.clear()
                objects = self._objects()
                if objects != seen:
                    bundle = errors_alone(await asyncio.to_thread(from_objects, objects))
                    if await self._follow(bundle.keeping(last)):
                        continue
                    seen, last = objects, bundle.keeping(last)
                    yield bundle
                await self._quiet()
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _cache(self, version: str, plural: str, name: str = "") -> Cache:
        fields = f"metadata.name={name}" if name else ""
        return Cache(self._client, version, plural, self.namespace, fields=fields, changed=self._changed)

    def _changed(self, place: Place) -> None:
        self._moved.set()

    async def _quiet(self) -> None:
        """Wait for a change, and for those that come with it."""
        await self._moved.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LONGEST_QUIET_SECONDS):
                while self._moved.is_set():
                    self._moved.clear()
                    await asyncio.sleep(_QUIET_SECONDS)

    def _objects(self) -> list[Object]:
        """What there is now, without what does not matter."""
        found: list[Object] = []
        for kind, cache in self._caches.items():
            taken = (self._taken(kind, item) for item in cache.of(self.namespace))
            found += [one for one in taken if one is not None]
        for (kind, name), cache in sorted(self._named.items()):
            held = cache.get(self.namespace, name)
            if held is not None:
                found.append(_trimmed("v1", kind, held, "data", "binaryData"))
        return found

    def _taken(self, kind: str, item: Object) -> Object | None:
        """The object as manifests have it; None if it is not for runners, or is being deleted."""
        about = item["metadata"]
        if kind == "EventBus":
            name = about["name"]
            try:
                bus = reachable(item)
            except ConfigError as error:
                if self._said.get(name) != str(error):
                    self._said[name] = str(error)
                    _log.error("EventBus '%s' is left out: %s", name, error, extra={"action": "manifest.error"})
                return None
            return _trimmed(GROUP_VERSION, kind, bus, "spec") if bus is not None else None
        # One that is to have pods of its own is served until the controller says that they do it.
        modes = (mode_of(about, None, self._default), (item.get("status") or {}).get("mode"))
        if about.get("deletionTimestamp") or not ours(about) or "shared" not in modes:
            return None
        return _trimmed(GROUP_VERSION, kind, item, "spec")

    async def _follow(self, bundle: Bundle) -> bool:
        """Follow what these objects name, and nothing else. Whether something was found that is to be looked at first."""
        named = references(bundle)
        wanted = {("Secret", name) for name in named.secrets} | {("ConfigMap", name) for name in named.config_maps}
        for key in self._named.keys() - wanted:
            task = self._tasks.pop(self._named.pop(key))
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        fresh = [self._begin(kind, name) for kind, name in sorted(wanted - self._named.keys())]
        await _some(fresh)
        return any(len(cache) for cache in fresh)

    def _begin(self, kind: str, name: str) -> Cache:
        cache = self._cache("v1", _VALUES[kind], name)
        cache.what = f"changes of {kind} '{name}'"
        self._named[kind, name] = cache
        self._tasks[cache] = asyncio.create_task(cache.run())
        return cache


async def _some(caches: Iterable[Cache]) -> None:
    """Wait until all have been listed, but not for ever: what cannot be read must not stop the others."""
    waiting = [asyncio.create_task(cache.synced.wait()) for cache in caches]
    if waiting:
        await asyncio.wait(waiting, timeout=_SYNC_SECONDS)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


def _trimmed(version: str, kind: str, item: Object, *fields: str) -> Object:
    about = item["metadata"]
    return {
        "apiVersion": version,
        "kind": kind,
        "metadata": {key: about[key] for key in _KEPT if key in about},
        **{field: item[field] for field in fields if field in item},
    }
