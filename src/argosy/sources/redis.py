"""``redis``: each message that is published to a channel becomes one event.

Redis keeps no messages of channels: what is published while nobody listens is lost, and so is what a connection
has not carried when it breaks. Who must not lose a message writes it to a stream (``redisStream``). At most 64
messages are in ``emit`` at a time; while they are, nothing is read, and Redis ends the connection when what waits
exceeds its ``client-output-buffer-limit``.
"""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field, field_validator

from argosy.errors import EventInvalid, EventTooLarge, SourceError
from argosy.lang import gojson
from argosy.sources._base import Source, SourceContext
from argosy.sources._http_body import raw_json
from argosy.sources._in_flight import InFlight
from argosy.sources._raw import Raw, Wrapped, known, tail
from argosy.sources._redis import Link, RedisServer, connected

_SILENCE_SECONDS = 10.0


class RedisConfig(RedisServer):
    """Channels of a server."""

    channels: list[str] = Field(min_length=1)
    """The channels, by their names; no patterns."""
    namespace: str = ""
    """Accepted, and without effect: secrets are of the namespace of the event source."""
    json_body: bool = False
    """Whether the message is JSON, and stands as such in ``body``; else ``body`` is its text."""

    @field_validator("channels")
    @classmethod
    def _named(cls, channels: list[str]) -> list[str]:
        if "" in channels:
            raise ValueError("has an empty name")
        return channels


class Redis(Source[RedisConfig]):
    """Receives what is published to channels. Redis gives messages no name, and takes no acknowledgement."""

    kind: ClassVar[str] = "redis"
    config = RedisConfig
    exclusive: ClassVar[bool] = True
    acknowledges: ClassVar[bool] = False
    requires: ClassVar[tuple[str, ...]] = ("redis",)
    extra: ClassVar[str] = "redis"
    peer: ClassVar[str] = "real: Redis"
    example: ClassVar[str] = """\
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata:
  name: redis
spec:
  redis:
    example:
      hostAddress: redis.caching:6379
      password:
        name: redis
        key: password
      channels:
        - deployments
"""

    @classmethod
    def wrap(cls, config: RedisConfig, raw: Raw) -> Wrapped:
        known(raw, {"channel": ""}, "property of a message of Redis")
        return Wrapped(_read(config, raw.headers.get("channel", config.channels[0]), raw.body), None)

    async def run(self, ctx: SourceContext[RedisConfig]) -> None:
        channels = list(dict.fromkeys(ctx.config.channels))

        async def keep(channel: str, payload: bytes) -> None:
            try:
                await ctx.emit(_read(ctx.config, channel, payload))
            except (EventInvalid, EventTooLarge) as error:
                ctx.refused(f"{error} (message of channel {channel!r}); dropped")

        async with connected(ctx) as link:
            await link.send("SUBSCRIBE", *channels)
            unconfirmed = len(channels)
            work = InFlight()

            async def take() -> None:
                nonlocal unconfirmed
                while True:
                    await work.free()
                    while (found := await _next(link)) is None or found[0] != b"message":
                        if found is not None and found[0] == b"subscribe":
                            unconfirmed -= 1
                            if not unconfirmed:
                                ctx.listening(f"channels {', '.join(map(repr, channels))} of {link.where}")
                    work.begin(keep(found[1].decode("utf-8", "replace"), found[2]))

            await work.run(take())


async def _next(link: Link) -> list[Any] | None:
    """What comes next; a server that is silent is asked whether it is there."""
    found = await link.read(_SILENCE_SECONDS)
    if found is None:
        await link.send("PING")
        found = await link.read(_SILENCE_SECONDS)
        if found is None:
            raise SourceError(f"{link.where} has not answered for {_SILENCE_SECONDS:.0f} s")
    return found if isinstance(found, list) and found else None


def _read(config: RedisConfig, channel: str, payload: bytes) -> bytes:
    """The event's data as JSON text, in upstream's shape. Raises EventInvalid if the body is not what it should be."""
    body = raw_json(payload) if config.json_body else gojson.dumps(payload.decode("utf-8", "replace"))
    head = gojson.dumps({"channel": channel, "pattern": ""}, sort_keys=False)
    return b'%b,"body":%b%b}' % (head[:-1], body, tail(config.metadata))
