"""What EventSource, EventBus and Sensor have in common: the frame of an object, a digest of its content."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson

from argosy.manifests.fields import Metadata
from argosy.manifests.findings import Problem, check
from argosy.manifests.spelling import did_you_mean

API_VERSION = "argoproj.io/v1alpha1"
"""The one version there is of all three kinds."""


def frame(raw: dict[str, Any]) -> tuple[Metadata | None, list[Problem]]:
    """The object's metadata, and what is wrong with everything but its ``spec``."""
    known = ("apiVersion", "kind", "metadata", "spec", "status")
    problems = [
        Problem("unknown-field", f"unknown field '{key}'{did_you_mean(key, known)}", (key,), at_key=True)
        for key in raw
        if key not in known
    ]
    if raw.get("apiVersion") != API_VERSION:
        problems.append(Problem("api-version", f"'apiVersion' must be {API_VERSION}", ("apiVersion",)))
    if raw.get("metadata") is None:
        return None, [*problems, Problem("missing-field", "'metadata' is missing", ("metadata",))]
    metadata, wrong = check(Metadata, raw["metadata"])
    problems += [problem.inside("metadata") for problem in wrong]
    if raw.get("spec") is None:
        problems.append(Problem("missing-field", "'spec' is missing", ("spec",)))
    return metadata, problems


def digest(value: object) -> str:
    """A name for this content: equal for equal JSON whatever the order of keys, 64 hexadecimal digits."""
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()
