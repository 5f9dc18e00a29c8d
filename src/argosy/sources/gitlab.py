"""``gitlab``: each delivery of a GitLab webhook becomes one event.

``secretToken`` is compared whenever it is given. A delivery that GitLab tries again carries the same
``Idempotency-Key`` (GitLab 17.4 and later), which names the event; older ones are named by
``X-Gitlab-Event-UUID`` and the body together, for deliveries that cause each other share that UUID.
Sources: docs.gitlab.com "Webhooks"; upstream ``pkg/eventsources/sources/gitlab``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, field_validator

from argosy.errors import EventInvalid
from argosy.manifests.fields import OURS, SecretKeySelector
from argosy.sources import _hooked, _verify
from argosy.sources._base import Source, SourceContext
from argosy.sources._hooked import NAMESPACE_DROPPED, HookedConfig
from argosy.sources._http_body import raw_json
from argosy.sources._raw import Raw, Wrapped

if TYPE_CHECKING:
    from argosy.sources._hooks import Hooks
    from argosy.sources._http import Request

FLAGS = {
    "PushEvents": "push_events",
    "TagPushEvents": "tag_push_events",
    "IssuesEvents": "issues_events",
    "ConfidentialIssuesEvents": "confidential_issues_events",
    "MergeRequestsEvents": "merge_requests_events",
    "NoteEvents": "note_events",
    "ConfidentialNoteEvents": "confidential_note_events",
    "JobEvents": "job_events",
    "PipelineEvents": "pipeline_events",
    "WikiPageEvents": "wiki_page_events",
    "DeploymentEvents": "deployment_events",
    "ReleasesEvents": "releases_events",
    "FeatureFlagEvents": "feature_flag_events",
    "MilestoneEvents": "milestone_events",
    "EmojiEvents": "emoji_events",
    "ResourceAccessTokenEvents": "resource_access_token_events",
    "VulnerabilityEvents": "vulnerability_events",
    "SubGroupEvents": "subgroup_events",
    "MemberEvents": "member_events",
    "ProjectEvents": "project_events",
}
"""An event's word in manifests, and its flag in GitLab's API of webhooks."""


class GitlabConfig(HookedConfig):
    """Which projects and groups send, and how they prove it.

    Webhooks are registered where ``webhook.url`` is given.
    """

    dropped: ClassVar[Mapping[str, str]] = {
        **NAMESPACE_DROPPED,
        "allowDuplicate": "1.0; a webhook is registered once",
        "event": "1.0; write 'events'",
    }

    project_id: str = Field("", alias="projectID")
    """Deprecated; write ``projects``."""
    projects: list[str] = Field(default_factory=list)
    """Paths or numbers."""
    groups: list[str] = Field(default_factory=list)
    """Paths or numbers."""
    events: list[str]
    """Which events are asked for, such as ``PushEvents``. Counts where webhooks are registered."""
    access_token: SecretKeySelector
    """The token by which webhooks are registered."""
    secret_token: SecretKeySelector | None = None
    """What deliveries must carry as ``X-Gitlab-Token``."""
    previous_secret_token: SecretKeySelector | None = Field(None, json_schema_extra=OURS)
    """A token that is taken as well while ``secretToken`` is being changed."""
    enable_ssl_verification: bool = Field(False, alias="enableSSLVerification")
    """GitLab verifies the certificate of ``webhook.url``."""
    gitlab_base_url: str = Field(min_length=1, alias="gitlabBaseURL")
    """Where GitLab is: ``https://gitlab.com``."""
    delete_hook_on_finish: bool = False
    """The webhook is deleted when the last process that receives ends."""

    @property
    def places(self) -> list[str]:
        """What has webhooks: ``projects/…`` and ``groups/…``."""
        projects = self.projects or ([self.project_id] if self.project_id else [])
        return [f"groups/{name}" for name in self.groups] + [f"projects/{name}" for name in projects]

    @field_validator("events")
    @classmethod
    def _known(cls, events: list[str]) -> list[str]:
        for name in events:
            if name not in FLAGS:
                raise ValueError(f"{name!r} is none of GitLab's events; there is {', '.join(FLAGS)}")
        return events


class Gitlab(Source[GitlabConfig]):
    """Receives GitLab's webhooks."""

    kind: ClassVar[str] = "gitlab"
    config = GitlabConfig
    exclusive: ClassVar[bool] = False
    acknowledges: ClassVar[bool] = True
    peer: ClassVar[str] = "double: documented deliveries, and a double of the hooks API"
    example: ClassVar[str] = """\
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata:
  name: gitlab
spec:
  gitlab:
    example:
      projects:
        - my-group/my-project
      webhook:
        port: "12000"
        endpoint: /push
        method: POST
      events:
        - PushEvents
      accessToken:
        name: gitlab-access
        key: token
      secretToken:
        name: gitlab-secret
        key: token
      enableSSLVerification: true
      gitlabBaseURL: https://gitlab.com
"""

    @classmethod
    def wrap(cls, config: GitlabConfig, raw: Raw) -> Wrapped:
        from argosy.sources._http_messages import recorded

        return _event(config, recorded(raw, "POST"))

    async def run(self, ctx: SourceContext[GitlabConfig]) -> None:
        await _hooked.receive(ctx, _check, _event, _hooks(ctx), delete=ctx.config.delete_hook_on_finish)


def _hooks(ctx: SourceContext[GitlabConfig]) -> Hooks[GitlabConfig] | None:
    """The webhooks to register, if the manifest wants that."""
    if not ctx.config.webhook.url:
        return None
    from argosy.sources._hooks_gitlab import GitlabHooks

    return GitlabHooks(ctx)


def _check(ctx: SourceContext[GitlabConfig], request: Request) -> None:
    tokens = (ctx.config.secret_token, ctx.config.previous_secret_token)
    if any(tokens) and not _verify.same(request.header("X-Gitlab-Token"), _verify.keys(ctx.secret, *tokens)):
        raise EventInvalid("token mismatch")


def _event(config: GitlabConfig, request: Request) -> Wrapped:
    data = _hooked.envelope(config, request, raw_json(request.body))
    if key := request.header("Idempotency-Key"):
        return _hooked.named(data, key)
    return _hooked.named(data, request.header("X-Gitlab-Event-Uuid"), hashlib.sha256(request.body).hexdigest()[:16])
