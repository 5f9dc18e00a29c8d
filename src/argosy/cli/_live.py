"""What ``argosy lint --live`` reads of a cluster: the objects of ours in some namespaces, and what they refer to.

What the kubeconfig's user may not read is left out, and said: then fewer things are known, and a finding may be about one that is there.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import quote

from argosy.cli._apiserver import Server, Status
from argosy.cli._client import SECONDS
from argosy.kubernetes.names import GROUP_VERSION
from argosy.manifests.bundle import LIVE, Bundle, Finding, load
from argosy.manifests.checks._walk import each_trigger, held_object, mapping

_DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
"""All kinds in one answer (Kubernetes documentation, "Aggregated discovery")."""
_RBAC = "rbac.authorization.k8s.io/v1"


class _Wanted(NamedTuple):
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    fields: str = ""
    part: bool = False
    """Whether it is part of what the check needs of every namespace that objects are made in."""


_OURS = (
    _Wanted(GROUP_VERSION, "eventbus", "EventBus"),
    _Wanted(GROUP_VERSION, "eventsources", "EventSource"),
    _Wanted(GROUP_VERSION, "sensors", "Sensor"),
)
_REFERRED = (
    # Helm keeps its releases in Secrets; nobody refers to them, and they are large.
    _Wanted("v1", "secrets", "Secret", fields="type!=helm.sh/release.v1"),
    _Wanted("v1", "configmaps", "ConfigMap"),
    _Wanted("v1", "serviceaccounts", "ServiceAccount"),
    _Wanted(_RBAC, "roles", "Role", part=True),
    _Wanted(_RBAC, "rolebindings", "RoleBinding", part=True),
    _Wanted(_RBAC, "clusterroles", "ClusterRole", namespaced=False),
    _Wanted(_RBAC, "clusterrolebindings", "ClusterRoleBinding", namespaced=False),
    _Wanted(GROUP_VERSION, "workflowtemplates", "WorkflowTemplate", part=True),
    _Wanted(GROUP_VERSION, "clusterworkflowtemplates", "ClusterWorkflowTemplate", namespaced=False),
    _Wanted("rabbitmq.com/v1beta1", "users", "User"),
    _Wanted("rabbitmq.com/v1beta1", "permissions", "Permission"),
)


@dataclass
class Judged:
    """Manifests together with what a cluster holds. ``notes`` are sentences about what could not be read."""

    bundle: Bundle
    findings: list[Finding]
    where: str
    notes: list[str] = field(default_factory=list)


def judged(paths: Sequence[str], context: str, namespace: str, *, everywhere: bool) -> Judged:
    """The findings of the files, each judged as if it were applied, and those that live objects get by it; without files, those of the
    live objects. Raises Refused where the cluster cannot be asked.
    """
    server = Server(context)
    namespace = namespace or server.namespace
    reading = _Reading(server)
    spaces = {namespace}
    said = sys.stdin.buffer.read() if "-" in paths else b""
    if paths:
        # What the files say decides which namespaces are looked into, and they are judged afterwards; standard input comes only once.
        alone = load(paths, stdin=io.BytesIO(said), namespace=namespace)
        spaces = {key.namespace for key in alone.origins if key.namespace}
        spaces |= _made_in(alone)
    live = list(reading.objects(None if everywhere and not paths else sorted(spaces)))
    bundle = load(paths, stdin=io.BytesIO(said), live=live, whole=reading.whole, namespace=namespace)
    findings = bundle.findings
    if paths:
        before = {_about(one) for one in load((), live=live, whole=reading.whole).findings}
        findings = [one for one in findings if not one.file.startswith(LIVE) or _about(one) not in before]
    where = "all namespaces" if everywhere and not paths else f"namespace {', '.join(sorted(spaces))}"
    return Judged(bundle, findings, where, reading.notes)


def _made_in(bundle: Bundle) -> set[str]:
    """The namespaces in which triggers make objects."""
    found = set()
    for sensor in bundle.sensors:
        for _, trigger in each_trigger(sensor):
            held = held_object(trigger)
            if held is not None and isinstance(space := mapping(held.body, "metadata").get("namespace"), str) and space:
                found.add(space)
    return found


def _about(finding: Finding) -> tuple[str, str, str, str]:
    return finding.code, finding.object, finding.path, finding.message


class _Reading:
    """What was read, and what could not be."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._unread: set[str] = set()
        self.notes: list[str] = []

    @property
    def whole(self) -> set[str]:
        """The kinds that were read completely."""
        return {one.kind for one in (*_OURS, *_REFERRED)} - self._unread

    def objects(self, spaces: Sequence[str] | None) -> Iterator[dict[str, Any]]:
        """What these namespaces hold, or all for None; and the kinds that the cluster serves."""
        served = self._served()
        if served is not None and "Sensor" not in {kind for group, kind in served if group == "argoproj.io"}:
            self.notes.append(
                "the cluster does not serve EventSource, EventBus and Sensor; 'argosy crds' prints their definitions"
            )
        first = [one for wanted in _OURS for one in self._each(wanted, spaces)]
        yield from first
        more = sorted(_made_in(load((), live=first)) - set(spaces)) if spaces is not None else []
        for wanted in _REFERRED:
            group = wanted.version.rpartition("/")[0]
            if group in ("argoproj.io", "rabbitmq.com") and (served is None or (group, wanted.kind) not in served):
                self._unread.add(wanted.kind)
                continue
            yield from self._each(wanted, spaces if not wanted.part or spaces is None else [*spaces, *more])
        for (group, kind), (plural, scope) in sorted((served or {}).items()):
            if group:
                yield _definition(group, kind, plural, scope)

    def _each(self, wanted: _Wanted, spaces: Sequence[str] | None) -> Iterator[dict[str, Any]]:
        root = f"/apis/{wanted.version}" if "/" in wanted.version else f"/api/{wanted.version}"
        places: Iterable[str] = spaces if wanted.namespaced and spaces is not None else [""]
        for space in places:
            inside = f"/namespaces/{quote(space, safe='')}" if space else ""
            try:
                for one in self._server.items(f"{root}{inside}/{wanted.plural}", fields=wanted.fields):
                    if wanted.kind == "Secret":
                        one["data"] = dict.fromkeys(
                            one.get("data") or (), ""
                        )  # which keys there are is all that counts
                    yield {"apiVersion": wanted.version, "kind": wanted.kind, **one}
            except Status as status:
                if status.code == 404:
                    continue
                where = f" of namespace '{space}'" if space else ""
                why = "may not be read" if status.code == 403 else f"cannot be read ({status})"
                self.notes.append(
                    f"{wanted.kind} objects{where} {why}: what concerns them is judged by the files alone"
                )

    def _served(self) -> dict[tuple[str, str], tuple[str, str]] | None:
        """Plural and scope of every kind, by group and kind; None where the cluster does not tell."""
        found: dict[tuple[str, str], tuple[str, str]] = {}
        for root in ("/apis", "/api"):
            connection, answer = self._server.send("GET", root, None, {"Accept": _DISCOVERY}, SECONDS)
            try:
                told = json.loads(answer.read())
            except (OSError, ValueError):
                told = {}
            finally:
                connection.close()
            if told.get("kind") != "APIGroupDiscoveryList":
                self.notes.append("which kinds the cluster serves cannot be asked of it: plurals may be guessed")
                return None
            for group in told.get("items") or ():
                for version in group.get("versions") or ():
                    for one in version.get("resources") or ():
                        kind = (one.get("responseKind") or {}).get("kind") or ""
                        place = (group["metadata"].get("name") or "", kind)
                        found.setdefault(place, (one["resource"], one.get("scope") or ""))
        return found


def _definition(group: str, kind: str, plural: str, scope: str) -> dict[str, Any]:
    """The part of a CustomResourceDefinition that checks look at: how the kind is spelt."""
    spec = {"group": group, "names": {"kind": kind, "plural": plural}, "scope": scope}
    about = {"name": f"{plural}.{group}"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": about,
        "spec": spec,
    }
