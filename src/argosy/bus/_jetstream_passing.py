"""Consumers that pass: without acknowledgements, in the server's memory, forgotten by itself when nobody asks them any more."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Collection
from typing import Any, NamedTuple

from argosy.bus._jetstream_answers import Lost, Refused
from argosy.bus._jetstream_link import Link
from argosy.errors import BusError


class Passing(NamedTuple):
    """A consumer as it was made. ``waiting`` messages were there for it, the first of them after number ``before``."""

    name: str
    waiting: int
    before: int


def from_number(seq: int) -> dict[str, Any]:
    """For ``make``: from this message on."""
    return {"deliver_policy": "by_start_sequence", "opt_start_seq": seq}


async def make(
    link: Link,
    stream: str,
    filters: Collection[str],
    start: dict[str, Any],
    *,
    forget_seconds: int = 60,
    reader: str = "",
) -> Passing:
    """Make a consumer of these subjects (none: of all), from ``start`` on; it goes ``forget_seconds`` after the last request.

    ``reader`` is shown to who lists consumers. Raises Lost, also where the stream was removed and has to be made anew.
    """
    name = f"argosy-{secrets.token_hex(8)}"
    config = {
        "name": name,
        "description": f"argosy reader {reader}".rstrip()[:1000],
        **start,
        "ack_policy": "none",
        "replay_policy": "instant",
        **({"filter_subjects": list(filters)} if filters else {}),
        "inactive_threshold": forget_seconds * 10**9,
        "num_replicas": 1,
        "mem_storage": True,
    }
    body = {"stream_name": stream, "config": config, "action": "create"}
    try:
        made = await link.api(f"CONSUMER.CREATE.{stream}.{name}", body)
    except Refused as refused:
        if refused.code == 10059 and link.mend:
            await link.mend()
            raise Lost(f"stream {stream!r} was removed; it is made anew") from refused
        raise BusError(f"stream {stream!r} cannot be read{reader and f' for {reader}'}: {refused}") from refused
    return Passing(name, int(made.get("num_pending", 0)), int(made["delivered"]["stream_seq"]))


async def remove(link: Link, stream: str, name: str) -> None:
    """Save the server the memory. Never raises: it goes by itself."""
    with contextlib.suppress(Refused, Lost):
        await link.api(f"CONSUMER.DELETE.{stream}.{name}")
