"""Webhooks of GitHub's repositories and organizations.

Source: docs.github.com "REST API endpoints for repository webhooks", "Authenticating as a GitHub App
installation".
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, ClassVar
from urllib.parse import urlsplit

from argosy.errors import ConfigError
from argosy.json_web_token import signed
from argosy.sources._base import SourceContext
from argosy.sources._hooks import Hooks
from argosy.sources._hooks_api import Api
from argosy.sources.github import GithubApp, GithubConfig

_RENEW_SECONDS = 300.0


class GithubHooks(Hooks[GithubConfig]):
    """One webhook in each list."""

    change: ClassVar[str] = "PATCH"

    def __init__(self, ctx: SourceContext[GithubConfig]) -> None:
        self._installation = ("", 0.0)
        super().__init__(ctx, Api(_base(ctx.config.github_base_url), self._headers))

    def token(self) -> str:
        config = self._ctx.config
        if config.api_token is not None:
            return self._ctx.secret(config.api_token)
        assert config.github_app is not None  # managed
        return self._ctx.secret(config.github_app.private_key)

    def wanted(self) -> dict[str, Any]:
        config = self._ctx.config
        settings: dict[str, Any] = {"url": self.url, "insecure_ssl": "1" if config.insecure else "0"}
        if config.content_type:
            settings["content_type"] = config.content_type
        if config.webhook_secret is not None:
            settings["secret"] = self._ctx.secret(config.webhook_secret)
        return {"name": "web", "active": config.active, "events": config.events, "config": settings}

    async def places(self) -> list[str]:
        return [f"{place}/hooks" for place in self._ctx.config.places]

    def listed(self, place: str) -> AsyncIterator[Any]:
        return self.api.linked_pages(place)

    def ours(self, hook: Mapping[str, Any]) -> bool:
        return bool(hook.get("config", {}).get("url") == self.url)

    def differs(self, hook: Mapping[str, Any]) -> bool:
        config = self._ctx.config
        events = set(hook.get("events", []))
        same = "*" in events if "*" in config.events else events == set(config.events)
        return not same or bool(hook.get("active")) != config.active

    async def _headers(self) -> Mapping[str, str]:
        config = self._ctx.config
        token = self.token() if config.api_token is not None else await self._installed()
        return {
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": "2022-11-28",
            "Authorization": f"Bearer {token}",
        }

    async def _installed(self) -> str:
        """The token of the app's installation, which GitHub gives for an hour."""
        app = self._ctx.config.github_app
        assert app is not None  # managed, without apiToken
        now = self._ctx.clock.now().timestamp()
        token, until = self._installation
        if now >= until:
            assertion = _assertion(app, self.token(), now)

            async def headers() -> Mapping[str, str]:
                return {"Accept": "application/vnd.github+json", "Authorization": f"Bearer {assertion}"}

            async with Api(_base(self._ctx.config.github_base_url), headers) as api:
                given = await api.call("POST", f"app/installations/{app.installation_id}/access_tokens")
            token = str(given["token"])
            self._installation = (token, now + 3600.0 - _RENEW_SECONDS)
        return token


def _base(given: str) -> str:
    """The API's base: a GitHub Enterprise server has it below ``/api/v3``, as go-github knows."""
    if not given:
        return "https://api.github.com"
    base = given.rstrip("/")
    host = urlsplit(base).hostname or ""
    return base if base.endswith("/api/v3") or host.startswith("api.") or ".api." in host else f"{base}/api/v3"


def _assertion(app: GithubApp, private_key: str, now: float) -> str:
    """The JSON Web Token by which an app says who it is."""
    # A minute back, for clocks differ; ten minutes is the longest that GitHub takes.
    claims = {"iat": int(now) - 60, "exp": int(now) + 480, "iss": str(app.app_id)}
    try:
        return signed(claims, private_key, what="'githubApp'")
    except ValueError as error:
        raise ConfigError(f"githubApp.privateKey holds {error}") from error
