"""What the kinds have in common that receive the webhooks of one service: their ``webhook`` block, their route,
and the shape of their events.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

from argosy.errors import EventInvalid
from argosy.lang import gojson
from argosy.manifests.fields import OWN_NAMESPACE, Json
from argosy.sources._base import SourceConfig, SourceContext
from argosy.sources._http_body import raw_json
from argosy.sources._http_context import WebhookContext, route
from argosy.sources._raw import Wrapped, tail

if TYPE_CHECKING:
    from argosy.sources._hooks import Hooks
    from argosy.sources._http import Handler, Request, Response

NAMESPACE_DROPPED = {"namespace": f"1.0; {OWN_NAMESPACE}"}
"""The field ``namespace`` beside references, which old manifests carry."""


class HookedConfig(SourceConfig):
    """An endpoint for one service's webhooks."""

    webhook: WebhookContext
    """Where they are received."""


HookedT = TypeVar("HookedT", bound=HookedConfig)


async def serve(
    ctx: SourceContext[Any],
    answer: Handler,
    hooks: Hooks[Any] | None = None,
    *,
    delete: bool = False,
    check_seconds: float | None = None,
) -> None:
    """Answer requests until cancelled; ``hooks`` are registered and looked after meanwhile (see ``Keeper``)."""
    async with hooks or nullcontext(), route(ctx, ctx.config.webhook, answer) as place:
        ctx.listening(place.url)
        if hooks is None:
            await asyncio.Event().wait()
        else:
            from argosy.sources._hooks import Keeper

            await Keeper(ctx, hooks, delete=delete, check_seconds=check_seconds).run()


async def receive(
    ctx: SourceContext[HookedT],
    check: Callable[[SourceContext[HookedT], Request], None],
    event: Callable[[HookedT, Request], Wrapped | None],
    hooks: Hooks[Any] | None,
    *,
    delete: bool = False,
) -> None:
    """As ``serve``, for services that send one event a request: what ``check`` lets pass is answered 200 once what
    ``event`` makes of it is kept. None is an event that the manifest leaves out. ``check`` raises EventInvalid.
    """
    from argosy.sources._http import SUCCESS

    async def answer(request: Request) -> Response:
        check(ctx, request)
        found = event(ctx.config, request)
        if found is not None:
            await ctx.emit(found.data, id=found.id)
        return SUCCESS

    await serve(ctx, answer, hooks, delete=delete)


def envelope(config: SourceConfig, request: Request, body: bytes, *, headers: str = "headers") -> bytes:
    """The data of an event: the request's headers, a body (JSON text), and the metadata."""
    return b'{"%b":%b,"body":%b%b}' % (
        headers.encode(),
        gojson.dumps(dict(request.headers)),
        body,
        tail(config.metadata),
    )


def document(text: bytes) -> dict[str, Json]:
    """The JSON object that a body is. Raises EventInvalid where it is none, or one too deep to keep."""
    value = gojson.loads(raw_json(text))
    if not isinstance(value, dict):
        raise EventInvalid("the body is JSON, but no object")
    return value


def text(value: Mapping[str, Json], name: str) -> str:
    """A member that should be a text; empty where it is none."""
    found = value.get(name)
    return found if isinstance(found, str) else ""


def form(request: Request) -> dict[str, str]:
    """The fields of a form, the first value of each."""
    from argosy.sources._http_routes import query

    return {name: values[0] for name, values in query(request.body.decode("utf-8", "replace"), strict=True).items()}


def named(data: bytes, *parts: str) -> Wrapped:
    """An event's data, with the id that its sender gave it; without one if a part of that is missing."""
    return Wrapped(data, "-".join(parts) if all(parts) else None)
