"""What the tests of matching share: filters as a manifest writes them, decided on one event."""

from __future__ import annotations

from typing import Any

from argosy.event import Event
from argosy.lang import gojson
from argosy.lang.gjson import Document
from argosy.manifests.findings import check
from argosy.manifests.sensor import Filters
from argosy.sensor import filters
from argosy.sensor.verdict import Verdict


def event(data: Any = None, *, text: bytes | None = None, time: str = "2026-01-01T12:00:00Z", **more: Any) -> Event:
    """An event of source ``web`` and name ``in`` with this data, or with this text as its data."""
    body = gojson.dumps(data, sort_keys=False) if text is None else text
    return Event(**{"id": "1", "source": "web", "subject": "in", "type": "webhook", "time": time, "data": body, **more})


def decide(spec: dict[str, Any], data: Any = None, operator: str = "", *, strict: bool = False, **more: Any) -> Verdict:
    """What the filters say to an event with this data."""
    model, problems = check(Filters, spec)
    assert model is not None, problems
    compiled = filters.compile(model, operator, strict=strict)
    assert compiled is not None
    one = event(data, **more)
    return compiled(Document(one.data), one)


def outcome(verdict: Verdict) -> str:
    """``pass``, ``reject`` or ``undecided``."""
    return "undecided" if verdict.failed else "pass" if verdict.passed else "reject"
