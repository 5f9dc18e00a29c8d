"""The page about the controller names every reason, Event and metric that there is, and its configuration can be read."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client import CollectorRegistry

from argosy.kubernetes import controller
from argosy.kubernetes.controller.buses import _REASONS
from argosy.kubernetes.controller.metrics import Metrics
from argosy.kubernetes.workloads import parse

_PAGE = (Path(__file__).parents[3] / "docs/reference/controller.md").read_text()
_SOURCES = "\n".join(path.read_text() for path in Path(controller.__path__[0]).glob("*.py"))


def test_every_reason_of_a_condition_and_every_event_is_on_the_page() -> None:
    said = re.findall(
        r'(?:fails|holds|unknown|Said)\(\s*\w+,\s*(?:"(?:Normal|Warning)",\s*)?"((?!Warning|Normal)[A-Z]\w+)"', _SOURCES
    )
    assert len(set(said)) > 15
    missing = {reason for reason in (*said, *_REASONS.values()) if f"`{reason}`" not in _PAGE}
    assert missing == set()


def test_every_metric_is_on_the_page() -> None:
    registry: CollectorRegistry = Metrics(lambda: 0.0).registry
    names = {f"{one.name}_total" if one.type == "counter" else one.name for one in registry.collect()}
    ours = {name for name in names if name.startswith("argosy_")}
    assert len(ours) >= 5 and {name for name in ours if f"`{name}`" not in _PAGE} == set()


def test_the_configuration_of_the_page_is_one() -> None:
    text = re.search(r"```yaml\n(.*?)```", _PAGE, re.DOTALL)
    assert text and parse(text[1]).jetstream.versions[0].version == "latest"
