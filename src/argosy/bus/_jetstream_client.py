"""How nats-py is imported, set up, and made fast: the one place that knows its options and its inside.

nats-py hands every message through a queue to a task of its subscription, and every write through a queue to a task that
flushes. Here a message is handed to its receiver where it is parsed, headers are read only if somebody asks for them, and
what is sent in a few turns of the loop goes out in one write: a third of the time of a request. Connecting, TLS, credentials,
parsing and pings stay the library's.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Awaitable, Callable
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from argosy.bus._jetstream_settings import Connection

_PING_SECONDS = 4.0
_GATHERED_TURNS = 2
"""For how many more turns of the loop writes are gathered: answers that arrive meanwhile lead to the next ones. A turn takes
microseconds, a write more than all else that a request costs.
"""


class Message:
    """A message as it came. ``headers`` is empty where there are none; a status has ``Status`` and ``Description`` in it."""

    def __init__(self, subject: bytes, reply: bytes, data: bytes, raw_headers: bytes | None) -> None:
        self.subject = subject.decode()
        self.reply = reply.decode()
        self.data = data
        self._raw_headers = raw_headers

    @property
    def is_status(self) -> bool:
        """Whether the server says something of its own: ``NATS/1.0 404 …``."""
        return self._raw_headers is not None and self._raw_headers[8:9] == b" "

    @cached_property
    def headers(self) -> dict[str, str]:
        if not self._raw_headers:
            return {}
        first, *lines = self._raw_headers.decode("utf-8", "replace").split("\r\n")
        found = {}
        if status := first[8:].strip():
            found["Status"], _, found["Description"] = status.partition(" ")
        for line in lines:
            name, colon, value = line.partition(":")
            if colon:
                found[name.strip()] = value.strip()
        return found


Receive = Callable[[Message], Awaitable[None]]
"""What a message is handed to. It must not wait for anything: what comes after waits for it."""


@lru_cache(maxsize=1)
def _client_class() -> Any:
    # nats-py imports aiohttp where it is merely installed (10 MB, 400 ms); only its websocket transport needs
    # it.
    hidden = "aiohttp" not in sys.modules
    if hidden:
        sys.modules["aiohttp"] = None  # type: ignore[assignment]
    try:
        library: Any = importlib.import_module("nats.aio.client")
        transports: Any = importlib.import_module("nats.aio.transport")
    finally:
        if hidden:
            del sys.modules["aiohttp"]

    class Direct(library.Client):  # type: ignore[misc]
        """nats-py's client with the short ways in and out."""

        _pending: list[bytes]
        _pending_data_size: int

        def __init__(self) -> None:
            super().__init__()
            self._receivers: dict[int, Receive] = {}
            self._writing = False

        async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: Any) -> None:
            receive = self._receivers.get(sid)
            if receive is None:
                await super()._process_msg(sid, subject, reply, data, headers)
                return
            try:
                await receive(Message(subject, reply, data, headers))
            except Exception as error:  # noqa: BLE001 - what one message does must not end the connection
                await self._error_cb(error)

        def receive(self, subject: str, receive: Receive) -> Callable[[], None]:
            """Hand every message on ``subject`` to ``receive``. Returns what ends it."""
            self._sid += 1
            sid = self._sid
            self._receivers[sid] = receive
            self._write(b"SUB %b  %d\r\n" % (subject.encode(), sid))

            def end() -> None:
                if self._receivers.pop(sid, None):
                    self._write(b"UNSUB %d\r\n" % sid)

            return end

        def send(self, subject: str, payload: bytes, reply: str, headers: dict[str, str] | None) -> None:
            """Publish a few turns of the loop later. Raises ConnectionError if there is no connection.

            Subject, reply and headers go out as they are; ``_jetstream_names`` spells what may stand there.
            """
            if headers is None:
                command = f"PUB {subject} {reply} {len(payload)}\r\n".encode()
                self._write(b"%b%b\r\n" % (command, payload))
                return
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            head = f"NATS/1.0\r\n{lines}\r\n".encode()
            command = f"HPUB {subject} {reply} {len(head)} {len(head) + len(payload)}\r\n".encode()
            self._write(b"%b%b%b\r\n" % (command, head, payload))

        async def flush(self, timeout: int = 10) -> None:
            """As the library's; its ping overtakes what waits to be written."""
            self._write_pending()
            await super().flush(timeout)

        def _write(self, command: bytes) -> None:
            if not self.is_connected:
                raise ConnectionError("not connected")
            self._pending.append(command)
            self._pending_data_size += len(command)
            if not self._writing:
                self._writing = True
                asyncio.get_running_loop().call_soon(self._write_after, _GATHERED_TURNS)

        def _write_after(self, turns: int) -> None:
            if turns:
                asyncio.get_running_loop().call_soon(self._write_after, turns - 1)
            else:
                self._write_pending()

        def _write_pending(self) -> None:
            self._writing = False
            if not self._pending or not self.is_connected or self._transport is None:
                return
            if isinstance(self._transport, transports.TcpTransport):
                commands, self._pending, self._pending_data_size = self._pending, [], 0
                self._transport.write(b"".join(commands))
            elif self._flush_queue.empty():  # a websocket sends in its drain only
                self._flush_queue.put_nowait(asyncio.get_running_loop().create_future())

    return Direct


def new_client() -> Any:
    """A client, not yet connected."""
    return _client_class()()


def options(given: Connection) -> dict[str, Any]:
    """What ``connect`` is given beside the address and the callbacks."""
    found: dict[str, Any] = {
        "allow_reconnect": False,
        "max_reconnect_attempts": 1,
        "reconnect_time_wait": 0.02,
        "connect_timeout": 3,
        "ping_interval": _PING_SECONDS,
        "max_outstanding_pings": 2,
        # Above this, nats-py blocks where it swallows cancellation; our windows bound what is under way.
        "pending_size": 256 * 1024 * 1024,
    }
    if given.tls:
        found["tls"] = given.tls
    if given.tls_hostname:
        found["tls_hostname"] = given.tls_hostname
    if given.user:
        found |= {"user": given.user, "password": given.password}
    elif given.token:
        found["token"] = given.token
    elif given.credentials:
        text = given.credentials
        if isinstance(text, str) and "BEGIN NATS USER JWT" in text:
            text = importlib.import_module("nats.aio.client").RawCredentials(text)
        found["user_credentials"] = str(text) if isinstance(text, Path) else text
    elif given.nkey:
        found["nkeys_seed_str"] = given.nkey
    return found
