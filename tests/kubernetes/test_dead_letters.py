"""A regression of Argo Events, by its story: a missing WorkflowTemplate → dead letter that can be redriven after the fix."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.running import Run, free_port, http
from tests.kubernetes.apiserver import ApiServer

API = "argoproj.io/v1alpha1"
MANIFESTS = """
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata: {{name: web, namespace: {namespace}}}
spec:
  webhook:
    in: {{port: "{port}", endpoint: /in, method: POST}}
---
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {{name: builds, namespace: {namespace}}}
spec:
  dependencies:
    - {{name: push, eventSourceName: web, eventName: in}}
  triggers:
    - template:
        name: build
        argoWorkflow:
          operation: submit-from
          source:
            resource:
              apiVersion: argoproj.io/v1alpha1
              kind: WorkflowTemplate
              metadata: {{name: build, namespace: {namespace}}}
              spec: {{arguments: {{parameters: [{{name: branch, value: none}}]}}}}
          parameters:
            - {{src: {{dependencyName: push, dataKey: body.branch}}, dest: spec.arguments.parameters.0.value}}
      retryStrategy: {{steps: 2, duration: 100ms}}
"""


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    run = Run(tmp_path)
    yield run
    if run.process is not None:
        run.end(signal.SIGKILL)


def _argosy(run: Run, *words: str) -> str:
    command = [sys.executable, "-m", "argosy.cli.main", *words, "--data", str(run.folder / "data")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{words}: {done.stderr}\n{run.tail()}"
    return done.stdout


def _listed(run: Run, state: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(_argosy(run, "actions", "list", "--state", state, "-o", "json"))["actions"]
    return found


def test_a_missing_workflow_template_is_a_dead_letter_that_can_be_redriven_after_the_fix(
    run: Run, apiserver: ApiServer, namespace: str, tmp_path: Path
) -> None:
    # Given a sensor whose WorkflowTemplate nobody has made
    port = free_port()
    run.write("all.yaml", MANIFESTS.format(namespace=namespace, port=port))
    kubeconfig = apiserver.kubeconfig(tmp_path / "kubeconfig", namespace=namespace)
    run.start({"KUBECONFIG": str(kubeconfig)})
    run.until_ready()
    assert http(f"http://127.0.0.1:{port}/in", b'{"branch": "main"}')[0] == 200

    # Then the action is kept, and says what is missing and what to do
    run.until(lambda: _listed(run, "dead"), "it did not die")
    [dead] = _listed(run, "dead")
    page = _argosy(run, "actions", "show", dead["id"])
    assert "WorkflowTemplate 'build'" in page
    assert "is not there" in page
    assert "argosy actions redrive" in page
    workflows = f"/apis/{API}/namespaces/{namespace}/workflows"
    assert apiserver.request("GET", workflows)["items"] == []

    # When the template is made and the action redriven, there is one workflow, of that event
    apiserver.apply(
        {
            "apiVersion": API,
            "kind": "WorkflowTemplate",
            "metadata": {"name": "build", "namespace": namespace},
            "spec": {"entrypoint": "main", "arguments": {"parameters": [{"name": "branch"}]}},
        }
    )
    _argosy(run, "actions", "redrive", dead["id"][:8])
    run.until(lambda: _listed(run, "done"), "it was not done")
    [made] = apiserver.request("GET", workflows)["items"]
    assert made["spec"]["workflowTemplateRef"] == {"name": "build"}
    assert made["spec"]["arguments"]["parameters"] == [{"name": "branch", "value": "main"}]
    assert _listed(run, "dead") == []
    assert [one["id"] for one in _listed(run, "done")] == [dead["id"]]
