"""The double of Service Bus and Event Hubs as a child process, behind TLS where a test wants it, and what tests ask of it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gc
import importlib.util
import ssl
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2

from tests.brokers.sources.server import Server
from tests.kubernetes import certificates
from tests.missing import missing

HOST = "argosy-test.servicebus.windows.net"
KEY = "a-key-of-nobody+/="
_ROOT = Path(__file__).parents[2]


class AzureBus(Server):
    """One double. ``port`` speaks AMQP 1.0, ``tls_port`` is the control port."""

    def command(self) -> list[str]:
        if importlib.util.find_spec("proton") is None:
            missing("Qpid Proton is not installed; get it with: make test-peers")
        state = self.folder / "state.pickle"
        run = (
            f"import sys; sys.path.insert(0, {str(_ROOT)!r}); from tests.peers import azure_double; azure_double.main()"
        )
        return [sys.executable, "-c", run, str(self.port), str(self.tls_port), str(state)]

    def set_password(self, password: str) -> None:
        raise AssertionError("say set(keys=...)")

    @property
    def connection_string(self) -> str:
        """Without TLS, as to Microsoft's own emulator."""
        return (
            f"Endpoint=sb://127.0.0.1:{self.port};SharedAccessKeyName=root;SharedAccessKey={KEY};"
            "UseDevelopmentEmulator=true;"
        )

    async def ask(self, **command: Any) -> dict[str, Any]:
        """One command to the double."""
        async with httpx2.AsyncClient(trust_env=False, timeout=20.0) as client:
            answer: dict[str, Any] = (await client.post(f"http://127.0.0.1:{self.tls_port}/", json=command)).json()
        assert "error" not in answer, answer
        return answer

    async def set(self, **settings: Any) -> None:
        """Change settings, make queues and hubs."""
        await self.ask(do="set", **settings)

    async def put(self, address: str, body: str | bytes, **fields: Any) -> int:
        """Put a message into a queue, topic or hub; its number."""
        raw = body.encode() if isinstance(body, str) else body
        answer = await self.ask(do="put", address=address, body=base64.b64encode(raw).decode(), **fields)
        return int(answer["number"])

    async def look(self, address: str = "") -> dict[str, Any]:
        """What the double holds and has seen."""
        return await self.ask(do="look", address=address)


def collect_quietly() -> None:
    """Collect the sockets of calls to a service that stood still or was killed: Microsoft's libraries leave those of their
    management calls to the garbage collector, which warns.
    """
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        gc.collect()
    finally:
        sys.unraisablehook = hook


# How many fields Azure writes of each performative. Proton leaves out those at the end that are empty, as AMQP allows, and
# the library for Event Hubs (5.15.1) counts on them.
_FIELDS = {0x10: 10, 0x11: 8, 0x12: 14, 0x13: 11, 0x14: 11, 0x15: 6, 0x16: 3, 0x17: 1, 0x18: 1, 0x44: 2}


def padded(frame: bytes) -> bytes:
    """An AMQP frame with all fields of its performative."""
    start = frame[4] * 4
    if len(frame) < start + 4 or frame[start] != 0 or frame[start + 1] != 0x53:
        return frame
    wanted, kind, place = _FIELDS.get(frame[start + 2], 0), frame[start + 3], start + 4
    if kind == 0x45:
        count, fields, end = 0, b"", place
    elif kind == 0xC0:
        end = place + 1 + frame[place]
        count, fields = frame[place + 1], frame[place + 2 : end]
    elif kind == 0xD0:
        end = place + 4 + int.from_bytes(frame[place : place + 4], "big")
        count, fields = int.from_bytes(frame[place + 4 : place + 8], "big"), frame[place + 8 : end]
    else:
        return frame
    if count >= wanted:
        return frame
    fields += b"\x40" * (wanted - count)
    body = b"\xd0" + (len(fields) + 4).to_bytes(4, "big") + wanted.to_bytes(4, "big") + fields
    rest = frame[4 : start + 3] + body + frame[end:]
    return (len(rest) + 4).to_bytes(4, "big") + rest


@contextlib.asynccontextmanager
async def by_tls(bus: AzureBus, names: str = f"DNS:{HOST}") -> AsyncIterator[int]:
    """A port that leads to the double by TLS, with a certificate for the namespace; ``ca.crt`` is in the bus's folder."""
    certificates.server(bus.folder, "azure", names)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(bus.folder / "azure.crt", bus.folder / "azure.key")
    tasks: set[asyncio.Task[None]] = set()

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, ssl.SSLError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def pipe_padded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, ssl.SSLError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readexactly(8)
                if head[:4] == b"AMQP":
                    writer.write(head)
                else:
                    writer.write(padded(head + await reader.readexactly(int.from_bytes(head[:4], "big") - 8)))
                await writer.drain()
        writer.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            there = await asyncio.open_connection("127.0.0.1", bus.port)
        except OSError:
            writer.close()
        else:
            await asyncio.gather(pipe(reader, there[1]), pipe_padded(there[0], writer))
        finally:
            tasks.discard(task)

    server = await asyncio.start_server(relay, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
