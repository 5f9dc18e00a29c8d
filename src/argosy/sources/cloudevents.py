"""``cloudevents`` (ours): CloudEvents 1.0 over HTTP, in binary, structured and batched mode; each becomes one event.

The event's data hold the received one as ``event``, in the shape of the JSON format whatever the mode was: its
attributes, and ``data`` (or ``data_base64`` where that is neither JSON nor text). ``source`` and ``id`` together
name it, as the specification says. ``allowedOrigins`` answers the validation request (OPTIONS) of senders.
Source: github.com/cloudevents/spec v1.0.2, "HTTP Protocol Binding", "JSON Event Format", "HTTP 1.1 Web Hooks".
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import unquote

from pydantic import Field

from argosy.errors import ConfigError, EventInvalid
from argosy.lang import gojson
from argosy.sources import _hooked
from argosy.sources._base import Source, SourceContext
from argosy.sources._hooked import HookedConfig
from argosy.sources._http_body import raw_json
from argosy.sources._raw import Raw, Wrapped, tail

if TYPE_CHECKING:
    from argosy.sources._http import Request, Response

_STRUCTURED, _BATCHED = "application/cloudevents+json", "application/cloudevents-batch+json"
_NAME = re.compile(r"[a-z0-9]+")
_REQUIRED = ("specversion", "id", "source", "type")


class CloudeventsConfig(HookedConfig):
    """One endpoint that takes CloudEvents."""

    allowed_origins: list[str] = Field(default_factory=list)
    """Who may send, as they name themselves in ``WebHook-Request-Origin``; ``*`` for all. Nobody is answered if empty."""


class Cloudevents(Source[CloudeventsConfig]):
    """Receives CloudEvents. One that is sent again has the id that it had."""

    kind: ClassVar[str] = "cloudevents"
    config = CloudeventsConfig
    exclusive: ClassVar[bool] = False
    acknowledges: ClassVar[bool] = True
    peer: ClassVar[str] = "real: HTTP clients"
    example: ClassVar[str] = """\
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata:
  name: cloudevents
spec:
  cloudevents:
    example:
      webhook:
        port: "12000"
        endpoint: /events
        method: POST
      filter:
        expression: event.type == "com.example.order.created"
"""

    @classmethod
    def wrap(cls, config: CloudeventsConfig, raw: Raw) -> Wrapped:
        from argosy.sources._http_messages import recorded

        found = _events(config, recorded(raw, "POST"))
        if len(found) != 1:
            raise ConfigError(f"the batch makes {len(found)} events; give a recording with one")
        return found[0]

    async def run(self, ctx: SourceContext[CloudeventsConfig]) -> None:
        from argosy.sources._http import SUCCESS, Response

        async def answer(request: Request) -> Response:
            if request.method == "OPTIONS":
                return _validated(ctx.config, request)
            if request.method != "POST":
                return Response(405, "CloudEvents are posted", headers=(("Allow", "POST, OPTIONS"),))
            for data, name in _events(ctx.config, request):
                await ctx.emit(data, id=name)
            return SUCCESS

        await _hooked.serve(ctx, answer)


def _validated(config: CloudeventsConfig, request: Request) -> Response:
    """Whether a sender may send: the answer to its question, which the specification calls validation."""
    from argosy.sources._http import Response

    origin = request.header("Webhook-Request-Origin")
    if not origin or not ({"*", origin} & set(config.allowed_origins)):
        return Response(403, "this origin is not allowed; name it in allowedOrigins")
    said = [("Allow", "POST, OPTIONS"), ("WebHook-Allowed-Origin", "*" if "*" in config.allowed_origins else origin)]
    if request.header("Webhook-Request-Rate"):
        said.append(("WebHook-Allowed-Rate", "*"))
    return Response(200, headers=tuple(said))


def _events(config: CloudeventsConfig, request: Request) -> list[Wrapped]:
    """All events of a request, checked before the first one is kept."""
    media = request.media_type
    if media == _STRUCTURED:
        found = [_hooked.document(request.body)]
    elif media == _BATCHED:
        found = gojson.loads(raw_json(request.body))
        if not isinstance(found, list):
            raise EventInvalid("the batch is no JSON array")
    elif media.startswith("application/cloudevents"):
        raise EventInvalid(f"the format {media!r} is not known; send {_STRUCTURED}, {_BATCHED}, or headers ce-…")
    else:
        found = [_binary(request, media)]
    end = tail(config.metadata)
    return [_wrapped(event, end) for event in found]


def _wrapped(event: Any, end: bytes) -> Wrapped:
    if not isinstance(event, dict):
        raise EventInvalid("the batch holds something that is no CloudEvent")
    for name in _REQUIRED:
        if not isinstance(event.get(name), str) or not event[name]:
            raise EventInvalid(f"the CloudEvent has no {name!r}, or one that is no text")
    if event["specversion"] != "1.0":
        raise EventInvalid("the CloudEvent is of another version than 1.0")
    for name in event:
        if not _NAME.fullmatch(name) and name != "data_base64":
            raise EventInvalid(f"{name!r} is no name of an attribute; there are a-z and 0-9")
    if "data" in event and "data_base64" in event:
        raise EventInvalid("the CloudEvent has both 'data' and 'data_base64'")
    origin = hashlib.sha256(event["source"].encode()).hexdigest()[:16]
    return Wrapped(b'{"event":%b%b}' % (gojson.dumps(event, sort_keys=False), end), f"{origin}-{event['id']}")


def _binary(request: Request, media: str) -> dict[str, Any]:
    event: dict[str, Any] = {}
    for name, values in request.headers.items():
        if name.startswith("Ce-"):
            event[name.removeprefix("Ce-").lower()] = _decoded(values[0])
    if not event:
        raise EventInvalid(f"the request is no CloudEvent: it has neither headers ce-… nor the type {_STRUCTURED}")
    for name in ("data", "data_base64", "datacontenttype"):
        event.pop(name, None)
    if media:
        event["datacontenttype"] = request.header("Content-Type")
    event.update(_payload(request.body, media))
    return event


def _payload(body: bytes, media: str) -> Mapping[str, Any]:
    if not body:
        return {}
    if media in ("", "application/json", "text/json") or media.endswith("+json"):
        return {"data": gojson.loads(raw_json(body))}
    if media.startswith("text/") or media in ("application/xml", "application/yaml") or media.endswith("+xml"):
        try:
            return {"data": body.decode()}
        except UnicodeDecodeError:
            pass  # another character set: the bytes as they are
    return {"data_base64": base64.b64encode(body).decode()}


def _decoded(text: str) -> str:
    """A header's value: percent-encoded where it is not plain, and perhaps quoted."""
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = re.sub(r"\\(.)", r"\1", text[1:-1])
    return unquote(text, errors="replace")
