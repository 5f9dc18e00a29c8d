"""Secrets and ConfigMaps that a manifest names and the set does not hold.

How loud that is depends on how complete the set looks: where its namespace holds no object of the kind, or
where something in the set makes Secrets in the cluster, it is a note.
"""

from __future__ import annotations

from collections.abc import Iterator

from argosy.manifests._bundle import Bundle, Key
from argosy.manifests.checks._walk import Selector, each_selector, each_trigger, key_of
from argosy.manifests.fields import SecretKeySelector
from argosy.manifests.findings import Loc, Problem, Severity
from argosy.manifests.spelling import did_you_mean

_MAKERS = frozenset(
    (
        "BitwardenSecret",
        "Certificate",
        "ClusterExternalSecret",
        "ExternalSecret",
        "InfisicalSecret",
        "OnePasswordItem",
        "PushSecret",
        "SealedSecret",
        "SopsSecret",
        "VaultDynamicSecret",
        "VaultStaticSecret",
    )
)
"""Kinds of other projects whose controllers write Secrets."""


def check(bundle: Bundle) -> Iterator[tuple[Key, Problem]]:
    """Keys of Secrets and ConfigMaps that are not there."""
    for source in bundle.event_sources:
        for event in source.events:
            at = ("spec", event.kind, event.name)
            yield from _each(bundle, key_of(source), event.config, at)
    for sensor in bundle.sensors:
        for loc, trigger in each_trigger(sensor):
            if trigger.config:
                yield from _each(bundle, key_of(sensor), trigger.config, (*loc, "template", trigger.kind))
    for bus in bundle.event_buses:
        yield from _each(bundle, key_of(bus), bus.spec, ("spec",))


def _each(bundle: Bundle, key: Key, block: object, place: Loc) -> Iterator[tuple[Key, Problem]]:
    for loc, selector in each_selector(block, place):
        if problem := _missing(bundle, key.namespace, selector, loc):
            yield key, problem


def _of_user(bundle: Bundle, namespace: str, secret: str) -> bool:
    """Whether RabbitMQ's topology operator makes this Secret, as it does for each User that it manages."""
    users = [one.metadata for one in bundle.broker_access if one.kind == "User"]
    return any(one.namespace == namespace and secret == f"{one.name}-user-credentials" for one in users)


def _missing(bundle: Bundle, namespace: str, selector: Selector, loc: Loc) -> Problem | None:
    secret = isinstance(selector, SecretKeySelector)
    kind, held = ("Secret", bundle.secrets) if secret else ("ConfigMap", bundle.config_maps)
    if selector.optional:
        return None
    names = [name for where, name in held if where == namespace]
    made_elsewhere = secret and (bool(_MAKERS & set(bundle.ignored)) or _of_user(bundle, namespace, selector.name))
    severity: Severity = "warning" if (names or kind in bundle.whole) and not made_elsewhere else "info"
    values = held.get((namespace, selector.name))
    if values is None:
        near = did_you_mean(selector.name, names)
        text = f"{kind} '{selector.name}' is not {bundle.here}{near}"
        return Problem("unknown-reference", text, loc, severity)
    if selector.key not in values:
        near = did_you_mean(selector.key, values)
        text = f"{kind} '{selector.name}' has no key '{selector.key}'{near}"
        return Problem("unknown-reference", text, (*loc, "key"), severity)
    return None
