"""``bitbucket``: each delivery of a Bitbucket Cloud webhook becomes one event, named by its request UUID.

``webhookSecret`` (ours; upstream checks nothing) has the signature checked.
Sources: support.atlassian.com "Manage webhooks", "Event payloads"; upstream ``pkg/eventsources/sources/bitbucket``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, model_validator

from argosy.errors import EventInvalid
from argosy.manifests.fields import OURS, BasicAuth, Model, SecretKeySelector
from argosy.sources import _hooked, _verify
from argosy.sources._base import Source, SourceContext
from argosy.sources._hooked import HookedConfig
from argosy.sources._http_body import raw_json
from argosy.sources._raw import Raw, Wrapped

if TYPE_CHECKING:
    from argosy.sources._hooks import Hooks
    from argosy.sources._http import Request


class BitbucketAuth(Model):
    """Who registers webhooks: a user with an app password, or an OAuth token."""

    basic: BasicAuth | None = None
    """User name and app password."""
    oauth_token: SecretKeySelector | None = Field(None, alias="oauthToken")
    """An access token."""

    @model_validator(mode="after")
    def _complete(self) -> BitbucketAuth:
        if self.basic is not None and not (self.basic.username and self.basic.password):
            raise ValueError("'basic' needs username and password")
        return self


class BitbucketRepository(Model):
    """A repository."""

    owner: str = Field(min_length=1)
    """The workspace."""
    repository_slug: str = Field(min_length=1)
    """The repository's slug."""


class BitbucketConfig(HookedConfig):
    """Which repositories send. Webhooks are registered where ``webhook.url`` and ``auth`` are given."""

    dropped: ClassVar[Mapping[str, str]] = {}

    auth: BitbucketAuth | None = None
    """By what webhooks are registered."""
    events: list[str] = Field(default_factory=list)
    """Which events are asked for, such as ``repo:push``. Counts where webhooks are registered."""
    owner: str = ""
    """Deprecated; write ``repositories``."""
    project_key: str = ""
    """Deprecated, without meaning."""
    repository_slug: str = ""
    """Deprecated; write ``repositories``."""
    repositories: list[BitbucketRepository] = Field(default_factory=list)
    """Whose webhooks these are."""
    webhook_secret: SecretKeySelector | None = Field(None, json_schema_extra=OURS)
    """The secret that deliveries are signed with; registered with the webhook."""
    previous_webhook_secret: SecretKeySelector | None = Field(None, json_schema_extra=OURS)
    """A secret that is taken as well while ``webhookSecret`` is being changed."""
    bitbucket_base_url: str = Field(
        "https://api.bitbucket.org/2.0", alias="bitbucketBaseURL", min_length=1, json_schema_extra=OURS
    )
    """The API that webhooks are registered at."""
    delete_hook_on_finish: bool = False
    """The webhook is deleted when the last process that receives ends."""

    @property
    def places(self) -> list[str]:
        """What has webhooks, as the API names it: ``OWNER/SLUG``."""
        named = [f"{each.owner}/{each.repository_slug}" for each in self.repositories]
        return named or ([f"{self.owner}/{self.repository_slug}"] if self.owner and self.repository_slug else [])

    @property
    def managed(self) -> bool:
        """Whether webhooks are registered."""
        return bool(self.webhook.url and self.auth and (self.auth.basic or self.auth.oauth_token))

    @model_validator(mode="after")
    def _complete(self) -> BitbucketConfig:
        if not self.places:
            raise ValueError("needs 'repositories'")
        if self.managed and not self.events:
            raise ValueError("needs 'events', because webhooks are registered")
        return self


class Bitbucket(Source[BitbucketConfig]):
    """Receives Bitbucket Cloud's webhooks."""

    kind: ClassVar[str] = "bitbucket"
    config = BitbucketConfig
    exclusive: ClassVar[bool] = False
    acknowledges: ClassVar[bool] = True
    peer: ClassVar[str] = "double: documented deliveries, and a double of the hooks API"
    example: ClassVar[str] = """\
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata:
  name: bitbucket
spec:
  bitbucket:
    example:
      repositories:
        - owner: my-workspace
          repositorySlug: my-repository
      events:
        - repo:push
      webhook:
        port: "12000"
        endpoint: /push
        method: POST
      auth:
        oauthToken:
          name: bitbucket-access
          key: token
      webhookSecret:
        name: bitbucket-access
        key: secret
"""

    @classmethod
    def wrap(cls, config: BitbucketConfig, raw: Raw) -> Wrapped:
        from argosy.sources._http_messages import recorded

        return _event(config, recorded(raw, "POST"))

    async def run(self, ctx: SourceContext[BitbucketConfig]) -> None:
        await _hooked.receive(ctx, check_signature, _event, _hooks(ctx), delete=ctx.config.delete_hook_on_finish)


def _hooks(ctx: SourceContext[BitbucketConfig]) -> Hooks[BitbucketConfig] | None:
    """The webhooks to register, if the manifest wants that."""
    if not ctx.config.managed:
        return None
    from argosy.sources._hooks_bitbucket import BitbucketHooks

    return BitbucketHooks(ctx)


def check_signature(ctx: SourceContext[Any], request: Request) -> None:
    """Raise EventInvalid unless ``X-Hub-Signature`` is right by one of the secrets, or the manifest has none."""
    secrets = (ctx.config.webhook_secret, ctx.config.previous_webhook_secret)
    if not any(secrets):
        return
    algorithm, _, text = request.header("X-Hub-Signature").partition("=")
    if not text:
        raise EventInvalid("missing signature header")
    if algorithm != "sha256" or not _verify.signed(_verify.keys(ctx.secret, *secrets), request.body, [text]):
        raise EventInvalid("the signature is wrong; is webhookSecret the secret of the webhook?")


def _event(config: BitbucketConfig, request: Request) -> Wrapped:
    data = _hooked.envelope(config, request, raw_json(request.body))
    return _hooked.named(data, request.header("X-Request-Uuid"))
