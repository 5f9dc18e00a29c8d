"""The servers of NATS that a manifest names, and how a source is let in; for ``nats`` and ``jetstream``."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

from pydantic import ConfigDict, field_validator

from argosy.errors import SourceError
from argosy.manifests.fields import Backoff, SecretKeySelector, TLSConfig
from argosy.nats.access import NatsAuth, servers
from argosy.sources._base import SourceConfig, SourceContext
from argosy.sources._nats_keys import from_credentials, from_seed
from argosy.sources._nats_protocol import Login, Session
from argosy.sources._reaching import patiently


class NatsServerConfig(SourceConfig):
    """Servers of NATS, and how they let us in."""

    model_config = ConfigDict(hide_input_in_errors=True)

    url: str
    """``nats://host:4222``, or ``tls://`` to demand TLS. Several, separated by commas, are tried in turn."""
    auth: NatsAuth | None = None
    """Credentials; what the URL says of them does not count then."""
    tls: TLSConfig | None = None
    """With this block TLS is demanded; without it, it is spoken where the server wants it."""
    connection_backoff: Backoff | None = None
    """Pauses between the tries to connect, before the failure is reported and the runtime's own pauses begin."""

    @field_validator("url")
    @classmethod
    def _readable(cls, url: str) -> str:
        servers(url)
        return url


async def connected(ctx: SourceContext[Any]) -> Session:
    """A session at the first server that lets us in, tried as ``connectionBackoff`` says."""
    return await patiently(ctx, ctx.config.connection_backoff, lambda: _connect(ctx))


def is_subject(text: str) -> bool:
    """Whether a text is a subject that can be subscribed to: tokens between dots, ``>`` alone at the end."""
    tokens = text.split(".")
    return not (any(not token or any(letter.isspace() for letter in token) for token in tokens) or ">" in tokens[:-1])


async def _connect(ctx: SourceContext[Any]) -> Session:
    """A session at the first server that lets us in, by the secrets as they are now."""
    from argosy.tls import client_context

    config: NatsServerConfig = ctx.config
    reasons: list[str] = []
    cause: SourceError | None = None

    def tls() -> ssl.SSLContext:
        return client_context(config.tls, ctx.secret)

    given = _credentials(ctx)
    for where, user, password in servers(config.url):
        login = given or _by_url(ctx, user, password)
        try:
            return await Session.begin(where, tls, config.tls is not None or where.scheme == "tls", login)
        except SourceError as error:
            reasons.append(str(error))
            cause = error
    raise SourceError("; ".join(reasons)) from cause


def _client_name(ctx: SourceContext[Any]) -> str:
    return f"argosy {ctx.namespace}/{ctx.event_source}/{ctx.event_name}"


def _by_url(ctx: SourceContext[Any], user: str, password: str | None) -> Login:
    if user and password is None:
        return Login(_client_name(ctx), token=user)
    return Login(_client_name(ctx), user=user, password=password or "")


def _credentials(ctx: SourceContext[Any]) -> Login | None:
    auth, name = ctx.config.auth, _client_name(ctx)
    read: Callable[[SecretKeySelector], str] = ctx.secret
    if auth is None:
        return None
    if auth.basic is not None and auth.basic.username and auth.basic.password:
        return Login(name, user=read(auth.basic.username), password=read(auth.basic.password))
    if auth.token is not None:
        return Login(name, token=read(auth.token))
    if auth.nkey is not None:
        return Login(name, signer=from_seed(read(auth.nkey), f"auth.nkey {auth.nkey.name!r}"))
    if auth.credential is not None:
        what = f"auth.credential {auth.credential.name!r}"
        return Login(name, signer=from_credentials(read(auth.credential), what))
    return None
