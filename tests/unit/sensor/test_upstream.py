"""What Argo Events' own functions answered to some hundreds of filters, transforms and parameters is what is answered here."""

from __future__ import annotations

import base64
import json
from collections import Counter
from contextlib import suppress
from typing import Any

import pytest

from argosy.errors import LangError, Rejected
from argosy.event import Event
from argosy.lang.gjson import Document
from argosy.manifests.fields import TriggerParameter
from argosy.manifests.findings import check
from argosy.manifests.sensor import Filters, Transform
from argosy.sensor import filters, parameters, transform
from tests.unit.sensor._upstream_cases import ANSWERS

CASES = [json.loads(line) for line in ANSWERS.read_text().splitlines()]


def _of(kind: str) -> list[dict[str, Any]]:
    found = [case for case in CASES if case["do"] == kind]
    assert len(found) > 100
    return found


def _event(case: dict[str, Any]) -> Event:
    return Event("1", "web", "in", "webhook", case["time"], base64.b64decode(case.get("data", "")))


def _out(case: dict[str, Any]) -> bytes | None:
    out = case["answer"]["out"]
    return None if out is None else base64.b64decode(out)


def test_filters_pass_the_same_events_and_fail_on_the_same() -> None:
    seen: Counter[tuple[bool, bool]] = Counter()
    for case in _of("filter"):
        model, problems = check(Filters, case["filters"])
        assert model is not None, problems
        compiled = filters.compile(model, case["operator"])
        assert compiled is not None

        verdict = compiled(Document(_event(case).data), _event(case))

        seen[verdict.passed, verdict.failed] += 1
        assert verdict.passed is case["answer"]["pass"], (case, verdict)
        stages = [word for word in ("exprs", "data", "context", "time", "script") if word in case["filters"]]
        if len(stages) == 1:
            # With several, the one that decides may come before the one that fails.
            assert verdict.failed is bool(case["answer"]["err"]), (case, verdict)
    assert min(seen.values()) > 50 and len(seen) == 3


def test_transforms_make_the_same_objects() -> None:
    arrays = nulls = 0
    for case in _of("transform"):
        data = _event(case).data
        compiled = transform.compile(Transform.model_validate(case["transform"]))
        assert compiled is not None
        if not data:
            continue  # an event without data is not transformed; ``matching`` sees to that
        out = _out(case)
        theirs = None if out is None else json.loads(out)
        try:
            ours: Any = compiled(Document(data)).value
        except LangError:
            ours = None

        if isinstance(theirs, list):
            arrays += 1  # decided: upstream's documents want an object
            assert ours is None
        elif data == b"null" and isinstance(ours, dict) and theirs != ours:
            nulls += 1  # decided: an empty object, before and after
        else:
            assert ours == theirs, case
    assert arrays
    assert nulls < 10


@pytest.mark.parametrize("kind", ["apply", "payload"])
def test_parameters_make_the_same_document_to_the_byte(kind: str) -> None:
    crashes = 0
    for case in _of(kind):
        entries = [TriggerParameter.model_validate(entry) for entry in case["params"]]
        events = {} if case["missing"] else {"d": _event(case)}
        if case["answer"]["err"].startswith("panic: "):
            # Decided: an entry whose event did not come and that has no value is left out.
            crashes += 1
            assert case["missing"]
            with suppress(Rejected):
                parameters.payload(entries, events)
            continue
        try:
            ours = (
                parameters.apply(case["document"].encode(), entries, events)
                if kind == "apply"
                else parameters.payload(entries, events)
            )
        except Rejected:
            ours = None

        assert ours == _out(case), case
    assert bool(crashes) is (kind == "payload")
