"""The Sensor manifest: what it waits for (dependencies), and what it then does (triggers).

A trigger's block is described by its kind's plug-in (``argosy.registry``); everything around it stands here,
with upstream's rules (``pkg/reconciler/sensor/validate.go``). A block that is incomplete only where the
trigger's own parameters will write is accepted without ``config``. Whether the texts in it are valid
programs, and whether the names in it exist, is for ``argosy.manifests.crosscheck``. Slightly over the usual length, because
the reading of a template and the rules around it share what they know of its parameters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from argosy import registry
from argosy.errors import ConfigError
from argosy.manifests._action_models import Approval, Emit, ForEach
from argosy.manifests._collecting import check_collecting
from argosy.manifests._collecting_models import Batch, Debounce
from argosy.manifests._sensor_models import (
    ActionQueue,
    ConditionsReset,
    ConditionsResetByTime,
    DataFilter,
    Dependency,
    EventContextFilter,
    ExprFilter,
    Filters,
    PayloadField,
    RateLimit,
    SensorSpec,
    TimeFilter,
    Transform,
    TriggerBlock,
    TriggerTemplate,
    check_whole,
)
from argosy.manifests.fields import Backoff, Metadata, TriggerParameter, TriggerPolicy
from argosy.manifests.findings import Loc, Problem, aliases, as_meant, check, path_text
from argosy.manifests.objects import digest, frame
from argosy.triggers._base import TriggerConfig

__all__ = [
    "MISPLACED",
    "TRIGGER_ORDER",
    "ActionQueue",
    "ConditionsReset",
    "ConditionsResetByTime",
    "DataFilter",
    "Dependency",
    "EventContextFilter",
    "ExprFilter",
    "Filters",
    "PayloadField",
    "RateLimit",
    "Sensor",
    "SensorSpec",
    "TimeFilter",
    "Transform",
    "TriggerBlock",
    "TriggerSpec",
    "TriggerTemplate",
    "declared_by_emit",
    "is_kind",
    "parse_sensor",
    "resolve_template",
]

TRIGGER_ORDER = (
    "k8s",
    "argoWorkflow",
    "http",
    "awsLambda",
    "azureEventHubs",
    "azureServiceBus",
    "kafka",
    "pulsar",
    "nats",
    "slack",
    "openWhisk",
    "custom",
    "log",
    "email",
)
"""Upstream's kinds in the order in which it looks for them; of several in one template the first counts."""

MISPLACED = ("policy", "retryStrategy", "rateLimit", "atLeastOnce")
"""Fields of a trigger that examples of upstream write inside its template, where upstream drops them."""


@dataclass(frozen=True)
class TriggerSpec:
    """One trigger that can run.

    ``config`` is None where only the trigger's ``parameters``, which write into ``template_raw``, can
    complete it: then they are applied first and ``resolve_template`` reads the result. ``at_least_once`` is
    None where the manifest says nothing, which means at least once here.
    """

    name: str
    kind: str
    config: TriggerConfig | None
    config_raw: dict[str, Any] = field(repr=False)
    template_raw: dict[str, Any] = field(repr=False)
    conditions: str = ""
    conditions_reset: tuple[ConditionsReset, ...] = ()
    parameters: tuple[TriggerParameter, ...] = ()
    policy: TriggerPolicy | None = None
    retry_strategy: Backoff | None = None
    rate_limit: RateLimit | None = None
    at_least_once: bool | None = None
    queue: ActionQueue = field(default_factory=ActionQueue)
    frame: TriggerTemplate | None = None
    batch: Batch | None = None
    debounce: Debounce | None = None
    for_each: ForEach | None = None
    emit: Emit | None = None
    approval: Approval | None = None
    dlq_trigger: TriggerSpec | None = None

    def writes(self, loc: Loc) -> bool:
        """Whether the trigger's ``parameters`` write at, above or below this place in its template."""
        words = tuple(map(str, loc))
        dests = [_sjson_parts(parameter.dest) for parameter in self.parameters if parameter.dest]
        return any(words[: len(dest)] == dest or dest[: len(words)] == words for dest in dests)


@dataclass(frozen=True)
class Sensor:
    """A valid Sensor.

    ``digest`` names the content of the spec and is the same for the same content.
    """

    metadata: Metadata
    spec: SensorSpec
    triggers: tuple[TriggerSpec, ...]
    digest: str
    raw: dict[str, Any] = field(repr=False)

    kind = "Sensor"

    @property
    def dependencies(self) -> list[Dependency]:
        """The events that it waits for."""
        return self.spec.dependencies

    @property
    def event_bus_name(self) -> str:
        """The EventBus object's name in the same namespace."""
        return self.spec.event_bus_name or "default"


def resolve_template(template: dict[str, Any]) -> tuple[str, TriggerConfig]:
    """The kind and its block of a template into which parameters were written.

    Raises ConfigError with all that is wrong.
    """
    read = _Read({"template": template})
    faults = [problem for problem in read.problems if problem.severity == "error"]
    if faults or read.config is None:
        words = "; ".join(f"{path_text(fault.loc)}: {fault.message}" for fault in faults)
        raise ConfigError(f"with its parameters applied the trigger is wrong: {words}")
    return read.kind, read.config


def is_kind(word: str) -> bool:
    """Whether the word is a trigger kind."""
    return word in registry.trigger_kinds()


def parse_sensor(raw: dict[str, Any]) -> tuple[Sensor | None, list[Problem]]:
    """The Sensor that ``raw`` describes, or None, with everything there is to say about it."""
    metadata, problems = frame(raw)
    spec: SensorSpec | None = None
    read: dict[int, _Read] = {}
    if (given := raw.get("spec")) is not None:
        if isinstance(given, dict):
            names = [*registry.trigger_kinds(), *MISPLACED]
            given, odd = as_meant(SensorSpec, given, also={TriggerTemplate: names})
            problems += [problem.inside("spec") for problem in odd]
        bare = given
        if isinstance(given, dict) and isinstance(given.get("triggers"), list):
            bare = {**given, "triggers": [_bare(trigger) for trigger in given["triggers"]]}
            read = {
                index: _Read(trigger) for index, trigger in enumerate(given["triggers"]) if isinstance(trigger, dict)
            }
        spec, wrong = check(SensorSpec, bare, also={TriggerTemplate: registry.trigger_kinds()})
        problems += [_restored(problem, given).inside("spec") for problem in wrong]
        for index, one in read.items():
            problems += [problem.inside("spec", "triggers", index) for problem in one.problems]
    if spec:
        problems += [problem.inside("spec") for problem in (*check_whole(spec), *check_collecting(spec))]
    if metadata is None or spec is None or any(problem.severity == "error" for problem in problems):
        return None, problems
    triggers = tuple(one.build(block) for block, one in zip(spec.triggers, read.values(), strict=True))
    return Sensor(metadata, spec, triggers, digest(given), raw), problems


def declared_by_emit(raw: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The events that a Sensor's triggers publish themselves (``emit``): source and name. Also of an invalid one: those who depend on it do not err."""
    about, spec = raw.get("metadata"), raw.get("spec")
    triggers = spec.get("triggers") if isinstance(spec, dict) else None
    left = list(triggers) if isinstance(triggers, list) else []
    while left:
        trigger = left.pop()
        if not isinstance(trigger, dict):
            continue
        left.append(trigger.get("dlqTrigger"))
        emit, template = trigger.get("emit"), trigger.get("template")
        if isinstance(emit, dict) and isinstance(template, dict) and isinstance(about, dict):
            source, name = (
                emit.get("eventSourceName") or about.get("name"),
                emit.get("eventName") or template.get("name"),
            )
            if isinstance(source, str) and isinstance(name, str):
                yield source, name


def _bare(trigger: Any) -> Any:
    """The trigger without its kind's block and with misplaced fields where the model wants them."""
    if not isinstance(trigger, dict):
        return trigger
    bare = dict(trigger)
    if isinstance(template := trigger.get("template"), dict):
        bare["template"] = {key: item for key, item in template.items() if not is_kind(key) and key not in MISPLACED}
        bare.update({key: template[key] for key in MISPLACED if key in template and key not in trigger})
    if "dlqTrigger" in trigger:
        bare["dlqTrigger"] = _bare(trigger["dlqTrigger"])
    return bare


def _restored(problem: Problem, spec: Any) -> Problem:
    """The problem with its place as it is in the manifest, before misplaced fields were moved."""
    here, way = spec, list[str | int]()
    for part in problem.loc:
        if (
            isinstance(here, dict)
            and part not in here
            and isinstance(here.get("template"), dict)
            and part in here["template"]
        ):
            way.append("template")
            here = here["template"]
        way.append(part)
        here = (
            here.get(part)
            if isinstance(here, dict)
            else here[part]
            if isinstance(here, list) and isinstance(part, int)
            else None
        )
    message = problem.message
    name = way[-1] if way else ""
    inside = isinstance(name, str) and (name in aliases(TriggerTemplate) or is_kind(name))
    if problem.code == "unknown-field" and inside and len(way) > 1 and way[-2] != "template":
        message = f"'{name}' belongs inside 'template'"
    return Problem(problem.code, message, tuple(way), problem.severity, problem.at_key)


class _Read:
    """What a trigger's template says about its kind. It reads the raw manifest: other faults hide nothing."""

    def __init__(self, trigger: dict[str, Any]) -> None:
        self.problems: list[Problem] = []
        self.kind = ""
        self.config: TriggerConfig | None = None
        self.template: dict[str, Any] = {}
        self.config_raw: dict[str, Any] = {}
        self.dead_letter = _Read(trigger["dlqTrigger"]) if isinstance(trigger.get("dlqTrigger"), dict) else None
        self._trigger = trigger
        self._written = [
            _sjson_parts(entry["dest"]) for entry in _entries(trigger.get("parameters")) if "dest" in entry
        ]
        if isinstance(trigger.get("template"), dict):
            self._read(trigger["template"])
        self.problems += _incomplete(trigger.get("parameters"), ("parameters",), dest_needed=True)
        if self.dead_letter:
            self.problems += [problem.inside("dlqTrigger") for problem in self.dead_letter.problems]

    def build(self, block: TriggerBlock) -> TriggerSpec:
        """The trigger, now that ``block`` is known to be right."""
        return TriggerSpec(
            name=block.template.name,
            kind=self.kind,
            config=self.config,
            config_raw=self.config_raw,
            template_raw=self.template,
            conditions=block.template.conditions,
            conditions_reset=tuple(block.template.conditions_reset),
            parameters=tuple(block.parameters),
            policy=block.policy,
            retry_strategy=block.retry_strategy,
            rate_limit=block.rate_limit,
            at_least_once=block.at_least_once,
            queue=block.queue or ActionQueue(),
            frame=block.template,
            batch=block.batch,
            debounce=block.debounce,
            for_each=block.for_each,
            emit=block.emit,
            approval=block.approval,
            dlq_trigger=self.dead_letter.build(block.dlq_trigger) if self.dead_letter and block.dlq_trigger else None,
        )

    def _read(self, template: dict[str, Any]) -> None:
        for name in MISPLACED:
            if name in template:
                counts = (
                    "the one beside 'template' counts"
                    if name in self._trigger
                    else "it is honoured here, upstream drops it"
                )
                text = f"'{name}' belongs beside 'template', not inside it; {counts}"
                self.problems.append(Problem("misplaced-field", text, ("template", name), "warning", True))
        kinds = sorted(
            (key for key in template if is_kind(key) and template[key] is not None),
            key=lambda kind: (
                TRIGGER_ORDER.index(kind) if kind in TRIGGER_ORDER else len(TRIGGER_ORDER),
                kind,
            ),
        )
        if not kinds:
            if all(key in (*aliases(TriggerTemplate), *MISPLACED) or is_kind(key) for key in template):
                text = f"names no kind of trigger; give one of {', '.join(registry.trigger_kinds())}"
                self.problems.append(Problem("missing-kind", text, ("template",), at_key=True))
            return
        self.kind = kinds[0]
        if len(kinds) > 1:
            others = " and ".join(f"'{kind}'" for kind in kinds[1:])
            text = f"several kinds in one template: '{self.kind}' counts, {others} not"
            self.problems.append(Problem("several-kinds", text, ("template", kinds[1]), "warning", True))
            for kind in kinds[1:]:
                self._read_other(kind, template[kind])
        self.template = {key: item for key, item in template.items() if key not in MISPLACED and key not in kinds[1:]}
        self._read_kind(template[self.kind])

    def _read_other(self, kind: str, block: Any) -> None:
        """Upstream validates every kind that stands in a template, also those that do not count."""
        try:
            plugin = registry.trigger(kind)
        except ConfigError:
            return  # a kind that does not count need not run
        if plugin is not None:
            self.problems += [problem.inside("template", kind) for problem in check(plugin.config, block)[1]]

    def _read_kind(self, block: Any) -> None:
        loc = ("template", self.kind)
        try:
            plugin = registry.trigger(self.kind)
        except ConfigError as error:
            self.problems.append(Problem("plugin-broken", str(error), loc, at_key=True))
            return
        assert plugin is not None  # is_kind
        self.config_raw = block if isinstance(block, dict) else {}
        self.config, wrong = check(plugin.config, block)
        for name in ("parameters", "payload", "dynamicHeaders", "pathParameters", "queryParameters"):
            if name in aliases(plugin.config) and isinstance(block, dict):
                needed = name == "parameters" or (
                    name == "payload" and self.kind in TRIGGER_ORDER and self.kind != "http"
                )
                wrong += _incomplete(block.get(name), (name,), dest_needed=needed)
        # What the trigger's own parameters will write cannot be judged before there is an event.
        open_ = [
            problem
            for problem in wrong
            if problem.severity == "error" and self._will_be_written((self.kind, *problem.loc), problem.code)
        ]
        if open_:
            self.config = None
        self.problems += [problem.inside(*loc) for problem in wrong if problem not in open_]

    def _will_be_written(self, loc: Loc, code: str) -> bool:
        words = tuple(map(str, loc))
        near = any(words[: len(dest)] == dest or dest[: len(words)] == words for dest in self._written if dest)
        return code != "unknown-field" and near


def _entries(parameters: Any) -> Iterator[dict[str, Any]]:
    for entry in parameters if isinstance(parameters, list) else ():
        if isinstance(entry, dict) and isinstance(entry.get("dest", ""), str):
            yield entry


def _sjson_parts(path: str) -> tuple[str, ...]:
    """The steps of a ``dest``; a backslash keeps a dot from separating, a colon makes a number a key."""
    parts = re.findall(r"(?:\\.|[^.\\])+", path)
    return tuple(re.sub(r"\\(.)", r"\1", part.removeprefix(":")) for part in parts)


def _incomplete(parameters: Any, loc: Loc, *, dest_needed: bool) -> Iterator[Problem]:
    """Entries of a list of parameters without the names that upstream requires."""
    if not isinstance(parameters, list):
        return
    for index, entry in enumerate(parameters):
        if not isinstance(entry, dict):
            continue
        src = entry.get("src")
        if isinstance(src, dict) and not src.get("dependencyName"):
            yield Problem(
                "missing-field",
                "'dependencyName' is missing",
                (*loc, index, "src", "dependencyName"),
                at_key=True,
            )
        if dest_needed and not entry.get("dest"):
            yield Problem("missing-field", "'dest' is missing", (*loc, index, "dest"), at_key=True)
