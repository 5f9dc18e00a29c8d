"""Webhooks of GitLab's projects and groups. Source: docs.gitlab.com "Project webhooks API", "Group webhooks API"."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import quote

from argosy.sources._base import SourceContext
from argosy.sources._hooks import Hooks
from argosy.sources._hooks_api import Api
from argosy.sources.gitlab import FLAGS, GitlabConfig

_PLAIN = (
    "PushEvents TagPushEvents IssuesEvents ConfidentialIssuesEvents MergeRequestsEvents NoteEvents "  # noqa: SIM905
    "ConfidentialNoteEvents JobEvents PipelineEvents WikiPageEvents EmojiEvents".split()
)
"""The events that are refused explicitly where they are not asked for, as upstream does: GitLab's default for
some is yes."""


class GitlabHooks(Hooks[GitlabConfig]):
    """One webhook in each list."""

    def __init__(self, ctx: SourceContext[GitlabConfig]) -> None:
        base = ctx.config.gitlab_base_url.rstrip("/").removesuffix("/api/v4")
        super().__init__(ctx, Api(f"{base}/api/v4", self._headers))

    def token(self) -> str:
        return self._ctx.secret(self._ctx.config.access_token)

    def wanted(self) -> dict[str, Any]:
        config = self._ctx.config
        wanted: dict[str, Any] = {"url": self.url, "enable_ssl_verification": config.enable_ssl_verification}
        wanted |= {FLAGS[name]: name in config.events for name in [*_PLAIN, *config.events]}
        if config.secret_token is not None:
            wanted["token"] = self._ctx.secret(config.secret_token)
        return wanted

    async def places(self) -> list[str]:
        found = []
        for place in self._ctx.config.places:
            kind, _, name = place.partition("/")
            found.append(f"{kind}/{quote(name, safe='')}/hooks")
        return found

    def listed(self, place: str) -> AsyncIterator[Any]:
        return self.api.linked_pages(place)

    def differs(self, hook: Mapping[str, Any]) -> bool:
        shown = {name: value for name, value in self.wanted().items() if name in hook}
        return any(hook[name] != value for name, value in shown.items())

    async def _headers(self) -> Mapping[str, str]:
        return {"PRIVATE-TOKEN": self.token()}
