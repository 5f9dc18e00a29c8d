"""An EventBus says which engine keeps the events; every field of upstream is known."""

from typing import Any

import pytest

from argosy.manifests.eventbus import EventBus, parse_event_bus
from argosy.manifests.findings import Problem, path_text


def parsed(spec: object) -> tuple[EventBus | None, dict[str, Problem]]:
    made, problems = parse_event_bus(
        {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "EventBus",
            "metadata": {"name": "default"},
            "spec": spec,
        }
    )
    return made, {path_text(problem.loc): problem for problem in problems}


PODS: dict[str, Any] = {
    "replicas": 3,
    "containerTemplate": {"resources": {"requests": {"cpu": "10m"}}},
    "metricsContainerTemplate": {},
    "persistence": {"storageClassName": "fast", "accessMode": "ReadWriteOnce", "volumeSize": "10Gi"},
    "metadata": {"labels": {"a": "b"}},
    "nodeSelector": {"a": "b"},
    "tolerations": [{"operator": "Exists"}],
    "securityContext": {"runAsUser": 1},
    "imagePullSecrets": [{"name": "x"}],
    "priorityClassName": "p",
    "priority": 1,
    "affinity": {},
    "serviceAccountName": "s",
    "maxPayload": "1MB",
}


@pytest.mark.parametrize(
    ("spec", "engine"),
    [
        (
            {"jetstream": {"version": "latest", **PODS, "streamConfig": "maxMsgs: 5", "startArgs": ["-D"]}},
            "jetstream",
        ),
        ({"jetstream": {"version": "latest", "settings": "x", "reloaderContainerTemplate": {}}}, "jetstream"),
        (
            {"jetstreamExotic": {"url": "nats://n", "accessSecret": {"name": "a", "key": "k"}}},
            "jetstreamExotic",
        ),
        ({"jetstreamExotic": {"url": "nats://n", "tls": {"insecureSkipVerify": True}}}, "jetstreamExotic"),
        (
            {
                "kafka": {
                    "url": "k:9092",
                    "topic": "t",
                    "version": "3.0.0",
                    "partitioner": "hash",
                    "consumerGroup": {"groupName": "g", "oldest": True, "rebalanceStrategy": "sticky"},
                    "tls": {"enabled": True},
                    "sasl": {
                        "mechanism": "PLAIN",
                        "userSecret": {"name": "a", "key": "k"},
                        "passwordSecret": {"name": "a", "key": "k"},
                    },
                }
            },
            "kafka",
        ),
    ],
)
def test_a_good_bus_says_nothing(spec: dict[str, Any], engine: str) -> None:
    made, problems = parsed(spec)
    assert problems == {}
    assert made is not None
    assert made.spec.engine == engine


def test_nats_streaming_is_served_by_jetstream_with_a_warning() -> None:
    native = {**PODS, "auth": "token", "maxAge": "72h", "maxMsgs": 1, "maxSubs": 2, "maxBytes": "1GB"}
    rafts = {f"raft{name}Timeout": "1s" for name in ("Heartbeat", "Election", "Lease", "Commit")}
    made, problems = parsed({"nats": {"native": {**native, **rafts}}})
    assert made is not None
    assert [(path, one.severity) for path, one in problems.items()] == [("spec.nats.native", "warning")]


def test_somebody_elses_nats_streaming_is_refused_with_the_way_out() -> None:
    made, problems = parsed({"nats": {"exotic": {"url": "nats://n", "clusterID": "c"}}})
    assert made is None
    assert "jetstreamExotic" in problems["spec.nats.exotic"].message


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({}, "spec"),
        ({"nats": {}}, "spec.nats"),
        ({"nats": {"native": {}, "exotic": {"url": "u", "clusterID": "c"}}}, "spec.nats"),
        ({"nats": {"exotic": {"url": "u"}}}, "spec.nats.exotic.clusterID"),
        ({"jetstream": {}}, "spec.jetstream.version"),
        ({"jetstream": {"version": ""}}, "spec.jetstream.version"),
        ({"jetstream": {"version": "1", "replicas": 2}}, "spec.jetstream.replicas"),
        ({"jetstream": {"version": "1", "replicas": 0}}, "spec.jetstream.replicas"),
        ({"kafka": {}}, "spec.kafka.url"),
        ({"jetstreamExotic": {"url": ""}}, "spec.jetstreamExotic.url"),
        ({"jetstream": {"version": "1", "streamConfig": "[1]"}}, "spec.jetstream.streamConfig"),
        ({"jetstream": {"version": "1", "streamConfig": "a: ["}}, "spec.jetstream.streamConfig"),
        ({"jetstream": {"version": "1", "streamConfig": "maxMsgs: many"}}, "spec.jetstream.streamConfig"),
        ({"jetstreamExotic": {"url": "u", "streamConfig": "maxAge: a week"}}, "spec.jetstreamExotic.streamConfig"),
        ({"jetstreamExotic": {"url": "http://nats:4222"}}, "spec.jetstreamExotic.url"),
        ({"jetstreem": {"version": "1"}}, "spec.jetstreem"),
    ],
)
def test_upstreams_rules_hold(spec: dict[str, Any], path: str) -> None:
    made, problems = parsed(spec)
    assert made is None
    assert problems[path].severity == "error"


def test_of_several_engines_the_first_in_upstreams_order_counts() -> None:
    made, problems = parsed({"kafka": {"url": "k"}, "jetstream": {"version": "1"}})
    assert made is not None
    assert made.spec.engine == "jetstream"
    assert problems["spec.kafka"].code == "several-kinds"


def test_stream_settings_come_from_the_engine_that_counts() -> None:
    made, _ = parsed({"jetstream": {"version": "1", "streamConfig": "maxAge: 1h\n"}})
    assert made is not None
    assert made.spec.stream_config == "maxAge: 1h\n"


def test_an_unknown_stream_setting_is_a_warning_and_case_does_not_matter() -> None:
    made, problems = parsed({"jetstream": {"version": "1", "streamConfig": "MAXAGE: 1h\nmaxMesages: 5\n"}})
    assert made is not None
    assert list(problems) == ["spec.jetstream.streamConfig"]
    assert "did you mean 'maxMsgs'?" in problems["spec.jetstream.streamConfig"].message
