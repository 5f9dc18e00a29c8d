"""What a NATS server says: replies, errors, the word of a stream, the numbers of a delivery. Values only, no
connection.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from argosy.errors import BusError, BusUnavailable


class Lost(BusUnavailable):
    """A request was not answered. Whether it took effect is not known."""


class NoResponder(Lost):
    """Nobody listens where the request went: no stream, no consumer, or no leader yet."""


class NoAnswer(Lost):
    """The connection stands, but nobody answered in time."""


class Refused(BusError):
    """The server answered with an error. ``code`` is its number (``err_code``), 0 where it gave none."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class ApiError(msgspec.Struct):
    code: int = 0
    err_code: int = 0
    description: str = ""


class Stored(msgspec.Struct):
    """The server's word that a stream holds a message. ``duplicate``: it held it before."""

    stream: str = ""
    seq: int = 0
    duplicate: bool = False
    error: ApiError | None = None


decode_stored = msgspec.json.Decoder(Stored).decode
decode_json = msgspec.json.Decoder(dict[str, Any]).decode
encode_json = msgspec.json.Encoder().encode


class Numbers(NamedTuple):
    """What the reply subject of a delivered message says."""

    delivered: int
    stream: int
    consumer: int
    nanoseconds: int
    pending: int


def numbers(reply: str) -> Numbers:
    """Read ``$JS.ACK.<stream>.<consumer>.…``, or the longer form with a domain and an account."""
    tokens = reply.split(".")
    first = 4 if len(tokens) == 9 else 6
    return Numbers(*(int(number) for number in tokens[first : first + 5]))


def header_size(headers: dict[str, str]) -> int:
    """How many bytes ``headers`` take of the largest message."""
    return 14 + sum(len(name) + len(value.encode()) + 4 for name, value in headers.items())
