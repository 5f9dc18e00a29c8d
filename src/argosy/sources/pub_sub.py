"""``pubSub``: each message of a Google Cloud Pub/Sub subscription becomes one event, and is acknowledged once the bus
holds it.

The subscription is used where it is there, and made where a topic is given; the topic is made, too. At most 64 messages
are in ``emit`` at a time, and no more are pulled; the deadline of those whose events wait for the bus is extended, so a
slow bus makes no second event. What could not be stored is given back at once. A message that cannot become an event is
given back where the subscription has a dead-letter topic, which then gets it, and else acknowledged; both are counted.

``_pub_sub_api`` calls the service, ``_pub_sub_messages`` knows its messages, ``_google_identity`` who we are.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime as dt
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field, model_validator

from argosy.errors import ConfigError, EventInvalid, EventTooLarge, SourceError
from argosy.lang import gojson
from argosy.manifests.fields import SecretKeySelector
from argosy.sources._base import Source, SourceConfig, SourceContext
from argosy.sources._http_body import raw_json
from argosy.sources._in_flight import InFlight
from argosy.sources._pub_sub_api import PubSub, Refusal
from argosy.sources._raw import Raw, Wrapped, tail

_DEADLINE_SECONDS = 60
_PULL_SECONDS = 100.0
_PARTING_SECONDS = 1.0
_DELETED = "_deleted-topic_"
_SUBSCRIBER = "/google.pubsub.v1.Subscriber"
_DEADLINE = (f"{_SUBSCRIBER}/ModifyAckDeadline", "ModifyAckDeadlineRequest")
_WORKLOAD = "1.0; leave 'credentialSecret' out"


class PubSubConfig(SourceConfig):
    """One subscription. ``topic`` or ``subscriptionID`` is needed."""

    dropped: ClassVar[Mapping[str, str]] = {
        "credentialsFile": "1.0; write 'credentialSecret'",
        "enableWorkflowIdentity": _WORKLOAD,
        "enableWorkloadIdentity": _WORKLOAD,
    }

    project_id: str = Field(default="", alias="projectID")
    """The project of the subscription; empty means that of the credentials, or of the machine."""
    topic_project_id: str = Field(default="", alias="topicProjectID")
    """The project of the topic, where it is another one."""
    topic: str = ""
    """The topic: a subscription that is missing is made for it, and one that is there must be of it."""
    subscription_id: str = Field(default="", alias="subscriptionID")
    """The subscription; empty means one whose name is made of the event's name and this block, as in Argo Events, so that
    it is another one whenever the block changes."""
    credential_secret: SecretKeySelector | None = None
    """A Secret's key with the JSON of a service account's key. Without it: ``GOOGLE_APPLICATION_CREDENTIALS``, or the
    identity that the machine or GKE's workload identity has."""
    delete_subscription_on_finish: bool = False
    """Delete the subscription when the source is stopped. What is published from then on is not received."""
    json_body: bool = False
    """Whether the message is JSON, and stands as such in ``body``; else ``body`` is its bytes in base64."""

    @model_validator(mode="after")
    def _named(self) -> PubSubConfig:
        if not self.topic and not self.subscription_id:
            raise ValueError("needs topic or subscriptionID")
        if self.topic_project_id and not self.topic:
            raise ValueError("topicProjectID needs topic")
        return self


class PubSubSource(Source[PubSubConfig]):
    """Receives the messages of a subscription; the event's id is the message's."""

    kind: ClassVar[str] = "pubSub"
    type: ClassVar[str] = "pubsub"
    config = PubSubConfig
    exclusive: ClassVar[bool] = True
    acknowledges: ClassVar[bool] = True
    requires: ClassVar[tuple[str, ...]] = ("grpclib", "google.protobuf", "httpx2", "cryptography")
    extra: ClassVar[str] = "gcp"
    peer: ClassVar[str] = "emulator: pstest, of Google's Go library"
    example: ClassVar[str] = """\
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata:
  name: pub-sub
spec:
  pubSub:
    example:
      projectID: my-project
      topic: orders
      subscriptionID: argosy-orders
      jsonBody: true
      credentialSecret:
        name: google-cloud
        key: key.json
"""

    @classmethod
    def wrap(cls, config: PubSubConfig, raw: Raw) -> Wrapped:
        own = {"messageId": "", "publishTime": ""}
        attributes = {name: value for name, value in raw.headers.items() if name not in own}
        name, time = raw.headers.get("messageId", ""), raw.headers.get("publishTime", "1970-01-01T00:00:00Z")
        try:
            when = dt.datetime.fromisoformat(time).astimezone(dt.UTC)
        except ValueError as error:
            raise EventInvalid("publishTime is no time; write for example 2026-11-23T10:00:00Z") from error
        published = _go_time(int(when.replace(microsecond=0).timestamp()), when.microsecond * 1000)
        return Wrapped(_data(config, name, raw.body, attributes, published), name or None)

    async def run(self, ctx: SourceContext[PubSubConfig]) -> None:
        async with PubSub(ctx) as api:
            name = await _subscription(ctx, api)
            ctx.listening(f"subscription {name!r} of Pub/Sub at {api.where}")
            try:
                await _Intake(ctx, api, name).receive()
            except asyncio.CancelledError:
                if ctx.config.delete_subscription_on_finish:
                    await _deleted(ctx, api, name)
                raise


async def _subscription(ctx: SourceContext[PubSubConfig], api: PubSub) -> str:
    """The subscription's full name; it is there, and of the topic that the manifest names."""
    config = ctx.config
    project = config.project_id or await api.project()
    topic = f"projects/{config.topic_project_id or project}/topics/{config.topic}" if config.topic else ""
    name = f"projects/{project}/subscriptions/{config.subscription_id or _made_name(ctx, project)}"
    if await _exists(api, name):
        if topic:
            found = await api.call(f"{_SUBSCRIBER}/GetSubscription", "GetSubscriptionRequest", subscription=name)
            if found.topic != topic:
                other = "a topic that was deleted" if found.topic == _DELETED else repr(found.topic)
                raise ConfigError(f"subscription {name!r} is of {other}, not of {topic!r}; delete it, or mend topic")
        return name
    if not topic:
        raise ConfigError(f"there is no subscription {name!r}; give topic, and it is made")
    # Pub/Sub says that it does not know the topic, if it is so.
    create = (f"{_SUBSCRIBER}/CreateSubscription", "Subscription")
    try:
        await api.call(*create, name=name, topic=topic)
    except Refusal as error:
        if error.status == "ALREADY_EXISTS":
            return name
        if error.status != "NOT_FOUND":
            raise
        with _passing_over("ALREADY_EXISTS"):
            await api.call("/google.pubsub.v1.Publisher/CreateTopic", "Topic", name=topic)
        with _passing_over("ALREADY_EXISTS"):
            await api.call(*create, name=name, topic=topic)
    return name


async def _exists(api: PubSub, name: str) -> bool:
    try:
        if api.emulated:
            await api.call(f"{_SUBSCRIBER}/GetSubscription", "GetSubscriptionRequest", subscription=name)
            return True
        # Who may pull need not be allowed to look at the subscription.
        wanted = "pubsub.subscriptions.consume"
        method = "/google.iam.v1.IAMPolicy/TestIamPermissions"
        answer = await api.call(method, "TestIamPermissionsRequest", resource=name, permissions=[wanted])
    except Refusal as error:
        if error.status == "NOT_FOUND":
            return False
        raise
    if wanted not in answer.permissions:
        raise ConfigError(
            f"the credentials may not pull from {name!r}; grant them {wanted!r} (roles/pubsub.subscriber)"
        )
    return True


async def _deleted(ctx: SourceContext[PubSubConfig], api: PubSub, name: str) -> None:
    try:
        method = f"{_SUBSCRIBER}/DeleteSubscription"
        await api.call(method, "DeleteSubscriptionRequest", seconds=_PARTING_SECONDS, subscription=name)
    except SourceError as error:
        ctx.log.warning("the subscription stays, though deleteSubscriptionOnFinish says otherwise: %s", error)


@contextlib.contextmanager
def _passing_over(status: str) -> Any:
    try:
        yield
    except Refusal as error:
        if error.status != status:
            raise


class _Intake:
    """One run's work on its subscription. ``_held`` are the messages whose deadline is ours to extend."""

    def __init__(self, ctx: SourceContext[PubSubConfig], api: PubSub, name: str) -> None:
        self._ctx = ctx
        self._api = api
        self._name = name
        self._held: set[str] = set()
        self._intake = InFlight()
        self._stored: list[str] = []
        self._telling = asyncio.Lock()

    async def receive(self) -> None:
        """Until cancelled, or until a call or an emit fails; what is under way then is finished."""
        extending = asyncio.create_task(self._extend())
        try:
            await self._intake.run(self._pull())
        finally:
            extending.cancel()
            await asyncio.gather(extending, return_exceptions=True)
            if self._held:
                # Broken off, or not to be had any more: others may have them at once.
                with contextlib.suppress(SourceError):
                    await self._deadline(0, *self._held, seconds=_PARTING_SECONDS)

    async def _pull(self) -> None:
        await self._intake.free()
        while True:
            pulling = asyncio.ensure_future(self._pulled(self._intake.left))
            try:
                received = await asyncio.shield(pulling)
            except asyncio.CancelledError:
                # Messages may be on their way to us: they would be kept from others until their deadline.
                with contextlib.suppress(SourceError, TimeoutError):
                    async with asyncio.timeout(_PARTING_SECONDS):
                        self._held |= {each.ack_id for each in await pulling}
                raise
            if not received:
                continue
            self._held |= {each.ack_id for each in received}
            await self._deadline(_DEADLINE_SECONDS, *(each.ack_id for each in received))
            for each in received:
                self._intake.begin(self._keep(each))
                await self._intake.free()

    async def _pulled(self, most: int) -> list[Any]:
        try:
            answer = await self._api.call(
                f"{_SUBSCRIBER}/Pull", "PullRequest", seconds=_PULL_SECONDS, subscription=self._name, max_messages=most
            )
        except Refusal as error:
            if error.status == "DEADLINE_EXCEEDED":  # there was nothing to deliver
                return []
            raise
        return list(answer.received_messages)

    async def _keep(self, received: Any) -> None:
        message, refused = received.message, ""
        try:
            await self._ctx.emit(_read(self._ctx.config, message), id=message.message_id or None)
        except (EventInvalid, EventTooLarge) as error:
            refused = str(error)
        if refused:
            # Pub/Sub counts deliveries only where it has a dead-letter topic.
            moved = bool(received.delivery_attempt)
            done = "given back for its dead-letter topic" if moved else "acknowledged and dropped"
            self._ctx.refused(f"{refused} (message {message.message_id!r} of {self._name!r}); {done}")
            if moved:
                self._held.discard(received.ack_id)
                await self._deadline(0, received.ack_id)
                return
        await self._acknowledge(received.ack_id)

    async def _acknowledge(self, ack_id: str) -> None:
        """Tell that a message is kept, in one call with those that finished while another call was under way."""
        self._stored.append(ack_id)
        async with self._telling:
            if ack_id not in self._stored:
                return
            ids, self._stored = self._stored, []
            await self._api.call(
                f"{_SUBSCRIBER}/Acknowledge", "AcknowledgeRequest", subscription=self._name, ack_ids=ids
            )
            self._held.difference_update(ids)

    async def _extend(self) -> None:
        while True:
            await asyncio.sleep(_DEADLINE_SECONDS / 3)
            if self._held:
                # The next time may be better; where none is, the messages come again, and are known by their ids.
                with contextlib.suppress(SourceError):
                    await self._deadline(_DEADLINE_SECONDS, *self._held)

    async def _deadline(self, deadline: int, *ids: str, **more: Any) -> None:
        more |= {"subscription": self._name, "ack_deadline_seconds": deadline, "ack_ids": ids}
        await self._api.call(*_DEADLINE, **more)


def _read(config: PubSubConfig, message: Any) -> bytes:
    published = _go_time(message.publish_time.seconds, message.publish_time.nanos)
    return _data(config, message.message_id, message.data, dict(message.attributes), published)


def _data(config: PubSubConfig, name: str, body: bytes, attributes: Mapping[str, str], published: str) -> bytes:
    """The event's data as JSON text, in upstream's shape. Raises EventInvalid if the body is not what it should be."""
    text = b"null"
    if body:
        text = raw_json(body) if config.json_body else b'"%b"' % base64.b64encode(body)
    told = gojson.dumps(dict(sorted(attributes.items()))) if attributes else b"null"
    head, time = gojson.dumps(name), gojson.dumps(published)
    return b'{"id":%b,"body":%b,"attributes":%b,"publishTime":%b%b}' % (head, text, told, time, tail(config.metadata))


def _go_time(seconds: int, nanos: int) -> str:
    """A time as Go writes it down: ``2026-11-23 10:00:00.5 +0000 UTC``."""
    when = dt.datetime(1970, 1, 1) + dt.timedelta(seconds=seconds)
    fraction = f".{nanos:09}".rstrip("0") if nanos else ""
    return f"{when:%Y-%m-%d %H:%M:%S}{fraction} +0000 UTC"


def _made_name(ctx: SourceContext[PubSubConfig], project: str) -> str:
    """The subscription's name where the manifest gives none: Argo Events' own, so that its subscriptions are taken over."""
    config = ctx.config
    block: dict[str, Any] = {
        "projectID": project,
        "topicProjectID": config.topic_project_id or project,
        "topic": config.topic,
        "subscriptionID": "",
    }
    if (secret := config.credential_secret) is not None:
        named = {"name": secret.name} if secret.name else {}
        optional = {} if secret.optional is None else {"optional": secret.optional}
        block["credentialSecret"] = {**named, "key": secret.key, **optional}
    block |= {"deleteSubscriptionOnFinish": True} if config.delete_subscription_on_finish else {}
    block |= {"jsonBody": True} if config.json_body else {}
    block |= {"metadata": dict(sorted(config.metadata.items()))} if config.metadata else {}
    if config.filter is not None:
        block["filter"] = {"expression": config.filter.expression} if config.filter.expression else {}
    return f"{ctx.event_name}-{_fnv(ctx.event_name.encode() + gojson.dumps(block, sort_keys=False))}"


def _fnv(text: bytes) -> int:
    """FNV-1a of 32 bits."""
    value = 0x811C9DC5
    for byte in text:
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return value
