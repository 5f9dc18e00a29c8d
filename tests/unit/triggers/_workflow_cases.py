"""Workflows that ended, made at random, and what Argo Workflows' own functions make of them once more.

``tools/oracle/workflows`` is a small Go program that calls ``FormulateRetryWorkflow`` and ``FormulateResubmitWorkflow`` of
Argo Workflows 3.7. To ask it again, which needs Go:

    (cd tools/oracle/workflows && go build -o /tmp/workflows .)
    python -m tests.unit.triggers._workflow_cases /tmp/workflows
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

from argosy.triggers._workflow_nodes import node_id

ANSWERS = Path(__file__).with_name("workflow_again.jsonl")
NAME = "old"
_TIMES = 4
_THEN = "2026-01-02T03:04:05Z"


class _Drawn:
    """One Workflow's nodes as its controller lays them out, with phases as they may be at its end."""

    def __init__(self, random: random.Random) -> None:
        self.random = random
        self.nodes: dict[str, dict[str, Any]] = {}

    def node(self, name: str, kind: str, boundary: str, **more: Any) -> str:
        id = node_id(NAME, name)
        phase = self.random.choice(["Succeeded", "Succeeded", "Failed", "Error"])
        self.nodes[id] = {
            "id": id,
            "name": name,
            "displayName": name.rsplit(".", 1)[-1],
            "type": kind,
            "phase": phase,
            "startedAt": _THEN,
            "finishedAt": _THEN,
            **({"boundaryID": boundary} if boundary else {}),
            **({"message": "exit code 1"} if phase in ("Failed", "Error") else {}),
            **more,
        }
        return id

    def child(self, parent: str, child: str) -> None:
        self.nodes[parent].setdefault("children", []).append(child)

    def work(self, name: str, boundary: str, depth: int) -> tuple[str, list[str]]:
        """Something that a step or a task runs: its node, and the nodes after which the next one comes."""
        choice = self.random.random()
        if depth > 0 and choice < 0.35:
            return self.group(name, boundary, depth - 1)
        if choice < 0.5:
            id = self.node(name, "Retry", boundary, templateName="work")
            last = id
            for attempt in range(self.random.randint(1, 3)):
                last = self.pod(f"{name}({attempt})", boundary, nodeFlag={"retried": True})
                self.child(id, last)
            return id, [last]
        if choice < 0.58:
            id = self.node(name, "Skipped", boundary)
            self.nodes[id]["phase"] = self.random.choice(["Skipped", "Omitted"])
            return id, [id]
        if choice < 0.68:
            outputs = {"parameters": [{"name": "word", "value": "yes"}]}
            id = self.node(name, "Suspend", boundary, templateName="wait", outputs=outputs)
            return id, [id]
        if choice < 0.76:
            pod = self.pod(name, boundary)
            inner = self.node(f"{name}.main", "Container", pod)
            self.child(pod, inner)
            return pod, [inner]
        id = self.pod(name, boundary)
        return id, [id]

    def pod(self, name: str, boundary: str, **more: Any) -> str:
        if self.random.random() < 0.5:
            more["inputs"] = {"parameters": [{"name": "a", "value": self.random.choice("xy")}]}
        if self.random.random() < 0.2:
            more["templateRef"] = {"name": "library", "template": "work"}
        else:
            more["templateName"] = "work"
        return self.node(name, "Pod", boundary, **more)

    def group(self, name: str, boundary: str, depth: int) -> tuple[str, list[str]]:
        return (self.steps if self.random.random() < 0.5 else self.dag)(name, boundary, depth)

    def steps(self, name: str, boundary: str, depth: int) -> tuple[str, list[str]]:
        id = self.node(name, "Steps", boundary, templateName="steps")
        before = [id]
        for at in range(self.random.randint(1, 3)):
            group = self.node(f"{name}[{at}]", "StepGroup", id)
            for each in before:
                self.child(each, group)
            before = []
            for step in range(self.random.randint(1, 2)):
                made, ends = self.work(f"{name}[{at}].s{step}", id, depth)
                self.child(group, made)
                before += ends
        self.nodes[id]["outboundNodes"] = list(before)
        return id, before

    def dag(self, name: str, boundary: str, depth: int) -> tuple[str, list[str]]:
        id = self.node(name, "DAG", boundary, templateName="dag")
        ends: list[list[str]] = []
        for task in range(self.random.randint(1, 4)):
            over = self.random.sample(ends, self.random.randint(0, min(1, len(ends))))
            if self.random.random() < 0.2:
                made = self.node(f"{name}.t{task}", "TaskGroup", id)
                last: list[str] = []
                for item in range(2):
                    inner, inner_ends = self.work(f"{name}.t{task}({item}:x)", id, depth)
                    self.child(made, inner)
                    last += inner_ends
            else:
                made, last = self.work(f"{name}.t{task}", id, depth)
            for each in over or [[id]]:
                for end in each:
                    self.child(end, made)
            ends.append(last)
        self.nodes[id]["outboundNodes"] = list(ends[-1])
        return id, ends[-1]


def _workflow(drawn: random.Random) -> dict[str, Any]:
    laid = _Drawn(drawn)
    if drawn.random() < 0.9:
        laid.group(NAME, "", drawn.randint(0, 2))
    else:
        laid.pod(NAME, "")
    if drawn.random() < 0.3:
        exit_id = laid.node(f"{NAME}.onExit", "Steps", "", templateName="bye")
        last = laid.pod(f"{NAME}.onExit[0].bye", exit_id)
        laid.child(exit_id, last)
    labels = {"team": "a", "workflows.argoproj.io/completed": "true", "workflows.argoproj.io/phase": "Failed"}
    about: dict[str, Any] = {"name": NAME, "namespace": "default", "labels": labels, "annotations": {"note": "x"}}
    if drawn.random() < 0.5:
        about["generateName"] = "ol-"
    if drawn.random() < 0.2:
        about["annotations"]["workflows.argoproj.io/pod-name-format"] = drawn.choice(["v1", "v2"])
    spec: dict[str, Any] = {
        "entrypoint": "main",
        "arguments": {"parameters": [{"name": "a", "value": "1"}, {"name": "b", "value": "2"}]},
    }
    if drawn.random() < 0.3:
        spec["shutdown"] = "Stop"
    if drawn.random() < 0.2:
        spec["activeDeadlineSeconds"] = drawn.choice([0, 60])
    status: dict[str, Any] = {
        "phase": drawn.choice(["Failed", "Failed", "Error", "Succeeded", "Running"]),
        "startedAt": _THEN,
        "finishedAt": _THEN,
        "message": "child failed",
        "conditions": [{"type": "PodRunning", "status": "False"}, {"type": "Completed", "status": "True"}],
        "nodes": laid.nodes,
    }
    if drawn.random() < 0.4:
        status["storedWorkflowTemplateSpec"] = {**spec, "shutdown": "Stop"}
    return {
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "metadata": about, "spec": spec, "status": status
    }  # fmt: skip


def cases(count: int) -> list[dict[str, Any]]:
    """So many questions, the same every time."""
    drawn = random.Random("once more")
    found = []
    for _ in range(count):
        case: dict[str, Any] = {"do": drawn.choice(["retry", "retry", "resubmit"]), "workflow": _workflow(drawn)}
        if case["do"] == "retry" and drawn.random() < 0.4:
            case |= {"restart": True, "selector": drawn.choice(
                ["displayName=s0", "templateName=work,phase=Succeeded", "inputs.parameters.a.value!=x", "phase==Failed"]
            )}  # fmt: skip
        if case["do"] == "resubmit":
            case["memoized"] = drawn.random() < 0.6
        if drawn.random() < 0.3:
            case["parameters"] = ["b=9", "c=x=y"]
        found.append(case)
    return found


def main(program: str) -> None:
    """Write the answers anew. A question whose answer is another one the next time (Go walks its maps in random order) is left out."""
    asked = cases(300)
    text = "".join(json.dumps(case) + "\n" for case in asked)
    answers = []
    for _ in range(_TIMES):
        done = subprocess.run([program], input=text, capture_output=True, text=True, check=True)
        answers.append([json.loads(line) for line in done.stdout.splitlines()])
    kept = []
    for at, case in enumerate(asked):
        said = [comparable(case, each[at]) for each in answers]
        if all(each == said[0] for each in said):
            kept.append({**case, "answer": answers[0][at]})
    ANSWERS.write_text("".join(json.dumps(case, separators=(",", ":")) + "\n" for case in kept))
    print(f"{len(kept)} of {len(asked)} questions have one answer")


def comparable(case: dict[str, Any], answer: dict[str, Any]) -> Any:
    """An answer without what differs from run to run: the moment, the drawn name; and without what is empty."""
    if "err" in answer:
        return "error"
    workflow = answer["workflow"]
    name = workflow["metadata"].get("name")
    text = json.dumps({"workflow": workflow, "pods": sorted(answer.get("pods") or [])})
    if case.get("memoized"):
        nodes = workflow["status"]["nodes"]
        for at, id in enumerate(sorted(nodes, key=lambda id: str(nodes[id]["name"]))):
            text = text.replace(f'"{id}"', f'"node {at}"')
        text = text.replace(f'"{name}', '"NEW')
    return _bare(json.loads(text))


def _bare(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        bare = {key: _bare(each, key) for key, each in value.items()}
        return {key: each for key, each in bare.items() if each not in (None, "", [], {}, 0)}
    if isinstance(value, list):
        return [_bare(each) for each in value]
    if key in ("startedAt", "finishedAt") and value and value != _THEN:
        return "now"
    return value


if __name__ == "__main__":
    main(sys.argv[1])
