"""Why events did what they did: the sensor's own code, run once more with its decisions written down.

``explain`` takes events in the order in which they came. Earlier ones fill the conditions, so a trigger with ``&&`` waits or fires as it would
have. Nothing is sent or fetched; what a trigger would do is rehearsed (``argosy.sensor.rendering``).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from argosy.errors import EventInvalid, LangError
from argosy.event import Event, parse_time
from argosy.manifests.eventsource import EventSource
from argosy.manifests.sensor import Dependency, Sensor, TriggerSpec
from argosy.sensor import actions, transform
from argosy.sensor.explaining_stories import (
    ActionStory,
    DependencyStory,
    Explanation,
    Near,
    Result,
    SensorStory,
    Transformed,
    TriggerStory,
    leaves,
)
from argosy.sensor.matching import Decision, Matcher, Plan, Reading
from argosy.sensor.remembering import Completed, TriggerMemory
from argosy.sensor.rendering import Offline, Rehearsal, rehearse
from argosy.sensor.waiting import Wait, quoted
from argosy.sources import _filter

Pairs = Mapping[tuple[str, str], Sequence[str]]
"""Events (source, name), and the sensors that listen to each."""
_RESULTS: Sequence[Result] = get_args(Result)


@dataclass(frozen=True)
class World:
    """The manifests at hand. ``declared`` holds every EventSource's event names by (namespace, name), those in error included."""

    sensors: Sequence[Sensor]
    event_sources: Sequence[EventSource] = ()
    declared: Mapping[tuple[str, str], Collection[str]] = field(default_factory=dict)
    offline: Callable[[Sensor], Offline] = lambda sensor: Offline()


def explain(world: World, events: Sequence[Event], *, only: Collection[str] = ()) -> list[Explanation]:
    """What became of each of ``events``, which came in this order. ``only`` names the sensors of interest; empty means all."""
    sensors = [one for one in world.sensors if not only or one.metadata.name in only]
    replays = [_Replay(one, world.offline(one)) for one in sensors]
    return [_explained(world, replays, event, number) for number, event in enumerate(events, 1)]


def _explained(world: World, replays: Sequence[_Replay], event: Event, number: int) -> Explanation:
    pair = (event.source, event.subject)
    if dropped := _dropped(world, event):
        return Explanation(event, (), [replay.name for replay in replays], dropped=dropped)
    stories: list[SensorStory] = []
    others: list[str] = []
    for replay in replays:
        if not replay.listens(event):
            others.append(replay.name)
        elif deaf := _deaf(world, replay.sensor, event):
            stories.append(SensorStory(replay.namespace, replay.name, "deaf", deaf))
        else:
            stories.append(replay.take(event, number))
    stories.sort(key=lambda story: _RESULTS.index(story.result))
    if stories:
        return Explanation(event, stories, others)
    asked = [replay.sensor for replay in replays]
    listened = _pairs(asked)
    known = [Near(*other, sensors) for other, sensors in sorted(listened.items())]
    nobody, near = _nobody(world, pair, asked), _near(pair, listened)
    return Explanation(event, (), others, nobody=nobody, near=near, known=known)


class _Replay:
    """One sensor and what its conditions hold, as the running loop has them."""

    def __init__(self, sensor: Sensor, offline: Offline) -> None:
        self.sensor = sensor
        self.namespace, self.name = sensor.metadata.namespace, sensor.metadata.name
        self._offline = offline
        self._matcher = Matcher(sensor)
        self._dependencies = {one.name: one for one in sensor.dependencies}
        self._memories = {plan.trigger: TriggerMemory(plan) for plan in self._matcher.plans}

    def listens(self, event: Event) -> bool:
        return any(
            (one.event_source_name, one.event_name) == (event.source, event.subject) for one in self.sensor.dependencies
        )

    def take(self, event: Event, position: int) -> SensorStory:
        reading = Reading(event)
        decisions = self._matcher.decide(event, reading)
        dependencies = [self._dependency(decision, reading) for decision in decisions]
        became = self._advance(decisions, event, position)
        specs = {spec.name: spec for spec in self.sensor.triggers}
        triggers = [
            self._trigger(plan, specs[plan.trigger], became[plan.trigger], dependencies) for plan in self._matcher.plans
        ]
        result, because = _summary(dependencies, triggers)
        return SensorStory(self.namespace, self.name, result, because, dependencies, triggers)

    def _advance(self, decisions: Sequence[Decision], event: Event, position: int) -> dict[str, _Became]:
        try:
            at = parse_time(event.time).timestamp()
        except EventInvalid:
            at = 0.0  # a time that is no time resets nothing, and nothing is due
        became = {trigger: _Became(memory.ring_to(at, position)) for trigger, memory in self._memories.items()}
        for decision in decisions:
            for plan in self._matcher.plans:
                if decision.event is None or decision.dependency not in plan.names:
                    continue
                memory = self._memories[plan.trigger]
                advance = memory.take(decision.dependency, decision.event, position=position, at=at)
                became[plan.trigger].completed += advance.completed
                became[plan.trigger].waits = advance.waits
                if advance.refused is not None:
                    became[plan.trigger].refused = advance.refused.reason
        return became

    def _dependency(self, decision: Decision, reading: Reading) -> DependencyStory:
        spec = self._dependencies[decision.dependency]
        asked = {leaf.clause for leaf in leaves(decision.verdict)}
        accepted = decision.event is not None
        not_asked = [] if accepted else [clause for clause in _clauses(spec) if not _was_asked(clause, asked)]
        transformed = _transformed(spec, reading, self.sensor.spec.strict)
        return DependencyStory(spec.name, accepted, decision.verdict, transformed, not_asked)

    def _trigger(
        self,
        plan: Plan,
        spec: TriggerSpec,
        became: _Became,
        dependencies: Sequence[DependencyStory],
    ) -> TriggerStory:
        condition = str(plan.condition)
        done: list[ActionStory] = []
        nothing = ""
        for each in became.completed:
            stories, why_not = self._actions(plan, spec, each)
            done += stories
            nothing = nothing or why_not
        if done:
            failure = next((each.rehearsal.failure for each in done if each.rehearsal.failure), "")
            all_fail = all(each.rehearsal.failure for each in done)
            kind = done[-1].rehearsal.kind
            why = next((each.why for each in became.completed if each.why), "")
            because = failure or why or f"its condition {condition} holds"
            instead = spec.dlq_trigger.name if failure and spec.dlq_trigger else ""
            result: Literal["fires", "fails"] = "fails" if all_fail else "fires"
            emits = "/".join(spec.emit.pair(self.name, spec.name)) if spec.emit is not None else ""
            return TriggerStory(
                plan.trigger,
                kind,
                condition,
                result,
                because,
                actions=done,
                dlq_trigger=instead,
                emits=emits,
                approval=spec.approval is not None,
            )
        if nothing:
            return TriggerStory(plan.trigger, spec.kind, condition, "idle", nothing, nothing=True)
        mine = [each for each in dependencies if each.name in plan.names]
        if not any(each.accepted for each in mine):
            said = [f"{quoted([each.name for each in mine])} did not accept the event"] if mine else []
            because = said[0] if said else f"it waits for {condition}, and the event is none of these"
            return TriggerStory(plan.trigger, spec.kind, condition, "idle", because)
        waits = became.waits
        if waits is None:
            because = became.refused or "nothing is collected that waits"
            return TriggerStory(plan.trigger, spec.kind, condition, "idle", because, misplaced=bool(became.refused))
        because = f"it {waits.sentence}" if plan.timed else f"it waits for {quoted(waits.for_dependencies)}"
        return TriggerStory(
            plan.trigger, spec.kind, condition, "waits", because, waits.held, waits.for_dependencies, timed=plan.timed
        )

    def _actions(self, plan: Plan, spec: TriggerSpec, completed: Completed) -> tuple[list[ActionStory], str]:
        """What one completion becomes, and why it becomes nothing."""
        whole = actions.action_id(self.namespace, self.name, plan.trigger, completed.events)
        if plan.fan_out is None:
            return [ActionStory(whole, completed.events, rehearse(spec, completed.events, self._offline))], ""
        fanned = plan.fan_out(whole, completed.events)
        if fanned.given_up:
            failed = Rehearsal(spec.kind, {}, failure=f"forEach: {fanned.reason}")
            return [ActionStory(whole, completed.events, failed)], ""
        told = [
            ActionStory(part.id, part.events, rehearse(spec, part.events, self._offline), part.mark)
            for part in fanned.parts
        ]
        return told, f"forEach: {fanned.reason}" if fanned.reason else ""


@dataclass
class _Became:
    """What an event led to in one trigger."""

    completed: list[Completed]
    waits: Wait | None = None
    refused: str = ""


def _summary(dependencies: Sequence[DependencyStory], triggers: Sequence[TriggerStory]) -> tuple[Result, str]:
    for result in ("fires", "fails", "waits"):
        found = [each for each in triggers if each.result == result]
        if found:
            because = "; ".join(f"trigger {each.name!r} {_does(each)}" for each in found)
            return result, because
    if any(each.accepted for each in dependencies):
        refused = [each for each in triggers if each.misplaced or each.nothing]
        if refused:
            return "idle", "; ".join(
                f"trigger {each.name!r} {'does nothing' if each.nothing else 'cannot place the event'}: {each.because}"
                for each in refused
            )
        accepting = quoted([each.name for each in dependencies if each.accepted])
        return "idle", f"{accepting} accepts the event, but no trigger waits for it"
    return "rejects", "; ".join(_reason(each) for each in dependencies)


def _does(trigger: TriggerStory) -> str:
    if trigger.result == "fires":
        return "fires"
    if trigger.result == "fails":
        return f"would fail: {trigger.because}"
    return trigger.because.removeprefix("it ")


def _reason(dependency: DependencyStory) -> str:
    return " / ".join(f"{each.clause}: {each.reason}" for each in dependency.reasons)


def _clauses(spec: Dependency) -> list[str]:
    """The clauses of a dependency in the order in which they are asked."""
    filters = spec.filters
    if filters is None:
        return []
    return [
        *(f"exprs[{index}]" for index in range(len(filters.exprs))),
        *(f"data[{index}]" for index in range(len(filters.data))),
        *(name for name in ("context", "time", "script") if getattr(filters, name)),
    ]


def _was_asked(clause: str, asked: Collection[str]) -> bool:
    # A verdict may name a part of a clause (``context.type``), or the stage alone where its clauses were not reached.
    return any(clause == each or each.startswith(f"{clause}.") for each in asked)


def _transformed(spec: Dependency, reading: Reading, strict: bool) -> Transformed | None:
    run = transform.compile(spec.transform, strict=strict)
    if spec.transform is None or run is None or not reading.event.data:
        return None
    language, program = ("jq", spec.transform.jq) if spec.transform.jq else ("script", spec.transform.script)
    made = reading.transformed(run)
    if isinstance(made, LangError):
        return Transformed(language, program, None, made.message)
    return Transformed(language, program, made.value)


def _dropped(world: World, event: Event) -> str:
    """Why the event's own source does not let it pass; empty where it does, or where the source is not known."""
    reason = ""
    for source in world.event_sources:
        for spec in source.events if source.metadata.name == event.source else ():
            made = _filter.decision(spec.config) if spec.name == event.subject else None
            if made is None or spec.config.filter is None:
                continue
            expression = f"the filter `{spec.config.filter.expression}` of EventSource '{event.source}'"
            try:
                if made.accepts(event.data):
                    return ""
                reason = f"{expression} is not true for it, so it never leaves the source"
            except LangError as error:
                reason = f"{expression} fails on it, so it never leaves the source: {error.message}"
    return reason


def _deaf(world: World, sensor: Sensor, event: Event) -> str:
    """Why the sensor does not hear an event that it listens to; empty where it does, or where the event's source is not known."""
    spaces = sorted(space for (space, name), names in world.declared.items() if name == event.source)
    own = sensor.metadata.namespace
    if spaces and own not in spaces:
        return f"it is in namespace '{own}' and the event source in {quoted(spaces)}; only sensors there hear it"
    for source in world.event_sources:
        same = (source.metadata.namespace, source.metadata.name) == (own, event.source)
        if same and source.event_bus_name != sensor.event_bus_name:
            return (
                f"it reads EventBus '{sensor.event_bus_name}', and the event source writes to"
                f" '{source.event_bus_name}'; give both the same eventBusName"
            )
    return ""


def _nobody(world: World, pair: tuple[str, str], asked: Sequence[Sensor]) -> str:
    source, name = pair
    if not world.sensors:
        return "there is no sensor among these manifests"
    if len(asked) < len(world.sensors):
        names = [sensor.metadata.name for sensor in asked]
        listening = _pairs(world.sensors).get(pair)
        does = f"; {quoted(listening)} {'does' if len(listening) == 1 else 'do'}" if listening else ""
        return f"{quoted(names)} {'does' if len(names) == 1 else 'do'} not listen to {source}/{name}{does}"
    text = f"no sensor listens to {source}/{name}"
    if not world.declared:
        return text
    events = [names for (_, known), names in world.declared.items() if known == source]
    if not events:
        return f"{text}, and no EventSource is called '{source}'"
    if not any(name in names for names in events):
        return f"{text}, and EventSource '{source}' has no event '{name}'"
    return f"{text}, although EventSource '{source}' has this event"


def _near(pair: tuple[str, str], pairs: Pairs) -> list[Near]:
    """The events that were perhaps meant, the nearest first: a slip in a name, or another event of the same source."""
    scored = []
    for other, sensors in pairs.items():
        source, name = (
            difflib.SequenceMatcher(None, mine.lower(), theirs.lower()).ratio()
            for mine, theirs in zip(pair, other, strict=True)
        )
        if (source >= 0.75 and name >= 0.6) or source == 1:
            scored.append((name < 0.6, -(source + name), other, sensors))
    scored.sort()
    # Another event of the same source is a guess only where there is no better one.
    return [Near(*other, list(sensors)) for far, _, other, sensors in scored[:3] if far == scored[0][0]]


def _pairs(sensors: Sequence[Sensor]) -> Pairs:
    found: dict[tuple[str, str], list[str]] = {}
    for sensor in sensors:
        for one in sensor.dependencies:
            names = found.setdefault((one.event_source_name, one.event_name), [])
            if sensor.metadata.name not in names:
                names.append(sensor.metadata.name)
    return found
