"""The ``custom`` trigger: a gRPC server of one's own performs the action, by the contract of Argo Events.

The server is asked three things: ``FetchResource`` with the block's ``spec`` as YAML, ``Execute`` with the resource that it gave, changed by
the block's ``parameters``, and the payload, and ``ApplyPolicy`` with what ``Execute`` answered: whether it was good. Every call has
the action's id in its metadata (``idempotency-key``), the same at every try. Channels are kept open between actions.

Different from upstream: a policy that says no fails the action. A server without ``ApplyPolicy`` has none.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import re
import ssl
from typing import TYPE_CHECKING, Any, ClassVar

import orjson
import yaml
from pydantic import ConfigDict, Field, field_validator

from argosy.connecting import target
from argosy.errors import Rejected, TriggerError
from argosy.manifests.fields import Json, SecretKeySelector, TriggerParameter
from argosy.triggers._base import Action, Outcome, Trigger, TriggerConfig, TriggerContext
from argosy.triggers._kept import Kept, digest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from grpclib.client import Channel

_CONNECT_SECONDS = 15.0
_FETCH_SECONDS = 60.0
_EXECUTE_SECONDS = 600.0
_TARGET = re.compile(r"(?:dns:/{0,3})?(?P<host>\[[0-9A-Fa-f:.%]+\]|[^\s/:@\[\]]+)(?::(?P<port>\d{1,5}))?")
_LASTING = frozenset(
    (
        "INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "UNAUTHENTICATED", "FAILED_PRECONDITION",
        "OUT_OF_RANGE", "UNIMPLEMENTED",
    )
)  # fmt: skip
"""The codes of gRPC after which another try cannot help."""


class CustomConfig(TriggerConfig):
    """The ``custom`` block."""

    model_config = ConfigDict(hide_input_in_errors=True)
    dropped: ClassVar[Mapping[str, str]] = {
        "certFilePath": "1.5; write 'certSecret'",
        "triggerBody": "1.0; write 'spec'",
    }

    server_url: str = Field(alias="serverURL")
    """The gRPC server, ``host:port``."""
    spec: dict[str, str]
    """What the server is to fetch; it means what the server makes of it."""
    secure: bool = False
    """Whether TLS is spoken."""
    cert_secret: SecretKeySelector | None = None
    """Who signed the server's certificate (PEM); without it whom the machine trusts."""
    server_name_override: str = ""
    """The name that the server's certificate must have, where it is not the host's."""
    parameters: list[TriggerParameter] = Field(default_factory=list)
    """Change the resource that the server gave, which must be a JSON object then."""
    payload: list[TriggerParameter] = Field(default_factory=list)
    """What is sent: values out of events, each at its ``dest``."""

    @field_validator("server_url")
    @classmethod
    def _readable(cls, url: str) -> str:
        if not _TARGET.fullmatch(url):
            raise ValueError("is no address of a gRPC server; write host:port")
        return url


class Custom(Trigger[CustomConfig]):
    """Lets a gRPC server act."""

    kind: ClassVar[str] = "custom"
    config = CustomConfig
    requires: ClassVar[tuple[str, ...]] = ("grpclib", "google.protobuf")
    extra: ClassVar[str] = "grpc"
    peer: ClassVar[str] = "real: a gRPC server of the public contract"
    example: ClassVar[str] = """\
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata:
  name: custom
spec:
  dependencies:
    - name: order
      eventSourceName: webhook
      eventName: orders
  triggers:
    - template:
        name: run-pipeline
        custom:
          serverURL: tekton-trigger.argo-events.svc:9000
          spec:
            pipeline: billing
          parameters:
            - src:
                dependencyName: order
                dataKey: body.customer
              dest: spec.customer
          payload:
            - src:
                dependencyName: order
                dataKey: body
                useRawData: true
              dest: order
"""

    def __init__(self, ctx: TriggerContext) -> None:
        super().__init__(ctx)
        self._kept: Kept[Channel] = Kept(_closed)

    async def __aexit__(self, *exc: object) -> None:
        await self._kept.close()

    async def fetch(self, config: CustomConfig) -> Json | None:
        wanted = yaml.safe_dump(config.spec, sort_keys=True, allow_unicode=True, width=10**9).encode()
        found = await self._call(config, "FetchResource", _FETCH_SECONDS, {}, resource=wanted)
        if not config.parameters:
            return base64.b64encode(found.resource).decode()  # any bytes, and to the byte
        try:
            resource = orjson.loads(found.resource)
        except orjson.JSONDecodeError:
            resource = None
        if not isinstance(resource, dict):
            raise Rejected(
                f"the resource of gRPC server {config.server_url!r} is no JSON object, and 'parameters' change nothing else"
            )
        return resource

    async def fire(self, config: CustomConfig, action: Action) -> Outcome:
        head = {"idempotency-key": action.id}
        given = action.resource
        resource = base64.b64decode(given) if isinstance(given, str) else orjson.dumps(given)
        payload = (action.payload or b"") if config.payload else b""
        done = await self._call(config, "Execute", _EXECUTE_SECONDS, head, resource=resource, payload=payload)
        try:
            judged = await self._call(config, "ApplyPolicy", _EXECUTE_SECONDS, head, request=done.response)
        except _Unimplemented:
            said = ""
        else:
            said = _line(judged.message)
            if not judged.success:
                raise TriggerError(
                    f"gRPC server {config.server_url!r} executed, and its policy says no: {said or 'no reason'}"
                )
        text = _line(done.response.decode("utf-8", "replace"))
        outcome = f"gRPC server {config.server_url!r} executed" + (f": {said}" if said else "")
        return Outcome(outcome, {"response": text, "policy": said})

    async def _call(
        self, config: CustomConfig, name: str, seconds: float, head: dict[str, str], **fields: bytes
    ) -> Any:
        """What a method answers. Raises Rejected or TriggerError."""
        from grpclib.client import UnaryUnaryMethod
        from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError

        from argosy.triggers._custom_messages import method

        certificate = self.ctx.secret(config.cert_secret) if config.secure and config.cert_secret else ""
        key = digest(config.server_url, config.secure, config.server_name_override, certificate)
        what = f"gRPC server {config.server_url!r}"
        path, takes, answers = method(name)

        async def begin() -> Channel:
            return _channel(config, certificate)

        async with self._kept.use(key, begin) as held:
            try:
                async with asyncio.timeout(_CONNECT_SECONDS):
                    await held.connection.__connect__()
                call: Any = UnaryUnaryMethod(held.connection, path, takes, answers)
                return await call(takes(**fields), timeout=seconds, metadata=head)
            except GRPCError as error:
                code = error.status.name
                sentence = f"{what} refused {name}: {code}, {_line(error.message or 'no reason')}"
                if code == "UNIMPLEMENTED" and name == "ApplyPolicy":
                    raise _Unimplemented(sentence) from error
                raise (Rejected if code in _LASTING else TriggerError)(sentence) from error
            except (StreamTerminatedError, ProtocolError) as error:
                held.broken = True
                raise TriggerError(f"{what} broke {name} off: {error}") from error
            except TimeoutError as error:
                held.broken = True  # the channel would go on with a server that says nothing
                raise TriggerError(f"{what} did not answer {name} in time") from error
            except ssl.SSLCertVerificationError as error:
                raise TriggerError(
                    f"the certificate of {what} is not trusted: {error.verify_message}; check certSecret and serverNameOverride"
                ) from error
            except ConnectionRefusedError as error:
                raise TriggerError(f"nothing listens at {what}; is it running, is the port right?") from error
            except OSError as error:
                # With TLS on one side only, this is where it shows; the reason says so.
                raise TriggerError(f"{what} cannot be reached: {error.strerror or error}") from error


class _Unimplemented(Rejected):
    """The server does not have the method."""


def _channel(config: CustomConfig, certificate: str) -> Channel:
    from grpclib.client import Channel
    from grpclib.config import Configuration

    # At DEBUG it writes down what it encodes, whatever the server's answers hold.
    logging.getLogger("hpack").setLevel(logging.INFO)
    given = _TARGET.fullmatch(config.server_url)
    if given is None:
        raise Rejected(f"{config.server_url!r} is no address of a gRPC server; write host:port")
    name = given["host"].strip("[]")
    host, port = target(name, int(given["port"] or 443))
    context = None
    if config.secure:
        try:
            context = ssl.create_default_context(cadata=certificate or None)
        except (ssl.SSLError, ValueError) as error:
            raise Rejected("the text of certSecret is no PEM certificate") from error
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["h2"])
    override = (config.server_name_override or name) if context else None
    return Channel(host, port, ssl=context, config=Configuration(ssl_target_name_override=override))


async def _closed(channel: Channel) -> None:
    channel.close()
    await asyncio.sleep(0)  # the transport closes in the loop's next turn


def _line(text: str) -> str:
    """The beginning of a text, as one line."""
    return " ".join(text.split())[:300]
