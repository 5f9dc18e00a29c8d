"""How a source lets what is under way finish when it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """Await ``work``; if cancelled meanwhile, let it finish before the cancellation goes on.

    A second cancellation (the time to drain is over) breaks it off. What ``work`` raises after the first one
    is dropped: the source is ending, and nothing was acknowledged."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        with contextlib.suppress(Exception):
            await task
        raise
