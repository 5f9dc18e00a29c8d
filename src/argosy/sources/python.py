"""``python`` (ours): a Python function or generator is the event source.

``handler: package.module:function`` names it. It is called as ``handler(feed, **args)``; ``async`` ones run in the event
loop, others in a thread. What it yields becomes an event, and it goes on once the event is kept, so the line after
``yield`` may tell the origin::

    async def orders(feed, queue):
        async for order in connect(queue, feed.secret("token"), after=feed.cursor):
            yield Message(order.fields, id=order.number, cursor=order.position)
            await order.acknowledge()

A function that does not yield calls ``feed.emit``. When it ends, it is called again after ``interval``, else with the
growing pauses of every source; what it raises is reported with the place in its file. ``_python_feed`` is all that it may
use: ``from argosy.sources.python import Feed, Message``.

When the source ends, an ``async`` function is cancelled, and a thread gets ``Stopped`` from the next call of its feed. One
that does not heed this for 1.5 seconds is left alone with a warning: nothing that it does any more becomes an event.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import ClassVar

import msgspec
from pydantic import Field, field_validator

from argosy import functions
from argosy.errors import ArgosyError, ConfigError, SourceError
from argosy.functions import Handler
from argosy.manifests.fields import Duration, Json, SecretKeySelector
from argosy.sources._base import Source, SourceConfig, SourceContext
from argosy.sources._python_feed import Feed, Message, Stopped, ThreadFeed
from argosy.sources._raw import tail

__all__ = ["Feed", "Message", "Python", "PythonConfig", "Stopped", "ThreadFeed"]

_END_SECONDS = 1.5
_LAST_WORDS_SECONDS = 0.3


class PythonConfig(SourceConfig):
    """One function."""

    handler: str
    """``package.module:function``."""
    path: str = ""
    """A folder in which the module is looked for first."""
    args: dict[str, Json] = Field(default_factory=dict)
    """Passed to the function by name."""
    secrets: dict[str, SecretKeySelector] = Field(default_factory=dict)
    """What the function may read by ``feed.secret(name)``."""
    interval: Duration | None = Field(None, gt=0)
    """How long after its end the function is called again."""

    @field_validator("handler")
    @classmethod
    def _two_names(cls, handler: str) -> str:
        return functions.two_names(handler)


class Python(Source[PythonConfig]):
    """Calls a Python function. An event's data has what it gave as ``body``, its id is that of the ``Message``."""

    kind: ClassVar[str] = "python"
    config = PythonConfig
    exclusive: ClassVar[bool] = True
    acknowledges: ClassVar[bool] = True
    peer: ClassVar[str] = "none: the functions are those of the tests"
    example: ClassVar[str] = """\
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata:
  name: python
spec:
  python:
    example:
      handler: shop.orders:orders
      path: ./handlers
      args:
        queue: paid
      secrets:
        token:
          name: shop
          key: token
      interval: 30s
"""

    async def run(self, ctx: SourceContext[PythonConfig]) -> None:
        config = ctx.config
        handler = await asyncio.to_thread(functions.load, config.handler, config.path)
        feed = Feed(ctx, config.secrets, tail(config.metadata))
        _check(handler, config, feed)
        await feed._start()
        ctx.listening(f"handler {config.handler!r}")
        while True:
            await _Call(ctx, handler, feed).run()
            if config.interval is None:
                return
            await ctx.clock.sleep(config.interval)


def _check(handler: Handler, config: PythonConfig, feed: Feed) -> None:
    try:
        inspect.signature(handler).bind(feed, **config.args)
    except TypeError as error:
        raise ConfigError(
            f"handler {config.handler!r} cannot be called with a feed and args {sorted(config.args)}: {error}"
        ) from error
    except ValueError:
        pass  # a function of C that does not tell its arguments is called as it is


class _Call:
    """One call of the function, to its end or ours."""

    def __init__(self, ctx: SourceContext[PythonConfig], handler: Handler, feed: Feed) -> None:
        self._ctx = ctx
        self._handler = handler
        self._feed = feed
        self._what = f"handler {ctx.config.handler!r}"
        self._thread: ThreadFeed | None = None
        # Each call has arguments of its own, whatever the function does to them.
        self._args: dict[str, Json] = msgspec.json.decode(msgspec.json.encode(ctx.config.args))

    async def run(self) -> None:
        task = asyncio.create_task(self._called(self._body()))
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            try:
                if await self._feed._drain():
                    # The line behind the last event may tell the origin.
                    await asyncio.wait({task}, timeout=_LAST_WORDS_SECONDS)
            finally:
                if self._thread is not None:
                    self._thread._stop()
                else:
                    task.cancel()
                await self._abandon(task)
            raise
        await self._judge(task)

    async def _called(self, body: Callable[[], Awaitable[None]]) -> None:
        try:
            await body()
        except (SystemExit, KeyboardInterrupt) as error:
            # It would end the process, past everything.
            raise SourceError(f"{self._what} raised {functions.told(error)} ({self._place(error)})") from error

    def _body(self) -> Callable[[], Awaitable[None]]:
        plain = inspect.unwrap(self._handler)
        kinds = (plain, type(plain).__call__)
        if any(inspect.isasyncgenfunction(each) for each in kinds):
            return self._generate
        if any(inspect.iscoroutinefunction(each) for each in kinds):
            return self._await
        return self._run_thread

    async def _generate(self) -> None:
        generator = self._handler(self._feed, **self._args)
        try:
            async for found in generator:
                await self._feed.emit(found)
        finally:
            await generator.aclose()

    async def _await(self) -> None:
        await self._handler(self._feed, **self._args)

    async def _run_thread(self) -> None:
        feed = self._thread = ThreadFeed(self._feed)

        def call() -> None:
            found = self._handler(feed, **self._args)
            if inspect.isawaitable(found) or inspect.isasyncgen(found):
                if inspect.iscoroutine(found):
                    found.close()
                raise SourceError(f"{self._what} is no 'async def' and gave a {type(found).__name__}; make it one")
            if inspect.isgenerator(found):
                try:
                    for each in found:
                        feed.emit(each)
                finally:
                    found.close()

        _, error = await functions.in_thread(call)
        if error is not None:
            raise error

    async def _judge(self, task: asyncio.Task[None]) -> None:
        try:
            await task
        except asyncio.CancelledError as error:
            raise SourceError(f"{self._what} cancelled itself") from error
        except ArgosyError:
            raise
        except Exception as error:
            told = self._feed._blotted(functions.told(error))
            raise SourceError(f"{self._what} raised {told} ({self._place(error)})") from error

    def _place(self, error: BaseException) -> str:
        """Where in the function's own files it was raised; else where at all."""
        frames = traceback.extract_tb(error.__traceback__)
        module = sys.modules.get(self._ctx.config.handler.partition(":")[0])
        own = Path(getattr(module, "__file__", None) or "nowhere").parent
        found = [frame for frame in frames if Path(frame.filename).is_relative_to(own)] or frames
        return f"{found[-1].filename}:{found[-1].lineno}"

    async def _abandon(self, task: asyncio.Task[None]) -> None:
        done, _ = await asyncio.wait({task}, timeout=_END_SECONDS)
        if done:
            if not task.cancelled():
                task.exception()  # it was ending; nothing was acknowledged
            return
        self._ctx.log.warning(
            "%s does not end when it is told to; it is left alone", self._what, extra={"action": "python.left"}
        )
        task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        if self._thread is not None:
            task.cancel()  # of the thread only our wait for it
