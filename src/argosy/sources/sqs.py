"""``sqs``: each message of an AWS SQS queue becomes one event, and is deleted once the bus holds the event.

Up to ten messages are received at a time, by long polling, and are in ``emit`` together; the next are received when
all of them are settled. While ``emit`` waits they are kept invisible to other readers. What the bus refuses is made
visible again at once. Messages of a FIFO queue are stored one after the other, and the first that fails hands the rest back,
so that their order holds.

A poll that is given up at the end of a process may still take messages along: SQS delivers them again when their
invisibility is over.
Sources: docs.aws.amazon.com "Amazon SQS API Reference" and "Amazon SQS visibility timeout"; upstream
``pkg/eventsources/sources/awssqs``.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from pydantic import Field, model_validator

from argosy.aws.client import REGION
from argosy.errors import ArgosyError, EventInvalid, EventTooLarge, SourceError
from argosy.lang import gojson
from argosy.manifests.fields import OWN_NAMESPACE, SecretKeySelector
from argosy.sources._aws import Aws, Named
from argosy.sources._base import Source, SourceConfig, SourceContext
from argosy.sources._finishing import to_the_end
from argosy.sources._http_body import raw_json
from argosy.sources._raw import Raw, Wrapped, known, tail

_MOST = 10
"""What SQS gives at a time at most."""
_INVISIBLE_SECONDS = 30
"""How long a message that nobody settles stays away; renewed while ``emit`` waits. Upstream has 120, and does not
renew: then a bus that is slow has everything delivered twice."""
_WAIT_SECONDS = 3
_ATTRIBUTE_KEYS = ("BinaryListValues", "BinaryValue", "DataType", "StringListValues", "StringValue")


class SqsConfig(SourceConfig):
    """One queue."""

    dropped: ClassVar[Mapping[str, str]] = {"namespace": f"1.0; {OWN_NAMESPACE}"}

    queue: str = Field(min_length=1)
    """The queue's name; its URL is looked up."""
    queue_account_id: str = ""
    """The account that owns the queue, where it is another one."""
    region: str = Field(pattern=f"^{REGION}$")
    """The queue's region."""
    wait_time_seconds: int = Field(0, ge=0, le=20)
    """How long one call waits for messages; 0 means 3. More means fewer calls and no later events."""
    access_key: SecretKeySelector | None = None
    """With ``secretKey``; without both, the process's own credentials count."""
    secret_key: SecretKeySelector | None = None
    """The secret key that belongs to it."""
    session_token: SecretKeySelector | None = None
    """The token that belongs to the keys, where they are temporary ones."""
    role_arn: str = Field("", alias="roleARN")
    """A role to take, with the process's own credentials; with the keys where it has none."""
    json_body: bool = False
    """Whether the message is JSON, and stands as such in ``body``; else ``body`` is its text in base64."""
    dlq: bool = False
    """Whether a message that cannot become an event stays in the queue, so that SQS moves it to the queue's
    dead-letter queue; else it is deleted."""
    endpoint: str = ""
    """The API's URL, where it is not AWS's own; ``AWS_ENDPOINT_URL_SQS`` or ``AWS_ENDPOINT_URL`` may say it, too."""

    @model_validator(mode="after")
    def _paired(self) -> SqsConfig:
        if (self.access_key is None) != (self.secret_key is None):
            raise ValueError("accessKey and secretKey go together")
        if self.session_token is not None and self.access_key is None:
            raise ValueError("sessionToken belongs to accessKey and secretKey, which are not there")
        return self


class Sqs(Source[SqsConfig]):
    """Receives the messages of a queue. An event's id is the message's."""

    kind: ClassVar[str] = "sqs"
    config = SqsConfig
    exclusive: ClassVar[bool] = False
    acknowledges: ClassVar[bool] = True
    requires: ClassVar[tuple[str, ...]] = ("httpx2",)
    extra: ClassVar[str] = "http"
    peer: ClassVar[str] = "emulator: moto"
    example: ClassVar[str] = """\
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata:
  name: sqs
spec:
  sqs:
    example:
      queue: my-queue
      region: us-east-1
      jsonBody: true
      waitTimeSeconds: 20
      accessKey:
        name: aws-secret
        key: accesskey
      secretKey:
        name: aws-secret
        key: secretkey
"""

    @classmethod
    def wrap(cls, config: SqsConfig, raw: Raw) -> Wrapped:
        known(raw, {"messageId": ""}, "property of a message of a queue")
        message = _Message(raw.headers.get("messageId", ""), "", raw.body.decode(errors="replace"), None)
        return Wrapped(_read(config, message), message.id or None)

    async def run(self, ctx: SourceContext[SqsConfig]) -> None:
        config = ctx.config
        named = Named(config.access_key, config.secret_key, config.session_token, config.role_arn)
        async with Aws(ctx, "sqs", config.region, named, config.endpoint) as aws:
            queue = await _Queue.found(ctx, aws)
            ctx.listening(f"queue {config.queue!r} of {config.region}")
            while True:
                if messages := await queue.receive():
                    await to_the_end(queue.keep(messages))


class _Message(NamedTuple):
    """A message as it was received; ``receipt`` names this delivery of it."""

    id: str
    receipt: str
    body: str
    attributes: Mapping[str, Mapping[str, Any]] | None


class _Queue:
    """One queue, and what is done with its messages."""

    def __init__(self, ctx: SourceContext[SqsConfig], aws: Aws, url: str) -> None:
        self._ctx = ctx
        self._aws = aws
        self._url = url

    @classmethod
    async def found(cls, ctx: SourceContext[SqsConfig], aws: Aws) -> _Queue:
        """The queue of the manifest. Raises SourceError."""
        wanted = {"QueueName": ctx.config.queue}
        if ctx.config.queue_account_id:
            wanted["QueueOwnerAWSAccountId"] = ctx.config.queue_account_id
        url = (await aws.ask("AmazonSQS.GetQueueUrl", wanted)).get("QueueUrl")
        if not isinstance(url, str):
            raise SourceError(f"AWS answered without the URL of queue {ctx.config.queue!r}")
        return cls(ctx, aws, url)

    async def receive(self) -> list[_Message]:
        """What there is, ten messages at most; nothing where nothing came in time."""
        seconds = self._ctx.config.wait_time_seconds or _WAIT_SECONDS
        answer = await self._ask(
            "ReceiveMessage",
            MaxNumberOfMessages=_MOST,
            VisibilityTimeout=_INVISIBLE_SECONDS,
            WaitTimeSeconds=seconds,
            MessageAttributeNames=["All"],
            _seconds=seconds + 30.0,
        )
        return [
            _Message(each["MessageId"], each["ReceiptHandle"], each.get("Body", ""), each.get("MessageAttributes"))
            for each in answer.get("Messages") or ()
        ]

    async def keep(self, messages: Sequence[_Message]) -> None:
        """Store messages, and settle each with SQS. Raises what ``emit`` raised."""
        open_ones = {message.id: message for message in messages}
        kept: list[_Message] = []
        async with self._invisible(open_ones):
            if self._ctx.config.queue.endswith(".fifo"):
                results = await self._one_by_one(messages)
            else:
                results = await asyncio.gather(*map(self._emit, messages), return_exceptions=True)
            failures = [result for result in results if isinstance(result, BaseException)]
            for message, result in zip(messages, results, strict=True):
                if result is True:
                    kept.append(message)
                if result is True or result is False:
                    open_ones.pop(message.id, None)
            if kept:
                await self._settle("DeleteMessageBatch", kept)
        if failures:
            try:
                await self._settle("ChangeMessageVisibilityBatch", open_ones.values(), VisibilityTimeout=0)
            except SourceError as error:
                self._ctx.log.debug("what the bus refused comes again in %d s: %s", _INVISIBLE_SECONDS, error)
            raise failures[0]

    async def _one_by_one(self, messages: Sequence[_Message]) -> list[bool | BaseException]:
        results: list[bool | BaseException] = []
        for message in messages:
            if results and isinstance(results[-1], BaseException):
                results.append(results[-1])
                continue
            try:
                results.append(await self._emit(message))
            except Exception as error:  # noqa: BLE001 - as gather does it: what was stored before is deleted first
                results.append(error)
        return results

    async def _emit(self, message: _Message) -> bool:
        """Whether the message is to be deleted. Raises what ``emit`` does for one that may go another time."""
        config = self._ctx.config
        try:
            await self._ctx.emit(_read(config, message), id=message.id)
        except (EventInvalid, EventTooLarge) as error:
            fate = "left to the queue's dead-letter policy" if config.dlq else "deleted"
            self._ctx.refused(f"{error} (message {message.id} of queue {config.queue!r}); {fate}")
            return not config.dlq
        return True

    @contextlib.asynccontextmanager
    async def _invisible(self, messages: Mapping[str, _Message]) -> AsyncIterator[None]:
        """While this lasts no other reader gets the messages."""

        async def renew() -> None:
            while True:
                await asyncio.sleep(_INVISIBLE_SECONDS / 3)
                try:
                    await self._settle(
                        "ChangeMessageVisibilityBatch", messages.values(), VisibilityTimeout=_INVISIBLE_SECONDS
                    )
                except ArgosyError as error:
                    # Then SQS may deliver them again; their ids let the bus see that.
                    self._ctx.log.debug("messages of queue %r may come again: %s", self._ctx.config.queue, error)

        task = asyncio.create_task(renew())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _settle(self, action: str, messages: Collection[_Message], **more: Any) -> None:
        """One batch call for ten messages at most. Raises SourceError if SQS does not do it for all."""
        entries = [
            {"Id": str(number), "ReceiptHandle": message.receipt, **more} for number, message in enumerate(messages)
        ]
        answer = await self._ask(action, Entries=entries)
        if failed := answer.get("Failed"):
            codes = ", ".join(sorted({str(each.get("Code")) for each in failed}))
            raise SourceError(f"SQS did not do {action} for {len(failed)} of {len(entries)} messages: {codes}")

    async def _ask(self, action: str, *, _seconds: float = 30.0, **parameters: Any) -> dict[str, Any]:
        return await self._aws.ask(f"AmazonSQS.{action}", {"QueueUrl": self._url, **parameters}, _seconds)


def _read(config: SqsConfig, message: _Message) -> bytes:
    """The event's data as JSON text, in upstream's shape. Raises EventInvalid if the body is not what it should be."""
    text = message.body.encode("utf-8", "surrogatepass")
    body = raw_json(text) if config.json_body else b'"%b"' % base64.b64encode(text)
    head = gojson.dumps({"messageId": message.id}, sort_keys=False)
    attributes = _attributes(message.attributes)
    return b'%b,"messageAttributes":%b,"body":%b%b}' % (head[:-1], attributes, body, tail(config.metadata))


def _attributes(found: Mapping[str, Mapping[str, Any]] | None) -> bytes:
    """Attributes as Go writes AWS's structure: every key, null where there is nothing; no attributes at all are null."""
    if not found:
        return b"null"
    return gojson.dumps({name: {key: value.get(key) for key in _ATTRIBUTE_KEYS} for name, value in found.items()})
