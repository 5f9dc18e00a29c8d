"""``webhook``: each HTTP request becomes one event; the caller reads 200 only once the bus holds it.

The shared server (``_http``) has checked path, token, method and size before a request comes here; this file
turns it into ``{"header": …, "body": …, "metadata": …}`` and waits for ``emit``. While the bus is away
callers get 503 after a bounded wait.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, field_validator

from argosy.errors import EventInvalid
from argosy.event import new_id
from argosy.lang import gojson
from argosy.manifests.fields import OURS
from argosy.sources._base import Source, SourceConfig, SourceContext
from argosy.sources._http_body import raw_json
from argosy.sources._http_context import WebhookContext, route
from argosy.sources._http_reply import Replies, Reply
from argosy.sources._raw import Raw, Wrapped, tail

if TYPE_CHECKING:
    from argosy.sources._http import Request, Response

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


class WebhookConfig(WebhookContext, SourceConfig):
    """One endpoint. An empty ``method`` means POST."""

    reply: Reply | None = Field(None, json_schema_extra=OURS)
    """What is answered once the event is kept; without it ``success``."""

    @field_validator("method")
    @classmethod
    def _known(cls, method: str) -> str:
        if method and method.upper() not in _METHODS:
            raise ValueError(f"{method!r} is not one of {', '.join(_METHODS)}")
        return method.upper()


class Webhook(Source[WebhookConfig]):
    """Receives HTTP requests. The event has no id of its own: two equal requests are two events.

    The body is the JSON that was sent, form fields as an object of lists, or, for GET and for DELETE without
    a body, the query parameters as an object of lists.
    """

    kind: ClassVar[str] = "webhook"
    config = WebhookConfig
    exclusive: ClassVar[bool] = False
    acknowledges: ClassVar[bool] = True
    peer: ClassVar[str] = "real: HTTP clients"
    example: ClassVar[str] = """\
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata:
  name: webhook
spec:
  webhook:
    example:
      port: "12000"
      endpoint: /example
      method: POST
"""

    @classmethod
    def wrap(cls, config: WebhookConfig, raw: Raw) -> Wrapped:
        from argosy.sources._http_messages import recorded

        return Wrapped(_data(recorded(raw, config.method or "POST"), tail(config.metadata)), None)

    async def run(self, ctx: SourceContext[WebhookConfig]) -> None:
        from argosy.sources._http import SUCCESS

        end = tail(ctx.config.metadata)
        replies = Replies(ctx.config.reply, ctx.log) if ctx.config.reply is not None else None

        async def answer(request: Request) -> Response:
            data = _data(request, end)
            if replies is None:
                await ctx.emit(data)
                return SUCCESS
            name = new_id()
            await ctx.emit(data, id=name)
            return replies.to(name, data)

        async with route(ctx, ctx.config, answer, method=ctx.config.method or "POST") as place:
            ctx.listening(place.url)
            await asyncio.Event().wait()


def _data(request: Request, end: bytes) -> bytes:
    return b'{"header":%b,"body":%b%b}' % (gojson.dumps(dict(request.headers)), _body(request), end)


def _body(request: Request) -> bytes:
    from argosy.sources._http_routes import query

    if request.method == "GET" or (request.method == "DELETE" and not request.body):
        return gojson.dumps(dict(request.query))
    if request.header("Content-Type") == "application/x-www-form-urlencoded":
        try:
            text = request.body.decode("ascii")
        except UnicodeDecodeError as error:
            raise EventInvalid("the form body has characters that must be percent-encoded") from error
        return gojson.dumps(dict(query(text, strict=True)))
    return raw_json(request.body)
