"""What of the sensors no test decided: clauses, dependencies of conditions, sources of parameters, triggers.

A clause is decided when it let an event pass in one test and refused one in another: only then a mistake in it would be seen. All of it
is counted over all tests of a run, from what the real loop and the real rendering said.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from argosy.lang import conditions
from argosy.manifests.bundle import Bundle, Key
from argosy.manifests.fields import TriggerParameter
from argosy.manifests.findings import Loc
from argosy.manifests.sensor import Sensor, TriggerSpec
from argosy.sensor.explaining_stories import leaves
from argosy.testing.loading import Trial
from argosy.testing.simulation import Transcript

_STEPS = (
    ("data_template", "dataTemplate"),
    ("data_key", "dataKey"),
    ("context_template", "contextTemplate"),
    ("context_key", "contextKey"),
    ("value", "value"),
)


@dataclass(frozen=True)
class Gap:
    """Something that no test decided, and where it stands."""

    file: str
    line: int
    sensor: str
    what: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: sensor '{self.sensor}': {self.what}"


@dataclass(frozen=True)
class _Point:
    mark: tuple[str, ...]
    """What a transcript has to show; begins with namespace and sensor."""
    loc: Loc
    what: str


class Coverage:
    """Collects over the trials of a run."""

    def __init__(self) -> None:
        self._sensors: dict[tuple[str, str, str], tuple[Bundle, Sensor]] = {}
        self._marks: set[tuple[str, ...]] = set()

    def add(self, trial: Trial, transcript: Transcript) -> None:
        """Count what a trial decided."""
        files = {}
        for sensor in trial.sensors:
            about = sensor.metadata
            file = trial.bundle.origins[Key("Sensor", about.namespace, about.name)].file
            files[about.namespace, about.name] = file
            self._sensors[file, about.namespace, about.name] = (trial.bundle, sensor)
        for seen in transcript.seen:
            head = (files[seen.sensor], *seen.sensor)
            for decision in seen.decisions:
                if decision.event is not None:
                    self._marks.add((*head, "accepted", decision.dependency))
                for clause in leaves(decision.verdict):
                    word = "passed" if clause.passed else "refused"
                    self._marks.add((*head, word, decision.dependency, clause.clause))
            for waiting in seen.waiting:
                self._marks.update((*head, "waited", waiting.trigger, name) for name in waiting.for_dependencies)
        for fired in transcript.fired:
            head = (files[fired.name[:2]], *fired.name[:2])
            self._marks.add((*head, "fired", fired.name.trigger))
            for setting in fired.settings:
                place = "parameters" if setting.place in ("object", "block") else setting.place
                self._marks.add((*head, "value", fired.name.trigger, place, str(setting.index), setting.step))

    def gaps(self) -> tuple[int, list[Gap]]:
        """How many points there are, and those that no trial decided."""
        count, gaps = 0, []
        for (file, namespace, name), (bundle, sensor) in sorted(self._sensors.items(), key=lambda item: item[0]):
            root = bundle.origins[Key("Sensor", namespace, name)].root
            for point in _points(sensor):
                count += 1
                if (file, namespace, name, *point.mark) not in self._marks:
                    gaps.append(Gap(file, root.value(("spec", *point.loc))[0], name, point.what))
        return count, gaps

    @property
    def sensors(self) -> int:
        """How many sensors ran."""
        return len(self._sensors)


def _points(sensor: Sensor) -> Iterator[_Point]:
    for index, dependency in enumerate(sensor.dependencies):
        at: Loc = ("dependencies", index)
        what = f"dependency '{dependency.name}'"
        yield _Point(("accepted", dependency.name), (*at, "name"), f"{what} never accepted an event")
        filters = dependency.filters
        if filters is None:
            continue
        clauses: list[tuple[str, Loc]] = [(f"exprs[{n}]", ("exprs", n)) for n in range(len(filters.exprs))]
        clauses += [(f"data[{n}]", ("data", n)) for n in range(len(filters.data))]
        clauses += [(name, (name,)) for name in ("context", "time", "script") if getattr(filters, name)]
        for clause, loc in clauses:
            for word, said in (("passed", "never let an event pass"), ("refused", "never refused an event")):
                yield _Point((word, dependency.name, clause), (*at, "filters", *loc), f"{what}: {clause} {said}")
    names = [dependency.name for dependency in sensor.dependencies]
    indexes = {
        block.get("template", {}).get("name"): index for index, block in enumerate(sensor.raw["spec"]["triggers"])
    }
    for spec in sensor.triggers:
        at = ("triggers", indexes[spec.name])
        condition = conditions.compile(spec.conditions, names)
        if condition.joins:
            for name in condition.names:
                text = f"trigger '{spec.name}' never had to wait for '{name}'"
                yield _Point(("waited", spec.name, name), (*at, "template", "conditions"), text)
        yield from _trigger_points(spec, at)
        if spec.dlq_trigger is not None:
            yield from _trigger_points(spec.dlq_trigger, (*at, "dlqTrigger"))


def _trigger_points(spec: TriggerSpec, at: Loc) -> Iterator[_Point]:
    what = f"trigger '{spec.name}'"
    yield _Point(("fired", spec.name), (*at, "template", "name"), f"{what} never fired")
    lists: list[tuple[str, Loc, list[TriggerParameter]]] = [("template", (*at, "parameters"), list(spec.parameters))]
    for name, info in type(spec.config).model_fields.items() if spec.config is not None else ():
        value, alias = getattr(spec.config, name), info.alias or name
        if isinstance(value, list) and value and isinstance(value[0], TriggerParameter):
            lists.append((alias, (*at, "template", spec.kind, alias), value))
    for place, loc, entries in lists:
        for index, entry in enumerate(entries):
            steps = [word for name, word in _STEPS if getattr(entry.src, name) not in ("", None)]
            if len(steps) < 2:
                continue  # nothing to fall back to
            for step in steps:
                text = f"{what}: the parameter of '{entry.dest}' never had its value from '{step}'"
                yield _Point(("value", spec.name, place, str(index), step), (*loc, index, "src", step), text)
