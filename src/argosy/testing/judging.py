"""Compares what happened with what a test expects, and says why it is otherwise.

At one moment different triggers run side by side, so their order among each other is not compared. Everything that was wanted and
not found is followed by what became of each event that could have brought it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from argosy.errors import LangError, Rejected
from argosy.lang import gojson
from argosy.manifests import _yaml
from argosy.manifests.fields import Json
from argosy.manifests.sensor import Sensor
from argosy.testing.comparing import NOTHING, contains, difference, equal, narrowed, shown
from argosy.testing.format import PARTS, DeadLetter, Firing, NoFiring
from argosy.testing.loading import Trial, TriggerName, all_triggers, seconds
from argosy.testing.reasons import causes, reasons, when
from argosy.testing.simulation import Dead, Fired, Transcript
from argosy.triggers import _workflow_args

EntryT = TypeVar("EntryT", Firing, DeadLetter)
OutcomeT = TypeVar("OutcomeT", Fired, Dead)

_TOLERANCE_SECONDS = 0.001
_MOST_LINES = 200


@dataclass
class Failure:
    """One thing that is not as it should be: a sentence, and lines that show it."""

    sentence: str
    lines: list[str] = field(default_factory=list)

    def shown(self) -> list[str]:
        """The lines, the middle of very many left out."""
        left_out = len(self.lines) - _MOST_LINES
        if left_out <= 0:
            return self.lines
        half = _MOST_LINES // 2
        return [*self.lines[:half], f"… {left_out} lines …", *self.lines[-half:]]

    def text(self) -> list[str]:
        """All of it, indented."""
        return [self.sentence, *(f"  {line}" for line in self.shown())]


def same_time(one: float, other: float) -> bool:
    """Whether two times are the same to the millisecond."""
    return abs(one - other) < _TOLERANCE_SECONDS


def part(fired: Fired, name: str) -> Json:
    """A part of a firing as it is compared; NOTHING where there is none."""
    if name == "object":
        return NOTHING if fired.object is None else fired.object
    if name == "payload":
        return NOTHING if not fired.payload else _json(fired.payload)
    if name == "block":
        return fired.block
    return _named(fired)


def _named(fired: Fired) -> Json:
    """The values that a firing gives by name: a Workflow's arguments with what ``args`` say, or a function's ``args``."""
    args = fired.block.get("args")
    if isinstance(args, dict):
        return args
    spec: Any = fired.object.get("spec") if isinstance(fired.object, dict) else None
    arguments: Any = spec.get("arguments") if isinstance(spec, dict) else None
    listed: Any = arguments.get("parameters") if isinstance(arguments, dict) else None
    if fired.kind != "argoWorkflow" and not isinstance(listed, list):
        return NOTHING
    named = {one["name"]: one.get("value") for one in listed or () if isinstance(one, dict) and "name" in one}
    if not args or fired.kind != "argoWorkflow":
        return named
    try:
        return {**named, **_workflow_args.parse(args, fired.block.get("operation") or "submit").parameters}
    except Rejected:
        return named


def _json(payload: bytes) -> Json:
    try:
        return gojson.loads(payload)
    except LangError:
        return payload.decode(errors="replace")


def whole(fired: Fired) -> dict[str, Json]:
    """A firing as a golden file has it."""
    found: dict[str, Json] = {"trigger": f"{fired.name.sensor}/{fired.name.trigger}", "kind": fired.kind}
    for name in ("object", "payload", "block"):
        value = part(fired, name)
        if value is not NOTHING and value not in ({}, None):
            found[name] = value
    return found


def judge(trial: Trial, transcript: Transcript, *, update: bool = False) -> list[Failure]:
    """What is not as the test expects, in the order of its keys. ``update`` writes golden files anew instead of comparing them."""
    return list(_Judge(trial, transcript, update).failures())


class _Judge:
    def __init__(self, trial: Trial, transcript: Transcript, update: bool) -> None:
        self._trial = trial
        self._case = trial.case
        self._transcript = transcript
        self._update = update
        order = {name: place for place, name in enumerate(all_triggers(trial.sensors))}
        self._fired = sorted(transcript.fired, key=lambda one: (round(one.at, 3), order[one.name]))

    def failures(self) -> Iterator[Failure]:
        if self._case.fires is not None:
            yield from self._fires(self._case.fires)
        if self._case.because is not None and not self._fired:
            reasons = [line for sensor in self._trial.sensors for line in self._reasons_of(sensor)]
            yield from _missing("because", self._case.because, reasons)
        for index, entry in enumerate(self._case.not_fires or ()):
            yield from self._not_fires(index, entry)
        yield from self._dead_letters(self._case.dead_letters or [])
        for word, wanted in (self._case.pending or {}).items():
            yield from self._pending(word, wanted)

    def _name(self, word: str) -> TriggerName:
        return self._trial.names[word]

    def _shown(self, fired: Fired | Dead) -> str:
        return self._trial.shown(fired.name)

    def _matched(
        self, entries: Sequence[EntryT], those: Sequence[OutcomeT]
    ) -> tuple[list[tuple[int, EntryT, OutcomeT]], list[TriggerName], list[OutcomeT]]:
        """Each entry with the first of ``those`` of its trigger; the triggers that have none; and those that no entry names."""
        left = list(those)
        pairs: list[tuple[int, EntryT, OutcomeT]] = []
        missing: list[TriggerName] = []
        for index, entry in enumerate(entries):
            name = self._name(entry.trigger)
            found = next((one for one in left if one.name == name), None)
            if found is None:
                missing.append(name)
            else:
                left.remove(found)
                pairs.append((index, entry, found))
        return pairs, missing, left

    def _fires(self, entries: Sequence[Firing]) -> Iterator[Failure]:
        pairs, missing, left = self._matched(entries, self._fired)
        in_order = all(
            one.at <= other.at + _TOLERANCE_SECONDS for (_, _, one), (_, _, other) in itertools.pairwise(pairs)
        )
        if missing or left or not in_order:
            wanted = [self._trial.shown(self._name(entry.trigger)) for entry in entries]
            found_names = [self._shown(one) for one in self._arranged([one for _, _, one in pairs], in_order)]
            yield Failure("fires: wanted and found differ", difference(wanted, found_names))
        for name in dict.fromkeys(missing):
            again = any(one.name == name for one in self._fired)
            sentence = f"why '{name.trigger}' of sensor '{name.sensor}' did not fire{' again' if again else ''}:"
            yield Failure(sentence, self._reasons(name))
        for one in left:
            yield Failure(f"'{self._shown(one)}' fired, which was not wanted:", [self._told(one)])
        if not missing and not left and not in_order:
            yield Failure("the order of time was:", [self._told(one) for one in self._fired])
        for index, entry, found in pairs:
            yield from self._firing(f"fires[{index}] ({self._shown(found)})", entry, found)

    def _arranged(self, matched: list[Fired], in_order: bool) -> list[Fired]:
        """All firings in the order of time, at one moment as they were wanted."""
        if not in_order:
            return self._fired
        places = {id(one): place for place, one in enumerate(matched)}
        return sorted(self._fired, key=lambda one: (round(one.at, 3), places.get(id(one), len(places))))

    def _told(self, fired: Fired) -> str:
        return f"{self._shown(fired)} at {when(fired.at)} for {causes(fired)}"

    def _firing(self, what: str, entry: Firing, found: Fired) -> Iterator[Failure]:
        if entry.at is not None and not same_time(seconds(entry.at, self._trial.start), found.at):
            wanted = when(seconds(entry.at, self._trial.start))
            yield Failure(f"{what}: at: wanted {wanted}, found {when(found.at)}", self._reasons(found.name))
        yield from self._tries(what, entry, found)
        if entry.events is not None:
            came = {name: event.id for name, event in found.events.items()}
            if came != entry.events:
                yield Failure(f"{what}: events: wanted and found differ", difference(entry.events, came))
        for name, value in entry.given().items():
            there = part(found, name)
            if not equal(value, there):
                yield self._differs(f"{what}: {name}", value, there, name, found)
        for name, value in (entry.contains.given() if entry.contains else {}).items():
            there = part(found, name)
            if not contains(there, value):
                yield self._differs(f"{what}: contains: {name}", value, narrowed(there, value), name, found)
        if entry.golden:
            yield from self._golden(f"{what}: golden", self._trial.folder / entry.golden, found)

    def _differs(self, what: str, wanted: Json, there: Json, name: str, found: Fired) -> Failure:
        if there is not NOTHING:
            return Failure(f"{what}: wanted and found differ", difference(wanted, there))
        if found.unknown and name in ("object", "parameters"):
            reason = f"{found.unknown}; give it to the test under 'fetched'"
        else:
            have = [one for one in PARTS if part(found, one) is not NOTHING]
            reason = f"kind '{found.kind}' has none; it has {', '.join(have)}"
        return Failure(f"{what}: there is no {name}: {reason}")

    def _tries(self, what: str, entry: Firing, found: Fired) -> Iterator[Failure]:
        if entry.tries is None:
            return
        if isinstance(entry.tries, int):
            right, wanted = entry.tries == len(found.tries), str(entry.tries)
        else:
            moments = [seconds(moment, self._trial.start) for moment in entry.tries]
            right = len(moments) == len(found.tries) and all(map(same_time, moments, found.tries))
            wanted = f"[{', '.join(map(when, moments))}]"
        if not right:
            times = f"{len(found.tries)} [{', '.join(map(when, found.tries))}]"
            yield Failure(f"{what}: tries: wanted {wanted}, found {times}", found.failures)

    def _golden(self, what: str, path: Path, found: Fired) -> Iterator[Failure]:
        there = whole(found)
        held = _golden_value(path)
        if equal(held, there):
            return
        if self._update:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"# Written by argosy test --update.\n{shown(there)}")
        elif held is NOTHING:
            yield Failure(f"{what}: there is no file '{path}'; argosy test --update writes it")
        else:
            yield Failure(f"{what}: '{path}' and what was found differ", difference(held, there))

    def _not_fires(self, index: int, entry: NoFiring) -> Iterator[Failure]:
        name = self._name(entry.trigger)
        found = [one for one in self._fired if one.name == name]
        if found:
            yield Failure(f"notFires[{index}]: '{entry.trigger}' fired:", [self._told(one) for one in found])
        else:
            yield from _missing(f"notFires[{index}] ({entry.trigger})", entry.because, self._reasons(name))

    def _dead_letters(self, entries: Sequence[DeadLetter]) -> Iterator[Failure]:
        pairs, missing, left = self._matched(entries, self._transcript.dead)
        if missing or left:
            wanted = [self._trial.shown(self._name(entry.trigger)) for entry in entries]
            yield Failure(
                "deadLetters: wanted and found differ",
                difference(wanted, [self._shown(one) for one in self._transcript.dead]),
            )
        for one in left:
            yield Failure(f"'{self._shown(one)}' was given up at {when(one.at)}:", [one.reason])
        for name in dict.fromkeys(missing):
            yield Failure(f"what became of '{name.trigger}' of sensor '{name.sensor}':", self._reasons(name))
        for index, entry, found in pairs:
            what = f"deadLetters[{index}] ({entry.trigger})"
            yield from _missing(what, entry.because, [found.reason])
            if entry.tries is not None and entry.tries != found.tries:
                yield Failure(f"{what}: tries: wanted {entry.tries}, found {found.tries}")
            if entry.at is not None and not same_time(seconds(entry.at, self._trial.start), found.at):
                yield Failure(
                    f"{what}: at: wanted {when(seconds(entry.at, self._trial.start))}, found {when(found.at)}"
                )

    def _pending(self, word: str, wanted: list[str]) -> Iterator[Failure]:
        name = self._name(word)
        held = self._transcript.held.get(name)
        if held is None:
            yield Failure(
                f"pending: '{word}' never waits: there is no '&&' in its conditions, and nothing else to wait for"
            )
            return
        found = sorted(held.waits_for) if held.events else []
        if found != sorted(wanted):
            holds = ", ".join(f"{event.id} ({one})" for one, event in held.events.items()) or "no event"
            yield Failure(
                f"pending: {word}: wanted and found differ",
                [*difference(sorted(wanted), found), *held.sentences, f"it holds {holds}"],
            )

    def _reasons_of(self, sensor: Sensor) -> list[str]:
        lines = [line for name in all_triggers([sensor]) for line in self._reasons(name)]
        return list(dict.fromkeys(lines))

    def _reasons(self, name: TriggerName) -> list[str]:
        return reasons(self._trial, self._transcript, name)


def _missing(what: str, wanted: Sequence[str], reasons: Sequence[str]) -> Iterator[Failure]:
    for text in wanted:
        if not any(text in reason for reason in reasons):
            yield Failure(f"{what}: no reason has {text!r} in it; the reasons were:", list(reasons))


def _golden_value(path: Path) -> Json:
    try:
        text = path.read_text()
    except OSError:
        return NOTHING
    found = next(_yaml.documents(text), None)
    return found.value if isinstance(found, _yaml.Document) else text
