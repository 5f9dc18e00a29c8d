"""Service accounts: whether a pod that needs rights names one, whether it is there, and whether its roles give
what is needed and no more.

Without any ServiceAccount, Role or binding in the set, those are somebody else's matter and little is said.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace

from argosy.kubernetes.rights import EVERYWHERE, Account, Right, account_of
from argosy.manifests._bundle import Bundle, Key
from argosy.manifests.checks._grants import Grants, Role, Rule, same_resource
from argosy.manifests.checks._needs import Needs, kinds_of, needs
from argosy.manifests.checks._walk import key_of, mapping, says_namespace
from argosy.manifests.eventsource import EventSource
from argosy.manifests.findings import Problem, Severity
from argosy.manifests.sensor import Sensor
from argosy.manifests.spelling import did_you_mean

_ELECTION = "leases"
"""Upstream elects the leader of several pods with these, where it is told to."""


def check(bundle: Bundle) -> Iterator[tuple[Key, Problem]]:
    """Accounts that are missing, cannot do what is needed, or can do more."""
    grants = Grants(bundle)
    kinds = kinds_of(bundle)
    collected: dict[Account, list[Needs]] = defaultdict(list)
    objects: list[Sensor | EventSource] = [*bundle.sensors, *bundle.event_sources]
    for one in objects:
        own = needs(one, kinds)
        for problem in _account(grants, one, own.pop(""), collected):
            yield key_of(one), problem
        for name, acting in own.items():
            for problem in _acting(grants, Account(one.metadata.namespace, name), acting, collected):
                yield key_of(one), problem
    # An object with an error may need what the others do not.
    whole = len(bundle.sensors) + len(bundle.event_sources) == sum(
        key.kind in ("Sensor", "EventSource") for key in bundle.origins
    )
    if whole:
        yield from _surplus(bundle, grants, collected)


def _account(
    grants: Grants, one: Sensor | EventSource, needs: Needs, collected: dict[Account, list[Needs]]
) -> Iterator[Problem]:
    name = mapping(one.spec.template).get("serviceAccountName")
    loc = ("spec", "template", "serviceAccountName")
    account = account_of(one.metadata.namespace, mapping(one.spec.template))
    collected[account].append(needs)
    if not needs.at:
        return
    # Kustomize, or kubectl, puts objects without a namespace where nobody can know here.
    apart = bool(grants.placed - {says_namespace(one.raw)})
    if not name:
        given = grants.known(account) and all(grants.allows(account, right) for right in needs.required)
        if not given and (apart or not grants.of(account) or grants.known(account)):
            severity: Severity = "info" if apart or grants.empty else "warning"
            text = f"{needs.what} calls the Kubernetes API and no service account with rights is named"
            yield Problem("no-service-account", text, loc, severity)
        return
    if apart:
        needs.complete = False
        return
    if account not in grants.accounts:
        names = [one.name for one in grants.accounts if one.namespace == account.namespace]
        if names:
            near = did_you_mean(account.name, names)
            text = f"there is no ServiceAccount '{account.name}' in namespace '{account.namespace}'{near}"
            yield Problem("unknown-service-account", text, loc, "warning")
            return
    if grants.known(account):
        yield from _missing(grants, account, needs.required)
    elif account in grants.accounts and not grants.of(account) and grants.binds and needs.required:
        text = f"no binding gives ServiceAccount '{account.name}' a right, and {_list(needs.required)} is needed"
        yield Problem("missing-right", text, loc, "warning")


def _acting(grants: Grants, account: Account, needs: Needs, collected: dict[Account, list[Needs]]) -> Iterator[Problem]:
    """An account in whose name a trigger acts."""
    collected[account].append(needs)
    if grants.known(account):
        for problem in _missing(grants, account, needs.required):
            yield replace(problem, loc=(*needs.at, "serviceAccountName"))


def _missing(grants: Grants, account: Account, required: Iterable[Right]) -> Iterator[Problem]:
    lacking = [right for right in dict.fromkeys(required) if not grants.allows(account, right)]
    places = dict.fromkeys((right.group, right.resource, right.namespace) for right in lacking)
    for place in places:
        rights = [right for right in lacking if (right.group, right.resource, right.namespace) == place]
        where = f" in namespace '{place[2]}'" if place[2] != EVERYWHERE else " in all namespaces"
        text = f"none of these roles lets ServiceAccount '{account.name}' {_list(rights)}{where}"
        yield Problem("missing-right", text, ("spec", "template", "serviceAccountName"), "warning")


def _list(rights: Iterable[Right]) -> str:
    by_resource: dict[str, list[str]] = defaultdict(list)
    for right in dict.fromkeys(rights):
        if right.verb not in by_resource[right.what]:
            by_resource[right.what].append(right.verb)
    return "; ".join(f"{_and(verbs)} {what}" for what, verbs in by_resource.items())


def _and(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _surplus(bundle: Bundle, grants: Grants, needs: dict[Account, list[Needs]]) -> Iterator[tuple[Key, Problem]]:
    by_user = {account.user: each for account, each in needs.items()}
    busy = {
        Account(one.metadata.namespace, str(name)).user
        for one in bundle.workflow_templates
        if (name := mapping(one.raw, "spec").get("serviceAccountName"))
    }
    said: set[Key] = set()
    for account in needs:
        for grant in grants.of(account):
            role = grant.role
            if role is None or role.rules is None or role.key in said:
                continue
            said.add(role.key)
            holders = grants.holders(role)
            # Whoever else has the role may need what these do not.
            if busy & holders or not all(one in by_user for one in holders):
                continue
            met = [each for one in holders for each in by_user[one]]
            if all(each.complete for each in met):
                used = {right for each in met for right in each.used}
                names = _and(sorted({f"'{one.rpartition(':')[2]}'" for one in holders}))
                for problem in _spare(role, used, names):
                    yield role.key, problem


def _spare(role: Role, used: set[Right], names: str) -> Iterator[Problem]:
    for rule in role.rules or ():
        spare = _unused(rule, used)
        if spare:
            text = f"gives {names} more than the manifests need: {'; '.join(spare)}"
            yield Problem("surplus-right", text, (*rule.loc, "verbs"), "info")


def _unused(rule: Rule, used: set[Right]) -> list[str]:
    found = []
    for resource in sorted(rule.resources):
        if resource.split("/")[0] == _ELECTION:
            continue
        verbs = [
            verb
            for verb in sorted(rule.verbs)
            if verb == "*"
            or not any(
                right.verb == verb and same_resource(right.resource, resource) and right.group in rule.groups
                for right in used
            )
        ]
        if resource == "*":
            verbs = sorted(rule.verbs)
        if verbs:
            found.append(f"{', '.join(verbs)} of {resource}")
    return found
