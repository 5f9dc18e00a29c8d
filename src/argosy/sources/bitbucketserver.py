"""``bitbucketserver``: each delivery of a Bitbucket Server or Data Center webhook becomes one event.

``repo:refs_changed`` can become one event for each change, and changes of branches with an open pull request can
be left out; the server's API is asked for that. The signature is checked whenever ``webhookSecret`` is given.
Sources: confluence.atlassian.com "Event payload", "Manage webhooks"; upstream
``pkg/eventsources/sources/bitbucketserver``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

from pydantic import Field, field_validator, model_validator

from argosy.errors import ConfigError
from argosy.lang import gojson
from argosy.manifests.fields import OURS, Duration, Model, SecretKeySelector, TLSConfig
from argosy.sources import _hooked
from argosy.sources._base import Source, SourceContext
from argosy.sources._hooked import HookedConfig
from argosy.sources._http_body import raw_json
from argosy.sources._raw import Raw, Wrapped
from argosy.sources.bitbucket import check_signature

if TYPE_CHECKING:
    from argosy.sources._hooks import Hooks
    from argosy.sources._hooks_api import Api
    from argosy.sources._http import Request, Response


class BitbucketServerRepository(Model):
    """A repository."""

    project_key: str = Field(min_length=1)
    """The project's key."""
    repository_slug: str = Field(min_length=1)
    """The repository's slug."""


class BitbucketServerConfig(HookedConfig):
    """Which projects and repositories send, and how they prove it.

    Webhooks are registered where ``webhook.url`` and ``accessToken`` are given.
    """

    dropped: ClassVar[Mapping[str, str]] = {}

    project_key: str = ""
    """Deprecated; write ``repositories``."""
    repository_slug: str = ""
    """Deprecated; write ``repositories``."""
    projects: list[str] = Field(default_factory=list)
    """Keys of projects whose repositories are all meant."""
    repositories: list[BitbucketServerRepository] = Field(default_factory=list)
    """Whose webhooks these are."""
    events: list[str] = Field(default_factory=list)
    """Which events are asked for, such as ``repo:refs_changed``. Counts where webhooks are registered."""
    skip_branch_refs_changed_on_open_pr: bool = Field(False, alias="skipBranchRefsChangedOnOpenPR")
    """Leave out changes of branches that have an open pull request; needs ``accessToken``."""
    one_event_per_change: bool = False
    """A push of several branches or tags becomes one event for each."""
    access_token: SecretKeySelector | None = None
    """The token by which webhooks are registered and the API is asked."""
    webhook_secret: SecretKeySelector | None = None
    """The secret that deliveries are signed with."""
    previous_webhook_secret: SecretKeySelector | None = Field(None, json_schema_extra=OURS)
    """A secret that is taken as well while ``webhookSecret`` is being changed."""
    bitbucketserver_base_url: str = Field(min_length=1, alias="bitbucketserverBaseURL")
    """The REST API, with ``/rest`` at its end."""
    delete_hook_on_finish: bool = False
    """The webhook is deleted when the last process that receives ends."""
    check_interval: Duration = 60.0
    """How often the registered webhooks are looked after."""
    tls: TLSConfig | None = None
    """How the API is reached."""

    @field_validator("check_interval", mode="before")
    @classmethod
    def _default(cls, value: object) -> object:
        return "1m" if value == "" else value

    @property
    def named(self) -> list[tuple[str, str]]:
        """Project key and slug of the repositories that the manifest names."""
        found = [(each.project_key, each.repository_slug) for each in self.repositories]
        return found or (
            [(self.project_key, self.repository_slug)] if self.project_key and self.repository_slug else []
        )

    @property
    def managed(self) -> bool:
        """Whether webhooks are registered."""
        return bool(self.webhook.url and self.access_token)

    @model_validator(mode="after")
    def _complete(self) -> BitbucketServerConfig:
        if not self.named and not self.projects:
            raise ValueError("needs 'repositories' or 'projects'")
        if self.managed and not self.events:
            raise ValueError("needs 'events', because webhooks are registered")
        if self.skip_branch_refs_changed_on_open_pr and self.access_token is None:
            raise ValueError("needs 'accessToken', because of skipBranchRefsChangedOnOpenPR: true")
        return self


class Bitbucketserver(Source[BitbucketServerConfig]):
    """Receives the webhooks of a Bitbucket Server."""

    kind: ClassVar[str] = "bitbucketserver"
    config = BitbucketServerConfig
    exclusive: ClassVar[bool] = False
    acknowledges: ClassVar[bool] = True
    peer: ClassVar[str] = "double: documented deliveries, and a double of the hooks API"
    example: ClassVar[str] = """\
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata:
  name: bitbucketserver
spec:
  bitbucketserver:
    example:
      repositories:
        - projectKey: PROJECT
          repositorySlug: my-repository
      webhook:
        port: "12000"
        endpoint: /push
        method: POST
      events:
        - repo:refs_changed
      webhookSecret:
        name: bitbucketserver-access
        key: secret
      bitbucketserverBaseURL: https://bitbucket.example.com/rest
"""

    @classmethod
    def wrap(cls, config: BitbucketServerConfig, raw: Raw) -> Wrapped:
        from argosy.sources._http_messages import recorded

        request = recorded(raw, "POST")
        if config.one_event_per_change and len(changes := _changes(request)[1]) > 1:
            raise ConfigError(
                f"oneEventPerChange makes {len(changes)} events of this; give a recording with one change"
            )
        return _events(config, request)[0]

    async def run(self, ctx: SourceContext[BitbucketServerConfig]) -> None:
        from argosy.sources._http import SUCCESS

        config = ctx.config

        async with _asking(ctx) as api:

            async def answer(request: Request) -> Response:
                check_signature(ctx, request)
                left = None if api is None else await _without_open_requests(api, request)
                for data, name in _events(config, request, left):
                    await ctx.emit(data, id=name)
                return SUCCESS

            await _hooked.serve(
                ctx, answer, _hooks(ctx), delete=config.delete_hook_on_finish, check_seconds=config.check_interval
            )


def _hooks(ctx: SourceContext[BitbucketServerConfig]) -> Hooks[BitbucketServerConfig] | None:
    """The webhooks to register, if the manifest wants that."""
    if not ctx.config.managed:
        return None
    from argosy.sources._hooks_bitbucketserver import BitbucketServerHooks

    return BitbucketServerHooks(ctx)


@asynccontextmanager
async def _asking(ctx: SourceContext[BitbucketServerConfig]) -> AsyncIterator[Api | None]:
    """The server's API, if deliveries want it."""
    if not ctx.config.skip_branch_refs_changed_on_open_pr:
        yield None
        return
    from argosy.sources._hooks_bitbucketserver import api

    async with api(ctx) as found:
        yield found


def _changes(request: Request) -> tuple[dict[str, Any], list[Any]]:
    """The body of a push and its changes; none where it is another event."""
    if request.header("X-Event-Key") != "repo:refs_changed":
        return {}, []
    body = _hooked.document(request.body)
    changes = body.get("changes")
    return body, changes if isinstance(changes, list) else []


async def _without_open_requests(api: Api, request: Request) -> list[int] | None:
    """The numbers of the changes that are to be told; None where the request is no push."""
    body, changes = _changes(request)
    if not body:
        return None
    repository = body.get("repository") or {}
    project, slug = (repository.get("project") or {}).get("key", ""), repository.get("slug", "")
    left = []
    for number, change in enumerate(changes):
        if (change.get("ref") or {}).get("type") == "BRANCH" and change.get("type") != "DELETE":
            commit = "/".join(quote(str(part), safe="") for part in (slug, "commits", change.get("toHash", "")))
            path = f"api/1.0/projects/{quote(str(project), safe='')}/repos/{commit}/pull-requests"
            requests = [each async for each in api.numbered_pages(path)]
            if any(str(each.get("state", "")).upper() == "OPEN" for each in requests):
                continue
        left.append(number)
    return left


def _events(config: BitbucketServerConfig, request: Request, left: list[int] | None = None) -> list[Wrapped]:
    """The events of a request. ``left`` are the numbers of the changes that are told; None: all."""
    name = request.header("X-Request-Id")
    body, changes = _changes(request)
    if left == []:
        return []
    if not config.one_event_per_change or not changes:
        return [_hooked.named(_hooked.envelope(config, request, raw_json(request.body)), name)]
    found = []
    for number, change in enumerate(changes):
        if left is None or number in left:
            text = gojson.dumps({**body, "changes": [change]}, sort_keys=False)
            data = _hooked.envelope(config, request, text)
            found.append(_hooked.named(data, name, str(number)) if len(changes) > 1 else _hooked.named(data, name))
    return found
