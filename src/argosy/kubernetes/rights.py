"""What a plug-in has to be allowed: verbs in the Kubernetes API, and permissions of a user of RabbitMQ.

Triggers and sources say it of their block of a manifest (``Trigger.rights``, ``Source.rights``). ``argosy rbac`` makes
roles of it, ``argosy lint`` compares it with the roles that stand beside the manifests. Nothing here asks a cluster.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from argosy.kubernetes.kinds import Kinds
from argosy.manifests.fields import K8sPolicy

EVERYWHERE = ""
"""The namespace of rights that hold in the whole cluster."""
DEFAULT_ACCOUNT = "default"
"""The service account of pods that name none; every namespace has it."""


class Account(NamedTuple):
    """A ServiceAccount's name."""

    namespace: str
    name: str

    @property
    def user(self) -> str:
        """The account as the API server names it."""
        return f"system:serviceaccount:{self.namespace}:{self.name}"


def account_of(namespace: str, template: Mapping[str, Any] | None) -> Account:
    """The account that an object's ``spec.template`` names, else the one that its pods would have without a word."""
    named = (template or {}).get("serviceAccountName")
    return Account(namespace, named if isinstance(named, str) and named else DEFAULT_ACCOUNT)


@dataclass(frozen=True, order=True)
class Right:
    """One verb on the objects of one resource (plural, without the API's version) in one namespace.

    ``name`` is the one object that it is about; empty where that is not known before there is an event, and for
    verbs that Kubernetes cannot bind to a name (create, list).
    """

    verb: str
    group: str
    resource: str
    namespace: str
    name: str = ""

    @property
    def what(self) -> str:
        """``workflows.argoproj.io``"""
        return f"{self.resource}.{self.group}" if self.group else self.resource


@dataclass(frozen=True)
class BrokerRight:
    """What a user of RabbitMQ does in one virtual host: the exchanges and queues (regular expressions of their names)
    that it makes, those it writes to, and those it reads from.
    """

    vhost: str
    user: str
    """Empty where a Secret holds it."""
    secret: str
    """The Secret that holds the user's name; empty where the manifest says it."""
    configure: frozenset[str]
    write: frozenset[str]
    read: frozenset[str]


@dataclass
class Rights:
    """What one block of a manifest needs.

    Without ``required`` it fails for certain, without ``sometimes`` it fails where the cluster is in some state: the
    object is not there yet, or an earlier try has made it already. A role gives both.
    """

    required: list[Right] = field(default_factory=list)
    sometimes: list[Right] = field(default_factory=list)
    acting: dict[str, Rights] = field(default_factory=dict)
    """What other service accounts of the same namespace need, in whose name it acts."""
    broker: list[BrokerRight] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    """Why not everything can be told from the manifest, as clauses."""

    @property
    def all(self) -> list[Right]:
        """What a role has to give."""
        return [*self.required, *self.sometimes]

    @property
    def nothing(self) -> bool:
        """Whether the Kubernetes API is not asked at all."""
        return not (self.required or self.sometimes or self.acting or self.unknown)

    def add(self, more: Rights) -> None:
        """Take ``more`` in."""
        self.required += more.required
        self.sometimes += more.sometimes
        self.broker += more.broker
        self.unknown += more.unknown
        for account, rights in more.acting.items():
            self.acting.setdefault(account, Rights()).add(rights)


class Asking(NamedTuple):
    """What a plug-in is told of the object around its block. ``namespace`` is that object's."""

    namespace: str
    kinds: Kinds
    policy: K8sPolicy | None = None
