"""What a move from Argo Events to Argosy means for each object of a set, and for what runs: nothing is asked or changed here.

Four things are put together: what ``argosy lint`` refuses, the rows of ``changes``, the rights that service accounts lack, and what Argo
Events' controller has made (where a cluster was asked).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from argosy.kubernetes.granted import by_manifests
from argosy.kubernetes.install.changes import CHANGES
from argosy.kubernetes.names import ours
from argosy.kubernetes.rbac import Holder, plan
from argosy.kubernetes.rights import EVERYWHERE
from argosy.manifests.bundle import Bundle
from argosy.manifests.checks._needs import kinds_of

Object = Mapping[str, Any]
Weight = Literal["refused", "act", "changes"]
KINDS = ("EventBus", "EventSource", "Sensor")
_LINTED = ("dropped-field", "field-case")
"""Warnings of lint that tell of a difference."""
_GRANTS = {"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}
_POD_LABELS = ("eventsource-controller", "sensor-controller")
WEBHOOK = "webhook.argo-events.argoproj.io"
"""The ValidatingWebhookConfiguration that Argo Events' webhook makes."""


@dataclass(frozen=True)
class Point:
    """One thing to know or to do. ``weight`` says which: ``refused`` does not run, ``act`` wants something before the switch."""

    code: str
    weight: Weight
    text: str
    paths: tuple[str, ...] = ()


@dataclass
class Moved:
    """An object and what is to be said of it."""

    kind: str
    namespace: str
    name: str
    left: bool = False
    """Whether it is annotated so that Argosy leaves it alone."""
    points: list[Point] = field(default_factory=list)

    @property
    def title(self) -> str:
        """``Sensor shop/orders``"""
        return f"{self.kind} {self.namespace}/{self.name}"


@dataclass
class Report:
    """Everything that is to be said. ``cluster`` is about what runs, and not about one object."""

    objects: list[Moved]
    cluster: list[Point] = field(default_factory=list)

    @property
    def weights(self) -> dict[Weight, int]:
        """How many points of each weight there are."""
        points = [*self.cluster, *(point for one in self.objects for point in one.points)]
        every: tuple[Weight, ...] = ("refused", "act", "changes")
        return {weight: sum(point.weight == weight for point in points) for weight in every}


def report(objects: Iterable[Object], bundle: Bundle, running: Iterable[Object] = (), *, live: bool = False) -> Report:
    """The report on ``objects``, as they were written; ``bundle`` is what was read of them. ``running`` are Deployments, StatefulSets and
    ValidatingWebhookConfigurations of the cluster; ``live`` says that it was asked, so that what is not there is nowhere.
    """
    found = [_moved(one, bundle) for one in objects if one.get("kind") in KINDS]
    found.sort(key=lambda one: (one.namespace, KINDS.index(one.kind), one.name))
    by_title = {one.title: one for one in found}
    running = list(running)
    for title, point in _rights(bundle, live=live):
        if title in by_title:
            by_title[title].points.append(point)
    for title, point in _made(running):
        if title in by_title:
            by_title[title].points.append(point)
    return Report(found, list(_around(running)))


def _moved(one: Object, bundle: Bundle) -> Moved:
    about = one.get("metadata") or {}
    moved = Moved(
        str(one["kind"]), str(about.get("namespace") or "default"), str(about.get("name") or ""), not ours(about)
    )
    for finding in bundle.findings:
        if finding.object == moved.title and (finding.severity == "error" or finding.code in _LINTED):
            weight: Weight = "refused" if finding.severity == "error" else "changes"
            moved.points.append(Point(finding.code, weight, finding.message, (finding.path,) if finding.path else ()))
    spec = one.get("spec")
    moved.points += _changes(moved.kind, spec) if isinstance(spec, Mapping) else []
    return moved


def _changes(kind: str, spec: Object) -> Iterator[Point]:
    blocks = list(_blocks(kind, spec))
    for change in CHANGES:
        paths = tuple(path for where, path, block in blocks if where == change.where and change.when(block))
        if paths:
            yield Point(change.code, change.weight, change.text, paths)


def _blocks(kind: str, spec: Object) -> Iterator[tuple[str, str, Object]]:
    """The blocks that rows may concern: which, where, and what stands there."""
    yield kind, "spec", spec
    if kind == "EventBus":
        return
    yield "template", "spec", spec
    if kind == "EventSource":
        for source, events in spec.items():
            for event, block in events.items() if isinstance(events, Mapping) else ():
                if isinstance(block, Mapping):
                    yield f"source {source}", f"spec.{source}.{event}", block
        return
    triggers = spec.get("triggers")
    for place, trigger in enumerate(triggers) if isinstance(triggers, list) else ():
        yield from _of_trigger(trigger, f"spec.triggers[{place}]")


def _of_trigger(trigger: Any, path: str) -> Iterator[tuple[str, str, Object]]:
    if not isinstance(trigger, Mapping):
        return
    yield "trigger", path, trigger
    template = trigger.get("template")
    for kind, block in template.items() if isinstance(template, Mapping) else ():
        if isinstance(block, Mapping):
            yield f"trigger {kind}", f"{path}.template.{kind}", block
            source = block.get("source")
            if isinstance(source, Mapping):
                yield "template-source", f"{path}.template.{kind}.source", source
    yield from _of_trigger(trigger.get("dlqTrigger"), f"{path}.dlqTrigger")


# Rights


def _rights(bundle: Bundle, *, live: bool) -> Iterator[tuple[str, Point]]:
    needed = plan(bundle, kinds_of(bundle))
    if live and not bundle.whole >= _GRANTS:
        return  # what could not be read may well be granted
    roles = live or any(one.kind.endswith("Role") for one in bundle.access)
    verdicts = by_manifests(needed.holders, bundle) if roles else []
    for holder, verdict in zip(needed.holders, verdicts, strict=False):
        lacking = ", ".join(
            f"{right.verb} {right.what}{f' in {right.namespace}' if right.namespace != EVERYWHERE else ''}"
            for right in verdict.missing
        )
        if lacking:
            text = f"the service account {holder.account.namespace}/{holder.account.name} may not {lacking}; 'argosy rbac' prints a role"
            for title in holder.objects:
                yield title, Point("rights-missing", "act", text)
    for holder in needed.holders if not roles else ():
        if text := _needs(holder):
            for title in holder.objects:
                yield title, Point("rights-needed", "changes", text)


def _needs(holder: Holder) -> str:
    verbs = ", ".join(sorted({f"{right.verb} {right.what}" for right in holder.rights.all}))
    account = f"{holder.account.namespace}/{holder.account.name}"
    return (
        f"the service account {account} needs: {verbs}; no roles are among these manifests to compare with"
        if verbs
        else ""
    )


# What runs


def _made(running: Iterable[Object]) -> Iterator[tuple[str, Point]]:
    """What Argo Events' controller made of an object."""
    for one in running:
        about = one["metadata"]
        labels = about.get("labels") or {}
        if labels.get("app.kubernetes.io/managed-by") == "argosy":
            continue
        owner = labels.get("owner-name") or ""
        if one["kind"] == "Deployment" and labels.get("controller") in _POD_LABELS:
            kind = "EventSource" if labels["controller"].startswith("eventsource") else "Sensor"
            ours_is = f"{owner}-{kind.lower()}"
            text = f"Deployment {about['name']} gives way to Deployment {ours_is}, and is removed once that works"
            yield f"{kind} {about.get('namespace')}/{owner}", Point("old-pods", "changes", text)
        if one["kind"] == "StatefulSet" and str(about["name"]).endswith("-stan"):
            text = f"StatefulSet {about['name']} and its volumes stay when the bus has become JetStream: remove them when nothing waits there"
            yield f"EventBus {about.get('namespace')}/{owner}", Point("old-bus", "act", text)


def _around(running: Iterable[Object]) -> Iterator[Point]:
    for one in running:
        about = one["metadata"]
        if one["kind"] == "Deployment" and (args := _of_upstream(one)) is not None:
            title = f"{about.get('namespace')}/{about['name']}"
            if not one.get("spec", {}).get("replicas", 1):
                continue
            scope = _scope(args, str(about.get("namespace")))
            yield Point(
                "upstream-controller",
                "act",
                f"Argo Events' controller {title} serves {scope} and knows no annotation that keeps it from an object: before Argosy takes"
                " objects over there, let it serve other namespaces only, or scale it to 0. The pods that it made go on without it",
            )
        if one["kind"] == "ValidatingWebhookConfiguration" and about["name"] == WEBHOOK:
            yield Point(
                "upstream-webhook",
                "act",
                f"Argo Events' webhook judges all objects: delete ValidatingWebhookConfiguration {WEBHOOK} with its Deployment when the"
                " last namespace has moved",
            )


def _of_upstream(deployment: Object) -> list[str] | None:
    """The words of Argo Events' controller, where this Deployment runs it."""
    for container in deployment.get("spec", {}).get("template", {}).get("spec", {}).get("containers") or ():
        args = [str(word) for word in container.get("args") or ()]
        named = any(one.get("name") == "ARGO_EVENTS_IMAGE" for one in container.get("env") or ())
        if (
            args[:1] == ["controller"]
            and named
            and not any(one.get("name") == "ARGOSY_IMAGE" for one in container.get("env") or ())
        ):
            return args
    return None


def _scope(args: list[str], own: str) -> str:
    if "--namespaced" not in args and "--namespaced=true" not in args:
        return "all namespaces"
    for place, word in enumerate(args):
        if word == "--managed-namespace" and place + 1 < len(args):
            return f"namespace {args[place + 1]}"
        if word.startswith("--managed-namespace="):
            return f"namespace {word.partition('=')[2]}"
    return f"namespace {own}"
