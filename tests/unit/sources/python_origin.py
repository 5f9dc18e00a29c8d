"""Functions that are event sources, and the origin that they read: a mailbox with letters that are acknowledged."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

from argosy.manifests.fields import Json
from argosy.sources.python import Feed, Message, ThreadFeed
from tests.conformance.source import Upstream

MAILBOXES: dict[str, Mailbox] = {}


class Mailbox:
    """Letters by number. What was read and not acknowledged is there again for the next reader."""

    def __init__(self, name: str) -> None:
        MAILBOXES[name] = self
        self.letters: dict[int, str] = {}
        self.acknowledged: list[int] = []
        self.word = ""
        self.changed = threading.Condition()

    def put(self, text: str) -> None:
        with self.changed:
            self.letters[len(self.letters) + len(self.acknowledged) + 1] = text
            self.changed.notify_all()

    def acknowledge(self, number: int) -> None:
        with self.changed:
            del self.letters[number]
            self.acknowledged.append(number)

    def take(self, read: set[int], feed: Feed | ThreadFeed) -> tuple[int, str] | None:
        """The next letter that this reader has not read; none for one who does not know the word, if there is one."""
        if self.word and feed.secret("word") != self.word:
            return None
        with self.changed:
            return next(((number, text) for number, text in sorted(self.letters.items()) if number not in read), None)


async def generator(feed: Feed, box: str) -> AsyncIterator[Message]:
    """The mailbox as an async generator."""
    mailbox, read = MAILBOXES[box], set[int]()
    while True:
        while (letter := mailbox.take(read, feed)) is not None:
            read.add(letter[0])
            yield Message({"text": letter[1]}, id=str(letter[0]), cursor=letter[0])
            mailbox.acknowledge(letter[0])
        await asyncio.sleep(0.01)


async def watcher(feed: Feed, box: str) -> None:
    """The mailbox as an async function, which has several letters under way."""
    mailbox, read = MAILBOXES[box], set[int]()

    async def keep(number: int, text: str) -> None:
        await feed.emit({"text": text}, id=str(number))
        mailbox.acknowledge(number)

    async with asyncio.TaskGroup() as group:
        while True:
            while (letter := mailbox.take(read, feed)) is not None:
                read.add(letter[0])
                group.create_task(keep(*letter))
            await asyncio.sleep(0.01)


def thread_generator(feed: ThreadFeed, box: str) -> Iterator[Message]:
    """The mailbox as a plain generator."""
    mailbox, read = MAILBOXES[box], set[int]()
    while True:
        while (letter := mailbox.take(read, feed)) is not None:
            read.add(letter[0])
            yield Message({"text": letter[1]}, id=str(letter[0]))
            mailbox.acknowledge(letter[0])
        feed.sleep(0.01)


def thread_watcher(feed: ThreadFeed, box: str) -> None:
    """The mailbox as a plain function."""
    mailbox, read = MAILBOXES[box], set[int]()
    while not feed.stopping:
        while (letter := mailbox.take(read, feed)) is not None:
            read.add(letter[0])
            feed.emit({"text": letter[1]}, id=str(letter[0]))
            mailbox.acknowledge(letter[0])
        feed.sleep(0.01)


class Reader:
    """The mailbox as an object that can be called."""

    async def __call__(self, feed: Feed, box: str) -> None:
        await watcher(feed, box)


reader = Reader()
ENDED: list[str] = []
FROM_OUTSIDE: queue.Queue[str] = queue.Queue()


async def counter(feed: Feed, until: int, wild: Any = None) -> AsyncIterator[Json]:
    """Counts on from where it stood."""
    start = (feed.cursor or 0) + 1
    for number in range(start, start + until):
        yield number
        await feed.remember(number)


def failing(feed: ThreadFeed) -> None:
    """Reads a secret, and says it."""
    token = feed.secret("token")
    raise ValueError(f"login with {token} failed")


async def failing_later(feed: Feed) -> AsyncIterator[Json]:
    """Yields and fails, in a function of its own."""
    yield 1
    _fail()


def _fail() -> None:
    raise LookupError("no such order")


async def leaving(feed: Feed) -> None:
    """Wants to end the process."""
    raise SystemExit(3)


def leaving_thread(feed: ThreadFeed) -> None:
    """Wants to end the process."""
    raise SystemExit(3)


async def odd(feed: Feed) -> AsyncIterator[Json]:
    """Yields what is no JSON, and then something that is."""
    yield object()
    yield Message({1, 2}, cursor="behind")
    yield "good"
    await asyncio.Event().wait()


async def deaf(feed: Feed) -> None:
    """Does not end."""
    while not ENDED:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0.05)
    ENDED.append("deaf")


def deaf_thread(feed: ThreadFeed) -> None:
    """Does not end, and tries to go on later."""
    FROM_OUTSIDE.get()
    try:
        feed.emit("too late")
    except BaseException as error:
        ENDED.append(type(error).__name__)


async def tidy(feed: Feed) -> AsyncIterator[Json]:
    """Cleans up."""
    try:
        yield 1
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(0.01)
        ENDED.append("tidy")


def tidy_thread(feed: ThreadFeed) -> Iterator[Json]:
    """Cleans up."""
    try:
        while True:
            yield 1
            feed.sleep(60)
    finally:
        ENDED.append("tidy_thread")


def secret_coroutine(feed: ThreadFeed) -> Any:
    """A plain function that hides an async one."""
    return watcher(feed, "x")  # type: ignore[arg-type]


async def refusing(feed: Feed) -> None:
    """Refuses, and has a secret that nobody gave it."""
    feed.refuse("a letter without a stamp")
    feed.secret("other")


class Mail(Upstream):
    """The mailbox, seen by the suite."""

    redelivers = keeps = names_messages = True

    def __init__(self, function: str) -> None:
        self.mailbox = Mailbox(function)
        self.block: dict[str, Any] = {"handler": f"{__name__}:{function}", "args": {"box": function}}

    async def guard(self, secret: str) -> tuple[dict[str, Json], dict[tuple[str, str], str]]:
        self.mailbox.word = secret
        return {"secrets": {"word": {"name": "mail", "key": "word"}}}, {("mail", "word"): secret}

    async def send(self, text: str) -> None:
        self.mailbox.put(text)

    def text_of(self, data: Json) -> str:
        assert list(data) in (["body"], ["body", "metadata"])
        return str(data["body"]["text"])

    async def acknowledged(self) -> int:
        return len(self.mailbox.acknowledged)
