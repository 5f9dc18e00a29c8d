"""How an HTTP request says in whose name it is made (``auth``): a bearer token, OAuth 2.0 client credentials, AWS Signature Version 4.

A token of OAuth is kept until shortly before it runs out, for all actions of the trigger, and asked for by one request at a time. An answer
of 401 means that the server thinks otherwise: then one new token is asked for and the request is made once more, and no more often.
Sources: RFC 6749 §2.3.1, §4.4 and §5, RFC 6750 §2.1.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple
from urllib.parse import quote_plus, urlencode

from pydantic import Field, model_validator

from argosy.clock import Clock
from argosy.errors import Rejected
from argosy.manifests.fields import Model, SecretKeySelector
from argosy.triggers import _http
from argosy.triggers._kept import digest

_EARLY_SECONDS = 30.0
_UNSAID_SECONDS = 300.0
"""How long a token is kept whose server does not say how long it lasts."""
_KEPT = 64


class BearerAuth(Model):
    """A token that a Secret holds."""

    token_secret: SecretKeySelector
    """Sent as ``Authorization: Bearer …``."""


class OAuth2(Model):
    """Client credentials of OAuth 2.0: the token is asked for, kept, and renewed."""

    token_url: str = Field(min_length=1)
    """Where tokens are asked for."""
    client_id: SecretKeySelector
    """The client's id."""
    client_secret: SecretKeySelector
    """The client's secret."""
    scopes: list[str] = Field(default_factory=list)
    """The scopes that are asked for."""
    audience: str = ""
    """Sent along where it is given; some servers want it."""
    parameters: dict[str, str] = Field(default_factory=dict)
    """Further fields of the request for a token."""
    credentials_in: Literal["header", "body"] = "header"
    """Where the client's id and secret stand: in ``Authorization: Basic``, or in the form."""


class AwsAuth(Model):
    """Signs each request for AWS (Signature Version 4). Without keys the process's own credentials are used."""

    region: str = Field(min_length=1)
    """The region that requests are signed for."""
    service: str = Field(min_length=1)
    """As the signature names it: ``execute-api``, ``lambda``, ``es`` …"""
    access_key: SecretKeySelector | None = None
    """The access key; without it the credentials of the environment count."""
    secret_key: SecretKeySelector | None = None
    """The secret key."""
    session_token: SecretKeySelector | None = None
    """The session token of credentials that expire."""
    role_arn: str = Field("", alias="roleARN")
    """A role to take on first."""

    @model_validator(mode="after")
    def _both(self) -> AwsAuth:
        if (self.access_key is None) != (self.secret_key is None):
            raise ValueError("needs accessKey and secretKey together")
        return self


class HttpAuth(Model):
    """In whose name requests are made (ours). Exactly one of the three."""

    bearer: BearerAuth | None = None
    """A token as it is."""
    oauth2: OAuth2 | None = None
    """A token of an authorization server, for client credentials."""
    aws: AwsAuth | None = None
    """A signature as AWS' services want it (Signature Version 4)."""

    @model_validator(mode="after")
    def _one(self) -> HttpAuth:
        if sum(one is not None for one in (self.bearer, self.oauth2, self.aws)) != 1:
            raise ValueError("needs one of bearer, oauth2 and aws")
        return self


class Asked(NamedTuple):
    """A client's credentials as they are now."""

    id: str
    secret: str


class Answered(NamedTuple):
    """What a token endpoint answered."""

    status: int
    body: bytes
    wait: str | None
    """Its ``Retry-After``."""


Post = Callable[[str, dict[str, str], bytes], Awaitable[Answered]]
"""Sends a form to a URL with headers."""


@dataclass(frozen=True)
class _Token:
    text: str
    until: float


class Tokens:
    """The tokens of one trigger. Times are the clock's monotonic ones."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: dict[str, _Token] = {}
        self._asking: dict[str, asyncio.Lock] = {}

    async def get(self, config: OAuth2, who: Asked, post: Post, *, not_this: str = "") -> str:
        """A token that holds, and is not ``not_this`` (which was refused). Raises Rejected, TriggerError or RetryAfter if there is none."""
        key = digest(config.model_dump_json(), who.id, who.secret)
        async with self._asking.setdefault(key, asyncio.Lock()):  # many actions at once ask once
            found = self._kept.get(key)
            if found is not None and found.text != not_this and self._clock.monotonic() < found.until:
                return found.text
            self._kept.pop(key, None)
            token = await self._ask(config, who, post)
            self._kept[key] = token
            while len(self._kept) > _KEPT:
                oldest = next(iter(self._kept))
                del self._kept[oldest]
                self._asking.pop(oldest, None)
            return token.text

    async def _ask(self, config: OAuth2, who: Asked, post: Post) -> _Token:
        form = {"grant_type": "client_credentials", **config.parameters}
        if config.scopes:
            form["scope"] = " ".join(config.scopes)
        if config.audience:
            form["audience"] = config.audience
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        if config.credentials_in == "header":
            pair = f"{quote_plus(who.id)}:{quote_plus(who.secret)}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        else:
            form |= {"client_id": who.id, "client_secret": who.secret}
        answer = await post(config.token_url, headers, urlencode(form).encode())
        return self._token(f"the token endpoint {_http.place(config.token_url)}", answer)

    def _token(self, what: str, answer: Answered) -> _Token:
        try:
            found: Any = json.loads(answer.body)
        except ValueError:
            found = None
        said: dict[str, Any] = found if isinstance(found, dict) else {}
        if not 200 <= answer.status < 300:
            # Only the code is shown: a description may repeat what was sent.
            code = said.get("error")
            word = f" ({code})" if isinstance(code, str) and code.replace("_", "").isalnum() and len(code) < 100 else ""
            sentence = f"{what} answered {answer.status}{word}, so there is no token"
            raise _http.failure(answer.status, sentence, answer.wait)
        token = said.get("access_token")
        if not isinstance(token, str) or not token:
            raise Rejected(f"{what} answered {answer.status} without an access_token")
        lasts = said.get("expires_in")
        try:
            seconds = float(lasts) if isinstance(lasts, int | float | str) else _UNSAID_SECONDS
        except ValueError:
            seconds = _UNSAID_SECONDS
        # One that lasts no longer than that is used for this action alone.
        return _Token(token, self._clock.monotonic() + max(0.0, seconds - min(_EARLY_SECONDS, seconds / 2)))
