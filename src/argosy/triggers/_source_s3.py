"""Objects in S3 as the object of a trigger: AWS, MinIO, or whoever else speaks it.

A bucket is asked at every try whether the object is still what it was (``If-None-Match``), and it is brought again
only if not. Connections, the bucket's region and a role's credentials are kept from one try to the next. Source:
docs.aws.amazon.com "Amazon S3 API Reference", GetObject.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
import ssl
from typing import TYPE_CHECKING, NamedTuple, Self
from urllib.parse import urlsplit

from argosy.aws import s3
from argosy.aws.client import REGION, AwsError, Client
from argosy.aws.credentials import Chain, Named
from argosy.errors import ConfigError, Rejected, TriggerError
from argosy.triggers import _http

if TYPE_CHECKING:
    from argosy.manifests.artifacts import S3Source
    from argosy.triggers._base import TriggerContext

_SECONDS = 60.0
_BUCKETS = 32


class Buckets:
    """Reads objects for one trigger; an async context manager. May be asked for several at once."""

    def __init__(self, ctx: TriggerContext) -> None:
        self._ctx = ctx
        self._held = contextlib.AsyncExitStack()
        self._clients: dict[str, Client] = {}
        self._known: dict[object, _Bucket] = {}
        self._last: _Kept | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._clients.clear()
        self._known.clear()
        await self._held.aclose()

    async def read(self, source: S3Source, most: int) -> bytes:
        """The object's bytes. Raises Rejected where it cannot be such an object (or is larger than ``most``), TriggerError
        where it cannot be had now.
        """
        place = _place(source)
        what = f"source.s3 {place.key!r} of bucket {place.bucket!r}"
        try:
            async with asyncio.timeout(_SECONDS):
                return await self._read(source, place, most, what)
        except TimeoutError as error:
            raise TriggerError(f"{what} did not come within {_SECONDS:g} s") from error
        except AwsError as error:
            raise TriggerError(f"{what} cannot be had: {error}") from error
        except ConfigError as error:
            raise Rejected(f"{what} cannot be had: {error}") from error

    async def _read(self, source: S3Source, place: _Place, most: int, what: str) -> bytes:
        bucket = await self._bucket(source, place)
        try:
            if not bucket.region:
                bucket.region = await s3.region(bucket.client, place.base, place.bucket, bucket.who, source.region)
            url = s3.url(place.base, place.bucket, place.key, region=bucket.region)
            last = self._last if self._last is not None and self._last.url == url else None
            headers = {"If-None-Match": last.tag} if last is not None else {}
            async with bucket.client.stream(
                "s3", bucket.region, "GET", url, headers, b"", bucket.who, action="GetObject"
            ) as answer:
                raw = b"".join([piece async for piece in _http.read(answer, most + 1)])
                tag = answer.headers.get("ETag", "")
        except AwsError as error:
            if error.status == 304 and last is not None:
                return last.raw
            bucket.region = ""  # one that was made anew may be elsewhere
            raise
        if len(raw) > most:
            raise Rejected(f"{what} is larger than {most / 2**20:g} MiB; no object is")
        self._last = _Kept(url, tag, raw) if tag else None
        return raw

    async def _bucket(self, source: S3Source, place: _Place) -> _Bucket:
        """What is known of the bucket from before. Parameters may name many, of which the newest are remembered."""
        authority = self._ctx.secret(source.ca_certificate) if source.ca_certificate is not None else ""
        digest = hashlib.sha256(authority.encode()).hexdigest()
        named = Named(source.access_key, source.secret_key)
        key = (place.base, place.bucket, named, source.region, digest)
        found = self._known.pop(key, None)
        if found is None:
            client = await self._client(authority, digest)
            who = Chain(client, named, self._ctx.secret, self._ctx.clock, source.region or s3.DEFAULT_REGION)
            found = _Bucket(client, who)
        self._known[key] = found
        while len(self._known) > _BUCKETS:
            del self._known[next(iter(self._known))]
        return found

    async def _client(self, authority: str, digest: str) -> Client:
        """One for each certificate of an authority that the manifest has named so far; they are renewed rarely."""
        if digest not in self._clients:
            tls = await asyncio.to_thread(_trust, authority)
            client = Client("'source.s3'", self._ctx.clock, tls=tls, trace=_http.guard)
            # Two at a time may have come here; then the second one's serves both from now on.
            self._clients[digest] = await self._held.enter_async_context(client)
        return self._clients[digest]


class _Place(NamedTuple):
    """Where an object is."""

    base: str
    bucket: str
    key: str


class _Kept(NamedTuple):
    """What was brought last, and the tag by which its bucket knows it."""

    url: str
    tag: str
    raw: bytes


class _Bucket:
    """What is kept of a bucket; ``region`` is empty until it is known."""

    def __init__(self, client: Client, who: Chain) -> None:
        self.client = client
        self.who = who
        self.region = ""


def _place(source: S3Source) -> _Place:
    """Raises Rejected where the block names no place, or one where no trigger may go."""
    bucket, key = (source.bucket.name, source.bucket.key) if source.bucket is not None else ("", "")
    if not (source.endpoint and bucket and key):
        raise Rejected("source.s3 needs endpoint, bucket.name and bucket.key")
    try:
        base = s3.base(source.endpoint, insecure=source.insecure)
    except ValueError as error:
        raise Rejected(f"source.s3, endpoint {source.endpoint!r} {error}") from None
    if not re.fullmatch(s3.BUCKET, bucket):
        raise Rejected(f"source.s3, bucket {bucket!r} has no name that a bucket can have")
    if source.region and not re.fullmatch(REGION, source.region):
        raise Rejected(f"source.s3, region {source.region!r} is none")
    if any(part in (".", "..") for part in key.split("/")):
        # HTTP clients, and servers between, would go elsewhere.
        raise Rejected(f"source.s3, key {key!r} has '.' or '..' between slashes")
    host = urlsplit(base).hostname or ""
    if _http.is_link_local(host):
        raise Rejected(f"source.s3: {host!r} is a link-local or metadata address, where no trigger may go")
    return _Place(base, bucket, key)


def _trust(authority: str) -> ssl.SSLContext:
    """Who must have signed the server's certificate: the named authority alone, or those of the machine. Blocks."""
    if not authority:
        return _http.trust(True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_verify_locations(cadata=authority)
    except (ssl.SSLError, ValueError) as error:
        raise Rejected("source.s3, caCertificate holds no PEM certificate") from error
    return context
