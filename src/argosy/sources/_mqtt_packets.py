"""MQTT 3.1.1 as one subscriber needs it: packets to bytes and back, without a network.

Section numbers are those of the OASIS standard. Why no library is used stands in ADR 10 (``docs/decisions``).
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from argosy.errors import EventTooLarge, SourceError

CONNACK, PUBLISH, PUBREL, SUBACK, UNSUBACK = 2, 3, 6, 9, 11
_CONNECT, _PUBACK, _PUBREC, _PUBCOMP, _SUBSCRIBE, _UNSUBSCRIBE = 0x10, 0x40, 0x50, 0x70, 0x82, 0xA2
PINGREQ = b"\xc0\x00"
DISCONNECT = b"\xe0\x00"

LARGEST = 16 * 1024 * 1024
"""Bytes of a packet that are kept; no bus takes an event so large. Beyond it only the beginning is."""

REFUSALS = {
    1: "it does not speak MQTT 3.1.1",
    2: "it does not accept the clientId",
    3: "its MQTT service is unavailable",
    4: "it refuses the user name or the password; correct 'auth'",
    5: "it does not let this user in; correct 'auth', or grant the user that right",
}
"""What the codes of a CONNACK mean (3.2.2.3)."""


class Packet(NamedTuple):
    """One control packet. ``cut`` says that the body is longer than ``LARGEST`` and only its beginning is here."""

    kind: int
    flags: int
    body: bytes
    cut: bool = False


class Published(NamedTuple):
    """One message as it was delivered. ``packet_id`` is 0 where none is wanted back (QoS 0)."""

    topic: str
    packet_id: int
    payload: bytes
    qos: int = 1
    cut: bool = False
    again: bool = False
    """Whether the broker says that it delivers the message once more (DUP)."""


async def read_packet(reader: asyncio.StreamReader) -> Packet:
    """The next packet. Raises SourceError if the bytes are none, IncompleteReadError at the end of the stream."""
    (head,) = await reader.readexactly(1)
    length = shift = 0
    while True:  # 2.2.3: seven bits a byte, the least first, at most four bytes
        (byte,) = await reader.readexactly(1)
        length |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
        if shift > 21:
            raise SourceError("the broker sent bytes that are no MQTT")
    body = await reader.readexactly(min(length, LARGEST))
    rest = length - len(body)
    while rest > 0:
        rest -= len(await reader.readexactly(min(rest, 65536)))
    return Packet(head >> 4, head & 0x0F, body, length > LARGEST)


def published(packet: Packet) -> Published:
    """The message in a PUBLISH (3.3). Raises SourceError if the packet is malformed."""
    end = 2 + int.from_bytes(packet.body[:2], "big")
    wants = (packet.flags >> 1) & 3
    start = end + 2 if wants else end
    if start > len(packet.body) or wants == 3:
        raise SourceError("the broker sent a PUBLISH that is no MQTT")
    # Go's client takes a topic as it is; what is not UTF-8 becomes U+FFFD there too, once it is written as JSON.
    topic = packet.body[2:end].decode("utf-8", "replace")
    packet_id = int.from_bytes(packet.body[end:start], "big")
    return Published(topic, packet_id, packet.body[start:], wants, packet.cut, bool(packet.flags & 8))


def connect(client_id: str, *, keep_alive: int, clean: bool, user: str | None, password: str | None) -> bytes:
    """A CONNECT (3.1); ``keep_alive`` in seconds."""
    flags = (0x02 if clean else 0) | (0x80 if user is not None else 0) | (0x40 if password is not None else 0)
    body = _text("MQTT") + bytes((4, flags)) + keep_alive.to_bytes(2, "big") + _text(client_id)
    for text in (user, password):
        if text is not None:
            body += _text(text)
    return _framed(_CONNECT, body)


def subscribe(packet_id: int, topic: str, qos: int) -> bytes:
    """A SUBSCRIBE (3.8)."""
    return _framed(_SUBSCRIBE, packet_id.to_bytes(2, "big") + _text(topic) + bytes((qos,)))


def unsubscribe(packet_id: int, topic: str) -> bytes:
    """An UNSUBSCRIBE (3.10)."""
    return _framed(_UNSUBSCRIBE, packet_id.to_bytes(2, "big") + _text(topic))


def acknowledgement(message: Published) -> bytes:
    """What tells the broker that the message is kept: a PUBACK (3.4), or for QoS 2 a PUBREC (3.5)."""
    return _framed(_PUBREC if message.qos == 2 else _PUBACK, message.packet_id.to_bytes(2, "big"))


def completion(packet: Packet) -> bytes:
    """The PUBCOMP (3.7) that answers a PUBREL."""
    return _framed(_PUBCOMP, packet.body[:2])


def _framed(head: int, body: bytes) -> bytes:
    length, encoded = len(body), bytearray()
    while True:
        length, low = divmod(length, 128)
        encoded.append(low | (0x80 if length else 0))
        if not length:
            return bytes((head,)) + bytes(encoded) + body


def _text(text: str) -> bytes:
    encoded = text.encode()
    if len(encoded) > 0xFFFF:
        raise EventTooLarge("a text of MQTT has at most 65535 bytes")
    return len(encoded).to_bytes(2, "big") + encoded
