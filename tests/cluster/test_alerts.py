"""The alerts, judged by Prometheus' own tool: they are well-formed, and are raised when they should be and not otherwise."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.brokers.sources.server import built

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "deploy" / "monitoring" / "rules.yaml"
ES = 'namespace="shop",eventsource_name="web"'
SENSOR = 'namespace="shop",sensor_name="orders"'
TRIGGER = f'{SENSOR},trigger_name="pack"'


@pytest.fixture(scope="module")
def promtool() -> str:
    """Where it is."""
    return built("promtool")


def test_the_rules_are_well_formed(promtool: str) -> None:
    # When Prometheus' tool reads them
    done = subprocess.run([promtool, "check", "rules", str(RULES)], capture_output=True, text=True)
    # Then it has nothing to say against them
    assert done.returncode == 0, done.stdout + done.stderr


def case(name: str, at: str, alert: str, labels: str, **series: str) -> Any:
    """Series (a value every minute, or every half an hour where days are told), and whether the alert is raised then: with these labels, or (empty) not at all."""
    return pytest.param(series, at, alert, labels, id=name)


@pytest.mark.parametrize(
    ("series", "at", "alert", "labels"),
    [
        case(
            "a dead letter",
            "30m",
            "ArgosyDeadLetters",
            TRIGGER,
            **{f"argosy_actions_dead_lettered_total{{{TRIGGER}}}": "0x10 1x50"},
        ),
        case("none", "30m", "ArgosyDeadLetters", "", **{f"argosy_actions_dead_lettered_total{{{TRIGGER}}}": "3x60"}),
        case(
            "one that stands by beside one that receives",
            "1h",
            "ArgosySourceNotReceiving",
            "",
            **{
                f'argo_events_event_service_running_total{{{ES},pod="{pod}"}}': values
                for pod, values in {"a": "0x90", "b": "1x90"}.items()
            },
        ),
        case(
            "none of two receives",
            "1h",
            "ArgosySourceNotReceiving",
            ES,
            **{f'argo_events_event_service_running_total{{{ES},pod="{pod}"}}': "0x90" for pod in "ab"},
        ),
        case(
            "a source that had events and has none any more",
            "3d",
            "ArgosySourceSilent",
            f'{ES},event_name="order"',
            **{f'argo_events_events_sent_total{{{ES},event_name="order"}}': "0+1x40 40x150"},
        ),
        case(
            "a source that never had one",
            "3d",
            "ArgosySourceSilent",
            "",
            **{f'argo_events_events_sent_total{{{ES},event_name="order"}}': "0x150"},
        ),
        case(
            "a sensor that rejects everything for more than a week",
            "9d",
            "ArgosySensorRejectsEverything",
            SENSOR,
            **{
                f'argosy_events_filtered_total{{{SENSOR},dependency="o",result="rejected"}}': "0+1x450",
                f"argo_events_action_triggered_total{{{TRIGGER}}}": "0x450",
            },
        ),
        case(
            "a sensor that rejects most",
            "9d",
            "ArgosySensorRejectsEverything",
            "",
            **{
                f'argosy_events_filtered_total{{{SENSOR},dependency="o",result="rejected"}}': "0+1x450",
                f"argo_events_action_triggered_total{{{TRIGGER}}}": "0x300 1x150",
            },
        ),
        case(
            "a sensor that did nothing for a week",
            "9d",
            "ArgosySensorNeverFires",
            SENSOR,
            **{f"argosy_log_lag{{{SENSOR}}}": "0x450", f"argo_events_action_triggered_total{{{TRIGGER}}}": "5x450"},
        ),
        case(
            "a sensor of yesterday",
            "1d",
            "ArgosySensorNeverFires",
            "",
            **{f"argosy_log_lag{{{SENSOR}}}": "0x60", f"argo_events_action_triggered_total{{{TRIGGER}}}": "0x60"},
        ),
        case(
            "a backlog that grows",
            "2h",
            "ArgosyBacklogGrows",
            SENSOR,
            **{f"argosy_log_lag{{{SENSOR}}}": "2000+10x150"},
        ),
        case(
            "a backlog that shrinks", "2h", "ArgosyBacklogGrows", "", **{f"argosy_log_lag{{{SENSOR}}}": "9000-10x150"}
        ),
        case(
            "old actions of a suspended trigger",
            "1h",
            "ArgosyActionsWait",
            "",
            **{
                f"argosy_actions_oldest_seconds{{{TRIGGER}}}": "2000+60x90",
                f"argosy_trigger_suspended{{{TRIGGER}}}": "1x90",
            },
        ),
        case(
            "old actions of a trigger that should run",
            "1h",
            "ArgosyActionsWait",
            TRIGGER,
            **{
                f"argosy_actions_oldest_seconds{{{TRIGGER}}}": "2000+60x90",
                f"argosy_trigger_suspended{{{TRIGGER}}}": "0x90",
            },
        ),
        case("no controller leads", "1h", "ArgosyControllerDown", "none", argosy_controller_leader="0x90"),
        case(
            "one of two leads",
            "1h",
            "ArgosyControllerDown",
            "",
            **{'argosy_controller_leader{pod="a"}': "0x90", 'argosy_controller_leader{pod="b"}': "1x90"},
        ),
        case(
            "a sensor that lacks a right",
            "30m",
            "ArgosyNotPermitted",
            'kind="Sensor",namespace="shop",name="orders"',
            **{
                'argosy_controller_condition_false{kind="Sensor",namespace="shop",name="orders",condition="Permitted",reason="Forbidden"}': "1x60"
            },
        ),
        case(
            "an admission server that cannot judge",
            "30m",
            "ArgosyAdmissionFails",
            'kind="Sensor"',
            **{'argosy_admission_reviews_total{kind="Sensor",operation="CREATE",result="failed"}': "0+1x60"},
        ),
        case(
            "a certificate that is not renewed",
            "28d",
            "ArgosyCertificateEnds",
            "none",
            argosy_admission_certificate_expires_timestamp_seconds="2592000x1400",
        ),
    ],
)
def test_an_alert_is_raised_when_it_should_be(
    promtool: str, tmp_path: Path, series: dict[str, str], at: str, alert: str, labels: str
) -> None:
    # Given what was counted
    (rule,) = (
        each
        for group in yaml.safe_load(RULES.read_text())["groups"]
        for each in group["rules"]
        if each["alert"] == alert
    )
    expected = dict(pair.replace('"', "").split("=") for pair in labels.split(",") if "=" in pair)
    raised = [{"exp_labels": {**expected, **rule["labels"]}}] if labels else []
    long = at.endswith("d")  # a value every minute for days is more than the tool reads
    test = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "30m" if long else "5m",
        "tests": [
            {
                "interval": "30m" if long else "1m",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "alert_rule_test": [{"eval_time": at, "alertname": alert, "exp_alerts": raised}],
            }
        ],
    }
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(test))
    # When Prometheus judges it
    done = subprocess.run([promtool, "test", "rules", str(tmp_path / "test.yaml")], capture_output=True, text=True)
    # Then the alert is raised for what it should be, and for nothing else
    said = done.stdout + done.stderr
    assert done.returncode == 0 or _only_annotations_differ(said, bool(labels)), said


def _only_annotations_differ(said: str, raised: bool) -> bool:
    """The sentences of an alert hold numbers that are not compared here; its labels are."""
    import re

    found = re.findall(r"Labels:(\{[^}]*\})", said)
    return raised and len(found) == 2 and len(set(found)) == 1
