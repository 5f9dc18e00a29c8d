"""``gerrit``: each event that the webhooks plug-in of a Gerrit server sends becomes one event.

Deliveries carry no name of their own and no signature. An event that Gerrit sends again has the same body to the
byte, with the second in which it happened, so type, second and a digest of the body name it.
Sources: the plug-in's pages "Configuration" and "/config/ REST API"; gerrit-review "gerrit stream-events"; upstream
``pkg/eventsources/sources/gerrit``.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, model_validator

from argosy.lang import gojson
from argosy.manifests.fields import BasicAuth
from argosy.sources import _hooked
from argosy.sources._base import Source, SourceContext
from argosy.sources._hooked import HookedConfig
from argosy.sources._http_body import raw_json
from argosy.sources._raw import Raw, Wrapped

if TYPE_CHECKING:
    from argosy.sources._hooks import Hooks
    from argosy.sources._http import Request


class GerritConfig(HookedConfig):
    """Which projects send what.

    Webhooks are registered where ``webhook.url`` is given.
    """

    hook_name: str = ""
    """The name of the webhook (the plug-in's ``remote``) in each project; empty means one that is made of the names
    of namespace, event source and event."""
    events: list[str]
    """Which events are asked for, such as ``patchset-created``; an empty list means all. Counts where webhooks are
    registered."""
    auth: BasicAuth
    """Who asks the REST API: a user and the HTTP password that Gerrit made for the user."""
    gerrit_base_url: str = Field(min_length=1, alias="gerritBaseURL")
    """The server, with the path before ``/a/`` where it has one."""
    projects: list[str] = Field(min_length=1)
    """The projects that get a webhook."""
    delete_hook_on_finish: bool = False
    """Delete the webhooks when the last process ends."""
    ssl_verify: bool = False
    """Gerrit verifies the certificate of ``webhook.url``. Left out, the server's own setting holds."""
    max_tries: int | None = Field(None, ge=0)
    """How often Gerrit tries to deliver an event. Left out, the server's own setting holds."""

    @model_validator(mode="after")
    def _complete(self) -> GerritConfig:
        if self.auth.username is None or self.auth.password is None:
            raise ValueError("auth needs username and password")
        return self


class Gerrit(Source[GerritConfig]):
    """Receives the events of a Gerrit server."""

    kind: ClassVar[str] = "gerrit"
    config = GerritConfig
    exclusive: ClassVar[bool] = False
    acknowledges: ClassVar[bool] = True
    peer: ClassVar[str] = "double: deliveries and REST API as the webhooks plug-in documents them"
    example: ClassVar[str] = """\
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata:
  name: gerrit
spec:
  gerrit:
    example:
      hookName: build
      projects:
        - platform/build
      webhook:
        port: "12000"
        endpoint: /events
        method: POST
        url: https://argosy.example.com
      events:
        - patchset-created
        - change-merged
      auth:
        username:
          name: gerrit-access
          key: username
        password:
          name: gerrit-access
          key: password
      sslVerify: true
      gerritBaseURL: https://gerrit.example.com
"""

    @classmethod
    def wrap(cls, config: GerritConfig, raw: Raw) -> Wrapped:
        from argosy.sources._http_messages import recorded

        return _event(config, recorded(raw, "POST"))

    async def run(self, ctx: SourceContext[GerritConfig]) -> None:
        await _hooked.receive(ctx, _any, _event, _hooks(ctx), delete=ctx.config.delete_hook_on_finish)


def _hooks(ctx: SourceContext[GerritConfig]) -> Hooks[GerritConfig] | None:
    """The webhooks to register, if the manifest wants that."""
    if not ctx.config.webhook.url:
        return None
    from argosy.sources._hooks_gerrit import GerritHooks

    return GerritHooks(ctx)


def _any(ctx: SourceContext[GerritConfig], request: Request) -> None:
    """Gerrit signs nothing; who may send is said by ``webhook.verify``."""


def _event(config: GerritConfig, request: Request) -> Wrapped:
    data = _hooked.envelope(config, request, raw_json(request.body))
    body = gojson.loads(request.body)
    if not isinstance(body, dict) or not isinstance(created := body.get("eventCreatedOn"), int):
        return Wrapped(data, None)
    return _hooked.named(data, _hooked.text(body, "type"), str(created), hashlib.sha256(request.body).hexdigest()[:16])
