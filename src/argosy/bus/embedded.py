"""A NATS server of our own, for one machine: started with us, restarted when it dies, ended with us.

The store lives in a folder and survives every kind of death of any process. Each bus name has an account of
its own, so that several namespaces each have their stream ``default`` and cannot see each other. The server
keeps its port when it is restarted; the buses, which are ordinary JetStream buses, wait and go on. A lock on
the folder keeps two of us apart.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import re
import secrets
import signal
from pathlib import Path
from typing import Literal, NamedTuple, Self

from argosy.bus import _embedded_child as server
from argosy.bus import _embedded_room as room
from argosy.bus._jetstream_names import digest
from argosy.bus._jetstream_settings import Connection, StreamSettings
from argosy.bus.jetstream import JetStreamBus, QueueSettings
from argosy.errors import BusError, BusUnavailable

log = logging.getLogger("argosy.bus.embedded")

_LONGEST_PAUSE_SECONDS = 2.0
_ADMIT_SECONDS = 15.0


class _Account(NamedTuple):
    account: str
    user: str
    password: str


class EmbeddedServer:
    """The server whose store is in ``data_dir``; an async context manager.

    ``durability='process'``: nothing is lost when processes die; a power cut may cost the last two minutes.
    ``'power'``: every write is on the disk before it is acknowledged, at a quarter to a sixth of the speed.
    Entering raises BusError if another process uses the folder, or if there is no nats-server.
    """

    def __init__(self, data_dir: str | Path, *, durability: Literal["process", "power"] = "process") -> None:
        self._folder = Path(data_dir).absolute() / "bus"
        self._config = self._folder / "nats.conf"
        self._log = self._folder / "nats.log"
        self._names = self._folder / "accounts.json"
        self._durability = durability
        self._accounts: dict[str, _Account] = {}
        self._binary = ""
        self._port = 0
        self._lock_file = -1
        self._child: asyncio.subprocess.Process | None = None
        self._serving = False
        self._tasks: list[asyncio.Task[None]] = []
        self._room = room.Room(0, 0)
        self._admitting = asyncio.Lock()

    @property
    def url(self) -> str:
        """Where the server listens. Who connects needs ``connection`` too."""
        return f"nats://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        """The server's process, 0 while there is none."""
        return self._child.pid if self._child and self._child.returncode is None else 0

    async def __aenter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock()
        try:
            self._binary = await asyncio.to_thread(server.find_binary)
            for pid in await server.end_leftovers(self._config):
                log.info(
                    "ended nats-server %d, which a killed run had left behind",
                    pid,
                    extra={"action": "bus_leftover"},
                )
            self._remember_accounts()
            await self._start_first()
        except BaseException:
            await self._stop()
            self._unlock()
            raise
        self._tasks = [
            asyncio.create_task(self._watch(), name="argosy-nats-server"),
            asyncio.create_task(self._make_room(), name="argosy-nats-room"),
        ]
        return self

    async def __aexit__(self, *exc: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._stop()
        self._unlock()

    def bus(
        self,
        name: str,
        settings: StreamSettings | None = None,
        *,
        queue_settings: QueueSettings | None = None,
        connect_timeout_seconds: float = 30.0,
        sole: bool = False,
    ) -> JetStreamBus:
        """The bus of this name, not yet entered. Two names share nothing. ``sole`` as for JetStreamBus: the
        folder's lock proves that no earlier owner lives, the caller knows whether it let other processes in.
        """
        return _EmbeddedBus(
            self,
            name,
            settings,
            queue_settings=queue_settings,
            connect_timeout_seconds=connect_timeout_seconds,
            sole=sole,
        )

    def connection(self, name: str) -> Connection:
        """What another process of ours needs beside ``url`` to open this bus with JetStreamBus; ``admit`` it
        first.
        """
        account = self._account(name)
        return Connection(user=account.user, password=account.password)

    async def admit(self, name: str) -> Connection:
        """Return once the server lets the bus of this name in."""
        async with self._admitting:
            fresh = name not in self._accounts
            account = self._account(name)
            if fresh:
                self._reload()
            try:
                async with asyncio.timeout(_ADMIT_SECONDS):
                    while not await server.accepts(  # noqa: ASYNC110 - the server says nothing of a reload
                        self._port, account.user, account.password
                    ):
                        await asyncio.sleep(0.01)
            except TimeoutError as error:
                raise BusUnavailable(
                    f"the embedded nats-server does not let bus {name!r} in: {server.last_words(self._log)}"
                ) from error
        return Connection(user=account.user, password=account.password)

    # ------------------------------------------------------------------ accounts

    def _account(self, name: str) -> _Account:
        known = self._accounts.get(name)
        if known is None:
            # The account names the folder of its streams: letters that every file system holds, and never
            # two names in one.
            slug = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[:40]
            account = f"{slug}-{digest(name)}"
            known = self._accounts[name] = _Account(account, account, secrets.token_urlsafe(24))
        return known

    def _remember_accounts(self) -> None:
        try:
            for name in json.loads(self._names.read_text()):
                self._account(str(name))
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            # Nothing hangs on the list but that old buses are recovered at once: a name is admitted when it
            # is asked for.
            log.warning(
                "%s cannot be read (%s); it is written anew",
                self._names,
                error,
                extra={"action": "bus_accounts"},
            )

    def _write_config(self) -> None:
        fresh = self._names.with_suffix(".new")
        fresh.write_text(json.dumps(sorted(self._accounts), indent=1))
        fresh.replace(self._names)
        server.write_config(
            self._config,
            port=self._port,
            store=self._folder,
            log=self._log,
            accounts={each.account: (each.user, each.password) for each in self._accounts.values()},
            sync_always=self._durability == "power",
            most_bytes=self._room.limit,
        )

    def _reload(self) -> None:
        self._write_config()
        if self._serving and self._child:
            # The handler of this signal stands before the port does, so it is not the end of the server.
            with contextlib.suppress(ProcessLookupError):
                self._child.send_signal(signal.SIGHUP)

    # ------------------------------------------------------------------ the disk

    async def _make_room(self) -> None:
        """Let the server's limit follow the disk; after the disk was full, start the server anew once there is room."""
        was_full = False
        complaints = room.Complaints(self._log)
        while True:
            await asyncio.sleep(room.LOOK_SECONDS)
            try:
                now = await asyncio.to_thread(room.look, self._folder)
                # A disk may be full for less time than lies between two looks; the server's streams stay closed all the same.
                refused = await asyncio.to_thread(complaints.come)
                if (now.full or refused) and not was_full:
                    was_full = True
                    log.error(
                        "the disk of %s is full (%d MB free): nothing is acknowledged and nothing is done until there is room",
                        self._folder, now.free // 2**20, extra={"action": "bus_disk_full"},
                    )  # fmt: skip
                elif was_full and now.enough and self._child:
                    was_full = False
                    log.warning(
                        "there is room on the disk of %s again", self._folder, extra={"action": "bus_disk_room"}
                    )
                    # A stream whose file could not be written stays closed until the server reads it again.
                    with contextlib.suppress(ProcessLookupError):
                        self._child.send_signal(signal.SIGTERM)
                elif not now.full and not now.like(self._room):
                    async with self._admitting:
                        self._room = now
                        self._reload()
            except OSError as error:
                log.warning("cannot look after the disk of %s: %s", self._folder, error, extra={"action": "bus_disk"})

    # ------------------------------------------------------------------ the child

    async def _start_first(self) -> None:
        self._room = await asyncio.to_thread(room.look, self._folder)
        self._account("argosy")  # without any account the server would let everybody in
        for tries in range(3):
            self._port = server.free_port()
            self._write_config()
            try:
                await self._start()
                return
            except BusUnavailable:
                # Somebody may have taken the port between our look and the server's.
                if tries == 2:
                    raise

    async def _start(self) -> None:
        self._child = await server.start(self._binary, self._config)
        await server.ready(self._port, self._child, self._log)
        self._serving = True

    async def _watch(self) -> None:
        pause = 0.05
        while True:
            assert self._child
            code = await self._child.wait()
            self._serving = False
            log.warning(
                "the embedded nats-server ended (%s): %s; starting it again",
                signal.Signals(-code).name if code < 0 else f"exit code {code}", server.last_words(self._log),
                extra={"action": "bus_server_restart"},
            )  # fmt: skip
            await asyncio.sleep(pause)
            try:
                await self._start()
                pause = 0.05
            except (BusUnavailable, OSError) as error:
                log.error("cannot start the embedded nats-server: %s", error, extra={"action": "bus_server_down"})
                pause = min(_LONGEST_PAUSE_SECONDS, pause * 2)

    async def _stop(self) -> None:
        self._serving = False
        child, self._child = self._child, None
        if child and child.returncode is None:
            await server.end(child)

    # ------------------------------------------------------------------ the folder's lock

    def _lock(self) -> None:
        path = self._folder / "lock"
        self._lock_file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(self._lock_file, 32).decode(errors="replace").strip()
            os.close(self._lock_file)
            self._lock_file = -1
            raise BusError(
                f"the data folder {str(self._folder.parent)!r} is in use by process {holder or 'unknown'}; "
                "end it, or give this one a folder of its own"
            ) from error
        os.ftruncate(self._lock_file, 0)
        os.pwrite(self._lock_file, str(os.getpid()).encode(), 0)

    def _unlock(self) -> None:
        if self._lock_file >= 0:
            os.close(self._lock_file)
            self._lock_file = -1


class _EmbeddedBus(JetStreamBus):
    """A bus of the embedded server: its account is made when it is opened."""

    def __init__(
        self,
        owner: EmbeddedServer,
        name: str,
        settings: StreamSettings | None,
        *,
        queue_settings: QueueSettings | None,
        connect_timeout_seconds: float,
        sole: bool,
    ) -> None:
        self._owner = owner
        self._name = name
        super().__init__(
            owner.url,
            connection=Connection(),
            settings=settings,
            queue_settings=queue_settings,
            connect_timeout_seconds=connect_timeout_seconds,
            sole=sole,
        )

    def __repr__(self) -> str:
        return f"<embedded bus {self._name!r}>"

    async def __aenter__(self) -> Self:
        self._link.let_in_with(await self._owner.admit(self._name))
        return await super().__aenter__()
