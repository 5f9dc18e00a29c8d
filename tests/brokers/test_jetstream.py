"""The JetStream engine against a real server: the contract, losses, and what is on the wire."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import signal
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from argosy.bus._base import Bus, Pair
from argosy.bus._jetstream_reader import Reader
from argosy.bus.jetstream import Connection, JetStreamBus, QueueSettings, StreamSettings
from argosy.errors import BusError, BusUnavailable
from argosy.event import decode, encode
from tests.brokers.nats_server import JetStreamStore, NatsCluster, NatsServer, free_port
from tests.conformance.bus import (
    OTHER,
    PAIR,
    BusLossSuite,
    Store,
    event,
    ids,
    publish,
    read,
    read_ids,
    soon,
    take,
    until,
)
from tests.conformance.items import ItemsSuite


@pytest.fixture
async def bus(server: NatsServer) -> AsyncIterator[Bus]:
    async with JetStreamStore(server).handle() as bus:
        yield bus


class TestJetStreamBus(BusLossSuite, ItemsSuite):
    @pytest.fixture
    async def store(self, server: NatsServer) -> Store:
        return JetStreamStore(server)


# ---------------------------------------------------------------------- the wire


async def test_the_log_is_made_as_upstreams_controller_shapes_it(bus: Bus, plain: Any) -> None:
    config = (await plain.stream_info("default")).config
    assert config.subjects == ["default.*.*"]
    assert (config.retention, config.discard, config.storage) == ("limits", "old", "file")
    assert (config.max_msgs, config.max_age, config.max_bytes) == (50_000, 168 * 3600, -1)
    assert (config.num_replicas, config.duplicate_window) == (1, 300)


async def test_a_foreign_sensor_reads_what_we_write(bus: Bus, plain: Any) -> None:
    # Given a consumer as upstream's sensors make it
    await bus.publish(event("before"))
    subscription = await plain.pull_subscribe("default.webhook.example", durable="group-1", stream="default")
    # When we publish
    await bus.publish(event("an id"))
    # Then it gets structured JSON whose attributes are those of the event
    for expected in ("before", "an id"):
        [message] = await subscription.fetch(1, timeout=10)
        body = json.loads(message.data)
        assert body.pop("data") == {"a": 1}
        assert body == {
            "specversion": "1.0", "id": expected, "source": "webhook", "type": "webhook",
            "subject": "example",
            "datacontenttype": "application/json", "time": "2026-11-23T10:00:00Z",
        }  # fmt: skip
    assert message.headers["Nats-Msg-Id"] == "webhook/example/an%20id"


async def test_we_read_what_a_foreign_event_source_writes(bus: Bus, plain: Any) -> None:
    async with bus.subscribe("c", [PAIR]) as subscription:
        await plain.publish("default.webhook.example", encode(event(1)), headers={"Nats-Msg-Id": "bare"})
        assert await read_ids(subscription, 1) == ["1"]


async def test_names_that_a_subject_cannot_hold_are_encoded(bus: Bus, plain: Any) -> None:
    await bus.publish(event(1, Pair("my.source", "a b*c>d%e")))
    message = await plain.get_msg("default", seq=1)
    assert message.subject == "default.my%2Esource.a%20b%2Ac%3Ed%25e"
    assert decode(message.data).source == "my.source"


async def test_nothing_is_left_on_the_server_when_reading_ends(bus: Bus, plain: Any) -> None:
    async with bus.subscribe("c", [PAIR]) as subscription:
        await publish(bus, [1])
        await read_ids(subscription, 1)
        assert len(await plain.consumers_info("default")) == 1
    assert await plain.consumers_info("default") == []


# ---------------------------------------------------------------------- a log that is there already


async def test_an_existing_log_is_taken_as_it_is_and_the_difference_is_told_once(
    server: NatsServer, plain: Any, caplog: pytest.LogCaptureFixture
) -> None:
    await plain.add_stream(name="default", subjects=["default.*.*"], max_msgs=7, duplicate_window=60)
    with caplog.at_level(logging.WARNING, "argosy"):
        async with JetStreamBus(server.url) as bus:
            await bus.publish(event(1))
    assert (await plain.stream_info("default")).config.max_msgs == 7
    [told] = [record.getMessage() for record in caplog.records if "other settings" in record.getMessage()]
    assert "max_msgs is 7, not 50000" in told
    assert "duplicate_window is 60000000000, not 300000000000" in told


@pytest.mark.parametrize("retention", ["interest", "workqueue"])
async def test_a_log_that_forgets_what_one_sensor_read_is_refused(
    server: NatsServer, plain: Any, retention: str
) -> None:
    await plain.add_stream(name="default", subjects=["default.*.*"], retention=retention)
    with pytest.raises(BusError, match=f"retention '{retention}'.*retention 'limits'"):
        async with JetStreamBus(server.url):
            pass


async def test_settings_with_such_a_retention_are_refused(server: NatsServer) -> None:
    with pytest.raises(BusError, match="use retention: 0"):
        async with JetStreamBus(server.url, settings=StreamSettings.parse("retention: 1")):
            pass


async def test_a_stream_of_this_name_with_other_subjects_is_refused(server: NatsServer, plain: Any) -> None:
    await plain.add_stream(name="default", subjects=["something.else"])
    with pytest.raises(BusError, match=r"holds \['something.else'\], not 'default"):
        async with JetStreamBus(server.url):
            pass


async def test_another_stream_on_our_subjects_is_named(server: NatsServer, plain: Any) -> None:
    await plain.add_stream(name="mine", subjects=["default.>"])
    with pytest.raises(BusError, match=r"'default' cannot be made: subjects overlap"):
        async with JetStreamBus(server.url):
            pass


# ---------------------------------------------------------------------- retention


async def test_events_that_fell_off_the_log_are_counted_in_one_warning(
    server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with JetStreamBus(server.url, settings=StreamSettings(max_messages=10)) as bus:
        async with bus.subscribe("sensor-x", [PAIR]):
            pass
        await publish(bus, range(30))
        with caplog.at_level(logging.WARNING, "argosy"):
            async with bus.subscribe("sensor-x", [PAIR]) as subscription:
                assert await read_ids(subscription, 10) == [str(number) for number in range(20, 30)]
    [told] = [record.getMessage() for record in caplog.records if "retention" in record.getMessage()]
    assert "20 events" in told
    assert "'sensor-x'" in told


async def test_a_reader_that_is_overtaken_while_it_reads_is_told(
    server: NatsServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("argosy.bus._jetstream_feed._LAG_LOOK_SECONDS", 0)
    async with (
        JetStreamBus(server.url, settings=StreamSettings(max_messages=300)) as bus,
        bus.subscribe("c", [PAIR], max_in_flight=1) as subscription,
    ):
        await soon(asyncio.gather(*(bus.publish(event(number)) for number in range(300))))
        batches = aiter(subscription)
        [first] = await read(batches, 1)
        await soon(asyncio.gather(*(bus.publish(event(f"n{number}")) for number in range(1000))))
        await subscription.commit(first.position)
        with caplog.at_level(logging.WARNING, "argosy"):
            while not any("retention" in record.getMessage() for record in caplog.records):
                [delivery] = await read(batches, 1)
                await subscription.commit(delivery.position)


async def test_a_quiet_consumer_on_a_busy_log_raises_no_false_alarm(
    server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with JetStreamBus(server.url, settings=StreamSettings(max_messages=10)) as bus:
        with caplog.at_level(logging.WARNING, "argosy"):
            async with bus.subscribe("quiet", [PAIR]) as subscription:
                await publish(bus, [1])
                [delivery] = await read(aiter(subscription), 1)
                await subscription.commit(delivery.position)
                waiting = asyncio.ensure_future(anext(aiter(subscription)))
                await publish(bus, range(30), OTHER)
                waiting.cancel()
            async with bus.subscribe("quiet", [PAIR]) as subscription:
                await publish(bus, [2])
                assert await read_ids(subscription, 1) == ["2"]
    assert not [record for record in caplog.records if "retention" in record.getMessage()]


async def test_a_log_that_was_made_anew_is_read_from_its_first_entry(
    bus: Bus, plain: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with bus.subscribe("c", [PAIR]) as subscription:
        await publish(bus, range(10))
        found = await read(aiter(subscription), 10)
        await subscription.commit(found[-1].position)
    await plain.delete_stream("default")
    await publish(bus, ["new 1", "new 2"])
    with caplog.at_level(logging.WARNING, "argosy"):
        async with bus.subscribe("c", [PAIR]) as subscription:
            assert await read_ids(subscription, 2) == ["new 1", "new 2"]
    assert "made anew" in caplog.text


async def test_a_log_that_is_removed_while_it_is_read_is_made_and_read_again(bus: Bus, plain: Any) -> None:
    async with bus.subscribe("c", [PAIR]) as subscription:
        await publish(bus, [1])
        [old] = await read(aiter(subscription), 1)
        await plain.delete_stream("default")
        await publish(bus, [2, 3])
        assert await read_ids(subscription, 2) == ["2", "3"]
        await subscription.commit(old.position + 1000)  # of the old log: must not skip anything of the new one
        await publish(bus, [4])
        assert await read_ids(subscription, 1) == ["4"]


async def test_sources_wait_while_a_full_log_discards_new_events(
    server: NatsServer, plain: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings = StreamSettings.parse("{discard: 1, maxMsgs: 2}")
    async with JetStreamBus(server.url, settings=settings) as bus:
        await publish(bus, [1, 2])
        waiting = asyncio.ensure_future(bus.publish(event(3)))
        await until(lambda: "is full" in caplog.text)
        assert not waiting.done()
        await plain.purge_stream("default")
        await soon(waiting)


# ---------------------------------------------------------------------- consumers that break


async def test_a_consumer_that_somebody_deletes_is_made_anew(bus: Bus, plain: Any) -> None:
    async with bus.subscribe("c", [PAIR]) as subscription:
        for number in range(3):
            await publish(bus, [number])
            assert await read_ids(subscription, 1) == [str(number)]
            waiting = asyncio.ensure_future(read_ids(subscription, 1))
            [consumer] = await plain.consumers_info("default")
            await plain.delete_consumer("default", consumer.name)
            await publish(bus, [f"after {number}"])
            assert await soon(waiting) == [f"after {number}"]


async def test_entries_lost_on_their_way_are_fetched_again_in_order(bus: Bus) -> None:
    async with bus.subscribe("c", [PAIR], max_in_flight=1000) as subscription:
        assert isinstance(subscription, Reader)
        await publish(bus, ["first"])
        assert await read_ids(subscription, 1) == ["first"]
        assert subscription.feed
        arrived, receive = 0, subscription.feed.receive

        def lossy(message: Any) -> None:
            nonlocal arrived
            arrived += 1
            if arrived not in (3, 4, 50):
                receive(message)

        subscription.feed.receive = lossy  # type: ignore[method-assign]
        waiting = asyncio.ensure_future(read(aiter(subscription), 60))
        await publish(bus, range(60))
        assert ids(await soon(waiting)) == [str(number) for number in range(60)]
        assert arrived > 60


async def test_a_consumer_that_fell_silent_is_noticed(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("argosy.bus._jetstream_reader.DEAF_SECONDS", 1.0)
    monkeypatch.setattr("argosy.bus._jetstream_feed._HEARTBEAT_SECONDS", 0.3)
    monkeypatch.setattr("argosy.bus._jetstream_feed.json.dumps", _whole_dumps)
    async with bus.subscribe("c", [PAIR]) as subscription:
        assert isinstance(subscription, Reader)
        await publish(bus, [1])
        assert await read_ids(subscription, 1) == ["1"]
        waiting = asyncio.ensure_future(read_ids(subscription, 1))
        feed = subscription.feed
        assert feed
        await until(lambda: bool(feed.asked))
        await feed.end_inbox()  # from here on nothing arrives, and nobody says so
        await publish(bus, [2])
        assert await soon(waiting) == ["2"]


def _whole_dumps(value: Any, dumps: Any = json.dumps) -> str:
    """The server takes whole nanoseconds."""
    return str(dumps({key: int(each) if isinstance(each, float) else each for key, each in value.items()}))


async def test_a_server_that_stands_still_is_left_and_found_again(server: NatsServer, bus: Bus) -> None:
    queue = bus.queue("q")
    async with bus.subscribe("c", [PAIR]) as subscription, queue.take() as leases:
        await publish(bus, [1])
        await queue.put("a", b"x")
        lease = await take(leases)
        server.signal(signal.SIGSTOP)
        waiting = [asyncio.ensure_future(each) for each in (bus.publish(event(2)), lease.done(), queue.put("b", b"x"))]
        await until(lambda: not bus.ready)  # whoever asks is told meanwhile
        assert not any(each.done() for each in waiting)
        server.signal(signal.SIGCONT)
        await soon(asyncio.gather(*waiting))
        assert bus.ready
        assert await read_ids(subscription, 2) == ["1", "2"]
        lease = await take(leases)
        assert lease.id == "b"
        await lease.done()
        assert await queue.depth() == 0


async def test_a_queues_consumer_that_somebody_deletes_is_made_anew(bus: Bus, plain: Any) -> None:
    queue = bus.queue("q")
    async with queue.take() as leases:
        for number in range(3):
            waiting = asyncio.ensure_future(take(leases))
            [consumer] = await plain.consumers_info("argosy-actions")
            await plain.delete_consumer("argosy-actions", consumer.name)
            await queue.put(f"i{number}", b"x")
            lease = await soon(waiting)
            assert lease.id == f"i{number}"
            await lease.done()


# ---------------------------------------------------------------------- the queue's crash points


async def test_a_crash_between_the_outcome_and_the_end_does_not_hand_the_item_out_again(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = bus.queue("q")
    await queue.put("a", b"")
    await queue.put("b", b"")

    async def crash(*arguments: object) -> None:
        raise RuntimeError("killed here")

    # Given that the outcome was written and the process died before the item was taken off
    async with queue.take() as leases:
        lease = await take(leases)
        with monkeypatch.context() as context, pytest.raises(RuntimeError):
            context.setattr("argosy.bus._jetstream_lease.Taker._end", crash)
            await lease.done(b"ok")
    # When somebody takes, then the next item comes, and the first is gone
    async with queue.take() as leases:
        assert (await take(leases)).id == "b"
        assert await queue.depth() == 1
    assert await queue.outcome("a") == b"ok"


async def test_a_crash_between_counting_and_handing_back_keeps_count_and_rest(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = bus.queue("q")
    await queue.put("a", b"")

    async def crash(*arguments: object) -> None:
        raise RuntimeError("killed here")

    async with queue.take() as leases:
        lease = await take(leases)
        with monkeypatch.context() as context, pytest.raises(RuntimeError):
            context.setattr("argosy.bus._jetstream_lease.Taker._end", crash)
            await lease.retry_in(0, "once")
    async with queue.take() as leases:
        lease = await take(leases)
        assert (lease.failures, lease.last_error) == (1, "once")


async def test_again_asks_the_dead_letters_when_the_outcomes_have_forgotten(
    server: NatsServer, bus: Bus, plain: Any
) -> None:
    queue = bus.queue("q")
    await queue.put("a", b"")
    async with queue.take() as leases:
        await (await take(leases)).dead_letter("no")
    # Given that the record of ended ids has expired, and the server has forgotten the message ids
    await plain.purge_stream("argosy-outcomes")
    server.end()
    await server.start()
    assert not await soon(queue.put("a", b"", again=True))
    assert await soon(queue.put("a", b""))


async def test_a_server_that_forgot_that_an_item_was_taken_off_goes_on_with_the_next(
    server: NatsServer, tmp_path: Path
) -> None:
    # Given a server that remembers of a consumer that it has given out "a"
    lasting = JetStreamStore(server, queue_settings=QueueSettings(lease_seconds=3600))
    async with lasting.handle() as bus:
        await bus.queue("other").put("older", b"")
        queue = bus.queue("q")
        await queue.put("a", b"")
        await queue.put("b", b"")
        async with queue.take() as leases:
            lease = await take(leases)
            server.end(signal.SIGTERM)
            [state] = (tmp_path / "nats" / "store").rglob("obs/*/o.dat")
            remembered = state.read_bytes()
            await server.start()
            # When "a" has ended, and the server is killed and knows as much as before
            await soon(lease.done())
            server.end()
            state.write_bytes(remembered)
            await server.start()
            # Then "b" comes, although the lease of "a" would go on for an hour
            assert (await take(leases)).id == "b"


async def test_a_lease_outlives_its_length_while_the_worker_lives(server: NatsServer, bus: Bus) -> None:
    queue = bus.queue("q", max_in_flight=2)
    await queue.put("a", b"")
    async with (
        JetStreamStore(server).handle() as other,
        queue.take() as mine,
        other.queue("q", max_in_flight=2).take() as theirs,
    ):
        lease = await take(mine)
        waiting = asyncio.ensure_future(anext(theirs))
        await asyncio.sleep(4)  # longer than the lease of 3 s: there is nothing to await
        assert not waiting.done()
        await lease.done()
        waiting.cancel()


async def test_items_never_age_out(bus: Bus, plain: Any) -> None:
    config = (await plain.stream_info("argosy-actions")).config
    assert (config.max_age, config.max_msgs, config.max_bytes) == (0, -1, -1)
    assert config.retention == "workqueue"
    config = (await plain.stream_info("argosy-dead")).config
    assert (config.max_age, config.max_msgs, config.max_bytes) == (0, -1, -1)


async def test_a_finished_queue_leaves_no_records_of_failures(bus: Bus, plain: Any) -> None:
    queue = bus.queue("q")
    await queue.put("a", b"")
    async with queue.take() as leases:
        await (await take(leases)).retry_in(0, "once")
        await (await take(leases)).done()
    assert (await plain.stream_info("KV_argosy")).state.messages == 0


# ---------------------------------------------------------------------- servers that cannot be used


async def test_a_server_that_is_not_there_is_unavailable_and_named() -> None:
    with pytest.raises(BusUnavailable, match=r"no NATS server answered at nats://127.0.0.1:\d+ within 0.3 s"):
        async with JetStreamBus(f"nats://user:secret@127.0.0.1:{free_port()}", connect_timeout_seconds=0.3):
            pass


async def test_a_server_without_jetstream_is_refused(tmp_path: Path) -> None:
    server = NatsServer(tmp_path, jetstream=False)
    await server.start()
    try:
        with pytest.raises(BusError, match="without JetStream; start it with -js"):
            async with JetStreamBus(server.url):
                pass
    finally:
        server.end()


async def test_an_account_without_jetstream_is_refused(tmp_path: Path) -> None:
    server = NatsServer(tmp_path, extra="accounts { A: { users: [ {user: a, password: b} ] } }")
    await server.start()
    try:
        with pytest.raises(BusError, match="may not use JetStream"):
            async with JetStreamBus(server.url, connection=Connection(user="a", password="b")):
                pass
    finally:
        server.end()


async def test_wrong_credentials_are_said_to_be_wrong_without_being_printed(tmp_path: Path) -> None:
    server = NatsServer(tmp_path, extra='authorization { token: "right" }')
    await server.start()
    try:
        with pytest.raises(BusError, match="does not accept our credentials") as caught:
            async with JetStreamBus(server.url, connection=Connection(token="wr0ng")):
                pass
        assert "wr0ng" not in str(caught.value)
        async with JetStreamBus(server.url, connection=Connection(token="right")) as bus:
            await bus.publish(event(1))
    finally:
        server.end()


def certificate(folder: Path) -> Path:
    """A self-signed certificate for 127.0.0.1 with its key, in one file."""
    both = folder / "server.pem"
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-days", "2", "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1",
            "-keyout", both, "-out", folder / "cert.pem",
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    both.write_text(both.read_text() + (folder / "cert.pem").read_text())
    return both


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl: apt-get install openssl")
async def test_a_server_with_tls_is_verified(tmp_path: Path) -> None:
    pem = certificate(tmp_path)
    server = NatsServer(tmp_path / "nats", extra=f'tls {{ cert_file: "{pem}", key_file: "{pem}" }}')
    await server.start()
    try:
        with pytest.raises(BusUnavailable, match="(?i)certificate"):
            async with JetStreamBus(server.url, connect_timeout_seconds=1):
                pass
        trusting = ssl.create_default_context(cafile=str(pem))
        async with JetStreamBus(server.url, connection=Connection(tls=trusting)) as bus:
            await bus.publish(event(1))
            server.end()
            await server.start()
            await soon(bus.publish(event(2)))
    finally:
        server.end()


async def test_a_server_older_than_2_10_is_refused() -> None:
    # An old server is not to be had here; all that counts of it is what it says of itself.
    async def old(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"version":"2.9.25","headers":true,"max_payload":1048576,"jetstream":true}\r\n')
        while line := await reader.readline():
            if line.startswith(b"PING"):
                writer.write(b"PONG\r\n")
        writer.close()

    listening = await asyncio.start_server(old, "127.0.0.1", 0)
    async with listening:
        port = listening.sockets[0].getsockname()[1]
        with pytest.raises(BusError, match=r"2\.9\.25; Argosy needs 2\.10"):
            async with JetStreamBus(f"nats://127.0.0.1:{port}"):
                pass


@pytest.mark.parametrize("url", ["", "http://host", "nats://", "nats://host:0", "nats://u:s3cret@host:x"])
def test_a_wrong_address_is_refused_without_its_secrets(url: str) -> None:
    with pytest.raises(BusError, match="write for example nats://host:4222") as caught:
        JetStreamBus(url)
    assert "s3cret" not in str(caught.value)


async def test_secrets_are_not_printed(server: NatsServer) -> None:
    given = Connection(user="u", password="s3cret", token="t0ken", credentials="cr3ds")
    bus = JetStreamBus(f"nats://u:s3cret@127.0.0.1:{server.port}", connection=given)
    for secret in ("s3cret", "t0ken", "cr3ds"):
        assert secret not in f"{bus!r} {given!r}"


# ---------------------------------------------------------------------- a cluster


async def test_a_cluster_that_loses_its_leader_loses_nothing(tmp_path: Path) -> None:
    # Given a cluster of three, where every stream has three replicas
    async with NatsCluster(tmp_path) as cluster, JetStreamBus(cluster.url, connect_timeout_seconds=60) as bus:
        total = 300
        found: list[str] = []
        done: list[str] = []
        queue = bus.queue("q")

        async def receive() -> None:
            async with bus.subscribe("c", [PAIR], max_in_flight=16) as subscription:
                opened.set()
                async for batch in subscription:
                    for delivery in batch:
                        assert delivery.event
                        found.append(delivery.event.id)
                        await queue.put(delivery.event.id, b"", again=delivery.repeated)
                    await subscription.commit(batch[-1].position)
                    if len(found) >= total:
                        return

        async def work() -> None:
            async with queue.take() as leases:
                async for lease in leases:
                    done.append(lease.id)
                    await lease.done()
                    if lease.id == str(total - 1):
                        return

        opened = asyncio.Event()
        tasks = [asyncio.ensure_future(receive()), asyncio.ensure_future(work())]
        await soon(opened.wait())
        # When the server that leads the log is killed in the middle
        tasks.append(asyncio.ensure_future(publish(bus, range(total))))
        await until(lambda: len(found) > total // 3)
        killed = await cluster.leader("default")
        killed.end()
        await until(lambda: len(found) > total // 2)
        await killed.start()
        # Then everything arrives, in order
        await soon(asyncio.gather(*tasks))
        assert found == [str(number) for number in range(total)]
        assert list(dict.fromkeys(done)) == found
