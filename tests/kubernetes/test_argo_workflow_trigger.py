"""The ``argoWorkflow`` trigger against a real API server that serves Argo's kinds (no controller
runs them).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from argosy.errors import Rejected
from argosy.kubernetes.client import NotFound
from argosy.manifests.fields import Json
from argosy.triggers._objects import ACTION_ID
from tests.conformance.trigger import Stage, TriggerSuite
from tests.kubernetes.apiserver import ApiServer
from tests.kubernetes.receivers import ClusterReceiver, kubeconfig_through, port_of
from tests.kubernetes.relay import Relay

Object = dict[str, Any]
API = "argoproj.io/v1alpha1"


def workflow(**about: Any) -> Object:
    spec = {"entrypoint": "main", "arguments": {"parameters": [{"name": "a", "value": "1"}]}}
    return {"apiVersion": API, "kind": "Workflow", "metadata": about, "spec": spec}


def block(body: Object, **fields: Any) -> Object:
    return {"operation": "submit", "source": {"resource": body}, **fields}


class TestArgoWorkflow(TriggerSuite):
    kind = "argoWorkflow"
    bad_blocks: ClassVar[list[tuple[dict[str, Json], str]]] = [
        ({"operation": "submit"}, "source"),
        (block({}, operation="run"), "operation"),
        (block({}, args="-p a=1"), "args"),
    ]

    @pytest.fixture
    async def receiver(
        self, apiserver: ApiServer, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> AsyncIterator[ClusterReceiver]:
        async with Relay(port_of(apiserver)) as relay:
            path = kubeconfig_through(relay, apiserver, tmp_path / "kubeconfig")
            monkeypatch.setenv("KUBECONFIG", str(path))
            good, bad = block(workflow(generateName="made-")), block(workflow(name="Not A Name"))
            where = f"/apis/{API}/namespaces/{namespace}/workflows"
            yield ClusterReceiver(apiserver, relay, namespace, where, good, bad)


class Cluster:
    """Reads and writes of Argo's kinds in the test's namespace."""

    def __init__(self, apiserver: ApiServer, namespace: str) -> None:
        self._apiserver = apiserver
        self.namespace = namespace

    def put(self, kind: str, name: str, spec: Object, **about: Any) -> Any:
        where = {} if kind.startswith("Cluster") else {"namespace": self.namespace}
        metadata = {"name": name, **where, **about}
        return self._apiserver.apply({"apiVersion": API, "kind": kind, "metadata": metadata, "spec": spec})

    def workflow(self, name: str) -> Any:
        return self._apiserver.request("GET", f"/apis/{API}/namespaces/{self.namespace}/workflows/{name}")

    def finish(self, name: str) -> None:
        where = f"/apis/{API}/namespaces/{self.namespace}/workflows/{name}"
        body = {"metadata": {"labels": {"workflows.argoproj.io/completed": "true"}}}
        self._apiserver.request("PATCH", where, body, content="application/merge-patch+json")


@pytest.fixture
def cluster(apiserver: ApiServer, namespace: str) -> Cluster:
    return Cluster(apiserver, namespace)


@pytest.fixture
async def fire(
    apiserver: ApiServer, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Any]:
    monkeypatch.setenv("KUBECONFIG", str(apiserver.kubeconfig(tmp_path / "kubeconfig")))
    stage = Stage("argoWorkflow", namespace=namespace)
    async with stage.open() as trigger:

        async def fire(body: Object, operation: str = "submit", **named: Any) -> Any:
            args = named.pop("args", [])
            return await stage.fire(trigger, block(body, operation=operation, args=args), **named)

        yield fire


def template(kind: str, name: str, **spec: Any) -> Object:
    return {"apiVersion": API, "kind": kind, "metadata": {"name": name}, **({"spec": spec} if spec else {})}


class TestSubmit:
    async def test_the_workflow_is_the_object_with_labels(self, fire: Any, cluster: Cluster) -> None:
        outcome = await fire(workflow(generateName="made-"), "", id="a-1")
        made = cluster.workflow(outcome.detail["name"])
        assert made["spec"] == workflow()["spec"]
        assert made["metadata"]["generateName"] == "made-"
        assert made["metadata"]["labels"]["events.argoproj.io/trigger"] == "act"
        assert made["metadata"]["annotations"] == {ACTION_ID: "a-1"}

    async def test_args_change_the_workflow_as_the_argo_program_does(self, fire: Any, cluster: Cluster) -> None:
        args = [
            "-p",
            "b=x=y",
            "-pa=2",
            "--entrypoint",
            "other",
            "--serviceaccount=runner",
            "-l",
            "team=one,x=",
        ]
        args += [
            "--priority",
            "7",
            "--node-field-selector",
            "phase=abc",
            "-o",
            "json",
            "--generate-name=new-",
        ]
        outcome = await fire(workflow(generateName="made-"), args=args)
        made = cluster.workflow(outcome.detail["name"])
        assert outcome.detail["name"].startswith("new-")
        assert made["spec"] == {
            "entrypoint": "other",
            "serviceAccountName": "runner",
            "priority": 7,
            "arguments": {"parameters": [{"name": "b", "value": "x=y"}, {"name": "a", "value": "2"}]},
        }
        labels = made["metadata"]["labels"]
        assert (labels["team"], labels["x"], labels["events.argoproj.io/sensor"]) == ("one", "", "stage")

    @pytest.mark.parametrize(
        ("args", "said"),
        [
            (["--wait"], "--wait is not supported.*policy.k8s"),
            (["--dry-run"], "'--dry-run' is not supported"),
            (["-f", "file"], "'-f' is not supported"),
            (["stray"], "'stray' is not supported"),
            (["-p"], "--parameter needs a value"),
            (["-p", "a"], "--parameter wants NAME=VALUE, not 'a'"),
            (["-l", "a=b=c"], "--labels wants NAME=VALUE"),
            (["--priority", "high"], "--priority wants a whole number"),
        ],
    )
    async def test_args_that_cannot_be_honoured_are_rejected(self, fire: Any, args: list[str], said: str) -> None:
        with pytest.raises(Rejected, match=said):
            await fire(workflow(generateName="made-"), args=args)

    async def test_only_a_workflow_can_be_submitted(self, fire: Any) -> None:
        with pytest.raises(Rejected, match=r"wants a Workflow in the source, not a WorkflowTemplate.*submit-from"):
            await fire(template("WorkflowTemplate", "one"))

    async def test_a_spec_of_another_shape_is_rejected(self, fire: Any) -> None:
        body = workflow(generateName="made-")
        body["spec"]["arguments"] = ["a"]
        with pytest.raises(Rejected, match="its spec has another shape"):
            await fire(body, args=["-p", "a=1"])


class TestSubmitFrom:
    async def test_a_template_is_referred_to(self, fire: Any, cluster: Cluster) -> None:
        # Given a template in the cluster with arguments
        parameters = [{"name": "a"}, {"name": "b", "value": "default"}, {"name": "c", "valueFrom": {}}]
        cluster.put("WorkflowTemplate", "scan", {"arguments": {"parameters": parameters}})
        # When a workflow is submitted from it, with a value in the source and one in args
        given = {"parameters": [{"name": "a", "value": "source"}, {"name": "n", "value": 5}, {"name": "no"}]}
        outcome = await fire(
            template("WorkflowTemplate", "scan", arguments=given),
            "submit-from",
            args=["-p", "a=args"],
            id="a-1",
        )
        # Then it is what the Argo server would have built, under a name that is the action's own
        made = cluster.workflow(outcome.detail["name"])
        assert made["spec"] == {
            "workflowTemplateRef": {"name": "scan"},
            "arguments": {"parameters": [{"name": "a", "value": "args"}, {"name": "n", "value": "5"}]},
        }
        about = made["metadata"]
        assert about["generateName"] == "scan-"
        assert about["labels"]["workflows.argoproj.io/workflow-template"] == "scan"
        assert about["annotations"][ACTION_ID] == "a-1"
        # And once more is the same one
        again = await fire(
            template("WorkflowTemplate", "scan", arguments=given),
            "submit-from",
            args=["-p", "a=args"],
            id="a-1",
        )
        assert again.detail["uid"] == outcome.detail["uid"]

    async def test_a_template_of_the_cluster_is_referred_to_as_such(self, fire: Any, cluster: Cluster) -> None:
        name = f"scan-{cluster.namespace}"
        cluster.put("ClusterWorkflowTemplate", name, {"entrypoint": "main"})
        outcome = await fire(template("ClusterWorkflowTemplate", name), "submit-from")
        made = cluster.workflow(outcome.detail["name"])
        assert made["spec"] == {"workflowTemplateRef": {"name": name, "clusterScope": True}}
        assert made["metadata"]["labels"]["workflows.argoproj.io/cluster-workflow-template"] == name

    async def test_a_cron_workflow_is_copied_and_owns_the_workflow(self, fire: Any, cluster: Cluster) -> None:
        spec = {
            "schedules": ["0 0 * * *"],
            "workflowMetadata": {"labels": {"team": "one"}, "annotations": {"note": "x"}},
            "workflowSpec": {
                "entrypoint": "main",
                "arguments": {"parameters": [{"name": "a", "value": "1"}]},
            },
        }
        labels = {"workflows.argoproj.io/controller-instanceid": "blue", "other": "stays-behind"}
        cron = cluster.put("CronWorkflow", "nightly", spec, labels=labels)
        outcome = await fire(template("CronWorkflow", "nightly"), "submit-from", args=["-p", "a=2"])
        made = cluster.workflow(outcome.detail["name"])
        assert made["spec"] == {
            "entrypoint": "main",
            "arguments": {"parameters": [{"name": "a", "value": "2"}]},
        }
        about = made["metadata"]
        assert about["generateName"] == "nightly-"
        assert about["ownerReferences"] == [
            {
                "apiVersion": API,
                "kind": "CronWorkflow",
                "name": "nightly",
                "uid": cron["metadata"]["uid"],
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ]
        assert {key: value for key, value in about["labels"].items() if not key.startswith("events.")} == {
            "team": "one",
            "workflows.argoproj.io/cron-workflow": "nightly",
            "workflows.argoproj.io/controller-instanceid": "blue",
        }
        assert about["annotations"]["note"] == "x"
        assert about["annotations"]["workflows.argoproj.io/scheduled-time"].startswith("20")

    async def test_a_template_that_is_not_there_is_named(self, fire: Any) -> None:
        with pytest.raises(NotFound, match=r"WorkflowTemplate 'none' in namespace .* is not there"):
            await fire(template("WorkflowTemplate", "none"), "submit-from")

    async def test_a_missing_argument_is_rejected_before_a_workflow_fails_of_it(
        self, fire: Any, cluster: Cluster
    ) -> None:
        cluster.put("WorkflowTemplate", "scan", {"arguments": {"parameters": [{"name": "a"}]}})
        with pytest.raises(Rejected, match="wants a value for its parameter 'a'"):
            await fire(template("WorkflowTemplate", "scan"), "submit-from")

    async def test_other_kinds_are_rejected(self, fire: Any) -> None:
        with pytest.raises(Rejected, match="wants a WorkflowTemplate, a ClusterWorkflowTemplate or a CronWorkflow"):
            await fire(workflow(name="one"), "submit-from")


class TestChange:
    @pytest.mark.parametrize(
        ("operation", "word", "spec"),
        [
            ("suspend", "suspended", {"suspend": True}),
            ("terminate", "terminated", {"shutdown": "Terminate"}),
            ("stop", "stopped", {"shutdown": "Stop"}),
        ],
    )
    async def test_a_running_workflow_is_changed_and_a_finished_one_not(
        self, fire: Any, cluster: Cluster, operation: str, word: str, spec: Object
    ) -> None:
        await fire(workflow(name="one"))
        await fire(workflow(name="two"))
        outcome = await fire(template("Workflow", "one"), operation)
        assert outcome.message.startswith(f"{word} Workflow 'one'")
        made = cluster.workflow("one")["spec"]
        assert {key: made[key] for key in spec} == spec
        # And once more is no failure, also when it has ended meanwhile
        cluster.finish("one")
        assert f"{word} already" in (await fire(template("Workflow", "one"), operation)).message
        # But one that ended by itself cannot be changed
        cluster.finish("two")
        with pytest.raises(Rejected, match=rf"Workflow 'two' .* has ended .* it cannot be {word}"):
            await fire(template("Workflow", "two"), operation)

    @pytest.mark.parametrize("operation", ["resume", "retry", "resubmit"])
    async def test_what_is_still_missing_is_said(self, fire: Any, operation: str) -> None:
        with pytest.raises(Rejected, match=f"operation '{operation}' comes with a later version"):
            await fire(workflow(name="one"), operation)

    async def test_args_of_the_argo_program_are_refused(self, fire: Any) -> None:
        with pytest.raises(Rejected, match="'--node-field-selector' is not supported"):
            await fire(template("Workflow", "one"), "stop", args=["--node-field-selector", "a=b"])


async def test_a_label_policy_looks_at_the_workflow_that_was_made(
    fire: Any, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a template of the cluster, whose workflow carries the label from the start
    name = f"scan-{cluster.namespace}"
    cluster.put("ClusterWorkflowTemplate", name, {"entrypoint": "main"})
    policy = {"k8s": {"labels": {"phase": "done"}, "backoff": {"steps": 1}, "errorOnBackoffTimeout": True}}
    # When it is submitted under a policy, then the policy is satisfied
    outcome = await fire(
        template("ClusterWorkflowTemplate", name), "submit-from", args=["-l", "phase=done"], policy=policy
    )
    assert cluster.workflow(outcome.detail["name"])["metadata"]["labels"]["phase"] == "done"
