"""The bus on NATS JetStream: upstream's event log, and beside it the action queue and buckets of Argosy.

The event log is the stream ``default`` in upstream's shape, so that Go processes read what we write. It is
made when it is missing and otherwise taken as it is. Publishing is pipelined: every ``publish`` waits for its
own word of the server, many at a time. The line that survives losses is ``_jetstream_link``; reading, queues
and buckets have their own modules. ``argosy.bus.embedded`` runs a server of its own for this engine.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self

from argosy.bus import _jetstream_history as history
from argosy.bus import _jetstream_names as names
from argosy.bus._base import At, Bucket, Bus, Delivery, Extent, Pair, Queue, Start, Subscription
from argosy.bus._jetstream_answers import Lost, Refused, header_size
from argosy.bus._jetstream_bucket import KV, JetStreamBucket
from argosy.bus._jetstream_bucket import STREAM as KV_STREAM
from argosy.bus._jetstream_feed import Feeds
from argosy.bus._jetstream_held import ACTIONS, DEAD, OUTCOMES
from argosy.bus._jetstream_line import Line, Turn
from argosy.bus._jetstream_link import Link
from argosy.bus._jetstream_position import committed
from argosy.bus._jetstream_queue import DUPLICATES_SECONDS, JetStreamQueue
from argosy.bus._jetstream_reader import Reader
from argosy.bus._jetstream_records import STREAM as RECORDS
from argosy.bus._jetstream_records import Records
from argosy.bus._jetstream_settings import STREAM, SUBJECTS, Connection, StreamSettings
from argosy.errors import BusError, BusUnavailable, EventTooLarge
from argosy.event import Event, encode

__all__ = ["Connection", "JetStreamBus", "QueueSettings", "StreamSettings"]

log = logging.getLogger("argosy.bus.jetstream")

_OLDEST = (2, 10)
_WINDOW = 256
"""Messages under way at a time. Measured: from 64 to 512 one is as fast as the other, with 1024 it is a quarter less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSettings:
    """How the action queue remembers and leases.

    Ended ids and their outcomes are kept for ``outcomes_seconds``, at most ``outcomes_most`` of them. A lease
    whose process died comes back after ``lease_seconds``; it must be longer than the process ever stands
    still.
    """

    outcomes_seconds: float = 7 * 24 * 3600.0
    outcomes_most: int = 4_000_000
    lease_seconds: float = 15.0


class JetStreamBus(Bus):
    """A NATS server or cluster at ``url`` (several addresses separated by commas).

    ``sole`` is the caller's word that whoever took from this process's queues before is dead, and that nobody
    else takes from them: what a predecessor held, or what was on its way to us when the bus was lost, is then
    handed out at once, not after ``lease_seconds``. ``anew`` says, before each connection, what lets us in by then.
    """

    def __init__(
        self,
        url: str,
        *,
        connection: Connection | None = None,
        anew: Callable[[], Connection] | None = None,
        settings: StreamSettings | None = None,
        queue_settings: QueueSettings | None = None,
        connect_timeout_seconds: float = 10.0,
        sole: bool = False,
    ) -> None:
        self._link = Link(url, connection or Connection(), name="argosy", anew=anew)
        self._settings = settings or StreamSettings()
        self._queues = queue_settings or QueueSettings()
        self._timeout = connect_timeout_seconds
        self._window = asyncio.Semaphore(_WINDOW)
        self._line = Line(self._link)
        self._feeds = Feeds(self._link)
        self._records = Records(self._link, KV_STREAM)
        self._takers: Counter[str] | None = Counter() if sole else None
        self._mending = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<JetStreamBus {self._link.shown}>"

    async def __aenter__(self) -> Self:
        if self._settings.retention != "limits":
            raise BusError(
                f"streamConfig: retention {self._settings.retention!r} removes events before every sensor "
                "has read them; "
                "use retention: 0 (limits)"
            )
        await self._link.open(self._timeout)
        try:
            self._refuse_unfit_server()
            await self._prepare_patiently()
        except BaseException:
            await self._link.close()
            raise
        self._link.mend = self._prepare
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._link.close()

    @property
    def ready(self) -> bool:
        return self._link.up

    async def publish(self, event: Event) -> None:
        subject = history.subject(Pair(event.source, event.subject))
        payload = encode(event)
        headers = {"Nats-Msg-Id": names.event_id(event.source, event.subject, event.id)}
        size = len(payload) + header_size(headers)
        told = False

        async def attempt(turn: Turn) -> None:
            nonlocal told
            if size > self._link.largest:
                raise EventTooLarge(
                    f"event {event.id!r} of {event.source!r}/{event.subject!r} has {size} bytes; "
                    f"the bus accepts {self._link.largest}"
                )
            await turn()
            try:
                await self._link.store(subject, payload, headers)
            except Refused as refused:
                if refused.code == 10054:
                    raise EventTooLarge(
                        f"event {event.id!r} of {event.source!r}/{event.subject!r} has {size} bytes, "
                        f"more than stream {STREAM!r} accepts (its max_msg_size)"
                    ) from refused
                if refused.code != 10077:
                    raise BusError(
                        f"stream {STREAM!r} does not take event {event.id!r} of "
                        f"{event.source!r}/{event.subject!r}: {refused}"
                    ) from refused
                if not told:
                    told = True
                    log.error(
                        "stream %r is full and discards new events (%s); sources wait. Raise maxMsgs or "
                        "maxBytes, or set discard: 0",
                        STREAM, refused, extra={"action": "log_full"},
                    )  # fmt: skip
                raise Lost(f"stream {STREAM!r} is full") from refused

        async with self._window:
            await self._line.keep("publish an event", attempt)

    def subscribe(
        self, consumer: str, pairs: Collection[Pair], *, start: Start = "new", max_in_flight: int = 256
    ) -> AbstractAsyncContextManager[Subscription]:
        return self._subscribed(consumer, pairs, start, max_in_flight)

    @asynccontextmanager
    async def _subscribed(
        self, consumer: str, pairs: Collection[Pair], start: Start, max_in_flight: int
    ) -> AsyncIterator[Subscription]:
        reader = Reader(
            self._link, self._feeds, self._records, consumer, pairs, start=start, max_in_flight=max_in_flight
        )
        await reader.open()
        try:
            yield reader
        finally:
            await reader.close()

    async def position(self, consumer: str) -> int | None:
        return await committed(self._records, consumer)

    async def extent(self) -> Extent:
        answer = await self._link.keep("look at the event log", lambda: self._link.api(f"STREAM.INFO.{STREAM}"))
        return Extent(max(1, answer["state"]["first_seq"]), answer["state"]["last_seq"])

    async def history(
        self, pairs: Collection[Pair] = (), *, at: At | None = None, until: int | None = None, follow: bool = False
    ) -> AsyncGenerator[list[Delivery], None]:
        looking = history.History(self._link, pairs, at=at or At(), until=until, follow=follow)
        async with aclosing(looking.read()) as batches:
            async for batch in batches:
                yield [entry.delivery for entry in batch]

    async def find(self, event_id: str, likely: Collection[Pair] = ()) -> list[Delivery]:
        first, last = await self.extent()
        return await history.find(self._link, first, last, event_id, likely)

    def queue(self, name: str, *, max_in_flight: int | None = None) -> Queue:
        return JetStreamQueue(
            self._link,
            self._window,
            self._records,
            name,
            max_in_flight=max_in_flight,
            lease_seconds=self._queues.lease_seconds,
            takers=self._takers,
        )

    async def queues(self) -> list[str]:
        found: set[str] = set()
        for stream in (ACTIONS, DEAD):
            subjects = await Records(self._link, stream).subjects(f"{stream.replace('-', '.')}.*.*")
            found.update(subject.split(".")[2] for subject in subjects)
        # A name that is too long for a subject cannot be read back from it.
        return sorted(names.name_of(token) for token in found if not names.shortened(token))

    def bucket(self, name: str) -> Bucket:
        return JetStreamBucket(self._records, name)

    # ------------------------------------------------------------------ the server and its streams

    def _refuse_unfit_server(self) -> None:
        version = str(self._link.info.get("version", ""))
        try:
            known = tuple(int(part) for part in version.split("-")[0].split(".")[:2])
        except ValueError:
            known = ()
        if known < _OLDEST:
            raise BusError(
                f"the NATS server at {self._link.shown} is version {version or 'unknown'}; Argosy needs 2.10 or newer"
            )
        if not self._link.info.get("headers"):
            raise BusError(
                f"the NATS server at {self._link.shown} has headers switched off; set no_header_support: false"
            )

    async def _prepare_patiently(self) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                await self._link.keep("prepare the streams", self._prepare)
        except TimeoutError as error:
            raise BusUnavailable(
                f"JetStream of the NATS server at {self._link.shown} did not answer within "
                f"{self._timeout:g} s; "
                "is JetStream switched on, and has the cluster a leader?"
            ) from error

    async def _prepare(self) -> None:
        """Make the streams that are missing; take the event log as it is if it is there. Raises Lost or
        BusError.
        """
        async with self._mending:
            try:
                await self._link.api("INFO")
            except Lost as lost:
                if self._link.up and not self._link.info.get("jetstream") and not self._link.clustered:
                    raise BusError(
                        f"the NATS server at {self._link.shown} runs without JetStream; start it with -js "
                        "or a jetstream block"
                    ) from lost
                raise
            except Refused as refused:
                raise BusError(
                    f"the account at {self._link.shown} may not use JetStream ({refused}); enable it for the account"
                ) from refused
            clustered = self._link.clustered
            if self._settings.replicas and self._settings.replicas > 1 and not clustered:
                log.info(
                    "streamConfig asks for %d replicas; this server is alone, so there is one",
                    self._settings.replicas,
                )
            await self._ensure_log(self._settings.config(clustered))
            for config in self._own_streams(self._settings.replicas_on(clustered)):
                await self._ensure_own(config)

    async def _ensure_log(self, config: dict[str, Any]) -> None:
        found = await self._found(STREAM)
        if found is None:
            try:
                await self._link.api(f"STREAM.CREATE.{STREAM}", config)
            except Refused as refused:
                if refused.code != 10058:  # another process made it at the same moment, with other settings
                    raise BusError(f"stream {STREAM!r} cannot be made: {refused}") from refused
                found = await self._found(STREAM)
        if found is None:
            return
        if found["retention"] != "limits":
            raise BusError(
                f"stream {STREAM!r} at {self._link.shown} has retention {found['retention']!r}, which "
                "removes events before "
                "every sensor has read them; make it anew with retention 'limits' (nats stream rm "
                "default), or use another server"
            )
        if SUBJECTS not in found.get("subjects", []) and not {">", f"{STREAM}.>"} & set(found.get("subjects", [])):
            raise BusError(
                f"stream {STREAM!r} at {self._link.shown} holds {found.get('subjects')}, not "
                f"{SUBJECTS!r}; rename it or use "
                "another server"
            )
        differences = [
            f"{key} is {found.get(key)!r}, not {value!r}"
            for key, value in config.items()
            if key not in ("name", "subjects") and found.get(key) != value
        ]
        if differences and self._link.mend is None:  # once, when the bus is opened
            log.warning(
                "stream %r exists with other settings than streamConfig says and is left as it is: "
                "%s", STREAM,
                "; ".join(differences), extra={"action": "log_differs"},
            )  # fmt: skip

    async def _ensure_own(self, config: dict[str, Any]) -> None:
        name = config["name"]
        found = await self._found(name)
        verb = "CREATE" if found is None else "UPDATE"
        if found and all(found.get(key) == value for key, value in config.items() if key != "num_replicas"):
            return
        if found:
            config = {**found, **config, "num_replicas": found["num_replicas"]}
        try:
            await self._link.api(f"STREAM.{verb}.{name}", config)
        except Refused as refused:
            if refused.code != 10058:
                raise BusError(f"stream {name!r} cannot be made: {refused}") from refused

    async def _found(self, stream: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = (await self._link.api(f"STREAM.INFO.{stream}"))["config"]
        except Refused as refused:
            if refused.code == 10059:
                return None
            raise
        return found

    def _own_streams(self, replicas: int) -> list[dict[str, Any]]:
        every = {"storage": "file", "num_replicas": replicas}
        unlimited = {"max_msgs": -1, "max_bytes": -1, "max_age": 0}
        window = {"duplicate_window": round(DUPLICATES_SECONDS * 1e9)}
        return [
            {
                "name": ACTIONS, "subjects": ["argosy.actions.*.*"], "retention": "workqueue",
                "discard": "new", "discard_new_per_subject": True, "max_msgs_per_subject": 1, **every, **unlimited, **window,
            },
            {
                "name": OUTCOMES, "subjects": ["argosy.outcomes.*.*"], "retention": "limits",
                "discard": "old", **every, **RECORDS,
                "max_msgs": self._queues.outcomes_most, "max_bytes": -1,
                "max_age": round(self._queues.outcomes_seconds * 1e9),
            },
            {
                "name": DEAD, "subjects": ["argosy.dead.*.*"], "retention": "limits", "discard": "old",
                **every, **RECORDS, **unlimited, **window,
            },
            {
                "name": KV_STREAM, "subjects": [f"$KV.{KV}.>"], "retention": "limits", "discard": "new",
                **every, **RECORDS, **unlimited, **window,
            },
        ]  # fmt: skip
