"""The handler of a ``python`` trigger that tells the load generator at once what has arrived."""

from __future__ import annotations

import socket
from functools import cache

from argosy.triggers.python import Events


@cache
def _socket() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


async def arrived(events: Events, port: int) -> None:
    """Send the moment at which the request was due back to where it came from."""
    _socket().sendto(str(events["in"].data["body"]["sent"]).encode(), ("127.0.0.1", port))
