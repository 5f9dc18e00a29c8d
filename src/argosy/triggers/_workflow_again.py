"""A Workflow that ended, once more: ``retry`` goes on with its failed nodes in place, ``resubmit`` makes a new one of it.

What is kept and what is begun anew is what Argo Workflows 3.7 decides (``FormulateRetryWorkflow`` and
``FormulateResubmitWorkflow`` in ``workflow/util/util.go``); tools/oracle/workflows asks those functions.
Pure: Workflows in, Workflows out.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from functools import partial

from argosy.errors import Rejected
from argosy.triggers._workflow_args import SubmitOptions
from argosy.triggers._workflow_nodes import LABEL, Nodes, Object, failed, node_id, pod_name, selector, stamp, unpack

_GROUPS = ("DAG", "TaskGroup", "StepGroup", "Steps")
_EXECUTING = ("Container", "Pod", "HTTP", "Plugin")
_ENDED = (f"{LABEL}completed", f"{LABEL}workflow-archiving-status")
_NOT_CARRIED = frozenset(
    LABEL + word
    for word in (
        "creator",
        "creator-email",
        "creator-preferred-username",
        "phase",
        "completed",
        "workflow-archiving-status",
    )
)


def retried(old: Object, options: SubmitOptions, now: datetime) -> tuple[Object, list[str]]:
    """The Workflow with its failed nodes to be done again, and the pods that are to be deleted first.

    Raises Rejected if it has not failed (or, where succeeded nodes are asked for, not ended), or its nodes do not hang together.
    """
    nodes = unpack(old)
    phase = (old.get("status") or {}).get("phase")
    again = bool(options.restart_successful and options.node_field_selector)
    if phase == "Succeeded" and not again:
        raise Rejected(
            "the Workflow succeeded; to retry it, give args: ['--restart-successful', '--node-field-selector', '…']"
        )
    if phase not in ("Failed", "Error", "Succeeded"):
        raise Rejected(f"the Workflow is {phase or 'not begun'}; only one that failed can be retried")

    new = _begun_anew(old, options, now)
    graph = _Graph(old["metadata"]["name"], nodes)
    chosen = selector(options.node_field_selector) if again else (lambda node: False)
    wanted = {name for name, node in nodes.items() if chosen(node)}
    wanted |= {name for name, node in nodes.items() if _to_do_again(graph, node, wanted)}

    reset: set[str] = set()
    removed: set[str] = set()
    for name in graph.from_the_top():  # what is above decides for what is below
        if name in wanted and name not in removed:
            further, gone = graph.path(name)
            reset |= further
            removed |= gone

    on_exit = f"{old['metadata']['name']}.onExit"
    kept = {
        name: _restarted(node, now) if name in reset else copy.deepcopy(node)
        for name, node in nodes.items()
        if name not in removed and (name in reset or not node["name"].startswith(on_exit))
    }
    for node in kept.values():
        for key in ("children", "outboundNodes"):
            if node.get(key):
                node[key] = [name for name in node[key] if name not in removed]
    pods = {pod_name(old, nodes[name]) for name in removed if nodes[name].get("type") == "Pod"}
    for name, node in nodes.items():
        if node["name"] == on_exit:
            pods |= {pod_name(old, nodes[each]) for each in (name, *graph.below(name))}
    new["status"]["nodes"] = kept
    return new, sorted(pods)


def _begun_anew(old: Object, options: SubmitOptions, now: datetime) -> Object:
    new = copy.deepcopy(old)
    status, spec = new["status"], new.setdefault("spec", {})
    labels = {key: value for key, value in (new["metadata"].get("labels") or {}).items() if key not in _ENDED}
    new["metadata"]["labels"] = {**labels, f"{LABEL}phase": "Running"}
    others = [each for each in status.get("conditions") or () if each.get("type") != "Completed"]
    status["conditions"] = [*others, {"type": "Completed", "status": "False"}]
    status |= {"phase": "Running", "startedAt": stamp(now), "finishedAt": None, "persistentVolumeClaims": []}
    status.pop("message", None)
    stored = status.get("storedWorkflowTemplateSpec")
    if stored:
        stored.pop("shutdown", None)
    _allowed_to_run(spec)
    options.override(new)
    return new


def _allowed_to_run(spec: Object) -> None:
    spec.pop("shutdown", None)
    if spec.get("activeDeadlineSeconds") == 0:  # how a Workflow was once terminated
        del spec["activeDeadlineSeconds"]


def _to_do_again(graph: _Graph, node: Object, wanted: set[str]) -> bool:
    """Whether it failed, and nothing that came after it succeeded and is kept."""
    if not failed(node) or node.get("type") not in _EXECUTING:
        return False
    if (node.get("nodeFlag") or {}).get("retried"):
        node = graph.tried_by(node)
    return not any(
        graph.nodes[each].get("phase") == "Succeeded" and each not in wanted for each in graph.below(node["id"])
    )


def _restarted(node: Object, now: datetime) -> Object:
    node = copy.deepcopy(node)
    if node.get("type") == "Suspend":
        for each in (node.get("outputs") or {}).get("parameters") or ():
            name = each["name"]
            each.clear()
            each.update({"name": name, "valueFrom": {"supplied": {}}})
    if node.get("phase") != "Skipped":
        node["phase"] = "Running"
    node.pop("message", None)
    node["startedAt"], node["finishedAt"] = stamp(now), None
    return node


def _is(name: str, node: Object) -> bool:
    return bool(node["id"] == name)


class _Graph:
    """How the nodes of one Workflow hang together. Raises Rejected when made if they do not."""

    def __init__(self, workflow: str, nodes: Nodes) -> None:
        self.nodes = nodes
        self._root = ""
        self._parent: dict[str, str] = {}
        for name, node in sorted(nodes.items()):
            if node["name"] == workflow:
                self._root = name
            for child in node.get("children") or ():
                if child not in nodes:
                    raise Rejected(f"the Workflow's node {name!r} has a child {child!r} that is not there")
                self._parent[child] = name
        for name, node in nodes.items():
            if name not in self._parent and name != self._root and not node["name"].startswith(f"{workflow}.onExit"):
                raise Rejected(f"the Workflow's node {name!r} hangs on no other")
        if not self._root:
            raise Rejected("the Workflow has no node of its own name; it never ran")

    def _children(self, name: str) -> Iterable[str]:
        return self.nodes[name].get("children") or ()

    def below(self, name: str) -> list[str]:
        """All nodes that came after this one, each once."""
        return list(self._walk(name))[1:]

    def from_the_top(self) -> list[str]:
        """All nodes but those of the exit handler, parents before children."""
        return list(self._walk(self._root))

    def _walk(self, start: str) -> Iterator[str]:
        seen, queue = {start}, deque([start])
        while queue:
            name = queue.popleft()
            yield name
            for child in self._children(name):
                if child not in seen:
                    seen.add(child)
                    queue.append(child)

    def tried_by(self, node: Object) -> Object:
        """The node that tries this one again."""
        over = [each for each in self.nodes.values() if node["id"] in (each.get("children") or ())]
        if not over:
            raise Rejected(f"the Workflow's node {node['id']!r} was tried again by none")
        return next((each for each in over if each.get("type") == "Retry"), over[0])

    def path(self, name: str) -> tuple[set[str], set[str]]:
        """What is begun anew so that this node can run again, up to the top; and what is removed: it, and all that came after."""
        removed = {name, *self.below(name)}
        reset: set[str] = set()
        if name == self._root:
            return reset, removed
        current: str | None = name
        while current is not None:
            node = self.nodes[current]
            if node.get("type") in _GROUPS:
                reset.add(current)
                current = self._out_of(current, reset)
                continue
            if node.get("type") == "Container":
                current = self._up_to(current, lambda each: each.get("type") == "Pod")
                reset.add(current)
                removed |= {current, *self.below(current)}
                continue
            if node.get("type") == "Retry" and failed(node):
                reset.add(current)
            current = self._parent.get(current)
        return reset, removed

    def _out_of(self, name: str, reset: set[str]) -> str | None:
        """Begin all groups around this one anew; the node above the outermost, or None."""
        current = name
        while True:
            above = self._parent.get(current)
            if above is not None and self.nodes[above].get("type") == "Retry":
                reset.add(above)
                current = above
                above = self._parent.get(current)
            if above is not None and self.nodes[above].get("type") in ("StepGroup", "TaskGroup"):
                reset.add(above)
            boundary = self.nodes[current].get("boundaryID")
            if not boundary:
                return above
            current = self._up_to(current, partial(_is, boundary))
            reset.add(current)

    def _up_to(self, name: str, fits: Callable[[Object], bool]) -> str:
        current: str | None = name
        while current is not None:
            if fits(self.nodes[current]):
                return current
            current = self._parent.get(current)
        raise Rejected(f"the Workflow's node {name!r} does not hang where it says")


def resubmitted(old: Object, options: SubmitOptions, name: str, now: datetime) -> Object:
    """A new Workflow of an old one. With ``memoized`` it is called ``name`` and does not do again what succeeded.

    Raises Rejected if ``memoized`` is asked of a Workflow that has not failed.
    """
    about, status = old["metadata"], old.get("status") or {}
    if options.memoized and status.get("phase") not in ("Failed", "Error"):
        raise Rejected("only a Workflow that failed can be resubmitted with --memoized")
    spec = copy.deepcopy(old.get("spec") or {})
    _allowed_to_run(spec)
    labels = {key: value for key, value in (about.get("labels") or {}).items() if key not in _NOT_CARRIED}
    metadata: Object = {
        "generateName": about.get("generateName") or f"{about['name']}-",
        "labels": {**labels, f"{LABEL}resubmitted-from-workflow": about["name"]},
        "annotations": dict(about.get("annotations") or {}),
    }
    if about.get("ownerReferences"):
        metadata["ownerReferences"] = copy.deepcopy(about["ownerReferences"])
    new: Object = {"apiVersion": old["apiVersion"], "kind": old["kind"], "metadata": metadata, "spec": spec}
    options.override(new)
    if options.memoized:
        metadata["name"] = name
        new["status"] = {
            "nodes": _remembered(about["name"], name, unpack(old), now),
            "storedTemplates": copy.deepcopy(status.get("storedTemplates") or {}),
            "conditions": [{"type": "Completed", "status": "False"}],
            "phase": "",
        }
    return new


def _remembered(old: str, new: str, nodes: Nodes, now: datetime) -> Nodes:
    """The nodes under the new Workflow's name: pods that succeeded are skipped, the rest is pending."""

    def renamed(name: str) -> str:
        return new + name[len(old) :] if name.startswith(old) else name

    def identified(id: str) -> str:
        return node_id(new, renamed(nodes[id]["name"])) if id in nodes else node_id(new, "")

    above_success = _above_what_succeeded(nodes)
    found: Nodes = {}
    for node in nodes.values():
        if node["name"].startswith(f"{old}.onExit"):
            continue
        pod, bad = node.get("type") == "Pod", failed(node)
        if node.get("type") == "Skipped" and node["id"] not in above_success:
            continue
        fresh = copy.deepcopy(node)
        fresh["name"] = renamed(node["name"])
        fresh["id"] = node_id(new, fresh["name"])
        fresh["startedAt"] = fresh["finishedAt"] = None if bad and pod else stamp(now)
        if node.get("boundaryID"):
            fresh["boundaryID"] = identified(node["boundaryID"])
        for key in ("children", "outboundNodes"):
            fresh[key] = [identified(each) for each in node.get(key) or ()]
        if pod and not bad:
            fresh |= {"phase": "Skipped", "type": "Skipped", "message": f"original pod: {node['id']}"}
        else:
            fresh["phase"] = "Pending"
            fresh.pop("message", None)
        found[fresh["id"]] = fresh
    return found


def _above_what_succeeded(nodes: Nodes) -> set[str]:
    """The nodes after which something succeeded."""
    over: dict[str, list[str]] = {}
    for name, node in nodes.items():
        for child in node.get("children") or ():
            over.setdefault(child, []).append(name)
    found: set[str] = set()
    queue = [name for name, node in nodes.items() if node.get("phase") == "Succeeded"]
    while queue:
        above = [name for name in over.get(queue.pop(), ()) if name not in found]
        found.update(above)
        queue += above
    return found
