"""Alerts and dashboard speak of metrics that Argosy has, by labels that these have."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry, ProcessCollector

from argosy.kubernetes import names
from argosy.kubernetes.admission import server
from argosy.kubernetes.controller import metrics, process
from argosy.kubernetes.install import Installation, objects
from argosy.runtime import telemetry

FOLDER = Path(__file__).resolve().parents[3] / "deploy" / "monitoring"
_OF_THE_TARGET = {"job", "instance", "pod", "le"}
"""What the scraping adds, and what a histogram has."""


def _known() -> dict[str, set[str]]:
    """Every metric and its labels, by the names that a query uses."""
    registries = (telemetry.Metrics().registry, metrics.Metrics(lambda: 0).registry, server.Metrics().registry)
    found = {}
    for registry in registries:
        assert isinstance(registry, CollectorRegistry)
        for collector, told in registry._collector_to_names.items():
            labels = set(getattr(collector, "_labelnames", None) or getattr(collector, "labelnames", ()))
            found.update(dict.fromkeys(told, labels))
            if isinstance(collector, ProcessCollector):
                # What a process says of itself gets the namespace of its pod.
                found.update({family.name: {"namespace"} for family in collector.collect()})
            if not told and (family := getattr(collector, "_family", None)):  # a Tally
                found[f"{family[0]}_total"] = labels
    return found


KNOWN = _known()


def _alerts() -> dict[str, str]:
    groups = yaml.safe_load((FOLDER / "rules.yaml").read_text())["groups"]
    return {rule["alert"]: rule["expr"] for group in groups for rule in group["rules"]}


def _panels() -> Iterator[tuple[str, str]]:
    for panel in json.loads((FOLDER / "dashboard.json").read_text())["panels"]:
        for place, target in enumerate(panel.get("targets", ())):
            yield f"{panel['title']} {place}", target["expr"]


QUERIES = {**_alerts(), **dict(_panels())}


def _named(query: str) -> dict[str, set[str]]:
    """The metrics of a query, each with the labels that it is chosen by."""
    found: dict[str, set[str]] = {}
    for metric, chosen in re.findall(r"\b((?:argosy_|argo_events_|process_|build_)\w+)(?:\{([^}]*)\})?", query):
        found.setdefault(metric, set()).update(re.findall(r"(\w+)\s*(?:=~|!=|=)", chosen))
    return found


def _grouped(query: str) -> set[str]:
    """The labels that a query puts together by."""
    groups = re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", query)
    return {word.strip() for group in groups for word in group.split(",")}


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES.keys())
def test_a_query_asks_what_can_be_answered(query: str) -> None:
    # Given the metrics of a query
    named = _named(query)
    # Then each is there, with all labels that the query speaks of
    assert named
    for metric, chosen in named.items():
        assert metric in KNOWN, f"there is no metric {metric}"
        assert chosen | _grouped(query) <= KNOWN[metric] | _OF_THE_TARGET, metric


def test_a_summary_names_only_what_its_query_keeps() -> None:
    for group in yaml.safe_load((FOLDER / "rules.yaml").read_text())["groups"]:
        for rule in group["rules"]:
            # Given the sentences of an alert
            text = json.dumps(rule["annotations"])
            # Then each label in them is one that the query leaves
            kept = {
                word.strip() for found in re.findall(r"\bby \(([^)]*)\)", rule["expr"]) for word in found.split(",")
            }
            assert set(re.findall(r"\$labels\.(\w+)", text)) <= kept, rule["alert"]
            assert rule["labels"]["severity"] in ("critical", "warning", "info")


def test_pods_that_are_made_are_pods_that_are_scraped() -> None:
    # Given what the Prometheus operator is told
    objects_, installation = yaml.safe_load_all((FOLDER / "podmonitors.yaml").read_text())
    # Then it looks for all pods that the controller makes
    (chosen,) = objects_["spec"]["selector"]["matchExpressions"]
    assert (chosen["key"], set(chosen["values"])) == (names.CONTROLLER, set(process._MADE_BY))
    # And for those of the installation, by a port that they have
    for one in objects(Installation(), kinds=False):
        if one["kind"] == "Deployment":
            template = one["spec"]["template"]
            assert installation["spec"]["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
            ports = {port["name"] for port in template["spec"]["containers"][0]["ports"]}
            assert {endpoint["port"] for endpoint in installation["spec"]["podMetricsEndpoints"]} <= ports


def test_the_page_names_all_alerts() -> None:
    # Given the table of the page
    page = (FOLDER.parents[1] / "docs" / "how-to" / "monitor.md").read_text()
    table = page[page.index("## What the alerts ask") :].partition("\nEach says")[0]
    # Then it has every alert, and no other
    assert sorted(re.findall(r"`(Argosy\w+)`", table)) == sorted(_alerts())


def test_panels_do_not_overlap() -> None:
    # Given where each panel stands
    taken: set[tuple[int, int]] = set()
    for panel in json.loads((FOLDER / "dashboard.json").read_text())["panels"]:
        place = panel["gridPos"]
        fields = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        # Then no other stands there, and none is outside
        assert not fields & taken and place["x"] + place["w"] <= 24, panel["title"]
        taken |= fields
