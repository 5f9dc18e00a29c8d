"""Reads manifests from files, folders and standard input into a Bundle, with a place for every finding.

Every document is read for itself and every object is judged for itself: whatever is broken becomes a Finding,
and the rest is there. Folders are read recursively (``.yaml``, ``.yml``, ``.json``; hidden entries and
``*.test.yaml`` are left out). Lists are unpacked. Kinds that are not ours are counted and left alone, but for
those that ours refer to.
"""

from __future__ import annotations

import base64
import binascii
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from argosy.manifests._bundle import AccessObject, Bundle, Key, Origin, Values, WorkflowTemplate
from argosy.manifests._yaml import Fault, Node, documents
from argosy.manifests.crosscheck import crosscheck
from argosy.manifests.eventbus import EventBus, parse_event_bus
from argosy.manifests.eventsource import EventSource, declared_events, parse_event_source
from argosy.manifests.fields import Metadata
from argosy.manifests.findings import Finding, Problem, check, path_text
from argosy.manifests.sensor import Sensor, declared_by_emit, parse_sensor
from argosy.manifests.spelling import did_you_mean

MAX_FILE_BYTES = 16 * 1024 * 1024
"""Larger files are refused. (A cluster's API takes objects up to 1.5 MiB.)"""

LIVE = "cluster: "
"""What the file of an object of a cluster begins with."""

_SUFFIXES = (".yaml", ".yml", ".json")
_PARSERS = {"EventSource": parse_event_source, "EventBus": parse_event_bus, "Sensor": parse_sensor}
_GROUP = "argoproj.io/"

_ACCESS = {
    "ServiceAccount": "v1",
    "Role": "rbac.authorization.k8s.io/v1",
    "ClusterRole": "rbac.authorization.k8s.io/v1",
    "RoleBinding": "rbac.authorization.k8s.io/v1",
    "ClusterRoleBinding": "rbac.authorization.k8s.io/v1",
    "CustomResourceDefinition": "apiextensions.k8s.io/v1",
    "User": "rabbitmq.com/v1beta1",
    "Permission": "rabbitmq.com/v1beta1",
}
_OF_BROKER = ("User", "Permission")
_CLUSTER_WIDE = ("ClusterWorkflowTemplate", "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition")

_Object = EventSource | EventBus | Sensor | Values | WorkflowTemplate | AccessObject


def load(
    paths: Iterable[str | Path],
    *,
    stdin: BinaryIO | None = None,
    live: Iterable[dict[str, Any]] = (),
    whole: Iterable[str] = (),
    namespace: str = "",
) -> Bundle:
    """Everything that the files and folders say; ``-`` is standard input. Objects that name no namespace are of ``namespace``.

    ``live`` are objects of a cluster beside them; one that a file holds, too, is left out. The file of theirs is ``cluster: `` and their name.
    ``whole`` are the kinds of which the cluster holds no others.
    Never raises for what is in them or missing: that is a finding.
    """
    reader = _Reader(namespace, whole)
    for path in paths:
        if str(path) == "-":
            reader.text((stdin or sys.stdin.buffer).read(MAX_FILE_BYTES + 1), "<stdin>", named=True)
        elif Path(path).is_dir():
            for file in _files(Path(path)):
                reader.file(file, named=False)
        else:
            reader.file(Path(path), named=True)
    for value in live:
        reader.live(value)
    return reader.bundle()


def loads(text: str | bytes, file: str = "<text>") -> Bundle:
    """As ``load``, from a text."""
    reader = _Reader()
    reader.text(text if isinstance(text, bytes) else text.encode(), file, named=True)
    return reader.bundle()


def from_objects(objects: Iterable[dict[str, Any]]) -> Bundle:
    """As ``load``, from objects read elsewhere (a cluster's API); findings have no file and line then."""
    reader = _Reader()
    for value in objects:
        reader.document(value, Node(0, 0), "", named=True)
    return reader.bundle()


def _files(folder: Path) -> Iterator[Path]:
    seen: set[str] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        # A link may lead back up.
        real = os.path.realpath(place)
        folders[:] = [] if real in seen else sorted(name for name in folders if not name.startswith("."))
        if real in seen:
            continue
        seen.add(real)
        for name in sorted(names):
            if name.endswith(_SUFFIXES) and not name.startswith(".") and not name.endswith((".test.yaml", ".test.yml")):
                yield Path(place, name)


class _Reader:
    """Collects objects; of two with one name the later counts, as with ``kubectl apply``."""

    def __init__(self, namespace: str = "", whole: Iterable[str] = ()) -> None:
        self._namespace = namespace
        self._bundle = Bundle(whole=frozenset(whole))
        self._objects: dict[Key, _Object | None] = {}
        self._emitted: set[tuple[str, str, str]] = set()

    def bundle(self) -> Bundle:
        bundle = self._bundle
        for namespace, source, event in self._emitted:
            bundle.declared.setdefault((namespace, source), set()).add(event)
        self._fill(self._objects)
        wrong: set[Key] = set()
        for key, problem in crosscheck(bundle):
            self._say(placed(problem, bundle.origins[key], str(key)))
            if problem.severity == "error":
                wrong.add(key)
        self._fill({key: made for key, made in self._objects.items() if key not in wrong})
        order = {file: place for place, file in enumerate(bundle.files)}
        bundle.findings.sort(key=lambda one: (order.get(one.file, -1), one.line, one.column))
        return bundle

    def _fill(self, kept: dict[Key, _Object | None]) -> None:
        bundle, objects = self._bundle, kept.values()
        bundle.event_sources = [one for one in objects if isinstance(one, EventSource)]
        bundle.sensors = [one for one in objects if isinstance(one, Sensor)]
        bundle.event_buses = [one for one in objects if isinstance(one, EventBus)]
        bundle.workflow_templates = [one for one in objects if isinstance(one, WorkflowTemplate)]
        access = [one for one in objects if isinstance(one, AccessObject)]
        bundle.definitions = [one for one in access if one.kind == "CustomResourceDefinition"]
        bundle.broker_access = [one for one in access if one.kind in _OF_BROKER]
        bundle.access = [one for one in access if one.kind not in ("CustomResourceDefinition", *_OF_BROKER)]
        values = [(key, one) for key, one in kept.items() if isinstance(one, Values)]
        bundle.secrets = {(key.namespace, key.name): one for key, one in values if key.kind == "Secret"}
        bundle.config_maps = {(key.namespace, key.name): one for key, one in values if key.kind == "ConfigMap"}

    def file(self, path: Path, *, named: bool) -> None:
        try:
            with path.open("rb") as stream:
                content = stream.read(MAX_FILE_BYTES + 1)
        except FileNotFoundError:
            self._say(Finding("no-file", "error", "there is no such file or folder", str(path)))
            return
        except OSError as error:
            self._say(Finding("unreadable", "error", f"cannot be read: {error.strerror}", str(path)))
            return
        self.text(content, str(path), named=named)

    def text(self, content: bytes, file: str, *, named: bool) -> None:
        self._bundle.files.append(file)
        if len(content) > MAX_FILE_BYTES:
            self._say(Finding("too-large", "error", f"is larger than {MAX_FILE_BYTES // 2**20} MiB", file))
            return
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError as error:
            before = content[: error.start]
            line, column = before.count(b"\n") + 1, len(before) - before.rfind(b"\n")
            self._say(Finding("encoding", "error", "is not UTF-8 text", file, line, column))
            return
        for document in documents(text):
            if isinstance(document, Fault):
                self._say(Finding(document.code, "error", document.message, file, document.line, document.column))
                continue
            for odd in document.oddities:
                self._say(Finding(odd.code, "warning", odd.message, file, odd.line, odd.column))
            self.document(document.value, document.root, file, named=named)

    def live(self, value: dict[str, Any]) -> None:
        kind, about = str(value["kind"]), value["metadata"]
        key = Key(kind, str(about.get("namespace") or ""), str(about["name"]))
        if key not in self._bundle.origins:
            self.document(value, Node(0, 0), f"{LIVE}{key if key.namespace else f'{kind} {key.name}'}", named=False)

    def document(self, value: Any, root: Node, file: str, *, named: bool) -> None:
        if not isinstance(value, dict) or not isinstance(kind := value.get("kind"), str):
            self._bundle.ignored["(no kind)"] += 1
            if named:
                text = "is not a Kubernetes object: it has no 'kind'"
                self._say(Finding("no-object", "warning", text, file, root.line, root.column))
            return
        if self._namespace and isinstance(about := value.get("metadata"), dict) and not about.get("namespace"):
            value = {**value, "metadata": {**about, "namespace": self._namespace}}
        version = value.get("apiVersion")
        ours = version is None or (isinstance(version, str) and version.startswith(_GROUP))
        if kind.endswith("List") and isinstance(items := value.get("items"), list):
            inner = root.items.get("items", root)
            for index, item in enumerate(items):
                self.document(item, inner.items.get(index, root), file, named=named)
        elif kind in _PARSERS and ours:
            self._ours(kind, value, Origin(file, root))
        elif kind in ("Secret", "ConfigMap") and version in (None, "v1"):
            self._values(kind, value, Origin(file, root))
        elif kind in ("WorkflowTemplate", "ClusterWorkflowTemplate") and ours:
            origin = Origin(file, root)
            if metadata := self._metadata(kind, value, origin):
                self._keep(kind, metadata, WorkflowTemplate(kind, metadata, value), origin)
        elif kind in _ACCESS and _ACCESS[kind] == version and (about := check(Metadata, value.get("metadata"))[0]):
            self._keep(kind, about, AccessObject(kind, about, value), Origin(file, root))
        else:
            self._bundle.ignored[kind] += 1
            if ours and (near := did_you_mean(kind, _PARSERS)) and kind.lower().rstrip("s") in map(str.lower, _PARSERS):
                line, column = root.key(("kind",))
                self._say(
                    Finding("unknown-kind", "warning", f"unknown kind '{kind}'{near}", file, line, column, "kind")
                )

    def _ours(self, kind: str, raw: dict[str, Any], origin: Origin) -> None:
        made, problems = _PARSERS[kind](raw)
        metadata = made.metadata if made else check(Metadata, raw.get("metadata"))[0]
        name = str(Key(kind, metadata.namespace, metadata.name)) if metadata else kind
        for problem in problems:
            self._say(placed(problem, origin, name))
        if metadata:
            if kind == "EventSource":
                self._bundle.declared[metadata.namespace, metadata.name] = declared_events(raw)
            elif kind == "Sensor":
                self._emitted |= {(metadata.namespace, *pair) for pair in declared_by_emit(raw)}
            self._keep(kind, metadata, made, origin)

    def _metadata(self, kind: str, raw: dict[str, Any], origin: Origin) -> Metadata | None:
        """The metadata of an object that others refer to; a fault in it leaves only that object out."""
        metadata, problems = check(Metadata, raw.get("metadata"))
        for problem in problems:
            self._say(placed(problem.inside("metadata"), origin, kind))
        return metadata

    def _values(self, kind: str, raw: dict[str, Any], origin: Origin) -> None:
        metadata = self._metadata(kind, raw, origin)
        if metadata is None:
            return
        values = Values()
        encoded, plain = ("data", "stringData") if kind == "Secret" else ("binaryData", "data")
        for member in (encoded, plain):
            block = raw.get(member)
            for key, value in block.items() if isinstance(block, dict) else ():
                try:
                    if not isinstance(value, str):
                        raise ValueError("it is not text")
                    values[key] = _decoded(value) if member == encoded else value
                except (ValueError, binascii.Error):
                    # The value itself is not shown: it is, or was meant to be, a secret.
                    wanted = "text in base64" if member == encoded else "text; write it in quotes"
                    problem = Problem("invalid-value", f"'{key}' must be {wanted}", (member, key))
                    self._say(placed(problem, origin, str(Key(kind, metadata.namespace, metadata.name))))
        self._keep(kind, metadata, values, origin)

    def _keep(self, kind: str, metadata: Metadata, made: _Object | None, origin: Origin) -> None:
        key = Key(kind, "" if kind in _CLUSTER_WIDE else metadata.namespace, metadata.name)
        # Those of access control are only checked against; sets often hold several editions of them.
        before = self._bundle.origins.get(key)
        if before and not isinstance(made, AccessObject):
            where = ":".join(str(part) for part in (before.file, before.root.line) if part)
            problem = Problem(
                "duplicate-object",
                f"{key} stands in {where} too; this one counts",
                ("metadata", "name"),
                "warning",
            )
            self._say(placed(problem, origin, str(key)))
            self._objects.pop(key, None)
        self._objects[key] = made
        self._bundle.origins[key] = origin

    def _say(self, finding: Finding) -> None:
        self._bundle.findings.append(finding)


def _decoded(text: str) -> str:
    # Line breaks are allowed: Go's decoder leaves them out.
    return base64.b64decode("".join(text.split()), validate=True).decode("utf-8", "surrogateescape")


def placed(problem: Problem, origin: Origin, name: str) -> Finding:
    """The problem as a finding, with the line and column that it has in the object's file."""
    line, column = origin.root.key(problem.loc) if problem.at_key else origin.root.value(problem.loc)
    return Finding(
        problem.code,
        problem.severity,
        problem.message,
        origin.file,
        line,
        column,
        path_text(problem.loc),
        name,
    )
