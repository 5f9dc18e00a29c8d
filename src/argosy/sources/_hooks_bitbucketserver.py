"""Webhooks of the repositories of a Bitbucket Server or Data Center. Source: developer.atlassian.com "Bitbucket
Data Center REST API: repository".
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import quote

from argosy.sources._base import SourceContext
from argosy.sources._hooks import Hooks
from argosy.sources._hooks_api import Api
from argosy.sources.bitbucketserver import BitbucketServerConfig
from argosy.tls import client_context


def api(ctx: SourceContext[BitbucketServerConfig]) -> Api:
    """The server's API, asked with ``accessToken``."""
    config = ctx.config
    assert config.access_token is not None  # validated
    token = config.access_token

    async def headers() -> Mapping[str, str]:
        return {"Authorization": f"Bearer {ctx.secret(token)}"}

    return Api(config.bitbucketserver_base_url, headers, client_context(config.tls, ctx.secret))


class BitbucketServerHooks(Hooks[BitbucketServerConfig]):
    """One webhook in the list of each repository, those of whole projects included."""

    def __init__(self, ctx: SourceContext[BitbucketServerConfig]) -> None:
        super().__init__(ctx, api(ctx))

    def token(self) -> str:
        assert self._ctx.config.access_token is not None  # managed
        return self._ctx.secret(self._ctx.config.access_token)

    def wanted(self) -> dict[str, Any]:
        config = self._ctx.config
        # Upstream's name, so that its hooks are taken over and not doubled.
        wanted: dict[str, Any] = {"name": "Argo Events", "url": self.url, "active": True, "events": config.events}
        if config.webhook_secret is not None:
            wanted["configuration"] = {"secret": self._ctx.secret(config.webhook_secret)}
        return wanted

    async def places(self) -> list[str]:
        found = list(self._ctx.config.named)
        for project in self._ctx.config.projects:
            path = f"api/1.0/projects/{quote(project, safe='')}/repos"
            found += [(project, each["slug"]) async for each in self.api.numbered_pages(path)]
        return [
            f"api/1.0/projects/{quote(project, safe='')}/repos/{quote(slug, safe='')}/webhooks"
            for project, slug in dict.fromkeys(found)
        ]

    def listed(self, place: str) -> AsyncIterator[Any]:
        return self.api.numbered_pages(place)

    def differs(self, hook: Mapping[str, Any]) -> bool:
        return set(hook.get("events", [])) != set(self._ctx.config.events) or not hook.get("active")
