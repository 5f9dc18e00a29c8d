"""How a request is read: path templates, header names and query strings, as Go's net/http and gorilla/mux
read them.

Manifests were written against those two, so a path, a header or a query must mean the same here. Pure
functions; the server that uses them is in ``_http``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from argosy.errors import ConfigError, EventInvalid

_VARIABLE_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


class PathTemplate:
    """An endpoint: literal text and variables ``{name}`` (one path segment) or ``{name:pattern}`` (RE2).

    ``shape`` is the same for templates that match the same paths with other variable names. Raises
    ConfigError where braces do not pair, a variable has no name or a pattern is not RE2.
    """

    def __init__(self, text: str) -> None:
        # Upstream's router never matches an endpoint without the slash; what its author meant is plain.
        self.text = text if text.startswith("/") else "/" + text
        self._names: list[str] = []
        self._pattern: re.Pattern[str] | None = None
        parts = list(_split(self.text))
        self.shape = "".join(part if name is None else "{:" + part + "}" for name, part in parts)
        if all(name is None for name, _ in parts):
            return
        import re2

        source = ""
        for name, part in parts:
            if name is None:
                source += re2.escape(part)
            elif name in self._names:
                raise ConfigError(f"endpoint {text!r} names the variable {name!r} twice")
            else:
                source += f"(?P<v{len(self._names)}>{part})"
                self._names.append(name)
        try:
            self._pattern = re2.compile(source)
        except re2.error as error:
            raise ConfigError(f"endpoint {text!r} has a pattern that is not RE2: {_reason(error)}") from error

    @property
    def literal(self) -> bool:
        """Whether the template matches one path only."""
        return self._pattern is None

    def match(self, path: str) -> dict[str, str] | None:
        """The variables of ``path`` (already percent-decoded), or None if it is another path."""
        if self._pattern is None:
            return {} if path == self.text else None
        found = self._pattern.fullmatch(path)
        return None if found is None else {name: found[f"v{index}"] for index, name in enumerate(self._names)}


def _reason(error: Exception) -> str:
    first = error.args[0] if error.args else error
    return first.decode(errors="replace") if isinstance(first, bytes) else str(first)


def _split(text: str) -> list[tuple[str | None, str]]:
    """Pieces of a template: ``(None, literal)`` and ``(variable, pattern)``. Patterns may hold paired
    braces."""
    parts: list[tuple[str | None, str]] = []
    literal, depth, begin = "", 0, 0
    for position, letter in enumerate(text):
        if letter == "{":
            depth += 1
            if depth == 1:
                begin = position
        elif letter == "}":
            depth -= 1
            if depth < 0:
                break
            if depth == 0:
                name, colon, pattern = text[begin + 1 : position].partition(":")
                if not _VARIABLE_NAME.fullmatch(name) or (colon and not pattern):
                    raise ConfigError(f"endpoint {text!r} has a variable without a name or pattern; write {{name}}")
                parts += [(None, literal), (name, pattern or "[^/]+")]
                literal = ""
        elif depth == 0:
            literal += letter
    if depth:
        raise ConfigError(f"endpoint {text!r} has braces that do not pair")
    return [part for part in [*parts, (None, literal)] if part != (None, "")]


@lru_cache(maxsize=1024)
def header_name(name: str) -> str:
    """Go's canonical form: ``x-github-event`` becomes ``X-Github-Event``."""
    return "-".join(word[:1].upper() + word[1:].lower() for word in name.split("-"))


def headers(raw: list[tuple[bytes, bytes]]) -> dict[str, list[str]]:
    """Header fields as Go hands them to its handlers: canonical names, lists of values, hop-by-hop framing
    left out.
    """
    found: dict[str, list[str]] = {}
    for name, value in raw:
        if name not in (b"host", b"transfer-encoding"):
            found.setdefault(header_name(name.decode("latin-1")), []).append(value.decode("utf-8", "replace"))
    return found


def query(text: str, *, strict: bool = False) -> Mapping[str, list[str]]:
    """A query or form body as Go's ``url.ParseQuery`` reads it: values in order, blank ones kept.

    A pair with a semicolon or a broken percent escape is left out, or raises EventInvalid if ``strict``.
    """
    found: dict[str, list[str]] = {}
    for pair in text.split("&"):
        if not pair:
            continue
        if ";" in pair or _BAD_ESCAPE.search(pair):
            if strict:
                raise EventInvalid("the form body has a semicolon or a '%' without two hex digits")
            continue
        name, _, value = pair.partition("=")
        found.setdefault(_unescape(name), []).append(_unescape(value))
    return found


def _unescape(text: str) -> str:
    return unquote_to_bytes(text.replace("+", " ")).decode("utf-8", "replace")
