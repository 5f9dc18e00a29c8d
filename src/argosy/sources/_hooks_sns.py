"""The subscription of a URL to an SNS topic. Source: docs.aws.amazon.com "Amazon SNS API Reference"."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

from argosy.sources._aws import Aws
from argosy.sources._base import SourceContext
from argosy.sources._hooks import Hooks
from argosy.sources.sns import SnsConfig

_PENDING = "PendingConfirmation"


class SnsHooks(Hooks[SnsConfig]):
    """One subscription. Subscribing again is harmless: SNS answers with the subscription that is there."""

    def __init__(self, ctx: SourceContext[SnsConfig], aws: Aws) -> None:
        super().__init__(ctx, None)
        self._aws = aws

    def token(self) -> str:
        return self._ctx.config.topic_arn  # signing secrets play no part in what is subscribed

    def wanted(self) -> dict[str, Any]:
        return {
            "TopicArn": self._ctx.config.topic_arn,
            "Protocol": "https" if self.url.startswith("https://") else "http",
            "Endpoint": self.url,
        }

    async def places(self) -> list[str]:
        return [self._ctx.config.topic_arn]

    async def listed(self, place: str) -> AsyncIterator[Any]:
        token: dict[str, str] = {}
        while True:
            answer = await self._aws.call("ListSubscriptionsByTopic", TopicArn=place, **token)
            for member in answer.iterfind(".//Subscriptions/member"):
                yield {"id": member.findtext("SubscriptionArn"), "url": member.findtext("Endpoint")}
            following = answer.findtext(".//NextToken")
            if not following:
                return
            token = {"NextToken": following}

    def differs(self, hook: Mapping[str, Any]) -> bool:
        # One that was never confirmed is asked for anew, so that AWS sends the confirmation again.
        return bool(hook["id"] == _PENDING)

    async def create(self, place: str) -> None:
        await self._aws.call("Subscribe", **self.wanted())

    async def update(self, place: str, hook: Mapping[str, Any]) -> None:
        await self.create(place)

    async def delete(self, place: str, hook: Mapping[str, Any]) -> None:
        if hook["id"] != _PENDING:
            await self._aws.call("Unsubscribe", SubscriptionArn=hook["id"])
