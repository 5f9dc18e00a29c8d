"""Keeps one coroutine running until it is cancelled, whatever it raises; and ends tasks with patience."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterable

from argosy.clock import Clock
from argosy.errors import ArgosyError

_log = logging.getLogger("argosy.runtime")
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 15.0


async def keep(
    what: str,
    run: Callable[[], Awaitable[None]],
    clock: Clock,
    *,
    failed: Callable[[Exception], None] = lambda error: None,
) -> None:
    """Run for ever: again after a growing pause whenever it raises or returns. ``what`` names it in the log; ``failed`` is told what it raised."""
    pause = _FIRST_PAUSE_SECONDS
    while True:
        try:
            await run()
            reason = "it ended by itself"
        except ArgosyError as error:
            reason = str(error)
            failed(error)
        except Exception as error:  # noqa: BLE001 - a fault in one part must not end the others
            _log.debug("%s raised", what, exc_info=True)
            reason = f"{type(error).__name__}: {error}"
            failed(error)
        wait = pause * (0.75 + random.random() / 2)
        _log.error("%s stopped: %s; next try in %.1f s", what, reason, wait, extra={"action": "part.restart"})
        await clock.sleep(wait)
        pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)


async def end(tasks: Iterable[asyncio.Task[None]], grace_seconds: float) -> None:
    """Cancel all, wait for them to finish what they must within the grace time, then cancel what is left once more."""
    waiting = [task for task in tasks if not task.done()]
    for task in waiting:
        task.cancel()
    if waiting:
        _, late = await asyncio.wait(waiting, timeout=grace_seconds)
        for task in late:
            task.cancel()
        if late:
            _log.warning("%d parts did not end within %.0f s and were cut off", len(late), grace_seconds)
            await asyncio.wait(late, timeout=5.0)


async def end_one(task: asyncio.Task[None]) -> None:
    """Cancel the task and wait until it has ended; cancelled meanwhile, cancel it once more."""
    task.cancel()
    try:
        await asyncio.wait({task})
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.wait({task})
        raise
