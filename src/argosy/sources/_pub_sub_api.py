"""Calls to Google Cloud Pub/Sub over gRPC, by grpclib: one channel, a token on every call, failures as sentences.

``PUBSUB_EMULATOR_HOST`` (``host:port``) leads to an emulator, without TLS and without a token, as in Google's libraries.
"""

from __future__ import annotations

import logging
import os
import ssl
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from argosy.addresses import host_and_port
from argosy.connecting import target
from argosy.errors import ConfigError, SourceError
from argosy.sources._base import SourceContext
from argosy.sources._google_identity import Identity

if TYPE_CHECKING:
    from grpclib.client import Channel

SCOPE = "https://www.googleapis.com/auth/pubsub"
_HOST = "pubsub.googleapis.com"
_CALL_SECONDS = 30.0
_PING_SECONDS = 320.0


class Refusal(SourceError):
    """Pub/Sub answered with a status other than OK; ``status`` is its name."""

    def __init__(self, message: str, status: str) -> None:
        super().__init__(message)
        self.status = status


class PubSub:
    """An async context manager."""

    def __init__(self, ctx: SourceContext[Any]) -> None:
        self._identity = Identity(ctx, ctx.config.credential_secret, SCOPE)
        text = os.environ.get("PUBSUB_EMULATOR_HOST", "")
        self.emulated = bool(text)
        try:
            self._host, self._port = host_and_port(text, 8085) if text else (_HOST, 443)
        except ValueError as error:
            raise ConfigError(f"PUBSUB_EMULATOR_HOST {text!r} {error}") from error
        self.where = f"{self._host}:{self._port}" if text else self._host

    async def __aenter__(self) -> Self:
        await self._identity.__aenter__()
        self._channel = self._opened()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._channel.close()
        await self._identity.__aexit__()

    async def project(self) -> str:
        """The project where the manifest names none."""
        return await self._identity.project()

    async def call(self, method: str, request: str, *, seconds: float = _CALL_SECONDS, **fields: Any) -> Any:
        """Call a method with a message of the type ``request``; its answer. Raises Refusal, else SourceError."""
        from grpclib.client import UnaryUnaryMethod
        from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError

        from argosy.sources._pub_sub_messages import ANSWERS, TYPES

        types = TYPES[request], TYPES[ANSWERS[method]]
        head = {} if self.emulated else {"authorization": f"Bearer {await self._identity.token()}"}
        name = method.rpartition("/")[2]
        unary: Any = UnaryUnaryMethod(self._channel, method, *types)
        try:
            return await unary(types[0](**fields), timeout=seconds, metadata=head)
        except GRPCError as error:
            status, said = error.status.name, error.message or ""
            hint = "; check the credentials, or what they may do" if status in _FORBIDDEN else ""
            raise Refusal(f"Pub/Sub at {self.where} answered {name} with {status}: {said}{hint}", status) from error
        except (StreamTerminatedError, ProtocolError) as error:
            raise SourceError(f"Pub/Sub at {self.where} closed the connection during {name}: {error}") from error
        except TimeoutError as error:
            raise SourceError(f"Pub/Sub at {self.where} has not answered {name} within {seconds:g} s") from error
        except OSError as error:
            raise SourceError(f"Pub/Sub at {self.where} cannot be reached: {error}") from error

    def _opened(self) -> Channel:
        from grpclib.client import Channel
        from grpclib.config import Configuration

        # It writes down every header as it is sent, our token among them, for whoever asks for that much.
        logging.getLogger("hpack").setLevel(logging.INFO)
        host, port = target(self._host, self._port)
        context = None
        if not self.emulated:
            context = ssl.create_default_context()
            context.set_alpn_protocols(["h2"])
        names = None if self.emulated else self._host
        settings = Configuration(_keepalive_time=_PING_SECONDS, ssl_target_name_override=names)
        return Channel(host, port, ssl=context, config=settings)


_FORBIDDEN = ("UNAUTHENTICATED", "PERMISSION_DENIED")
