"""How ``argosy rbac`` says what is needed and what is granted: a table, YAML to apply, JSON for programs."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from typing import Any

from argosy.cli._manifests import documents
from argosy.cli._page import table
from argosy.kubernetes.granted import Verdict, by_permission
from argosy.kubernetes.rbac import Holder, Needing, Permission, Plan, manifests
from argosy.kubernetes.rights import EVERYWHERE, Right


def as_table(plan: Plan) -> Iterator[str]:
    """Who needs what, a line each."""
    rows = [[one.title, _account(one), "; ".join(_may(_own(one))) or "nothing"] for one in plan.objects]
    yield from table(["OBJECT", "RUNS AS", "NEEDS"], rows)
    if plan.permissions:
        yield ""
        heads = ["RABBITMQ USER", "VHOST", "CONFIGURE", "WRITE", "READ"]
        yield from table(heads, [[_user(one), _vhost(one), *one.patterns().values()] for one in plan.permissions])


def as_yaml(plan: Plan) -> Iterator[str]:
    """Manifests to apply. What RabbitMQ wants stands above as commands."""
    for one in plan.permissions:
        if not one.cluster:
            yield f"# {_command(one)}"
    for text in documents(manifests(plan)):
        yield text.removesuffix("\n")


def as_json(plan: Plan) -> dict[str, Any]:
    """The same for programs."""
    return {
        "objects": [
            {
                "kind": one.one.kind,
                "namespace": one.one.metadata.namespace,
                "name": one.one.metadata.name,
                "serviceAccount": one.account.name if one.named or one.asks else "",
                "proposed": not one.named and one.asks,
                "rights": [_right(right) for right in sorted(set(_own(one)))],
                "unknown": [f"{part.what}: {text}" for part in one.parts for text in part.rights.unknown],
            }
            for one in plan.objects
        ],
        "rabbitmq": [
            {
                "namespace": one.namespace,
                "user": one.user,
                "userSecret": one.secret,
                "vhost": one.vhost,
                **one.patterns(),
                "neededBy": one.objects,
            }
            for one in plan.permissions
        ],
        "manifests": list(manifests(plan)),
        "notes": list(notes(plan)),
    }


def notes(plan: Plan) -> Iterator[str]:
    """What somebody has to know or do beside."""
    for one in plan.objects:
        if one.asks and not one.named:
            yield f"{one.title} names no service account; write spec.template.serviceAccountName: {one.account.name}"
    for group, kind in sorted(plan.kinds.guessed):
        spelt = plan.kinds.served(group, kind)
        yield (
            f"the plural '{spelt.plural}' of kind {kind} in '{group or 'v1'}' is a guess; give its"
            " CustomResourceDefinition among PATH, or --live"
        )
    for holder in plan.holders:
        for reason in holder.rights.unknown:
            yield f"not all that {_holder(holder)} needs is known: {reason}"
        if holder.pins.shapes or _creates_workflows(holder):
            for reason in holder.pins.loose:
                yield f"no policy says which Workflows {_holder(holder)} may create: {reason}"
    for permission in plan.permissions:
        if not permission.vhost:
            yield f"the virtual host of {', '.join(permission.objects)} stands in Secret '{permission.secret}'; put it in"


def _creates_workflows(holder: Holder) -> bool:
    return any((one.verb, one.resource) == ("create", "workflows") for one in holder.rights.all)


# The comparison


def compared(plan: Plan, verdicts: Iterable[Verdict], *, live: bool) -> dict[str, Any]:
    """What is missing and what is too much, for programs. ``exact`` says that neither is."""
    accounts: list[dict[str, Any]] = [
        {
            "serviceAccount": f"{one.account.namespace}/{one.account.name}",
            "missing": [_right(right) for right in one.missing],
            "surplus": one.surplus,
            "unclear": one.unclear,
        }
        for one in verdicts
    ]
    users: list[dict[str, Any]] = []
    for permission in [] if live else plan.permissions:
        missing, surplus = by_permission(permission)
        if permission.granted is not None:
            users.append({"user": permission.user, "vhost": permission.vhost, "missing": missing, "surplus": surplus})
    exact = not any(one["missing"] or one["surplus"] for one in (*accounts, *users))
    return {"exact": exact, "serviceAccounts": accounts, "rabbitmq": users}


def as_lines(found: dict[str, Any]) -> Iterator[str]:
    """The comparison for people."""
    for one in found["serviceAccounts"]:
        who = f"service account {one['serviceAccount']}"
        yield from _lines(who, list(_may([Right(**right) for right in one["missing"]])), one["surplus"], one["unclear"])
    for one in found["rabbitmq"]:
        yield from _lines(f"RabbitMQ user {one['user']} in vhost {one['vhost']}", one["missing"], one["surplus"], [])


def _lines(who: str, missing: list[str], surplus: list[str], unclear: list[str]) -> Iterator[str]:
    if not (missing or surplus or unclear):
        yield f"{who}: exactly what is needed"
    for word, texts in (("missing", missing), ("surplus", surplus), ("unclear", unclear)):
        yield from (f"{who}: {word}: {text}" for text in texts)


# Words


def _own(one: Needing) -> list[Right]:
    return [right for part in one.parts for right in part.rights.all]


def _account(one: Needing) -> str:
    if one.named:
        return one.account.name
    return f"({one.account.name})" if one.asks else "-"


def _holder(one: Holder) -> str:
    return f"service account {one.account.namespace}/{one.account.name}"


def _right(right: Right) -> dict[str, str]:
    return {
        "verb": right.verb,
        "group": right.group,
        "resource": right.resource,
        "namespace": right.namespace,
        "name": right.name,
    }


def _may(rights: Iterable[Right]) -> Iterator[str]:
    """``create workflows.argoproj.io in argo-events``"""
    verbs: dict[tuple[str, str, str], list[str]] = {}
    for right in dict.fromkeys(rights):
        verbs.setdefault((right.what, right.namespace, right.name), []).append(right.verb)
    for (what, namespace, name), words in verbs.items():
        named = f" '{name}'" if name else ""
        yield f"{', '.join(words)} {what}{named} in {namespace if namespace != EVERYWHERE else 'all namespaces'}"


def _user(one: Permission) -> str:
    return one.user or f"(of Secret {one.secret})"


def _vhost(one: Permission) -> str:
    return one.vhost or f"(of Secret {one.secret})"


def _command(one: Permission) -> str:
    user = shlex.quote(one.user) if one.user else f"USER_OF_SECRET_{one.secret}"
    vhost = shlex.quote(one.vhost) if one.vhost else f"VHOST_OF_SECRET_{one.secret}"
    patterns = " ".join(f"'{text}'" if "'" not in text else shlex.quote(text) for text in one.patterns().values())
    return f"rabbitmqctl set_permissions -p {vhost} {user} {patterns}"
