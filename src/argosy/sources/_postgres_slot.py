"""The changes that wait in a replication slot of PostgreSQL, as events.

A look reads what waits without taking it (``pg_logical_slot_peek_binary_changes``) and hands each change to the bus; the
slot moves on when all of them are kept. So the server remembers the place, and what was handed over before a
crash comes again, with the same ids. Changes come out of a cursor: however large a transaction is, no more than a few
hundred are in memory. While the bus takes nothing the cursor is closed, for its transaction would keep the server from
cleaning up; the next one passes over what was handed over already.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import orjson

from argosy.errors import EventInvalid, EventTooLarge, SourceError
from argosy.sources._base import SourceContext
from argosy.sources._in_flight import InFlight
from argosy.sources._pgoutput import Change, Decoder, position, shown
from argosy.sources._raw import tail

if TYPE_CHECKING:
    import asyncpg

    from argosy.sources.postgres import PostgresConfig, PostgresReplication

_LOOK_CHANGES = 10_000
"""A look ends at the end of the transaction in which it has seen so many."""
_LOOK_SECONDS = 600.0
"""How long the server may take to find what a look wants."""
_HOLD_SECONDS = 10.0
"""How long a cursor stays open while the bus takes nothing."""
_PREFETCH = 100
_FINISH_SECONDS = 1.5
_WATCH_SECONDS = 60.0
_MUCH_BYTES = 1 << 30
_IDLE_BYTES = 16 << 20
"""So much of the log without a change for us is looked through again and again before the slot moves over it."""
_MADE = "slot"

_PLACE = """
SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_flush_lsn() END::text
"""
_PEEK = """
SELECT data FROM pg_logical_slot_peek_binary_changes(
    $1, $2::text::pg_lsn, $3, 'proto_version', '1', 'publication_names', quote_ident($4))
"""
_ABOUT = """
SELECT plugin, database = current_database() AS here, wal_status,
    confirmed_flush_lsn::text AS confirmed, restart_lsn::text AS kept_from
FROM pg_replication_slots WHERE slot_name = $1
"""


class _Stalled(Exception):
    """The bus takes nothing: the cursor is to be closed meanwhile."""


class Slot:
    """One slot, read by one connection."""

    def __init__(
        self, ctx: SourceContext[PostgresConfig], connection: asyncpg.Connection, config: PostgresReplication
    ) -> None:
        self._ctx = ctx
        self._connection = connection
        self._config = config
        self._publication = config.publication or config.slot
        self._decoder = Decoder()
        self._flight = InFlight()
        self._pending: set[asyncio.Task[None]] = set()
        self._begun = (0, -1)
        """Place and index of the last change that was handed over."""
        self._whole = 0
        """The end of the last transaction of which every change was handed over."""
        self._read_to = 0
        """Up to here everything that was committed has been read."""
        self._confirmed = 0
        self._failed = False
        self._warned = False

    async def run(self) -> None:
        """Read until cancelled, or until something fails."""
        await self._make_publication()
        await self._make()
        where = f"{self._ctx.config.where}/{self._ctx.config.database}"
        self._ctx.listening(f"slot {self._config.slot!r} of {where}, publication {self._publication!r}")
        try:
            await self._flight.run(self._read())
        finally:
            await self._finish()

    async def _read(self) -> None:
        looked, watched = "", 0.0
        pause = self._config.poll_interval
        while True:
            if self._ctx.clock.monotonic() >= watched:
                watched = self._ctx.clock.monotonic() + _WATCH_SECONDS
                await self._watch()
            place, cut = str(await self._connection.fetchval(_PLACE)), False
            if place != looked:
                cut = await self._look(place)
                looked = "" if cut else place
            if self._pending:
                # While the bus takes its time more is handed over, as much as may be under way.
                await self._settled(None if cut else pause)
            elif not cut:
                await self._ctx.clock.sleep(pause)
            if not self._pending:
                await self._move_on()

    async def _look(self, place: str) -> bool:
        """Hand over what waits up to ``place``; whether the look was cut short."""
        seen = 0
        try:
            async with self._connection.transaction():
                given = (self._config.slot, place, _LOOK_CHANGES, self._publication)
                rows = self._connection.cursor(_PEEK, *given, prefetch=_PREFETCH, timeout=_LOOK_SECONDS)
                async for (message,) in rows:
                    seen += 1
                    for change in self._decoder.read(message):
                        await self._hand_over(change)
                    if self._decoder.ended:
                        self._whole = self._decoder.ended
        except _Stalled:
            return True
        # Where it was not cut short, all that was committed up to its place has been read.
        self._read_to = self._whole if seen >= _LOOK_CHANGES else position(place)
        return seen >= _LOOK_CHANGES

    async def _hand_over(self, change: Change) -> None:
        where = (change.place, change.index)
        if where <= self._begun:
            return
        if not self._config.operations or change.operation in self._config.operations:
            try:
                async with asyncio.timeout(_HOLD_SECONDS):
                    await self._flight.free()
            except TimeoutError:
                raise _Stalled from None
            task = self._flight.begin(self._keep(change))
            self._pending.add(task)
            task.add_done_callback(self._pending.discard)
        self._begun = where

    async def _settled(self, patience_seconds: float | None) -> None:
        """Return when the bus holds all that was handed over, or after so long."""
        while self._pending:
            await asyncio.wait(self._pending, timeout=_WATCH_SECONDS if patience_seconds is None else patience_seconds)
            if patience_seconds is not None:
                return
            if self._pending:
                await self._watch()

    async def _keep(self, change: Change) -> None:
        name = f"{self._config.slot}/{shown(change.place)}/{change.xid}/{change.index}"
        try:
            await self._ctx.emit(self._data(change), id=name)
        except (EventInvalid, EventTooLarge) as error:
            table = f"{change.relation.schema}.{change.relation.table}"
            self._ctx.refused(f"{error} (a change of {table}, {name}); passed over")
        except BaseException:
            self._failed = True
            raise

    def _data(self, change: Change) -> bytes:
        about = {
            "operation": change.operation,
            "schema": change.relation.schema,
            "table": change.relation.table,
            "lsn": shown(change.place),
            "xid": change.xid,
            "index": change.index,
            "commitTime": change.committed.isoformat().replace("+00:00", "Z"),
        }
        if change.operation == "truncate":
            about |= {"cascade": change.cascade, "restartIdentity": change.restart_identity}
        if change.unchanged:
            about["unchanged"] = list(change.unchanged)
        data = orjson.dumps(about)[:-1]
        for word, row in (("new", change.new), ("old", change.old)):
            if row is not None:
                data += b',"%b":%b' % (word.encode(), row)
        return data + tail(self._ctx.config.metadata) + b"}"

    async def _move_on(self) -> None:
        """Move the slot over what the bus holds, and at times over a log that had nothing for us."""
        place = max(self._whole, self._read_to)
        if self._whole > self._confirmed or place - self._confirmed > _IDLE_BYTES:
            await self._move_to(place)

    async def _move_to(self, place: int) -> None:
        moved = "SELECT pg_replication_slot_advance($1, $2::text::pg_lsn)"
        await self._connection.execute(moved, self._config.slot, shown(place), timeout=_LOOK_SECONDS)
        self._confirmed = place

    async def _finish(self) -> None:
        """At the end, move on by what the bus has taken meanwhile. Where that fails, it comes again."""
        if self._failed or self._whole <= self._confirmed or self._connection.is_closed():
            return
        import asyncpg

        with contextlib.suppress(TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            async with asyncio.timeout(_FINISH_SECONDS):
                await self._move_to(self._whole)

    async def _watch(self) -> None:
        """Warn once where the server keeps much of its log for us."""
        query = f"SELECT pg_wal_lsn_diff(({_PLACE})::pg_lsn, restart_lsn)::bigint, wal_status FROM pg_replication_slots"
        found = await self._connection.fetchrow(f"{query} WHERE slot_name = $1", self._config.slot)
        if found is None:
            raise SourceError(f"slot {self._config.slot!r} of {self._ctx.config.where} was dropped")
        kept, status = int(found[0] or 0), str(found[1])
        much = kept > _MUCH_BYTES or status in ("unreserved", "lost")
        if much and not self._warned:
            self._ctx.log.warning(
                "the server keeps %d MB of its log for slot %r (%s); events wait for the bus, or transactions are open",
                kept >> 20,
                self._config.slot,
                status,
            )
        self._warned = much

    async def _make_publication(self) -> None:
        """Make the publication, or set its tables right, where the manifest names them."""
        name, tables = self._publication, [_split(table) for table in self._config.tables]
        there = await self._connection.fetchval("SELECT oid FROM pg_publication WHERE pubname = $1", name)
        if not tables:
            if there is None:
                raise SourceError(
                    f"{self._ctx.config.where} has no publication {name!r}; make it there, or name 'tables'"
                )
            return
        listed = ", ".join(f"{_quoted(schema)}.{_quoted(table)}" for schema, table in tables)
        if there is None:
            await self._connection.execute(f"CREATE PUBLICATION {_quoted(name)} FOR TABLE {listed}")
            return
        query = "SELECT schemaname, tablename FROM pg_publication_tables WHERE pubname = $1"
        shown_now = {tuple(row) for row in await self._connection.fetch(query, name)}
        if shown_now != set(tables):
            await self._connection.execute(f"ALTER PUBLICATION {_quoted(name)} SET TABLE {listed}")

    async def _make(self) -> None:
        """Make the slot where it is missing, and say so where it was there once."""
        slot, where = self._config.slot, self._ctx.config.where
        about = await self._connection.fetchrow(_ABOUT, slot)
        mine = orjson.dumps([str(where), self._ctx.config.database, slot])
        entry = await self._ctx.bucket.get(_MADE)
        if about is not None and about["wal_status"] == "lost":
            await self._connection.execute("SELECT pg_drop_replication_slot($1)", slot)
            about = None
        if about is None:
            if entry is not None and entry.value == mine:
                self._ctx.refused(
                    f"slot {slot!r} of {where} was dropped, or the server threw away the log that it needs; the changes"
                    " since then are lost, and the slot is made anew"
                )
            await self._connection.execute(
                "SELECT pg_create_logical_replication_slot($1, 'pgoutput')", slot, timeout=_LOOK_SECONDS
            )
            about = await self._connection.fetchrow(_ABOUT, slot)
        if about is None or about["plugin"] != "pgoutput" or not about["here"]:
            raise SourceError(f"slot {slot!r} of {where} is of another plug-in or database; name another one")
        self._confirmed = position(about["confirmed"])
        if entry is None or entry.value != mine:
            await self._ctx.bucket.put(_MADE, mine)


def _split(table: str) -> tuple[str, str]:
    schema, _, name = table.rpartition(".")
    return schema or "public", name


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
