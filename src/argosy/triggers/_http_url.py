"""A URL with values out of events in its path and its query, quoted, so that no value says where the request goes."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote

from argosy.errors import Rejected


def filled(url: str, path: Iterable[tuple[str, str | None]], query: Iterable[tuple[str, str | None]]) -> str:
    """``url`` with each ``{name}`` of its path replaced, and each value of ``query`` added; one that is None is left out of the query.

    Raises Rejected if the path has no such name, or a value cannot stand there.
    """
    before, hash_, fragment = url.partition("#")
    before, mark, asked = before.partition("?")
    for name, value in path:
        place = "{" + name + "}"
        if place not in before:
            raise Rejected(f"pathParameters: the path of the URL has no {place}")
        if value in (None, "", ".", ".."):
            said = "has no value" if value is None else f"is {value!r}, which leads elsewhere"
            raise Rejected(f"pathParameters: {place} {said}")
        before = before.replace(place, quote(str(value), safe=""))
    pairs = [f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in query if value is not None]
    if pairs:
        mark, asked = "?", "&".join([*([asked] if asked else []), *pairs])
    return before + mark + asked + hash_ + fragment
