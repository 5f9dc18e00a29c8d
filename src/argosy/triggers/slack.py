"""The ``slack`` trigger: one message per action, by the Web API's ``chat.postMessage``.

Connections are kept between actions. Slack knows no idempotency key, so a message whose answer got lost is posted again; the action's id
stands in the message's metadata (``argosy_action``), by which an app can tell. What Slack refuses is refused for good; what it could not do just
now is tried again, after the time that it names.

Messages with the same ``messageAggregationKey`` make a thread: the first stands in the channel, the others answer it. Which one was the first is
kept on the bus (upstream keeps it in the process), for the thousand keys that were used last.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakValueDictionary

import orjson
from pydantic import Field, field_validator

from argosy.errors import BusError, Rejected, TriggerError
from argosy.manifests.fields import OURS, OWN_NAMESPACE, Model, SecretKeySelector, TriggerParameter
from argosy.triggers import _http
from argosy.triggers._base import Action, Outcome, Trigger, TriggerConfig, TriggerContext
from argosy.triggers._http_clients import NO_TLS, Clients, of_environment

if TYPE_CHECKING:
    import httpx2

_API = "https://slack.com/api"
_SECONDS = 30.0
_MOST_BYTES = 256 * 1024
_MOST_THREADS = 1000
_EMOJI = re.compile(r":[\w+'-]+(::skin-tone-[2-6])?:")
_LATER = frozenset(
    ("fatal_error", "internal_error", "service_unavailable", "request_timeout", "ratelimited", "rate_limited")
)
_REMEDIES = {
    "channel_not_found": "there is no such channel, or the app may not see it; invite the app to the channel",
    "not_in_channel": "invite the app to the channel",
    "is_archived": "the channel is archived",
    "invalid_auth": "the token is not valid; see slackToken",
    "not_authed": "the token is empty; see slackToken",
    "account_inactive": "the token's app or user is gone; see slackToken",
    "token_revoked": "the token was revoked; see slackToken",
    "token_expired": "the token has expired; see slackToken",
    "missing_scope": "the app lacks the scope chat:write (or chat:write.customize for a sender)",
    "no_text": "give message, attachments or blocks",
    "msg_too_long": "the message is too long",
}


class SlackThread(Model):
    """How messages make threads."""

    message_aggregation_key: str = ""
    """Messages with the same key are one thread. Empty means no thread."""
    broadcast_message_to_channel: bool = False
    """Whether the answers of a thread are shown in the channel, too."""


class SlackSender(Model):
    """Under which name and face a message appears; the app needs the scope ``chat:write.customize``."""

    username: str = ""
    """The name that the message is under."""
    icon: str = ""
    """An emoji such as ``:rocket:``, or the URL of a picture."""

    @field_validator("icon")
    @classmethod
    def _known(cls, icon: str) -> str:
        if icon and not _EMOJI.fullmatch(icon) and not icon.startswith(("https://", "http://")):
            raise ValueError(f"{icon!r} is no emoji such as ':rocket:' and no URL of a picture")
        return icon


class SlackConfig(TriggerConfig):
    """The ``slack`` block."""

    dropped: ClassVar[Mapping[str, str]] = {"namespace": f"1.0; {OWN_NAMESPACE}"}

    parameters: list[TriggerParameter] = Field(default_factory=list)
    """Values out of events that are set on this block before it is used."""
    slack_token: SecretKeySelector
    """The app's bot token (``xoxb-…``), which needs the scope ``chat:write``."""
    channel: str = ""
    """A channel's name, with ``#`` or without, or its id; a user's id for a direct message."""
    message: str = ""
    """The text, in Slack's own markup."""
    attachments: str = ""
    """A JSON array of attachments, as text."""
    blocks: str = ""
    """A JSON array of blocks, as text."""
    thread: SlackThread = Field(default_factory=SlackThread)
    """The thread that the message goes to."""
    sender: SlackSender = Field(default_factory=SlackSender)
    """As whom the message is posted."""
    api_url: str = Field("", alias="apiURL", json_schema_extra=OURS)
    """Where the Web API is, for example ``https://slack-gov.com/api``; empty means Slack's own."""


class SlackTrigger(Trigger[SlackConfig]):
    """Posts a message to a Slack channel."""

    kind: ClassVar[str] = "slack"
    config = SlackConfig
    requires: ClassVar[tuple[str, ...]] = ("httpx2",)
    extra: ClassVar[str] = "http"
    peer: ClassVar[str] = "double: Slack's documented Web API"
    example: ClassVar[str] = """\
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata:
  name: slack
spec:
  dependencies:
    - name: alert
      eventSourceName: alertmanager
      eventName: alerts
  triggers:
    - template:
        name: tell
        slack:
          slackToken:
            name: slack
            key: token
          channel: '#operations'
          message: An alert
          thread:
            messageAggregationKey: alerts
          parameters:
            - src:
                dependencyName: alert
                dataTemplate: '*{{ .Input.labels.alertname }}* is {{ .Input.status }}'
              dest: message
            - src:
                dependencyName: alert
                dataKey: fingerprint
              dest: thread.messageAggregationKey
"""

    def __init__(self, ctx: TriggerContext) -> None:
        super().__init__(ctx)
        self._clients = Clients()
        self._threads = _Threads(ctx)

    async def __aexit__(self, *exc: object) -> None:
        await self._clients.close()

    async def fire(self, config: SlackConfig, action: Action) -> Outcome:
        message = _message(config, action)
        key = config.thread.message_aggregation_key
        async with self._threads.of(message["channel"], key) as thread:
            if thread.first:
                message["thread_ts"] = thread.first
                message["reply_broadcast"] = config.thread.broadcast_message_to_channel
            answer = await self._post(config, message)
            thread.first = thread.first or str(answer.get("ts") or "")
        where = str(answer.get("channel") or message["channel"])
        word = "answered in a thread of" if "thread_ts" in message else "posted to"
        return Outcome(f"{word} channel {message['channel']!r}", {"channel": where, "ts": str(answer.get("ts") or "")})

    async def _post(self, config: SlackConfig, message: dict[str, Any]) -> dict[str, Any]:
        url = (config.api_url or _API).rstrip("/") + "/chat.postMessage"
        what = f"POST {_http.place(url)}"
        token = self.ctx.secret(config.slack_token)
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json; charset=utf-8"}
        try:
            async with asyncio.timeout(_SECONDS), self._clients.use(NO_TLS, of_environment(url), "") as client:
                with _http.sentences(what):
                    request = client.build_request("POST", url, headers=headers, content=orjson.dumps(message))
                    response, raw = await _http.ask(client, request, _MOST_BYTES, private=["authorization"])
        except TimeoutError as error:
            raise TriggerError(f"{what} did not answer within {_SECONDS:g} s") from error
        # What a proxy or a gateway says back may quote the request.
        return _judged(response, raw.replace(token.encode(), "…".encode()), what)


def _message(config: SlackConfig, action: Action) -> dict[str, Any]:
    """What ``chat.postMessage`` is sent. Raises Rejected where it could not be posted."""
    channel = config.channel.removeprefix("#")
    if not channel:
        raise Rejected("slack: channel is empty; give it in the block or by a parameter")
    message: dict[str, Any] = {"channel": channel}
    if config.message:
        message["text"] = config.message
    for name, text in (("attachments", config.attachments), ("blocks", config.blocks)):
        if text:
            message[name] = _array(name, text)
    if len(message) == 1:
        raise Rejected("slack: there is nothing to post; give message, attachments or blocks")
    if config.sender.username:
        message["username"] = config.sender.username
    if icon := config.sender.icon:
        message["icon_emoji" if icon.startswith(":") else "icon_url"] = icon
    message["metadata"] = {"event_type": "argosy_action", "event_payload": {"action_id": action.id}}
    return message


def _array(name: str, text: str) -> list[Any]:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Rejected(f"slack: {name} is not JSON: {error}") from error
    if not isinstance(found, list):
        raise Rejected(f"slack: {name} must be a JSON array")
    return found


def _judged(response: httpx2.Response, raw: bytes, what: str) -> dict[str, Any]:
    """Slack's answer if it says ok; raises what it means if not."""
    wait = response.headers.get("Retry-After")
    if response.status_code == 429 or response.status_code >= 500:
        raise _http.again(f"{what} answered {response.status_code}", wait)
    try:
        answer = orjson.loads(raw)
    except orjson.JSONDecodeError:
        answer = None
    if not isinstance(answer, dict) or not isinstance(answer.get("ok"), bool):
        # Not Slack: a proxy, or an address that is another service's.
        raise TriggerError(f"{what} answered {response.status_code} with something else than Slack's JSON")
    if answer["ok"]:
        return answer
    word = str(answer.get("error") or "no reason")
    details = [str(each) for each in (answer.get("response_metadata") or {}).get("messages") or ()]
    said = f"Slack says {word}" + "".join(f": {each}" for each in details[:3])
    if remedy := _REMEDIES.get(word):
        said += f": {remedy}"
    raise _http.again(said, wait) if word in _LATER else Rejected(said)


class _Thread:
    """One thread while a message of it is posted."""

    def __init__(self, first: str) -> None:
        self.first = first
        """The time stamp of the message that it hangs on; empty where there is none yet."""


class _Threads:
    """Which message each thread hangs on."""

    _ENTRY = "threads"

    def __init__(self, ctx: TriggerContext) -> None:
        self._bucket = ctx.bucket
        self._log = ctx.log
        self._known: dict[str, str] = {}
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @contextlib.asynccontextmanager
    async def of(self, channel: str, key: str) -> AsyncIterator[_Thread]:
        """The thread of this key. Messages of one thread come after each other, so that two cannot both be its first."""
        if not key:
            yield _Thread("")
            return
        name = f"{channel} {key}"
        lock = self._locks.setdefault(name, asyncio.Lock())
        async with lock:
            found = (await self._read())[1].get(name, "")
            thread = _Thread(found)
            yield thread
            if thread.first != found:
                try:
                    await self._write(name, thread.first)
                except BusError as error:
                    # The message is posted: an action that fails now would post it again.
                    self._log.warning("the thread of messageAggregationKey %r could not be kept: %s", key, error)

    async def _read(self) -> tuple[int, dict[str, str]]:
        entry = await self._bucket.get(self._ENTRY) if self._bucket is not None else None
        if entry is None:
            return 0, dict(self._known)
        return entry.revision, orjson.loads(entry.value)

    async def _write(self, name: str, first: str) -> None:
        while True:
            revision, known = await self._read()
            if name in known:  # another process began the thread meanwhile
                return
            self._known = {**dict(list(known.items())[-(_MOST_THREADS - 1) :]), name: first}
            if self._bucket is None:
                return
            try:
                await self._bucket.put(self._ENTRY, orjson.dumps(self._known), revision=revision)
                return
            except BusError:
                if (await self._read())[0] == revision:
                    raise  # else somebody wrote in between
