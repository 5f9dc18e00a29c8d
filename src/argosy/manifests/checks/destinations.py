"""Places that parameters write to and that are certainly not meant.

``sjson`` makes whatever a path needs and the object lacks, so a misspelt ``dest`` fails nobody: it writes
beside the field. What is said here is only what cannot be right: an index that leaves holes in a list, a key
on a list, a field that the kind does not have, a slip of a field that it has.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from argosy import registry
from argosy.errors import ArgosyError
from argosy.lang import gojson
from argosy.manifests._bundle import Bundle, Key
from argosy.manifests.artifacts import ArtifactLocation
from argosy.manifests.checks._walk import each_trigger, held_object, sensors_by_key
from argosy.manifests.fields import TriggerParameter
from argosy.manifests.findings import Loc, Problem, aliases, model_at
from argosy.manifests.sensor import TriggerSpec, is_kind
from argosy.manifests.spelling import did_you_mean, is_slip
from argosy.triggers._base import Trigger

_METADATA = (
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
)
_WORKFLOW = (
    "activeDeadlineSeconds",
    "affinity",
    "archiveLogs",
    "arguments",
    "artifactGC",
    "artifactRepositoryRef",
    "automountServiceAccountToken",
    "dnsConfig",
    "dnsPolicy",
    "entrypoint",
    "executor",
    "hooks",
    "hostAliases",
    "hostNetwork",
    "imagePullSecrets",
    "metrics",
    "nodeSelector",
    "onExit",
    "parallelism",
    "podDisruptionBudget",
    "podGC",
    "podMetadata",
    "podPriorityClassName",
    "podSpecPatch",
    "priority",
    "retryStrategy",
    "schedulerName",
    "securityContext",
    "serviceAccountName",
    "shutdown",
    "suspend",
    "synchronization",
    "templateDefaults",
    "templates",
    "tolerations",
    "ttlStrategy",
    "volumeClaimGC",
    "volumeClaimTemplates",
    "volumes",
    "workflowMetadata",
    "workflowTemplateRef",
)
"""Fields of a Workflow's spec (Argo Workflows 3.6). Newer ones are no mistake, so only slips of these are."""
_PARAMETER = ("default", "description", "enum", "globalName", "name", "value", "valueFrom")
_TEMPLATE = ("name", "conditions", "conditionsReset", "correlate", "within", "count", "absent", "maxPending")
_HARD = re.compile(r"[|#@*?]")
_MARK = "written by argosy lint"


def check(bundle: Bundle) -> Iterator[tuple[Key, Problem]]:
    """Parameters whose ``dest`` cannot be meant."""
    for key, sensor in sensors_by_key(bundle):
        for loc, trigger in each_trigger(sensor):
            for problem in misplaced(trigger):
                yield key, problem.inside(*loc)


def misplaced(trigger: TriggerSpec) -> Iterator[Problem]:
    """The trigger's parameters whose ``dest`` cannot be meant, with their places in the trigger."""
    for problem in (*_resource_level(trigger), *_template_level(trigger)):
        if problem.loc[0] != "template" or not trigger.writes(problem.loc[1:]):
            yield problem


@dataclass(frozen=True)
class _Dest:
    """Where a parameter writes: its steps, and the place of the text ``dest`` in the trigger."""

    text: str
    steps: tuple[str | int, ...]
    loc: Loc


def _steps(path: str) -> tuple[str | int, ...]:
    """The steps of a path without wildcards: names and indexes; ``:1`` is the name "1"."""
    steps: list[str | int] = []
    for part in re.findall(r"(?:\\.|[^.\\])+", path):
        name = re.sub(r"\\(.)", r"\1", part.removeprefix(":"))
        steps.append(int(name) if part.isascii() and part.isdigit() and len(part) < 6 else name)
    return tuple(steps)


def _dests(entries: Any, loc: Loc) -> Iterator[_Dest]:
    for index, entry in enumerate(entries):
        if isinstance(entry, TriggerParameter) and not _HARD.search(entry.dest) and (steps := _steps(entry.dest)):
            yield _Dest(entry.dest, steps, (*loc, index, "dest"))


def _resource_level(trigger: TriggerSpec) -> Iterator[Problem]:
    config = trigger.config
    dests = list(_dests(getattr(config, "parameters", ()), ("template", trigger.kind, "parameters")))
    if config is None or not dests:
        return
    if not isinstance(getattr(config, "source", None), ArtifactLocation):
        plugin = registry.trigger(trigger.kind)
        if plugin is not None and plugin.fetch is not Trigger.fetch:
            return  # what they are set on is known to the kind's server alone
        for dest in dests:
            yield from _in_model(type(config), dest, dest.steps, f"a '{trigger.kind}' trigger")
        return
    if held := held_object(trigger):
        yield from _in_object(held.body, dests)


def _template_level(trigger: TriggerSpec) -> Iterator[Problem]:
    held = held_object(trigger)
    inside = (trigger.kind, "source", "resource")
    for dest in _dests(trigger.parameters, ("parameters",)):
        first = dest.steps[0]
        if first not in _TEMPLATE and not is_kind(str(first)):
            near = did_you_mean(str(first), (*_TEMPLATE, *registry.trigger_kinds()))
            yield _unknown(f"a trigger's template has no field '{first}'{near}", dest)
        elif first == trigger.kind and trigger.config is not None:
            if held and not held.inline and dest.steps[:3] == inside and len(dest.steps) > 3:
                shorter = dest.text.split(".", 3)[3]
                yield from _in_object(held.body, [_Dest(shorter, dest.steps[3:], dest.loc)])
            else:
                yield from _in_model(type(trigger.config), dest, dest.steps[1:], f"a '{trigger.kind}' trigger")


def _unknown(text: str, dest: _Dest) -> Problem:
    return Problem("unknown-destination", f"{text}, so '{dest.text}' has no effect", dest.loc, "warning")


def _in_model(model: type[BaseModel], dest: _Dest, steps: tuple[str | int, ...], what: str) -> Iterator[Problem]:
    for depth, step in enumerate(steps):
        owner = model_at(model, steps[:depth])
        if owner is None:
            return
        if step not in aliases(owner):
            where = ".".join(map(str, steps[:depth]))
            inner = f"'{where}' of {what}" if where else what
            yield _unknown(f"{inner} has no field '{step}'{did_you_mean(str(step), aliases(owner))}", dest)
            return


def _in_object(body: dict[str, Any], dests: list[_Dest]) -> Iterator[Problem]:
    from argosy.lang import sjson  # not loaded for manifests without parameters

    try:
        text = gojson.dumps(body)
    except ArgosyError:
        return
    holes: list[tuple[_Dest, int, int]] = []
    now: Any = body
    for dest in dests:
        if isinstance(now, dict) and (fault := _misspelt(now, dest)):
            yield _unknown(fault, dest)
        holes += _beyond(now, dest)
        try:
            text = sjson.set(text, dest.text, _MARK)
            now = gojson.loads(text)
        except ArgosyError as error:
            yield Problem("bad-sjson", f"cannot be written to: {error}", dest.loc, "warning")
            return
    yield from _nameless(body, now, dests)
    # What an earlier parameter skipped, a later one may have filled.
    for dest, depth, length in holes:
        items = _at(now, dest.steps[:depth])
        if isinstance(items, list) and None in items[length : int(dest.steps[depth])]:
            where = ".".join(map(str, dest.steps[:depth]))
            text_ = f"'{dest.text}' is beyond the end of '{where}', which has {length} {'entry' if length == 1 else 'entries'}"
            yield Problem("destination-beyond-end", f"{text_}; what is skipped becomes null", dest.loc, "warning")


def _nameless(body: dict[str, Any], now: Any, dests: list[_Dest]) -> Iterator[Problem]:
    """Arguments of a Workflow that parameters added after the last one without giving them a name."""
    way = ("spec", "arguments", "parameters")
    if body.get("kind") not in ("Workflow", "WorkflowTemplate"):
        return
    before = _at(body, way)
    length = len(before) if isinstance(before, list) else 0
    for dest in dests:
        index = dest.steps[3] if len(dest.steps) == 5 and dest.steps[:3] == way else None
        entry = _at(now, (*way, index)) if index == length and dest.steps[-1] == "value" else None
        if isinstance(entry, dict) and "name" not in entry:
            text = f"'{dest.text}' is beyond the end of 'spec.arguments.parameters' and adds one without a name"
            yield Problem("destination-beyond-end", text, dest.loc, "warning")


def _beyond(value: Any, dest: _Dest) -> Iterator[tuple[_Dest, int, int]]:
    for depth, step in enumerate(dest.steps):
        if isinstance(value, list) and isinstance(step, int) and step > len(value):
            yield dest, depth, len(value)
        value = _at(value, (step,))


def _at(value: Any, steps: tuple[str | int, ...]) -> Any:
    for step in steps:
        if isinstance(value, dict):
            value = value.get(str(step))
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
        else:
            return None
    return value


def _misspelt(body: dict[str, Any], dest: _Dest) -> str:
    """What is wrong with the names on the way, as far as they are names of fields and not of somebody's data."""
    steps = dest.steps
    known = (*body, "apiVersion", "kind", "metadata", "spec")
    if isinstance(steps[0], str) and steps[0] not in known and is_slip(steps[0], known):
        return f"the object has no field '{steps[0]}'{did_you_mean(steps[0], known)}"
    if steps[0] == "metadata" and len(steps) > 1 and steps[1] not in _METADATA:
        return f"'metadata' has no field '{steps[1]}'{did_you_mean(str(steps[1]), _METADATA)}"
    if steps[0] != "spec" or len(steps) < 2 or body.get("kind") not in ("Workflow", "WorkflowTemplate"):
        return ""
    if isinstance(steps[1], str) and steps[1] not in _WORKFLOW and is_slip(steps[1], _WORKFLOW):
        return f"'spec' of a {body['kind']} has no field '{steps[1]}'{did_you_mean(steps[1], _WORKFLOW)}"
    if steps[1] != "arguments" or len(steps) < 3:
        return ""
    if steps[2] not in ("parameters", "artifacts"):
        near = did_you_mean(str(steps[2]), ("parameters", "artifacts"))
        return f"'spec.arguments' of a {body['kind']} has no field '{steps[2]}'{near}"
    if steps[2] == "parameters" and len(steps) > 4 and steps[4] not in _PARAMETER:
        return f"a parameter of a {body['kind']} has no field '{steps[4]}'{did_you_mean(str(steps[4]), _PARAMETER)}"
    return ""
