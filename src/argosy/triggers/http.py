"""The ``http`` trigger: one request per action, and the answer's status decides what becomes of the action.

Connections are kept open between actions; there is one client for each set of TLS material. Every request
carries the action's id as ``Idempotency-Key`` and as the trace of ``traceparent``, the same at every try, so a receiver can tell a repetition
from a new request. Redirects are followed, link-local and metadata addresses are refused. Of the answer a
short excerpt is kept, with every secret of the request blotted out.

Different from upstream: a status of 400 and above is a failure unless ``policy.status`` allows it (upstream
takes any answer for a success); a payload without a Content-Type is sent as ``application/json``; cookies of
answers are forgotten.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import os
import re
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal
from urllib.parse import quote

from pydantic import Field, model_validator

from argosy import __version__, retry_after
from argosy.connecting import mounts
from argosy.errors import Rejected, RetryAfter, TriggerError
from argosy.manifests.fields import BasicAuth, Model, TLSConfig, TriggerParameter, ValueFrom
from argosy.triggers import _http
from argosy.triggers._base import TELLING, Action, Outcome, Trigger, TriggerConfig, TriggerContext

if TYPE_CHECKING:
    import httpx2

_BODY_BYTES = 64 * 1024  # read so that the connection can be used again; what is longer costs a new connection
_BODY_SECONDS = 5.0  # the status has decided by then; a body that trickles does not hold the action up
_EXCERPT = 500
_TRY_AGAIN = frozenset((408, 425, 429))
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 §5.6.2, token
_CLIENTS = 8


class SecureHeader(Model):
    """A header whose value is in a Secret or a ConfigMap."""

    name: str
    value_from: ValueFrom


class HttpConfig(TriggerConfig):
    """The ``http`` block."""

    dropped: ClassVar[Mapping[str, str]] = {"serverURL": "0.14; write 'url'"}

    url: str = Field(min_length=1)
    method: Literal["", "GET", "DELETE", "PATCH", "POST", "PUT"] = ""
    """Empty means POST."""
    payload: list[TriggerParameter] = Field(default_factory=list)
    parameters: list[TriggerParameter] = Field(default_factory=list)
    headers: dict[str, str] = Field(default_factory=dict)
    dynamic_headers: list[TriggerParameter] = Field(default_factory=list)
    """Headers out of events; ``dest`` is the header's name."""
    secure_headers: list[SecureHeader] = Field(default_factory=list)
    basic_auth: BasicAuth | None = None
    tls: TLSConfig | None = None
    timeout: int = Field(0, ge=0)
    """Seconds for the whole request with its redirects; 0 means 60."""
    host: str = ""
    """The ``Host`` header, where it is not the URL's."""
    allow_link_local: bool = Field(False, json_schema_extra={"x-argosy": True})
    """Ours: allow link-local and metadata addresses."""

    @model_validator(mode="after")
    def _named(self) -> HttpConfig:
        for number, header in enumerate(self.dynamic_headers):
            if not header.dest:
                raise ValueError(f"dynamicHeaders.{number} needs dest, which is the name of the header")
        for secure in self.secure_headers:
            if (secure.value_from.secret_key_ref is None) == (secure.value_from.config_map_key_ref is None):
                raise ValueError(f"secureHeaders {secure.name!r} needs one of secretKeyRef and configMapKeyRef")
        return self


@dataclass
class _Head:
    """The headers of one request, and what of them must not be shown."""

    values: dict[str, tuple[str, str]] = field(default_factory=dict)
    """By lower-case name: the name as given, and the value."""
    private: set[str] = field(default_factory=set)
    secrets: set[str] = field(default_factory=set)

    def set(self, name: str, value: str, *, secret: bool = False) -> None:
        # Line breaks would let a value add headers of its own.
        value = value.strip(" \t\r\n")
        if not _NAME.fullmatch(name):
            raise Rejected(f"{name!r} is not the name of an HTTP header")
        if any(character < " " and character != "\t" for character in value):
            raise Rejected(f"the value of header {name!r} holds a line break or another control character")
        self.values[name.lower()] = (name, value)
        if secret or TELLING.search(name):
            self.private.add(name.lower())
            if value:
                # "Bearer abc" is as secret as "abc" alone.
                self.secrets.update((value, value.rpartition(" ")[2]))

    def __contains__(self, name: str) -> bool:
        return name.lower() in self.values

    def encoded(self) -> list[tuple[bytes, bytes]]:
        return [(name.encode(), value.encode()) for name, value in self.values.values()]

    def blot(self, text: str) -> str:
        """``text`` without the secrets, however long they are."""
        for secret in sorted(self.secrets, key=len, reverse=True):
            for form in (secret, quote(secret, safe=""), secret.replace('"', '\\"')):
                text = text.replace(form, "***")
        return text


@dataclass
class _Open:
    """An open client and how many requests use it."""

    client: httpx2.AsyncClient
    users: int = 0


class _Clients:
    """Open clients by their TLS material; of those unused, the oldest are closed (certificates get
    renewed).
    """

    def __init__(self) -> None:
        self._open: dict[str, _Open] = {}

    @contextlib.asynccontextmanager
    async def use(self, tls: _Tls) -> AsyncIterator[httpx2.AsyncClient]:
        key = tls.digest
        if key not in self._open:
            context = await asyncio.to_thread(tls.context)
            self._open.setdefault(key, _Open(_client(context)))
        held = self._open[key]
        held.users += 1
        try:
            yield held.client
        finally:
            held.users -= 1
            idle = [name for name, other in self._open.items() if not other.users]
            for name in idle[:-_CLIENTS]:
                await self._open.pop(name).client.aclose()

    async def close(self) -> None:
        while self._open:
            await self._open.popitem()[1].client.aclose()


@dataclass(frozen=True)
class _Tls:
    """What TLS is done with: PEM texts. ``digest`` names them without telling them."""

    verified: bool = True
    authority: str = field(default="", repr=False)
    certificate: str = field(default="", repr=False)
    key: str = field(default="", repr=False)

    @property
    def digest(self) -> str:
        parts = (str(self.verified), self.authority, self.certificate, self.key)
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def context(self) -> ssl.SSLContext:
        """Reads the machine's authorities, so it blocks. Raises Rejected if the texts are not what they
        should be.
        """
        if not self.authority and not self.certificate:
            return _http.trust(self.verified)
        try:
            context = ssl.create_default_context(cadata=self.authority or None)
            if not self.verified:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            if self.certificate:
                _load(context, self.certificate, self.key)
        except (ssl.SSLError, ValueError) as error:
            raise Rejected("tls: the certificates or the key of the Secrets are not PEM, or no pair") from error
        return context


def _load(context: ssl.SSLContext, certificate: str, key: str) -> None:
    # OpenSSL takes our certificate from files only; a memory file keeps the key off the disk.
    descriptor = os.memfd_create("certificate", os.MFD_CLOEXEC)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(f"{certificate}\n{key}\n".encode())
        # A password is given so that an encrypted key fails instead of asking on the terminal.
        context.load_cert_chain(f"/proc/self/fd/{descriptor}", password="no password")
    finally:
        os.close(descriptor)


def _client(context: ssl.SSLContext) -> httpx2.AsyncClient:
    import http.cookiejar

    import httpx2

    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=32, keepalive_expiry=60.0)
    client = httpx2.AsyncClient(
        verify=context,
        timeout=None,
        limits=limits,
        mounts=mounts(verify=context, limits=limits),
        # No packed answers: a short body may not grow into a long one here.
        headers={"User-Agent": f"argosy/{__version__}", "Accept": "*/*", "Accept-Encoding": "identity"},
    )
    client.cookies.jar.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
    return client


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
        self._clients = _Clients()

    async def __aexit__(self, *exc: object) -> None:
        await self._clients.close()

    async def fire(self, config: HttpConfig, action: Action) -> Outcome:
        method = config.method or "POST"
        what = f"{method} {_http.place(config.url)}"
        head = self._head(config, action)
        async with self._clients.use(self._tls(config)) as client:
            response = await self._answer(client, method, what, config, head, action)
            try:
                text = await _excerpt(response, head)
            finally:
                await response.aclose()
        said = f"{what} answered {response.status_code} {response.reason_phrase}".rstrip()
        _judge(response, said, text, action)
        return Outcome(said, {"status": response.status_code, "body": text})

    async def _answer(
        self,
        client: httpx2.AsyncClient,
        method: str,
        what: str,
        config: HttpConfig,
        head: _Head,
        action: Action,
    ) -> httpx2.Response:
        seconds = float(config.timeout or 60)
        try:
            async with asyncio.timeout(seconds):
                with _http.sentences(what):
                    return await _http.send(
                        client,
                        client.build_request(
                            method, config.url, headers=head.encoded(), content=action.payload or None
                        ),
                        link_local=config.allow_link_local,
                        private=head.private,
                        hint="; if it must, say allowLinkLocal: true",
                    )
        except TimeoutError as error:
            raise TriggerError(f"{what}: no answer within {seconds:g} s") from error

    def _head(self, config: HttpConfig, action: Action) -> _Head:
        """Headers in upstream's order: headers, dynamicHeaders, secureHeaders, basicAuth; the later wins."""
        head = _Head()
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
            auth = config.basic_auth
            user = self.ctx.secret(auth.username) if auth.username else ""
            password = self.ctx.secret(auth.password) if auth.password else ""
            pair = base64.b64encode(f"{user}:{password}".encode()).decode()
            head.set("Authorization", f"Basic {pair}", secret=True)
            head.secrets.update(text for text in (password, f"{user}:{password}") if text)
        if config.host:
            head.set("Host", config.host)
        if action.payload and "Content-Type" not in head:
            head.set("Content-Type", "application/json")
        if "Idempotency-Key" not in head:
            head.set("Idempotency-Key", action.id)
        if "traceparent" not in head:
            head.set("traceparent", action.traceparent)
        return head

    def _tls(self, config: HttpConfig) -> _Tls:
        tls = config.tls
        if tls is None:
            return _Tls()
        secret = self.ctx.secret
        return _Tls(
            verified=not tls.insecure_skip_verify,
            authority=secret(tls.ca_cert_secret) if tls.ca_cert_secret else "",
            certificate=secret(tls.client_cert_secret) if tls.client_cert_secret else "",
            key=secret(tls.client_key_secret) if tls.client_key_secret else "",
        )


async def _excerpt(response: httpx2.Response, head: _Head) -> str:
    """The body's beginning as one line. A body that breaks off or trickles changes nothing: the status has
    spoken.
    """
    import httpx2

    body = bytearray()
    with contextlib.suppress(httpx2.HTTPError, TimeoutError):
        async with asyncio.timeout(_BODY_SECONDS):
            async for piece in _http.read(response, _BODY_BYTES):
                body += piece
    return " ".join(head.blot(body.decode(errors="replace")).split())[:_EXCERPT]


def _judge(response: httpx2.Response, said: str, text: str, action: Action) -> None:
    """Return if the status is a success; raise what it means if it is not."""
    status = response.status_code
    policy = action.policy.status if action.policy else None
    if policy is not None:
        if status in policy.allow:
            return
        said += f", which policy.status does not allow ({', '.join(map(str, policy.allow))})"
    elif status < 400:
        return
    sentence = f"{said}: {text[:200]}" if text else said
    if 400 <= status < 500 and status not in _TRY_AGAIN:
        raise Rejected(sentence)
    wait = retry_after.seconds(response.headers.get("Retry-After"))
    raise RetryAfter(sentence, wait) if wait is not None else TriggerError(sentence)
