"""Time as a thing that can be handed in, so that tests run on virtual time and nothing sleeps for real."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Protocol


class Clock(Protocol):
    """What the runtime, sources and tests mean by now. All datetimes are aware and in UTC."""

    def now(self) -> dt.datetime:
        """The current time, UTC."""

    async def sleep(self, seconds: float) -> None:
        """Return after ``seconds`` (at least 0)."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> dt.datetime:
        return dt.datetime.now(dt.UTC)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))
