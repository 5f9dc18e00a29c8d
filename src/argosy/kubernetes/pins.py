"""Which Workflows the triggers of a sensor create, and the policy by which a cluster lets them create no others.

A role can say "may create Workflows" and no more; who has it can run any container under any service account of the
namespace. A ValidatingAdmissionPolicy (Kubernetes 1.30 and newer) says the rest: a Workflow of this account must have the
spec of one of its triggers, field by field; what events write into (its arguments) is left open.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from argosy.errors import Rejected
from argosy.kubernetes.rights import Asking
from argosy.manifests.sensor import TriggerSpec
from argosy.triggers import _workflow_args
from argosy.triggers._rights import About, about

_ADMISSION = "admissionregistration.k8s.io/v1"
_GROUP = "argoproj.io"
_TEMPLATES = ("WorkflowTemplate", "ClusterWorkflowTemplate")
_CREATES = ("submit", "submit-from", "resubmit", "create", "update", "patch", "apply")
_OPEN = frozenset(("arguments", "entrypoint", "priority", "parallelism", "activeDeadlineSeconds", "ttlStrategy"))
"""Fields of a spec that an event may decide without that something else is run, or with other rights."""
_UPDATED = _OPEN | {"suspend", "shutdown"}
"""What triggers that suspend, stop, resume or retry a Workflow change in its spec."""
Object = dict[str, Any]


@dataclass(frozen=True)
class Shape:
    """The Workflows of one trigger. ``spec`` holds what is fixed, as JSON by field; ``open`` what an event decides."""

    title: str
    namespace: str
    spec: tuple[tuple[str, str], ...]
    open: tuple[str, ...]

    def expression(self) -> str:
        """A Workflow is of this shape, in CEL."""
        fields = _text(sorted([*dict(self.spec), *self.open]))
        terms = [f"request.namespace == {_text(self.namespace)}", f"object.spec.all(field, field in {fields})"]
        for name, text in self.spec:
            terms.append(f"has(object.spec.{name}) && object.spec.{name} == {_literal(json.loads(text))}")
        return " && ".join(terms)


@dataclass
class Pins:
    """The Workflows of an account. ``loose`` says of which triggers they cannot be told."""

    shapes: list[Shape] = field(default_factory=list)
    loose: list[str] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Whether there are any, and all of them are known."""
        return bool(self.shapes) and not self.loose

    def take(self, trigger: TriggerSpec, asking: Asking) -> None:
        """Add what the trigger creates, if that is Workflows."""
        config: Any = trigger.config
        if trigger.kind not in ("argoWorkflow", "k8s"):
            return
        what = about(config, asking) if config is not None else "its own parameters decide what it does"
        if isinstance(what, str):
            self.loose.append(f"trigger '{trigger.name}': {what}")
            return
        workflows = trigger.kind == "argoWorkflow" or (what.kind, what.group) == ("Workflow", _GROUP)
        operation = config.operation or ("submit" if trigger.kind == "argoWorkflow" else "create")
        if workflows and operation in _CREATES:
            shape = _shape(trigger, what, operation, asking)
            if isinstance(shape, str):
                self.loose.append(f"trigger '{trigger.name}' {shape}")
            elif shape not in self.shapes:
                self.shapes.append(shape)


def _shape(trigger: TriggerSpec, what: About, operation: str, asking: Asking) -> Shape | str:
    """The Workflows of a trigger, or why they cannot be told, as a clause."""
    config: Any = trigger.config
    if operation == "resubmit" or (operation == "submit-from" and what.kind not in _TEMPLATES):
        return f"runs what a {what.kind} of the cluster says"
    if operation == "submit-from" and not what.name:
        return "runs a template that the event decides"
    body = _from(what) if operation == "submit-from" else copy.deepcopy(what.body)
    if trigger.kind == "argoWorkflow":
        try:
            _workflow_args.parse(config.args, operation).apply({"metadata": {}, **body})
        except Rejected as error:
            return f"has args that do not work: {error}"
    spec = body.get("spec")
    if not isinstance(spec, dict) or not all(name.isidentifier() for name in spec):
        return "has an object without a spec"
    decided = set()
    for dest in [one.dest for one in config.parameters]:
        top, _, rest = dest.partition(".")
        if top == "spec":
            decided.add(rest.partition(".")[0])
    if operation == "submit-from":
        decided &= {"arguments"}  # of what the source says beside the template's name, nothing else counts
    if odd := decided - _OPEN:
        return f"lets the event decide spec.{min(odd)} of its Workflow"
    fixed = tuple(
        sorted((name, json.dumps(value, sort_keys=True)) for name, value in spec.items() if name not in decided)
    )
    reference = spec.get("workflowTemplateRef")
    name = reference.get("name") if isinstance(reference, dict) else None
    title = f"of template '{name}'" if name else f"of trigger '{trigger.name}'"
    return Shape(title, what.namespace or asking.namespace, fixed, tuple(sorted(decided)))


def _from(what: About) -> Object:
    reference: Object = {"name": what.name}
    if what.kind == "ClusterWorkflowTemplate":
        reference["clusterScope"] = True
    spec: Object = {"workflowTemplateRef": reference}
    given = what.body.get("spec")
    if isinstance(given, dict) and given.get("arguments"):
        spec["arguments"] = given["arguments"]
    return {"metadata": {}, "spec": spec}


def _literal(value: Any) -> str:
    """A JSON value in CEL. ``dyn`` lets a list or a map hold values of several types."""
    if isinstance(value, dict):
        inner = ", ".join(f"{_text(name)}: dyn({_literal(each)})" for name, each in sorted(value.items()))
        return f"{{{inner}}}"
    if isinstance(value, list):
        return f"[{', '.join(f'dyn({_literal(each)})' for each in value)}]"
    return _text(value)


def _text(value: Any) -> str:
    # JSON's texts, numbers and flat lists are those of CEL, which has no halves of characters.
    return json.dumps(value, ensure_ascii=False)


def policy(name: str, user: str, pins: Pins) -> Iterator[Object]:
    """The policy and its binding, in the words of ``admissionregistration.k8s.io/v1``. ``user`` is the account as the API server
    names it.
    """
    shapes = sorted(pins.shapes, key=lambda one: (one.namespace, one.title, one.spec))
    rule = {"apiGroups": [_GROUP], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"], "resources": ["workflows"]}
    same = "(field in oldObject.spec && object.spec[field] == oldObject.spec[field])"
    free = f"field in {_text(sorted(_UPDATED))}"
    left = f"oldObject.spec.all(field, {free} || field in object.spec)"  # to leave a field out is a change, too
    updated = f"object.spec.all(field, {free} || {same}) && {left}"
    account = user.removeprefix("system:serviceaccount:").replace(":", "/")
    allowed = ", ".join(_unique(f"{one.title} in namespace '{one.namespace}'" for one in shapes))
    created = "\n|| ".join(_unique(one.expression() for one in shapes))
    yield {
        "apiVersion": _ADMISSION,
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [rule]},
            "matchConditions": [{"name": "account", "expression": f"request.userInfo.username == {_text(user)}"}],
            "validations": [
                {
                    "expression": f"request.operation == 'UPDATE'\n|| {created}",
                    "message": f"service account {account} may create these Workflows only, as its triggers do: {allowed}",
                },
                {
                    "expression": f"request.operation == 'CREATE'\n|| ({updated})",
                    "message": f"service account {account} may change no more of a Workflow's spec than {_shown(_UPDATED)}",
                },
            ],
        },
    }
    yield {
        "apiVersion": _ADMISSION,
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    }


def _shown(words: Iterable[str]) -> str:
    return ", ".join(sorted(words))


def _unique(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))
