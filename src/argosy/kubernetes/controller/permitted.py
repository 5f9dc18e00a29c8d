"""Whether the service account of an object may do what its triggers and events need: the condition ``Permitted``.

The cluster itself is asked (SubjectAccessReview, or LocalSubjectAccessReview where the controller lives in namespaces only). Answers are
remembered for some minutes, or until a role or binding changes: many objects share one account.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from argosy.errors import Rejected
from argosy.kubernetes.client import Client, Object, Resource
from argosy.kubernetes.controller.conditions import PERMITTED, Condition, fails, holds, unknown
from argosy.kubernetes.granted import served
from argosy.kubernetes.kinds import Kinds
from argosy.kubernetes.rights import EVERYWHERE, Account, Right, account_of
from argosy.manifests._bundle import Bundle
from argosy.manifests.checks._needs import parts
from argosy.manifests.eventsource import EventSource
from argosy.manifests.sensor import Sensor

RECHECK_SECONDS = 300.0
_GROUP = "authorization.k8s.io"
_REVIEW = Resource(_GROUP, "v1", "SubjectAccessReview", "subjectaccessreviews", False)
_LOCAL_REVIEW = Resource(_GROUP, "v1", "LocalSubjectAccessReview", "localsubjectaccessreviews", True)
_SHOWN = 5


class Permissions:
    """Answers of the cluster's authorizers."""

    def __init__(self, client: Client, *, local: bool, clock: Callable[[], float] = time.monotonic) -> None:
        """``local``: the controller may ask about its own namespaces only."""
        self._client = client
        self._local = local
        self._clock = clock
        self._known: dict[tuple[Account, Right], tuple[float, bool]] = {}

    def forget(self) -> None:
        """Ask anew: who may do what has changed."""
        self._known.clear()

    async def condition(self, one: Sensor | EventSource) -> Condition:
        """How the object's account stands. Raises TriggerError where the cluster does not answer."""
        bundle = Bundle(
            sensors=[one] if isinstance(one, Sensor) else [],
            event_sources=[one] if isinstance(one, EventSource) else [],
        )
        needed, unclear = needs(one, await served(bundle, self._client))
        missing: dict[Account, list[Right]] = {}
        refused = ""
        for account, rights in needed.items():
            for right in rights:
                try:
                    if not await self._allowed(account, right):
                        missing.setdefault(account, []).append(right)
                except Rejected as error:
                    refused = str(error)
        if missing:
            return fails(PERMITTED, "Forbidden", forbidden(missing))
        if refused:
            return unknown(
                PERMITTED, "NotAsked", f"the cluster does not tell the controller what is permitted: {refused}"
            )
        if unclear:
            return holds(PERMITTED, "AsFarAsKnown", "not all that it needs is known: " + "; ".join(unclear[:_SHOWN]))
        if not any(needed.values()):
            return holds(PERMITTED, "NothingNeeded")
        return holds(PERMITTED, "Granted")

    async def _allowed(self, account: Account, right: Right) -> bool:
        now = self._clock()
        until, allowed = self._known.get((account, right), (0.0, False))
        if now < until:
            return allowed
        attributes = {"verb": right.verb, "group": right.group, "resource": right.resource}
        attributes |= {"namespace": right.namespace} if right.namespace != EVERYWHERE else {}
        attributes |= {"name": right.name} if right.name else {}
        groups = ["system:serviceaccounts", f"system:serviceaccounts:{account.namespace}", "system:authenticated"]
        spec: dict[str, Any] = {"user": account.user, "groups": groups, "resourceAttributes": attributes}
        if self._local and right.namespace != EVERYWHERE:
            resource, namespace = _LOCAL_REVIEW, right.namespace
        else:
            resource, namespace = _REVIEW, ""
        body: Object = {"apiVersion": resource.api_version, "kind": resource.kind, "spec": spec}
        if namespace:
            body["metadata"] = {"namespace": namespace}
        answer = await self._client.create(resource, body, namespace or None)
        allowed = bool((answer.get("status") or {}).get("allowed"))
        self._known[account, right] = (now + RECHECK_SECONDS * 0.9, allowed)
        return allowed


def needs(one: Sensor | EventSource, kinds: Kinds) -> tuple[dict[Account, list[Right]], list[str]]:
    """What each account needs for certain, and why not all of it is known, as clauses."""
    own = account_of(one.metadata.namespace, one.spec.template)
    found: dict[Account, dict[Right, None]] = defaultdict(dict)
    unclear = []
    for part in parts(one, kinds):
        found[own].update(dict.fromkeys(part.rights.required))
        unclear += [f"{part.what}: {reason}" for reason in part.rights.unknown]
        for name, rights in part.rights.acting.items():
            found[Account(one.metadata.namespace, name)].update(dict.fromkeys(rights.required))
            unclear += [f"{part.what}: {reason}" for reason in rights.unknown]
    return {account: list(rights) for account, rights in found.items()}, unclear


def forbidden(missing: dict[Account, list[Right]]) -> str:
    """The sentence that names what is missing."""
    said = []
    for account, rights in sorted(missing.items()):
        grouped: dict[tuple[str, str, str], list[str]] = defaultdict(list)
        for right in rights:
            grouped[right.what, right.name, right.namespace].append(right.verb)
        clauses = [_clause(what, name, space, verbs) for (what, name, space), verbs in sorted(grouped.items())]
        more = f" and {len(clauses) - _SHOWN} more" if len(clauses) > _SHOWN else ""
        said.append(f"service account '{account.name}' may not {', '.join(clauses[:_SHOWN])}{more}")
    return "; ".join(said) + "; 'argosy rbac -o yaml' prints the role that it needs"


def _clause(what: str, name: str, namespace: str, verbs: Iterable[str]) -> str:
    named = f" '{name}'" if name else ""
    where = f" in namespace '{namespace}'" if namespace != EVERYWHERE else ""
    return f"{' and '.join(dict.fromkeys(verbs))} {what}{named}{where}"
