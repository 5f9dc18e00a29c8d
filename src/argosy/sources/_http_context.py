"""The ``webhook`` block that the HTTP kinds of upstream share, and how it becomes a route.

``webhook`` has these fields directly in its event; ``github``, ``slack`` and the others have them in a block
of that name. ``verify`` is ours, and every kind has it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, field_validator, model_validator

from argosy.errors import SourceError
from argosy.manifests.fields import OURS, Model, SecretKeySelector, ValueFrom
from argosy.sources import _verify, _verify_signature
from argosy.sources._http_routes import header_name
from argosy.sources._http_tls import Texts
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
    """The HTTP method; empty means POST."""
    port: str
    """The port, as text holding a number."""
    url: str = ""
    """The public base URL, for kinds that register themselves at their upstream."""
    server_cert_secret: SecretKeySelector | None = None
    """The certificate that makes it https."""
    server_key_secret: SecretKeySelector | None = None
    """The key of the certificate."""
    metadata: dict[str, str] = Field(default_factory=dict)
    """Stands in the data of every event, as ``metadata``."""
    auth_secret: SecretKeySelector | None = None
    """The bearer token that requests must carry."""
    max_payload_size: int = Field(1024 * 1024, ge=0)
    """Bytes."""
    verify: Verify | None = Field(None, json_schema_extra=OURS)
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
        if self.auth_secret is not None and self.verify is not None:
            jwt = self.verify.jwt
            for way, there in (
                ("basic", self.verify.basic),
                ("jwt", jwt and header_name(jwt.header) == "Authorization"),
            ):
                if there:
                    raise ValueError(f"'authSecret' and 'verify.{way}' want the same header; keep one of them")
        if self.verify is not None and self.verify.mtls is not None and self.server_cert_secret is None:
            raise ValueError(
                "'verify.mtls' needs serverCertSecret and serverKeySecret, for without TLS nobody shows one"
            )
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
    mtls = webhook.verify.mtls if webhook.verify is not None else None
    text = partial(_text, ctx)

    def tls() -> Texts:
        assert cert is not None and key is not None  # validated
        return Texts(ctx.secret(cert), ctx.secret(key), "\n".join(map(text, mtls.authorities)) if mtls else "")

    async with AsyncExitStack() as stack:
        if (rule := webhook.verify) is not None:
            if rule.replay is not None:
                from argosy.sources._verify_replay import Recorded

                guard = Recorded(ctx.bucket, ctx.clock, rule.replay.window)
                stack.push_async_callback(guard.close)
                handler = _once(ctx, rule.replay, guard, handler)
            handler = _verified(ctx, rule, text, handler)
        yield await stack.enter_async_context(
            ctx.http.route(
                port=int(webhook.port),
                endpoint=webhook.endpoint,
                handler=handler,
                name=f"event {ctx.event_name!r} of event source {ctx.event_source!r}",
                methods=(method,) if method else (),
                tls=None if cert is None or key is None else tls,
                token=None if token is None else lambda: ctx.secret(token),
                max_payload_size=webhook.max_payload_size,
                refused=ctx.refused,
            )
        )


def _text(ctx: SourceContext[Any], value: ValueFrom) -> str:
    if value.secret_key_ref is not None:
        return ctx.secret(value.secret_key_ref)
    assert value.config_map_key_ref is not None  # validated
    return ctx.config_map(value.config_map_key_ref)


def _verified(ctx: SourceContext[Any], rule: Verify, text: _verify.Text, handler: Handler) -> Handler:
    """``handler`` for requests that pass; the others are answered 401."""
    from argosy.sources._verify_jwt import JwtCheck

    if rule.signature is not None:
        _verify_signature.available()
    token = JwtCheck(rule.jwt, ctx, text) if rule.jwt is not None else None

    async def answer(request: Request) -> Response:
        if reason := _verify.fault(rule, request, ctx.secret, text, ctx.clock):
            return unauthorized(ctx, reason)
        if token is not None:
            try:
                reason = await token.fault(request)
            except SourceError as error:
                return _unsure(ctx, error)
            if reason:
                return unauthorized(ctx, reason)
            request = token.masked(request)
        return await handler(request)

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


def _unsure(ctx: SourceContext[Any], error: SourceError) -> Response:
    """The answer to a request of which nobody can say now whether it proves what it should."""
    from argosy.sources._http import Response

    ctx.refused(f"answered 503: {error}")
    return Response(503, "the sender cannot be verified now", retry_after_seconds=30)


def unauthorized(ctx: SourceContext[Any], reason: str) -> Response:
    """The answer to a request that does not prove what it should, which is counted."""
    from argosy.sources._http import Response

    ctx.refused(f"answered 401: {reason}")
    return Response(401, reason)
