"""Who may do what, as the ServiceAccounts, Roles and bindings of a set of manifests say.

What they leave open (a role that is not in the set, an aggregated one) makes an account's rights unknown, and
then nothing is claimed about them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from argosy.manifests._bundle import AccessObject, Bundle, Key
from argosy.manifests.checks._walk import mapping
from argosy.manifests.findings import Loc

EVERYWHERE = ""
"""The namespace of rights that hold in the whole cluster."""


class Account(NamedTuple):
    """A ServiceAccount's name."""

    namespace: str
    name: str


@dataclass(frozen=True)
class Right:
    """One verb on the objects of one resource (plural, without the API's version) in one namespace."""

    verb: str
    group: str
    resource: str
    namespace: str

    @property
    def what(self) -> str:
        """``workflows.argoproj.io``"""
        return f"{self.resource}.{self.group}" if self.group else self.resource


def same_resource(one: str, other: str) -> bool:
    """Whether two plurals are of one kind; how a kind forms its own is known to the cluster alone."""
    return one == other or _PLURAL.sub("", one) == _PLURAL.sub("", other)


_PLURAL = re.compile(r"(ies|es|s|y)$")


@dataclass(frozen=True)
class Rule:
    """One rule of a role. ``loc`` is its place in the role's object."""

    groups: frozenset[str]
    resources: frozenset[str]
    verbs: frozenset[str]
    loc: Loc

    def covers(self, right: Right) -> bool:
        """Whether the rule gives the right; rules for single names count, too."""
        return (
            bool({right.verb, "*"} & self.verbs)
            and bool({right.group, "*"} & self.groups)
            and ("*" in self.resources or any(same_resource(right.resource, one) for one in self.resources))
        )


@dataclass(frozen=True)
class Role:
    """A Role or ClusterRole of the set. ``rules`` is None where they are made elsewhere."""

    key: Key
    rules: tuple[Rule, ...] | None


@dataclass
class Grant:
    """A role that an account has through one binding, in one namespace or everywhere."""

    role: Role | None
    namespace: str


@dataclass
class Grants:
    """The rights that a bundle hands out."""

    bundle: Bundle
    accounts: set[Account] = field(default_factory=set)
    """The ServiceAccounts that are in the set."""

    def __post_init__(self) -> None:
        for one in self.bundle.access:
            if one.kind == "ServiceAccount":
                self.accounts.add(Account(one.metadata.namespace, one.metadata.name))

    @cached_property
    def _roles(self) -> dict[Key, Role]:
        found: dict[Key, Role] = {}
        for one in self.bundle.access:
            if one.kind in ("Role", "ClusterRole"):
                key = Key(one.kind, one.metadata.namespace if one.kind == "Role" else "", one.metadata.name)
                found[key] = Role(key, None if one.raw.get("aggregationRule") else tuple(_rules(one)))
        return found

    @cached_property
    def bindings(self) -> list[tuple[AccessObject, Grant]]:
        """Every binding with what it hands out."""
        found = []
        for one in self.bundle.access:
            if one.kind in ("RoleBinding", "ClusterRoleBinding"):
                reference = mapping(one.raw, "roleRef")
                cluster = reference.get("kind") == "ClusterRole"
                key = Key(
                    "ClusterRole" if cluster else "Role",
                    "" if cluster else one.metadata.namespace,
                    str(reference.get("name")),
                )
                where = one.metadata.namespace if one.kind == "RoleBinding" else EVERYWHERE
                found.append((one, Grant(self._roles.get(key), where)))
        return found

    def of(self, account: Account) -> list[Grant]:
        """Everything that the account is given."""
        return [grant for binding, grant in self.bindings if _names(binding, account)]

    def holders(self, role: Role) -> set[Account] | None:
        """The accounts that have the role; None where others than single ServiceAccounts may have it."""
        found: set[Account] = set()
        for binding, grant in self.bindings:
            if grant.role is not role:
                continue
            for subject in _subjects(binding):
                if subject.get("kind") != "ServiceAccount":
                    return None
                found.add(
                    Account(str(subject.get("namespace") or binding.metadata.namespace), str(subject.get("name")))
                )
        return found

    def known(self, account: Account) -> bool:
        """Whether the set says what the account may do, as far as one can tell: a binding names it, and every
        role that it has is there.
        """
        given = self.of(account)
        named = any(_names(binding, account, alone=True) for binding, _ in self.bindings)
        return named and all(grant.role is not None and grant.role.rules is not None for grant in given)

    def allows(self, account: Account, right: Right) -> bool:
        """Whether one of the account's roles gives the right where it is needed."""
        return any(
            grant.namespace in (EVERYWHERE, right.namespace)
            and grant.role is not None
            and any(rule.covers(right) for rule in grant.role.rules or ())
            for grant in self.of(account)
        )


def _rules(role: AccessObject) -> Iterator[Rule]:
    entries = role.raw.get("rules")
    for index, entry in enumerate(entries if isinstance(entries, list) else ()):
        if isinstance(entry, dict) and entry.get("resources"):
            yield Rule(
                _words(entry.get("apiGroups")),
                _words(entry.get("resources")),
                _words(entry.get("verbs")),
                ("rules", index),
            )


def _words(value: Any) -> frozenset[str]:
    return frozenset(str(word) for word in value) if isinstance(value, list) else frozenset()


def _subjects(binding: AccessObject) -> Iterator[dict[str, Any]]:
    entries = binding.raw.get("subjects")
    yield from (entry for entry in (entries if isinstance(entries, list) else ()) if isinstance(entry, dict))


def _names(binding: AccessObject, account: Account, *, alone: bool = False) -> bool:
    """Whether the binding is for the account; with ``alone`` not as one of a group."""
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{account.namespace}", "system:authenticated")
    user = f"system:serviceaccount:{account.namespace}:{account.name}"
    for subject in _subjects(binding):
        kind, name = subject.get("kind"), subject.get("name")
        # Kubernetes wants the namespace; tools that write it in (kustomize) leave it out before.
        space = subject.get("namespace") or binding.metadata.namespace
        if (
            (kind == "ServiceAccount" and (space, name) == account)
            or (kind == "User" and name == user)
            or (kind == "Group" and not alone and name in groups)
        ):
            return True
    return False
