"""The ``nats`` trigger: one message per action, which counts as performed when the server has it.

Connections are kept open between actions, one for each server and login; a secret that changes opens another one. Behind each message the
server is asked whether it is there (a PING, as ``flush`` of NATS' clients does), so a lost connection or a missing right
fails the action. Core NATS keeps no messages: who does not listen gets none. Where a stream of JetStream takes the subject, ``jetStream`` waits
until it has stored the message; the action's id is its ``Nats-Msg-Id``, by which a stream recognises a repetition.

Different from upstream: an action waits for the server; TLS is demanded where there is a block ``tls``.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import ClassVar

from pydantic import ConfigDict, Field, field_validator

from argosy.errors import ConfigError, Rejected
from argosy.manifests.fields import OURS, TLSConfig, TriggerParameter
from argosy.nats.access import NatsAuth, servers
from argosy.tls import client_context, material
from argosy.triggers._base import Action, Outcome, Trigger, TriggerConfig, TriggerContext
from argosy.triggers._kept import Held, Kept, digest
from argosy.triggers._nats_link import Link


class NatsTriggerConfig(TriggerConfig):
    """The ``nats`` block."""

    model_config = ConfigDict(hide_input_in_errors=True)

    url: str
    """``nats://host:4222``, or ``tls://`` to demand TLS. Several, separated by commas, are tried in turn."""
    subject: str
    """Where to: tokens with dots between them."""
    payload: list[TriggerParameter] = Field(min_length=1)
    """What is sent: values out of events, each at its ``dest``."""
    parameters: list[TriggerParameter] = Field(default_factory=list)
    """Values out of events that are set on this block before it is used."""
    tls: TLSConfig | None = None
    """With this block TLS is demanded; without it, it is spoken where the server wants it."""
    auth: NatsAuth | None = None
    """Credentials; what the URL says of them does not count then."""
    jet_stream: bool = Field(default=False, json_schema_extra=OURS)
    """Whether a stream must have stored the message; without a stream for the subject the action is rejected then."""

    @field_validator("url")
    @classmethod
    def _readable(cls, url: str) -> str:
        servers(url)
        return url

    @field_validator("subject")
    @classmethod
    def _literal(cls, subject: str) -> str:
        tokens = subject.split(".")
        if any(not token or token in ("*", ">") or any(letter.isspace() for letter in token) for token in tokens):
            raise ValueError("is no subject to publish to: tokens between dots, without blanks and wildcards")
        return subject


class NatsTrigger(Trigger[NatsTriggerConfig]):
    """Publishes a message."""

    kind: ClassVar[str] = "nats"
    config = NatsTriggerConfig
    peer: ClassVar[str] = "real: nats-server"
    example: ClassVar[str] = """\
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata:
  name: nats
spec:
  dependencies:
    - name: order
      eventSourceName: webhook
      eventName: orders
  triggers:
    - template:
        name: tell-billing
        nats:
          url: nats://nats.messaging:4222
          subject: billing.unknown
          parameters:
            - src:
                dependencyName: order
                dataTemplate: billing.{{ .Input.body.customer }}
              dest: subject
          payload:
            - src:
                dependencyName: order
                dataKey: body
                useRawData: true
              dest: order
          auth:
            credential:
              name: nats
              key: user.creds
"""

    def __init__(self, ctx: TriggerContext) -> None:
        super().__init__(ctx)
        self._kept: Kept[Link] = Kept(lambda link: link.close())

    async def __aexit__(self, *exc: object) -> None:
        await self._kept.close()

    async def fire(self, config: NatsTriggerConfig, action: Action) -> Outcome:
        login = self._login(config)
        name = digest(config.url, login, material(config.tls, self.ctx.secret))

        async def begin() -> Link:
            try:
                context = await asyncio.to_thread(client_context, config.tls, self.ctx.secret) if config.tls else None
            except ConfigError as error:
                raise Rejected(str(error)) from error
            return await Link.begin(config.url, login, context, f"argosy {self.ctx.sensor}/{self.ctx.trigger}")

        payload = action.payload or b""
        async with self._kept.use(name, begin) as held:
            link = held.connection
            with _breaking(held):
                if config.jet_stream:
                    place = await link.store(config.subject, payload, action.id)
                    said = f"stored {len(payload)} bytes as message {place['seq']} of stream {place['stream']!r}"
                    return Outcome(f"{said}, subject {config.subject!r} of {link.where}", place)
                await link.publish(config.subject, payload, action.id)
            return Outcome(
                f"published {len(payload)} bytes to subject {config.subject!r} of {link.where}",
                {"subject": config.subject},
            )

    def _login(self, config: NatsTriggerConfig) -> dict[str, str]:
        """What nats-py's ``connect`` is told of us."""
        auth, read = config.auth, self.ctx.secret
        if auth is None:
            return {}
        if auth.basic is not None and auth.basic.username and auth.basic.password:
            return {"user": read(auth.basic.username), "password": read(auth.basic.password)}
        if auth.token is not None:
            return {"token": read(auth.token)}
        if auth.nkey is not None:
            return {"nkeys_seed_str": read(auth.nkey).strip()}
        return {"user_credentials": read(auth.credential)} if auth.credential is not None else {}


@contextlib.contextmanager
def _breaking(held: Held[Link]) -> Iterator[None]:
    """A connection that an action failed on, or was cancelled on, is not used again, unless it is what was sent that is wrong."""
    try:
        yield
    except Rejected:
        raise
    except BaseException:
        held.broken = True
        raise
