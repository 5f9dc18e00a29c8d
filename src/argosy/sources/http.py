"""``http`` (ours): asks a URL again and again, and makes an event of each item that is new in the answer.

An item is told once: what was told is remembered, on the bus, as long as it stands in the answers. ``ETag`` and
``Last-Modified`` are sent back, so that an answer that is as it was need not travel; a ``cursor`` asks for what came
after. Neither moves before all events of a poll are kept, so a poll that breaks off is made again, with the same ids.
429 and 503 with ``Retry-After`` are obeyed.

``_poll_client`` asks, ``_poll`` reads the answers.
"""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import functools
import ssl
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from argosy import retry_after
from argosy.errors import ConfigError, EventInvalid, EventTooLarge, LangError, SourceError
from argosy.event import format_time, parse_time
from argosy.lang import cron, gotemplate
from argosy.sources import _poll
from argosy.sources._base import Source, SourceContext
from argosy.sources._finishing import to_the_end
from argosy.sources._in_flight import LIMIT
from argosy.sources._poll import Item, Memory, Page
from argosy.sources._poll_client import Answer, Bounds, Call, PollClient, joined, shown, with_query
from argosy.sources._poll_config import HttpConfig
from argosy.sources._raw import Raw, Wrapped, known, tail

_MEMORY = "memory"
_LONGEST_SLEEP_SECONDS = 30.0
_LONGEST_WAIT_SECONDS = 3600.0
_WORTH_SECONDS = 60.0


class Http(Source[HttpConfig]):
    """Asks a URL. An event's id is what ``id`` says of its item, else a digest of the item."""

    kind: ClassVar[str] = "http"
    config = HttpConfig
    exclusive: ClassVar[bool] = True
    acknowledges: ClassVar[bool] = True
    requires: ClassVar[tuple[str, ...]] = ("httpx2",)
    extra: ClassVar[str] = "http"
    peer: ClassVar[str] = "real: an HTTP server that pages, stalls, resets and lies"
    example: ClassVar[str] = """\
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata:
  name: http
spec:
  http:
    example:
      url: https://tickets.example/api/tickets
      interval: 1m
      query:
        updated_since: "{{ .cursor }}"
        limit: "100"
      bearerSecret:
        name: tickets
        key: token
      items: tickets
      id: item.id + "@" + item.updated
      cursor: body.until
      paging:
        link: true
      filter:
        expression: body.state == "open"
"""

    @classmethod
    def wrap(cls, config: HttpConfig, raw: Raw) -> Wrapped:
        known(raw, {}, "header that an event would show")
        answer = Answer(200, config.url, {}, raw.body)
        try:
            items = _page(config, answer, config.initial_cursor).items
        except SourceError as error:
            raise EventInvalid(str(error)) from error
        if len(items) != 1:
            raise ConfigError(f"the answer has {len(items)} items; give a recording with one")
        data = _poll.data(config.url, items[0].text, tail(config.metadata))
        return Wrapped(data, None if config.repeats else items[0].id or None)

    async def run(self, ctx: SourceContext[HttpConfig]) -> None:
        await _Poller(ctx).run()


class _Poller:
    """One run: when, and from where on."""

    def __init__(self, ctx: SourceContext[HttpConfig]) -> None:
        self._ctx = ctx
        self._config = ctx.config
        self._memory = Memory()
        self._tail = tail(ctx.config.metadata)
        self._bounds = Bounds(
            ctx.config.timeout,
            ctx.config.max_response_size,
            ctx.config.redirects == "follow",
            frozenset(ctx.config.origins),
        )

    async def run(self) -> None:
        """Until cancelled."""
        kept = await self._ctx.bucket.get(_MEMORY)
        if kept is not None:
            self._memory = Memory.decode(kept.value)
        else:
            self._memory = Memory(cursor=self._config.initial_cursor, quiet=self._config.start == "new")
        when = f"schedule {self._config.schedule!r}" if self._config.schedule else f"every {self._config.interval:g} s"
        self._ctx.listening(f"{shown(self._config.url)}, {when}")
        while True:
            # What was due while nobody ran is one poll.
            due = self._due()
            await self._sleep_until(due)
            pause = await self._poll(max(due, self._ctx.clock.now()))
            if pause is not None:
                seconds = min(pause, _LONGEST_WAIT_SECONDS)
                self._ctx.log.warning(
                    "%s asks to come back in %.0f s; waiting", shown(self._config.url), seconds,
                    extra={"action": "http.later"},
                )  # fmt: skip
                await self._sleep_until(self._ctx.clock.now() + dt.timedelta(seconds=seconds))

    def _due(self) -> dt.datetime:
        now = self._ctx.clock.now()
        last = parse_time(self._memory.polled) if self._memory.polled else None
        if self._config.interval is not None:
            return min(last, now) + dt.timedelta(seconds=self._config.interval) if last is not None else now
        due = cron.compile(self._config.schedule, self._config.timezone).next(last or now)
        if due is None:
            raise SourceError(f"schedule {self._config.schedule!r} is never due again")
        return due

    async def _sleep_until(self, due: dt.datetime) -> None:
        # Short sleeps, because the clock may be set, and timers do not count the time of a suspension.
        while (seconds := (due - self._ctx.clock.now()).total_seconds()) > 0:
            await self._ctx.clock.sleep(min(seconds, _LONGEST_SLEEP_SECONDS))

    async def _poll(self, due: dt.datetime) -> float | None:
        """Ask, page by page, and keep what is new. How long to wait, where the server says so."""
        before, visited, marks = self._memory, set[str](), list[bytes]()
        url = before.page or with_query(self._config.url, self._query(before.cursor))
        first, new, number = url, replace(before, page="", polled=format_time(due)), 0
        async with await self._client() as client:
            while url:
                if url in visited:
                    raise SourceError(f"the pages of {shown(self._config.url)} lead in a circle")
                visited.add(url)
                answer = await client.ask(self._call(url, before, first), self._bounds, self._config.url)
                if answer.status == 304 and (before.etag or before.modified):
                    break
                if answer.status in (429, 503):
                    wait = retry_after.seconds(answer.headers.get("retry-after"))
                    if wait is not None:
                        return wait
                if not 200 <= answer.status < 300:
                    raise SourceError(f"{self._config.method} {shown(url)} answered {answer.status}")
                number += 1
                page = _page(self._config, answer, new.cursor)
                marks += [] if self._config.repeats else [item.mark for item in page.items]
                new = self._moved(new, url, first, answer, page)
                url = self._next(answer, page)
                if url and number >= (self._config.paging.max_pages if self._config.paging else 1):
                    self._ctx.log.warning(
                        "stopped after %d pages, as maxPages says; the next poll goes on from there", number,
                        extra={"action": "http.pages"},
                    )  # fmt: skip
                    new, url = replace(new, page=url), ""
                await self._keep(answer, page, last=None if url else self._seen(before, new, marks))
        if not number:
            await to_the_end(self._remember(new))
        return None

    def _moved(self, new: Memory, url: str, first: str, answer: Answer, page: Page) -> Memory:
        if self._config.cursor:
            new = replace(new, cursor=_poll.said(self._config.cursor, page.env, "cursor") or new.cursor)
        if url == first:
            told = answer.headers
            new = replace(new, url=url, etag=told.get("etag", ""), modified=told.get("last-modified", ""))
        return new

    def _seen(self, before: Memory, new: Memory, marks: list[bytes]) -> Memory:
        """The memory after a poll. What has no name is forgotten once the answers had it no more: it may come back."""
        new = replace(new, quiet=before.quiet and bool(new.page))
        whole = not (new.page or before.page or self._config.cursor or self._config.id)
        new = (replace(new, seen=()) if whole else new).and_seen(marks)
        return new if new == replace(before, polled=new.polled) else replace(new, told=new.polled)

    def _next(self, answer: Answer, page: Page) -> str:
        paging = self._config.paging
        if paging is None:
            return ""
        found = answer.next if paging.link else _poll.said(paging.next, page.env, "paging.next")
        if found and paging.param:
            return with_query(answer.url, {paging.param: found})
        return joined(answer.url, found) if found else ""

    async def _keep(self, answer: Answer, page: Page, last: Memory | None) -> None:
        """Emit what is new of a page, so many at a time; ``last`` is remembered with the last of them."""
        fresh = page.items if self._config.repeats else [*{item.mark: item for item in page.items}.values()]
        if self._memory.quiet:
            fresh = []
        elif not self._config.repeats:
            known = frozenset(self._memory.seen)
            fresh = [item for item in fresh if item.mark not in known]
        for at in range(0, max(len(fresh), 1), LIMIT):
            memory = last if at + LIMIT >= len(fresh) else None
            await to_the_end(self._keep_some(answer, fresh[at : at + LIMIT], memory))

    async def _keep_some(self, answer: Answer, items: list[Item], last: Memory | None) -> None:
        results = await asyncio.gather(*(self._emit(answer, item) for item in items), return_exceptions=True)
        for result in results:
            if result is not None:
                raise result
        if last is not None:
            await self._remember(last)
        elif items:
            await self._remember(self._memory.and_seen([item.mark for item in items]))

    async def _emit(self, answer: Answer, item: Item) -> None:
        data = _poll.data(answer.url, item.text, self._tail)
        # An item without a name may come back as it was; the last change before tells the one time from the other.
        name = item.id or f"{item.mark.hex()}@{self._memory.told or 'first'}"
        try:
            await self._ctx.emit(data, id=None if self._config.repeats else name)
        except (EventInvalid, EventTooLarge) as error:
            self._ctx.refused(f"{error} (an item of {shown(answer.url)}); left out")

    async def _remember(self, memory: Memory) -> None:
        # That a poll found nothing is worth a write only where the next one is far off.
        idle = memory == replace(self._memory, polled=memory.polled)
        if not idle or self._config.interval is None or self._config.interval >= _WORTH_SECONDS:
            await self._ctx.bucket.put(_MEMORY, memory.encode())
        self._memory = memory

    async def _client(self) -> PollClient:
        from argosy.tls import client_context

        if self._config.tls is None:
            return PollClient(await asyncio.to_thread(_trust))
        # Made for each poll, by the secrets as they are then; loading the machine's authorities blocks.
        return PollClient(await asyncio.to_thread(client_context, self._config.tls, self._ctx.secret))

    def _query(self, cursor: str) -> dict[str, str]:
        told = {name: self._rendered(text, cursor) for name, text in self._config.query.items()}
        return {name: value for name, value in told.items() if value}

    def _rendered(self, template: str, cursor: str) -> str:
        try:
            return gotemplate.compile(template).render({"cursor": cursor})
        except LangError as error:
            raise SourceError(f"a template of 'query' or 'body' fails: {error}") from error

    def _call(self, url: str, before: Memory, first: str) -> Call:
        headers = dict(self._config.headers)
        body = self._rendered(self._config.body, before.cursor).encode() if self._config.body else b""
        if body and "content-type" not in {name.lower() for name in headers}:
            headers["Content-Type"] = "application/json"
        if url == first == before.url and self._config.method == "GET" and not self._config.repeats:
            headers |= {"If-None-Match": before.etag} if before.etag else {}
            headers |= {"If-Modified-Since": before.modified} if before.modified else {}
        return Call(self._config.method, url, headers, self._private(), body)

    def _private(self) -> Mapping[str, str]:
        read, config = self._ctx.secret, self._config
        found: dict[str, str] = {}
        for header in config.secure_headers:
            secret, item = header.value_from.secret_key_ref, header.value_from.config_map_key_ref
            found[header.name] = read(secret) if secret is not None else self._ctx.config_map(_given(item))
        if config.bearer_secret is not None:
            found["Authorization"] = f"Bearer {read(config.bearer_secret)}"
        if config.basic_auth is not None:
            pair = f"{read(_given(config.basic_auth.username))}:{read(_given(config.basic_auth.password))}"
            found["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        return found


_trust = functools.cache(ssl.create_default_context)
"""Whom the machine trusts; large, so one for all."""


def _given(selector: Any) -> Any:
    assert selector is not None  # validated
    return selector


def _page(config: HttpConfig, answer: Answer, cursor: str) -> Page:
    return _poll.page(answer, config.format, config.items, config.id, cursor)
