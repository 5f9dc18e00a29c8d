"""The ``http`` trigger: one request per action, and the answer's status decides what becomes of the action.

Connections are kept open between actions; there is one client for each set of TLS material, proxy and egress rules. Every request
carries the action's id as ``Idempotency-Key`` and as the trace of ``traceparent``, the same at every try, so a receiver can tell a repetition
from a new request. Redirects are followed, link-local and metadata addresses are refused. Of the answer a
short excerpt is kept, and its JSON where it is not too large, with every secret of the request blotted out.

Different from upstream: a status of 400 and above is a failure unless ``policy.status`` allows it (upstream
takes any answer for a success); a payload without a Content-Type is sent as ``application/json``; cookies of
answers are forgotten.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from argosy.aws.client import AwsError, Client
from argosy.aws.credentials import Chains, Named
from argosy.aws.signing import signature
from argosy.errors import ConfigError, Rejected, TriggerError
from argosy.manifests.fields import BasicAuth, Json, SecretKeySelector, TriggerParameter
from argosy.triggers import _cloudevents, _http, _responses
from argosy.triggers._base import Action, Outcome, Trigger, TriggerContext
from argosy.triggers._egress import Egress
from argosy.triggers._http_auth import Answered, Asked, AwsAuth, OAuth2, Tokens
from argosy.triggers._http_clients import Clients, Proxy, Tls, of_environment
from argosy.triggers._http_config import HttpConfig, Redirects, SecureHeader
from argosy.triggers._http_head import Head
from argosy.triggers._http_url import filled

if TYPE_CHECKING:
    import httpx2

__all__ = ["HttpConfig", "HttpTrigger", "SecureHeader"]

_BODY_SECONDS = 5.0  # the status has decided by then; a body that trickles does not hold the action up
_TOKEN_BYTES = 64 * 1024
_EXCERPT = 500
_ALL, _NONE = Redirects(), Redirects(follow="none")


class _Read(NamedTuple):
    """What was read of an answer. ``whole`` is False where there was more, or the body broke off."""

    excerpt: str
    document: Json
    """The body as JSON; None where it is none."""
    is_json: bool
    whole: bool


@dataclass(frozen=True)
class _Call:
    """One request that is ready to be sent."""

    what: str
    method: str
    url: str
    head: Head
    body: bytes
    egress: Egress
    redirects: Redirects


class HttpTrigger(Trigger[HttpConfig]):
    """Sends an HTTP request."""

    kind: ClassVar[str] = "http"
    config = HttpConfig
    requires: ClassVar[tuple[str, ...]] = ("httpx2",)
    extra: ClassVar[str] = "http"
    peer: ClassVar[str] = "real: HTTP servers"
    example: ClassVar[str] = """\
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata:
  name: http
spec:
  dependencies:
    - name: order
      eventSourceName: webhook
      eventName: orders
  triggers:
    - template:
        name: tell-billing
        http:
          url: http://127.0.0.1:8080/billing
          method: POST
          headers:
            X-Origin: argosy
          payload:
            - src:
                dependencyName: order
                dataKey: body
                useRawData: true
              dest: order
          timeout: 10
      retryStrategy:
        steps: 5
        duration: 1s
        factor: 2
"""

    def __init__(self, ctx: TriggerContext) -> None:
        super().__init__(ctx)
        self._clients = Clients()
        self._tokens = Tokens(ctx.clock)
        self._held = contextlib.AsyncExitStack()
        self._aws: Chains | None = None

    async def __aexit__(self, *exc: object) -> None:
        await self._clients.close()
        self._aws = None
        await self._held.aclose()

    async def fire(self, config: HttpConfig, action: Action) -> Outcome:
        url = _url(config, action)
        method = config.method or "POST"
        what = f"{method} {_http.place(url)}"
        proxy = self._proxy(config, url)
        egress = Egress.of(config.egress, link_local=config.allow_link_local, proxied=bool(proxy.url))
        head, body = self._head(config, action)
        redirects = config.redirects or _ALL
        if config.auth is not None and config.auth.aws is not None:
            redirects = _NONE
        call = _Call(what, method, url, head, body, egress, redirects)
        async with self._clients.use(Tls.of(config.tls, self.ctx.secret), proxy, egress.digest) as client:
            response = await self._answer(client, config, call)
            try:
                patience = _BODY_SECONDS
                if action.policy is not None and action.policy.response is not None:
                    patience = float(config.timeout or 60)
                read = await _body(response, head, config.max_response_bytes, patience)
            finally:
                await response.aclose()
        said = f"{what} answered {response.status_code} {response.reason_phrase}".rstrip()
        _judge(response, said, read, action, redirects)
        detail: dict[str, Json] = {"status": response.status_code, "body": read.excerpt}
        if read.is_json:
            detail["json"] = read.document
        return Outcome(said, detail)

    async def _answer(self, client: httpx2.AsyncClient, config: HttpConfig, call: _Call) -> httpx2.Response:
        seconds = float(config.timeout or 60)
        auth = config.auth
        try:
            async with asyncio.timeout(seconds):
                if auth is not None and auth.oauth2 is not None:
                    return await self._with_token(client, auth.oauth2, call)
                if auth is not None and auth.aws is not None:
                    await self._sign(auth.aws, call)
                return await _send(client, call)
        except TimeoutError as error:
            raise TriggerError(f"{call.what}: no answer within {seconds:g} s") from error

    async def _with_token(self, client: httpx2.AsyncClient, config: OAuth2, call: _Call) -> httpx2.Response:
        """Send with a token; with a new one if the server does not accept the first."""
        who = Asked(self.ctx.secret(config.client_id), self.ctx.secret(config.client_secret))
        call.head.secrets.update(text for text in (who.secret,) if text)

        async def post(url: str, headers: dict[str, str], body: bytes) -> Answered:
            return await _form(client, call.egress, url, headers, body)

        token = await self._tokens.get(config, who, post)
        call.head.set("Authorization", f"Bearer {token}", secret=True)
        response = await _send(client, call)
        if response.status_code != 401:
            return response
        try:
            renewed = await self._tokens.get(config, who, post, not_this=token)
        except BaseException:
            await response.aclose()
            raise
        if renewed == token:
            return response
        await response.aclose()
        call.head.set("Authorization", f"Bearer {renewed}", secret=True)
        return await _send(client, call)

    async def _sign(self, config: AwsAuth, call: _Call) -> None:
        import httpx2

        if self._aws is None:
            client = await self._held.enter_async_context(Client("'http'", self.ctx.clock))
            self._aws = Chains(client, self.ctx.secret, self.ctx.clock)
        named = Named(config.access_key, config.secret_key, config.session_token, config.role_arn)
        try:
            credentials = await self._aws.of(named, config.region).get()
            url = str(httpx2.URL(call.url).copy_with(fragment=None))
        except ConfigError as error:
            raise Rejected(f"{call.what}: {error}") from error
        except AwsError as error:
            raise TriggerError(f"{call.what}: there are no credentials to sign it with: {error}") from error
        except httpx2.InvalidURL as error:
            raise Rejected(f"{call.what}: this is no http or https URL") from error
        given = dict(call.head.values.values())
        now, service = self.ctx.clock.now(), config.service
        for name, value in signature(
            call.method, url, given, call.body, credentials, config.region, service, now
        ).items():
            call.head.set(name, value, secret=name in ("Authorization", "X-Amz-Security-Token"))
        call.head.secrets.update(text for text in (credentials.secret, credentials.token) if text)

    def _head(self, config: HttpConfig, action: Action) -> tuple[Head, bytes]:
        """The body, and headers in upstream's order: headers, dynamicHeaders, secureHeaders, basicAuth; the later wins."""
        head = Head()
        body = action.payload or b""
        if config.cloud_event is not None:
            carried, body = _cloudevents.body(config.cloud_event, action)
            for name, value in carried.items():
                head.set(name, value)
        for name, value in config.headers.items():
            head.set(name, value)
        for header in config.dynamic_headers:
            found = action.resolve(header.src)
            if found is not None:
                head.set(header.dest, found.text)
        for secure in config.secure_headers:
            secret, item = secure.value_from.secret_key_ref, secure.value_from.config_map_key_ref
            if secret is not None:
                head.set(secure.name, self.ctx.secret(secret), secret=True)
            elif item is not None:
                head.set(secure.name, self.ctx.config_map(item), secret=True)
        if config.basic_auth is not None:
            user, password = self._pair(config.basic_auth)
            pair = base64.b64encode(f"{user}:{password}".encode()).decode()
            head.set("Authorization", f"Basic {pair}", secret=True)
            head.secrets.update(text for text in (password, f"{user}:{password}") if text)
        if config.auth is not None and config.auth.bearer is not None:
            head.set("Authorization", f"Bearer {self.ctx.secret(config.auth.bearer.token_secret)}", secret=True)
        if config.host:
            head.set("Host", config.host)
        if body and "Content-Type" not in head:
            head.set("Content-Type", "application/json")
        if "Idempotency-Key" not in head:
            head.set("Idempotency-Key", action.id)
        if "traceparent" not in head:
            head.set("traceparent", action.traceparent)
        return head, body

    def _pair(self, auth: BasicAuth) -> tuple[str, str]:
        def text(selector: SecretKeySelector | None) -> str:
            return self.ctx.secret(selector) if selector is not None else ""

        return text(auth.username), text(auth.password)

    def _proxy(self, config: HttpConfig, url: str) -> Proxy:
        if config.proxy is None:
            return of_environment(url)
        user, password = self._pair(config.proxy.auth) if config.proxy.auth is not None else ("", "")
        return Proxy(config.proxy.url, user, password)


async def _send(client: httpx2.AsyncClient, call: _Call) -> httpx2.Response:
    with _http.sentences(call.what):
        return await _http.send(
            client,
            client.build_request(call.method, call.url, headers=call.head.encoded(), content=call.body or None),
            rules=call.egress,
            private=call.head.private,
            follow=call.redirects.follow,
            most=call.redirects.most,
        )


async def _form(client: httpx2.AsyncClient, egress: Egress, url: str, headers: dict[str, str], body: bytes) -> Answered:
    """Send a request for a token, under the same rules as the request that it is for."""
    what = f"the token endpoint {_http.place(url)}"
    with _http.sentences(what):
        request = client.build_request("POST", url, headers=headers, content=body)
        response, content = await _http.ask(client, request, _TOKEN_BYTES, rules=egress, follow="none")
    return Answered(response.status_code, content, response.headers.get("Retry-After"))


def _url(config: HttpConfig, action: Action) -> str:
    if not config.path_parameters and not config.query_parameters:
        return config.url
    path = [(entry.dest, _value(entry, action)) for entry in config.path_parameters]
    query = [(entry.dest, _value(entry, action)) for entry in config.query_parameters]
    return filled(config.url, path, query)


def _value(entry: TriggerParameter, action: Action) -> str | None:
    found = action.resolve(entry.src)
    return None if found is None else found.text


async def _body(response: httpx2.Response, head: Head, most: int, seconds: float) -> _Read:
    """The body up to ``most`` bytes. One that breaks off or trickles is no failure by itself: the status has spoken."""
    import httpx2

    body = bytearray()
    whole = False
    with contextlib.suppress(httpx2.HTTPError, TimeoutError):
        async with asyncio.timeout(seconds):
            async for piece in _http.read(response, most + 1):
                body += piece
            whole = len(body) <= most
    text = head.blot(bytes(body[:most]).decode(errors="replace"))
    document: Json = None
    is_json = False
    if whole and "json" in response.headers.get("Content-Type", "").lower():
        with contextlib.suppress(ValueError, RecursionError):
            document = json.loads(text, parse_constant=_no_number)
            is_json = True
    return _Read(" ".join(text.split())[:_EXCERPT], document, is_json, whole)


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is no JSON")


def _judge(response: httpx2.Response, said: str, read: _Read, action: Action, redirects: Redirects) -> None:
    """Return if the answer is a success; raise what it means if it is not."""
    status = response.status_code
    policy = action.policy.status if action.policy else None
    if policy is not None:
        if status in policy.allow:
            return _judge_body(said, read, action)
        said += f", which policy.status does not allow ({', '.join(map(str, policy.allow))})"
    elif status < 400:
        if redirects.follow != "all" and response.has_redirect_location:
            where = _http.place(response.headers.get("Location", ""))
            raise Rejected(f"{said}, a redirect to {where} that is not followed")
        return _judge_body(said, read, action)
    sentence = f"{said}: {read.excerpt[:200]}" if read.excerpt else said
    raise _http.failure(status, sentence, response.headers.get("Retry-After"))


def _judge_body(said: str, read: _Read, action: Action) -> None:
    _responses.require(action.policy, said, read.document, "" if read.is_json else _no_document(read))


def _no_document(read: _Read) -> str:
    if not read.whole:
        return "the body broke off, or is larger than maxResponseBytes"
    return "the body is no JSON with a Content-Type that says so"
