"""Webhooks of Bitbucket Cloud's repositories. Source: developer.atlassian.com "Bitbucket Cloud REST API: webhooks"."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Mapping
from typing import Any

from argosy.sources._base import SourceContext
from argosy.sources._hooks import Hooks
from argosy.sources._hooks_api import Api
from argosy.sources.bitbucket import BitbucketConfig


class BitbucketHooks(Hooks[BitbucketConfig]):
    """One webhook in each list."""

    def __init__(self, ctx: SourceContext[BitbucketConfig]) -> None:
        super().__init__(ctx, Api(ctx.config.bitbucket_base_url, self._headers))

    def token(self) -> str:
        auth = self._ctx.config.auth
        assert auth is not None  # managed
        if auth.basic is not None:
            assert auth.basic.username is not None and auth.basic.password is not None  # validated
            return f"{self._ctx.secret(auth.basic.username)}:{self._ctx.secret(auth.basic.password)}"
        assert auth.oauth_token is not None  # managed
        return self._ctx.secret(auth.oauth_token)

    def wanted(self) -> dict[str, Any]:
        config = self._ctx.config
        wanted: dict[str, Any] = {
            "description": "webhook managed by Argosy",
            "url": self.url,
            "active": True,
            "events": config.events,
        }
        if config.webhook_secret is not None:
            wanted["secret"] = self._ctx.secret(config.webhook_secret)
        return wanted

    async def places(self) -> list[str]:
        return [f"repositories/{place}/hooks" for place in self._ctx.config.places]

    def listed(self, place: str) -> AsyncIterator[Any]:
        return self.api.next_pages(place)

    def id_of(self, hook: Mapping[str, Any]) -> str:
        return str(hook["uuid"])

    def differs(self, hook: Mapping[str, Any]) -> bool:
        return set(hook.get("events", [])) != set(self._ctx.config.events) or not hook.get("active")

    async def _headers(self) -> Mapping[str, str]:
        auth, token = self._ctx.config.auth, self.token()
        if auth is not None and auth.basic is not None:
            return {"Authorization": f"Basic {base64.b64encode(token.encode()).decode()}"}
        return {"Authorization": f"Bearer {token}"}
