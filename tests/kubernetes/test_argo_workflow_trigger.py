"""The ``argoWorkflow`` trigger against a real API server that serves Argo's kinds (no controller
runs them).
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from argosy.errors import Rejected
from argosy.kubernetes.client import NotFound
from argosy.manifests.fields import Json
from argosy.triggers import _workflow_nodes
from argosy.triggers._objects import ACTION_ID
from tests.conformance.trigger import Stage, TriggerSuite
from tests.kubernetes.apiserver import ApiServer
from tests.kubernetes.receivers import ClusterReceiver, kubeconfig_through, overloaded, port_of, thousand
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
        async with Relay(port_of(apiserver)) as relay, overloaded(apiserver) as busy:
            path = kubeconfig_through(relay, apiserver, tmp_path / "kubeconfig")
            monkeypatch.setenv("KUBECONFIG", str(path))
            good, bad = block(workflow(generateName="made-")), block(workflow(name="Not A Name"))
            where = f"/apis/{API}/namespaces/{namespace}/workflows"
            yield ClusterReceiver(apiserver, relay, namespace, where, good, bad, busy)


async def test_a_thousand_actions_reuse_a_connection(
    apiserver: ApiServer, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = block(workflow(generateName="made-"))
    await thousand("argoWorkflow", given, apiserver, namespace, tmp_path, monkeypatch)


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
        assert made["metadata"]["annotations"][ACTION_ID] == "a-1"

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

    async def test_args_that_the_operation_does_not_take_are_refused(self, fire: Any) -> None:
        with pytest.raises(
            Rejected, match="'--memoized' is not supported with stop.*known are: --message, --node-field"
        ):
            await fire(template("Workflow", "one"), "stop", args=["--memoized"])
        with pytest.raises(Rejected, match="'--parameter' is not supported with suspend.*known are: none"):
            await fire(template("Workflow", "one"), "suspend", args=["-p", "a=1"])


def node(name: str, kind: str, phase: str, **more: Any) -> Object:
    at = "2026-01-02T03:04:05Z"
    return {
        "id": name, "name": name, "displayName": name.split(".")[-1], "type": kind, "phase": phase,
        "startedAt": at, "finishedAt": at, **more,
    }  # fmt: skip


def nodes(*found: Object) -> Object:
    return {each["id"]: each for each in found}


WAITING = nodes(
    node("one", "Steps", "Running", children=["one.a", "one.b"]),
    node("one.a", "Suspend", "Running", finishedAt=None),
    node(
        "one.b", "Suspend", "Running", finishedAt=None,
        outputs={"parameters": [{"name": "word", "valueFrom": {"supplied": {}, "default": "yes"}}]},
    ),
)  # fmt: skip
FAILED = nodes(
    node("one", "DAG", "Failed", children=["one.a"], templateName="main"),
    node("one.a", "Pod", "Succeeded", children=["one.b"], boundaryID="one", templateName="work"),
    node("one.b", "Pod", "Failed", boundaryID="one", templateName="work", message="exit code 1"),
)


class Running:
    """Workflows in the cluster as a controller would have left them."""

    def __init__(self, apiserver: ApiServer, cluster: Cluster) -> None:
        self._apiserver = apiserver
        self._cluster = cluster

    def put(self, name: str, phase: str, nodes: Object, **spec: Any) -> None:
        ended = {} if phase == "Running" else {"workflows.argoproj.io/completed": "true"}
        body = workflow(name=name, namespace=self._cluster.namespace, labels=ended)
        body["spec"] |= spec
        self._apiserver.apply(
            {**body, "status": {"phase": phase, "nodes": nodes, "finishedAt": "2026-01-02T03:04:05Z"}}
        )

    def pod(self, name: str) -> None:
        container = {"name": "main", "image": "none"}
        about = {"name": name, "namespace": self._cluster.namespace}
        self._apiserver.apply(
            {"apiVersion": "v1", "kind": "Pod", "metadata": about, "spec": {"containers": [container]}}
        )

    def pods(self) -> list[str]:
        found = self._apiserver.request("GET", f"/api/v1/namespaces/{self._cluster.namespace}/pods")
        # No kubelet ends them; one that was deleted is on its way.
        return [each["metadata"]["name"] for each in found["items"] if "deletionTimestamp" not in each["metadata"]]


@pytest.fixture
def running(apiserver: ApiServer, cluster: Cluster) -> Running:
    return Running(apiserver, cluster)


class TestResume:
    async def test_what_waits_goes_on_once(self, fire: Any, cluster: Cluster, running: Running) -> None:
        # Given a workflow that is suspended, and two of whose nodes wait for a word
        running.put("one", "Running", WAITING, suspend=True)
        # When it is resumed
        outcome = await fire(workflow(name="one"), "resume", id="a-1")
        # Then all goes on, and an output that nobody supplied has its default
        assert outcome.message.startswith("resumed Workflow 'one'")
        made = cluster.workflow("one")
        assert "suspend" not in made["spec"]
        found = made["status"]["nodes"]
        assert [found[each]["phase"] for each in ("one.a", "one.b")] == ["Succeeded", "Succeeded"]
        assert found["one.a"]["finishedAt"]
        assert found["one.b"]["outputs"] == {"parameters": [{"name": "word", "value": "yes"}]}
        # And the same action does not end what waits later; another one finds what there is
        running.put("one", "Running", WAITING)
        assert "nothing to resume" not in (await fire(workflow(name="one"), "resume", id="a-2")).message
        running.put("one", "Running", WAITING)
        assert "by an earlier try" in (await fire(workflow(name="one"), "resume", id="a-2")).message
        assert cluster.workflow("one")["status"]["nodes"]["one.a"]["phase"] == "Running"

    async def test_only_the_nodes_that_are_asked_for_go_on(self, fire: Any, cluster: Cluster, running: Running) -> None:
        running.put("one", "Running", WAITING, suspend=True)
        await fire(workflow(name="one"), "resume", args=["--node-field-selector", "displayName=a"])
        made = cluster.workflow("one")
        assert made["spec"]["suspend"] is True
        assert [made["status"]["nodes"][each]["phase"] for each in ("one.a", "one.b")] == ["Succeeded", "Running"]
        with pytest.raises(Rejected, match="no node .* fits --node-field-selector 'displayName=c'"):
            await fire(workflow(name="one"), "resume", args=["--node-field-selector=displayName=c"], id="a-2")

    async def test_an_output_without_default_is_named(self, fire: Any, running: Running) -> None:
        waits = node(
            "one.a", "Suspend", "Running", outputs={"parameters": [{"name": "w", "valueFrom": {"supplied": {}}}]}
        )
        running.put("one", "Running", nodes(node("one", "Steps", "Running", children=["one.a"]), waits))
        with pytest.raises(Rejected, match="node 'a' waits for its output 'w', which has no default"):
            await fire(workflow(name="one"), "resume")

    async def test_packed_nodes_are_unpacked(self, fire: Any, cluster: Cluster, running: Running) -> None:
        packed = base64.b64encode(gzip.compress(json.dumps(WAITING).encode())).decode()
        running.put("one", "Running", {})
        where = f"/apis/{API}/namespaces/{cluster.namespace}/workflows/one"
        body = {"status": {"nodes": None, "compressedNodes": packed}}
        running._apiserver.request("PATCH", where, body, content="application/merge-patch+json")
        await fire(workflow(name="one"), "resume")
        assert cluster.workflow("one")["status"]["nodes"]["one.a"]["phase"] == "Succeeded"

    async def test_nodes_in_a_database_are_refused(self, fire: Any, cluster: Cluster, running: Running) -> None:
        running.put("one", "Running", {})
        where = f"/apis/{API}/namespaces/{cluster.namespace}/workflows/one"
        body = {"status": {"offloadNodeStatusVersion": "fnv:1"}}
        running._apiserver.request("PATCH", where, body, content="application/merge-patch+json")
        with pytest.raises(Rejected, match="kept in the database of the Argo server"):
            await fire(workflow(name="one"), "resume")


async def test_stop_can_end_single_nodes(fire: Any, cluster: Cluster, running: Running) -> None:
    running.put("one", "Running", WAITING)
    await fire(workflow(name="one"), "stop", args=["--node-field-selector", "displayName!=a", "--message", "too late"])
    made = cluster.workflow("one")
    found = made["status"]["nodes"]["one.b"]
    assert (found["phase"], found["message"]) == ("Failed", "too late")
    assert "shutdown" not in made["spec"]


class TestRetry:
    async def test_what_failed_is_done_again_once(self, fire: Any, cluster: Cluster, running: Running) -> None:
        # Given a workflow that failed, and the pods it left
        running.put("one", "Failed", FAILED, shutdown="Stop")
        ended = _workflow_nodes.pod_name(workflow(name="one"), FAILED["one.b"])
        running.pod(ended)
        running.pod("another")
        # When it is retried
        outcome = await fire(workflow(name="one"), "retry", args=["-p", "a=2"], id="a-1")
        # Then what succeeded is kept, what failed is forgotten, and its pod is gone
        assert outcome.message.startswith("retried Workflow 'one'")
        made = cluster.workflow("one")
        assert set(made["status"]["nodes"]) == {"one", "one.a"}
        assert made["status"]["nodes"]["one"]["phase"] == made["status"]["phase"] == "Running"
        assert made["spec"]["arguments"]["parameters"] == [{"name": "a", "value": "2"}]
        assert "shutdown" not in made["spec"]
        assert "workflows.argoproj.io/completed" not in made["metadata"]["labels"]
        assert running.pods() == ["another"]
        # And the same action is no second retry
        assert "by an earlier try" in (await fire(workflow(name="one"), "retry", id="a-1")).message
        with pytest.raises(Rejected, match="the Workflow is Running; only one that failed can be retried"):
            await fire(workflow(name="one"), "retry", id="a-2")

    async def test_a_workflow_that_succeeded_wants_to_be_told_what(self, fire: Any, running: Running) -> None:
        running.put("one", "Succeeded", FAILED)
        with pytest.raises(Rejected, match=r"succeeded; to retry it, give args: \['--restart-successful'"):
            await fire(workflow(name="one"), "retry")
        await fire(
            workflow(name="one"), "retry", args=["--restart-successful", "--node-field-selector", "displayName=a"]
        )

    @pytest.mark.parametrize(
        ("selector", "said"),
        [
            ("a", "wants FIELD=VALUE or FIELD!=VALUE, not 'a'"),
            ("a=b\\c", "a backslash stands before"),
            ("a=b=c", "write"),
        ],
    )
    async def test_a_selector_that_is_none_is_rejected(
        self, fire: Any, running: Running, selector: str, said: str
    ) -> None:
        running.put("one", "Failed", FAILED)
        with pytest.raises(Rejected, match=said):
            await fire(workflow(name="one"), "retry", args=["--restart-successful", "--node-field-selector", selector])


class TestResubmit:
    async def test_a_new_workflow_is_made_once(self, fire: Any, cluster: Cluster, running: Running) -> None:
        running.put("one", "Failed", FAILED)
        outcome = await fire(workflow(name="one"), "resubmit", args=["-p", "a=2", "--priority=3"], id="a-1")
        made = cluster.workflow(outcome.detail["name"])
        assert made["metadata"]["generateName"] == "one-"
        labels = made["metadata"]["labels"]
        assert labels["workflows.argoproj.io/resubmitted-from-workflow"] == "one"
        assert labels["events.argoproj.io/trigger"] == "act"
        assert "workflows.argoproj.io/completed" not in labels
        assert "status" not in made
        assert made["spec"]["arguments"]["parameters"] == [{"name": "a", "value": "2"}]
        assert made["spec"]["priority"] == 3
        again = await fire(workflow(name="one"), "resubmit", args=["-p", "a=2", "--priority=3"], id="a-1")
        assert again.detail["uid"] == outcome.detail["uid"]

    async def test_what_succeeded_is_not_done_again(self, fire: Any, cluster: Cluster, running: Running) -> None:
        running.put("one", "Failed", FAILED)
        outcome = await fire(workflow(name="one"), "resubmit", args=["--memoized"], id="a-1")
        name = outcome.detail["name"]
        found = cluster.workflow(name)["status"]["nodes"]
        phases = {each["name"].removeprefix(name): each["phase"] for each in found.values()}
        assert phases == {"": "Pending", ".a": "Skipped", ".b": "Pending"}
        running.put("two", "Succeeded", FAILED)
        with pytest.raises(Rejected, match="only a Workflow that failed"):
            await fire(workflow(name="two"), "resubmit", args=["--memoized"])


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
