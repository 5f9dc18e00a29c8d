"""``stripe``: each event that Stripe sends becomes one event of the same id.

``webhookSecret`` (ours; upstream checks nothing) has the signature checked. An event that ``eventFilter`` leaves
out is answered 200 and dropped, for Stripe sends again for days what is refused.
Sources: docs.stripe.com "Receive Stripe events in your webhook endpoint"; upstream
``pkg/eventsources/sources/stripe``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, model_validator

from argosy.errors import EventInvalid
from argosy.manifests.fields import OURS, Duration, SecretKeySelector
from argosy.sources import _hooked, _verify
from argosy.sources._base import Source, SourceContext
from argosy.sources._hooked import NAMESPACE_DROPPED, HookedConfig
from argosy.sources._http_body import raw_json
from argosy.sources._raw import Raw, Wrapped, tail

if TYPE_CHECKING:
    from argosy.sources._hooks import Hooks
    from argosy.sources._http import Request


class StripeConfig(HookedConfig):
    """One webhook endpoint of a Stripe account."""

    dropped: ClassVar[Mapping[str, str]] = NAMESPACE_DROPPED

    create_webhook: bool = False
    """Register ``webhook.url`` at Stripe; needs ``apiKey``."""
    api_key: SecretKeySelector | None = None
    """The key by which the endpoint is registered."""
    event_filter: list[str] = Field(default_factory=list)
    """The types of events to take, such as ``charge.succeeded``; all if empty."""
    webhook_secret: SecretKeySelector | None = Field(None, json_schema_extra=OURS)
    """The endpoint's signing secret, ``whsec_…``."""
    previous_webhook_secret: SecretKeySelector | None = Field(None, json_schema_extra=OURS)
    """A secret that is taken as well while ``webhookSecret`` is being changed."""
    tolerance: Duration = Field(300.0, gt=0, json_schema_extra=OURS)
    """How old a signature may be."""

    @model_validator(mode="after")
    def _complete(self) -> StripeConfig:
        if self.create_webhook and self.api_key is None:
            raise ValueError("needs 'apiKey', because of createWebhook: true")
        if self.create_webhook and not self.webhook.url:
            raise ValueError("needs 'webhook.url', because of createWebhook: true")
        return self


class Stripe(Source[StripeConfig]):
    """Receives Stripe's events."""

    kind: ClassVar[str] = "stripe"
    config = StripeConfig
    exclusive: ClassVar[bool] = False
    acknowledges: ClassVar[bool] = True
    peer: ClassVar[str] = "double: documented deliveries with their signatures, and a double of the API"
    example: ClassVar[str] = """\
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata:
  name: stripe
spec:
  stripe:
    example:
      webhook:
        port: "12000"
        endpoint: /example
        method: POST
      webhookSecret:
        name: stripe
        key: signingSecret
      eventFilter:
        - charge.succeeded
"""

    @classmethod
    def wrap(cls, config: StripeConfig, raw: Raw) -> Wrapped:
        from argosy.sources._http_messages import recorded

        found = _event(config, recorded(raw, "POST"))
        if found is None:
            raise EventInvalid("eventFilter leaves this type of event out; the source drops it")
        return found

    async def run(self, ctx: SourceContext[StripeConfig]) -> None:
        await _hooked.receive(ctx, _check, _event, _hooks(ctx))


def _hooks(ctx: SourceContext[StripeConfig]) -> Hooks[StripeConfig] | None:
    """The webhook endpoint to register, if the manifest wants that."""
    if not ctx.config.create_webhook:
        return None
    from argosy.sources._hooks_stripe import StripeHooks

    return StripeHooks(ctx)


def _check(ctx: SourceContext[StripeConfig], request: Request) -> None:
    """Raise EventInvalid unless the request is signed as the manifest says."""
    config = ctx.config
    if config.webhook_secret is None and config.previous_webhook_secret is None:
        return
    pairs = [part.partition("=") for part in request.header("Stripe-Signature").split(",")]
    timestamp = next((value for name, _, value in pairs if name.strip() == "t"), "")
    if reason := _verify.stale(timestamp, ctx.clock.now().timestamp(), config.tolerance):
        raise EventInvalid(reason)
    secrets = _verify.keys(ctx.secret, config.webhook_secret, config.previous_webhook_secret)
    given = [value for name, _, value in pairs if name.strip() == "v1"]
    if not _verify.signed(secrets, f"{timestamp}.".encode() + request.body, given):
        raise EventInvalid("the signature is missing or wrong")


def _event(config: StripeConfig, request: Request) -> Wrapped | None:
    """The event; None where ``eventFilter`` leaves it out."""
    body = _hooked.document(request.body)
    if config.event_filter and body.get("type") not in config.event_filter:
        return None
    data = b'{"event":%b%b}' % (raw_json(request.body), tail(config.metadata))
    return _hooked.named(data, _hooked.text(body, "id"))
