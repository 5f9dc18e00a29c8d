"""A double of MinIO, as far as its stream of bucket notifications goes; no real one can be had as a package.

What it does is what MinIO's ``cmd/listen-notification-handlers.go`` does: it checks the signature (by botocore's
own implementation) and the region, filters by event names, prefix and suffix, writes a line a notification and empty
ones as signs of life, and tells only whoever listens. minio-go's ``ListenBucketNotification``, which Argo Events
uses, reads it.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import email.utils
import fnmatch
import json
import ssl
from typing import Any, Self
from urllib.parse import parse_qs, quote_plus, unquote, urlsplit
from xml.sax.saxutils import escape

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

ACCESS, SECRET = "minio-user", "minio-p@ss/word+1"


class MinioDouble:
    """One server with buckets that are there from the start; an async context manager."""

    def __init__(self, tls: ssl.SSLContext | None = None, *buckets: str) -> None:
        self.buckets = {"input", *buckets}
        self.region = ""
        self.secret = SECRET
        self.may_ask_for_region = True
        self.old_pings = False
        """Say that it lives by blanks, as servers before April 2023 do."""
        self.port = 0
        self.listeners: list[_Listener] = []
        self.objects: dict[str, dt.datetime] = {}
        """What is in the buckets, by key, with the time when it was put."""
        self.listings = 0
        """How many pages of it were asked for."""
        self.ahead = dt.timedelta()
        """How wrong its clock is."""
        self.queries: list[dict[str, list[str]]] = []
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._sequence = 0x17A0000000000000

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen, on the port of before if there was one."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Reset all connections and listen no more."""
        if self._server is None:
            return
        self._server.close()
        for writer in self._open.values():
            writer.transport.abort()
        await asyncio.gather(*self._open, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None

    def record(
        self, key: str, name: str = "s3:ObjectCreated:Put", bucket: str = "input", **place: Any
    ) -> dict[str, Any]:
        """A record as MinIO writes it."""
        self._sequence += 1
        return {
            "eventVersion": "2.0",
            "eventSource": "minio:s3",
            "awsRegion": self.region,
            "eventTime": "2026-11-25T12:00:00.123Z",
            "eventName": name,
            "userIdentity": {"principalId": ACCESS},
            "requestParameters": {"principalId": ACCESS, "region": self.region, "sourceIPAddress": "127.0.0.1"},
            "responseElements": {"x-amz-request-id": "17A", "x-minio-origin-endpoint": "http://127.0.0.1:9000"},
            "s3": {
                "s3SchemaVersion": "1.0",
                "configurationId": "Config",
                "bucket": {"name": bucket, "ownerIdentity": {"principalId": ACCESS}, "arn": f"arn:aws:s3:::{bucket}"},
                "object": {"key": key, "size": 3, "eTag": "acbd18db", "sequencer": f"{self._sequence:X}", **place},
            },
            "source": {"host": "127.0.0.1", "port": "", "userAgent": "MinIO (linux; amd64)"},
        }

    def put(self, key: str) -> None:
        """Put an object, and tell who listens."""
        self.objects[key] = self.now()
        self.notify(self.record(key))

    def now(self) -> dt.datetime:
        """Its time."""
        return dt.datetime.now(dt.UTC) + self.ahead

    def notify(self, *records: dict[str, Any]) -> int:
        """Tell all listeners that want the first record's change; how many there were."""
        line = json.dumps({"Records": list(records)}, separators=(",", ":")).encode() + b"\n"
        return self.write(line, records[0])

    def write(self, line: bytes, record: dict[str, Any] | None = None) -> int:
        """Write to all listeners, or to those that want this record."""
        wanting = [each for each in self.listeners if record is None or each.wants(record)]
        for each in wanting:
            each.write(line)
        return len(wanting)

    def ping(self) -> None:
        """Say that it lives, as it does every ten seconds."""
        self.write(b" " if self.old_pings else b'{"Records":null}\n')

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open[task] = writer
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                method, target, _ = head[0].split(" ", 2)
                headers = {
                    name.lower(): value.strip() for name, value in (line.split(":", 1) for line in head[1:] if line)
                }
                if listener := self._answer(writer, method, target, headers):
                    self.listeners.append(listener)
                    try:
                        await reader.read()  # the client sends nothing more; it goes
                    finally:
                        self.listeners.remove(listener)
                    return
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass  # the client has gone
        finally:
            self._open.pop(task)
            writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()

    def _answer(
        self, writer: asyncio.StreamWriter, method: str, target: str, headers: dict[str, str]
    ) -> _Listener | None:
        parts = urlsplit(target)
        query = parse_qs(parts.query, keep_blank_values=True)
        bucket = unquote(parts.path).strip("/")
        locating = "location" in query
        scope = headers.get("authorization", "").partition("Credential=")[2].split(",")[0].split("/")
        if len(scope) < 3 or scope[0] != ACCESS:
            return self._refuse(writer, 403, "InvalidAccessKeyId", "The Access Key Id you provided does not exist.")
        if not self._signed(method, target, headers, scope[2]):
            return self._refuse(writer, 403, "SignatureDoesNotMatch", f"canonical request {self.secret}")
        if self.region and scope[2] != self.region and not locating:
            said = f"The region is wrong; expecting '{self.region}'"
            return self._refuse(writer, 400, "AuthorizationHeaderMalformed", said)
        if locating and not self.may_ask_for_region:
            return self._refuse(writer, 403, "AccessDenied", "Access Denied.")
        if bucket not in self.buckets:
            return self._refuse(writer, 404, "NoSuchBucket", "The specified bucket does not exist")
        if locating:
            xml = f'<LocationConstraint xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{self.region}</LocationConstraint>'
            _write(writer, 200, xml.encode())
            return None
        if "list-type" in query:
            _write(writer, 200, self._listing(query))
            return None
        for name in query.get("events", []):
            if not name.startswith("s3:"):
                return self._refuse(writer, 400, "InvalidArgument", f"A specified event is not supported: {name}")
        self.queries.append(query)
        date = email.utils.format_datetime(self.now(), usegmt=True)
        head = (
            f"HTTP/1.1 200 OK\r\nDate: {date}\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        writer.write(head.encode())
        return _Listener(writer, bucket, query)

    def _listing(self, query: dict[str, list[str]]) -> bytes:
        """A page of two objects."""
        self.listings += 1
        assert query["encoding-type"] == ["url"]
        after = query.get("continuation-token", [""])[0]
        keys = sorted(key for key in self.objects if key > after and key.startswith(query["prefix"][0]))
        found = "".join(
            f"<Contents><Key>{quote_plus(key)}</Key><LastModified>{self.objects[key]:%Y-%m-%dT%H:%M:%S}.000Z</LastModified>"
            f"<ETag>&quot;acbd18db&quot;</ETag><Size>3</Size></Contents>"
            for key in keys[:2]
        )
        more = f"<NextContinuationToken>{escape(keys[1])}</NextContinuationToken>" if len(keys) > 2 else ""
        truncated = "true" if more else "false"
        spoken = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
        return f"<R {spoken}><IsTruncated>{truncated}</IsTruncated>{more}{found}</R>".encode()

    def _signed(self, method: str, target: str, headers: dict[str, str], region: str) -> bool:
        """Whether the request's signature is the one that botocore makes of it."""
        authorization = headers["authorization"]
        names = authorization.partition("SignedHeaders=")[2].split(",")[0].split(";")
        request = AWSRequest(method, f"http://{headers['host']}{target}", {name: headers[name] for name in names})
        request.context["timestamp"] = headers["x-amz-date"]
        request.context["payload_signing_enabled"] = True
        signer = S3SigV4Auth(Credentials(ACCESS, self.secret), "s3", region)
        # The steps of S3SigV4Auth.add_auth, with the time of the request instead of the machine's.
        wanted = signer.signature(signer.string_to_sign(request, _canonical(signer, request)), request)
        return authorization.endswith(f"Signature={wanted}")

    def _refuse(self, writer: asyncio.StreamWriter, status: int, code: str, said: str) -> None:
        region = f"<Region>{self.region}</Region>" if self.region else ""
        _write(writer, status, f"<Error><Code>{code}</Code><Message>{said}</Message>{region}</Error>".encode())


def _canonical(signer: S3SigV4Auth, request: AWSRequest) -> str:
    parts = urlsplit(request.url)
    signed = signer.headers_to_sign(request)
    pairs = sorted(tuple(part.partition("=")[::2]) for part in parts.query.split("&"))
    return "\n".join(
        (
            request.method.upper(),
            parts.path,
            "&".join(f"{name}={value}" for name, value in pairs),
            signer.canonical_headers(signed) + "\n",
            signer.signed_headers(signed),
            request.headers["x-amz-content-sha256"],
        )
    )


class _Listener:
    """A request whose answer goes on."""

    def __init__(self, writer: asyncio.StreamWriter, bucket: str, query: dict[str, list[str]]) -> None:
        self.writer = writer
        self._bucket = bucket
        self._query = query

    def wants(self, record: dict[str, Any]) -> bool:
        """Whether MinIO's rules let it have this record."""
        place = record["s3"]
        key = place["object"]["key"]
        return (
            place["bucket"]["name"] == self._bucket
            and any(fnmatch.fnmatchcase(record["eventName"], name) for name in self._query.get("events", []))
            and key.startswith(self._query.get("prefix", [""])[0])
            and key.endswith(self._query.get("suffix", [""])[0])
        )

    def write(self, data: bytes) -> None:
        """One chunk."""
        if not self.writer.is_closing():
            self.writer.write(b"%x\r\n%b\r\n" % (len(data), data))


def _write(writer: asyncio.StreamWriter, status: int, body: bytes) -> None:
    head = f"HTTP/1.1 {status} Because\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
