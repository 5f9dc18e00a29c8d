"""What service accounts are granted, compared with what they need: what is missing, and what is too much.

The grants are those of roles that stand beside the manifests, or those of a cluster. There the server itself is asked:
SubjectAccessReview for each right that is needed, SelfSubjectRulesReview in the account's name for all that it has.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from argosy.errors import Rejected, TriggerError
from argosy.kubernetes.client import Client, KindUnknown, Resource
from argosy.kubernetes.kinds import Kinds, Served
from argosy.kubernetes.rbac import Holder, Permission
from argosy.kubernetes.rights import DEFAULT_ACCOUNT, EVERYWHERE, Account, Right
from argosy.manifests.bundle import Bundle, Key
from argosy.manifests.checks._grants import Grants, Rule
from argosy.manifests.checks._needs import kinds_of
from argosy.manifests.checks._walk import each_trigger, held_object

_AUTHORIZATION = "authorization.k8s.io"
_ACCESS = Resource(_AUTHORIZATION, "v1", "SubjectAccessReview", "subjectaccessreviews", False)
_RULES = Resource(_AUTHORIZATION, "v1", "SelfSubjectRulesReview", "selfsubjectrulesreviews", False)
_ELSEWHERE = "argosy-no-such-namespace"
"""What holds in a namespace that is not there holds in all."""
_EVERYONES = ("selfsubject",)
"""The resources, by their beginning, that every account may ask about itself."""


class Held(NamedTuple):
    """Rules that an account has in one namespace, or everywhere. ``origin`` says from where, for people."""

    origin: str
    namespace: str
    rules: tuple[Rule, ...]


@dataclass
class Verdict:
    """What is to be said of one account. ``unclear`` are clauses: what could not be compared, and why."""

    account: Account
    missing: list[Right] = field(default_factory=list)
    surplus: list[str] = field(default_factory=list)
    unclear: list[str] = field(default_factory=list)


def by_manifests(holders: Iterable[Holder], bundle: Bundle) -> list[Verdict]:
    """The comparison with the Roles and bindings of the set itself."""
    grants = Grants(bundle)
    found = []
    for holder in holders:
        verdict = Verdict(_acting(holder))
        found.append(verdict)
        given = grants.of(verdict.account)
        held = []
        for grant in given:
            if grant.role is None or grant.role.rules is None:
                verdict.unclear.append("one of its roles does not stand in these manifests")
            else:
                held.append(Held(_title(grant.role.key), grant.namespace, grant.role.rules))
        if not verdict.unclear:
            verdict.missing = [right for right in _needed(holder) if not any(_gives(one, right) for one in held)]
        _judge(verdict, holder, held)
    return found


async def by_cluster(holders: Iterable[Holder], client: Client) -> list[Verdict]:
    """The comparison with what a cluster grants. Raises TriggerError where it does not answer, or not us."""
    found = []
    for holder in holders:
        verdict = Verdict(_acting(holder))
        found.append(verdict)
        verdict.missing = [right for right in _needed(holder) if not await _allowed(client, verdict.account, right)]
        try:
            held = await _rules(client, holder, verdict)
        except TriggerError as error:
            verdict.unclear.append(f"what it has beyond that cannot be told: {error}")
        else:
            _judge(verdict, holder, held)
    return found


def _title(key: Key) -> str:
    return f"{key.kind} {key.namespace}/{key.name}" if key.namespace else f"{key.kind} {key.name}"


def _needed(holder: Holder) -> list[Right]:
    return [right for rights in holder.places.values() for right in rights]


def _acting(holder: Holder) -> Account:
    """The account that the pods run as now: who names none runs as its namespace's own."""
    return holder.account if holder.named else Account(holder.account.namespace, DEFAULT_ACCOUNT)


def _judge(verdict: Verdict, holder: Holder, held: Iterable[Held]) -> None:
    if not holder.named:
        verdict.unclear.append(
            f"{', '.join(holder.objects)} runs as 'default', which may serve others: name an account"
        )
        return
    if holder.rights.unknown:
        verdict.unclear += [f"not all that it needs is known: {reason}" for reason in holder.rights.unknown]
        return
    for one in dict.fromkeys(held):
        verdict.surplus += [f"{one.origin}: {text}" for text in _surplus(one, holder.rights.all)]


def _gives(held: Held, right: Right) -> bool:
    return held.namespace in (EVERYWHERE, right.namespace) and any(_covers(rule, right) for rule in held.rules)


def _covers(rule: Rule, right: Right) -> bool:
    return (
        bool({right.verb, "*"} & rule.verbs)
        and bool({right.group, "*"} & rule.groups)
        and bool({right.resource, "*"} & rule.resources)
        and (not rule.names or right.name in rule.names)
    )


def _surplus(held: Held, needed: Iterable[Right]) -> Iterator[str]:
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for rule in held.rules:
        for group in sorted(rule.groups):
            for resource in sorted(rule.resources):
                what = f"{resource}.{group}" if group else resource
                for verb in sorted(rule.verbs):
                    if (reason := _spare(held, rule, (group, resource, verb), needed)) is not None:
                        found[what, reason].append(verb)
    for (what, reason), verbs in found.items():
        yield f"{', '.join(dict.fromkeys(verbs))} of {what}{reason}"


def _spare(held: Held, rule: Rule, what: tuple[str, str, str], needed: Iterable[Right]) -> str | None:
    """Why a verb of a rule is more than is needed, as the end of a sentence; None if it is not."""
    using = [
        right
        for right in needed
        if (right.group, right.resource, right.verb) == what and held.namespace in (EVERYWHERE, right.namespace)
    ]
    if not using:
        return f" '{', '.join(sorted(rule.names))}'" if rule.names else ""
    if held.namespace == EVERYWHERE and EVERYWHERE not in {right.namespace for right in using}:
        spaces = ", ".join(sorted({f"'{right.namespace}'" for right in using}))
        return f" in all namespaces, needed in {spaces} only"
    names = {right.name for right in using}
    if "" in names:
        return None
    more = rule.names - names
    if rule.names and not more:
        return None
    only = ", ".join(sorted(f"'{name}'" for name in names))
    return (
        f" of {', '.join(sorted(more))}, needed of {only} only"
        if rule.names
        else f" of any name, needed of {only} only"
    )


# The cluster


async def _allowed(client: Client, account: Account, right: Right) -> bool:
    attributes = {"verb": right.verb, "group": right.group, "resource": right.resource}
    if right.namespace != EVERYWHERE:
        attributes["namespace"] = right.namespace
    if right.name:
        attributes["name"] = right.name
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{account.namespace}", "system:authenticated"]
    spec = {"user": account.user, "groups": groups, "resourceAttributes": attributes}
    answer = await client.create(_ACCESS, _review(_ACCESS, spec))
    return bool((answer.get("status") or {}).get("allowed"))


async def _rules(client: Client, holder: Holder, verdict: Verdict) -> list[Held]:
    as_account = client.acting(verdict.account.user)
    everywhere = await _reviewed(as_account, _ELSEWHERE, verdict)
    found = [Held("in all namespaces", EVERYWHERE, everywhere)]
    for namespace in sorted({verdict.account.namespace, *holder.places} - {EVERYWHERE}):
        rules = await _reviewed(as_account, namespace, verdict)
        known = set(everywhere)
        found.append(Held(f"in namespace '{namespace}'", namespace, tuple(one for one in rules if one not in known)))
    return found


async def _reviewed(client: Client, namespace: str, verdict: Verdict) -> tuple[Rule, ...]:
    status = (await client.create(_RULES, _review(_RULES, {"namespace": namespace}))).get("status") or {}
    if status.get("incomplete"):
        verdict.unclear.append(
            f"the cluster does not tell all that it has: {status.get('evaluationError') or 'no reason'}"
        )
    found = []
    for one in status.get("resourceRules") or ():
        groups, resources, verbs, names = (
            frozenset(one.get(word) or ()) for word in ("apiGroups", "resources", "verbs", "resourceNames")
        )
        if not resources or not all(resource.startswith(_EVERYONES) for resource in resources):
            found.append(Rule(groups, resources, verbs, names, ()))
    return tuple(found)


def _review(resource: Resource, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": resource.api_version, "kind": resource.kind, "spec": spec}


async def served(bundle: Bundle, client: Client) -> Kinds:
    """How the cluster spells the kinds that the sensors' objects are of, and of those that it does not have yet, the set's
    CustomResourceDefinitions. Raises TriggerError where the cluster does not answer.
    """
    kinds = kinds_of(bundle)
    asked: set[tuple[str, str]] = set()
    for sensor in bundle.sensors:
        for _, trigger in each_trigger(sensor):
            held = held_object(trigger)
            version, kind = (held.body.get("apiVersion"), held.body.get("kind")) if held else (None, None)
            if not isinstance(version, str) or not isinstance(kind, str):
                continue
            group = version.rpartition("/")[0]
            if (group, kind) in asked:
                continue
            asked.add((group, kind))
            try:
                resource = await client.discover(version, kind)
            except (KindUnknown, Rejected):
                continue  # not installed there: if the set does not define it either, it is a guess, and that is said
            kinds.learn(group, kind, Served(resource.plural, resource.namespaced))
    return kinds


# RabbitMQ

_STRANGER = "argosy-no-such-name"


def by_permission(permission: Permission) -> tuple[list[str], list[str]]:
    """What a Permission of the set lacks, and what it gives too much, as clauses; nothing where there is none."""
    missing: list[str] = []
    surplus: list[str] = []
    for verb, wanted in permission.patterns().items() if permission.granted is not None else ():
        given = (permission.granted or {}).get(verb, "")
        if given == wanted:
            continue
        try:
            pattern = re.compile(given)
        except re.error:
            missing.append(f"{verb} '{given}' cannot be read")
            continue
        lacking = [name for name in sorted(getattr(permission, verb)) if not pattern.search(name.replace("\\", ""))]
        if lacking:
            missing.append(f"{verb} of {', '.join(lacking)}")
        if pattern.search(_STRANGER):
            surplus.append(f"{verb} '{given}', needed is '{wanted}'")
    return missing, surplus
