"""Publishes what a soak is fed with: notifications shaped as oslo.messaging shapes them, and posts to a webhook. Run as a program.

    python -m tests.crash.produce --amqp amqp://… --exchange neutron --web http://127.0.0.1:8080/in --count 3

It publishes as far as its standard input says (a number a line: up to this one), several at a time, tries each until it is
told that it was taken, and prints ``sent N ID``. Number 0, 1 and 2 of every ten are posts, as far as there is a webhook. A
notification is published again under the id that it has; a post that was not answered is another one, with another
id, and ``unsure N ID`` says that the first may have arrived.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import uuid
from typing import Any
from urllib.parse import urlsplit

_SIDE_BY_SIDE = 16
_ANSWER_SECONDS = 20.0


def is_post(number: int) -> bool:
    """Whether this number is posted to the webhook."""
    return number % 10 < 3


class _Rabbit:
    """Publishes with confirms over one connection at a time, made anew when it is lost."""

    def __init__(self, url: str, exchange: str) -> None:
        self._url = url
        self._exchange = exchange
        self._channel: Any = None
        self._connection: Any = None
        self._connecting = asyncio.Lock()

    async def publish(self, number: int, id: str) -> None:
        """Return once the broker has it."""
        import aiormq

        port = {
            "id": f"port-{number}",
            "network": f"network-{number // 10}",
            "binding:vnic_type": "baremetal",
            "name": "größe <b> & co",
        }
        notification = {
            "message_id": id,
            "publisher_id": "network.host-1",
            "event_type": "port.create.end",
            "priority": "INFO",
            "timestamp": "2026-01-01 00:00:00.000000",
            "payload": {"port": port},
        }
        body = json.dumps({"oslo.version": "2.0", "oslo.message": json.dumps(notification)}).encode()
        properties = aiormq.spec.Basic.Properties(content_type="application/json", delivery_mode=2)
        while True:
            try:
                channel = await self._open()
                async with asyncio.timeout(_ANSWER_SECONDS):
                    await channel.basic_publish(
                        body, exchange=self._exchange, routing_key="notifications.info", properties=properties
                    )
                return
            except Exception:  # whatever it is: try again until the broker has it
                await asyncio.sleep(0.1)

    async def _open(self) -> Any:
        import aiormq

        async with self._connecting:
            if self._channel is None or self._channel.is_closed or self._connection.is_closed:
                if self._connection is not None:
                    with contextlib.suppress(Exception):
                        await self._connection.close()
                self._connection = await aiormq.connect(self._url)
                self._channel = await self._connection.channel(publisher_confirms=True)
                await self._channel.exchange_declare(self._exchange, exchange_type="topic", durable=True)
            return self._channel


class _Web:
    """Posts over kept connections."""

    def __init__(self, url: str, padding: int) -> None:
        self._place = urlsplit(url)
        self._padding = "x" * padding
        self._free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def post(self, number: int, id: str) -> bool:
        """Whether it was answered with 200."""
        body = json.dumps({"id": id, "number": number, "padding": self._padding}).encode()
        head = f"POST {self._place.path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: "
        writer = None
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                reader, writer = self._free.pop() if self._free else await self._connect()
                writer.write(f"{head}{len(body)}\r\n\r\n".encode() + body)
                answer = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    (
                        int(line.partition(b":")[2])
                        for line in answer.split(b"\r\n")
                        if line.lower().startswith(b"content-length:")
                    ),
                    0,
                )
                await reader.readexactly(length)
        except (OSError, EOFError, TimeoutError):
            if writer is not None:
                writer.close()
            return False
        self._free.append((reader, writer))
        return answer.startswith(b"HTTP/1.1 200")

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(self._place.hostname, self._place.port)


async def _main(amqp: str, exchange: str, web: str, count: int, padding: int) -> None:
    loop = asyncio.get_running_loop()
    rabbit, posts = _Rabbit(amqp, exchange) if amqp else None, _Web(web, padding) if web else None
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    room = asyncio.Semaphore(_SIDE_BY_SIDE)
    under_way: set[asyncio.Task[None]] = set()

    def say(how: str, number: int, id: str) -> None:
        print(how, number, id, flush=True)

    async def publish(number: int) -> None:
        async with room:
            if rabbit is not None and (posts is None or not is_post(number)):
                id = f"n-{uuid.uuid4()}"
                await rabbit.publish(number, id)
            else:
                assert posts is not None
                while not await posts.post(number, id := f"p-{uuid.uuid4()}"):
                    say("unsure", number, id)
                    await asyncio.sleep(0.1)
            say("sent", number, id)

    number = 0
    while number < count and (line := await lines.readline()):
        while number < min(int(line), count):
            task = loop.create_task(publish(number))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
            number += 1
            if len(under_way) >= 2 * _SIDE_BY_SIDE:
                await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
    while under_way:
        await asyncio.wait(under_way)


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--amqp", default="")
    parser.add_argument("--exchange", default="")
    parser.add_argument("--web", default="")
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--padding", type=int, default=0, help="more bytes in each post")
    wanted = parser.parse_args()
    asyncio.run(_main(wanted.amqp, wanted.exchange, wanted.web, wanted.count, wanted.padding))


if __name__ == "__main__":
    main()
