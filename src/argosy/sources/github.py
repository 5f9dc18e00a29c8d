"""``github``: each delivery of a GitHub webhook becomes one event, named by its delivery id.

The body gets two more members, ``X-GitHub-Event`` and ``X-GitHub-Delivery``, as upstream adds them. A signature
is checked whenever a secret is given, and a signed delivery is refused where none is. Pings are events, too.
Sources: docs.github.com "Validating webhook deliveries"; upstream ``pkg/eventsources/sources/github``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, model_validator

from argosy.errors import EventInvalid
from argosy.lang import gojson
from argosy.manifests.fields import OURS, Model, SecretKeySelector
from argosy.sources import _hooked, _verify
from argosy.sources._base import Source, SourceContext
from argosy.sources._hooked import NAMESPACE_DROPPED, HookedConfig
from argosy.sources._raw import Raw, Wrapped

if TYPE_CHECKING:
    from argosy.sources._hooks import Hooks
    from argosy.sources._http import Request

_ALGORITHMS = ("sha256", "sha1", "sha512")


class OwnedRepositories(Model):
    """Repositories of one owner."""

    owner: str = ""
    """The user or organization."""
    names: list[str] = Field(default_factory=list)
    """Its repositories."""


class GithubApp(Model):
    """Credentials of a GitHub App, instead of a person's token."""

    private_key: SecretKeySelector
    """PEM."""
    app_id: int = Field(alias="appID")
    """The app's number."""
    installation_id: int = Field(alias="installationID")
    """The number of its installation."""


class GithubConfig(HookedConfig):
    """Which repositories or organizations send, and how they prove it.

    Webhooks are registered where ``webhook.url`` and ``apiToken`` (or ``githubApp``) are given.
    """

    dropped: ClassVar[Mapping[str, str]] = NAMESPACE_DROPPED

    id: int = 0
    """Deprecated, without meaning."""
    owner: str = ""
    """Deprecated; write ``repositories``."""
    repository: str = ""
    """Deprecated; write ``repositories``."""
    repositories: list[OwnedRepositories] = Field(default_factory=list)
    """Whose webhooks these are."""
    organizations: list[str] = Field(default_factory=list)
    """Organizations whose webhooks these are, instead of repositories."""
    events: list[str] = Field(default_factory=list)
    """Which events are asked for; ``*`` for all. Counts where webhooks are registered."""
    api_token: SecretKeySelector | None = None
    """The token by which webhooks are registered."""
    github_app: GithubApp | None = None
    """The app that registers webhooks, instead of a token."""
    webhook_secret: SecretKeySelector | None = None
    """The secret that deliveries are signed with."""
    previous_webhook_secret: SecretKeySelector | None = Field(None, json_schema_extra=OURS)
    """A secret that is taken as well while ``webhookSecret`` is being changed."""
    insecure: bool = False
    """GitHub does not verify the certificate of ``webhook.url``."""
    active: bool = False
    """Whether a registered webhook sends."""
    content_type: Literal["", "json", "form"] = ""
    """As what GitHub sends the payload."""
    github_base_url: str = Field("", alias="githubBaseURL")
    """The API of a GitHub Enterprise server."""
    github_upload_url: str = Field("", alias="githubUploadURL")
    """The base URL for uploads, where ``githubBaseURL`` is given."""
    delete_hook_on_finish: bool = False
    """The webhook is deleted when the last process that receives ends."""

    @property
    def places(self) -> list[str]:
        """The API paths of what has webhooks: ``repos/OWNER/NAME``, ``orgs/NAME``."""
        owned = [(each.owner, name) for each in self.repositories for name in each.names]
        if not owned and self.owner and self.repository:
            owned = [(self.owner, self.repository)]
        return [f"repos/{owner}/{name}" for owner, name in owned] + [f"orgs/{name}" for name in self.organizations]

    @property
    def managed(self) -> bool:
        """Whether webhooks are registered."""
        return bool(self.webhook.url and (self.api_token or self.github_app))

    @model_validator(mode="after")
    def _complete(self) -> GithubConfig:
        places = self.places
        if not places:
            raise ValueError("needs 'repositories' or 'organizations'")
        if self.organizations and len(places) > len(self.organizations):
            raise ValueError("has 'repositories' and 'organizations'; keep one of them, or write two events")
        if self.managed and not self.events:
            raise ValueError("needs 'events', because webhooks are registered; write \"*\" for all")
        if bool(self.github_base_url) != bool(self.github_upload_url):
            raise ValueError("needs 'githubBaseURL' and 'githubUploadURL' together")
        return self


class Github(Source[GithubConfig]):
    """Receives GitHub's webhooks. A redelivery has the id of the first delivery, so it is stored once."""

    kind: ClassVar[str] = "github"
    config = GithubConfig
    exclusive: ClassVar[bool] = False
    acknowledges: ClassVar[bool] = True
    peer: ClassVar[str] = "double: documented deliveries, and a double of the hooks API"
    example: ClassVar[str] = """\
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata:
  name: github
spec:
  github:
    example:
      repositories:
        - owner: my-organization
          names:
            - my-repository
      webhook:
        port: "12000"
        endpoint: /push
        method: POST
      events:
        - "*"
      webhookSecret:
        name: github-access
        key: secret
      active: true
      contentType: json
"""

    @classmethod
    def wrap(cls, config: GithubConfig, raw: Raw) -> Wrapped:
        from argosy.sources._http_messages import recorded

        return _event(config, recorded(raw, "POST"))

    async def run(self, ctx: SourceContext[GithubConfig]) -> None:
        await _hooked.receive(ctx, _check, _event, _hooks(ctx), delete=ctx.config.delete_hook_on_finish)


def _hooks(ctx: SourceContext[GithubConfig]) -> Hooks[GithubConfig] | None:
    """The webhooks to register, if the manifest wants that."""
    if not ctx.config.managed:
        return None
    from argosy.sources._hooks_github import GithubHooks

    return GithubHooks(ctx)


def _check(ctx: SourceContext[GithubConfig], request: Request) -> None:
    """Raise EventInvalid unless the delivery is signed as the manifest says."""
    given = request.header("X-Hub-Signature-256") or request.header("X-Hub-Signature")
    if ctx.config.webhook_secret is None and ctx.config.previous_webhook_secret is None:
        if given:
            raise EventInvalid("the delivery is signed, and the manifest has no webhookSecret to check it with")
        return
    if not given:
        raise EventInvalid("the delivery has no signature; give the webhook at GitHub the secret of webhookSecret")
    algorithm, _, text = given.partition("=")
    if algorithm not in _ALGORITHMS:
        raise EventInvalid(f"the signature is of none of the sorts {', '.join(_ALGORITHMS)}")
    secrets = _verify.keys(ctx.secret, ctx.config.webhook_secret, ctx.config.previous_webhook_secret)
    if not _verify.signed(secrets, request.body, [text], algorithm=algorithm):
        raise EventInvalid("the signature is wrong; is webhookSecret the secret of the webhook at GitHub?")


def _event(config: GithubConfig, request: Request) -> Wrapped:
    body: dict[str, Any] = _hooked.document(_payload(request))
    delivery = request.header("X-Github-Delivery")
    body["X-GitHub-Event"] = request.header("X-Github-Event")
    body["X-GitHub-Delivery"] = delivery
    # Upstream writes the document anew: keys sorted, Go's numbers.
    return _hooked.named(_hooked.envelope(config, request, gojson.dumps(body)), delivery)


def _payload(request: Request) -> bytes:
    if request.media_type == "application/json":
        return request.body
    if request.media_type == "application/x-www-form-urlencoded":
        return _hooked.form(request).get("payload", "").encode()
    raise EventInvalid(f"the content type is {request.media_type!r}; GitHub sends application/json or a form")
