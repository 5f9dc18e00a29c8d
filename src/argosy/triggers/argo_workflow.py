"""The ``argoWorkflow`` trigger: submits Workflows, from an object or from a template in the cluster, and
suspends, resumes, stops, retries or resubmits them.

Everything is a call of the Kubernetes API; there is no ``argo`` program. ``submit-from`` builds the Workflow
as the Argo server does (``workflow/common/convert.go`` and ``SubmitWorkflow`` in
``server/workflow/workflow_server.go`` of Argo Workflows): a reference to a WorkflowTemplate or
ClusterWorkflowTemplate, or a copy of a CronWorkflow's ``workflowSpec``. One action makes one Workflow,
however often it is tried, and changes one once: what it has changed says so in an annotation (``CHANGED_BY``).

Different from upstream: Workflows of ``submit-from`` carry the three labels too, and take the arguments that
the source (with its ``parameters``) gives, which upstream drops; a label policy works.
"""

from __future__ import annotations

import contextlib
from typing import Any, ClassVar, Literal

import orjson
from pydantic import Field

from argosy.errors import Rejected
from argosy.kubernetes.client import Conflict, NotFound
from argosy.kubernetes.rights import EVERYWHERE, Asking, Right, Rights
from argosy.manifests.fields import Json
from argosy.triggers import _workflow_again, _workflow_args, _workflow_nodes
from argosy.triggers._base import Action, Outcome
from argosy.triggers._objects import KubernetesTrigger, Object, ObjectConfig, Target, drawn_name, required_name
from argosy.triggers._rights import about, acted
from argosy.triggers._workflow_args import SubmitOptions

_GROUP = "argoproj.io"
_API = f"{_GROUP}/v1alpha1"
_LABEL = _workflow_nodes.LABEL
_INSTANCE = f"{_LABEL}controller-instanceid"  # which controller a CronWorkflow, and so its Workflow, belongs to
_DONE = ("Succeeded", "Failed", "Error")
_TRIES = 5  # of reading, changing and writing, when the controller writes at the same time
CHANGED_BY = "argosy.dev/changed-by"
"""The annotation that says which action resumed, stopped or retried the Workflow last."""

Operation = Literal["", "submit", "submit-from", "suspend", "resubmit", "retry", "resume", "terminate", "stop"]


class ArgoWorkflowConfig(ObjectConfig):
    """The ``argoWorkflow`` block."""

    operation: Operation = ""
    """Empty means submit."""
    args: list[str] = Field(default_factory=list)
    """Options of the ``argo`` program for the operation, as far as they change the Workflow: ``-p file=a.txt`` with submit,
    submit-from, resubmit and retry; ``--memoized`` with resubmit; ``--restart-successful`` with retry; ``--node-field-selector``
    with retry, resume and stop.
    """


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

    @classmethod
    def rights(cls, config: ArgoWorkflowConfig, asking: Asking) -> Rights:
        what = about(config, asking)
        if isinstance(what, str):
            return acted(Rights(unknown=[what]), config, asking)
        operation = config.operation or "submit"
        try:
            options = _workflow_args.parse(config.args, operation)
        except Rejected as error:
            return Rights(unknown=[str(error)])
        space = asking.namespace if what.namespace == EVERYWHERE else what.namespace
        drawn = bool(options.generate_name)

        def workflow(verb: str, name: str = "") -> Right:
            return Right(verb, _GROUP, "workflows", space, name)

        if operation in ("submit", "submit-from"):
            name = options.name or ("" if drawn or operation == "submit-from" else what.name)
            rights = Rights([workflow("create")], [workflow("get", name)] if name else [])
            if operation == "submit-from":
                rights.required.insert(0, what.right("get"))
        elif operation == "resubmit":
            name = ""
            rights = Rights([workflow("get", what.name), workflow("create")])
        else:
            name = what.name
            nodes = operation == "stop" and options.node_field_selector
            writes = "update" if operation in ("resume", "retry") or nodes else "patch"
            # What is as it shall be already is not written; a retry begins with the pods of the nodes that are run again.
            rights = Rights([workflow("get", name)], [workflow(writes, name)])
            if operation == "retry":
                rights.sometimes.append(Right("delete", "", "pods", space))
        if asking.policy is not None and not config.dry_run:
            rights.required.append(workflow("get", name))
            rights.sometimes.append(workflow("watch", name))
        return acted(rights, config, asking)

    async def fetch(self, config: ArgoWorkflowConfig) -> Json | None:
        return await self.objects.fetch(config.source)

    async def fire(self, config: ArgoWorkflowConfig, action: Action) -> Outcome:
        target = await self.target(action.resource, config)
        operation = config.operation or "submit"
        options = _workflow_args.parse(config.args, operation)
        if operation == "submit":
            outcome = await self._submit(target, options, action)
        elif operation == "submit-from":
            outcome = await self._submit_from(target, options, action)
        elif operation == "resubmit":
            outcome = await self._resubmit(await self._named(target), options, action)
        elif operation == "retry":
            outcome = await self._retry(await self._named(target), options, action)
        elif operation == "resume":
            outcome = await self._resume(await self._named(target), options, action)
        elif operation == "stop" and options.node_field_selector:
            outcome = await self._stop_nodes(await self._named(target), options, action)
        elif operation == "suspend":
            outcome = await self._set(await self._named(target), "suspended", {"suspend": True})
        elif operation == "terminate":
            outcome = await self._set(await self._named(target), "terminated", {"shutdown": "Terminate"})
        else:
            outcome = await self._set(await self._named(target), "stopped", {"shutdown": "Stop"})
        if action.policy is not None and action.policy.k8s is not None and not config.dry_run:
            workflows = await self.client.discover(_API, "Workflow")
            about = {"name": outcome.detail["name"]}
            made = Target(workflows, outcome.detail["namespace"], {"metadata": about}, target.client)
            await self.await_policy(made, action.policy.k8s)
        return outcome

    async def _submit(self, target: Target, options: SubmitOptions, action: Action) -> Outcome:
        if target.resource.kind != "Workflow":
            raise Rejected(
                f"operation submit wants a Workflow in the source, not a {target.resource.kind};"
                " to run a template of the cluster, use submit-from"
            )
        options.apply(target.body)
        return await self.make(target, action)

    async def _submit_from(self, target: Target, options: SubmitOptions, action: Action) -> Outcome:
        name, kind = required_name(target, "submit from"), target.resource.kind
        if kind not in ("WorkflowTemplate", "ClusterWorkflowTemplate", "CronWorkflow"):
            wanted = "a WorkflowTemplate, a ClusterWorkflowTemplate or a CronWorkflow"
            raise Rejected(f"operation submit-from wants {wanted} in the source, not a {kind}")
        try:
            stored = await target.client.get(target.resource, name, target.namespace)
        except NotFound as error:
            raise NotFound(f"{target}, which operation submit-from names, is not there") from error
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
        return await self.make(Target(workflows, namespace, workflow, target.client), action)

    async def _named(self, target: Target) -> Target:
        """The Workflow of the cluster that the source names; what else the source says of it does not count."""
        name = required_name(target, "change")
        workflows = await self.client.discover(_API, "Workflow")
        about = {"name": name, "annotations": target.body["metadata"].get("annotations")}
        return Target(workflows, target.namespace or self.ctx.namespace, {"metadata": about}, target.client)

    async def _read(self, target: Target) -> Object:
        found: Object = await target.client.get(target.resource, target.name, target.namespace)
        return found

    async def _set(self, target: Target, word: str, spec: Object) -> Outcome:
        found = await self._read(target)
        if all((found.get("spec") or {}).get(key) == value for key, value in spec.items()):
            return self.outcome(f"{word} already:", target._replace(body=found))
        if _ended(found):
            raise Rejected(f"{target} has ended ({_phase(found)}); it cannot be {word}")
        made = await target.client.patch(target.resource, target.name, {"spec": spec}, target.namespace)
        return self.outcome(word, target._replace(body=made))

    async def _resume(self, target: Target, options: SubmitOptions, action: Action) -> Outcome:
        for _ in range(_TRIES):
            found = await self._read(target)
            if _changed_by(found) == action.id:
                return self.outcome("resumed already, by an earlier try:", target._replace(body=found))
            if not _workflow_nodes.resume(found, options.node_field_selector, self.ctx.clock.now()):
                return self.outcome("nothing to resume, nothing waits in", target._replace(body=found))
            if made := await self._written(target, found, action):
                return self.outcome("resumed", target._replace(body=made))
        raise self._busy(target)

    async def _stop_nodes(self, target: Target, options: SubmitOptions, action: Action) -> Outcome:
        for _ in range(_TRIES):
            found = await self._read(target)
            if _changed_by(found) == action.id:
                return self.outcome("stopped already, by an earlier try:", target._replace(body=found))
            _workflow_nodes.fail(found, options.node_field_selector, options.message, self.ctx.clock.now())
            if made := await self._written(target, found, action):
                return self.outcome("stopped nodes of", target._replace(body=made))
        raise self._busy(target)

    async def _retry(self, target: Target, options: SubmitOptions, action: Action) -> Outcome:
        pods = await self.client.discover("v1", "Pod")
        for _ in range(_TRIES):
            found = await self._read(target)
            if _changed_by(found) == action.id:
                return self.outcome("retried already, by an earlier try:", target._replace(body=found))
            new, ended = _workflow_again.retried(found, options, self.ctx.clock.now())
            # As the Argo server does: first the pods, whose names the new ones will have.
            for name in ended:
                with contextlib.suppress(NotFound):
                    await target.client.delete(pods, name, target.namespace)
            if made := await self._written(target, new, action):
                return self.outcome("retried", target._replace(body=made))
        raise self._busy(target)

    async def _resubmit(self, target: Target, options: SubmitOptions, action: Action) -> Outcome:
        found = await self._read(target)
        generated = found["metadata"].get("generateName") or f"{target.name}-"
        name = drawn_name(generated, action.id)
        new = _workflow_again.resubmitted(found, options, name, self.ctx.clock.now())
        new["metadata"]["namespace"] = target.namespace
        new["metadata"]["annotations"].pop(CHANGED_BY, None)
        if "status" in new:
            _workflow_nodes.pack(new)
        return await self.make(target._replace(body=new), action)

    async def _written(self, target: Target, body: Object, action: Action) -> Object | None:
        """The Workflow as written; None if somebody else, such as its controller, wrote since it was read."""
        about = body["metadata"]
        about["annotations"] = {**(about.get("annotations") or {}), CHANGED_BY: action.id}
        _workflow_nodes.pack(body)
        try:
            made: Object = await target.client.replace(target.resource, target.name, body, target.namespace)
        except Conflict:
            return None
        return made

    @staticmethod
    def _busy(target: Target) -> Conflict:
        return Conflict(f"{target} is changed by others all the time; this change found no moment")


def _phase(workflow: Object) -> str:
    return str((workflow.get("status") or {}).get("phase") or "completed")


def _ended(workflow: Object) -> bool:
    completed = (workflow["metadata"].get("labels") or {}).get(f"{_LABEL}completed")
    return _phase(workflow) in _DONE or completed == "true"


def _changed_by(workflow: Object) -> str:
    return str((workflow["metadata"].get("annotations") or {}).get(CHANGED_BY) or "")


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
