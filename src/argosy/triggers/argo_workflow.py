"""The ``argoWorkflow`` trigger: submits Workflows, from an object or from a template in the cluster, and
stops or suspends them.

Everything is a call of the Kubernetes API; there is no ``argo`` program. ``submit-from`` builds the Workflow
as the Argo server does (``workflow/common/convert.go`` and ``SubmitWorkflow`` in
``server/workflow/workflow_server.go`` of Argo Workflows): a reference to a WorkflowTemplate or
ClusterWorkflowTemplate, or a copy of a CronWorkflow's ``workflowSpec``. One action makes one Workflow,
however often it is tried.

Different from upstream: Workflows of ``submit-from`` carry the three labels too, and take the arguments that
the source (with its ``parameters``) gives, which upstream drops; a label policy works; ``resume``, ``retry``
and ``resubmit`` are still missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import orjson
from pydantic import Field

from argosy.errors import Rejected
from argosy.kubernetes.client import NotFound
from argosy.manifests.fields import ArtifactLocation, Json, TriggerParameter
from argosy.triggers import _sources, _workflow_args
from argosy.triggers._base import Action, Outcome, TriggerConfig
from argosy.triggers._objects import SAID_BY_OBJECT, KubernetesTrigger, Object, Target, required_name

_API = "argoproj.io/v1alpha1"
_LABEL = "workflows.argoproj.io/"
_INSTANCE = f"{_LABEL}controller-instanceid"  # which controller a CronWorkflow, and so its Workflow, belongs to
_DONE = ("Succeeded", "Failed", "Error")

Operation = Literal["", "submit", "submit-from", "suspend", "resubmit", "retry", "resume", "terminate", "stop"]


class ArgoWorkflowConfig(TriggerConfig):
    """The ``argoWorkflow`` block."""

    dropped: ClassVar[Mapping[str, str]] = SAID_BY_OBJECT

    source: ArtifactLocation
    operation: Operation = ""
    """Empty means submit."""
    parameters: list[TriggerParameter] = Field(default_factory=list)
    """Set on the object of the source."""
    args: list[str] = Field(default_factory=list)
    """Options of ``argo submit``, as far as they change the Workflow."""


class ArgoWorkflowTrigger(KubernetesTrigger[ArgoWorkflowConfig]):
    """Submits an Argo Workflow, or changes one that runs."""

    kind: ClassVar[str] = "argoWorkflow"
    config = ArgoWorkflowConfig
    requires: ClassVar[tuple[str, ...]] = ("httpx2",)
    extra: ClassVar[str] = "kubernetes"
    peer: ClassVar[str] = "real: kube-apiserver with etcd"
    example: ClassVar[str] = """\
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata:
  name: argo-workflow
spec:
  template:
    serviceAccountName: workflow-submitter
  dependencies:
    - name: upload
      eventSourceName: webhook
      eventName: uploads
  triggers:
    - template:
        name: scan-upload
        argoWorkflow:
          operation: submit
          source:
            resource:
              apiVersion: argoproj.io/v1alpha1
              kind: Workflow
              metadata:
                generateName: scan-
              spec:
                workflowTemplateRef:
                  name: scan
                arguments:
                  parameters:
                    - name: file
                      value: unknown
          parameters:
            - src:
                dependencyName: upload
                dataKey: body.file
              dest: spec.arguments.parameters.0.value
"""

    async def fetch(self, config: ArgoWorkflowConfig) -> Json | None:
        return await _sources.fetch(config.source, self.ctx)

    async def fire(self, config: ArgoWorkflowConfig, action: Action) -> Outcome:
        target = await self.target(action.resource)
        operation = config.operation or "submit"
        if operation == "submit":
            outcome = await self._submit(target, config.args, action)
        elif operation == "submit-from":
            outcome = await self._submit_from(target, config.args, action)
        elif operation == "suspend":
            outcome = await self._change(target, "suspended", {"suspend": True}, config.args)
        elif operation == "terminate":
            outcome = await self._change(target, "terminated", {"shutdown": "Terminate"}, config.args)
        elif operation == "stop":
            outcome = await self._change(target, "stopped", {"shutdown": "Stop"}, config.args)
        else:
            raise Rejected(
                f"argoWorkflow operation {operation!r} comes with a later version of Argosy;"
                " today there are submit, submit-from, suspend, stop and terminate"
            )
        if action.policy is not None and action.policy.k8s is not None:
            workflows = await self.client.discover(_API, "Workflow")
            about = {"name": outcome.detail["name"]}
            made = Target(workflows, outcome.detail["namespace"], {"metadata": about})
            await self.await_labels(made, action.policy.k8s)
        return outcome

    async def _submit(self, target: Target, args: list[str], action: Action) -> Outcome:
        if target.resource.kind != "Workflow":
            raise Rejected(
                f"operation submit wants a Workflow in the source, not a {target.resource.kind};"
                " to run a template of the cluster, use submit-from"
            )
        _workflow_args.parse(args).apply(target.body)
        return await self.make(target, action)

    async def _submit_from(self, target: Target, args: list[str], action: Action) -> Outcome:
        name, kind = required_name(target, "submit from"), target.resource.kind
        if kind not in ("WorkflowTemplate", "ClusterWorkflowTemplate", "CronWorkflow"):
            wanted = "a WorkflowTemplate, a ClusterWorkflowTemplate or a CronWorkflow"
            raise Rejected(f"operation submit-from wants {wanted} in the source, not a {kind}")
        try:
            stored = await self.client.get(target.resource, name, target.namespace)
        except NotFound as error:
            raise NotFound(f"{target}, which operation submit-from names, is not there") from error
        options = _workflow_args.parse(args)
        # What the source says of arguments counts like -p, and -p wins.
        options.parameters = {**_given_parameters(target.body), **options.parameters}
        if kind == "CronWorkflow":
            workflow = _from_cron(stored, self.ctx.clock.now().isoformat(timespec="seconds"))
        else:
            workflow = _from_template(name, cluster=kind == "ClusterWorkflowTemplate")
        namespace = target.namespace or self.ctx.namespace
        workflow["metadata"]["namespace"] = namespace
        options.apply(workflow)
        if kind != "CronWorkflow":
            _check_arguments(target, stored, workflow)
        workflows = await self.client.discover(_API, "Workflow")
        return await self.make(Target(workflows, namespace, workflow), action)

    async def _change(self, target: Target, word: str, spec: Object, args: list[str]) -> Outcome:
        name = required_name(target, "change")
        if args:
            raise Rejected(f"args: {args[0]!r} is not supported with an operation on a running workflow")
        workflows = await self.client.discover(_API, "Workflow")
        target = Target(workflows, target.namespace or self.ctx.namespace, target.body)
        found = await self.client.get(workflows, name, target.namespace)
        about, status = found["metadata"], found.get("status") or {}
        if all((found.get("spec") or {}).get(key) == value for key, value in spec.items()):
            return self.outcome(f"{word} already:", target._replace(body=found))
        if status.get("phase") in _DONE or (about.get("labels") or {}).get(f"{_LABEL}completed") == "true":
            raise Rejected(f"{target} has ended ({status.get('phase') or 'completed'}); it cannot be {word}")
        made = await self.client.patch(workflows, name, {"spec": spec}, target.namespace)
        return self.outcome(word, target._replace(body=made))


def _given_parameters(body: Object) -> dict[str, str]:
    """The arguments that the source names with a value. Values are text in a Workflow."""
    arguments: Any = (body.get("spec") or {}).get("arguments") or {}
    return {
        each["name"]: _text(each["value"])
        for each in arguments.get("parameters") or ()
        if isinstance(each, dict) and each.get("name") and each.get("value") is not None
    }


def _text(value: Json) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _from_template(name: str, *, cluster: bool) -> Object:
    reference: Object = {"name": name}
    if cluster:
        reference["clusterScope"] = True
    label = "cluster-workflow-template" if cluster else "workflow-template"
    return {
        "apiVersion": _API,
        "kind": "Workflow",
        "metadata": {"generateName": f"{name}-", "labels": {_LABEL + label: name}},
        "spec": {"workflowTemplateRef": reference},
    }


def _from_cron(cron: Object, now: str) -> Object:
    about, spec = cron["metadata"], cron.get("spec") or {}
    extra = spec.get("workflowMetadata") or {}
    labels = about.get("labels") or {}
    metadata: Object = {
        "generateName": f"{about['name']}-",
        "labels": {
            **({_INSTANCE: labels[_INSTANCE]} if _INSTANCE in labels else {}),
            f"{_LABEL}cron-workflow": about["name"],
            **(extra.get("labels") or {}),
        },
        "annotations": {f"{_LABEL}scheduled-time": now, **(extra.get("annotations") or {})},
        "ownerReferences": [
            {
                "apiVersion": _API,
                "kind": "CronWorkflow",
                "name": about["name"],
                "uid": about["uid"],
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }
    if extra.get("finalizers"):
        metadata["finalizers"] = list(extra["finalizers"])
    return {
        "apiVersion": _API,
        "kind": "Workflow",
        "metadata": metadata,
        "spec": dict(spec.get("workflowSpec") or {}),
    }


def _check_arguments(template: Target, stored: Object, workflow: Object) -> None:
    """Raise Rejected if the template wants an argument that neither it nor the action gives (the server
    checks the same).
    """
    wanted = ((stored.get("spec") or {}).get("arguments") or {}).get("parameters") or ()
    given = {each["name"] for each in workflow["spec"].get("arguments", {}).get("parameters", ())}
    for each in wanted:
        if each.get("value") is None and each.get("valueFrom") is None and each.get("name") not in given:
            raise Rejected(
                f"{template} wants a value for its parameter {each.get('name')!r}; give it in args:"
                f" ['-p', '{each.get('name')}=…'], or in the source under spec.arguments.parameters"
            )
