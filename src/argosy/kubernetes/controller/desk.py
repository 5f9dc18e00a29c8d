"""What all reconcilers work with: the cluster, the settings, and the three things that they do there.

``bring`` makes objects as they should be, and only where they are not. ``clear`` removes what is no longer wanted. ``tell`` writes a status,
and only one that says something else than before.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from argosy.clock import Clock, SystemClock
from argosy.errors import ArgosyError, ConfigError, Rejected
from argosy.kubernetes.client import Object
from argosy.kubernetes.controller.access import Reader
from argosy.kubernetes.controller.announcing import Announce, Said
from argosy.kubernetes.controller.caches import KEPT, Cluster
from argosy.kubernetes.controller.conditions import READY, Condition, merged, turned
from argosy.kubernetes.controller.differing import changed_by, differences, holds, made_of, marked
from argosy.kubernetes.controller.polling import Reports
from argosy.kubernetes.names import FIELD_MANAGER, RUNNER
from argosy.kubernetes.workloads.settings import Settings
from argosy.manifests.bundle import Finding, Key, from_objects
from argosy.manifests.eventbus import EventBus
from argosy.manifests.eventsource import EventSource
from argosy.manifests.sensor import Sensor

_SHOWN = 5
_REMEMBERED = 50_000
_FINAL = ("may not change once set", "is immutable")
"""How the API server says that a field of a Service stays as it was made."""
_PASSING = ("EventBusNotFound", "EventBusNotReady", "UnknownEvent", "UnknownEventSource")
"""Reasons that objects have for a moment that are applied together; people are told of those that last."""
_LASTING_SECONDS = 30.0


class NotMade(ArgosyError):
    """The API server refused to create or to change an object."""

    def __init__(self, verb: str, kind: str, message: str) -> None:
        super().__init__(message)
        self.verb = verb
        self.kind = kind


class Permits(Protocol):
    """Says how the rights of an object's service account stand."""

    async def condition(self, one: Sensor | EventSource) -> Condition:
        """The condition ``Permitted``."""


def say_nothing(said: Said) -> None:
    """Nobody is told."""


@dataclass
class Desk:
    """Everything that a look at an object needs."""

    cluster: Cluster
    permits: Permits
    settings: Callable[[], Settings] = lambda: Settings.model_validate({})
    """What holds for all; asked at each look, because its file is followed."""
    announce: Announce = say_nothing
    reports: Reports = field(default_factory=Reports)
    clock: Clock = field(default_factory=SystemClock)
    wrote: Callable[[str, Object], None] = lambda verb, item: None
    """Told of each write before it is done: its verb, and the object."""
    reader: Reader = field(default_factory=Reader)
    without_runners: set[str] = field(default_factory=set)
    """Namespaces in which nothing of runners is left, as this process has seen itself: it need not look again."""
    _settled: dict[tuple[str, str, str], tuple[str, str]] = field(default_factory=dict)

    async def bring(self, about: Object, wanted: Iterable[Object]) -> None:
        """Make these objects, which belong to ``about``, as they should be, one after the other.

        Raises ConfigError if something of somebody else has the name of one, NotMade if the API server refuses it.
        """
        for one in wanted:
            try:
                await self._bring_one(about, one)
            except Rejected as error:
                verb = "Update" if self.cluster.get(*place(one)) else "Create"
                raise NotMade(verb, one["kind"], str(error)) from error

    async def _bring_one(self, about: Object, wanted: Object) -> None:
        made, where = marked(wanted), place(wanted)
        live = self.cluster.get(*where) if wanted["kind"] in KEPT else None
        if live is None:
            live = await self.cluster.read(*where)
            if live is not None and not _alike(live, wanted):
                raise ConfigError(
                    f"there is a {wanted['kind']} '{where[2]}' in this namespace that is not of this object;"
                    " delete or rename it, or rename this object"
                )
        if live is not None:
            state = (made_of(made), str(live["metadata"].get("resourceVersion")))
            # The server may spell what it is given in a way of its own: what it made of it once, it makes of it again.
            if made_of(live) == state[0] and (holds(live, made) or self._settled.get(where) == state):
                return
            if made_of(live) == state[0] and not live["metadata"].get("deletionTimestamp"):
                self._reverted(about, live, made)
        answer = await self._apply(made, live)
        if len(self._settled) > _REMEMBERED:
            self._settled.clear()
        self._settled[where] = (made_of(made), str(answer["metadata"].get("resourceVersion")))

    async def _apply(self, made: Object, live: Object | None) -> Object:
        self.wrote("apply", made)
        try:
            return await self.cluster.apply(made)
        except Rejected as error:
            # A Service with another cluster IP is another Service.
            if made["kind"] != "Service" or live is None or not any(word in str(error) for word in _FINAL):
                raise
        self.wrote("delete", made)
        await self.cluster.delete(live)
        self.wrote("apply", made)
        return await self.cluster.apply(made)

    def _reverted(self, about: Object, live: Object, made: Object) -> None:
        changed = differences(live, made)
        who, fields = changed_by(live, FIELD_MANAGER, changed), ", ".join(changed[:_SHOWN])
        text = f"{made['kind']} '{made['metadata']['name']}' was changed{f' by {who}' if who else ''}: {fields}; it is set back"
        self.announce(Said(about, "Normal", "Reverted", text))

    async def clear(self, unwanted: Iterable[Object]) -> None:
        """Remove these objects; those that are going already are left to it."""
        for one in unwanted:
            if not one["metadata"].get("deletionTimestamp"):
                self.wrote("delete", one)
                await self.cluster.delete(one)

    async def tell(
        self, seen: Object, conditions: Iterable[Condition], fields: Mapping[str, Any] | None = None
    ) -> None:
        """Write the status of an object that people wrote, if it says something else than the one that it has. Of ``fields`` those
        that are None are taken away. Raises Conflict if the object changed meanwhile.
        """
        before = seen.get("status") or {}
        moment = self.clock.now().replace(microsecond=0).isoformat().replace("+00:00", "Z")
        now = {
            **(fields or {}),
            "conditions": merged(before.get("conditions") or (), conditions, moment),
            "observedGeneration": seen["metadata"].get("generation"),
        }
        patch = {name: _change(before.get(name), value) for name, value in now.items() if before.get(name) != value}
        self._announce_lasting(seen, now["conditions"])
        if not patch:
            return
        self.wrote("status", seen)
        await self.cluster.patch(seen, {"status": patch}, "status")
        self._announce_turns(seen, before.get("conditions") or (), now["conditions"])

    def _announce_turns(self, seen: Object, before: Iterable[Mapping[str, Any]], now: list[dict[str, Any]]) -> None:
        was = list(before)
        for one in turned(was, now):
            if one["type"] == READY:
                if one["status"] == "True":
                    self.announce(Said(seen, "Normal", "Ready", one.get("message") or "it is ready"))
            elif one["status"] == "False" and one.get("reason") not in _PASSING:
                self.announce(Said(seen, "Warning", one.get("reason") or one["type"], one.get("message") or ""))

    def _announce_lasting(self, seen: Object, now: list[dict[str, Any]]) -> None:
        for one in now:
            if one["status"] == "False" and one.get("reason") in _PASSING and one["type"] != READY:
                age = self.clock.now() - dt.datetime.fromisoformat(one["lastTransitionTime"])
                if age.total_seconds() >= _LASTING_SECONDS:
                    self.announce(Said(seen, "Warning", one["reason"], one.get("message") or ""))

    async def finalize(self, seen: Object, finalizers: list[str]) -> Object:
        """Have the object carry exactly these finalizers."""
        if list(seen["metadata"].get("finalizers") or ()) == finalizers:
            return seen
        self.wrote("finalizers", seen)
        return await self.cluster.patch(seen, {"metadata": {"finalizers": finalizers}})


def _change(before: Any, now: Any) -> Any:
    """What a merge patch has to say to make ``now`` of ``before``: it would keep what is not named."""
    if not isinstance(before, Mapping) or not isinstance(now, Mapping):
        return now
    gone = {name: None for name in before if name not in now}
    return gone | {name: _change(before.get(name), value) for name, value in now.items()}


def place(item: Object) -> tuple[str, str, str]:
    """Kind, namespace and name."""
    about = item["metadata"]
    return item["kind"], about.get("namespace") or "", about["name"]


def key_of(item: Object) -> Key:
    """The key of an object."""
    return Key(*place(item))


def judged(item: Object) -> tuple[EventBus | EventSource | Sensor | None, list[Finding]]:
    """The object as a pod would take it, or None and every reason why it would not."""
    bundle = from_objects([item])
    errors = [finding for finding in bundle.findings if finding.severity == "error"]
    found: list[EventBus | EventSource | Sensor] = [*bundle.event_buses, *bundle.event_sources, *bundle.sensors]
    return (found[0] if found and not errors else None), errors


def reasons(errors: list[Finding]) -> str:
    """These errors as one sentence."""
    said = [f"{one.path}: {one.message}" if one.path else one.message for one in errors[:_SHOWN]]
    return "; ".join(said) + (f"; and {len(errors) - _SHOWN} more" if len(errors) > _SHOWN else "")


def _alike(live: Object, wanted: Object) -> bool:
    """Whether a live object is the one that is wanted, and not one of somebody else that has its name."""

    def marks(item: Object) -> tuple[object, object]:
        about = item["metadata"]
        owner = next((one.get("uid") for one in about.get("ownerReferences") or () if one.get("controller")), None)
        return owner, (about.get("labels") or {}).get("app.kubernetes.io/managed-by")

    owner, managed = marks(wanted)
    return marks(live)[0] == owner if owner else marks(live)[1] == managed or live["metadata"]["name"] == RUNNER
