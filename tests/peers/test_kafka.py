"""The ``kafka`` source against a real Kafka: the suites of all sources and of brokers' sources, and what is Kafka's own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import ClassVar

import pytest

from argosy.manifests.fields import Json
from tests.brokers.sources.suite import BrokerSuite
from tests.conformance.source import SourceSuite, Stage, on_stage
from tests.peers.kafka_producer import Producer
from tests.peers.kafka_server import KafkaServer


@pytest.fixture
async def upstream(kafka: KafkaServer) -> AsyncIterator[Producer]:
    async with Producer(kafka) as producer:
        yield producer


@pytest.fixture
async def stage(upstream: Producer) -> AsyncIterator[Stage]:
    async with on_stage("kafka", dict(upstream.block), secrets=dict(upstream.secrets)) as stage:
        yield stage


_WHOLE: dict[str, Json] = {"url": "kafka:9092", "topic": "t", "consumerGroup": {"groupName": "g"}}


class TestKafka(BrokerSuite, SourceSuite):
    kind = "kafka"
    server = KafkaServer
    publisher = Producer
    nobody: ClassVar[dict[str, Json]] = {"url": "127.0.0.1:9"}
    by_tls = "kafka+ssl://{}:9092"
    login_refused = "refuses the user or the password"
    impatient: ClassVar[dict[str, float]] = {
        "_kafka_reader._WATCH_SECONDS": 0.2,
        "_kafka_reader._ANSWER_SECONDS": 1.0,
    }
    bad_blocks: ClassVar[list[tuple[dict[str, Json], str]]] = [
        ({"topic": "t", "partition": "0"}, "url"),
        ({**_WHOLE, "url": "kafka:9092,"}, "no list of brokers"),
        ({**_WHOLE, "url": "kafka://kafka"}, "no list of brokers"),
        ({"url": "kafka:9092", "partition": "0"}, "topic"),
        ({"url": "kafka:9092", "topic": "t"}, "consumerGroup"),
        ({"url": "kafka:9092", "topic": "t", "partition": "one"}, "number of a partition"),
        ({**_WHOLE, "consumerGroup": {}}, "groupName"),
        ({**_WHOLE, "consumerGroup": {"groupName": "g", "rebalanceStrategy": "stick"}}, "rebalanceStrategy"),
        ({**_WHOLE, "limitEventsPerSecond": -1}, "limitEventsPerSecond"),
        ({**_WHOLE, "version": "two"}, "2.8.0"),
        ({**_WHOLE, "config": "consumer: {fetch: {min: many}}"}, "consumer.fetch.min"),
        ({**_WHOLE, "config": "["}, "YAML"),
        ({**_WHOLE, "tls": {}}, "caCertSecret"),
        ({**_WHOLE, "sasl": {"mechanism": "PLAIN"}}, "userSecret"),
        ({**_WHOLE, "schemaRegistry": {"url": "http://registry"}}, "jsonBody"),
        ({**_WHOLE, "jsonBody": True, "schemaRegistry": {"url": "registry"}}, "http://"),
    ]
