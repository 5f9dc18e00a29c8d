"""The ``postgres`` source hears the messages of channels of a real PostgreSQL."""

from __future__ import annotations

import asyncio

import pytest

from argosy.manifests.fields import Json
from tests.brokers.sources.postgresql import SECRETS, PostgreSQL
from tests.conformance.source import eventually, on_stage


def channel_block(server: PostgreSQL, *channels: str, **more: Json) -> dict[str, Json]:
    return {**server.login(), "listen": {"channels": list(channels), **more}}


async def test_messages_of_channels_become_events_in_the_order_of_sending(postgresql: PostgreSQL) -> None:
    # Given a source that hears two channels, and metadata
    block = {**channel_block(postgresql, "jobs", "Größe"), "metadata": {"a": "b"}}
    async with on_stage("postgres", block, secrets=dict(SECRETS)) as stage:
        await stage.start()
        client = await postgresql.client()
        # When messages are sent, one of them in a transaction that is rolled back
        for number in range(100):
            await client.execute("SELECT pg_notify($1, $2)", "jobs", f'"{number}"')
        await client.execute("BEGIN; NOTIFY jobs, 'never'; ROLLBACK")
        await client.execute("SELECT pg_notify('Größe', 'ä')")
        # Then each is an event, with its channel and who sent it
        events = await stage.events(101)
        pid = client.get_server_pid()
        assert events[0].data == {"channel": "jobs", "payload": '"0"', "pid": pid, "metadata": {"a": "b"}}
        assert [event.data["payload"] for event in events] == [f'"{number}"' for number in range(100)] + ["ä"]
        assert {event.id for event in events} == {None}
        await client.close()


async def test_messages_that_are_to_be_json_are_read_and_others_are_counted(postgresql: PostgreSQL) -> None:
    async with on_stage("postgres", channel_block(postgresql, "json", jsonBody=True), secrets=dict(SECRETS)) as stage:
        await stage.start()
        client = await postgresql.client()
        for text in ("no", '{"a": 1}'):
            await client.execute("SELECT pg_notify('json', $1)", text)
        (event,) = await stage.events(1)
        assert event.data["payload"] == {"a": 1}
        assert len(stage.refused) == 1 and "channel 'json'" in stage.refused[0]
        await client.close()


async def test_no_more_messages_are_read_than_may_wait_and_none_is_lost(
    postgresql: PostgreSQL, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a bus that does not answer, and room for ten
    monkeypatch.setattr("argosy.sources._postgres_listen._MOST_WAITING", 10)
    async with on_stage("postgres", channel_block(postgresql, "flood"), secrets=dict(SECRETS)) as stage:
        await stage.start()
        stage.close_gate()
        client = await postgresql.client()
        # When thousands of messages come
        query = "SELECT pg_notify('flood', lpad(n::text, 7000, '0')) FROM generate_series(1, $1) n"
        await client.execute(query, 3000)
        await eventually(lambda: stage.under_way == 64)
        await asyncio.sleep(0.2)
        # Then no more than may be are under way, and the messages wait at the server
        assert stage.under_way == 64
        assert await client.fetchval("SELECT pg_notification_queue_usage()") > 0
        # And all arrive in order
        stage.open_gate()
        await stage.events(3000)
        assert [int(event.data["payload"][-9:]) for event in stage.emitted] == list(range(1, 3001))
        await client.close()


async def test_a_lost_connection_is_made_again_and_what_was_sent_meanwhile_is_gone(postgresql: PostgreSQL) -> None:
    async with on_stage("postgres", channel_block(postgresql, "jobs"), secrets=dict(SECRETS)) as stage:
        await stage.start()
        await postgresql.restart()
        await eventually(lambda: len(stage.listening) == 2)
        client = await postgresql.client()
        await client.execute("NOTIFY jobs, 'after'")
        (event,) = await stage.events(1)
        assert event.data["payload"] == "after"
        assert stage.errors and "lost" in str(stage.errors[0])
        await client.close()


async def test_a_listener_that_is_cancelled_ends_when_its_emits_have(postgresql: PostgreSQL) -> None:
    async with on_stage("postgres", channel_block(postgresql, "jobs"), secrets=dict(SECRETS)) as stage:
        await stage.start()
        stage.close_gate()
        client = await postgresql.client()
        await client.execute("NOTIFY jobs, 'one'")
        await eventually(lambda: stage.under_way == 1)
        task = stage.begin_stop()
        await asyncio.sleep(0.1)
        assert not task.done()
        stage.open_gate()
        await asyncio.wait([task])
        assert (len(stage.emitted), stage.cut_off) == (1, 0)
        await client.close()


async def test_messages_that_were_heard_and_had_to_wait_are_kept_before_a_listener_ends(postgresql: PostgreSQL) -> None:
    async with on_stage("postgres", channel_block(postgresql, "jobs"), secrets=dict(SECRETS)) as stage:
        # Given more messages of one transaction, which come together, than may be under way
        await stage.start()
        stage.close_gate()
        client = await postgresql.client()
        await client.execute("SELECT pg_notify('jobs', n::text) FROM generate_series(1, 100) n")
        await eventually(lambda: stage.under_way == 64)
        # When the source is told to end, and the bus answers again
        task = stage.begin_stop()
        await asyncio.sleep(0)
        stage.open_gate()
        await asyncio.wait([task])
        # Then none is missing: the server does not tell them again
        assert [event.data["payload"] for event in stage.emitted] == [str(number) for number in range(1, 101)]
        await client.close()
