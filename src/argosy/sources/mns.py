"""``mns``: each message of an Alibaba Cloud Message Service queue becomes one event, and is deleted once the bus holds it.

The queue is asked with long polling for up to 16 messages at a time, which are then invisible to other readers for as long
as the queue says; for one whose event waits for the bus that time is extended. At most 64 are in ``emit`` at a time. What
could not be stored is given back at once; a message that cannot become an event is deleted and counted.

The protocol is spoken without a vendor's library: HTTP with a signature over every request.
Sources: alibabacloud.com "Message Service API reference", "Signature", "BatchReceiveMessage".
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime as dt
import email.utils
import hashlib
import hmac
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, NamedTuple
from urllib.parse import quote, urlsplit

from pydantic import Field, field_validator

from argosy import xml_document
from argosy.errors import ConfigError, EventInvalid, EventTooLarge, SourceError
from argosy.lang import gojson
from argosy.manifests.fields import SecretKeySelector
from argosy.sources._base import Source, SourceConfig, SourceContext
from argosy.sources._http_body import raw_json
from argosy.sources._http_client import HttpClient
from argosy.sources._in_flight import InFlight
from argosy.sources._raw import Raw, Wrapped, known, tail

if TYPE_CHECKING:
    import xml.etree.ElementTree as ElementTree

    import httpx2

_VERSION = "2015-06-06"
_TYPE = "text/xml;charset=utf-8"
_AT_ONCE = 16
_WAIT_SECONDS = 20
_VISIBILITY_SECONDS = 60
_SHORTEST_SECONDS = 0.5
_PARTING_SECONDS = 1.0
_LONGEST_ANSWER = 16 * 1024 * 1024


class MnsConfig(SourceConfig):
    """One queue."""

    queue: str = Field(min_length=1)
    """The queue's name."""
    endpoint: str = Field(min_length=1)
    """The account's endpoint, such as ``http://1234567890.mns.eu-central-1.aliyuncs.com``."""
    access_key: SecretKeySelector | None = None
    """A Secret's key with the AccessKey id."""
    secret_key: SecretKeySelector | None = None
    """A Secret's key with the AccessKey secret."""
    json_body: bool = False
    """Whether the message is JSON, and stands as such in ``body``; else ``body`` is its text."""

    @field_validator("endpoint")
    @classmethod
    def _address(cls, endpoint: str) -> str:
        parts = urlsplit(endpoint)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError(
                f"{endpoint!r} is no URL; write for example http://1234567890.mns.eu-central-1.aliyuncs.com"
            )
        return endpoint.rstrip("/")


class Message(NamedTuple):
    """A message as it was received. ``receipt`` allows to delete it or to keep it longer."""

    id: str
    receipt: str
    body: str
    taken: int
    until: float
    """When others may have it, in seconds since 1970."""


class Mns(Source[MnsConfig]):
    """Receives the messages of a queue; the event's id is the message's. Several processes may read one queue."""

    kind: ClassVar[str] = "mns"
    config = MnsConfig
    exclusive: ClassVar[bool] = False
    acknowledges: ClassVar[bool] = True
    requires: ClassVar[tuple[str, ...]] = ("httpx2",)
    extra: ClassVar[str] = "http"
    peer: ClassVar[str] = "double: HTTP server that checks signatures"
    example: ClassVar[str] = """\
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata:
  name: mns
spec:
  mns:
    example:
      queue: orders
      endpoint: http://1234567890.mns.eu-central-1.aliyuncs.com
      accessKey:
        name: alibaba-cloud
        key: accessKey
      secretKey:
        name: alibaba-cloud
        key: secretKey
      jsonBody: true
"""

    @classmethod
    def wrap(cls, config: MnsConfig, raw: Raw) -> Wrapped:
        known(raw, {"messageId": ""}, "property of a message of MNS")
        name = raw.headers.get("messageId", "")
        return Wrapped(_read(config, Message(name, "", raw.body.decode(errors="replace"), 1, 0.0)), name or None)

    async def run(self, ctx: SourceContext[MnsConfig]) -> None:
        async with Queue(ctx) as queue:
            await queue.look()
            ctx.listening(queue.where)
            intake = InFlight()
            await intake.run(_Reader(ctx, queue).take(intake))


class Queue(HttpClient):
    """One queue. Every call raises SourceError with the service's own code where it fails."""

    def __init__(self, ctx: SourceContext[MnsConfig]) -> None:
        super().__init__("'mns'")
        self._ctx = ctx
        self._endpoint = ctx.config.endpoint
        self._path = f"/queues/{quote(ctx.config.queue, safe='')}"
        self.where = f"queue {ctx.config.queue!r} of {urlsplit(self._endpoint).netloc}"

    async def look(self) -> None:
        """Return if the queue is there and can be read."""
        await self._call("GET", self._path)

    async def take(self, most: int) -> list[Message]:
        """Up to 16 messages, waiting for the first."""
        query = f"?numOfMessages={most}&waitseconds={_WAIT_SECONDS}"
        try:
            response = await self._call("GET", f"{self._path}/messages{query}", seconds=_WAIT_SECONDS + 10.0)
        except _Answer as answer:
            if answer.code == "MessageNotExist":
                return []
            raise
        return [_message(element) for element in _tree(response.content).iter("Message")]

    async def extend(self, message: Message, seconds: int) -> Message:
        """Keep a message for ``seconds`` from now; its receipt changes."""
        query = f"?receiptHandle={quote(message.receipt, safe='')}&visibilityTimeout={seconds}"
        response = await self._call("PUT", f"{self._path}/messages{query}")
        receipt = _tree(response.content).findtext("ReceiptHandle")
        return message._replace(receipt=receipt or message.receipt)

    async def delete(self, message: Message) -> None:
        """Delete a message."""
        await self._call("DELETE", f"{self._path}/messages?ReceiptHandle={quote(message.receipt, safe='')}")

    async def _call(self, method: str, resource: str, seconds: float = 30.0) -> httpx2.Response:
        import httpx2

        config = self._ctx.config
        if config.access_key is None or config.secret_key is None:
            raise ConfigError("mns needs accessKey and secretKey")
        # Read for every call, so that new ones are taken up.
        key, secret = self._ctx.secret(config.access_key), self._ctx.secret(config.secret_key)
        headers = {
            "Content-Type": _TYPE,
            "Date": email.utils.format_datetime(self._ctx.clock.now().astimezone(dt.UTC), usegmt=True),
            "x-mns-version": _VERSION,
        }
        headers["Authorization"] = f"MNS {key}:{signature(method, resource, headers, secret)}"
        try:
            response = await self._answer(method, f"{self._endpoint}{resource}", headers=headers, timeout=seconds)
        except httpx2.TimeoutException as error:
            raise SourceError(f"{self.where} has not answered in time") from error
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            raise SourceError(f"{self.where} cannot be reached: {type(error).__name__}") from error
        if not response.is_success:
            raise _Answer(self.where, response)
        return response


class _Answer(SourceError):
    """The service answered something else than success; ``code`` is its own word for it."""

    def __init__(self, where: str, response: httpx2.Response) -> None:
        try:
            self.code = _tree(response.content).findtext("Code") or ""
        except SourceError:
            self.code = ""
        hint = {401: "; check accessKey", 403: "; check accessKey, secretKey, their rights, and the clock"}
        said = hint.get(response.status_code, "; make the queue, or mend queue" if self.code == "QueueNotExist" else "")
        super().__init__(f"{where} answered {response.status_code} {self.code}".rstrip() + said)


class _Reader:
    """One run's work on its queue."""

    def __init__(self, ctx: SourceContext[MnsConfig], queue: Queue) -> None:
        self._ctx = ctx
        self._queue = queue

    async def take(self, intake: InFlight) -> None:
        """Take messages while there is room for them, for ever."""
        await intake.free()
        while True:
            # Broken off where the source ends: the service keeps what it has not handed out.
            messages = await self._queue.take(min(_AT_ONCE, intake.left))
            for message in messages:
                intake.begin(self._keep(message))
                await intake.free()

    async def _keep(self, message: Message) -> None:
        held, over = [message], asyncio.Event()
        renewing = asyncio.create_task(self._renew(held, over))
        refused = ""
        try:
            await self._ctx.emit(_read(self._ctx.config, message), id=message.id or None)
        except (EventInvalid, EventTooLarge) as error:
            refused = str(error)
        except BaseException:
            over.set()
            await renewing
            # Where it fails, the message comes back when its time is up.
            with contextlib.suppress(SourceError, TimeoutError):
                async with asyncio.timeout(_PARTING_SECONDS):
                    await self._queue.extend(held[0], 1)
            raise
        # A call under way is waited for: the receipt of its answer is the one that counts.
        over.set()
        await renewing
        if refused:
            where = f"message {message.id} of {self._queue.where}, received {message.taken} times"
            self._ctx.refused(f"{refused} ({where}); deleted")
        try:
            await self._queue.delete(held[0])
        except _Answer as answer:
            # It is somebody else's by now, comes again, and is known by its id.
            if answer.code not in ("MessageNotExist", "ReceiptHandleError"):
                raise

    async def _renew(self, held: list[Message], over: asyncio.Event) -> None:
        left = held[0].until - self._ctx.clock.now().timestamp()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(_SHORTEST_SECONDS, left / 2)):
                    await over.wait()
                return
            with contextlib.suppress(SourceError):
                held[0] = await self._queue.extend(held[0], _VISIBILITY_SECONDS)
            left = _VISIBILITY_SECONDS


def signature(method: str, resource: str, headers: Mapping[str, str], secret: str) -> str:
    """What signs a request without a body."""
    ours = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers) if name.startswith("x-mns-"))
    text = f"{method}\n\n{headers.get('Content-Type', '')}\n{headers['Date']}\n{ours}{resource}"
    return base64.b64encode(hmac.digest(secret.encode(), text.encode(), hashlib.sha1)).decode()


def _tree(content: bytes) -> ElementTree.Element:
    """The answer's XML."""
    if len(content) > _LONGEST_ANSWER:
        raise SourceError("MNS answered with something that is no XML of it")
    try:
        return xml_document.read(content)
    except ValueError as error:
        raise SourceError(f"MNS answered with something that {error}") from error


def _message(element: ElementTree.Element) -> Message:
    def text(name: str) -> str:
        return element.findtext(name) or ""

    def number(name: str) -> int:
        return int(text(name)) if text(name).isdigit() else 0

    until = number("NextVisibleTime") / 1000
    return Message(text("MessageId"), text("ReceiptHandle"), text("MessageBody"), number("DequeueCount"), until)


def _read(config: MnsConfig, message: Message) -> bytes:
    """The event's data as JSON text, in upstream's shape. Raises EventInvalid."""
    body = raw_json(message.body.encode()) if config.json_body else gojson.dumps(message.body)
    return b'{"messageId":%b,"body":%b%b}' % (gojson.dumps(message.id), body, tail(config.metadata))
