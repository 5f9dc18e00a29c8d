"""A real HTTP server for the ``http`` source: it keeps tickets, and can be told to stall, break off, send too much, or
lie. Every request that it got stands in ``seen``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from argosy.manifests.fields import Json
from argosy.sources._poll import Memory
from tests.conformance.source import DictBucket, Upstream


@dataclass
class Seen:
    """One request."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes

    def get(self, name: str) -> str:
        """A query parameter; empty where there is none."""
        return self.query.get(name, [""])[0]


@dataclass
class Reply:
    """What the server says. ``stalls``: it sends all but the last byte, and then nothing. ``breaks``: it resets the
    connection instead of the last byte. ``claims``: the length that it announces."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    stalls: bool = False
    breaks: bool = False
    claims: int | None = None
    raw: bytes = b""
    """Sent as it stands, instead of all else."""


Script = Callable[[Seen], Reply]


def told(value: Json, **headers: str) -> Reply:
    """A JSON answer; ``Some_Header="x"`` for headers."""
    return Reply(200, json.dumps(value).encode(), {name.replace("_", "-"): text for name, text in headers.items()})


class Site:
    """An async context manager. ``script`` answers."""

    def __init__(self, script: Script, tls: ssl.SSLContext | None = None) -> None:
        self.script = script
        self.seen: list[Seen] = []
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        self.origin = f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while await self._answer(reader, writer):
                    pass
        finally:
            self._tasks.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = head[0].split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        parts = urlsplit(target)
        seen = Seen(method, parts.path, parse_qs(parts.query), headers, body)
        self.seen.append(seen)
        reply = self.script(seen)
        if reply.raw:
            writer.write(reply.raw)
            await writer.drain()
            return False
        length = len(reply.body) if reply.claims is None else reply.claims
        lines = [f"HTTP/1.1 {reply.status} Said", f"Content-Length: {length}"]
        lines += [f"{name}: {value}" for name, value in reply.headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
        writer.write(reply.body[:-1] if reply.stalls or reply.breaks else reply.body)
        await writer.drain()
        if reply.stalls:
            await asyncio.Event().wait()
        if reply.breaks:
            writer.transport.abort()
        return not reply.breaks


class Tickets(Upstream):
    """A service that lists what came after a cursor; an async context manager. It is told what is kept by the cursor
    that the next request will carry, which stands in the bucket until then."""

    redelivers = keeps = names_messages = True

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.wanted: str | None = None
        self.bucket = DictBucket()
        self.site = Site(self._list)

    async def __aenter__(self) -> Self:
        await self.site.__aenter__()
        self.block: dict[str, Any] = {
            "url": f"{self.site.origin}/tickets",
            "interval": "20ms",
            "query": {"after": "{{ .cursor }}"},
            "items": "tickets",
            "id": "item.number",
            "cursor": "body.until",
        }
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.site.__aexit__(*exc)

    async def guard(self, secret: str) -> tuple[dict[str, Json], dict[tuple[str, str], str]]:
        self.wanted = f"Bearer {secret}"
        return {"bearerSecret": {"name": "tickets", "key": "token"}}, {("tickets", "token"): secret}

    def _list(self, seen: Seen) -> Reply:
        if self.wanted is not None and seen.headers.get("authorization") != self.wanted:
            return Reply(401)
        after = int(seen.get("after") or 0)
        tickets = [
            {"number": number, "text": self.texts[number - 1]} for number in range(after + 1, len(self.texts) + 1)
        ]
        return told({"tickets": tickets, "until": len(self.texts)})

    async def send(self, text: str) -> None:
        self.texts.append(text)

    def text_of(self, data: Json) -> str:
        assert list(data) in (["url", "body"], ["url", "body", "metadata"])
        assert data["url"] == f"{self.site.origin}/tickets"
        assert set(data["body"]) == {"number", "text"}
        return str(data["body"]["text"])

    async def acknowledged(self) -> int:
        kept = await self.bucket.get("memory")
        return int((Memory.decode(kept.value).cursor if kept is not None else "") or 0)
