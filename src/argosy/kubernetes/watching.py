"""Keeps the objects of one kind at hand as the API server has them: listed once, then followed for ever.

Whoever decides from the state of a cluster, and not from what just happened there, reads a ``Cache``: what it holds is never
complete news, only the latest known state, and ``changed`` names an object whenever that state moved. A watch that breaks is taken up
again; where the server has forgotten what happened meanwhile, the list is read anew and compared, so that deletions that nobody saw are
told, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator, Callable, Iterator
from typing import NamedTuple

from argosy.errors import ArgosyError
from argosy.kubernetes.client import Client, Expired, Object

_log = logging.getLogger("argosy.kubernetes")
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 15.0


class Place(NamedTuple):
    """What tells an object of a kind from the others; the namespace is empty for kinds that live in none."""

    namespace: str
    name: str


def place_of(item: Object) -> Place:
    """Where the object is."""
    about = item["metadata"]
    return Place(about.get("namespace") or "", about["name"])


def ignore(place: Place) -> None:
    """Nobody needs to be told."""


class Cache:
    """The objects of a kind (of a namespace, or chosen by selectors). ``run`` keeps it; reading never waits.

    ``problem`` says why it may be behind, and is empty while the watch stands.
    """

    def __init__(
        self,
        client: Client,
        api_version: str,
        plural: str,
        namespace: str | None = None,
        *,
        labels: str = "",
        fields: str = "",
        metadata_only: bool = False,
        changed: Callable[[Place], None] = ignore,
    ) -> None:
        """``changed`` is called for each object that came, changed or went, after the cache has it so; it must not wait."""
        self.what = f"{plural}.{api_version.rpartition('/')[0]}".rstrip(".")
        self.namespace = namespace
        self.synced = asyncio.Event()
        """Set once everything was listed for the first time."""
        self.problem = ""
        self._client = client
        self._api_version = api_version
        self._plural = plural
        self._labels = labels
        self._fields = fields
        self._metadata_only = metadata_only
        self._changed = changed
        self._objects: dict[Place, Object] = {}
        self._version = ""

    def __len__(self) -> int:
        return len(self._objects)

    def __iter__(self) -> Iterator[Object]:
        return iter(list(self._objects.values()))

    def get(self, namespace: str, name: str) -> Object | None:
        """The object as it was last seen, or None. It must not be changed."""
        return self._objects.get(Place(namespace, name))

    def of(self, namespace: str) -> list[Object]:
        """The objects of a namespace, by name."""
        return [self._objects[place] for place in sorted(self._objects) if place.namespace == namespace]

    async def run(self) -> None:
        """Keep the cache until cancelled. Whatever fails is said once, and tried again with growing pauses."""
        pause, clock = _FIRST_PAUSE_SECONDS, asyncio.get_running_loop().time
        while True:
            began = clock()
            try:
                if not self._version:
                    await self._list()
                await self._follow()
            except Expired:
                self._version = ""
            except Exception as error:  # noqa: BLE001 - what is not followed any more would be wrong for ever
                if clock() - began > _LONGEST_PAUSE_SECONDS and isinstance(error, ArgosyError):
                    pause = _FIRST_PAUSE_SECONDS  # it stood for a while: the watch goes on from where it was
                else:
                    self._version = ""
                self._broke(error)
                await asyncio.sleep(pause * (0.75 + random.random() / 2))
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    async def _list(self) -> None:
        resource = await self._client.discover_plural(self._api_version, self._plural)
        listing = await self._client.list(
            resource, self.namespace, labels=self._labels, fields=self._fields, metadata_only=self._metadata_only
        )
        there = {place_of(item): item for item in listing.items}
        before, self._objects = self._objects, there
        moved = [
            place
            for place in {*before, *there}
            if (before.get(place) or {}).get("metadata") != (there.get(place) or {}).get("metadata")
        ]
        self._stands()
        self.synced.set()
        for place in sorted(moved):
            self._changed(place)
        self._version = listing.resource_version

    async def _follow(self) -> None:
        """Take changes in until the watch breaks."""
        resource = await self._client.discover_plural(self._api_version, self._plural)
        watch = self._client.watch(
            resource,
            self.namespace,
            resource_version=self._version,
            labels=self._labels,
            fields=self._fields,
            metadata_only=self._metadata_only,
        )
        async with contextlib.aclosing(watch) as changes:  # type: ignore[type-var]
            async for change in changes:
                item = change["object"]
                self._stands()
                if change["type"] != "BOOKMARK":
                    place = place_of(item)
                    if change["type"] == "DELETED":
                        self._objects.pop(place, None)
                    else:
                        self._objects[place] = item
                    self._changed(place)
                self._version = item["metadata"].get("resourceVersion") or self._version

    def _broke(self, error: Exception) -> None:
        ours = isinstance(error, ArgosyError)
        why = str(error) if ours else f"{type(error).__name__}, which is a defect of Argosy"
        if self.problem != why:
            self.problem = why
            sentence = "%s are not followed: %s; trying on"
            _log.warning(sentence, self.what, why, exc_info=None if ours else error, extra={"action": "watch.lost"})

    def _stands(self) -> None:
        if self.problem:
            _log.info("%s are followed again", self.what, extra={"action": "watch.stands"})
            self.problem = ""


@contextlib.asynccontextmanager
async def running(*caches: Cache) -> AsyncIterator[None]:
    """Run the caches while the context is open; it opens at once."""
    tasks = [asyncio.create_task(cache.run()) for cache in caches]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def kept(*caches: Cache) -> AsyncIterator[None]:
    """The same; it opens when all have been listed once."""
    async with running(*caches):
        for cache in caches:
            await cache.synced.wait()
        yield
