"""A mail message (RFC 5322, MIME) as JSON: its headers, its text, and what is attached to it.

Mail is whatever somebody sent. What is malformed is read as far as it goes; only a message that cannot be read at all is
refused.
"""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.headerregistry import AddressHeader, DateHeader
from email.message import EmailMessage, Message
from typing import Any

from argosy.errors import EventInvalid
from argosy.manifests.fields import Json

_ADDRESSES = {"from": "From", "to": "To", "cc": "Cc", "replyTo": "Reply-To"}


def read(message: bytes, largest_attachment: int) -> dict[str, Json]:
    """What a message says. Attachments with more bytes than ``largest_attachment`` come without their content.

    Raises EventInvalid if it cannot be read.
    """
    try:
        return _read(message, largest_attachment)
    except (RecursionError, MemoryError, ValueError, LookupError, AttributeError, TypeError) as error:
        # The standard library's parser breaks on some malformed mail in these ways.
        raise EventInvalid(f"the message cannot be read as mail ({type(error).__name__})") from error


def _read(message: bytes, largest_attachment: int) -> dict[str, Json]:
    mail = message_from_bytes(message, policy=policy.default)
    assert isinstance(mail, EmailMessage)
    bodies = {kind: mail.get_body((kind,)) for kind in ("plain", "html")}
    texts = {id(body) for body in bodies.values() if body is not None}
    attached = [part for part in _leaves(mail) if id(part) not in texts]
    headers: dict[str, list[str]] = {}
    for name in dict.fromkeys(mail.keys()):
        headers.setdefault(_cased(name), []).extend(_values(mail, name))
    return {
        "subject": _one(mail, "Subject"),
        "messageId": _one(mail, "Message-ID"),
        "date": _date(mail),
        **{word: _addresses(mail, name) for word, name in _ADDRESSES.items()},
        "headers": headers,
        "text": _text(bodies["plain"]),
        "html": _text(bodies["html"]),
        "attachments": [_attachment(part, largest_attachment) for part in attached],
    }


def _cased(name: str) -> str:
    return "-".join(part[:1].upper() + part[1:].lower() for part in name.split("-"))


def _leaves(part: Message) -> Iterator[Message]:
    """The parts that hold something, in order; an attached message is one."""
    waiting: list[Message] = [part]
    while waiting:
        part = waiting.pop()
        if part.get_content_maintype() == "multipart" and part.is_multipart():
            waiting += reversed([each for each in part.get_payload() if isinstance(each, Message)])
        else:
            yield part


def _clean(text: str) -> str:
    """Bytes that are no text come as surrogates, which JSON cannot hold."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _values(mail: Message, name: str) -> list[str]:
    try:
        return [_clean(str(value)) for value in mail.get_all(name, [])]
    except (ValueError, LookupError, AttributeError, TypeError):
        # A header that the parser cannot read stands as it was sent.
        return [_clean(value) for key, value in mail.raw_items() if key.lower() == name.lower()]


def _one(mail: Message, name: str) -> str:
    return next(iter(_values(mail, name)), "")


def _date(mail: EmailMessage) -> str | None:
    try:
        header = mail["Date"]
    except (ValueError, LookupError, AttributeError, TypeError):
        return None
    when = header.datetime if isinstance(header, DateHeader) else None
    if not isinstance(when, dt.datetime):
        return None
    return when.replace(tzinfo=when.tzinfo or dt.UTC).isoformat()


def _addresses(mail: EmailMessage, name: str) -> list[dict[str, str]]:
    try:
        header = mail[name]
    except (ValueError, LookupError, AttributeError, TypeError):
        return []
    if not isinstance(header, AddressHeader):
        return []
    return [{"name": _clean(each.display_name), "address": _clean(each.addr_spec)} for each in header.addresses]


def _bytes(part: Message) -> bytes:
    if part.get_content_maintype() == "message" and part.is_multipart():
        return b"".join(each.as_bytes() for each in part.get_payload() if isinstance(each, Message))
    decoded: Any = part.get_payload(decode=True)
    return decoded if isinstance(decoded, bytes) else b""


def _text(part: Message | None) -> str | None:
    if part is None:
        return None
    charset = str(part.get_param("charset", "utf-8"))
    try:
        text = _bytes(part).decode(charset, "replace")
    except (LookupError, ValueError):
        text = _bytes(part).decode("utf-8", "replace")
    return _clean(text.replace("\r\n", "\n"))


def _attachment(part: Message, largest: int) -> dict[str, Json]:
    content = _bytes(part)
    found: dict[str, Json] = {
        "filename": _clean(part.get_filename() or ""),
        "contentType": part.get_content_type(),
        "size": len(content),
        "content": base64.b64encode(content).decode() if len(content) <= largest else None,
    }
    if identity := part.get("Content-ID"):
        found["contentId"] = _clean(str(identity)).strip("<>")
    return found
