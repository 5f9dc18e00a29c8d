"""The EventSource manifest: named events of one or more kinds, each with its kind's own block.

What a kind's block may say stands in the kind's plug-in (``argosy.registry``); here stand the frame around
the blocks and upstream's rules for the whole object (``pkg/reconciler/eventsource/validate.go``). An event
that upstream knows and Argosy does not run yet makes no error: the object loads without it and says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from argosy import registry
from argosy.errors import ConfigError
from argosy.manifests.fields import Json, Metadata, Model
from argosy.manifests.findings import Problem, aliases, as_meant, check
from argosy.manifests.objects import digest, frame
from argosy.sources._base import SourceConfig

_LEADER_ELECTED = frozenset(
    (
        "azureEventsHub",
        "azureServiceBus",
        "emitter",
        "hdfs",
        "kafka",
        "minio",
        "mqtt",
        "nats",
        "nsq",
        "pubSub",
        "pulsar",
        "redis",
        "redisStream",
    )
)
"""Of the kinds that are not run yet: those with one active process at a time (upstream ``const.go``)."""


class EventSourceSpec(Model):
    """The spec without its kinds. ``template`` and ``service`` shape a pod and a Service; kept as they stand."""

    dropped: ClassVar[Mapping[str, str]] = {
        "type": "0.17; the kind's own key says it",
        "replica": "1.5; write 'replicas'",
    }

    event_bus_name: str = ""
    replicas: int | None = None
    template: dict[str, Json] | None = None
    service: dict[str, Json] | None = None


@dataclass(frozen=True)
class EventSpec:
    """One event that can run. ``config_raw`` is its block as it was read."""

    kind: str
    name: str
    config: SourceConfig
    config_raw: dict[str, Any] = field(repr=False)

    @property
    def digest(self) -> str:
        """Names the event's kind and settings: the same for the same content."""
        return digest([self.kind, self.config_raw])


@dataclass(frozen=True)
class EventSource:
    """A valid EventSource. ``not_run`` names the (kind, event) pairs that this version leaves out.

    ``digest`` names the content of the spec and is the same for the same content.
    """

    metadata: Metadata
    spec: EventSourceSpec
    events: tuple[EventSpec, ...]
    not_run: tuple[tuple[str, str], ...]
    digest: str
    raw: dict[str, Any] = field(repr=False)

    kind = "EventSource"

    @property
    def event_bus_name(self) -> str:
        """The EventBus object's name in the same namespace."""
        return self.spec.event_bus_name or "default"

    @property
    def event_names(self) -> list[str]:
        """Every event's name, those that are not run included."""
        return [event.name for event in self.events] + [name for _, name in self.not_run]


def declared_events(raw: dict[str, Any]) -> set[str]:
    """The names of an EventSource's events, also of an invalid one: its sensors do not err."""
    spec = raw.get("spec")
    if not isinstance(spec, dict):
        return set()
    own = aliases(EventSourceSpec)
    return {str(name) for key, block in spec.items() if key not in own and isinstance(block, dict) for name in block}


def parse_event_source(raw: dict[str, Any]) -> tuple[EventSource | None, list[Problem]]:
    """The EventSource that ``raw`` describes, or None, with everything there is to say about it."""
    metadata, problems = frame(raw)
    spec: EventSourceSpec | None = None
    events: list[EventSpec] = []
    not_run: list[tuple[str, str]] = []
    if (given := raw.get("spec")) is not None:
        if isinstance(given, dict):
            given, odd = as_meant(EventSourceSpec, given, also={EventSourceSpec: known_kinds()})
            problems += [problem.inside("spec") for problem in odd]
        own = {key: value for key, value in given.items() if not is_kind(key)} if isinstance(given, dict) else given
        spec, wrong = check(EventSourceSpec, own, also={EventSourceSpec: known_kinds()})
        problems += [problem.inside("spec") for problem in wrong]
    if isinstance(given, dict):
        for kind in filter(is_kind, given):
            if given[kind] is not None:
                for part in _events(kind, given[kind]):
                    if isinstance(part, Problem):
                        problems.append(part.inside("spec", kind))
                    elif isinstance(part, EventSpec):
                        events.append(part)
                    else:
                        not_run.append((kind, part))
        problems += [problem.inside("spec") for problem in _whole(given)]
        if not declared_events(raw):
            problems.append(Problem("no-events", "has no events, so nothing is received", ("spec",), "warning", True))
    if metadata is None or spec is None or any(problem.severity == "error" for problem in problems):
        return None, problems
    return EventSource(metadata, spec, tuple(events), tuple(not_run), digest(given), raw), problems


def is_kind(word: str) -> bool:
    """Whether the word is an event source kind that Argosy runs or knows of."""
    return word in registry.LATER_SOURCES or word in registry.source_kinds()


def known_kinds() -> list[str]:
    """Every event source kind that Argosy runs or knows of, sorted."""
    return sorted({*registry.source_kinds(), *registry.LATER_SOURCES})


def _events(kind: str, block: object) -> Iterator[EventSpec | Problem | str]:
    """The events of one kind; a name alone for an event that is not run."""
    if not isinstance(block, dict):
        yield Problem("wrong-type", f"'{kind}' must be a mapping of event names to their settings")
        return
    try:
        plugin = registry.source(kind)
    except ConfigError as error:
        yield Problem("plugin-broken", str(error), at_key=True)
        return
    for name, settings in block.items():
        if plugin is None:
            yield Problem(
                "kind-later",
                f"kind '{kind}' is not run by this version; event '{name}' is left out",
                (name,),
                "later",
                True,
            )
            yield name
            continue
        config, wrong = check(plugin.config, settings if settings is not None else {})
        yield from (problem.inside(name) for problem in wrong)
        if config is None:
            continue
        yield EventSpec(kind, name, config, settings or {})


def _whole(spec: dict[str, Any]) -> Iterator[Problem]:
    """Upstream's rules for the object as a whole."""
    seen: dict[str, str] = {}
    elected: dict[bool, str] = {}
    for kind in filter(is_kind, spec):
        block = spec[kind]
        if not isinstance(block, dict) or not block:
            continue
        for name in block:
            if name in seen:
                yield Problem(
                    "duplicate-name",
                    f"event '{name}' stands under '{seen[name]}' too; names must differ",
                    (kind, name),
                    at_key=True,
                )
            seen.setdefault(name, kind)
        if (exclusive := _is_exclusive(kind)) is not None:
            elected.setdefault(exclusive, kind)
    if len(elected) == 2:
        yield Problem(
            "mixed-kinds",
            f"'{elected[True]}' is received by one pod at a time and '{elected[False]}' by all; write two EventSources",
            (elected[True],),
            at_key=True,
        )


def _is_exclusive(kind: str) -> bool | None:
    if kind in registry.LATER_SOURCES:
        return kind in _LEADER_ELECTED
    try:
        plugin = registry.source(kind)
    except ConfigError:
        return None
    return bool(plugin.exclusive) if plugin else None
