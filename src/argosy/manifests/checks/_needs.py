"""The rights that an object's pod needs, part by part: a Sensor's triggers, an EventSource's events.

The plug-ins say what they ask (``Trigger.rights``, ``Source.rights``). ``used`` adds what upstream makes use of where
Argosy does not: roles that were written for both have no surplus. Where the manifest does not tell what an action is
about (an object from git, a kind that the event decides), the needs are not ``complete``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from argosy import registry
from argosy.errors import ConfigError
from argosy.kubernetes.kinds import Kinds, Served
from argosy.kubernetes.rights import Asking, Right, Rights
from argosy.manifests._bundle import Bundle
from argosy.manifests.checks._walk import each_trigger, held_object, mapping
from argosy.manifests.eventsource import EventSource
from argosy.manifests.findings import Loc
from argosy.manifests.sensor import Sensor, TriggerSpec
from argosy.triggers._base import Trigger

LEADER_ELECTION = "events.argoproj.io/leader-election"
"""Upstream's annotation: ``k8s`` elects by Lease."""
_COORDINATION = "coordination.k8s.io"
_WORKFLOW = ("create", "get", "list", "watch", "update", "patch", "delete")
_TEMPLATES = ("workflowtemplates", "clusterworkflowtemplates", "cronworkflows")


class Part(NamedTuple):
    """What one trigger or event needs. ``what`` names it, ``loc`` is its place in the object."""

    loc: Loc
    what: str
    rights: Rights


@dataclass
class Needs:
    """What one object needs. ``at`` is the first place that makes it need anything."""

    at: Loc = ()
    what: str = ""
    required: list[Right] = field(default_factory=list)
    used: list[Right] = field(default_factory=list)
    complete: bool = True

    def take(self, rights: Rights) -> None:
        """Add the rights of a part."""
        self.required += rights.required
        self.used += rights.all
        self.complete = self.complete and not rights.unknown


def kinds_of(bundle: Bundle) -> Kinds:
    """The kinds that the set's CustomResourceDefinitions define, beside those that are known."""
    found: dict[tuple[str, str], Served] = {}
    for one in bundle.definitions:
        spec = mapping(one.raw, "spec")
        names = mapping(spec, "names")
        group, kind, word = spec.get("group"), names.get("kind"), names.get("plural")
        if isinstance(group, str) and isinstance(kind, str) and isinstance(word, str):
            found[group, kind] = Served(word, spec.get("scope") != "Cluster")
    return Kinds(found)


def parts(one: Sensor | EventSource, kinds: Kinds) -> Iterator[Part]:
    """What each trigger of a Sensor (dead-letter triggers included) or each event of an EventSource needs."""
    space = one.metadata.namespace
    if isinstance(one, Sensor):
        for loc, trigger in each_trigger(one):
            yield Part((*loc, "template", trigger.kind), f"trigger '{trigger.name}'", _trigger(trigger, space, kinds))
    else:
        for event in one.events:
            loc = ("spec", event.kind, event.name)
            plugin = registry.source(event.kind)
            rights = plugin.rights(event.config, Asking(space, kinds)) if plugin else Rights()
            if plugin and plugin.exclusive and is_elected(one):
                rights = Rights(required=list(_lease(one, event.name)))
                rights.add(plugin.rights(event.config, Asking(space, kinds)))
            yield Part(loc, f"event '{event.name}'", rights)


def is_exclusive(source: EventSource) -> bool:
    """Whether only one process may receive at a time."""
    return any(plugin.exclusive for event in source.events if (plugin := registry.source(event.kind)))


def is_elected(source: EventSource) -> bool:
    """Whether its pods agree by Lease on who receives: where there are several, or the annotation asks for it."""
    asked = source.metadata.annotations.get(LEADER_ELECTION, "").lower() == "k8s"
    return is_exclusive(source) and (asked or (source.spec.replicas or 1) > 1)


def _lease(source: EventSource, event: str) -> Iterator[Right]:
    """What it takes to take part in the election of one event: its Lease is made, looked at and renewed."""
    from argosy.kubernetes.leases import lease_name  # of use to few, and it brings the client along

    space, name = source.metadata.namespace, lease_name(source.metadata.name, event)
    yield Right("create", _COORDINATION, "leases", space)
    yield from (Right(verb, _COORDINATION, "leases", space, name) for verb in ("get", "update"))


def _trigger(trigger: TriggerSpec, namespace: str, kinds: Kinds) -> Rights:
    try:
        plugin = registry.trigger(trigger.kind)
    except ConfigError as error:
        return Rights(unknown=[str(error)])
    if plugin is None:
        return Rights()
    if plugin.rights.__func__ is Trigger.rights.__func__:  # type: ignore[attr-defined]
        return Rights()
    if trigger.config is None or any(one.dest.split(".")[0] == trigger.kind for one in trigger.parameters):
        return Rights(unknown=["the trigger's own parameters decide what it does"])
    policy = trigger.policy.k8s if trigger.policy else None
    return plugin.rights(trigger.config, Asking(namespace, kinds, policy))


def needs(one: Sensor | EventSource, kinds: Kinds) -> dict[str, Needs]:
    """What the object's own service account (``""``) needs, and the others in whose name it acts."""
    found = {"": Needs()}
    for loc, what, rights in parts(one, kinds):
        own = found[""]
        if not own.at and not rights.nothing:
            own.at, own.what = loc, what
        own.take(rights)
        for account, acted in rights.acting.items():
            found.setdefault(account, Needs(loc, what)).take(acted)
    found[""].used += _upstream(one, found[""].used)
    return found


def _upstream(one: Sensor | EventSource, used: list[Right]) -> Iterator[Right]:
    """What upstream asks beside that."""
    space = one.metadata.namespace
    if isinstance(one, EventSource):
        if any(event.kind == "calendar" and getattr(event.config, "persistence", None) for event in one.events):
            # Upstream keeps the last schedule in a ConfigMap; Argosy on the bus.
            yield from (Right(verb, "", "configmaps", space) for verb in ("get", "create", "update", "patch"))
        return
    for right in [right for right in used if right.verb == "delete"]:
        yield Right("get", right.group, right.resource, right.namespace)
    for _, trigger in each_trigger(one):
        if trigger.kind != "argoWorkflow":
            continue
        held = held_object(trigger)
        place = mapping(held.body, "metadata").get("namespace") if held else None
        where = place if isinstance(place, str) and place else space
        yield from (Right(verb, "argoproj.io", "workflows", where) for verb in _WORKFLOW)
        for resource in _TEMPLATES:
            yield from (Right(verb, "argoproj.io", resource, where) for verb in ("get", "list", "watch"))
