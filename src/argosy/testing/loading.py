"""Reads ``*.test.yaml`` files and the manifests that they name: trials that are ready to run, or findings with file and line.

Everything that can be wrong without running is found here: unknown keys, triggers and events that the manifests do not have,
files that are not there, manifests with errors. A file with an error has no trials, so a run never passes by leaving tests out.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from argosy.manifests._bundle import Origin
from argosy.manifests._yaml import Fault, Node, documents
from argosy.manifests.bundle import Bundle, Finding, load
from argosy.manifests.findings import Problem, check
from argosy.manifests.loading import MAX_FILE_BYTES, placed
from argosy.manifests.sensor import Sensor
from argosy.manifests.spelling import did_you_mean
from argosy.runtime.sensors import queues_of
from argosy.testing.format import Answer, Around, Case, CaseFile, DeadLetter, Firing, NoFiring
from argosy.testing.given import Arrival, arrivals

SUFFIXES = (".test.yaml", ".test.yml")
START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


class TriggerName(NamedTuple):
    """A trigger of the manifests. A ``dlqTrigger`` is one by the name of its own template."""

    namespace: str
    sensor: str
    trigger: str


@dataclass(frozen=True)
class Trial:
    """One test, with everything that it names found."""

    file: str
    line: int
    case: Case
    bundle: Bundle = field(repr=False)
    sensors: tuple[Sensor, ...] = field(repr=False)
    start: dt.datetime
    arrivals: tuple[Arrival, ...] = field(repr=False)
    until: float | None
    """Seconds since the start."""
    names: dict[str, TriggerName] = field(repr=False)
    """What each trigger is that the test speaks of, by the word that it uses."""
    several: frozenset[str] = field(repr=False)
    """Triggers' names that more than one sensor has."""

    @property
    def folder(self) -> Path:
        """Where files that the test names are looked for."""
        return Path(self.file).parent

    @property
    def name(self) -> str:
        """The test's name."""
        return self.case.name

    def answers(self, name: TriggerName) -> list[Answer]:
        """What the receiver of this trigger answers."""
        return [answer for word, given in self.case.answers.items() if self.names[word] == name for answer in given]

    def fetched(self, name: TriggerName) -> dict[str, Any] | None:
        """The object that this trigger reads from outside, if the test gives it."""
        return next((body for word, body in self.case.fetched.items() if self.names[word] == name), None)

    def shown(self, name: TriggerName) -> str:
        """The trigger's name as the test would write it."""
        return f"{name.sensor}/{name.trigger}" if name.trigger in self.several else name.trigger


def seconds(moment: float | dt.datetime, start: dt.datetime) -> float:
    """A moment of a test file as seconds since the start."""
    return (moment - start).total_seconds() if isinstance(moment, dt.datetime) else moment


@dataclass
class Loaded:
    """What the files say. With an ``error`` among the findings, something is not in ``trials``."""

    trials: list[Trial] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    files: list[str] = field(default_factory=list)

    @property
    def errors(self) -> list[Finding]:
        """The findings that keep tests from running."""
        return [finding for finding in self.findings if finding.severity == "error"]


class Loader:
    """Reads test files; manifests that several of them name are read once."""

    def __init__(self) -> None:
        self._bundles: dict[tuple[str, ...], Bundle] = {}
        self._told: set[Finding] = set()

    def load(self, paths: Iterable[str | Path]) -> Loaded:
        """All tests of the files and folders. Does not raise for what is in them or missing."""
        loaded = Loaded()
        for path in paths:
            for file in sorted(_files(Path(path))) if Path(path).is_dir() else [Path(path)]:
                if str(file) not in loaded.files:
                    loaded.files.append(str(file))
                    self._file(file, loaded)
        return loaded

    def _file(self, path: Path, loaded: Loaded) -> None:
        if not path.name.endswith(SUFFIXES):
            text = f"is no test file; its name must end with {' or '.join(SUFFIXES)}"
            loaded.findings.append(Finding("no-test-file", "error", text, str(path)))
            return
        try:
            content = path.read_bytes()[: MAX_FILE_BYTES + 1].decode()
        except OSError as error:
            words = error.strerror or str(error)
            loaded.findings.append(Finding("unreadable", "error", f"cannot be read: {words}", str(path)))
            return
        except UnicodeDecodeError:
            loaded.findings.append(Finding("encoding", "error", "is not UTF-8 text", str(path)))
            return
        found = list(documents(content))
        if not found:
            loaded.findings.append(Finding("no-tests", "error", "is empty; it needs 'tests'", str(path)))
        names: set[str] = set()
        for document in found:
            if isinstance(document, Fault):
                place = (str(path), document.line, document.column)
                loaded.findings.append(Finding(document.code, "error", document.message, *place))
                continue
            for odd in document.oddities:
                loaded.findings.append(Finding(odd.code, "error", odd.message, str(path), odd.line, odd.column))
            origin = Origin(str(path), document.root)
            model, problems = check(CaseFile, document.value)
            loaded.findings += [placed(problem, origin, "") for problem in problems]
            if model is not None:
                trials, problems = self._trials(path, model, document.root, names, loaded)
                loaded.findings += [placed(problem, origin, "") for problem in problems]
                loaded.trials += trials

    def _trials(
        self, path: Path, model: CaseFile, root: Node, names: set[str], loaded: Loaded
    ) -> tuple[list[Trial], list[Problem]]:
        trials: list[Trial] = []
        problems: list[Problem] = []
        for index, case in enumerate(model.tests):
            at = ("tests", index)
            if case.name in names:
                problems.append(Problem("duplicate-name", f"test '{case.name}' stands twice", (*at, "name")))
            names.add(case.name)
            bundle, wrong = self._bundle(path, model, case, at, loaded)
            problems += wrong
            if wrong or bundle is None:
                continue
            trial, wrong = _trial(path, root.value((*at, "name"))[0], model, case, bundle)
            problems += [problem.inside(*at) for problem in wrong]
            if trial is not None and not wrong:
                trials.append(trial)
        return trials, problems

    def _bundle(
        self, path: Path, model: CaseFile, case: Case, at: tuple[str | int, ...], loaded: Loaded
    ) -> tuple[Bundle | None, list[Problem]]:
        where: tuple[str | int, ...] = (*at, "manifests") if case.manifests is not None else ("manifests",)
        given = _said(model, case, "manifests")
        places = [os.path.normpath(path.parent / one) for one in given] if given else [os.path.normpath(path.parent)]
        gone = [index for index, place in enumerate(places) if not Path(place).exists()]
        if gone:
            return None, [
                Problem("no-file", f"there is no file or folder '{places[index]}'", (*where, index)) for index in gone
            ]
        key = tuple(places)
        if key not in self._bundles:
            self._bundles[key] = load(places)
        bundle = self._bundles[key]
        faults = [finding for finding in bundle.findings if finding.severity == "error"]
        loaded.findings += [finding for finding in faults if finding not in self._told]
        self._told.update(faults)
        return (None if faults else bundle), []


def _files(folder: Path) -> Iterator[Path]:
    seen: set[str] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        # A link may lead back up.
        folders[:] = [] if real in seen else [name for name in folders if not name.startswith(".")]
        if real not in seen:
            yield from (Path(place, name) for name in names if name.endswith(SUFFIXES) and not name.startswith("."))
        seen.add(real)


def _said(model: Around, case: Around, name: str) -> Any:
    own = getattr(case, name)
    return getattr(model, name) if own is None else own


def _trial(path: Path, line: int, model: CaseFile, case: Case, bundle: Bundle) -> tuple[Trial | None, list[Problem]]:
    problems: list[Problem] = []
    namespace, only = _said(model, case, "namespace"), _said(model, case, "sensors")
    sensors = [one for one in bundle.sensors if not namespace or one.metadata.namespace == namespace]
    known = [one.metadata.name for one in sensors]
    for index, name in enumerate(only or ()):
        if name not in known:
            text = f"the manifests have no sensor '{name}'{did_you_mean(name, known)}"
            problems.append(Problem("unknown-sensor", text, ("sensors", index)))
    if only is not None:
        sensors = [one for one in sensors if one.metadata.name in only]
    if not sensors and not problems:
        where = f" in namespace '{namespace}'" if namespace else ""
        problems.append(Problem("no-sensors", f"the manifests have no sensor{where}", ("name",)))
    if problems:
        return None, problems
    start = _said(model, case, "start") or START
    came, wrong = arrivals(case, bundle, sensors, path.parent, start)
    problems += wrong
    until = None if case.until is None else seconds(case.until, start)
    if until is not None and came and came[-1].at > until:
        problems.append(Problem("invalid-value", "'until' is before the last event", ("until",)))
    names, wrong = _names(case, sensors)
    problems += wrong
    every = [name.trigger for name in all_triggers(sensors)]
    several = frozenset(name for name in every if every.count(name) > 1)
    return Trial(str(path), line, case, bundle, tuple(sensors), start, tuple(came), until, names, several), problems


def all_triggers(sensors: Iterable[Sensor]) -> list[TriggerName]:
    """Every trigger of these sensors, ``dlqTrigger`` after its own, in the manifests' order."""
    return [
        TriggerName(sensor.metadata.namespace, sensor.metadata.name, spec.name)
        for sensor in sensors
        for _, spec in queues_of(sensor)
    ]


def _words(case: Case) -> Iterator[tuple[str, tuple[str | int, ...], bool]]:
    """Each word that names a trigger, where it stands, and whether it is a key there."""
    entries: tuple[tuple[str, Sequence[Firing | NoFiring | DeadLetter] | None], ...] = (
        ("fires", case.fires),
        ("notFires", case.not_fires),
        ("deadLetters", case.dead_letters),
    )
    for key, listed in entries:
        for index, entry in enumerate(listed or ()):
            yield entry.trigger, (key, index), False
    for key, named in (("answers", case.answers), ("fetched", case.fetched), ("pending", case.pending or {})):
        for word in named:
            yield word, (key, word), True


def _names(case: Case, sensors: list[Sensor]) -> tuple[dict[str, TriggerName], list[Problem]]:
    known = all_triggers(sensors)
    by_word: dict[str, list[TriggerName]] = {}
    for name in known:
        for word in (name.trigger, f"{name.sensor}/{name.trigger}"):
            by_word.setdefault(word, []).append(name)
    names: dict[str, TriggerName] = {}
    problems: list[Problem] = []
    for word, loc, at_key in _words(case):
        found = by_word.get(word, [])
        if len(set(found)) == 1:
            names[word] = found[0]
        elif found:
            ways = " or ".join(f"'{name.sensor}/{name.trigger}'" for name in found)
            text = f"several sensors have a trigger '{word}'; write {ways}"
            problems.append(Problem("unknown-trigger", text, loc, at_key=at_key))
        else:
            text = f"no sensor here has a trigger '{word}'{did_you_mean(word, by_word)}"
            problems.append(Problem("unknown-trigger", text, loc, at_key=at_key))
    return names, problems
