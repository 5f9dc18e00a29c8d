"""What the cluster holds, kept at hand: the facts of every object of our kinds, and the names of the service accounts.

A question is answered from here. Before something is refused for what is not there, ``fresh`` asks the API server itself.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from argosy.kubernetes.admission.known import KINDS, Ask, Facts, Known, facts_of, told, waited_for
from argosy.kubernetes.client import Client, NotFound, Object, Resource
from argosy.kubernetes.names import GROUP_VERSION, Mode
from argosy.kubernetes.watching import Cache, Place, running

_PLURALS = {"EventBus": "eventbus", "EventSource": "eventsources", "Sensor": "sensors"}
_ACCOUNTS = "ServiceAccount"


class State:
    """The cluster's objects, of some namespaces or of all (``watched`` is empty)."""

    def __init__(self, client: Client, watched: Sequence[str], mode: Mode) -> None:
        self._client = client
        self._mode: Mode = mode
        self._facts: dict[str, dict[Ask, Facts]] = defaultdict(dict)
        self._accounts: dict[str, set[str]] = defaultdict(set)
        self._caches: dict[str, list[Cache]] = {
            kind: [self._cache(kind, where) for where in (watched or (None,))] for kind in (*KINDS, _ACCOUNTS)
        }

    def _cache(self, kind: str, namespace: str | None) -> Cache:
        def changed(place: Place) -> None:
            item = cache.get(*place)
            if kind == _ACCOUNTS:
                (self._accounts[place.namespace].add if item else self._accounts[place.namespace].discard)(place.name)
            elif item is None:
                self._facts[place.namespace].pop((kind, place.name), None)
            else:
                self._facts[place.namespace][kind, place.name] = facts_of(item)

        core = kind == _ACCOUNTS
        cache = Cache(
            self._client,
            "v1" if core else GROUP_VERSION,
            "serviceaccounts" if core else _PLURALS[kind],
            namespace,
            metadata_only=core,
            changed=changed,
        )
        return cache

    def followed(self) -> AbstractAsyncContextManager[None]:
        """Follow the cluster while the context is open; it opens at once."""
        return running(*(cache for caches in self._caches.values() for cache in caches))

    def behind(self) -> list[str]:
        """What was not listed yet."""
        return sorted({cache.what for caches in self._caches.values() for cache in caches if not cache.synced.is_set()})

    def _synced(self, kinds: Iterable[str]) -> bool:
        return all(cache.synced.is_set() for kind in kinds for cache in self._caches[kind])

    def known(self, namespace: str, kind: str, item: Object) -> Known:
        """What is known of a namespace that matters to ``item``, which is of this kind."""
        sources: list[Object] = []
        if kind == "Sensor":
            for name in dict.fromkeys(source for source, _ in waited_for(item)):
                found = next(
                    (one for cache in self._caches["EventSource"] if (one := cache.get(namespace, name))), None
                )
                sources += [found] if found else []
        return Known(
            namespace=namespace,
            facts=list(told(self._facts.get(namespace, {}).values(), kind, item)),
            sources=sources,
            accounts=sorted(self._accounts.get(namespace, ())) if self._synced((_ACCOUNTS,)) else None,
            mode=self._mode,
            whole=self._synced(KINDS),
        )

    async def fresh(self, namespace: str, asks: Iterable[Ask]) -> dict[Ask, Object | None]:
        """These as they are now; None for those that are not there. Raises TriggerError as the client does."""
        wanted = list(asks)
        found = await asyncio.gather(*(self._get(namespace, *ask) for ask in wanted), return_exceptions=True)
        answers: dict[Ask, Object | None] = {}
        for ask, one in zip(wanted, found, strict=True):
            if isinstance(one, BaseException):
                raise one
            answers[ask] = one
        return answers

    async def _get(self, namespace: str, kind: str, name: str) -> Object | None:
        plural, version = _PLURALS.get(kind), GROUP_VERSION
        core = {"ServiceAccount": ("serviceaccounts", True), "Namespace": ("namespaces", False)}
        namespaced = True
        if plural is None:
            version, (plural, namespaced) = "v1", core[kind]
        group, _, number = version.rpartition("/")
        resource = Resource(group, number, kind, plural, namespaced)
        try:
            answer: dict[str, Any] = await self._client.get(resource, name, namespace if namespaced else None)
        except NotFound:
            return None
        return answer
