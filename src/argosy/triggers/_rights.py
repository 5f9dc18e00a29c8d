"""What an object that a trigger holds in its manifest tells beforehand of the rights that it takes: kind, namespace, name.

An object that comes from elsewhere (git, a URL), or whose kind or namespace an event decides, tells nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from argosy.kubernetes.rights import EVERYWHERE, Asking, Right, Rights
from argosy.manifests._yaml import Fault, documents
from argosy.manifests.artifacts import ArtifactLocation

if TYPE_CHECKING:
    from argosy.triggers._objects import ObjectConfig

_DECIDES = re.compile(r"^(|kind|apiVersion|metadata|metadata\.namespace)$")
"""Parameters to these places make the event decide what the action is about."""
_NAMES = re.compile(r"^(metadata\.name|metadata\.generateName)$")


def held(source: ArtifactLocation) -> tuple[str, dict[str, Any]] | None:
    """The object in the manifest and the field that it stands in, ``inline`` or ``resource``; None if it comes from elsewhere."""
    if source.s3:
        return None
    if source.inline:
        read = list(documents(source.inline))
        if len(read) == 1 and not isinstance(read[0], Fault) and isinstance(read[0].value, dict):
            return "inline", read[0].value
        return None
    if source.file or source.url or source.git or source.configmap or source.resource is None:
        return None
    return "resource", source.resource


class About(NamedTuple):
    """What an action is about. ``namespace`` is ``EVERYWHERE`` for kinds that live in none, ``name`` empty where the
    event or the server gives it.
    """

    group: str
    kind: str
    plural: str
    namespace: str
    name: str
    body: dict[str, Any]

    def right(self, verb: str, *, named: bool = True) -> Right:
        """One verb on it; ``named`` for those that Kubernetes can bind to the name."""
        return Right(verb, self.group, self.plural, self.namespace, self.name if named else "")


def about(config: ObjectConfig, asking: Asking) -> About | str:
    """What the trigger is about, or why the manifest does not tell, as a clause."""
    found = held(config.source)
    if found is None:
        return "its object does not stand in the manifest"
    _, body = found
    dests = [parameter.dest for parameter in config.parameters]
    if deciding := next((dest for dest in dests if _DECIDES.match(dest)), None):
        return f"an event decides what it is about: a parameter writes to {deciding or 'the whole object'!r}"
    kind, version, metadata = body.get("kind"), body.get("apiVersion"), body.get("metadata") or {}
    if not isinstance(kind, str) or not isinstance(version, str) or not isinstance(metadata, dict):
        return "its object has no kind or no apiVersion"
    group = version.rpartition("/")[0]
    served = asking.kinds.served(group, kind)
    space = metadata.get("namespace") or asking.namespace
    if not isinstance(space, str):
        return "its object's namespace is no text"
    name = metadata.get("name")
    fixed = isinstance(name, str) and not any(_NAMES.match(dest) for dest in dests)
    where = space if served.namespaced else EVERYWHERE
    return About(group, kind, served.plural, where, str(name) if fixed else "", body)


def made(what: About) -> Rights:
    """What creating an object takes. One of a fixed name may be there already, from an earlier try of the same action;
    that is looked up.
    """
    again = [what.right("get")] if what.name else []
    return Rights([what.right("create", named=False)], again)


def acted(rights: Rights, config: ObjectConfig, asking: Asking) -> Rights:
    """The rights as ``serviceAccountName`` shares them out: the account acts, the sensor's own may act in its name."""
    account = config.service_account_name
    if not account:
        return rights
    impersonates = Right("impersonate", "", "serviceaccounts", asking.namespace, account)
    return Rights([impersonates], acting={account: rights})
