"""The headers of an HTTP request: what may stand there, and what of it must not be shown."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import quote

from argosy.errors import Rejected
from argosy.triggers._base import TELLING

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 §5.6.2, token


@dataclass
class Head:
    """The headers of one request, and what of them must not be shown."""

    values: dict[str, tuple[str, str]] = field(default_factory=dict)
    """By lower-case name: the name as given, and the value."""
    private: set[str] = field(default_factory=set)
    secrets: set[str] = field(default_factory=set)

    def set(self, name: str, value: str, *, secret: bool = False) -> None:
        """Set a header, in place of one of the same name. Raises Rejected if it is none."""
        # Line breaks would let a value add headers of its own.
        value = value.strip(" \t\r\n")
        if not _NAME.fullmatch(name):
            raise Rejected(f"{name!r} is not the name of an HTTP header")
        if any(character < " " and character != "\t" for character in value):
            raise Rejected(f"the value of header {name!r} holds a line break or another control character")
        self.values[name.lower()] = (name, value)
        if secret or TELLING.search(name):
            self.private.add(name.lower())
            if value:
                # "Bearer abc" is as secret as "abc" alone.
                self.secrets.update((value, value.rpartition(" ")[2]))

    def __contains__(self, name: str) -> bool:
        return name.lower() in self.values

    def encoded(self) -> list[tuple[bytes, bytes]]:
        """As they go over the wire."""
        return [(name.encode(), value.encode()) for name, value in self.values.values()]

    def blot(self, text: str) -> str:
        """``text`` without the secrets, however long they are."""
        for secret in sorted(self.secrets, key=len, reverse=True):
            for form in (secret, quote(secret, safe=""), secret.replace('"', '\\"')):
                text = text.replace(form, "***")
        return text
