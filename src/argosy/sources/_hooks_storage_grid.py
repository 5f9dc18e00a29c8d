"""An endpoint and a bucket notification of StorageGRID. Source: docs.netapp.com "Tenant Management API"; upstream
``pkg/eventsources/sources/storagegrid``, which makes the same calls.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import escape

from argosy.sources._base import SourceContext
from argosy.sources._hooks import Hooks
from argosy.sources._hooks_api import Api
from argosy.sources.storage_grid import StorageGridConfig
from argosy.tls import client_context


class StorageGridHooks(Hooks[StorageGridConfig]):
    """One endpoint, named by the topic, and the notification of one bucket that leads there."""

    def __init__(self, ctx: SourceContext[StorageGridConfig]) -> None:
        super().__init__(ctx, Api(ctx.config.api_url, self._headers, client_context(ctx.config.tls, ctx.secret)))

    def token(self) -> str:
        return self._ctx.secret(self._ctx.config.auth_token)

    def wanted(self) -> dict[str, Any]:
        config = self._ctx.config
        events = "".join(f"<Event>{escape(event)}</Event>" for event in config.events)
        return {
            "notification": "<NotificationConfiguration><TopicConfiguration>"
            f"<Id>{escape(self._ctx.event_name)}</Id><Topic>{escape(config.topic_arn)}</Topic>{events}"
            "</TopicConfiguration></NotificationConfiguration>"
        }

    async def places(self) -> list[str]:
        return ["org/endpoints"]

    async def listed(self, place: str) -> AsyncIterator[Any]:
        for endpoint in (await self.api.call("GET", place)).get("data", []):
            yield endpoint

    def ours(self, hook: Mapping[str, Any]) -> bool:
        return bool(hook.get("endpointURN") == self._ctx.config.topic_arn)

    def differs(self, hook: Mapping[str, Any]) -> bool:
        return False  # what a bucket is told is put whenever it may have changed; the API shows it as XML

    async def create(self, place: str) -> None:
        endpoint = {
            "displayName": self._ctx.event_name,
            "endpointURI": self.url,
            "endpointURN": self._ctx.config.topic_arn,
            "authType": "anonymous",
            "insecureTLS": True,
        }
        await self.api.call("POST", place, endpoint)
        await self._notify()

    async def update(self, place: str, hook: Mapping[str, Any]) -> None:
        await self._notify()

    async def _notify(self) -> None:
        bucket = quote(self._ctx.config.bucket, safe="")
        await self.api.call("PUT", f"org/containers/{bucket}/notification", self.wanted())

    async def _headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self.token()}"}
