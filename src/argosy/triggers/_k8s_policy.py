"""``policy.k8s``: waiting until an object is as the policy wants it, by watching it.

A look says how the object stands, and the watch that begins there brings every change, so nothing is missed and nobody polls. Where the account may get
objects and not watch them, as upstream needs no more, it looks again after each pause of ``backoff`` instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Iterator
from typing import Any

from argosy.clock import Clock
from argosy.errors import LangError, Rejected, TriggerError
from argosy.kubernetes.client import Client, Expired, NotFound, Resource
from argosy.lang import durations, expr, jsonpath
from argosy.manifests.fields import Backoff, K8sPolicy
from argosy.triggers import _responses

_AGAIN_SECONDS = 1.0
"""The pause before a watch that was lost is opened anew."""
Object = dict[str, Any]


class Waiting:
    """One object and what it shall become. ``shown`` names it in sentences."""

    def __init__(
        self,
        client: Client,
        resource: Resource,
        name: str,
        namespace: str | None,
        policy: K8sPolicy,
        clock: Clock,
        shown: str,
    ) -> None:
        self._client = client
        self._resource = resource
        self._name = name
        self._namespace = namespace
        self._policy = policy
        self._clock = clock
        self._shown = shown
        self._lacks = ""
        backoff = policy.backoff or Backoff()
        self._pauses = [backoff.pause_seconds(tried, random.random()) for tried in range(1, backoff.tries)]
        self._patience = policy.deadline if policy.deadline is not None else sum(self._pauses)

    async def run(self) -> None:
        """Return once the object is as the policy wants it, or at the end of the patience if that is no error then.

        Raises TriggerError at that end else, and if the object is gone.
        """
        waiting = asyncio.create_task(self._wait())
        patience = asyncio.create_task(self._clock.sleep(self._patience))
        try:
            await asyncio.wait({waiting, patience}, return_when=asyncio.FIRST_COMPLETED)
            # Looked at once more: what came in the last moment counts, and a policy without any patience gets its one look.
            fits = waiting.result() if waiting.done() else await self._look() is None
        finally:
            for task in (waiting, patience):
                task.cancel()
            await asyncio.gather(waiting, patience, return_exceptions=True)
        if not fits and (self._policy.deadline is not None or self._policy.error_on_backoff_timeout):
            raise TriggerError(
                f"{self._shown} did not become what policy.k8s wants within {durations.format(self._patience)}: {self._lacks}"
            )

    async def _wait(self) -> bool:
        pauses = list(self._pauses)
        while (version := await self._look()) is not None:
            try:
                if await self._watched(version):
                    return True
            except NotFound:
                raise
            except Rejected:
                # It may not be watched. With a deadline the last pause goes on.
                await self._clock.sleep(pauses.pop(0) if pauses else self._last_pause)
            except (Expired, TriggerError):
                await self._clock.sleep(_AGAIN_SECONDS)
        return True

    @property
    def _last_pause(self) -> float:
        return max(_AGAIN_SECONDS, self._pauses[-1] if self._pauses else 0.0)

    async def _look(self) -> str | None:
        """The version in which the object is not yet what is wanted; None if it is."""
        found = await self._client.get(self._resource, self._name, self._namespace)
        return None if self._fits(found) else str(found["metadata"].get("resourceVersion") or "")

    async def _watched(self, version: str) -> bool:
        """Whether the object has become what is wanted; False where the watch has ended before."""
        changes = self._client.watch(
            self._resource, self._namespace, resource_version=version, fields=f"metadata.name={self._name}"
        )
        async with contextlib.aclosing(changes) as seen:  # type: ignore[type-var]
            async for change in seen:
                if change.get("type") == "DELETED":
                    raise NotFound(f"{self._shown} was deleted before it became what policy.k8s wants")
                if change.get("type") in ("ADDED", "MODIFIED") and self._fits(change["object"]):
                    return True
        return False

    def _fits(self, found: Object) -> bool:
        self._lacks = "; ".join(lacks(self._policy, found))
        return not self._lacks


def lacks(policy: K8sPolicy, found: Object) -> Iterator[str]:
    """What of the policy the object does not meet, in sentences."""
    labels = found["metadata"].get("labels") or {}
    for name, value in policy.labels.items():
        if labels.get(name) != value:
            yield f"label {name} is {_word(labels.get(name))}, not {value!r}"
    status = found.get("status")
    listed = status.get("conditions") if isinstance(status, dict) else None
    states = {
        str(one.get("type")): one.get("status")
        for one in (listed if isinstance(listed, list) else ())
        if isinstance(one, dict)
    }
    for name, value in policy.conditions.items():
        if states.get(name) != value:
            yield f"condition {name} is {_word(states.get(name))}, not {value!r}"
    if policy.fields:
        floats = expr.floats(found)
        for match in policy.fields:
            try:
                there = _responses.text(jsonpath.compile(match.path).query(floats))
            except LangError:
                yield f"{match.path} is not there"
                continue
            wanted = _responses.text(expr.floats(match.value))
            if there != wanted:
                yield f"{match.path} is {_responses.shown(there)}, not {_responses.shown(wanted)}"


def _word(value: Any) -> str:
    return "missing" if value is None else repr(value)
