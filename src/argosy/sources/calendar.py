"""``calendar``: events by the clock, from a cron schedule or an interval.

An event's time is the time it was due, which is also its id: a fire repeated after a crash is stored once.
With ``persistence`` the last fire is remembered, and ``catchup`` fires what was missed while nobody ran. The
memory is the bus's bucket of this event; the ConfigMap that manifests name for it is accepted and not
written."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import re
import zoneinfo
from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field, field_validator, model_validator

from argosy.errors import LangError
from argosy.event import format_time, parse_time
from argosy.lang import cron, durations
from argosy.manifests.fields import Json, Model
from argosy.sources._base import Source, SourceConfig, SourceContext
from argosy.sources._finishing import to_the_end

_CURSOR = "last-fire"
_LONGEST_SLEEP_SECONDS = 30.0
_SUSPENDED_SECONDS = 2 * _LONGEST_SLEEP_SECONDS
_SHORTEST_INTERVAL_SECONDS = 0.001
_EXCLUSION = re.compile(r"\d{8}T\d{6}Z")


def _positive(text: str) -> str:
    try:
        seconds = durations.parse(text) if text else 1.0
    except LangError as error:
        raise ValueError(str(error)) from error
    if seconds < _SHORTEST_INTERVAL_SECONDS:
        raise ValueError(f"{text!r} is shorter than 1ms")
    return text


class CatchupConfiguration(Model):
    """Whether missed fires are made up for, and how far back: ``maxDuration`` as ``5m``, without limit if
    empty."""

    enabled: bool = False
    """Times that were missed are made up for when the source starts again."""
    max_duration: str = ""
    """How far back, as Go writes durations."""

    _sound = field_validator("max_duration")(_positive)


class ConfigMapPersistence(Model):
    """The ConfigMap that upstream writes to. Accepted; Argosy remembers on the bus."""

    name: str = ""
    """The ConfigMap in which upstream keeps the last time. Argosy keeps it on the bus."""
    create_if_not_exist: bool = False
    """Whether upstream makes it."""


class EventPersistence(Model):
    """What is remembered of the last fire."""

    catchup: CatchupConfiguration | None = None
    """Whether missed times are made up for."""
    config_map: ConfigMapPersistence | None = None
    """Where upstream keeps the last time."""


class CalendarConfig(SourceConfig):
    """When to fire. If both ``schedule`` and ``interval`` are given, ``schedule`` counts."""

    dropped: ClassVar[Mapping[str, str]] = {"userPayload": "1.5; write 'metadata'"}

    schedule: str = ""
    """Five cron fields: minute, hour, day of month, month, day of week."""
    interval: str = ""
    """As ``10s`` or ``1h30m``."""
    exclusion_dates: list[str] = Field(default_factory=list)
    """``EXDATE:20190102T150405Z``, several after commas. The whole day is left out."""
    timezone: str = ""
    """An IANA name. Empty means what the environment's ``TZ`` names, else UTC."""
    persistence: EventPersistence | None = None
    """What happens to times that passed while nothing ran."""

    _sound = field_validator("interval")(_positive)

    @field_validator("timezone")
    @classmethod
    def _known(cls, name: str) -> str:
        if name and _zone(name) is None:
            raise ValueError(f"{name!r} is not a known time zone; write for example Europe/Berlin")
        return name

    @field_validator("exclusion_dates")
    @classmethod
    def _dates(cls, texts: list[str]) -> list[str]:
        for text in texts:
            _excluded(text)
        return texts

    @model_validator(mode="after")
    def _complete(self) -> CalendarConfig:
        if not self.schedule and not self.interval:
            raise ValueError("needs schedule or interval")
        if self.schedule:
            try:
                cron.compile(self.schedule, self.timezone)
            except LangError as error:
                raise ValueError(f"schedule {error}") from error
        return self


def _zone(name: str) -> zoneinfo.ZoneInfo | None:
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return None


def _excluded(text: str) -> list[dt.date]:
    """The days that one entry excludes. Raises ValueError if it is not one."""
    dates = []
    for part in text.removeprefix("EXDATE:").split(","):
        try:
            if not _EXCLUSION.fullmatch(part):
                raise ValueError
            dates.append(dt.datetime.strptime(part, "%Y%m%dT%H%M%SZ").date())
        except ValueError:
            raise ValueError(f"{text!r} is not an exclusion; write for example EXDATE:20190102T150405Z") from None
    return dates


class Calendar(Source[CalendarConfig]):
    """Fires by the clock. Its upstream is the clock itself; what it is told is the time remembered last."""

    kind: ClassVar[str] = "calendar"
    config = CalendarConfig
    exclusive: ClassVar[bool] = True
    acknowledges: ClassVar[bool] = True
    peer: ClassVar[str] = "none: the clock"
    example: ClassVar[str] = """\
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata:
  name: calendar
spec:
  calendar:
    every-ten-seconds:
      interval: 10s
    weekdays-at-nine:
      schedule: "0 9 * * 1-5"
      timezone: Europe/Berlin
      persistence:
        catchup:
          enabled: true
          maxDuration: 12h
"""

    async def run(self, ctx: SourceContext[CalendarConfig]) -> None:
        config = ctx.config
        plan = _Plan(config)
        last = await self._begin(ctx)
        ctx.listening(f"the clock, {plan}")
        while True:
            due = plan.next(last)
            if due is None:
                ctx.log.warning("no more fires: %s has none within five years", plan, extra={"action": "calendar.over"})
                await asyncio.Event().wait()
                return
            if await self._slept_until(ctx, due):
                # The machine was suspended. What it missed is what a process that was down would have missed.
                last = await self._begin(ctx)
                continue
            await to_the_end(self._fire(ctx, plan, due))
            last = due

    async def _begin(self, ctx: SourceContext[CalendarConfig]) -> dt.datetime:
        """The time from which on fires are due: now, or the last fire where missed ones are made up for."""
        now = ctx.clock.now()
        persistence = ctx.config.persistence
        if persistence is None or persistence.catchup is None or not persistence.catchup.enabled:
            return now
        entry = await ctx.bucket.get(_CURSOR)
        if entry is None:
            await ctx.bucket.put(_CURSOR, format_time(now).encode())
            return now
        last = parse_time(entry.value.decode())
        if persistence.catchup.max_duration:
            furthest = now - dt.timedelta(seconds=durations.parse(persistence.catchup.max_duration))
            return max(last, furthest)
        return last

    async def _slept_until(self, ctx: SourceContext[CalendarConfig], due: dt.datetime) -> bool:
        """Wait for ``due``. True if the clock jumped far past it while we slept."""
        slept = False
        while (seconds := (due - ctx.clock.now()).total_seconds()) > 0:
            # Short sleeps, because the clock may be set, and timers do not count the time of a suspension.
            await ctx.clock.sleep(min(seconds, _LONGEST_SLEEP_SECONDS))
            slept = True
        return slept and -seconds > _SUSPENDED_SECONDS

    async def _fire(self, ctx: SourceContext[CalendarConfig], plan: _Plan, due: dt.datetime) -> None:
        data: dict[str, Json] = {"eventTime": go_time(plan.local(due))}
        if ctx.config.metadata:
            data["metadata"] = dict(ctx.config.metadata)
        moment = format_time(due)
        await ctx.emit(data, id=moment)
        if ctx.config.persistence is not None:
            await ctx.bucket.put(_CURSOR, moment.encode())


class _Plan:
    """The times that a configuration means, exclusions left out."""

    def __init__(self, config: CalendarConfig) -> None:
        name = config.timezone or os.environ.get("TZ", "")
        self._zone = _zone(name) or zoneinfo.ZoneInfo("UTC")
        self._schedule = cron.compile(config.schedule, self._zone.key) if config.schedule else None
        if self._schedule is not None and not config.timezone and isinstance(self._schedule.zone, zoneinfo.ZoneInfo):
            self._zone = self._schedule.zone  # TZ= in front of the schedule
        self._interval = dt.timedelta(seconds=0 if config.schedule else durations.parse(config.interval))
        self._excluded = frozenset(date for text in config.exclusion_dates for date in _excluded(text))
        self._words = (
            f"schedule {config.schedule!r} in {self._zone.key}" if config.schedule else f"every {config.interval}"
        )

    def __str__(self) -> str:
        return self._words

    def local(self, moment: dt.datetime) -> dt.datetime:
        return moment.astimezone(self._zone)

    def next(self, last: dt.datetime) -> dt.datetime | None:
        """The first time after ``last`` that is not excluded, in UTC."""
        due = self._following(last)
        while due is not None and (day := self.local(due).date()) in self._excluded:
            due = self._from(due, dt.datetime.combine(day + dt.timedelta(days=1), dt.time(), self._zone))
        return due.astimezone(dt.UTC) if due is not None else None

    def _following(self, last: dt.datetime) -> dt.datetime | None:
        if self._schedule is not None:
            return self._schedule.next(last)
        if self._interval >= dt.timedelta(seconds=1):
            last = last.replace(microsecond=0)
        return last + self._interval

    def _from(self, due: dt.datetime, midnight: dt.datetime) -> dt.datetime | None:
        """The first time at or after ``midnight``; intervals keep step with ``due``."""
        if self._schedule is not None:
            return self._schedule.next(midnight.astimezone(dt.UTC) - dt.timedelta(microseconds=1))
        steps = -((due - midnight.astimezone(dt.UTC)) // self._interval)
        return due + steps * self._interval


def go_time(moment: dt.datetime) -> str:
    """``moment`` as Go's ``time.String`` prints it: ``2006-01-02 15:04:05.5 -0700 MST``."""
    fraction = f".{moment.microsecond:06}".rstrip("0") if moment.microsecond else ""
    return f"{moment:%Y-%m-%d %H:%M:%S}{fraction} {moment:%z} {moment.tzname()}"
