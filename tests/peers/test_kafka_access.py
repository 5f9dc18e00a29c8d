"""How the ``kafka`` source comes in: logins, certificates, addresses that lead elsewhere, refusals as sentences, and Avro by
a schema registry.
"""

from __future__ import annotations

import base64
import json
import logging
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from argosy.manifests.fields import Json
from tests.brokers.sources.server import CLIENT_TLS
from tests.conformance.source import Stage, eventually, on_stage, raising
from tests.peers import schema_registry
from tests.peers.kafka_producer import SASL, Producer
from tests.peers.kafka_server import PASSWORD, KafkaServer
from tests.peers.schema_registry import SchemaRegistry
from tests.unit.triggers.receivers import Answer


@pytest.fixture
async def upstream(kafka: KafkaServer) -> AsyncIterator[Producer]:
    async with Producer(kafka) as producer:
        yield producer


@pytest.fixture
async def stage(upstream: Producer) -> AsyncIterator[Stage]:
    async with on_stage("kafka", dict(upstream.block), secrets=dict(upstream.secrets)) as stage:
        yield stage


@pytest.fixture
async def registry() -> AsyncIterator[SchemaRegistry]:
    async with SchemaRegistry() as registry:
        yield registry


async def _receives(upstream: Producer, stage: Stage) -> None:
    await stage.start()
    await upstream.send("one")
    (event,) = await stage.events(1)
    assert upstream.text_of(event.data) == "one"
    assert not stage.errors


@pytest.mark.parametrize("mechanism", ["", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
async def test_each_mechanism_of_a_login(
    upstream: Producer, stage: Stage, mechanism: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    # Given a login, when the source starts, then it receives, and nothing tells the password
    stage.block["sasl"] = {**SASL, "mechanism": mechanism}
    await _receives(upstream, stage)
    assert PASSWORD not in caplog.text


async def test_a_token_is_the_password_of_oauthbearer(upstream: Producer, stage: Stage) -> None:
    # Given a token, as the broker takes it without a signature
    now = int(time.time())
    parts = [{"alg": "none"}, {"sub": "argosy", "iat": now, "exp": now + 600}]
    token = ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts) + "."
    stage.secrets["kafka", "password"] = token
    stage.block["sasl"] = {**SASL, "mechanism": "OAUTHBEARER"}
    # When the source starts, then it receives
    await _receives(upstream, stage)
    # And a token that is none is refused
    async with raising("kafka", stage.block, secrets=upstream.secrets) as sentence:
        assert "refuses the token" in sentence and PASSWORD not in sentence


async def test_a_role_of_amazon_shows_its_token_by_tls(
    upstream: Producer, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a broker that takes tokens, though not Amazon's, and credentials in the environment
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_WEB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    server = upstream.server
    block = {key: value for key, value in upstream.block.items() if key != "sasl"}
    block |= {"url": f"127.0.0.1:{server.tls_port}", "tls": CLIENT_TLS, "awsMskIamAuth": {"region": "eu-west-1"}}
    # When the source starts without any, then it says what is missing
    async with raising("kafka", block, secrets=server.tls_secrets()) as sentence:
        assert "cannot be logged in to: there are no AWS credentials" in sentence
    # And with some, that the broker does not take the role: so the token came there
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
    async with raising("kafka", block, secrets=server.tls_secrets()) as sentence:
        assert "refuses the role" in sentence and "EXAMPLE" not in sentence
    # And never without TLS
    async with raising("kafka", {**block, "url": f"127.0.0.1:{server.port}", "tls": None}) as sentence:
        assert "kafka+ssl://" in sentence and "TLS" in sentence


async def test_a_certificate_instead_of_a_login(upstream: Producer, stage: Stage) -> None:
    # Given a port that knows its clients by their certificates
    del stage.block["sasl"]
    stage.block |= {"url": f"127.0.0.1:{upstream.server.certified_port}", "tls": CLIENT_TLS}
    stage.secrets |= upstream.server.tls_secrets()
    # When the source starts, then it receives
    await _receives(upstream, stage)


async def test_neither_login_nor_certificate_where_none_is_wanted(upstream: Producer, stage: Stage) -> None:
    # Given a port that anybody may use, and a broker before it that is not there
    del stage.block["sasl"]
    stage.block["url"] = f"127.0.0.1:9, 127.0.0.1:{upstream.server.open_port}"
    # When the source starts, then it receives
    await _receives(upstream, stage)


async def test_the_names_by_which_brokers_call_themselves_lead_elsewhere_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a broker of a cluster, which calls itself by a name that is known only there
    server = KafkaServer(tmp_path / "kafka")
    server.advertised = "kubernetes.default.svc"
    with server:
        rules = f"kubernetes.default:9092=127.0.0.1:{server.tls_port}"
        rules += f" kubernetes.default.svc:{server.tls_port}=127.0.0.1:{server.tls_port}"
        monkeypatch.setenv("ARGOSY_RESOLVE", rules)
        async with Producer(server) as upstream:
            block = {**upstream.block, "url": "kubernetes.default", "tls": CLIENT_TLS}
            async with on_stage("kafka", block, secrets=upstream.secrets | server.tls_secrets()) as stage:
                # When the source starts, then it comes to it by each name, and trusts each
                await _receives(upstream, stage)
                assert "kafka+ssl://kubernetes.default:9092" in stage.listening[0]


async def test_refusals_are_sentences_that_show_no_password(upstream: Producer) -> None:
    server, block = upstream.server, upstream.block
    anonymous = {key: value for key, value in block.items() if key != "sasl"}
    certified = {**anonymous, "url": f"127.0.0.1:{server.certified_port}"}
    alone = {**block, "partition": "7"}
    del alone["consumerGroup"]
    secrets = upstream.secrets | {("kafka", "stranger"): "stranger", ("kafka", "nobody"): "nobody"}
    cases: list[tuple[dict[str, Json], list[str]]] = [
        (_as(block, "stranger"), ["refuses the user or the password", "passwordSecret"]),
        ({**_as(block, "stranger", "SCRAM-SHA-512")}, ["refuses the user or the password"]),
        (_as(block, "nobody"), ["does not let us use the topic", "grant"]),
        (anonymous, ["hung up", "block 'sasl'"]),
        ({**block, "url": f"127.0.0.1:{server.open_port}"}, ["wants no login"]),
        ({**block, "topic": "no-such-topic"}, ["no such topic"]),
        ({**block, "topic": "no such topic"}, ["does not allow a topic of this name"]),
        (alone, ["has 1 partitions, none is 7"]),
        ({**block, "url": "127.0.0.1:9"}, ["nothing listens at kafka://127.0.0.1:9"]),
        ({**block, "url": "no.such.invalid"}, ["no host of kafka://no.such.invalid:9092"]),
        ({**anonymous, "url": f"127.0.0.1:{server.tls_port}"}, ["hung up", "TLS"]),
        ({**anonymous, "url": f"127.0.0.1:{server.open_port}", "tls": {"insecureSkipVerify": True}}, ["TLS"]),
        ({**certified, "tls": {"enabled": True}}, ["certificate of kafka+ssl://127.0.0.1", "not trusted"]),
        ({**certified, "tls": {"caCertSecret": {"name": "tls", "key": "ca"}}}, ["kafka+ssl://127.0.0.1"]),
    ]
    for faulty, named in cases:
        async with raising("kafka", faulty, secrets=secrets | server.tls_secrets()) as sentence:
            assert all(text in sentence for text in named), (faulty, sentence)
            assert PASSWORD not in sentence


def _as(block: dict[str, Any], user: str, mechanism: str = "PLAIN") -> dict[str, Any]:
    return {**block, "sasl": {**SASL, "mechanism": mechanism, "userSecret": {"name": "kafka", "key": user}}}


async def test_a_group_that_we_may_not_join_is_named(upstream: Producer, stage: Stage) -> None:
    # Given a group whose name the broker does not allow
    stage.block["config"] = "consumer: {group: {session: {timeout: 100ms}, heartbeat: {interval: 20ms}}}"
    # When the source starts with a session shorter than the broker allows, then it says what the broker says
    async with raising("kafka", stage.block, secrets=stage.secrets) as sentence:
        assert "InvalidSessionTimeout" in sentence


_ORDER = {
    "type": "record",
    "name": "Order",
    "namespace": "shop",
    "fields": [
        {"name": "text", "type": "string"},
        {"name": "note", "type": ["null", "string"]},
        {"name": "raw", "type": "bytes"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    ],
}


async def test_avro_becomes_json_by_the_schema_that_its_number_names(
    upstream: Producer, stage: Stage, registry: SchemaRegistry
) -> None:
    # Given a registry that has a schema
    registry.put(7, _ORDER)
    stage.block["schemaRegistry"] = registry.block
    stage.secrets |= schema_registry.SECRETS
    await stage.start()
    # When messages come that name it
    for text in ("one", "two"):
        value = {"text": text, "note": "n" if text == "one" else None, "raw": b"\x00\xff", "at": 1_767_225_600_000}
        await upstream.produce(registry.written(7, value))
    await upstream.produce(None, key=b"deleted")
    # Then they are events, as the Avro specification writes JSON, and the registry was asked once
    events = await stage.events(3)
    assert [event.data["body"] for event in events] == [
        {"text": "one", "note": {"string": "n"}, "raw": "\x00\xff", "at": 1_767_225_600_000},
        {"text": "two", "note": None, "raw": "\x00\xff", "at": 1_767_225_600_000},
        None,
    ]
    assert registry.asked == ["/schemas/ids/7"]


async def test_a_schema_that_refers_to_others_is_put_together(
    upstream: Producer, stage: Stage, registry: SchemaRegistry
) -> None:
    # Given a schema whose field has a type of another subject
    inner = {"type": "record", "name": "Inner", "namespace": "shop", "fields": [{"name": "n", "type": "int"}]}
    outer = {"type": "record", "name": "Outer", "namespace": "shop", "fields": [{"name": "in", "type": "shop.Inner"}]}
    registry.put(1, {**outer, "fields": [{"name": "in", "type": inner}]})
    value = registry.written(1, {"in": {"n": 5}})
    registry.put_subject("inner-value", 3, inner)
    registry.put(1, outer, references=[{"name": "shop.Inner", "subject": "inner-value", "version": 3}])
    stage.block["schemaRegistry"] = registry.block
    stage.secrets |= schema_registry.SECRETS
    # When a message comes that names it, then it is an event
    await stage.start()
    await upstream.produce(value)
    (event,) = await stage.events(1)
    assert event.data["body"] == {"in": {"n": 5}}
    assert registry.asked == ["/schemas/ids/1", "/subjects/inner-value/versions/3"]


async def test_what_no_schema_explains_is_counted_and_the_next_is_served(
    upstream: Producer, stage: Stage, registry: SchemaRegistry
) -> None:
    # Given messages without a number, with one that the registry does not have, with another type, and cut off
    registry.put(7, _ORDER)
    registry.put(8, {"not": "Avro"}, schemaType="PROTOBUF")
    whole = registry.written(7, {"text": "good", "note": None, "raw": b"", "at": 0})
    stage.block["schemaRegistry"] = registry.block
    stage.secrets |= schema_registry.SECRETS
    await stage.start()
    for value in (b'{"text": 1}', b"\0\0\0\0\x63abc", b"\0\0\0\0\x08abc", whole[:-1], whole):
        await upstream.produce(value)
    # When they have come, then the good one is an event, and the others are counted with the reason
    (event,) = await stage.events(1)
    assert event.data["body"]["text"] == "good"
    reasons = ("number of a schema", "has no schema 99", "PROTOBUF", "not what schema 7")
    assert [reason in text for reason, text in zip(reasons, stage.refused, strict=True)] == [True] * 4
    assert not stage.errors


@pytest.mark.parametrize("failure", ["500", "401", "not JSON"])
async def test_no_message_is_lost_while_the_registry_does_not_answer(
    upstream: Producer, stage: Stage, registry: SchemaRegistry, failure: str
) -> None:
    # Given a registry that is unwell
    registry.put(7, _ORDER)
    well = registry.server.answers["/schemas/ids/7"]
    unwell = Answer(200, body=b"<html>") if failure == "not JSON" else Answer(int(failure))
    registry.answer(7, unwell)
    stage.block["schemaRegistry"] = registry.block
    stage.secrets |= schema_registry.SECRETS
    await stage.start()
    # When a message comes
    await upstream.produce(registry.written(7, {"text": "one", "note": None, "raw": b"", "at": 0}))
    # Then the source says so and tries again, until the registry is well
    await eventually(lambda: bool(stage.errors))
    assert "schema registry http://127.0.0.1" in str(stage.errors[0])
    assert schema_registry.PASSWORD not in str(stage.errors[0])
    registry.answer(7, well)
    (event,) = await stage.events(1)
    assert event.data["body"]["text"] == "one"
    assert not stage.refused
