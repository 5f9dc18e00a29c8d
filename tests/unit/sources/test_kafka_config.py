"""The block of the ``kafka`` source without a broker: what of sarama's settings is followed, and what ``argosy lint`` says of
the others.
"""

from __future__ import annotations

import pytest

from argosy.kafka import options
from argosy.kafka.cluster import Broker, brokers
from argosy.manifests.bundle import loads

_MANIFEST = """
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata: {{name: kafka}}
spec:
  kafka:
    example:
      url: kafka:9092
      topic: orders
      consumerGroup: {{groupName: g}}
      config: |
{config}
"""


def test_settings_of_sarama_become_those_of_the_client() -> None:
    text = """
    ClientID: me
    rackId: r1
    net: {readTimeout: 10s}
    metadata: {refreshFrequency: 1m, retry: {backoff: 250000000}}
    consumer:
      maxWaitTime: 100ms
      isolationLevel: 1
      fetch: {min: 10, default: 2048, max: 4096}
      offsets: {initial: -2}
      group: {instanceId: i, session: {timeout: 6s}, heartbeat: {interval: 1s}, rebalance: {timeout: 1m30s}}
    """
    assert options.read(text) == (
        {
            "client_id": "me",
            "client_rack": "r1",
            "request_timeout_ms": 10_000,
            "metadata_max_age_ms": 60_000,
            "retry_backoff_ms": 250,
            "fetch_max_wait_ms": 100,
            "isolation_level": "read_committed",
            "fetch_min_bytes": 10,
            "max_partition_fetch_bytes": 2048,
            "fetch_max_bytes": 4096,
            "initial": "earliest",
            "group_instance_id": "i",
            "session_timeout_ms": 6000,
            "heartbeat_interval_ms": 1000,
            "rebalance_timeout_ms": 90_000,
        },
        [],
    )


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[", "YAML"),
        ("- a", "YAML mapping"),
        ("net: {readTimeout: soon}", "'net.readTimeout' that 'soon' is not a duration"),
        ("net: {readTimeout: 1000}", "shorter than a millisecond"),
        ("net: {readTimeout: true}", "is not a duration"),
        ("consumer: {fetch: {min: 0}}", "above 0"),
        ("consumer: {isolationLevel: 2}", "ReadCommitted"),
        ("consumer: {offsets: {initial: 5}}", "OffsetOldest"),
        ("clientID: true", "no text"),
    ],
)
def test_a_setting_that_cannot_be_is_named(text: str, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        options.read(text)


def test_settings_that_change_nothing_are_said_by_lint_at_their_place() -> None:
    # Given a manifest with settings of which two have no counterpart
    config = "        consumer: {fetch: {min: 1}, return: {errors: true}}\n        channelBufferSize: 5"
    # When it is read
    (found,) = loads(_MANIFEST.format(config=config)).findings
    # Then those two are named, with what there is
    assert (found.code, found.severity) == ("no-effect", "warning")
    assert found.path == "spec.kafka.example.config"
    assert "'consumer.return.errors', 'channelBufferSize'" in found.message
    assert "consumer.fetch.min" in found.message
    # And nothing is said where all are followed
    assert loads(_MANIFEST.format(config="        consumer: {fetch: {min: 1}}")).findings == []


def test_brokers_are_a_list_of_hosts_with_the_usual_port() -> None:
    assert brokers("a, b:1,[::1]:2") == (Broker("a", 9092), Broker("b", 1), Broker("::1", 2))
    assert str(Broker("::1", 2)) == "[::1]:2"
