"""Processes that judge objects, so that no object can hold the webhook: one that takes too long is ended, and refused.

There are a few, each does one question at a time, and one that was ended is replaced. What somebody put into an object is looked at by them alone;
this process reads no more of it than where it belongs.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import struct
import sys
from dataclasses import dataclass
from typing import Any, Self

import msgspec

from argosy.errors import ArgosyError
from argosy.kubernetes.admission._judge import Answer, Question
from argosy.kubernetes.admission.known import Known
from argosy.kubernetes.admission.review import Malformed

_FIRST: dict[str, Any] = {
    "uid": "first",
    "operation": "CREATE",
    "kind": {"group": "argoproj.io", "version": "v1alpha1", "kind": "Sensor"},
    "object": {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Sensor",
        "metadata": {"name": "first"},
        "spec": {
            "dependencies": [{"name": "a", "eventSourceName": "b", "eventName": "c"}],
            "triggers": [{"template": {"name": "t", "log": {}}}],
        },
    },
}
"""A question that makes a new process load what it needs."""
_START_SECONDS = 60.0
_KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "PYTHONPATH", "VIRTUAL_ENV", "PYTHONWARNINGS", "TMPDIR")


class TooLong(ArgosyError):
    """An object could not be judged in time."""


class Busy(ArgosyError):
    """All judges had others to judge for the whole time there was."""


class Failed(ArgosyError):
    """An object could not be judged."""


@dataclass(eq=False)
class _Judge:
    process: asyncio.subprocess.Process

    async def ask(self, body: bytes) -> Answer:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(struct.pack(">I", len(body)) + body)
        await self.process.stdin.drain()
        (length,) = struct.unpack(">I", await self.process.stdout.readexactly(4))
        return msgspec.json.decode(await self.process.stdout.readexactly(length), type=Answer)

    async def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.communicate()  # what it said last is in the pipe still, and keeps it open


class Judges:
    """An asynchronous context manager; it opens when the first judge is ready."""

    def __init__(self, count: int = 2, *, seconds: float = 5.0) -> None:
        """``seconds`` is how long an object may take."""
        self._count = count
        self._seconds = seconds
        self._idle: asyncio.LifoQueue[_Judge] = asyncio.LifoQueue()
        self._all: set[_Judge] = set()
        self._starting: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self.__aexit__()
            raise
        for _ in range(self._count - 1):
            self._replace()
        return self

    async def __aexit__(self, *exc: object) -> None:
        for task in self._starting:
            task.cancel()
        await asyncio.gather(*self._starting, return_exceptions=True)
        for one in list(self._all):
            await self._end(one)

    @property
    def ready(self) -> bool:
        """Whether anybody can judge, now or after the question at hand."""
        return bool(self._all)

    async def judge(self, request: dict[str, Any], known: Known, seconds: float) -> Answer:
        """Ask a judge. ``seconds`` is all the time there is.

        Raises Busy, TooLong, Failed, and Malformed where the request cannot be understood.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        until = began + seconds
        try:
            body = msgspec.json.encode(Question(request, known))
        except RecursionError as error:
            raise Failed("it could not be checked: it is nested too deeply to be read") from error
        try:
            # Who had to wait is not ended, and its judge with it, for want of the time that others had.
            async with asyncio.timeout_at(until - min(self._seconds, seconds / 2)):
                judge = await self._idle.get()
        except TimeoutError:
            waited = loop.time() - began
            raise Busy(f"other objects are being judged, and were for all of {waited:.1f} s; try again") from None
        patience = min(self._seconds, until - loop.time())
        done = False
        try:
            async with asyncio.timeout(patience):
                answer = await judge.ask(body)
            done = True
        except TimeoutError:
            raise TooLong(
                f"it could not be checked within {patience:.0f} s, so it is refused; make its expressions, or the object, smaller"
            ) from None
        except (EOFError, OSError) as error:
            raise Failed(
                "checking it ended the process that did so, for want of memory most likely; it is refused; make it smaller"
            ) from error
        finally:
            # Whoever was left in the middle of a question has an answer in the pipe that nobody wants.
            if done:
                self._idle.put_nowait(judge)
            else:
                self._replace(judge)
        if answer.malformed:
            raise Malformed(answer.malformed)
        if answer.failed:
            raise Failed(f"it could not be checked: {answer.failed}")
        return answer

    def _replace(self, old: _Judge | None = None) -> None:
        async def start() -> None:
            if old is not None:
                await self._end(old)
            while True:
                try:
                    return await self._start()
                except (OSError, EOFError, TimeoutError):
                    await asyncio.sleep(1.0)

        task = asyncio.create_task(start())
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)

    async def _start(self) -> None:
        environment = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
        making = asyncio.ensure_future(
            asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "argosy.kubernetes.admission._judge",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env=environment,
                start_new_session=True,
            )
        )
        try:
            process = await asyncio.shield(making)
        except asyncio.CancelledError:
            # A process that was begun must be known, to be ended.
            await _Judge(await making).end()
            raise
        judge = _Judge(process)
        self._all.add(judge)
        try:
            async with asyncio.timeout(_START_SECONDS):
                await judge.ask(msgspec.json.encode(Question(_FIRST, Known(namespace="default"))))
        except BaseException:
            await self._end(judge)
            raise
        self._idle.put_nowait(judge)

    async def _end(self, judge: _Judge) -> None:
        await judge.end()
        self._all.discard(judge)
