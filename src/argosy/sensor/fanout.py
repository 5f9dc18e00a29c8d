"""``forEach``: what a trigger shall run for becomes one action for each element of an array.

Pure. The id of each action is made of the id that the whole would have, and of the element's key (its place in the array where it has none), so
whoever fans out again (a redelivered event, a replay) comes to the same actions. Of elements with the same key each later one is told apart by its
number: none is lost.

An action keeps the event that it is for. Kept whole in each of a thousand actions, an event of a thousand elements would be stored a
million times over; so the array is kept with this one element alone where the path names a place in the data. What a query or a
modifier puts together has no such place: there the event stays whole. What all actions keep alike is limited, or one event from
outside could fill the memory and the bus.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import msgspec

from argosy.errors import LangError
from argosy.event import Event
from argosy.lang import gjson
from argosy.manifests._action_models import ForEach
from argosy.sensor import _reasons, parameters

CLAUSE = "forEach"
MOST_BYTES = 64 * 1024 * 1024
"""What the actions of one fan-out may keep together of their events, the elements themselves not counted."""
_LONGEST_KEY = 200
_elements = msgspec.json.Decoder(list[msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


class Part(NamedTuple):
    """One action of a fan-out."""

    id: str
    events: Mapping[str, Event]
    mark: str
    """What names its element among the others."""


@dataclass(frozen=True)
class Fanned:
    """What a fan-out came to. ``reason`` says why it came to nothing; empty where there are parts.

    ``failed`` says that there is no array where one is wanted. ``given_up`` says that nobody can be content with nothing: the whole must
    become a dead letter.
    """

    parts: tuple[Part, ...] = ()
    reason: str = ""
    failed: bool = False
    given_up: bool = False


class FanOut:
    """A trigger's ``forEach``, compiled. ``strict`` makes a dead letter of what is no array. Raises LangError if a path does not parse."""

    def __init__(self, spec: ForEach, *, strict: bool) -> None:
        self.item = spec.item
        self._dependency = spec.dependency_name
        self._path = gjson.compile(spec.path)
        self._key = gjson.compile(spec.key) if spec.key else None
        self._most = spec.max_items
        self._strict = strict

    def __call__(self, whole: str, events: Mapping[str, Event]) -> Fanned:
        """The actions of ``events``, whose id would be ``whole``. Never raises, whatever the events hold."""
        name = self._dependency or next(iter(events))
        event = events.get(name)
        if event is None:
            return self._none(f"no event of {name!r} is here")
        try:
            document = parameters.data_document(event)
            found = self._path.get(document)
            if not found.exists:
                return self._none(_reasons.missing(document, self._path.text))
            if found.kind != "JSON" or not found.raw.lstrip().startswith("["):
                what = _reasons.value_text(found.value)
                return self._none(f"path '{_reasons.shown(self._path.text)}' finds {what}, not an array")
            elements = [bytes(raw) for raw in _elements(found.raw)]
            if not elements:
                return Fanned(
                    reason=f"the array at '{_reasons.shown(self._path.text)}' is empty, so there is nothing to do"
                )
            around = self._around(event, document)
        except (LangError, msgspec.DecodeError, RecursionError) as error:
            return self._none(_reasons.problem(error))
        if len(elements) > self._most:
            return _given_up(f"the array has {len(elements)} elements, more than 'maxItems' ({self._most}) allows")
        kept = sum(len(one.data) for one in events.values())
        if around is not None:
            kept += sum(map(len, around)) - len(event.data)
        if kept * len(elements) > MOST_BYTES:
            instead = (
                "let a transform drop what they do not need"
                if around is not None
                else "give a path without queries and modifiers, then each keeps its own element alone"
            )
            return _given_up(f"{kept} bytes of events would be kept with each of {len(elements)} actions; {instead}")
        return Fanned(tuple(self._parts(whole, events, name, elements, around)))

    def _none(self, reason: str) -> Fanned:
        return Fanned(reason=reason, failed=True, given_up=self._strict)

    def _around(self, event: Event, document: gjson.Document) -> tuple[bytes, bytes] | None:
        """The data before and after the array; None where it stands at no place of its own."""
        if event.datacontenttype.split(";")[0].strip() not in ("application/json", ""):
            return None
        span = self._path.span(document)
        if span is None:
            return None
        text = event.data.decode("utf-8", "replace")
        return text[: span[0]].encode(), text[span[1] :].encode()

    def _parts(
        self,
        whole: str,
        events: Mapping[str, Event],
        name: str,
        elements: list[bytes],
        around: tuple[bytes, bytes] | None,
    ) -> list[Part]:
        event = events[name]
        marks = self._marks(elements)
        parts = []
        for index, (element, mark) in enumerate(zip(elements, marks, strict=True)):
            item = replace(
                event,
                id=f"{event.id}/{mark}",
                data=element,
                datacontenttype="application/json",
                extensions={**event.extensions, "itemindex": index, "itemcount": len(elements), "itemkey": mark},
            )
            kept = event
            if around is not None:
                kept = replace(event, data=b"%b[%b]%b" % (around[0], element, around[1]))
            parts.append(Part(_id(whole, mark), {**events, name: kept, self.item: item}, mark))
        return parts

    def _marks(self, elements: list[bytes]) -> list[str]:
        """What names each element among the others."""
        if self._key is None:
            return list(map(str, range(len(elements))))
        marks: dict[str, None] = {}
        counts: dict[str, int] = {}
        for index, element in enumerate(elements):
            key = self._key_of(element) or f"[{index}]"
            mark, number = key, counts.get(key, 1)
            while mark in marks:
                number += 1
                mark = f"{key}[{number}]"
            marks[mark] = None
            counts[key] = number
        return list(marks)

    def _key_of(self, element: bytes) -> str:
        assert self._key is not None
        try:
            found = self._key.get(gjson.Document(element))
        except (LangError, RecursionError):
            return ""
        key = found.string() if found.exists else ""
        return (
            key if len(key) <= _LONGEST_KEY else hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:32]
        )


def _given_up(reason: str) -> Fanned:
    return Fanned(reason=reason, failed=True, given_up=True)


def _id(whole: str, mark: str) -> str:
    return hashlib.sha256(_encode([whole, CLAUSE, mark])).hexdigest()[:32]
