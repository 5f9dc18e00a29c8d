"""A double of Alibaba Cloud MNS: one account, its queues, and a signature that is checked on every request.

What it plays, from the API reference: receive in batches with long polling and a time of invisibility, change of that time,
delete by receipt, attributes of a queue, and the errors ``QueueNotExist``, ``MessageNotExist`` and ``SignatureNotMatch``.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import itertools
import time
from dataclasses import dataclass
from typing import Self
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape


@dataclass
class Kept:
    """A message in a queue."""

    id: str
    body: str
    until: float = 0.0
    receipt: str = ""
    taken: int = 0


class MnsDouble:
    """An async context manager."""

    def __init__(self) -> None:
        self.key, self.secret = "an-id", "a-secret+/="
        self.queues: dict[str, list[Kept]] = {}
        self.deleted = 0
        self.extended: list[int] = []
        self.visibility_seconds = 30.0
        self.longest_wait = 0.3
        self.awake = asyncio.Event()
        self.awake.set()
        self._numbers = itertools.count(1)
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.kill()

    async def open(self) -> None:
        """Listen, on the port that it had."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def kill(self) -> None:
        """Break off all connections and listen no more. What the queues hold stays."""
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def put(self, queue: str, body: str) -> str:
        """Put a message; its id."""
        message = Kept(f"{next(self._numbers):016X}", body)
        self.queues[queue].append(message)
        return message.id

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                method, target, _ = head[0].split(" ")
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
                await self.awake.wait()
                status, body = await self._answer(method, target, headers, reader)
                text = f"HTTP/1.1 {status} X\r\nContent-Type: text/xml\r\nContent-Length: {len(body)}\r\n\r\n"
                writer.write(text.encode() + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client has gone, or we go
        finally:
            self._tasks.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer(
        self, method: str, target: str, headers: dict[str, str], reader: asyncio.StreamReader
    ) -> tuple[int, bytes]:
        ours = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers) if name.startswith("x-mns-"))
        text = f"{method}\n\n{headers.get('content-type', '')}\n{headers['date']}\n{ours}{target}"
        signed = base64.b64encode(hmac.digest(self.secret.encode(), text.encode(), hashlib.sha1)).decode()
        name, _, given = headers["authorization"].removeprefix("MNS ").partition(":")
        if name != self.key:
            return _error(403, "InvalidAccessKeyId")
        if given != signed:
            return _error(403, "SignatureNotMatch")
        parts = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        _, _, queue, *rest = parts.path.split("/")
        messages = self.queues.get(unquote(queue))
        if messages is None:
            return _error(404, "QueueNotExist")
        if not rest:
            return 200, b"<Queue xmlns='http://mns.aliyuncs.com/doc/v1/'></Queue>"
        if method == "GET":
            return await self._take(messages, int(query["numOfMessages"]), float(query["waitseconds"]), reader)
        receipt = query.get("ReceiptHandle") or query.get("receiptHandle", "")
        found = [each for each in messages if each.receipt == receipt and each.until > time.time()]
        if not found:
            return _error(404, "MessageNotExist")
        if method == "DELETE":
            messages.remove(found[0])
            self.deleted += 1
            return 204, b""
        seconds = int(query["visibilityTimeout"])
        self.extended.append(seconds)
        found[0].until, found[0].receipt = time.time() + seconds, f"r-{next(self._numbers)}+/="
        body = f"<ReceiptHandle>{found[0].receipt}</ReceiptHandle>"
        return 200, f"<ChangeVisibility xmlns='http://mns.aliyuncs.com/doc/v1/'>{body}</ChangeVisibility>".encode()

    async def _take(
        self, messages: list[Kept], most: int, seconds: float, reader: asyncio.StreamReader
    ) -> tuple[int, bytes]:
        end = time.time() + min(seconds, self.longest_wait)
        while True:
            if reader.at_eof():
                raise ConnectionError  # nobody waits for the answer any more
            free = [each for each in messages if each.until <= time.time()][:most]
            if free:
                break
            if time.time() > end:
                return _error(404, "MessageNotExist")
            await asyncio.sleep(0.01)
        listed = ""
        for each in free:
            each.taken += 1
            each.until, each.receipt = time.time() + self.visibility_seconds, f"r-{next(self._numbers)}+/="
            listed += (
                f"<Message><MessageId>{each.id}</MessageId><ReceiptHandle>{each.receipt}</ReceiptHandle>"
                f"<MessageBody>{escape(each.body)}</MessageBody><DequeueCount>{each.taken}</DequeueCount>"
                f"<NextVisibleTime>{int(each.until * 1000)}</NextVisibleTime></Message>"
            )
        return 200, f"<Messages xmlns='http://mns.aliyuncs.com/doc/v1/'>{listed}</Messages>".encode()


def _error(status: int, code: str) -> tuple[int, bytes]:
    return status, f"<Error xmlns='http://mns.aliyuncs.com/doc/v1/'><Code>{code}</Code></Error>".encode()
