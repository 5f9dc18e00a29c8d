"""What the ``http`` source makes of an answer: items with their ids, the next page, the cursor; and what it remembers
between polls.

An item is told once: its id is kept as long as the item stands in the answers. All of a poll's memory is written
after its events are, so a poll that breaks off is made again, with the same ids.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import msgspec

from argosy.errors import EventInvalid, LangError, SourceError
from argosy.lang import gjson, gojson
from argosy.manifests.fields import Json
from argosy.sources._http_body import raw_json
from argosy.sources._http_routes import header_name
from argosy.sources._poll_client import Answer, shown

MOST_SEEN = 20_000
"""Ids that are remembered; 8 bytes each."""


@dataclass(frozen=True)
class Memory:
    """What is kept on the bus between two polls."""

    polled: str = ""
    """When the last whole poll was due, as RFC 3339."""
    told: str = ""
    """The same of the last one that changed anything here beside ``polled``."""
    cursor: str = ""
    url: str = ""
    """The URL that ``etag`` and ``modified`` are of."""
    etag: str = ""
    modified: str = ""
    page: str = ""
    """Where the next poll begins, if the last one stopped at ``maxPages``."""
    quiet: bool = False
    """Whether what is found is only remembered: the first poll of ``start: new``."""
    seen: tuple[bytes, ...] = ()
    """Marks of the items that were told, the oldest first."""

    def encode(self) -> bytes:
        """As it is kept."""
        told = {name: value for name, value in vars(self).items() if value and name != "seen"}
        return json.dumps({**told, "seen": base64.b64encode(b"".join(self.seen)).decode()}).encode()

    @classmethod
    def decode(cls, text: bytes) -> Memory:
        """What ``encode`` made."""
        told = json.loads(text)
        seen = base64.b64decode(told.pop("seen"))
        return cls(**told, seen=tuple(seen[at : at + 8] for at in range(0, len(seen), 8)))

    def and_seen(self, marks: list[bytes]) -> Memory:
        """With these items told, too; without the oldest where they are too many."""
        now = dict.fromkeys(marks)
        return replace(self, seen=(*(mark for mark in self.seen if mark not in now), *now)[-MOST_SEEN:])


class Item(NamedTuple):
    """One item of an answer: its JSON text and its id, empty where the manifest names none."""

    text: bytes
    id: str

    @property
    def mark(self) -> bytes:
        """By what it is remembered."""
        return hashlib.blake2b(self.id.encode() or self.text, digest_size=8).digest()


class Page(NamedTuple):
    """What one answer holds."""

    items: list[Item]
    env: Mapping[str, Json]
    """What expressions over the whole answer see."""


def page(answer: Answer, shape: str, path: str, id_: str, cursor: str) -> Page:
    """The items of an answer. Raises SourceError where it is not what the manifest says."""
    what = f"the answer of {shown(answer.url)}"
    if not answer.body and answer.status == 204:
        return Page([], _env(answer, None, [], cursor))
    if shape != "json":
        body = gojson.dumps(answer.body.decode("utf-8", "replace"))
        if shape == "base64":
            body = b'"%b"' % base64.b64encode(answer.body)
        texts = [body]
    else:
        try:
            body = raw_json(answer.body)
        except EventInvalid as error:
            raise SourceError(f"{what}: {error}") from error
        texts = _texts(body, path, what) if path else [body]
    value = gojson.loads(body)
    values = [gojson.loads(text) for text in texts]
    items = []
    for text, item in zip(texts, values, strict=True):
        items.append(Item(text, said(id_, {"item": item, "body": value}, "id") if id_ else ""))
    return Page(items, _env(answer, value, values, cursor))


def said(expression: str, env: Mapping[str, Json], what: str) -> str:
    """What an expression of the manifest yields, as text; empty for nil. Raises SourceError where it fails."""
    from argosy.lang import expr

    try:
        value = expr.compile(expression).evaluate({**env, **expr.FUNCTIONS})
    except LangError as error:
        raise SourceError(f"'{what}' fails on the answer: {error}") from error
    if value is None or isinstance(value, str):
        return value or ""
    return gojson.dumps(int(value) if isinstance(value, float) and value.is_integer() else value).decode()


def data(answer_url: str, text: bytes, metadata: bytes) -> bytes:
    """The data of the event of one item."""
    return b'{"url":%b,"body":%b%b}' % (gojson.dumps(shown(answer_url)), text, metadata)


def _texts(body: bytes, path: str, what: str) -> list[bytes]:
    try:
        found = gjson.compile(path).get(gjson.Document(body))
    except LangError as error:
        raise SourceError(f"'items' fails on {what}: {error}") from error
    if not found.exists:
        raise SourceError(f"{what} has nothing at {path!r}, which 'items' names")
    if found.kind == "Null":
        return []
    try:
        return [bytes(each) for each in msgspec.json.decode(found.raw, type=list[msgspec.Raw])]
    except msgspec.DecodeError as error:
        raise SourceError(f"{what} has no array at {path!r}, which 'items' names") from error


def _env(answer: Answer, body: Json, items: list[Json], cursor: str) -> dict[str, Any]:
    headers = {header_name(name): value for name, value in answer.headers.items()}
    return {"body": body, "items": items, "header": headers, "cursor": cursor}
