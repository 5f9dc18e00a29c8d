"""The ``webhook`` block that the HTTP kinds of upstream share, and how it becomes a route.

``webhook`` has these fields directly in its event; ``github``, ``slack`` and the others have them in a block
of that name. ``verify`` is ours, and every kind has it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, field_validator, model_validator

from argosy.manifests.fields import Model, SecretKeySelector
from argosy.sources import _verify
from argosy.sources._verify import Replay, Verify

if TYPE_CHECKING:
    from argosy.sources._base import SourceContext
    from argosy.sources._http import Handler, Request, Response, Route
    from argosy.sources._verify_replay import Recorded


class WebhookContext(Model):
    """Where and how requests are received (upstream ``WebhookContext``)."""

    dropped: ClassVar[Mapping[str, str]] = {
        "serverCertPath": "1.5; write 'serverCertSecret'",
        "serverKeyPath": "1.5; write 'serverKeySecret'",
    }

    endpoint: str = Field(min_length=1)
    """The path; ``{name}`` stands for one segment, ``{name:pattern}`` for what the pattern (RE2) matches."""
    method: str = ""
    port: str
    """The port, as text holding a number."""
    url: str = ""
    """The public base URL, for kinds that register themselves at their upstream."""
    server_cert_secret: SecretKeySelector | None = None
    server_key_secret: SecretKeySelector | None = None
    metadata: dict[str, str] = Field(default_factory=dict)
    auth_secret: SecretKeySelector | None = None
    """The bearer token that requests must carry."""
    max_payload_size: int = Field(1024 * 1024, ge=0)
    """Bytes."""
    verify: Verify | None = Field(None, json_schema_extra={"x-argosy": True})
    """What requests must prove, beside what their kind asks for."""

    @field_validator("port")
    @classmethod
    def _numeric(cls, text: str) -> str:
        if not (text.isascii() and text.isdigit() and int(text) < 65536):
            raise ValueError(f'{text!r} is not a port number; write for example port: "12000"')
        return text

    @model_validator(mode="after")
    def _complete(self) -> WebhookContext:
        from argosy.errors import ConfigError
        from argosy.sources._http_routes import PathTemplate

        if (self.server_cert_secret is None) != (self.server_key_secret is None):
            raise ValueError(
                "needs serverCertSecret and serverKeySecret together; with one of them the port would not be HTTPS"
            )
        if self.auth_secret is not None and self.verify is not None and self.verify.basic:
            raise ValueError("'authSecret' and 'verify.basic' want the same header; keep one of them")
        try:
            PathTemplate(self.endpoint)
        except ConfigError as error:
            raise ValueError(str(error)) from error
        return self


@asynccontextmanager
async def route(
    ctx: SourceContext[Any], webhook: WebhookContext, handler: Handler, *, method: str = ""
) -> AsyncIterator[Route]:
    """The route that ``webhook`` describes, answered by ``handler``. Empty ``method`` allows all."""
    cert, key, token = webhook.server_cert_secret, webhook.server_key_secret, webhook.auth_secret
    async with AsyncExitStack() as stack:
        if (rule := webhook.verify) is not None:
            if rule.replay is not None:
                from argosy.sources._verify_replay import Recorded

                guard = Recorded(ctx.bucket, ctx.clock, rule.replay.window)
                stack.push_async_callback(guard.close)
                handler = _once(ctx, rule.replay, guard, handler)
            handler = _verified(ctx, rule, handler)
        yield await stack.enter_async_context(
            ctx.http.route(
                port=int(webhook.port),
                endpoint=webhook.endpoint,
                handler=handler,
                name=f"event {ctx.event_name!r} of event source {ctx.event_source!r}",
                methods=(method,) if method else (),
                tls=None if cert is None or key is None else lambda: (ctx.secret(cert), ctx.secret(key)),
                token=None if token is None else lambda: ctx.secret(token),
                max_payload_size=webhook.max_payload_size,
                refused=ctx.refused,
            )
        )


def _verified(ctx: SourceContext[Any], rule: Verify, handler: Handler) -> Handler:
    """``handler`` for requests that pass; the others are answered 401."""

    async def answer(request: Request) -> Response:
        reason = _verify.fault(rule, request, ctx.secret, ctx.clock)
        return unauthorized(ctx, reason) if reason else await handler(request)

    return answer


def _once(ctx: SourceContext[Any], rule: Replay, guard: Recorded, handler: Handler) -> Handler:
    """``handler`` for requests that were not recorded before; those that were are answered 200."""
    from argosy.sources._http import SUCCESS

    async def answer(request: Request) -> Response:
        name = _verify.nonce(rule, request)
        if not name:
            return unauthorized(ctx, f"header {rule.header!r}, which names the request, is missing")
        async with guard.alone(name):
            if await guard.knows(name):
                ctx.refused("the request was recorded before; it makes no second event")
                return SUCCESS
            response = await handler(request)
            if response.status < 300:
                await guard.remember(name)
            return response

    return answer


def unauthorized(ctx: SourceContext[Any], reason: str) -> Response:
    """The answer to a request that does not prove what it should, which is counted."""
    from argosy.sources._http import Response

    ctx.refused(f"answered 401: {reason}")
    return Response(401, reason)
