"""What the service accounts of a set of manifests need, and the roles that give just that.

The objects of a set are gathered by the account that they run as. An object that names none and needs something gets a
name proposed. Each account has one Role in every namespace where it needs something, a ClusterRole for what has no
namespace, and a policy that pins the WorkflowTemplates it may start, where all of them are known beforehand.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from argosy.kubernetes.kinds import Kinds
from argosy.kubernetes.pins import Pins, policy
from argosy.kubernetes.rights import EVERYWHERE, Account, Asking, BrokerRight, Right, Rights
from argosy.manifests.bundle import Bundle
from argosy.manifests.checks._needs import Part, parts
from argosy.manifests.checks._walk import each_trigger, mapping
from argosy.manifests.eventsource import EventSource
from argosy.manifests.sensor import Sensor

_API = "rbac.authorization.k8s.io"
_VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "impersonate")
_USER_SECRET = "-user-credentials"  # how RabbitMQ's topology operator calls the Secret of a User
NEEDED_BY = "argosy.dev/needed-by"
"""The annotation of a role that says which objects it is for."""
Object = dict[str, Any]


@dataclass
class Needing:
    """An EventSource or Sensor, and what its parts need."""

    one: Sensor | EventSource
    account: Account
    named: bool
    """Whether the manifest names the account; else it is proposed."""
    parts: list[Part]

    @property
    def title(self) -> str:
        """``Sensor shop/orders``"""
        return f"{self.one.kind} {self.one.metadata.namespace}/{self.one.metadata.name}"

    @property
    def asks(self) -> bool:
        """Whether it asks the Kubernetes API anything."""
        return any(not part.rights.nothing for part in self.parts)


@dataclass
class Holder:
    """A service account and all that it needs. ``acts_for`` are objects that only act in its name."""

    account: Account
    named: bool = True
    there: bool = False
    """Whether the set has the ServiceAccount already."""
    objects: list[str] = field(default_factory=list)
    rights: Rights = field(default_factory=Rights)
    pins: Pins = field(default_factory=Pins)

    @property
    def role(self) -> str:
        """The name of its roles. A namespace has no dot, so two accounts never share one."""
        return f"argosy.{self.account.namespace}.{self.account.name}"

    @property
    def places(self) -> dict[str, list[Right]]:
        """Its rights by namespace, without those that others cover."""
        found: dict[str, list[Right]] = defaultdict(list)
        every = set(self.rights.all)
        for right in sorted(every):
            wider = (replace(right, name=""), replace(right, namespace=EVERYWHERE))
            widest = replace(right, name="", namespace=EVERYWHERE)
            if not any(other != right and other in every for other in (*wider, widest)):
                found[right.namespace].append(right)
        return dict(sorted(found.items()))


@dataclass
class Permission:
    """What one user of RabbitMQ needs in one virtual host, of all events that are his."""

    namespace: str
    vhost: str
    user: str
    secret: str
    objects: list[str] = field(default_factory=list)
    configure: set[str] = field(default_factory=set)
    write: set[str] = field(default_factory=set)
    read: set[str] = field(default_factory=set)
    cluster: Object = field(default_factory=dict)
    """Which cluster of RabbitMQ, where its topology operator knows the user."""
    name: str = ""
    """The Permission object of the set that is about it."""
    granted: dict[str, str] | None = None
    """What that object gives."""

    def patterns(self) -> dict[str, str]:
        """The three regular expressions, in the order in which ``rabbitmqctl set_permissions`` takes them."""
        return {verb: _pattern(getattr(self, verb)) for verb in ("configure", "write", "read")}


@dataclass
class Plan:
    """All that a set of manifests needs."""

    objects: list[Needing]
    holders: list[Holder]
    permissions: list[Permission]
    kinds: Kinds


def plan(bundle: Bundle, kinds: Kinds) -> Plan:
    """What the set's EventSources and Sensors need; sorted, and the same for the same set."""
    found: list[Sensor | EventSource] = [*bundle.event_sources, *bundle.sensors]
    found.sort(key=lambda one: (one.metadata.namespace, one.kind, one.metadata.name))
    objects = [_needing(one, kinds) for one in found]
    return Plan(objects, _holders(bundle, objects, kinds), _permissions(bundle, objects), kinds)


def _needing(one: Sensor | EventSource, kinds: Kinds) -> Needing:
    name = mapping(one.spec.template).get("serviceAccountName")
    named = isinstance(name, str) and bool(name)
    account = str(name) if named else f"{one.metadata.name}-{one.kind.lower()}"
    return Needing(one, Account(one.metadata.namespace, account), named, list(parts(one, kinds)))


def _holders(bundle: Bundle, objects: list[Needing], kinds: Kinds) -> list[Holder]:
    there = {
        Account(one.metadata.namespace, one.metadata.name) for one in bundle.access if one.kind == "ServiceAccount"
    }
    found: dict[Account, Holder] = {}

    def holder(account: Account, needing: Needing, named: bool) -> Holder:
        one = found.setdefault(account, Holder(account, named, account in there))
        if needing.title not in one.objects:
            one.objects.append(needing.title)
        return one

    for needing in objects:
        if needing.named or needing.asks:
            own = holder(needing.account, needing, needing.named)
            for part in needing.parts:
                own.rights.add(_told(replace(part.rights, acting={}, broker=[]), part))
        for part in needing.parts:
            for name, rights in part.rights.acting.items():
                acting = holder(Account(needing.account.namespace, name), needing, True)
                acting.rights.add(_told(rights, part))
        if isinstance(needing.one, Sensor):
            for _, trigger in each_trigger(needing.one):
                name = getattr(trigger.config, "service_account_name", "")
                account = Account(needing.account.namespace, name) if name else needing.account
                if account in found:
                    found[account].pins.take(trigger, Asking(needing.account.namespace, kinds))
    return sorted(found.values(), key=lambda one: one.account)


def _told(rights: Rights, part: Part) -> Rights:
    return replace(rights, unknown=[f"{part.what}: {reason}" for reason in rights.unknown])


def _permissions(bundle: Bundle, objects: list[Needing]) -> list[Permission]:
    found: dict[tuple[str, str, str, str], Permission] = {}
    for needing in objects:
        space = needing.one.metadata.namespace
        for part in needing.parts:
            for right in part.rights.broker:
                key = (space, right.vhost, right.user, right.secret)
                one = found.setdefault(key, Permission(*key))
                one.objects.append(f"{needing.title} {part.what}")
                _merge(one, right)
    for one in found.values():
        _known(one, bundle)
    return [found[key] for key in sorted(found)]


def _known(permission: Permission, bundle: Bundle) -> None:
    """What the objects of RabbitMQ's topology operator tell of the user and of what is granted."""
    for one in bundle.broker_access:
        name, spec = one.metadata.name, mapping(one.raw, "spec")
        if one.metadata.namespace != permission.namespace:
            continue
        if one.kind == "User" and permission.secret == name + _USER_SECRET:
            permission.user, permission.cluster = name, mapping(spec, "rabbitmqClusterReference")
    for one in bundle.broker_access:
        spec = mapping(one.raw, "spec")
        holder = spec.get("user") or mapping(spec, "userReference").get("name")
        if (
            one.kind == "Permission"
            and (one.metadata.namespace, spec.get("vhost")) == (permission.namespace, permission.vhost)
            and holder == permission.user
        ):
            permission.name = one.metadata.name
            permission.granted = {verb: str(text) for verb, text in mapping(spec, "permissions").items()}


def _merge(one: Permission, right: BrokerRight) -> None:
    one.configure |= right.configure
    one.write |= right.write
    one.read |= right.read


def _pattern(names: set[str]) -> str:
    return f"^({'|'.join(sorted(names))})$" if names else "^$"


# The objects


def manifests(plan: Plan) -> Iterator[Object]:
    """What gives each account what it needs, in an order in which it can be applied."""
    for holder in plan.holders:
        if holder.rights.all:
            yield from _of(holder)
    for permission in plan.permissions:
        if permission.cluster and permission.vhost:
            yield _operated(permission)


def _of(holder: Holder) -> Iterator[Object]:
    account = holder.account
    if not holder.there:
        place = {"name": account.name, "namespace": account.namespace}
        yield {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": place}
    notes = {NEEDED_BY: ", ".join(holder.objects)}
    for namespace, rights in holder.places.items():
        kind, where = ("ClusterRole", {}) if namespace == EVERYWHERE else ("Role", {"namespace": namespace})
        metadata = {"name": holder.role, **where, "annotations": notes}
        yield {"apiVersion": f"{_API}/v1", "kind": kind, "metadata": metadata, "rules": rules(rights)}
        yield {
            "apiVersion": f"{_API}/v1",
            "kind": f"{kind}Binding",
            "metadata": metadata,
            "roleRef": {"apiGroup": _API, "kind": kind, "name": holder.role},
            "subjects": [{"kind": "ServiceAccount", "name": account.name, "namespace": account.namespace}],
        }
    if holder.pins.whole:
        yield from policy(holder.role, account.user, holder.pins)


def rules(rights: Iterable[Right]) -> list[Object]:
    """The rules of a role: one for each resource, and one more for each set of verbs that are bound to names."""
    verbs: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for right in rights:
        verbs[right.group, right.resource, right.name].add(right.verb)
    alike: dict[tuple[str, str, bool, tuple[str, ...]], set[str]] = defaultdict(set)
    for (group, resource, name), words in verbs.items():
        alike[group, resource, bool(name), tuple(sorted(words, key=_VERBS.index))].add(name)
    return [
        {
            "apiGroups": [group],
            "resources": [resource],
            **({"resourceNames": sorted(names)} if bound else {}),
            "verbs": list(words),
        }
        for (group, resource, bound, words), names in sorted(alike.items())
    ]


def _operated(permission: Permission) -> Object:
    """The permission in the words of RabbitMQ's topology operator."""
    return {
        "apiVersion": "rabbitmq.com/v1beta1",
        "kind": "Permission",
        "metadata": {"name": permission.name or permission.user, "namespace": permission.namespace},
        "spec": {
            "vhost": permission.vhost,
            "userReference": {"name": permission.user},
            "permissions": permission.patterns(),
            "rabbitmqClusterReference": permission.cluster,
        },
    }
