"""The records of an explanation, and the JSON that they become (docs/reference/explain.md describes it for other programs)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from argosy.errors import LangError
from argosy.event import Event
from argosy.lang import gojson
from argosy.lang.gjson import Document
from argosy.manifests.fields import Json
from argosy.sensor.rendering import Rehearsal, Setting
from argosy.sensor.verdict import Verdict
from argosy.triggers._base import TELLING

SHAPE = 1
"""The version of the JSON shape; it grows by one when something in it changes its meaning or goes."""

_MASK = "***"

Result = Literal["fires", "fails", "waits", "rejects", "idle", "deaf"]
"""What a sensor does, the best first."""


@dataclass(frozen=True)
class Transformed:
    """What a transform made of the event's data. ``after`` is None where it failed."""

    language: str
    program: str
    after: Json
    failure: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The transform as JSON."""
        out = {"language": self.language, "program": self.program, "after": self.after}
        return {**out, "failure": self.failure} if self.failure else out


@dataclass(frozen=True)
class DependencyStory:
    """What one dependency said to the event. ``not_asked`` are clauses that others had made idle when it was rejected."""

    name: str
    accepted: bool
    verdict: Verdict
    transformed: Transformed | None
    not_asked: Sequence[str] = ()

    @property
    def reasons(self) -> list[Verdict]:
        """The clauses that rejected the event; empty where it was accepted."""
        return deciding(self.verdict)

    def as_dict(self) -> dict[str, Any]:
        """The dependency as JSON."""
        return {
            "name": self.name,
            "accepted": self.accepted,
            "reason": self.verdict.reason,
            "reasons": [{"clause": each.clause, "reason": each.reason} for each in self.reasons],
            "transform": self.transformed.as_dict() if self.transformed else None,
            "filters": self.verdict.as_dict(),
            "notAsked": list(self.not_asked),
        }


@dataclass(frozen=True)
class ActionStory:
    """One action that the event causes: for which events, and what would be sent."""

    id: str
    events: Mapping[str, Event]
    rehearsal: Rehearsal
    item: str = ""
    """With ``forEach``: what names the element that it is for among the others."""

    def as_dict(self) -> dict[str, Any]:
        """The action as JSON."""
        done = self.rehearsal
        return {
            "id": self.id,
            "events": {name: event.id for name, event in self.events.items()},
            "item": self.item,
            "kind": done.kind,
            "parameters": [_setting(each) for each in done.trace],
            "block": hidden(done.block),
            "object": done.resource,
            "payload": None if done.payload is None else payload_value(done.payload),
            "failure": done.failure,
            "unknown": done.unknown,
        }


@dataclass(frozen=True)
class TriggerStory:
    """What one trigger does after the event. ``held`` are the dependencies whose events its condition keeps."""

    name: str
    kind: str
    condition: str
    result: Literal["fires", "fails", "waits", "idle"]
    because: str
    held: Sequence[str] = ()
    waiting_for: Sequence[str] = ()
    actions: Sequence[ActionStory] = ()
    dlq_trigger: str = ""
    """Where an action would fail: the trigger that gets it then."""
    emits: str = ""
    """The event that tells what became of its actions, ``source/name``; empty where it emits none."""
    approval: bool = False
    """Whether each of its actions waits for a person first."""
    misplaced: bool = False
    """Whether the event has no value for the trigger's ``correlate``."""
    nothing: bool = False
    """Whether it was due and had nothing to do (``forEach`` of an empty array)."""
    timed: bool = False
    """Whether ``because`` says more of what it waits for than the names of dependencies."""

    def as_dict(self) -> dict[str, Any]:
        """The trigger as JSON."""
        return {
            "name": self.name,
            "kind": self.kind,
            "conditions": self.condition,
            "result": self.result,
            "because": self.because,
            "held": list(self.held),
            "waitingFor": list(self.waiting_for),
            "actions": [each.as_dict() for each in self.actions],
            "dlqTrigger": self.dlq_trigger,
            "emits": self.emits,
            "approval": self.approval,
        }


@dataclass(frozen=True)
class SensorStory:
    """What one sensor that listens to the event does with it."""

    namespace: str
    name: str
    result: Result
    because: str
    dependencies: Sequence[DependencyStory] = ()
    triggers: Sequence[TriggerStory] = ()

    def as_dict(self) -> dict[str, Any]:
        """The sensor as JSON."""
        return {
            "namespace": self.namespace,
            "name": self.name,
            "result": self.result,
            "because": self.because,
            "dependencies": [each.as_dict() for each in self.dependencies],
            "triggers": [each.as_dict() for each in self.triggers],
        }


@dataclass(frozen=True)
class Near:
    """An event that was perhaps meant, and the sensors that listen to it."""

    source: str
    name: str
    sensors: Sequence[str]

    def as_dict(self) -> dict[str, Any]:
        """The event as JSON."""
        return {"source": self.source, "name": self.name, "sensors": list(self.sensors)}


@dataclass(frozen=True)
class Explanation:
    """What became of one event. ``others`` are the sensors that do not listen to it."""

    event: Event
    sensors: Sequence[SensorStory]
    others: Sequence[str]
    nobody: str = ""
    """Why no sensor at all listens, in a sentence; empty where one does."""
    near: Sequence[Near] = ()
    known: Sequence[Near] = ()
    """Where no sensor listens: every event that sensors do listen to."""
    dropped: str = ""
    """Why the event's source itself drops it; then no sensor is asked."""

    @property
    def fires(self) -> bool:
        """Whether a trigger would do something."""
        return any(each.result == "fires" for each in self.sensors)

    def as_dict(self) -> dict[str, Any]:
        """The explanation as JSON."""
        return {
            "event": {**self.event.context, "data": data_value(self.event)},
            "fires": self.fires,
            "sensors": [each.as_dict() for each in self.sensors],
            "others": list(self.others),
            "dropped": self.dropped,
            "nobody": self.nobody,
            "didYouMean": [each.as_dict() for each in self.near],
            "listenedTo": [each.as_dict() for each in self.known],
        }


def deciding(verdict: Verdict) -> list[Verdict]:
    """The clauses for which ``verdict`` does not pass: of those that were asked, the ones that did not pass.

    Where something could not be decided, that alone is the reason: it discards the event whatever the others say.
    """
    if verdict.passed:
        return []
    bad = [part for part in verdict.parts if not part.passed]
    if verdict.failed and any(part.failed for part in bad):
        bad = [part for part in bad if part.failed]
    return [leaf for part in bad for leaf in deciding(part)] or [verdict]


def leaves(verdict: Verdict) -> Iterator[Verdict]:
    """The clauses that were asked, without the groups that combine them."""
    if not verdict.parts:
        yield verdict
    for part in verdict.parts:
        yield from leaves(part)


def payload_value(payload: bytes) -> Json:
    """A payload as JSON: its value, or its text where it is none."""
    try:
        return gojson.loads(payload)
    except LangError:
        return payload.decode(errors="replace")


def setting_value(setting: Setting) -> str | None:
    """The value that was set, or asterisks where it is a header whose name tells of a secret."""
    dest = setting.parameter.dest
    header = setting.place == "dynamicHeaders" or "eaders." in dest
    return _MASK if setting.value is not None and header and TELLING.search(dest) else setting.value


def _setting(setting: Setting) -> dict[str, Any]:
    shown = replace(setting, value=setting_value(setting)).as_dict()
    if shown.get("value") == _MASK and "value" in shown["source"]:
        shown["source"]["value"] = _MASK
    return shown


def data_value(event: Event) -> Json:
    """The event's data as JSON: its value, or its text where it is none."""
    try:
        return Document(event.data).value
    except LangError:
        return event.data.decode(errors="replace")


def hidden(block: Json) -> Any:
    """The block without what is probably a secret: headers whose names tell, passwords in addresses."""
    if isinstance(block, dict):
        return {
            name: (
                {key: _MASK if TELLING.search(key) else each for key, each in value.items()}
                if name in ("headers", "dynamicHeaders") and isinstance(value, dict)
                else hidden(value)
            )
            for name, value in block.items()
        }
    if isinstance(block, list):
        return [hidden(each) for each in block]
    return _place(block) if isinstance(block, str) and "://" in block else block


def _place(url: str) -> str:
    return re.sub(r"(?<=://)[^/@]*@", f"{_MASK}@", url)
