"""Workflows that triggers submit, against the WorkflowTemplates that they name: whether the template is there,
and whether the arguments are those that it asks for. And ``args``: whether the operation takes them.

The rules are those of Argo Workflows (``workflow/validate/validate.go``): an argument without a value is
refused when the Workflow is submitted, a value outside ``enum`` as well; an argument that nobody asked for is
accepted and does nothing. What parameters of the trigger write is taken into account; where they write in a
way that cannot be followed, nothing is said.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from argosy.errors import ArgosyError
from argosy.lang import gojson
from argosy.manifests._bundle import Bundle, Key, WorkflowTemplate
from argosy.manifests.checks._walk import Held, each_trigger, held_object, mapping, says_namespace, sensors_by_key
from argosy.manifests.checks.destinations import misplaced
from argosy.manifests.findings import Loc, Problem, Severity
from argosy.manifests.sensor import TriggerSpec
from argosy.manifests.spelling import did_you_mean, is_slip
from argosy.triggers import _workflow_args

_WRITTEN = "written by argosy lint"
"""Stands for what a parameter writes; no manifest holds it by chance."""


@dataclass
class _Argument:
    """``value`` is None where there is none, and ``_WRITTEN`` where the event gives it."""

    loc: Loc
    value: Any = None
    has_source: bool = False

    @property
    def given(self) -> bool:
        return self.value is not None or self.has_source


@dataclass
class _Submission:
    """What a trigger submits: the template's name, kind and namespace, and the arguments by name."""

    held: Held
    name: str
    kind: str
    namespace: str
    at: Loc
    arguments: dict[str, _Argument] = field(default_factory=dict)
    placed: bool = True
    """Whether the manifest says the namespace."""
    certain: bool = True
    """Whether all arguments could be worked out."""


def check(bundle: Bundle) -> Iterator[tuple[Key, Problem]]:
    """Templates that are not there, and arguments that do not fit them."""
    for key, sensor in sensors_by_key(bundle):
        for loc, trigger in each_trigger(sensor):
            for problem in _options(trigger):
                yield key, problem.inside(*loc)
            submission = _submission(trigger, key.namespace, says_namespace(sensor.raw))
            if submission is None or trigger.writes(submission.at[1:]):
                continue
            for problem in _judged(bundle, submission):
                if not trigger.writes(problem.loc[1:]):
                    yield key, problem.inside(*loc)


def _options(trigger: TriggerSpec) -> Iterator[Problem]:
    loc: Loc = ("template", trigger.kind, "args")
    if trigger.kind != "argoWorkflow" or trigger.writes(loc[1:]) or trigger.writes((trigger.kind, "operation")):
        return
    try:
        _workflow_args.parse(getattr(trigger.config, "args", ()), _operation(trigger))
    except ArgosyError as error:
        yield Problem("workflow-args", str(error), loc, "error")


def _operation(trigger: TriggerSpec) -> str:
    return getattr(trigger.config, "operation", "") or ("create" if trigger.kind == "k8s" else "submit")


def _submission(trigger: TriggerSpec, namespace: str, sensor_placed: bool) -> _Submission | None:
    held = held_object(trigger)
    operation = _operation(trigger)
    if held is None or operation not in ("create", "update", "patch", "submit", "submit-from"):
        return None
    body = _with_parameters(trigger, held.body)
    if body is None:
        return None
    metadata, kind = mapping(body, "metadata"), body.get("kind")
    space = metadata.get("namespace") or namespace
    if kind == "Workflow" and operation != "submit-from":
        reference = mapping(body, "spec", "workflowTemplateRef")
        name = reference.get("name")
        template = "ClusterWorkflowTemplate" if reference.get("clusterScope") is True else "WorkflowTemplate"
        at = held.place("spec", "workflowTemplateRef", "name")
    elif operation == "submit-from" and kind in ("WorkflowTemplate", "ClusterWorkflowTemplate"):
        name, template, at = metadata.get("name"), kind, held.place("metadata", "name")
    else:
        return None
    if not isinstance(name, str) or not isinstance(space, str) or _WRITTEN in (name, space):
        return None
    placed = bool(metadata.get("namespace")) or sensor_placed
    found = _Submission(held, name, template, space, at, placed=placed)
    _collect(found, body)
    _collect_options(found, trigger)
    # What was meant for an argument and went elsewhere is said where it goes.
    found.certain = found.certain and not any(misplaced(trigger))
    return found


def _with_parameters(trigger: TriggerSpec, body: dict[str, Any]) -> dict[str, Any] | None:
    """The object after all parameters wrote into it; None where they write what cannot be followed."""
    inside = f"{trigger.kind}.source.resource."
    dests: list[str] = []
    for parameter in trigger.parameters:
        if parameter.dest.startswith(inside):
            dests.append(parameter.dest.removeprefix(inside))
        elif parameter.dest.split(".")[0] == trigger.kind:
            return None
    dests += [parameter.dest for parameter in getattr(trigger.config, "parameters", ())]
    if not dests:
        return body
    from argosy.lang import sjson  # not loaded for manifests without parameters

    try:
        text = gojson.dumps(body)
        for dest in dests:
            text = sjson.set(text, dest, _WRITTEN)
        written = gojson.loads(text)
    except ArgosyError:
        return None
    return written if isinstance(written, dict) else None


def _collect(found: _Submission, body: dict[str, Any]) -> None:
    entries = mapping(body, "spec", "arguments").get("parameters")
    if entries is None:
        # "spec: …" as a whole comes from the event.
        found.certain = _WRITTEN not in (body.get("spec"), mapping(body, "spec").get("arguments"))
        return
    if not isinstance(entries, list):
        found.certain = False
        return
    for index, entry in enumerate(entries):
        name = entry.get("name") if isinstance(entry, dict) else None
        if not isinstance(name, str) or name == _WRITTEN:
            found.certain = False
            continue
        at = found.held.place("spec", "arguments", "parameters", index, "name")
        found.arguments[name] = _Argument(at, entry.get("value"), entry.get("valueFrom") is not None)


def _collect_options(found: _Submission, trigger: TriggerSpec) -> None:
    args = getattr(trigger.config, "args", None)
    if not args:
        return
    loc = ("template", trigger.kind, "args")
    if trigger.writes(loc[1:]):
        found.certain = False
    try:
        options = _workflow_args.parse(args, _operation(trigger))
    except ArgosyError:
        found.certain = False
        return
    for name, value in options.parameters.items():
        found.arguments[name] = _Argument(loc, value)


def _judged(bundle: Bundle, found: _Submission) -> Iterator[Problem]:
    peers = [one for one in bundle.workflow_templates if one.kind == found.kind]
    template = bundle.workflow_template(found.namespace, found.name, found.kind)
    if template is None and (maybe := [one for one in peers if one.metadata.name == found.name]):
        # Where one of the two leaves its namespace to kubectl or kustomize, they may well meet.
        template = next((one for one in maybe if not (found.placed and says_namespace(one.raw))), None)
    if template is None:
        if peers or found.kind in bundle.whole:
            names = [one.metadata.name for one in peers if one.metadata.namespace == found.namespace]
            elsewhere = sorted(one.metadata.namespace for one in peers if one.metadata.name == found.name)
            near = did_you_mean(found.name, names)
            if elsewhere and found.kind == "WorkflowTemplate":
                near = f" in namespace '{found.namespace}'; there is one in namespace '{elsewhere[0]}'"
            text = f"{found.kind} '{found.name}' is not {bundle.here}{near}"
            yield Problem("unknown-workflow-template", text, found.at, "warning")
        return
    if not found.certain:
        return
    wanted = _wanted(template)
    surplus = [name for name in found.arguments if name not in wanted]
    missing = [
        name
        for name, entry in wanted.items()
        if not _has_value(entry) and not (name in found.arguments and found.arguments[name].given)
    ]
    meant = _meant(surplus, [name for name in wanted if name not in found.arguments], missing)
    for name in surplus:
        if name in meant or _certainly_unused(bundle, template, name, set()):
            # A parameter with a default that keeps it because of a slip is as wrong as one that is missing.
            # So is one that the event's value was led to.
            led = found.arguments[name].value == _WRITTEN
            severity: Severity = "warning" if name in meant or led else "info"
            near = f"; did you mean '{meant[name]}'?" if name in meant else ", and nothing in it uses one"
            text = f"{found.kind} '{found.name}' has no parameter '{name}'{near}"
            yield Problem("unknown-parameter", text, found.arguments[name].loc, severity)
    for name in missing:
        if name not in meant.values():
            at = found.held.place("spec", "arguments", "parameters")
            text = f"{found.kind} '{found.name}' wants a value for its parameter '{name}'"
            yield Problem(
                "missing-parameter", text, found.arguments[name].loc if name in found.arguments else at, "warning"
            )
    for name, argument in found.arguments.items():
        options = wanted.get(name, {}).get("enum")
        if not isinstance(options, list) or not options or not isinstance(argument.value, str):
            continue
        if argument.value != _WRITTEN and argument.value not in map(_text, options):
            listed = ", ".join(f"'{_text(one)}'" for one in options)
            text = f"{found.kind} '{found.name}' takes only {listed} for its parameter '{name}'"
            at = (*argument.loc[:-1], "value") if argument.loc[-1] == "name" else argument.loc
            yield Problem("parameter-value", text, at, "warning")


def _meant(surplus: list[str], free: list[str], missing: list[str]) -> dict[str, str]:
    """Which parameter of the template was meant by which surplus argument, where that is clear."""
    meant: dict[str, str] = {}
    for name in surplus:
        near = difflib.get_close_matches(name.lower(), [one.lower() for one in missing], 1)
        if near:
            meant[name] = next(one for one in missing if one.lower() == near[0])
        elif is_slip(name, free):
            meant[name] = next(one for one in free if is_slip(name, [one]))
    if not meant and len(surplus) == len(missing) == 1:
        meant[surplus[0]] = missing[0]
    return meant


def _wanted(template: WorkflowTemplate) -> dict[str, dict[str, Any]]:
    entries = mapping(template.raw, "spec", "arguments").get("parameters")
    return {
        entry["name"]: entry
        for entry in (entries if isinstance(entries, list) else ())
        if isinstance(entry, dict) and isinstance(entry.get("name"), str)
    }


def _has_value(entry: dict[str, Any]) -> bool:
    return any(entry.get(word) is not None for word in ("value", "valueFrom", "default"))


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _certainly_unused(bundle: Bundle, template: WorkflowTemplate, name: str, seen: set[tuple[str, str]]) -> bool:
    """Whether nothing that the template runs mentions the workflow's parameter; False where that is open."""
    here = (template.metadata.namespace, template.metadata.name)
    if here in seen:
        return True
    seen.add(here)
    # A mention of all parameters, or one in an expression, may mean any of them.
    mention = re.compile(r"workflow\.parameters(?:(?![.\w])|\.json\b|\." + re.escape(name) + ")")
    if any(mention.search(text) for text in _strings(template.raw.get("spec"))):
        return False
    for reference in _references(template.raw.get("spec")):
        kind = "ClusterWorkflowTemplate" if reference.get("clusterScope") is True else "WorkflowTemplate"
        other = reference.get("name")
        next_ = bundle.workflow_template(here[0], other, kind) if isinstance(other, str) else None
        if next_ is None or not _certainly_unused(bundle, next_, name, seen):
            return False
    return True


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _strings(item)


def _references(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            if key in ("templateRef", "workflowTemplateRef") and isinstance(item, dict):
                yield item
            else:
                yield from _references(item)
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)
