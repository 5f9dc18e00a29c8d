"""The ``openWhisk`` trigger: one blocking invocation of an action of Apache OpenWhisk per action of ours.

It waits for the result, as upstream does; an invocation that OpenWhisk takes longer over than it lets a caller wait (202) counts as performed.
OpenWhisk recognises no repetition: the action's id goes along as ``Idempotency-Key``, for a proxy before it. Connections are
kept open between actions.

Different from upstream: the payload is the parameters' JSON object, as OpenWhisk's documents want it, and not its
Base64 as a JSON string; a status that says no fails the action; a token that changes is taken up.
Source: OpenWhisk's "Using REST APIs with OpenWhisk".
"""

from __future__ import annotations

import asyncio
import base64
import re
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import quote, urlsplit

import orjson
from pydantic import ConfigDict, Field, field_validator

from argosy.errors import Rejected, TriggerError
from argosy.manifests.fields import Json, SecretKeySelector, TLSConfig, TriggerParameter
from argosy.triggers import _http
from argosy.triggers._base import Action, Outcome, Trigger, TriggerConfig, TriggerContext
from argosy.triggers._http_clients import Clients, Tls, of_environment
from argosy.triggers._http_head import Head

if TYPE_CHECKING:
    import httpx2

_CALL_SECONDS = 90.0
"""A blocking invocation is answered after 60 s at the latest."""
_BODY_BYTES = 1024 * 1024
_EXCERPT = 500
_ACTIVATION = "X-Openwhisk-Activation-Id"
_NAME = re.compile(r"[^/?#\s]+(/[^/?#\s]+)?")


class OpenWhiskConfig(TriggerConfig):
    """The ``openWhisk`` block."""

    model_config = ConfigDict(hide_input_in_errors=True)

    host: str
    """The API host, ``whisk.example.com``; TLS is spoken unless it begins with ``http://``."""
    version: str = "v1"
    """The version of the API."""
    namespace: str = "_"
    """The namespace of the action; ``_`` is that of the token."""
    auth_token: SecretKeySelector | None = None
    """The authentication key, ``uuid:key``."""
    action_name: str
    """The action, ``action`` or ``package/action``."""
    payload: list[TriggerParameter] = Field(min_length=1)
    """The action's parameters: a JSON object."""
    parameters: list[TriggerParameter] = Field(default_factory=list)
    """Values out of events that are set on this block before it is used."""
    tls: TLSConfig | None = Field(default=None, json_schema_extra={"x-argosy": True})
    """Who signed the host's certificate, where the machine does not know."""

    @field_validator("host")
    @classmethod
    def _readable(cls, host: str) -> str:
        _base(host)
        return host

    @field_validator("action_name")
    @classmethod
    def _named(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError("is no action's name; write action, or package/action")
        return name


class OpenWhisk(Trigger[OpenWhiskConfig]):
    """Invokes an action of OpenWhisk."""

    kind: ClassVar[str] = "openWhisk"
    config = OpenWhiskConfig
    requires: ClassVar[tuple[str, ...]] = ("httpx2",)
    extra: ClassVar[str] = "http"
    peer: ClassVar[str] = "double: OpenWhisk's documented REST API"
    example: ClassVar[str] = """\
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata:
  name: open-whisk
spec:
  dependencies:
    - name: order
      eventSourceName: webhook
      eventName: orders
  triggers:
    - template:
        name: bill
        openWhisk:
          host: whisk.example.com
          namespace: shop
          actionName: billing/create
          authToken:
            name: open-whisk
            key: token
          payload:
            - src:
                dependencyName: order
                dataKey: body.id
              dest: order
"""

    def __init__(self, ctx: TriggerContext) -> None:
        super().__init__(ctx)
        self._clients = Clients()

    async def __aexit__(self, *exc: object) -> None:
        await self._clients.close()

    async def fire(self, config: OpenWhiskConfig, action: Action) -> Outcome:
        import httpx2

        body = _object(action.payload)
        path = "/".join(quote(part, safe="") for part in config.action_name.split("/"))
        base = f"{_base(config.host)}/api/{quote(config.version or 'v1', safe='')}"
        url = f"{base}/namespaces/{quote(config.namespace or '_', safe='')}/actions/{path}"
        what = f"POST {_http.place(url)}"
        head = self._head(config, action)
        try:
            async with (
                asyncio.timeout(_CALL_SECONDS),
                self._clients.use(Tls.of(config.tls, self.ctx.secret), of_environment(url), "") as client,
            ):
                with _http.sentences(what):
                    params = {"blocking": "true", "result": "true"}
                    request = client.build_request("POST", url, params=params, headers=head.encoded(), content=body)
                    response, text = await _http.ask(client, request, _BODY_BYTES, follow="sameOrigin")
        except TimeoutError as error:
            raise TriggerError(f"{what}: no answer within {_CALL_SECONDS:g} s") from error
        except httpx2.InvalidURL as error:
            raise Rejected(f"{what}: this is no http or https URL") from error
        excerpt = " ".join(head.blot(text.decode(errors="replace")).split())[:_EXCERPT]
        said = f"{what} answered {response.status_code} {response.reason_phrase}".rstrip()
        _judge(response, said, excerpt, action)
        detail: dict[str, Json] = {"status": response.status_code, "body": excerpt}
        if activation := response.headers.get(_ACTIVATION):
            detail["activationId"] = activation
        running = "; it is still running" if response.status_code == 202 else ""
        return Outcome(said + running, detail)

    def _head(self, config: OpenWhiskConfig, action: Action) -> Head:
        head = Head()
        head.set("Content-Type", "application/json")
        head.set("Idempotency-Key", action.id)
        head.set("traceparent", action.traceparent)
        if config.auth_token is not None:
            token = self.ctx.secret(config.auth_token).strip()
            head.set("Authorization", f"Basic {base64.b64encode(token.encode()).decode()}", secret=True)
            head.secrets.update(text for text in (token, token.partition(":")[2]) if text)
        return head


def _object(payload: bytes | None) -> bytes:
    """The action's parameters. Raises Rejected if they are none."""
    try:
        found = orjson.loads(payload or b"{}")
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise Rejected("the payload is no JSON object, and OpenWhisk takes nothing else; give each part of it a 'dest'")
    return payload or b"{}"


def _judge(response: httpx2.Response, said: str, text: str, action: Action) -> None:
    """Return if the status is a success; raise what it means if it is not."""
    status = response.status_code
    policy = action.policy.status if action.policy else None
    if policy is not None:
        if status in policy.allow:
            return
        said += f", which policy.status does not allow ({', '.join(map(str, policy.allow))})"
    elif status < 300:
        return
    if status in (401, 403):
        said += "; correct authToken, or grant its subject the right to invoke the action"
    sentence = f"{said}: {text[:200]}" if text else said
    if status < 400:  # the activation is over, or a redirect leads elsewhere; both would be so again
        raise Rejected(sentence)
    raise _http.failure(status, sentence, response.headers.get("Retry-After"))


def _base(host: str) -> str:
    """Scheme and authority of the API. Raises ValueError."""
    scheme, found, rest = host.partition("://")
    if not found:
        scheme, rest = "https", host
    try:
        parts = urlsplit(f"//{rest.rstrip('/')}")
        whole = bool(parts.hostname) and parts.username is None and not parts.path and not parts.query
        _ = parts.port
    except ValueError:
        whole = False
    if scheme not in ("http", "https") or not whole:
        raise ValueError("is no API host; write for example whisk.example.com, or http://127.0.0.1:3233")
    return f"{scheme}://{parts.netloc}"
