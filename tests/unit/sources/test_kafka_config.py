"""The block of the ``kafka`` source without a broker: what of sarama's settings is followed, and what ``argosy lint`` says of
the others.
"""

from __future__ import annotations

import base64
import datetime as dt
from urllib.parse import parse_qsl, urlsplit

import pytest
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials

from argosy.aws.signing import Credentials
from argosy.kafka import msk, options
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


@pytest.mark.parametrize("session", ["", "a/session+token="])
def test_the_token_of_msk_is_signed_as_awss_own_library_signs_it(session: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given credentials, and a moment
    credentials = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", session)
    moment = dt.datetime(2026, 11, 25, 10, 20, 30, tzinfo=dt.UTC)
    # When AWS's library signs the documented URL
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda remove_tzinfo=True: moment.replace(tzinfo=None))
    request = AWSRequest("GET", "https://kafka.eu-west-1.amazonaws.com/?Action=kafka-cluster%3AConnect")
    given = BotoCredentials(credentials.key, credentials.secret, session or None)
    SigV4QueryAuth(given, "kafka-cluster", "eu-west-1", expires=900).add_auth(request)
    # Then the token holds the same fields and the same signature, and who asks
    made = msk.token(credentials, "eu-west-1", moment)
    url = base64.urlsafe_b64decode(made + "=" * (-len(made) % 4)).decode()
    fields = dict(parse_qsl(urlsplit(url).query))
    assert fields.pop("User-Agent").startswith("argosy/")
    assert fields == dict(parse_qsl(urlsplit(request.url).query))
    assert url.startswith("https://kafka.eu-west-1.amazonaws.com/?") and "=" not in made
