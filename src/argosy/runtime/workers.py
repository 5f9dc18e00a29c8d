"""``--workers N``: several processes share the sources and sensors, where one core is not enough.

Which process runs a unit follows from its name, so nothing has to be agreed upon. The parent loads the manifests, keeps
the embedded server, and takes all workers through the steps of a change together (``argosy.runtime.app.STEPS``): no
source starts anywhere before every sensor everywhere keeps its place in the log. A worker that dies is started again and
goes on where the bus says; the parent's death ends them all.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Self

from argosy.bus._embedded_child import die_with
from argosy.bus._jetstream_settings import Connection
from argosy.bus.embedded import EmbeddedServer
from argosy.errors import ArgosyError
from argosy.manifests.bundle import Bundle
from argosy.runtime.app import STEPS, Shard
from argosy.runtime.buses import used
from argosy.runtime.status import Key, Status, added
from argosy.runtime.telemetry import Metrics
from argosy.runtime.worker import Do, Settings, receive, send

_log = logging.getLogger("argosy.runtime")
_LONGEST_PAUSE_SECONDS = 15.0
_ANSWER_SECONDS = 2.0


class Workers:
    """Runs event sources and sensors in ``count`` processes until closed; to its caller it is like ``App``."""

    def __init__(self, count: int, settings: Settings, server: EmbeddedServer | None) -> None:
        self.metrics = Metrics()
        self._server = server
        self._workers = [_Worker(replace(settings, shard=Shard(index, count))) for index in range(count)]
        self._bundle: Bundle | None = None
        self._applying = asyncio.Lock()
        self._keeping: list[asyncio.Task[None]] = []
        self._grace_seconds = settings.grace_seconds
        self._stopping = False

    async def __aenter__(self) -> Self:
        await asyncio.gather(*(worker.start() for worker in self._workers))
        self._keeping = [asyncio.create_task(self._keep(worker)) for worker in self._workers]
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Drain in step: nowhere a sensor ends before everywhere the sources have."""
        self._stopping = True
        for task in self._keeping:
            task.cancel()
        await asyncio.gather(*self._keeping, return_exceptions=True)
        await self._all(lambda worker: worker.ask("drain"))
        await asyncio.gather(*(worker.stop(3 * self._grace_seconds + 10) for worker in self._workers))

    async def apply(self, bundle: Bundle) -> None:
        """Make what runs equal to ``bundle``."""
        async with self._applying:
            # What a worker needs of the bundle; where an object stands in its file is of no use there.
            self._bundle = replace(bundle, origins={}, declared={}, files=[])
            self.metrics.objects_invalid.set(bundle.count("error"))
            await self._take(self._workers, self._bundle)

    async def waiting_for(self) -> list[str]:
        """What is not ready, in words, over all workers."""
        if self._stopping:
            return ["the process is stopping"]
        late: list[str] = []
        for worker, answer in zip(self._workers, await self._all(_question("waiting")), strict=True):
            late += [f"{worker.name} does not answer"] if isinstance(answer, Exception) else answer
        return list(dict.fromkeys(late))  # a bus that is away is missed by every worker

    async def status(self) -> dict[Key, Status]:
        """How each object is, over all workers; one that does not answer has nothing to say of its part."""
        answers = await self._all(_question("status"))
        return added(answer for answer in answers if not isinstance(answer, Exception))

    async def exposition(self) -> bytes:
        """The metrics of all workers, added up."""
        answers = await self._all(_question("metrics"))
        return self.metrics.exposition([answer for answer in answers if not isinstance(answer, Exception)])

    async def _all(self, ask: Callable[[_Worker], Any]) -> list[Any]:
        return await asyncio.gather(*(ask(worker) for worker in self._workers), return_exceptions=True)

    async def _take(self, workers: list[_Worker], bundle: Bundle) -> None:
        buses = await self._admit(bundle)
        url = self._server.url if self._server is not None else ""
        for step in STEPS:
            do = Do(step=step, bundle=bundle, url=url, buses=buses)
            answers = await asyncio.gather(*(worker.ask(do) for worker in workers), return_exceptions=True)
            for worker, answer in zip(workers, answers, strict=True):
                # A worker that is gone is started again by its keeper, which takes it through all steps.
                if isinstance(answer, Exception) and not isinstance(answer, ConnectionError):
                    _log.error("%s cannot apply the manifests: %s", worker.name, answer)

    async def _admit(self, bundle: Bundle) -> dict[str, Connection]:
        if self._server is None:
            return {}
        names = [f"{namespace}/{name}" for namespace, name in used(bundle)]
        return {name: await self._server.admit(name) for name in names}

    async def _keep(self, worker: _Worker) -> None:
        """Start the worker again whenever it dies; more slowly when it dies at once."""
        pause = 0.1
        while True:
            began = asyncio.get_running_loop().time()
            how = await worker.ended()
            if asyncio.get_running_loop().time() - began > 60:
                pause = 0.1
            _log.error(
                "%s ended (%s); starting it again, it goes on where it was",
                worker.name,
                how,
                extra={"action": "worker.restart"},
            )
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
            try:
                await worker.start()
                async with self._applying:
                    if self._bundle is not None:
                        await self._take([worker], self._bundle)
            except (OSError, ArgosyError) as error:
                _log.error("%s cannot be started: %s", worker.name, error, extra={"action": "worker.down"})


def _question(what: str) -> Callable[[_Worker], Any]:
    return lambda worker: worker.ask(what, timeout_seconds=_ANSWER_SECONDS)


class _Worker:
    """One worker process and the questions that it has not answered yet."""

    def __init__(self, settings: Settings) -> None:
        self.name = f"worker {settings.shard.index + 1} of {settings.shard.count}"
        self._settings = settings
        self._process: asyncio.subprocess.Process | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._numbers = itertools.count()
        self._sending = asyncio.Lock()

    async def start(self) -> None:
        """Start the process and tell it its settings."""
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-c",
                "from argosy.runtime.worker import main; main()",
                stdin=theirs.fileno(),
                preexec_fn=die_with(os.getpid(), signal.SIGKILL),  # no worker outlives a crash
            )
        reader, self._writer = await asyncio.open_connection(sock=ours, limit=2**20)
        with contextlib.suppress(ConnectionError):  # it died at once; whoever waits for its end sees that
            await send(self._writer, self._settings)
        self._reading = asyncio.create_task(self._read(reader))

    async def ask(self, what: object, timeout_seconds: float | None = None) -> Any:
        """The answer to ``what``. Raises ConnectionError if the worker dies before, TimeoutError after the time."""
        if self._writer is None or self._reading is None or self._reading.done():
            raise ConnectionError(f"{self.name} does not run")
        number, answer = next(self._numbers), asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        try:
            async with asyncio.timeout(timeout_seconds):
                async with self._sending:
                    await send(self._writer, (number, what))
                got = await answer
        finally:
            self._asked.pop(number, None)
        if isinstance(got, ArgosyError):
            raise got
        return got

    async def ended(self) -> str:
        """Wait for the process to end; how it did, in a word."""
        assert self._process is not None and self._reading is not None
        code = await self._process.wait()
        await self._reading  # nobody asks a dead process
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"

    async def stop(self, patience_seconds: float) -> None:
        """Let it finish what it holds and end; kill it if it does not."""
        process = self._process
        if process is None or process.returncode is not None or self._writer is None:
            return
        with contextlib.suppress(ConnectionError):
            await send(self._writer, (0, "stop"))
        try:
            async with asyncio.timeout(patience_seconds):
                await process.wait()
        except TimeoutError:
            _log.warning("%s did not end within %.0f s and was killed", self.name, patience_seconds)
            process.kill()
            await process.wait()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while True:
                number, answer = await receive(reader)
                waiting = self._asked.get(number)
                if waiting is not None and not waiting.done():
                    waiting.set_result(answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # it ended
        finally:
            assert self._writer is not None
            self._writer.close()
            for waiting in self._asked.values():
                if not waiting.done():
                    waiting.set_exception(ConnectionError(f"{self.name} ended"))
