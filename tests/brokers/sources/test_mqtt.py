"""The ``mqtt`` source against a real Mosquitto: the suite of every source, and what is MQTT's own."""

from __future__ import annotations

import base64
import logging
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import orjson
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from argosy.errors import EventInvalid, SourceError
from argosy.manifests.fields import Json
from argosy.registry import wrap
from argosy.sources._raw import Raw
from tests.brokers.sources.mosquitto import PASSWORD, Mosquitto
from tests.brokers.sources.mqtt_publisher import Publisher
from tests.brokers.sources.suite import BrokerSuite
from tests.conformance.source import SourceSuite, Stage, eventually, on_stage


@pytest.fixture
async def upstream(mosquitto: Mosquitto) -> AsyncIterator[Publisher]:
    async with Publisher(mosquitto) as publisher:
        yield publisher


class TestMqtt(BrokerSuite, SourceSuite):
    kind = "mqtt"
    server = Mosquitto
    publisher = Publisher
    nobody: ClassVar[dict[str, Json]] = {"url": "tcp://127.0.0.1:9"}
    by_tls = "ssl://{}:8883"
    login_refused = "auth"
    impatient: ClassVar[dict[str, float]] = {"_mqtt_session.KEEP_ALIVE_SECONDS": 1}
    _good: ClassVar[dict[str, Json]] = {"url": "tcp://b:1883", "topic": "t", "clientId": "c"}
    bad_blocks: ClassVar[list[tuple[dict[str, Json], str]]] = [
        ({"topic": "t", "clientId": "c"}, "url"),
        ({"url": "tcp://b:1883", "clientId": "c"}, "topic"),
        ({"url": "tcp://b:1883", "topic": "t"}, "clientId"),
        ({**_good, "clientId": ""}, "clientId"),
        ({**_good, "url": "http://b"}, "ssl://"),
        ({**_good, "url": "wss://b"}, "TCP or TLS"),
        ({**_good, "url": "tcp://b:port"}, "url"),
        ({**_good, "topic": ""}, "topic"),
        ({**_good, "topic": "a/#/b"}, "topic"),
        ({**_good, "topic": "a+/b"}, "topic"),
        ({**_good, "qos": 2}, "qos"),
        ({**_good, "auth": {"username": {"name": "s", "key": "k"}}}, "auth"),
        ({**_good, "tls": {}}, "caCertSecret"),
    ]

    def test_the_password_of_a_url_that_cannot_be_read_is_not_shown(self) -> None:
        with pytest.raises(ValueError) as raised:
            self.plugin().config.model_validate({**self._good, "url": "tcp://user:pass/word@broker:1883"})
        assert "word@" not in str(raised.value)


async def test_the_data_has_upstreams_keys_and_the_body_as_go_embeds_it(upstream: Publisher, stage: Stage) -> None:
    # Given a source that reads JSON
    await stage.start()
    # When a message comes
    await upstream.publish(b'{ "a" : 1.0, "b": "<x>" }')
    # Then the data is upstream's, to the byte
    (event,) = await stage.events(1)
    number = event.data["messageId"]
    topic = upstream.topic.encode()
    assert event.raw == (b'{"topic":"%b/a","messageId":%d,"body":{"a":1.0,"b":"\\u003cx\\u003e"}}' % (topic, number))
    assert event.id is None


async def test_without_json_body_the_bytes_are_base64_and_test_tools_make_the_same(
    upstream: Publisher, stage: Stage
) -> None:
    # Given a source without jsonBody, with metadata
    stage.block |= {"jsonBody": False, "metadata": {"a": "b"}}
    await stage.start()
    # When bytes come
    await upstream.publish(b"\x00\xff")
    # Then they are base64, and what wrap makes of the same message is the same
    (event,) = await stage.events(1)
    assert event.data["body"] == base64.b64encode(b"\x00\xff").decode()
    headers = {"topic": event.data["topic"], "messageId": str(event.data["messageId"])}
    config = stage.context().config
    assert wrap("mqtt", config, Raw(b"\x00\xff", headers)).data == event.raw
    with pytest.raises(EventInvalid, match="messageId"):
        wrap("mqtt", config, Raw(b"", {"messageId": "x"}))


async def test_messages_of_every_qos_and_retained_ones_become_events(upstream: Publisher, stage: Stage) -> None:
    # Given a message that the broker retained before the source came
    await upstream.publish(b'"retained"', topic=f"{upstream.topic}/kept", retain=True)
    await stage.start()
    # When messages of each QoS come
    for qos in (0, 1, 2):
        await upstream.publish(str(qos).encode(), qos=qos)
    # Then all are events; those of QoS 0 have no number
    events = await stage.events(4)
    assert sorted(str(event.data["body"]) for event in events) == ["0", "1", "2", "retained"]
    assert [event.data["messageId"] for event in events if event.data["body"] == 0] == [0]


async def test_acknowledgements_leave_in_the_order_of_the_messages(upstream: Publisher, stage: Stage) -> None:
    # Given two messages, of which the first takes longer
    stage.only = b"slow"
    stage.close_gate()
    await stage.start()
    await upstream.send("slow")
    await upstream.send("fast")
    await stage.events(1)
    # When only the second is stored, nothing is acknowledged
    await upstream.settle()
    assert upstream.server.acknowledged(upstream.client) == 0
    # And when the first is too, both are
    stage.open_gate()
    await eventually(lambda: upstream.server.acknowledged(upstream.client) == 2)


async def test_with_qos_0_nothing_waits_for_the_source_as_in_argo_events(upstream: Publisher, stage: Stage) -> None:
    # Given a source that asks for QoS 0, and was there once
    stage.block["qos"] = 0
    await stage.start()
    await stage.stop()
    # When a message comes while it is away, and one after it has come back
    await upstream.send("lost")
    await stage.start()
    await upstream.publish(orjson.dumps("seen"))
    # Then only the second is an event
    (event,) = await stage.events(1)
    assert (event.data["body"], event.data["messageId"]) == ("seen", 0)


async def test_what_an_older_session_left_with_qos_2_is_taken_over(upstream: Publisher, stage: Stage) -> None:
    # Given a client of our name that subscribed with QoS 2, is away, and a message that waits for it
    older = paho.Client(CallbackAPIVersion.VERSION2, upstream.client, clean_session=False)
    older.username_pw_set("argosy", PASSWORD)
    granted: list[Any] = []
    older.on_subscribe = lambda *given: granted.append(given)
    older.connect("127.0.0.1", upstream.server.port)
    older.loop_start()
    await eventually(older.is_connected)
    older.subscribe(f"{upstream.topic}/#", qos=2)
    await eventually(lambda: bool(granted))
    older.disconnect()
    older.loop_stop()
    await upstream.publish(b'{"text": "two"}', qos=2)
    # When the source starts
    await stage.start()
    # Then it is an event, and the broker is told as QoS 2 wants it
    (event,) = await stage.events(1)
    assert upstream.text_of(event.data) == "two"
    await eventually(lambda: f"Received PUBCOMP from {upstream.client} " in upstream.server.output())
    assert not stage.errors


async def test_the_topic_of_an_older_manifest_is_given_up(upstream: Publisher, stage: Stage) -> None:
    # Given a source that received one topic
    await stage.start()
    await stage.stop()
    # When its manifest names another
    stage.block["topic"] = f"other-{upstream.topic}"
    await stage.start()
    await upstream.send("old")
    await upstream.publish(b'"new"', topic=f"other-{upstream.topic}")
    # Then messages of the old one do not come
    (event,) = await stage.events(1)
    assert event.data["body"] == "new"
    await upstream.settle()
    assert len(stage.offered) == 1


async def test_a_killed_broker_is_come_back_to_and_nothing_is_missing_or_comes_twice(
    upstream: Publisher, stage: Stage
) -> None:
    # Given messages whose emits are under way, two of them equal
    await stage.start()
    stage.close_gate()
    for text in ("one", "same", "same"):
        await upstream.send(text)
    await eventually(lambda: stage.under_way == 3)
    await upstream.server.save()
    # When the broker is killed, the bus answers meanwhile, and the broker comes back
    upstream.server.kill()
    await upstream.settle()
    stage.open_gate()
    await eventually(lambda: len(stage.errors) >= 1)
    await upstream.server.come_back()
    await eventually(lambda: len(stage.listening) >= 2, f"{stage.errors}")
    # Then what the broker delivers again is acknowledged and is no second event
    await eventually(lambda: upstream.server.acknowledged(upstream.client) == 3)
    # And a new message that says the same, with a number that is free again, is an event
    await upstream.send("same")
    await upstream.send("two")
    await eventually(lambda: len(stage.emitted) >= 5)
    await upstream.settle()
    assert [upstream.text_of(event.data) for event in stage.offered] == ["one", "same", "same", "same", "two"]
    assert all(isinstance(error, SourceError) and "127.0.0.1" in str(error) for error in stage.errors)
    assert await stage.bucket.get("stored") is None


async def test_a_broker_that_forgot_the_session_is_named_in_the_log(
    tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    # Given a broker that keeps nothing over a restart
    broker = Mosquitto(tmp_path)
    broker.persistent = False
    with broker:
        async with (
            Publisher(broker) as upstream,
            on_stage("mqtt", dict(upstream.block), secrets=dict(upstream.secrets)) as stage,
        ):
            await stage.start()
            assert "does not know" not in caplog.text
            # When it is killed and comes back
            await broker.restart()
            await eventually(lambda: len(stage.listening) == 2)
            # Then an error says what may be lost, and what to do
            (record,) = [each for each in caplog.records if each.levelno == logging.ERROR]
            assert upstream.client in record.getMessage() and "persistence" in record.getMessage()
            # And the source receives
            await upstream.send("one")
            await stage.events(1)
