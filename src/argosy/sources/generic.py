"""``generic``: events from a gRPC server that anybody may write (service ``generic.Eventing``).

We send the event's name and its ``config`` text, and every message of the answered stream becomes one event.
The contract has no acknowledgement: what the server has sent and we have not stored is lost if the process
dies, so the server is asked for no more than the transport's window ahead, and a slow bus holds it back."""

from __future__ import annotations

import asyncio
import base64
import logging
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, field_validator

from argosy.connecting import target
from argosy.errors import EventInvalid, EventTooLarge, SourceError
from argosy.manifests.fields import SecretKeySelector
from argosy.sources._base import Source, SourceConfig, SourceContext
from argosy.sources._finishing import to_the_end
from argosy.sources._http_body import raw_json
from argosy.sources._raw import Raw, Wrapped, tail

if TYPE_CHECKING:
    from grpclib.client import Channel

_CONNECT_SECONDS = 20.0
# Go servers close a connection that pings more often than every five minutes, unless they are told otherwise.
_PING_SECONDS = 320.0
_TARGET = re.compile(r"(?:(?:dns|passthrough):///)?(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+)(?::(?P<port>\d{1,5}))?")


class GenericConfig(SourceConfig):
    """Where the server is, and what it is told."""

    dropped: ClassVar[Mapping[str, str]] = {"value": "1.1; write 'config'"}

    url: str
    """``host:port``; port 443 if none is given."""
    config: str = Field(min_length=1)
    """Free text, handed to the server as it stands."""
    insecure: bool = False
    """Plain text instead of TLS."""
    json_body: bool = False
    """Whether payloads are JSON. If not, the event holds their base64 text."""
    auth_secret: SecretKeySelector | None = None
    """A bearer token, sent as gRPC metadata."""

    @field_validator("url")
    @classmethod
    def _target(cls, url: str) -> str:
        if not _TARGET.fullmatch(url):
            raise ValueError(f"{url!r} is not a gRPC target; write host:port")
        return url


class Generic(Source[GenericConfig]):
    """Reads one stream of a gRPC server. Messages are stored in order, one at a time."""

    kind: ClassVar[str] = "generic"
    config = GenericConfig
    exclusive: ClassVar[bool] = True
    acknowledges: ClassVar[bool] = False
    requires: ClassVar[tuple[str, ...]] = ("grpclib", "google.protobuf")
    extra: ClassVar[str] = "grpc"
    peer: ClassVar[str] = "real: a gRPC server"
    example: ClassVar[str] = """\
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata:
  name: generic
spec:
  generic:
    example:
      url: my-event-source.default.svc:8080
      insecure: true
      jsonBody: true
      config: |-
        key1: value1
        key2: value2
"""

    @classmethod
    def wrap(cls, config: GenericConfig, raw: Raw) -> Wrapped:
        return Wrapped(_data(config, raw.body), None)

    async def run(self, ctx: SourceContext[GenericConfig]) -> None:
        from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError

        url = ctx.config.url
        channel = _channel(ctx.config)
        try:
            await self._read(ctx, channel)
        except GRPCError as error:
            raise SourceError(f"gRPC server {url!r} ended the stream: {error.status.name}, {error.message}") from error
        except (StreamTerminatedError, ProtocolError) as error:
            raise SourceError(f"gRPC server {url!r} closed the connection: {error}") from error
        except TimeoutError as error:
            raise SourceError(f"gRPC server {url!r} did not answer within {_CONNECT_SECONDS:g} s") from error
        except OSError as error:
            # With TLS on one side only, this is where it shows; the reason says so.
            raise SourceError(f"gRPC server {url!r} cannot be reached: {error}") from error
        finally:
            channel.close()
        raise SourceError(f"gRPC server {url!r} ended the stream; it should keep it open")

    async def _read(self, ctx: SourceContext[GenericConfig], channel: Channel) -> None:
        from grpclib.client import UnaryStreamMethod

        from argosy.sources import _generic_messages as messages

        head = {}
        if ctx.config.auth_secret is not None:
            # At DEBUG it writes down what it encodes, the token too.
            logging.getLogger("hpack").setLevel(logging.INFO)
            head["authorization"] = f"Bearer {ctx.secret(ctx.config.auth_secret)}"
        method: Any = UnaryStreamMethod(channel, messages.METHOD, messages.EventSource, messages.Event)
        async with method.open(metadata=head) as stream:
            async with asyncio.timeout(_CONNECT_SECONDS):
                wanted = messages.EventSource(name=ctx.event_name, config=ctx.config.config.encode())
                await stream.send_message(wanted, end=True)
            ctx.listening(f"gRPC server {ctx.config.url!r}")
            async for message in stream:
                await to_the_end(_store(ctx, message.payload))


async def _store(ctx: SourceContext[GenericConfig], payload: bytes) -> None:
    try:
        await ctx.emit(_data(ctx.config, payload))
    except (EventInvalid, EventTooLarge) as error:
        ctx.refused(f"a message of gRPC server {ctx.config.url!r}: {error}")


def _data(config: GenericConfig, payload: bytes) -> bytes:
    body = raw_json(payload) if config.json_body else b'"%b"' % base64.b64encode(payload)
    return b'{"body":%b%b}' % (body, tail(config.metadata))


def _channel(config: GenericConfig) -> Channel:
    import ssl

    from grpclib.client import Channel
    from grpclib.config import Configuration

    given = _TARGET.fullmatch(config.url)
    assert given is not None  # validated
    name = given["host"].strip("[]")
    host, port = target(name, int(given["port"] or 443))
    context = None
    if not config.insecure:
        context = ssl.create_default_context()
        context.set_alpn_protocols(["h2"])
    return Channel(
        host,
        port,
        ssl=context,
        config=Configuration(_keepalive_time=_PING_SECONDS, ssl_target_name_override=name if context else None),
    )
