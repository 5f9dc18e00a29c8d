"""Who may do what, as the ServiceAccounts, Roles and bindings of a set of manifests say.

What they leave open (a role that is not in the set, an aggregated one) makes an account's rights unknown, and
then nothing is claimed about them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from argosy.kubernetes.rights import EVERYWHERE, Account, Right
from argosy.manifests._bundle import AccessObject, Bundle, Key
from argosy.manifests.checks._walk import mapping, says_namespace
from argosy.manifests.findings import Loc


def same_resource(one: str, other: str) -> bool:
    """Whether two plurals are of one kind; how a kind forms its own is known to the cluster alone."""
    return one == other or _PLURAL.sub("", one) == _PLURAL.sub("", other)


_PLURAL = re.compile(r"(ies|es|s|y)$")


@dataclass(frozen=True)
class Rule:
    """One rule of a role. ``names`` binds it to single objects where there are any. ``loc`` is its place in the role's object."""

    groups: frozenset[str]
    resources: frozenset[str]
    verbs: frozenset[str]
    names: frozenset[str]
    loc: Loc

    def covers(self, right: Right) -> bool:
        """Whether the rule gives the right. One for single names may give a right whose name the event decides."""
        return (
            (not self.names or not right.name or right.name in self.names)
            and bool({right.verb, "*"} & self.verbs)
            and bool({right.group, "*"} & self.groups)
            and ("*" in self.resources or any(same_resource(right.resource, one) for one in self.resources))
        )


@dataclass(frozen=True)
class Role:
    """A Role or ClusterRole of the set. ``rules`` is None where they are made elsewhere."""

    key: Key
    rules: tuple[Rule, ...] | None


@dataclass(frozen=True)
class Grant:
    """A role that a binding hands out, in one namespace or everywhere. ``role`` is None if it is not in the set."""

    role: Role | None
    namespace: str
    subjects: tuple[str, ...]
    """Whom to, as the API server names users and groups."""


class Grants:
    """The rights that a bundle hands out."""

    def __init__(self, bundle: Bundle) -> None:
        self.accounts = {Account(*_place(one)) for one in bundle.access if one.kind == "ServiceAccount"}
        """The ServiceAccounts that are in the set."""
        self.empty = not bundle.access
        self.placed = {says_namespace(one.raw) for one in bundle.access if not one.kind.startswith("Cluster")}
        """Whether these objects name their namespaces; both where some do and some do not."""
        roles = {(one.kind, *_place(one)): _role(one) for one in bundle.access if one.kind in ("Role", "ClusterRole")}
        self._grants = [
            _grant(one, roles) for one in bundle.access if one.kind in ("RoleBinding", "ClusterRoleBinding")
        ]
        self._of: dict[str, list[Grant]] = defaultdict(list)
        self._holders: dict[Key, set[str]] = defaultdict(set)
        for grant in self._grants:
            for subject in grant.subjects:
                self._of[subject].append(grant)
            if grant.role:
                self._holders[grant.role.key].update(grant.subjects)

    @property
    def binds(self) -> bool:
        """Whether there is any binding in the set."""
        return bool(self._grants)

    def of(self, account: Account) -> list[Grant]:
        """Everything that the account is given, by its own name or as one of a group."""
        everyone = ("system:serviceaccounts", f"system:serviceaccounts:{account.namespace}", "system:authenticated")
        return [grant for subject in (account.user, *everyone) for grant in self._of.get(subject, ())]

    def holders(self, role: Role) -> set[str]:
        """Who has the role, as ``Grant.subjects``."""
        return self._holders.get(role.key, set())

    def known(self, account: Account) -> bool:
        """Whether the set says what the account may do, as far as one can tell: a binding names it, and every
        role that it has is there.
        """
        return account.user in self._of and all(
            grant.role is not None and grant.role.rules is not None for grant in self.of(account)
        )

    def allows(self, account: Account, right: Right) -> bool:
        """Whether one of the account's roles gives the right where it is needed."""
        return any(
            grant.namespace in (EVERYWHERE, right.namespace)
            and grant.role is not None
            and any(rule.covers(right) for rule in grant.role.rules or ())
            for grant in self.of(account)
        )


def _place(one: AccessObject) -> tuple[str, str]:
    return ("" if one.kind.startswith("Cluster") else one.metadata.namespace), one.metadata.name


def _role(one: AccessObject) -> Role:
    entries = one.raw.get("rules")
    rules = [
        Rule(
            _words(entry, "apiGroups"),
            _words(entry, "resources"),
            _words(entry, "verbs"),
            _words(entry, "resourceNames"),
            ("rules", index),
        )
        for index, entry in enumerate(entries if isinstance(entries, list) else ())
        if isinstance(entry, dict) and entry.get("resources")
    ]
    return Role(Key(one.kind, *_place(one)), None if one.raw.get("aggregationRule") else tuple(rules))


def _words(entry: dict[str, Any], name: str) -> frozenset[str]:
    value = entry.get(name)
    return frozenset(str(word) for word in value) if isinstance(value, list) else frozenset()


def _grant(binding: AccessObject, roles: dict[tuple[str, str, str], Role]) -> Grant:
    reference = mapping(binding.raw, "roleRef")
    kind, name = reference.get("kind"), str(reference.get("name"))
    key = ("ClusterRole", "", name) if kind == "ClusterRole" else ("Role", binding.metadata.namespace, name)
    entries = binding.raw.get("subjects")
    subjects = [
        _subject(one, binding) for one in (entries if isinstance(entries, list) else ()) if isinstance(one, dict)
    ]
    where = binding.metadata.namespace if binding.kind == "RoleBinding" else EVERYWHERE
    return Grant(roles.get(key), where, tuple(subjects))


def _subject(subject: dict[str, Any], binding: AccessObject) -> str:
    name = str(subject.get("name"))
    if subject.get("kind") != "ServiceAccount":
        return name
    # Kubernetes wants the namespace; tools that write it in (kustomize) leave it out before.
    return Account(str(subject.get("namespace") or binding.metadata.namespace), name).user
