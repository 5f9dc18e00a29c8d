"""``postgres`` (ours): the changes of tables in a PostgreSQL database, or the messages of its channels.

``replication`` reads the write-ahead log through a replication slot: each row that was inserted, updated or deleted,
and each truncated table, becomes one event, in the order of the commits. The slot keeps its place on the server, and
moves on only after the bus holds the events, so nothing is missing and what comes twice has the same id.

``listen`` hears what sessions send by ``NOTIFY``. PostgreSQL keeps no message for whoever is not there: what is sent
while no process listens is lost, and messages have no ids.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from argosy.manifests.fields import Duration, Model
from argosy.sources._base import Source, SourceContext
from argosy.sources._postgres import PostgresServer, connected

_NAME = r"^[a-z0-9_]{1,63}$"


class PostgresReplication(Model):
    """Changes of tables, out of a replication slot. The server (13 or newer) needs ``wal_level = logical``, the role the attribute
    ``REPLICATION``, and, where ``tables`` are named, to own them."""

    slot: str = Field(pattern=_NAME)
    """The replication slot, of this event alone; made where it is missing. The server keeps its log for a slot until it is read:
    drop the slot when the event is not wanted any more."""
    publication: str = ""
    """Which tables, columns and rows are meant; empty means the slot's name."""
    tables: list[str] = Field(default_factory=list)
    """``schema.table`` or ``table`` (of ``public``). The publication is made of these, and holds just these from then on. Empty: somebody
    else makes the publication."""
    operations: list[Literal["insert", "update", "delete", "truncate"]] = Field(default_factory=list)
    """Which changes become events; empty means all."""
    poll_interval: Duration = Field(1.0, gt=0)
    """The pause before the log is looked at again when there was nothing new."""

    @field_validator("tables")
    @classmethod
    def _named(cls, tables: list[str]) -> list[str]:
        for table in tables:
            if not all(table.split(".")) or table.count(".") > 1:
                raise ValueError(f"{table!r} is no table; write schema.table")
        return tables


class PostgresListen(Model):
    """Messages of channels."""

    channels: list[str] = Field(min_length=1)
    """The channels, by their names as ``pg_notify`` has them."""
    json_body: bool = False
    """The messages are JSON; otherwise they are text."""

    @field_validator("channels")
    @classmethod
    def _named(cls, channels: list[str]) -> list[str]:
        for channel in channels:
            if not 0 < len(channel.encode()) < 64:
                raise ValueError(f"{channel!r} is no channel; names have 1 to 63 bytes")
        return channels


class PostgresConfig(PostgresServer):
    """A database, and what of it becomes events: ``replication`` or ``listen``."""

    replication: PostgresReplication | None = None
    """Changes of tables."""
    listen: PostgresListen | None = None
    """Messages of channels."""

    @model_validator(mode="after")
    def _one(self) -> PostgresConfig:
        if (self.replication is None) == (self.listen is None):
            raise ValueError("needs either replication or listen")
        return self


class Postgres(Source[PostgresConfig]):
    """Receives changes of tables, or notifications.

    A change says in ``operation`` what happened, in ``schema`` and ``table`` where, in ``new`` the row that is now, and in ``old`` what
    PostgreSQL logs of the row that was: its key, or all of it where the table has ``REPLICA IDENTITY FULL``; an update that leaves the
    key alone has no ``old`` otherwise. Large columns that an update left alone may be missing in ``new``; ``unchanged`` names them.
    ``lsn`` is the place of the commit, ``index`` the change's number in its transaction.
    """

    kind: ClassVar[str] = "postgres"
    config = PostgresConfig
    exclusive: ClassVar[bool] = True
    acknowledges: ClassVar[bool] = True
    requires: ClassVar[tuple[str, ...]] = ("asyncpg",)
    extra: ClassVar[str] = "postgres"
    peer: ClassVar[str] = "real: PostgreSQL"
    example: ClassVar[str] = """\
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata:
  name: postgres
spec:
  postgres:
    orders:
      hostAddress: db.shop:5432
      database: shop
      username: argosy
      password:
        name: shop-db
        key: password
      tls:
        caCertSecret:
          name: shop-db
          key: ca.crt
      replication:
        slot: argosy_orders
        tables:
          - public.orders
        operations:
          - insert
          - update
    jobs:
      hostAddress: db.shop:5432
      database: shop
      username: argosy
      password:
        name: shop-db
        key: password
      tls:
        caCertSecret:
          name: shop-db
          key: ca.crt
      listen:
        channels:
          - jobs
        jsonBody: true
"""

    async def run(self, ctx: SourceContext[PostgresConfig]) -> None:
        async with connected(ctx) as connection:
            if ctx.config.listen is not None:
                from argosy.sources._postgres_listen import Listener

                await Listener(ctx, connection, ctx.config.listen).run()
            elif ctx.config.replication is not None:
                from argosy.sources._postgres_slot import Slot

                await Slot(ctx, connection, ctx.config.replication).run()
