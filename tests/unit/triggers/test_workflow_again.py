"""A Workflow that ended is retried and resubmitted as Argo Workflows' own functions do it."""

from __future__ import annotations

import copy
import json
from collections import Counter
from datetime import UTC, datetime
from typing import Any

from argosy.errors import Rejected
from argosy.triggers import _workflow_again
from argosy.triggers._workflow_args import SubmitOptions
from tests.unit.triggers._workflow_cases import ANSWERS, comparable

NOW = datetime(2026, 5, 6, 7, 8, 9, tzinfo=UTC)
CASES = [json.loads(line) for line in ANSWERS.read_text().splitlines()]


def _asked(case: dict[str, Any]) -> dict[str, Any]:
    options = SubmitOptions(
        parameters=dict(each.split("=", 1) for each in case.get("parameters") or ()),
        memoized=case.get("memoized", False),
        restart_successful=case.get("restart", False),
        node_field_selector=case.get("selector", ""),
    )
    workflow = copy.deepcopy(case["workflow"])
    try:
        if case["do"] == "retry":
            new, pods = _workflow_again.retried(workflow, options, NOW)
            return {"workflow": new, "pods": pods}
        return {"workflow": _workflow_again.resubmitted(workflow, options, "new-12345", NOW)}
    except Rejected as error:
        return {"err": str(error)}


def test_as_argo_workflows_does_it() -> None:
    seen: Counter[str] = Counter()
    for case in CASES:
        ours, theirs = _asked(case), case["answer"]

        assert comparable(case, ours) == comparable(case, theirs), case
        seen[case["do"] + (" refused" if "err" in theirs else "")] += 1
    assert min(seen.values()) > 15 and len(seen) == 4, seen
