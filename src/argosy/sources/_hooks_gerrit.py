"""Webhooks of a Gerrit server's projects. Source: the webhooks plug-in, "/config/ REST API"; gerrit-review "REST API:
Authentication", "Output Format".
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import quote

from argosy.errors import SourceError
from argosy.sources._base import SourceContext
from argosy.sources._hooks import Hooks
from argosy.sources._hooks_api import Api
from argosy.sources.gerrit import GerritConfig

_GUARD = b")]}'"
"""Stands in front of all JSON, so that no browser takes an answer for a script."""


class _GerritApi(Api):
    async def call(self, method: str, path: str, body: Any = None) -> Any:
        response = await self._send(method, path, body)
        if not response.content:
            return None
        try:
            return json.loads(response.content.removeprefix(_GUARD))
        except ValueError as error:
            raise SourceError(f"{method} {path} answered with something that is no JSON") from error


class GerritHooks(Hooks[GerritConfig]):
    """One webhook of the manifest's name in each project."""

    def __init__(self, ctx: SourceContext[GerritConfig]) -> None:
        # Requests below /a/ are those that say who asks.
        base = ctx.config.gerrit_base_url.rstrip("/").removesuffix("/a")
        super().__init__(ctx, _GerritApi(f"{base}/a", self._headers))
        made = f"argosy-{ctx.namespace}-{ctx.event_source}-{ctx.event_name}"
        self._name = ctx.config.hook_name or made

    def token(self) -> str:
        auth = self._ctx.config.auth
        assert auth.username is not None and auth.password is not None  # validated
        return f"{self._ctx.secret(auth.username)}:{self._ctx.secret(auth.password)}"

    def wanted(self) -> dict[str, Any]:
        config = self._ctx.config
        wanted: dict[str, Any] = {"url": self.url}
        if config.events:
            wanted["events"] = config.events
        if "ssl_verify" in config.model_fields_set:
            wanted["sslVerify"] = config.ssl_verify
        if config.max_tries is not None:
            wanted["maxTries"] = config.max_tries
        return wanted

    async def places(self) -> list[str]:
        projects = dict.fromkeys(self._ctx.config.projects)
        return [f"config/server/webhooks~projects/{quote(project, safe='')}/remotes" for project in projects]

    async def listed(self, place: str) -> AsyncIterator[Any]:
        for name, hook in (await self.api.call("GET", f"{place}/")).items():
            yield {**hook, "name": name}

    def id_of(self, hook: Mapping[str, Any]) -> str:
        return str(hook["name"])

    def ours(self, hook: Mapping[str, Any]) -> bool:
        return bool(hook["name"] == self._name)

    async def create(self, place: str) -> None:
        await self.update(place, {"name": self._name})

    def differs(self, hook: Mapping[str, Any]) -> bool:
        shown = {**hook, "events": sorted(hook.get("events") or [])}
        wanted = {**self.wanted(), "events": sorted(self._ctx.config.events)}
        return any(shown.get(name) != value for name, value in wanted.items())

    async def _headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Basic {base64.b64encode(self.token().encode()).decode()}"}
