"""A webhook endpoint of a Stripe account. Source: docs.stripe.com "API: Webhook Endpoints"."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, ClassVar

from argosy.sources._base import SourceContext
from argosy.sources._hooks import Hooks
from argosy.sources._hooks_api import Api
from argosy.sources.stripe import StripeConfig

_LIST = "v1/webhook_endpoints"


class StripeHooks(Hooks[StripeConfig]):
    """One endpoint. Its signing secret is Stripe's to give: it stands in the dashboard, and belongs into
    ``webhookSecret``."""

    change: ClassVar[str] = "POST"

    def __init__(self, ctx: SourceContext[StripeConfig]) -> None:
        super().__init__(ctx, Api("https://api.stripe.com", self._headers, form=True))

    def token(self) -> str:
        assert self._ctx.config.api_key is not None  # validated
        return self._ctx.secret(self._ctx.config.api_key)

    def wanted(self) -> dict[str, Any]:
        return {"url": self.url, "enabled_events[]": self._ctx.config.event_filter or ["*"]}

    async def places(self) -> list[str]:
        return [_LIST]

    async def listed(self, place: str) -> AsyncIterator[Any]:
        after = ""
        while True:
            page = await self.api.call("GET", f"{place}?limit=100{after}")
            for endpoint in page["data"]:
                yield endpoint
            if not page.get("has_more") or not page["data"]:
                return
            after = f"&starting_after={self.id_of(page['data'][-1])}"

    def differs(self, hook: Mapping[str, Any]) -> bool:
        return set(hook.get("enabled_events", [])) != set(self.wanted()["enabled_events[]"])

    async def _headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self.token()}"}
