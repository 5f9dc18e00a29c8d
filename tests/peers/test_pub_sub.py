"""The ``pubSub`` source against Google's own in-memory Pub/Sub: the suite of every source, and what is a subscription's
own. TLS and tokens, which an emulator does not ask for, are in ``tests/unit/sources/test_pub_sub.py``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, ClassVar

import pytest

from argosy.errors import BusError, SourceError
from argosy.manifests.fields import Json
from argosy.registry import wrap
from argosy.sources._in_flight import LIMIT
from argosy.sources._pub_sub_messages import SUBSCRIBER, TYPES
from argosy.sources._raw import Raw
from tests.brokers.sources.suite import BrokerSuite
from tests.conformance.source import SourceSuite, Stage, eventually, on_stage, raising
from tests.peers.pub_sub_emulator import Published, Publisher, PubSubEmulator, field


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PubSubEmulator]:
    with PubSubEmulator(tmp_path_factory.mktemp("pub-sub")) as server:
        yield server


@pytest.fixture
async def upstream(emulator: PubSubEmulator, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Publisher]:
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", f"127.0.0.1:{emulator.port}")
    async with Publisher(emulator) as publisher:
        yield publisher


@pytest.fixture
async def stage(upstream: Publisher) -> AsyncIterator[Stage]:
    async with on_stage(upstream.kind, dict(upstream.block)) as stage:
        yield stage


class TestPubSub(BrokerSuite, SourceSuite):
    kind = "pubSub"
    server = PubSubEmulator
    publisher = Publisher
    nobody: ClassVar[dict[str, Json]] = {}
    by_tls = ""
    login_refused = ""
    impatient: ClassVar[dict[str, float]] = {"pub_sub._PULL_SECONDS": 2.0, "_pub_sub_api._CALL_SECONDS": 2.0}
    # An emulator asks nobody who he is.
    elsewhere: ClassVar[dict[str, str]] = dict.fromkeys(
        (
            "test_a_rotated_password_is_taken_up_and_no_secret_is_logged",
            "test_a_rotated_secret_is_taken_up_without_a_restart",
        ),
        "unit/sources/test_pub_sub.py::test_a_key_that_changes_is_taken_up_at_the_next_call",
    )
    has_tls_port = False
    bad_blocks: ClassVar[list[tuple[dict[str, Any], str]]] = [
        ({"projectID": "p"}, "needs topic or subscriptionID"),
        ({"topicProjectID": "p", "subscriptionID": "s"}, "topicProjectID needs topic"),
        ({"topic": "t", "projectId": "p"}, "projectId"),
        ({"topic": "t", "credentialSecret": {"name": "s"}}, "credentialSecret"),
    ]

    async def test_no_more_than_the_limit_is_under_way_and_the_rest_begins_in_order(
        self, upstream: Publisher, stage: Stage
    ) -> None:
        """Pub/Sub promises no order, and the emulator has none."""
        await stage.start()
        stage.close_gate()
        texts = [f"{number:03}" for number in range(100)]
        for text in texts:
            await upstream.send(text)
        await eventually(lambda: stage.under_way == LIMIT)
        await upstream.settle()
        assert stage.under_way == LIMIT
        # No more were taken from others than are in work
        assert sum(each["Deliveries"] > 0 for each in await upstream.told()) == LIMIT
        stage.open_gate()
        await stage.events(100)
        assert sorted(upstream.text_of(event.data) for event in stage.offered) == texts


async def test_the_data_is_upstreams_to_the_byte_and_wrap_makes_the_same(upstream: Publisher) -> None:
    block = {**upstream.block, "jsonBody": False, "metadata": {"m": "1"}}
    async with on_stage("pubSub", block) as stage:
        await stage.start()
        # When a message with attributes comes, and one with nothing but an attribute
        name = await upstream.publish("<ä>".encode(), z="<1>", a="2")
        (event,) = await stage.events(1)
        time = event.data["publishTime"]
        # Then the data is upstream's, and wrap makes the same of it
        head = (
            f'{{"id":"{name}","body":"PMOkPg==","attributes":{{"a":"2","z":"\\u003c1\\u003e"}},"publishTime":"{time}"'
        )
        assert event.raw.decode() == f'{head},"metadata":{{"m":"1"}}}}'
        assert event.id == name
        stamp = time.removesuffix(" +0000 UTC").replace(" ", "T")[:26] + "Z"
        raw = Raw("<ä>".encode(), {"messageId": name, "publishTime": stamp, "z": "<1>", "a": "2"})
        made = wrap("pubSub", stage.context().config, raw)
        assert made.id == name and made.data.startswith(head.split('"publishTime"')[0].encode())
        await upstream.publish(b"", only="attribute")
        (_, empty) = await stage.events(2)
        assert empty.data["body"] is None


async def test_the_subscription_that_is_missing_is_made_and_what_is_there_is_checked(upstream: Publisher) -> None:
    block = upstream.block
    only = {key: value for key, value in block.items() if key != "topic"}
    # Without a topic it must be there
    async with raising("pubSub", only) as sentence:
        assert f"no subscription '{upstream.subscription}'" in sentence and "give topic" in sentence
    # It is made, with its topic, and found again without
    for each in (block, block, only):
        async with on_stage("pubSub", each) as stage:
            await stage.start()
            assert upstream.subscription in stage.listening[0]
    # It must be of the topic
    async with raising("pubSub", {**block, "topic": "another"}) as sentence:
        assert f"is of '{upstream.topic}', not of 'projects/p/topics/another'" in sentence
    await upstream.call(
        "/google.pubsub.v1.Publisher/DeleteTopic", Published(field(1, upstream.topic.encode())), Published
    )
    async with raising("pubSub", block) as sentence:
        assert "of a topic that was deleted" in sentence


async def test_a_topic_of_another_project_and_a_name_made_as_in_argo_events(upstream: Publisher) -> None:
    topic = f"projects/other/topics/{upstream.topic.rpartition('/')[2]}"
    block = {"projectID": "p", "topicProjectID": "other", "topic": topic.rpartition("/")[2], "jsonBody": True}
    async with on_stage("pubSub", block) as stage:
        await stage.start()
        (where,) = stage.listening
        assert "'projects/p/subscriptions/example-" in where
        await upstream.publish(b'{"text": "one"}', topic, sender="test")
        (event,) = await stage.events(1)
        assert upstream.text_of(event.data) == "one"


@pytest.mark.parametrize("wanted", [True, False])
async def test_the_subscription_is_deleted_at_the_end_where_the_manifest_says_so(
    upstream: Publisher, wanted: bool
) -> None:
    async with on_stage("pubSub", {**upstream.block, "deleteSubscriptionOnFinish": wanted}) as stage:
        await stage.start()
        await upstream.send("one")
        await stage.events(1)
        await stage.stop()
        look = TYPES["GetSubscriptionRequest"](subscription=upstream.subscription)
        try:
            await upstream.call(f"{SUBSCRIBER}/GetSubscription", look, TYPES["Subscription"])
        except Exception as error:
            assert wanted and "NOT_FOUND" in str(error)
        else:
            assert not wanted


async def test_a_message_whose_event_waits_is_not_delivered_again(
    upstream: Publisher, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a deadline of a moment, and a bus that does not answer
    monkeypatch.setattr("argosy.sources.pub_sub._DEADLINE_SECONDS", 1)
    await stage.start()
    stage.close_gate()
    await upstream.send("one")

    async def extended() -> bool:
        (message,) = await upstream.told()
        return len(message["Deadlines"]) >= 5

    # When the deadline was extended several times, then the message was delivered once
    await eventually(extended)
    (message,) = await upstream.told()
    assert message["Deliveries"] == 1 and set(message["Deadlines"]) == {1} and message["Acks"] == 0
    stage.open_gate()
    await stage.events(1)


async def test_what_is_no_event_goes_to_the_dead_letter_topic_where_there_is_one(
    upstream: Publisher, stage: Stage
) -> None:
    # Given a subscription with a dead-letter topic after five deliveries
    await upstream.make(topic=f"{upstream.topic}-dead", subscription=f"{upstream.subscription}-dead")
    await upstream.make_with_dead_letters(f"{upstream.topic}-dead")
    await stage.start()
    # When a message comes that is no JSON
    await upstream.send_bad()
    # Then it was given back, counted each time, and stands there
    await eventually(lambda: _arrived(upstream, f"{upstream.subscription}-dead"))
    assert "given back for its dead-letter topic" in stage.refused[0]
    assert not stage.errors and not stage.emitted
    # And the next is served
    await upstream.send("good")
    await stage.events(1)


async def test_what_the_bus_refuses_is_given_back_and_its_neighbours_are_acknowledged(
    upstream: Publisher, stage: Stage
) -> None:
    stage.only, stage.failure = b"bad", BusError("the bus does not take this one")
    await upstream.make()
    for text in ("good", "bad", "fine"):
        await upstream.send(text)
    await stage.start()
    await eventually(lambda: len(stage.errors) >= 2 and len(stage.emitted) == 2)
    assert await upstream.acknowledged() == 2
    stage.failure = None
    await stage.events(3)
    await eventually(lambda: _all_acknowledged(upstream, 3))


async def test_an_emulator_that_was_killed_is_come_back_to_and_what_it_had_is_made_again(
    upstream: Publisher, stage: Stage
) -> None:
    # Given a message whose event waits
    await stage.start()
    stage.close_gate()
    await upstream.send("before")
    await eventually(lambda: stage.under_way == 1)
    # When the emulator, which keeps nothing, is killed and comes back
    await upstream.server.restart()
    stage.open_gate()
    await eventually(lambda: len(stage.listening) == 2)
    # Then the event that was under way is stored, and messages arrive again
    async with Publisher(upstream.server) as again:
        await again.publish(b'{"text": "after"}', upstream.topic, sender="test")
    await stage.events(2)
    assert [upstream.text_of(event.data) for event in stage.emitted] == ["before", "after"]
    assert all(isinstance(error, SourceError) and "127.0.0.1" in str(error) for error in stage.errors)


async def test_failures_are_sentences(upstream: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = [("127.0.0.1:9", "Pub/Sub at 127.0.0.1:9 cannot be reached"), ("http://a:1/b", "PUBSUB_EMULATOR_HOST")]
    for host, said in cases:
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", host)
        async with raising("pubSub", upstream.block) as sentence:
            assert said in sentence


async def _all_acknowledged(upstream: Publisher, count: int) -> bool:
    return await upstream.acknowledged() == count


async def _arrived(upstream: Publisher, subscription: str) -> bool:
    request = TYPES["PullRequest"](subscription=subscription, max_messages=9)
    answer = await upstream.call(f"{SUBSCRIBER}/Pull", request, TYPES["PullResponse"])
    return [each.message.data for each in answer.received_messages] == [b"no JSON"]
