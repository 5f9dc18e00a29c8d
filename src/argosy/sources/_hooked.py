"""What the kinds have in common that receive the webhooks of one service: their ``webhook`` block, their route,
and the shape of their events.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from pydantic.types import JsonValue

from argosy.errors import EventInvalid
from argosy.lang import gojson
from argosy.manifests.fields import OWN_NAMESPACE, Json
from argosy.sources._base import SourceConfig, SourceContext
from argosy.sources._http_body import raw_json
from argosy.sources._http_context import WebhookContext, route
from argosy.sources._raw import Wrapped

if TYPE_CHECKING:
    from argosy.sources._http import Handler, Request

NAMESPACE_DROPPED = {"namespace": f"1.0; {OWN_NAMESPACE}"}
"""The field ``namespace`` beside references, which old manifests carry."""

OURS: dict[str, JsonValue] = {"x-argosy": True}
"""``json_schema_extra`` of a field that Argo Events does not have."""


class HookedConfig(SourceConfig):
    """An endpoint for one service's webhooks."""

    webhook: WebhookContext
    """Where they are received."""


async def serve(
    ctx: SourceContext[Any],
    webhook: WebhookContext,
    handler: Handler,
    *beside: Callable[[], Coroutine[Any, Any, None]],
) -> None:
    """Answer requests until cancelled; what is named ``beside`` runs along once the route is open."""
    async with route(ctx, webhook, handler) as place:
        ctx.listening(place.url)
        async with asyncio.TaskGroup() as group:
            for work in beside:
                group.create_task(work())
            await asyncio.Event().wait()


def tail(config: SourceConfig) -> bytes:
    """The end of an event's data: its metadata, if there is any."""
    return b',"metadata":' + gojson.dumps(config.metadata) if config.metadata else b""


def envelope(config: SourceConfig, request: Request, body: bytes, *, headers: str = "headers") -> bytes:
    """The data of an event: the request's headers, a body (JSON text), and the metadata."""
    return b'{"%b":%b,"body":%b%b}' % (headers.encode(), gojson.dumps(dict(request.headers)), body, tail(config))


def document(text: bytes) -> dict[str, Json]:
    """The JSON object that a body is. Raises EventInvalid where it is none, or one too deep to keep."""
    value = gojson.loads(raw_json(text))
    if not isinstance(value, dict):
        raise EventInvalid("the body is JSON, but no object")
    return value


def written(value: Json) -> bytes:
    """A document as upstream's services write it anew: keys sorted, Go's numbers."""
    return gojson.dumps(value)


def named(data: bytes, *parts: str) -> Wrapped:
    """An event's data, with the id that its sender gave it; without one if a part of that is missing."""
    return Wrapped(data, "-".join(parts) if all(parts) else None)
