"""The Grafana dashboard: a few lines for each panel, the rest is the same for all."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

Object = dict[str, Any]
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_IN = 'namespace=~"$namespace"'
_ES, _EVENT = "namespace, eventsource_name", "namespace, eventsource_name, event_name"
_SENSOR, _TRIGGER = "namespace, sensor_name", "namespace, sensor_name, trigger_name"
_EVENT_LEGEND = "{{namespace}}/{{eventsource_name}}/{{event_name}}"
_SENSOR_LEGEND = "{{namespace}}/{{sensor_name}}"
_TRIGGER_LEGEND = "{{namespace}}/{{sensor_name}}/{{trigger_name}}"


class Panel(NamedTuple):
    """What it shows: queries with their legends. ``kind`` is Grafana's name, ``width`` counts 24ths."""

    title: str
    queries: dict[str, str]
    unit: str = "short"
    about: str = ""
    kind: str = "timeseries"
    width: int = 8
    red: float | None = None
    """From here on a number is shown red."""


def _rate(metric: str, by: str, legend: str) -> dict[str, str]:
    return {f"sum by ({by}) (rate({metric}{{{_IN}}}[$__rate_interval]))": legend}


def _mean(metric: str, by: str, legend: str) -> dict[str, str]:
    each = f"sum by ({by}) (rate({metric}_%s{{{_IN}}}[$__rate_interval]))"
    return {f"{each % 'sum'} / {each % 'count'}": legend}


def _now(metric: str, by: str, legend: str, how: str = "max") -> dict[str, str]:
    return {f"{how} by ({by}) ({metric}{{{_IN}}})": legend}


ROWS: dict[str, list[Panel]] = {
    "Is all well?": [
        Panel(
            "Event sources that receive nothing",
            {f"count(max by ({_ES}) (argo_events_event_service_running_total{{{_IN}}}) == 0) or vector(0)": ""},
            kind="stat",
            width=4,
            red=1,
        ),
        Panel(
            "Dead letters in this time",
            {f"sum(increase(argosy_actions_dead_lettered_total{{{_IN}}}[$__range])) or vector(0)": ""},
            kind="stat",
            width=4,
            red=1,
        ),
        Panel(
            "Oldest action", {f"max(argosy_actions_oldest_seconds{{{_IN}}})": ""}, "s", kind="stat", width=4, red=900
        ),
        Panel("Farthest behind", {f"max(argosy_log_lag_seconds{{{_IN}}})": ""}, "s", kind="stat", width=4, red=300),
        Panel("Sensors that run", {f"sum(argosy_sensors_running{{{_IN}}})": ""}, kind="stat", width=4),
        Panel(
            "Conditions that are False",
            {f"count(argosy_controller_condition_false{{{_IN}}}) or vector(0)": ""},
            kind="stat",
            width=4,
            red=1,
        ),
    ],
    "Events": [
        Panel("Events stored", _rate("argo_events_events_sent_total", _EVENT, _EVENT_LEGEND), "ops"),
        Panel(
            "From received to stored",
            _mean("argo_events_event_processing_duration_milliseconds", _EVENT, _EVENT_LEGEND),
            "ms",
            "The mean.",
        ),
        Panel(
            "Not stored",
            {
                **_rate("argo_events_events_sent_failed_total", _EVENT, f"bus: {_EVENT_LEGEND}"),
                **_rate("argo_events_events_processing_failed_total", _EVENT, f"message: {_EVENT_LEGEND}"),
                **_rate("argosy_source_events_filtered_total", f"{_EVENT}, result", f"{{{{result}}}}: {_EVENT_LEGEND}"),
            },
            "ops",
            "Refused by the bus, no event at all, or dropped by the source's filter.",
        ),
        Panel(
            "Events that receive",
            _now("argo_events_event_service_running_total", _ES, "{{namespace}}/{{eventsource_name}}", "sum"),
            width=12,
        ),
        Panel("Starts after a failure", _rate("argosy_source_restarts_total", _EVENT, _EVENT_LEGEND), "ops", width=12),
    ],
    "Sensors": [
        Panel(
            "Behind, in time",
            _now("argosy_log_lag_seconds", _SENSOR, _SENSOR_LEGEND),
            "s",
            "Age of the oldest event that is not settled.",
        ),
        Panel("Behind, in entries of the log", _now("argosy_log_lag", _SENSOR, _SENSOR_LEGEND)),
        Panel(
            "Not accepted",
            _rate(
                "argosy_events_filtered_total",
                f"{_SENSOR}, dependency, result",
                f"{{{{result}}}}: {_SENSOR_LEGEND}/{{{{dependency}}}}",
            ),
            "ops",
            "failed: the filter could not decide.",
        ),
    ],
    "Actions": [
        Panel("Done", _rate("argo_events_action_triggered_total", _TRIGGER, _TRIGGER_LEGEND), "ops"),
        Panel("Attempts that failed", _rate("argo_events_action_failed_total", _TRIGGER, _TRIGGER_LEGEND), "ops"),
        Panel(
            "Dead letters",
            {
                f"sum by ({_TRIGGER}) (increase(argosy_actions_dead_lettered_total{{{_IN}}}[$__rate_interval]))": _TRIGGER_LEGEND
            },
        ),
        Panel(
            "In the queue",
            {
                **_now("argosy_actions_waiting", _TRIGGER, f"waiting: {_TRIGGER_LEGEND}", "sum"),
                **_now("argosy_actions_held", _TRIGGER, f"held: {_TRIGGER_LEGEND}", "sum"),
                **_now("argosy_actions_resting", _TRIGGER, f"resting: {_TRIGGER_LEGEND}", "sum"),
            },
            about="Resting: waits for its next try, or for the end of a delay.",
        ),
        Panel("Age of the oldest", _now("argosy_actions_oldest_seconds", _TRIGGER, _TRIGGER_LEGEND), "s"),
        Panel(
            "Time of an attempt",
            _mean("argo_events_action_duration_milliseconds", _TRIGGER, _TRIGGER_LEGEND),
            "ms",
            "The mean.",
        ),
        Panel(
            "Tries that 95 % of the actions need at most",
            {
                f"histogram_quantile(0.95, sum by (le, {_TRIGGER}) (rate(argosy_action_tries_bucket{{{_IN}}}[$__rate_interval])))": _TRIGGER_LEGEND
            },
            width=12,
        ),
        Panel("Suspended", _now("argosy_trigger_suspended", _TRIGGER, _TRIGGER_LEGEND), width=12),
    ],
    "The installation": [
        Panel("Controllers that lead", {"sum(argosy_controller_leader)": ""}, kind="stat", width=4),
        Panel(
            "Objects that wait for the controller",
            {"max(argosy_controller_queue_depth)": ""},
            kind="stat",
            width=4,
            red=100,
        ),
        Panel(
            "Certificate ends in",
            {"min(argosy_admission_certificate_expires_timestamp_seconds) - time()": ""},
            "s",
            kind="stat",
            width=4,
        ),
        Panel(
            "Looks at objects",
            {
                "sum by (kind, result) (rate(argosy_controller_reconciles_total[$__rate_interval]))": "{{result}}: {{kind}}"
            },
            "ops",
            width=12,
        ),
        Panel(
            "Judgements",
            {"sum by (kind, result) (rate(argosy_admission_reviews_total[$__rate_interval]))": "{{result}}: {{kind}}"},
            "ops",
        ),
        Panel(
            "Time of 95 % of the judgements",
            {"histogram_quantile(0.95, sum by (le) (rate(argosy_admission_seconds_bucket[$__rate_interval])))": ""},
            "s",
        ),
        Panel(
            "Memory",
            {f'process_resident_memory_bytes{{{_IN}}} and on (instance) build_info{{pythonversion!=""}}': "{{pod}}"},
            "bytes",
        ),
    ],
}


def text() -> str:
    """The dashboard as Grafana imports it."""
    return json.dumps(_dashboard(), indent=1) + "\n"


def _dashboard() -> Object:
    panels: list[Object] = []
    down = 0
    for title, row in ROWS.items():
        place = {"h": 1, "w": 24, "x": 0, "y": down}
        panels.append(
            {"id": len(panels) + 1, "type": "row", "title": title, "gridPos": place, "collapsed": False, "panels": []}
        )
        down, across, tall = down + 1, 0, 0
        for panel in row:
            height = 4 if panel.kind == "stat" else 8
            if across + panel.width > 24:
                down, across = down + tall, 0
            tall = height if across == 0 else max(tall, height)
            place = {"h": height, "w": panel.width, "x": across, "y": down}
            panels.append({"id": len(panels) + 1, "gridPos": place, **_panel(panel)})
            across += panel.width
        down += tall
    return {
        "title": "Argosy",
        "uid": "argosy",
        "description": "Written by `make docs`; changes made here are lost.",
        "tags": ["argosy", "argo-events"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [_datasource(), _namespace()]},
        "panels": panels,
    }


def _panel(panel: Panel) -> Object:
    steps: list[Object] = [{"color": "green", "value": None}]
    if panel.red is not None:
        steps.append({"color": "red", "value": panel.red})
    made: Object = {
        "type": panel.kind,
        "title": panel.title,
        "datasource": _SOURCE,
        "targets": [
            {
                "refId": chr(ord("A") + place),
                "datasource": _SOURCE,
                "expr": query,
                "legendFormat": legend or panel.title,
            }
            for place, (query, legend) in enumerate(panel.queries.items())
        ],
        "fieldConfig": {
            "defaults": {"unit": panel.unit, "min": 0, "thresholds": {"mode": "absolute", "steps": steps}},
            "overrides": [],
        },
    }
    if panel.about:
        made["description"] = panel.about
    if panel.kind == "stat":
        made["options"] = {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value", "graphMode": "area"}
    else:
        made["options"] = {
            "legend": {"displayMode": "list", "placement": "bottom"},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    return made


def _datasource() -> Object:
    return {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}


def _namespace() -> Object:
    query = "label_values(argosy_sensors_running, namespace)"
    return {
        "name": "namespace",
        "label": "Namespace",
        "type": "query",
        "datasource": _SOURCE,
        "definition": query,
        "query": {"query": query, "refId": "namespaces"},
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }
