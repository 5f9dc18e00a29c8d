"""The EventSource manifest: named events of one or more kinds, each with its kind's own block.

What a kind's block may say stands in the kind's plug-in (``argosy.registry``); here stand the frame around
the blocks and upstream's rules for the whole object (``pkg/reconciler/eventsource/validate.go``).
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


class EventSourceSpec(Model):
    """The spec without its kinds. ``template`` and ``service`` shape a pod and a Service; kept as they stand."""

    dropped: ClassVar[Mapping[str, str]] = {
        "type": "0.17; the kind's own key says it",
        "replica": "1.5; write 'replicas'",
    }

    event_bus_name: str = ""
    """The EventBus of the same namespace that events go to; empty means ``default``."""
    replicas: int | None = None
    """How many pods; without it one. Of an event that only one may receive, one of them receives."""
    template: dict[str, Json] | None = None
    """How the pods look; read by the controller only."""
    service: dict[str, Json] | None = None
    """The Service before the pods; read by the controller only."""


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
    """A valid EventSource.

    ``digest`` names the content of the spec and is the same for the same content.
    """

    metadata: Metadata
    spec: EventSourceSpec
    events: tuple[EventSpec, ...]
    digest: str
    raw: dict[str, Any] = field(repr=False)

    kind = "EventSource"

    @property
    def event_bus_name(self) -> str:
        """The EventBus object's name in the same namespace."""
        return self.spec.event_bus_name or "default"

    @property
    def event_names(self) -> list[str]:
        """Every event's name."""
        return [event.name for event in self.events]


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
    if (given := raw.get("spec")) is not None:
        if isinstance(given, dict):
            given, odd = as_meant(EventSourceSpec, given, also={EventSourceSpec: registry.source_kinds()})
            problems += [problem.inside("spec") for problem in odd]
        own = {key: value for key, value in given.items() if not is_kind(key)} if isinstance(given, dict) else given
        spec, wrong = check(EventSourceSpec, own, also={EventSourceSpec: registry.source_kinds()})
        problems += [problem.inside("spec") for problem in wrong]
    if isinstance(given, dict):
        for kind in filter(is_kind, given):
            if given[kind] is not None:
                for part in _events(kind, given[kind]):
                    if isinstance(part, Problem):
                        problems.append(part.inside("spec", kind))
                    else:
                        events.append(part)
        problems += [problem.inside("spec") for problem in _whole(given)]
        if not declared_events(raw):
            problems.append(Problem("no-events", "has no events, so nothing is received", ("spec",), "warning", True))
    if metadata is None or spec is None or any(problem.severity == "error" for problem in problems):
        return None, problems
    return EventSource(metadata, spec, tuple(events), digest(given), raw), problems


def is_kind(word: str) -> bool:
    """Whether the word is an event source kind."""
    return word in registry.source_kinds()


def _events(kind: str, block: object) -> Iterator[EventSpec | Problem]:
    if not isinstance(block, dict):
        yield Problem("wrong-type", f"'{kind}' must be a mapping of event names to their settings")
        return
    try:
        plugin = registry.source(kind)
    except ConfigError as error:
        yield Problem("plugin-broken", str(error), at_key=True)
        return
    assert plugin is not None  # is_kind
    for name, settings in block.items():
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
    try:
        plugin = registry.source(kind)
    except ConfigError:
        return None
    return bool(plugin.exclusive) if plugin else None
