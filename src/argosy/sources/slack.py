"""``slack``: events, slash commands and interactions of a Slack app; each becomes one event as Slack sent it.

Every request must be signed with the signing secret within the last five minutes, and those of the Events API
must carry the verification token, too. ``url_verification`` is answered with the challenge and makes no event.
Slash commands and interactions are answered with an empty 200: what a body says there, Slack shows to the user
or takes for an error. Sources: api.slack.com "Verifying requests from Slack", "Events API"; upstream
``pkg/eventsources/sources/slack``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from argosy.errors import EventInvalid
from argosy.lang import gojson
from argosy.manifests.fields import OURS, SecretKeySelector
from argosy.sources import _hooked, _verify
from argosy.sources._base import Source, SourceContext
from argosy.sources._hooked import NAMESPACE_DROPPED, HookedConfig
from argosy.sources._http_body import raw_json
from argosy.sources._http_context import unauthorized
from argosy.sources._raw import Raw, Wrapped, tail

if TYPE_CHECKING:
    from argosy.sources._http import Request, Response

_TOLERANCE_SECONDS = 300.0
_COMMAND = (
    "token",
    "team_id",
    "team_domain",
    "enterprise_id",
    "enterprise_name",
    "is_enterprise_install",
    "channel_id",
    "channel_name",
    "user_id",
    "user_name",
    "command",
    "text",
    "response_url",
    "trigger_id",
    "api_app_id",
)
_LEFT_OUT_IF_EMPTY = ("enterprise_id", "enterprise_name")


class SlackConfig(HookedConfig):
    """One Slack app."""

    dropped: ClassVar[Mapping[str, str]] = NAMESPACE_DROPPED

    token: SecretKeySelector
    """The app's verification token, which the Events API sends."""
    signing_secret: SecretKeySelector
    """The secret that Slack signs requests with."""
    previous_signing_secret: SecretKeySelector | None = Field(None, json_schema_extra=OURS)
    """A secret that is taken as well while ``signingSecret`` is being changed."""


class Slack(Source[SlackConfig]):
    """Receives what a Slack app is sent. An event that Slack sends again has the same id."""

    kind: ClassVar[str] = "slack"
    config = SlackConfig
    exclusive: ClassVar[bool] = False
    acknowledges: ClassVar[bool] = True
    peer: ClassVar[str] = "double: documented deliveries with their signatures"
    example: ClassVar[str] = """\
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata:
  name: slack
spec:
  slack:
    example:
      webhook:
        port: "12000"
        endpoint: /
        method: POST
      token:
        name: slack-secret
        key: tokenkey
      signingSecret:
        name: slack-secret
        key: signingSecret
"""

    @classmethod
    def wrap(cls, config: SlackConfig, raw: Raw) -> Wrapped:
        from argosy.sources._http_messages import recorded

        request = recorded(raw, "POST")
        form = _form(request)
        found = _of_form(config, form) if form is not None else _of_events_api(config, _hooked.document(request.body))
        if found is None:
            raise EventInvalid("the request is no event_callback; the source answers it and makes no event")
        return found

    async def run(self, ctx: SourceContext[SlackConfig]) -> None:
        from argosy.sources._http import SUCCESS, Response

        config = ctx.config

        async def answer(request: Request) -> Response:
            if reason := _unsigned(ctx, request):
                return unauthorized(ctx, reason)
            form = _form(request)
            if form is not None:
                data, name = _of_form(config, form)
                await ctx.emit(data, id=name)
                return Response(200)
            body = _hooked.document(request.body)
            if not _verify.same(_hooked.text(body, "token"), _verify.keys(ctx.secret, config.token)):
                return unauthorized(ctx, "the verification token is wrong")
            if body.get("type") == "url_verification":
                return Response(200, _hooked.text(body, "challenge"))
            found = _of_events_api(config, body)
            if found is not None:
                await ctx.emit(found.data, id=found.id)
            return SUCCESS

        await _hooked.serve(ctx, answer)


def _unsigned(ctx: SourceContext[SlackConfig], request: Request) -> str:
    timestamp = request.header("X-Slack-Request-Timestamp")
    if reason := _verify.stale(timestamp, ctx.clock.now().timestamp(), _TOLERANCE_SECONDS):
        return reason
    version, _, text = request.header("X-Slack-Signature").partition("=")
    secrets = _verify.keys(ctx.secret, ctx.config.signing_secret, ctx.config.previous_signing_secret)
    message = f"v0:{timestamp}:".encode() + request.body
    if version == "v0" and _verify.signed(secrets, message, [text]):
        return ""
    return "the signature is missing or wrong"


def _form(request: Request) -> Mapping[str, str] | None:
    """The fields of a form; None where the body is none."""
    return _hooked.form(request) if request.media_type == "application/x-www-form-urlencoded" else None


def _of_form(config: SlackConfig, form: Mapping[str, str]) -> Wrapped:
    def field(name: str) -> str:
        return form.get(name, "")

    if payload := field("payload"):
        value = _hooked.document(payload.encode())
        return _hooked.named(_with_metadata(config, raw_json(payload.encode())), _hooked.text(value, "trigger_id"))
    if not field("command"):
        raise EventInvalid("the form has neither 'payload' nor 'command', so it is nothing that Slack sends")
    command: dict[str, Any] = {name: field(name) for name in _COMMAND if field(name) or name not in _LEFT_OUT_IF_EMPTY}
    command["is_enterprise_install"] = field("is_enterprise_install") == "true"
    return _hooked.named(_with_metadata(config, gojson.dumps(command, sort_keys=False)), field("trigger_id"))


def _of_events_api(config: SlackConfig, body: dict[str, Any]) -> Wrapped | None:
    """The event of an ``event_callback``; None for the others."""
    if body.get("type") != "event_callback":
        return None
    inner = body.get("event")
    if not isinstance(inner, dict):
        raise EventInvalid("the event_callback has no event")
    data = gojson.dumps({"type": _hooked.text(inner, "type"), "Data": inner}, sort_keys=False)
    return _hooked.named(_with_metadata(config, data), _hooked.text(body, "event_id"))


def _with_metadata(config: SlackConfig, data: bytes) -> bytes:
    end = tail(config.metadata)
    if not end:
        return data
    return data[:-1] + (end[1:] if data == b"{}" else end) + b"}"
