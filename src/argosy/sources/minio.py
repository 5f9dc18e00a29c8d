"""``minio``: each notification of a MinIO bucket becomes one event, from MinIO's own stream of notifications.

The stream is a request whose answer does not end: a line of JSON for each change of an object, and an empty one every
ten seconds, so that a connection that died is noticed. At most 64 notifications are in ``emit`` at a time; while they
are, nothing is read.

MinIO tells only whoever listens, and never again: what happens while nobody listens, and what goes beyond the 4 000
notifications that it keeps for a slow listener, is lost to this source. A start after a gap says since when
nothing was seen; with ``catchUp`` it looks through the bucket for what was put meanwhile, and misses only what was
removed, or put over again. Who must not miss a change lets MinIO notify a broker or a ``webhook`` source
(``mc admin config set … notify_webhook``, with ``queue_dir``): there it keeps notifications until they are taken.
Sources: minio-go ``api-bucket-notification.go``; MinIO ``cmd/listen-notification-handlers.go``; upstream
``pkg/eventsources/sources/minio``.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, ClassVar

from pydantic import Field, field_validator, model_validator

from argosy.aws import s3
from argosy.aws.client import AwsError, Client
from argosy.aws.credentials import Chain, Named
from argosy.errors import EventInvalid, EventTooLarge, SourceError
from argosy.manifests.fields import OURS, OWN_NAMESPACE, EventFilter, Model, SecretKeySelector, TLSConfig
from argosy.sources._base import Source, SourceConfig, SourceContext
from argosy.sources._http_body import raw_json
from argosy.sources._in_flight import InFlight
from argosy.sources._minio_catch_up import PUT, put_between, server_time
from argosy.sources._raw import Raw, Wrapped, known, tail

_PING_SECONDS = 10
_SILENCE_SECONDS = 35.0
"""How long a stream may say nothing: it is asked to say something every ten seconds."""
_LONGEST_LINE = 4 * 1024 * 1024  # as minio-go, which upstream uses
_ALL_CHANGES = ("s3:ObjectCreated:*", "s3:ObjectRemoved:*")
_SEEN_KEY = "seen"


class MinioBucket(Model):
    """A bucket."""

    name: str = Field(pattern=f"^{s3.BUCKET}$")
    """The bucket's name."""
    key: str = ""
    """Without meaning here; the S3 object of a trigger has it."""


class MinioFilter(EventFilter):
    """Which objects count, by their keys; MinIO itself leaves the others out."""

    expression: str = Field("", json_schema_extra=OURS)
    """An [expr](languages/expr.md) expression over the event's data, as every other kind has it."""
    prefix: str = ""
    """What the keys begin with."""
    suffix: str = ""
    """What the keys end with."""


class MinioConfig(SourceConfig):
    """One bucket."""

    dropped: ClassVar[Mapping[str, str]] = {"namespace": f"1.0; {OWN_NAMESPACE}"}

    filter: MinioFilter | None = None
    """Which objects count."""
    endpoint: str
    """``host:port`` of the server, without a scheme."""
    bucket: MinioBucket
    """The bucket."""
    region: str = ""
    """The server's region, where it has one and the keys may not ask for it."""
    insecure: bool = False
    """Whether to speak plain HTTP."""
    access_key: SecretKeySelector
    """The access key."""
    secret_key: SecretKeySelector
    """The secret key."""
    events: list[str] = Field(default_factory=list)
    """Such as ``s3:ObjectCreated:Put`` and ``s3:ObjectRemoved:*``; none means all that create or remove objects."""
    ca_certificate: SecretKeySelector | None = None
    """Who must have signed the server's certificate, where it is nobody whom the machine trusts."""
    catch_up: bool = Field(False, json_schema_extra=OURS)
    """After a gap, list the bucket (which the keys must allow) and tell of each object that was last put meanwhile, as
    ``s3:ObjectCreated:Put`` with ``source.userAgent`` ``argosy/catch-up``. An object may be told twice then, once by each way."""

    @field_validator("endpoint")
    @classmethod
    def _place(cls, endpoint: str) -> str:
        s3.base(endpoint, insecure=True)
        return endpoint

    @model_validator(mode="after")
    def _found_later(self) -> MinioConfig:
        if self.catch_up and self.events and not any(fnmatchcase(PUT, name) for name in self.events):
            raise ValueError(f"catchUp finds what was put ({PUT}), which is not among events")
        return self


class Minio(Source[MinioConfig]):
    """Receives a bucket's notifications. An event's id is made of the change's name, the object's key and the
    change's sequencer."""

    kind: ClassVar[str] = "minio"
    config = MinioConfig
    exclusive: ClassVar[bool] = True
    acknowledges: ClassVar[bool] = False
    requires: ClassVar[tuple[str, ...]] = ("httpx2",)
    extra: ClassVar[str] = "http"
    peer: ClassVar[str] = "double: MinIO's stream of notifications"
    example: ClassVar[str] = """\
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata:
  name: minio
spec:
  minio:
    example:
      endpoint: minio.storage:9000
      insecure: true
      bucket:
        name: input
      events:
        - s3:ObjectCreated:Put
        - s3:ObjectRemoved:Delete
      filter:
        prefix: invoices/
        suffix: .pdf
      accessKey:
        name: minio
        key: accesskey
      secretKey:
        name: minio
        key: secretkey
"""

    @classmethod
    def wrap(cls, config: MinioConfig, raw: Raw) -> Wrapped:
        known(raw, {}, "property of a notification")
        wrapped = _event(config, raw.body)
        if wrapped is None:
            raise EventInvalid("the notification has no records, so it is a sign of life and no event")
        return wrapped

    async def run(self, ctx: SourceContext[MinioConfig]) -> None:
        from argosy.tls import client_context

        config = ctx.config
        tls = (
            client_context(TLSConfig(ca_cert_secret=config.ca_certificate), ctx.secret)
            if config.ca_certificate
            else None
        )
        async with Client("'minio'", ctx.clock, tls=tls) as client:
            named = Named(config.access_key, config.secret_key)
            listener = _Listener(ctx, client, Chain(client, named, ctx.secret, ctx.clock, ""))
            flight = InFlight()
            try:
                await flight.run(listener.listen(flight))
            except AwsError as error:
                raise SourceError(str(error)) from error


class _Listener:
    """One stream of notifications."""

    def __init__(self, ctx: SourceContext[MinioConfig], client: Client, who: Chain) -> None:
        self._ctx = ctx
        self._client = client
        self._who = who
        self._ahead = dt.timedelta()
        self._marked: dt.datetime | None = None
        self._begun: dict[object, dt.datetime] = {}
        self._caught_up = False

    async def listen(self, flight: InFlight) -> None:
        """Read the stream until it ends, which it should not. Raises AwsError, SourceError."""
        config = self._ctx.config
        base = s3.base(config.endpoint, insecure=config.insecure)
        region = await s3.region(self._client, base, config.bucket.name, self._who, config.region)
        prefix, suffix = (config.filter.prefix, config.filter.suffix) if config.filter else ("", "")
        query = [("ping", str(_PING_SECONDS)), ("prefix", prefix), ("suffix", suffix)]
        query += [("events", name) for name in config.events or _ALL_CHANGES]
        place = s3.url(base, config.bucket.name, query=query, region=region)
        async with self._client.stream(
            "s3", region, "GET", place, {}, b"", self._who,
            action="ListenBucketNotification", seconds=_SILENCE_SECONDS,
        ) as response:  # fmt: skip
            self._ahead = server_time(response.headers.get("Date"), self._ctx.clock.now())
            since = await self._gap()
            self._ctx.listening(f"bucket {config.bucket.name!r} of {base}")
            finding = asyncio.create_task(self._catch_up(flight, since, base, region, prefix, suffix))
            try:
                async for line in _lines(response.aiter_bytes(), self._ctx):
                    if finding.done():
                        finding.result()
                    await self._mark()
                    if line.strip():
                        await flight.free()
                        flight.begin(self._keep(line))
            finally:
                finding.cancel()
                await asyncio.gather(finding, return_exceptions=True)
        raise SourceError(f"{base} ended the stream of notifications of bucket {config.bucket.name!r}")

    async def _catch_up(
        self, flight: InFlight, since: dt.datetime | None, base: str, region: str, prefix: str, suffix: str
    ) -> None:
        """Tell what was put in the gap, where that is wanted; from then on marks say that all was seen."""
        if since is not None and self._ctx.config.catch_up:
            told, under_way, bucket = 0, set[asyncio.Task[None]](), self._ctx.config.bucket.name
            # The server says the time in whole seconds: a second more, so that it and the stream meet.
            until = self._now() + dt.timedelta(seconds=1)
            async for line, name in put_between(
                self._client, base, bucket, region, self._who, since=since, until=until, prefix=prefix, suffix=suffix
            ):
                await flight.free()
                under_way.add(flight.begin(self._keep(line, name)))
                under_way = {task for task in under_way if not task.done() or task.result()}
                told += 1
            # Not gather, which would break them off with us: what is under way when the source ends is finished.
            for task in under_way:
                await asyncio.shield(task)
            self._ctx.log.info(
                "%d objects were put into bucket %r in the gap", told, bucket, extra={"action": "source.caught-up"}
            )
        self._caught_up = True
        await self._mark()

    async def _keep(self, line: bytes, name: str = "") -> None:
        work = object()
        self._begun[work] = self._now()
        try:
            event = _event(self._ctx.config, line)
            if event is not None:
                await self._ctx.emit(event.data, id=name or event.id)
        except (EventInvalid, EventTooLarge) as error:
            self._ctx.refused(f"{error} (notification of bucket {self._ctx.config.bucket.name!r}); dropped")
        # Not where emit failed: no mark may pass what is not stored.
        del self._begun[work]

    def _now(self) -> dt.datetime:
        """The time of the server."""
        return self._ctx.clock.now() + self._ahead

    async def _mark(self) -> None:
        """Write down now and then until when all was seen and stored."""
        now = self._now()
        if self._caught_up and (self._marked is None or (now - self._marked).total_seconds() >= _PING_SECONDS / 2):
            self._marked = now
            seen = min(self._begun.values(), default=now)
            await self._ctx.bucket.put(_SEEN_KEY, seen.isoformat(timespec="seconds").encode())

    async def _gap(self) -> dt.datetime | None:
        """Since when nothing was seen, which is also said; None the first time."""
        entry = await self._ctx.bucket.get(_SEEN_KEY)
        if entry is None:
            return None
        since = dt.datetime.fromisoformat(entry.value.decode())
        remedy = "looking for what was put" if self._ctx.config.catch_up else "catchUp: true looks for what was put"
        self._ctx.log.warning(
            "what happened in bucket %r between %s and now may not have been seen, and MinIO does not tell it again; %s",
            self._ctx.config.bucket.name, entry.value.decode(), remedy, extra={"action": "source.gap"},
        )  # fmt: skip
        return since


async def _lines(pieces: AsyncIterator[bytes], ctx: SourceContext[MinioConfig]) -> AsyncIterator[bytes]:
    """The lines of the stream, with those that are only a sign of life. What is too long for a line is counted."""
    kept, lost = bytearray(), False
    async for piece in pieces:
        *ends, rest = piece.split(b"\n")
        for end in ends:
            kept += end
            if lost or len(kept) > _LONGEST_LINE:
                ctx.refused(f"a notification of bucket {ctx.config.bucket.name!r} is longer than {_LONGEST_LINE} bytes")
            else:
                yield bytes(kept)
            kept, lost = bytearray(), False
        kept += rest
        if rest and not kept.strip():
            kept.clear()  # older servers say that they live by blanks, without an end of line
            yield b""
        if len(kept) > _LONGEST_LINE:
            kept, lost = bytearray(), True


def _event(config: MinioConfig, line: bytes) -> Wrapped | None:
    """The event of a line; None for a sign of life. Raises EventInvalid if it is not what it should be."""
    if not line.strip():
        return None
    text = raw_json(line)
    found = json.loads(text)
    if not isinstance(found, dict) or not isinstance(found.get("Records"), list | None):
        raise EventInvalid("the line is no notification: it has no Records")
    records = found.get("Records")
    if not records:
        return None
    data = b'{"notification":%b%b}' % (_member(text, records), tail(config.metadata))
    return Wrapped(data, _name(records))


def _member(text: bytes, records: list[Any]) -> bytes:
    """The records as they were sent: what they say of an object may hold numbers that Python would write otherwise."""
    import msgspec

    members = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    return bytes(members["Records"])


def _name(records: list[Any]) -> str | None:
    """What names a change of one object; None for several, or where there is no sequencer."""
    if len(records) != 1 or not isinstance(records[0], dict):
        return None
    place = records[0].get("s3")
    place = place.get("object") if isinstance(place, dict) else None
    if not isinstance(place, dict) or not place.get("sequencer"):
        return None
    key = hashlib.sha256(f"{place.get('key', '')}\0{place.get('versionId', '')}".encode()).hexdigest()[:16]
    return f"{records[0].get('eventName', '')}/{key}/{place['sequencer']}"
