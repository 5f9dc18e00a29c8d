"""The ``postgres`` source against a real PostgreSQL: the suites of every source and of brokers for the changes of a table,
and what the log says of each kind of change.

Longer than 400 lines, for most of them are statements of SQL and the rows that become of them.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator
from typing import Any, ClassVar, Self

import asyncpg
import pytest

from argosy.errors import EventTooLarge, SourceError
from argosy.manifests.fields import Json
from argosy.sources._pgoutput import position
from tests.brokers.sources.postgresql import PASSWORD, SECRETS, PostgreSQL
from tests.brokers.sources.suite import BrokerSuite, BrokerUpstream
from tests.conformance.source import SourceSuite, Stage, eventually, raising

_numbers = itertools.count(1)


class Writer(BrokerUpstream):
    """A session that inserts into a table of its own, for which there is a slot of its own."""

    redelivers = True
    keeps = True
    names_messages = True
    kind = "postgres"
    server: PostgreSQL
    secrets = SECRETS

    def __init__(self, server: PostgreSQL) -> None:
        super().__init__(server)
        self.name = f"orders_{next(_numbers)}"
        self.place = f"public.{self.name}"
        self.client: Any = None
        self.ends: list[int] = []
        """Where each transaction of ``send`` ends in the log."""
        replication = {"slot": self.name, "tables": [self.name], "pollInterval": "20ms"}
        self.block = {**server.login(), "replication": replication}

    async def __aenter__(self) -> Self:
        await self.again()
        await self.run(f"CREATE TABLE {self.name} (id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY, text text)")
        return self

    async def again(self) -> None:
        if self.client is not None:
            self.client.terminate()
        self.client = await self.server.client()

    async def __aexit__(self, *exc: object) -> None:
        self.server.sql(
            f"SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = '{self.name}'"
        )
        await self.again()
        while True:
            try:
                await self.run(
                    f"SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name='{self.name}'"
                )
            except asyncpg.ObjectInUseError:
                await asyncio.sleep(0.01)
            else:
                break
        await self.client.close()

    async def run(self, statement: str) -> None:
        await self.client.execute(statement)

    async def send(self, text: str) -> None:
        await self.client.execute(f"INSERT INTO {self.name} (text) VALUES ($1)", text)
        self.ends.append(position(await self.client.fetchval("SELECT pg_current_wal_lsn()::text")))

    def at(self, host: str) -> dict[str, Json]:
        return {"hostAddress": host}

    def text_of(self, data: Json) -> str:
        common = {"operation", "schema", "table", "lsn", "xid", "index", "commitTime", "new"}
        assert set(data) in (common, {*common, "metadata"})
        assert (data["operation"], data["schema"], data["table"]) == ("insert", "public", self.name)
        assert set(data["new"]) == {"id", "text"} and isinstance(data["new"]["id"], int)
        return str(data["new"]["text"])

    async def acknowledged(self) -> int:
        query = "SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = $1"
        stands = position(await self.client.fetchval(query, self.name))
        return sum(end <= stands for end in self.ends)


@pytest.fixture
async def upstream(postgresql: PostgreSQL) -> AsyncIterator[Writer]:
    async with Writer(postgresql) as writer:
        yield writer


_SERVER: dict[str, Json] = {"hostAddress": "db", "database": "d", "username": "u"}
_SLOT: dict[str, Json] = {"replication": {"slot": "s"}}


class TestPostgres(BrokerSuite, SourceSuite):
    kind = "postgres"
    server = PostgreSQL
    publisher = Writer
    nobody: ClassVar[dict[str, Json]] = {"hostAddress": "127.0.0.1:9"}
    by_tls = "postgres://{}:5432"
    login_refused = "refuses the user"
    impatient: ClassVar[dict[str, float]] = {"_postgres._ANSWER_SECONDS": 1.0, "_postgres_slot._LOOK_SECONDS": 1.0}
    bad_blocks: ClassVar[list[tuple[dict[str, Json], str]]] = [
        ({**_SLOT, "database": "d", "username": "u"}, "hostAddress"),
        ({**_SERVER, **_SLOT, "hostAddress": "postgres://db"}, "hostAddress"),
        ({**_SLOT, "hostAddress": "db", "username": "u"}, "database"),
        ({**_SLOT, "hostAddress": "db", "database": "d"}, "username"),
        (_SERVER, "replication or listen"),
        ({**_SERVER, **_SLOT, "listen": {"channels": ["c"]}}, "replication or listen"),
        ({**_SERVER, "replication": {"slot": "No"}}, "slot"),
        ({**_SERVER, "replication": {"slot": "s", "tables": ["a.b.c"]}}, "'a.b.c'"),
        ({**_SERVER, "replication": {"slot": "s", "operations": ["select"]}}, "operations"),
        ({**_SERVER, "replication": {"slot": "s", "pollInterval": "0s"}}, "pollInterval"),
        ({**_SERVER, "listen": {"channels": []}}, "channels"),
        ({**_SERVER, "listen": {"channels": ["x" * 64]}}, "channel"),
        ({**_SERVER, **_SLOT, "tls": {}}, "caCertSecret"),
    ]


def rows(stage: Stage) -> list[tuple[str, Json, Json]]:
    return [(event.data["operation"], event.data.get("new"), event.data.get("old")) for event in stage.emitted]


async def test_each_change_says_what_happened_to_which_row(upstream: Writer, stage: Stage) -> None:
    # Given a table whose identity is its key
    await stage.start()
    table = upstream.name
    # When rows are inserted, updated with and without their key, and deleted, in one transaction; and all is truncated
    async with upstream.client.transaction():
        await upstream.run(f"INSERT INTO {table} (text) VALUES ('a'), (NULL)")
        await upstream.run(f"UPDATE {table} SET text = 'b' WHERE id = 1")
        await upstream.run(f"UPDATE {table} SET id = DEFAULT WHERE id = 1")
        await upstream.run(f"DELETE FROM {table} WHERE id = 2")
    await upstream.run(f"TRUNCATE {table} RESTART IDENTITY CASCADE")
    # Then each is an event, in order, with what the log holds of the row before
    events = await stage.events(6)
    assert rows(stage) == [
        ("insert", {"id": 1, "text": "a"}, None),
        ("insert", {"id": 2, "text": None}, None),
        ("update", {"id": 1, "text": "b"}, None),
        ("update", {"id": 3, "text": "b"}, {"id": 1}),
        ("delete", None, {"id": 2}),
        ("truncate", None, None),
    ]
    assert (events[5].data["cascade"], events[5].data["restartIdentity"]) == (True, True)
    # And they are named by slot, commit, transaction and number
    first = events[0].data
    assert [event.data["index"] for event in events] == [0, 1, 2, 3, 4, 0]
    assert len({event.data["xid"] for event in events}) == len({event.data["lsn"] for event in events}) == 2
    assert events[0].id == f"{table}/{first['lsn']}/{first['xid']}/0"
    assert first["commitTime"].endswith("Z") and first["commitTime"][10] == "T"


async def test_a_whole_old_row_and_large_values_that_an_update_left_alone(upstream: Writer, stage: Stage) -> None:
    # Given a large value that does not stand in the row itself
    table = upstream.name
    await upstream.run(f"ALTER TABLE {table} ADD large text")
    await upstream.run(f"ALTER TABLE {table} ALTER large SET STORAGE EXTERNAL")
    await stage.start()
    await upstream.run(f"INSERT INTO {table} (text, large) VALUES ('a', repeat('x', 100000))")
    # When the row is updated beside it, and once more with a log that holds all of the old row
    await upstream.run(f"UPDATE {table} SET text = 'b'")
    await upstream.run(f"ALTER TABLE {table} REPLICA IDENTITY FULL")
    await upstream.run(f"UPDATE {table} SET text = 'c'")
    await upstream.run(f"DELETE FROM {table}")
    # Then the first update says that the value is not there, and the others have it
    _, plain, full, deleted = (event.data for event in await stage.events(4))
    assert (plain["new"], plain["unchanged"]) == ({"id": 1, "text": "b"}, ["large"])
    assert "unchanged" not in full and full["new"]["large"] == full["old"]["large"] == "x" * 100000
    assert (full["new"]["text"], full["old"]["text"], deleted["old"]["text"]) == ("c", "b", "c")


async def test_values_are_json_of_their_types_whatever_the_server_prints(upstream: Writer, stage: Stage) -> None:
    # Given a column of each type, on a server with another time zone and another style of dates
    values: dict[str, tuple[str, str]] = {
        "bool": ("true", "true"),
        "int8": ("9223372036854775807", "9223372036854775807"),
        "float8": ("0.1", "0.1"),
        "float4": ("'NaN'", '"NaN"'),
        "numeric": ("12345678901234567890.10", "12345678901234567890.10"),
        "text": ("E'a\"\\n<ä>'", '"a\\"\\n<ä>"'),
        "json": ("""'{"a": [1, 2.50]}'""", '{"a": [1, 2.50]}'),
        "jsonb": ("""'{"b":null}'""", '{"b": null}'),
        "timestamptz": ("'2026-02-03 04:05:06.5+01'", '"2026-02-03T03:05:06.5Z"'),
        "timestamp": ("'2026-02-03 04:05:06'", '"2026-02-03T04:05:06"'),
        "date": ("'2026-02-03'", '"2026-02-03"'),
        "interval": ("'1 day 2 hours'", '"P1DT2H"'),
        "uuid": ("'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", '"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"'),
        "bytea": ("'\\xdead'", '"\\\\xdead"'),
        "int4[]": ("'{{1,2},{NULL,4}}'", "[[1,2],[null,4]]"),
        "text[]": ("""ARRAY['a,b', 'null', NULL, '{"', '']""", '["a,b","null",null,"{\\"",""]'),
        "bool[]": ("'[0:1]={t,f}'", "[true,false]"),
        "jsonb[]": ("""ARRAY['{"a": 1}'::jsonb]""", '[{"a": 1}]'),
        "timestamptz[]": ("ARRAY['infinity'::timestamptz]", '["infinity"]'),
        "inet": ("'10.0.0.1/8'", '"10.0.0.1/8"'),
    }
    table = upstream.name
    columns = {f"c{number}": each for number, each in enumerate(values)}
    await upstream.run(f"ALTER TABLE {table} " + ", ".join(f"ADD {name} {each}" for name, each in columns.items()))
    await stage.start()
    # When a row with all of them is inserted
    given = ", ".join(sql for sql, _ in values.values())
    await upstream.run(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({given})")
    # Then each is what it is in JSON, to the digit
    (event,) = await stage.events(1)
    inside = ",".join(f'"{name}":{values[each][1]}' for name, each in columns.items())
    assert f'"new":{{"id":1,"text":null,{inside}}}' in event.raw.decode()


async def test_columns_that_come_and_go_and_tables_beside_are_read_as_they_are(upstream: Writer, stage: Stage) -> None:
    # Given a second table, partitioned and with a name that must be quoted, in a schema of its own
    table = upstream.name
    await upstream.run(f'CREATE SCHEMA "S {table}"')
    await upstream.run(f'CREATE TABLE "S {table}"."T" (day date, PRIMARY KEY (day))')
    stage.block["replication"]["tables"] = [f"public.{table}", f"S {table}.T"]
    await stage.start()
    # When columns change between rows, also inside of one transaction
    await upstream.send("a")
    async with upstream.client.transaction():
        await upstream.run(f"INSERT INTO {table} (text) VALUES ('b')")
        await upstream.run(f"ALTER TABLE {table} ADD more int DEFAULT 7")
        await upstream.run(f"ALTER TABLE {table} DROP text")
        await upstream.run(f"INSERT INTO {table} DEFAULT VALUES")
    await upstream.run(f'INSERT INTO "S {table}"."T" VALUES (\'2026-01-01\')')
    # Then each row has the columns of its time
    await stage.events(4)
    assert [row for _, row, _ in rows(stage)] == [
        {"id": 1, "text": "a"},
        {"id": 2, "text": "b"},
        {"id": 3, "more": 7},
        {"day": "2026-01-01"},
    ]
    # And the publication holds what the manifest names from then on, no more
    await stage.stop()
    stage.block["replication"]["tables"] = [table]
    await stage.start()
    query = "SELECT tablename FROM pg_publication_tables WHERE pubname = $1"
    assert [row[0] for row in await upstream.client.fetch(query, table)] == [table]


async def test_only_the_wanted_operations_become_events_and_ids_stay_as_they_are(
    upstream: Writer, stage: Stage
) -> None:
    stage.block["replication"]["operations"] = ["delete"]
    await stage.start()
    async with upstream.client.transaction():
        await upstream.run(f"INSERT INTO {upstream.name} (text) VALUES ('a'), ('b')")
        await upstream.run(f"DELETE FROM {upstream.name} WHERE id = 1")
    (event,) = await stage.events(1)
    assert (event.data["operation"], event.data["index"]) == ("delete", 2)
    assert event.id is not None and event.id.endswith("/2")


async def test_a_transaction_that_is_rolled_back_is_none(upstream: Writer, stage: Stage) -> None:
    await stage.start()
    transaction = upstream.client.transaction()
    await transaction.start()
    await upstream.run(f"INSERT INTO {upstream.name} (text) VALUES ('never')")
    await transaction.rollback()
    await upstream.send("after")
    await stage.events(1)
    assert [upstream.text_of(event.data) for event in stage.offered] == ["after"]


async def test_a_transaction_larger_than_what_is_looked_at_is_whole_and_the_bus_may_stop_in_it(
    upstream: Writer, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a source that looks at a hundred changes, and lets go of the cursor at once when the bus takes nothing
    monkeypatch.setattr("argosy.sources._postgres_slot._LOOK_CHANGES", 100)
    monkeypatch.setattr("argosy.sources._postgres_slot._HOLD_SECONDS", 0.05)
    await stage.start()
    stage.close_gate()
    # When thousands of rows come in one transaction, and more after it
    await upstream.run(f"INSERT INTO {upstream.name} (text) SELECT n FROM generate_series(1, 3000) n")
    for text in ("3001", "3002"):
        await upstream.send(text)
    await eventually(lambda: stage.under_way == 64)
    # Then no transaction of ours is open on the server while the bus takes nothing
    await eventually(lambda: _is_idle(upstream))
    assert (len(stage.offered), await upstream.acknowledged()) == (64, 0)
    # And when it takes again, every row is an event, once and in order
    stage.open_gate()
    await stage.events(3002)
    assert [upstream.text_of(event.data) for event in stage.offered] == [str(number) for number in range(1, 3003)]
    await eventually(lambda: _told(upstream, 2))
    assert not stage.errors


async def _is_idle(upstream: Writer) -> bool:
    query = "SELECT state FROM pg_stat_activity WHERE application_name = 'argosy:stage/example' AND datname = 'shop'"
    return [row[0] for row in await upstream.client.fetch(query)] == ["idle"]


async def _told(upstream: Writer, count: int) -> bool:
    return await upstream.acknowledged() == count


async def test_a_killed_server_is_come_back_to_and_nothing_is_missing(upstream: Writer, stage: Stage) -> None:
    # Given a change whose emit is under way
    await stage.start()
    stage.close_gate()
    await upstream.send("before")
    await eventually(lambda: stage.under_way == 1)
    # When the server is killed and comes back
    await upstream.server.restart()
    stage.open_gate()
    await upstream.again()
    await upstream.send("after")
    # Then nothing is missing, and what comes twice has one id
    await eventually(lambda: {upstream.text_of(each.data) for each in stage.emitted} == {"before", "after"})
    assert len({event.id for event in stage.emitted}) == 2
    await eventually(lambda: _told(upstream, 2))
    assert all(isinstance(error, SourceError) and "127.0.0.1" in str(error) for error in stage.errors)


async def test_a_slot_that_was_dropped_is_made_anew_and_the_loss_is_counted(upstream: Writer, stage: Stage) -> None:
    # Given a source that has read, and is away
    await stage.start()
    await upstream.send("before")
    await stage.events(1)
    await stage.stop()
    # When its slot is dropped, and a row comes
    await upstream.run(f"SELECT pg_drop_replication_slot('{upstream.name}')")
    await upstream.send("lost")
    await stage.start()
    # Then it says so, and what comes from then on is there
    await upstream.send("after")
    await stage.events(2)
    assert [upstream.text_of(event.data) for event in stage.emitted] == ["before", "after"]
    (sentence,) = stage.refused
    assert f"slot '{upstream.name}'" in sentence and "lost" in sentence


async def test_a_slot_moves_over_a_log_that_has_nothing_for_it_and_much_log_is_warned_of(
    upstream: Writer, stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("argosy.sources._postgres_slot._IDLE_BYTES", 1000)
    monkeypatch.setattr("argosy.sources._postgres_slot._MUCH_BYTES", 1000)
    monkeypatch.setattr("argosy.sources._postgres_slot._WATCH_SECONDS", 0.05)
    await stage.start()
    # When another table changes much
    await upstream.run(f"CREATE TABLE other_{upstream.name} AS SELECT n FROM generate_series(1, 1000) n")
    upstream.ends.append(position(await upstream.client.fetchval("SELECT pg_current_wal_lsn()::text")))
    # Then the slot moves on, and what the server keeps for it is said
    await eventually(lambda: _told(upstream, 1))
    await eventually(lambda: "MB of its log for slot" in caplog.text)
    assert (stage.offered, stage.errors) == ([], [])


async def test_a_slot_that_another_process_reads_is_waited_for(upstream: Writer, stage: Stage) -> None:
    # Given a slot that another process holds
    await stage.start()
    await stage.stop()
    other = upstream.server.reader(upstream.name, upstream.name)
    query = "SELECT active FROM pg_replication_slots WHERE slot_name = $1"
    try:
        await eventually(lambda: upstream.client.fetchval(query, upstream.name), "the slot is held")
        # When the source starts and there is something to read, then it says so
        await stage.start()
        await upstream.send("one")
        await eventually(lambda: any("is active" in str(error) for error in stage.errors))
        assert stage.offered == []
    finally:
        other.kill()
        other.wait()
    # And reads on when the other one has gone
    await upstream.send("two")
    await eventually(lambda: any(upstream.text_of(each.data) == "two" for each in stage.emitted))


async def test_a_row_that_the_bus_will_never_take_is_counted_with_its_name(upstream: Writer, stage: Stage) -> None:
    await stage.start()
    stage.failure = EventTooLarge("the event has 2 MB, the bus takes 1 MB")
    await upstream.send("large")
    await eventually(lambda: len(stage.refused) == 1)
    assert f"public.{upstream.name}" in stage.refused[0] and f"{upstream.name}/" in stage.refused[0]
    await eventually(lambda: _told(upstream, 1))


async def test_refusals_are_sentences_that_show_no_password(upstream: Writer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    block, server = upstream.block, upstream.server
    server.sql("CREATE ROLE plain LOGIN PASSWORD 'plain'")
    server.sql("GRANT CREATE ON DATABASE shop TO plain")
    wrong = {("db", "password"): "wr0ng-p4ss"}
    name, replication = upstream.name, block["replication"]
    await upstream.run(f"SELECT pg_create_logical_replication_slot('{name}', 'test_decoding')")
    cases: list[tuple[dict[str, Json], dict[tuple[str, str], str], str]] = [
        ({"hostAddress": "127.0.0.1:9"}, {}, "nothing listens at postgres://127.0.0.1:9"),
        ({}, wrong, "refuses the user"),
        ({"database": "nowhere"}, {}, '"nowhere" does not exist'),
        ({"replication": {"slot": name}}, {}, f"no publication '{name}'"),
        ({"replication": {**replication, "tables": ["nothing"]}}, {}, '"public.nothing" does not exist'),
        ({}, {}, "another plug-in"),
        (
            {"username": "plain", "replication": {"slot": f"{name}_2", "publication": name}},
            {("db", "password"): "plain"},
            "grant the user that right",
        ),
        ({"username": "plain", "tls": {"enabled": True}}, {}, "certificate of postgres://127.0.0.1"),
    ]
    for given, changed, expected in cases:
        async with raising("postgres", {**block, **given}, secrets={**SECRETS, **changed}) as sentence:
            assert expected in sentence
            assert PASSWORD not in sentence + caplog.text and "wr0ng" not in sentence + caplog.text
