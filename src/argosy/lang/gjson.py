"""gjson paths (github.com/tidwall/gjson 1.19.0).

``a.b.0``, ``items.#(name=="x").id``, ``{id,name}``, ``a|@keys``. ``compile`` a path once, ``get`` it from a
``Document`` as often as events come. A path of plain keys and indexes is walked in the document's parsed
tree, which costs a fraction of a microsecond; every other path, and every document in which the tree could
differ from the text (equal keys, half surrogates, no container at all), is searched in the text by the
``_gjson_*`` modules. Both ways give the same results: what only the text knows (raw text, how a number is
written) is looked up there when it is asked for.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import orjson

from argosy.errors import LangError
from argosy.lang import _gjson_modifiers, _gjson_paths, _gjson_scan, gojson
from argosy.lang._gjson_result import Hit, Kind, Result
from argosy.lang._gjson_text import parse_float, tells_all, to_boolean, to_float
from argosy.lang.gojson import Json

__all__ = ["Document", "Kind", "Path", "Result", "compile", "escape", "parse_float"]

assert set(_gjson_scan.MODIFIERS) == _gjson_paths.MODIFIERS, _gjson_modifiers

_UNREAD: Any = object()
_UNFIT: Any = object()
_ABSENT: Any = object()
_MISSING = Hit("Null", "")
_KINDS: dict[type, Kind] = {
    str: "String",
    int: "Number",
    float: "Number",
    dict: "JSON",
    list: "JSON",
    type(None): "Null",
}


class Document:
    """JSON text with its value, each made from the other at most once. The value must not be changed."""

    __slots__ = ("_made", "_source", "_text", "_tree", "_value")

    def __init__(self, text: bytes) -> None:
        self._text: bytes | None = text
        self._value: Json = _UNREAD
        self._tree: Any = _UNREAD
        self._source: str | None = None
        self._made = False

    @classmethod
    def of(cls, value: Json) -> Document:
        """The document with the text that ``gojson.dumps`` writes, once somebody asks for it."""
        document = cls(b"")
        document._text = None
        document._value = value
        # A bare text may look like a container to a path, so only containers are walked.
        document._tree = value if type(value) is dict or type(value) is list else _UNFIT
        document._made = True
        return document

    @property
    def text(self) -> bytes:
        """The JSON text in UTF-8. Raises LangError if the value it is made from is none that JSON knows."""
        if self._text is None:
            self._text = gojson.dumps(self._value)
        return self._text

    @property
    def value(self) -> Json:
        """The parsed value; of equal keys the last one wins, as in Go.

        Raises LangError if the text is not JSON.
        """
        if self._value is _UNREAD:
            self._value = gojson.loads(self.text)
        return self._value

    @property
    def first(self) -> Json:
        """As ``value``, but of equal keys the first one wins, as in what a path finds; and any JSON is read."""
        tree = self._plant() if self._tree is _UNREAD else self._tree
        return tree if tree is not _UNFIT else compile("@this").get(self).value

    def _plant(self) -> Any:
        """The tree that plain paths may walk, or _UNFIT if the text must be searched."""
        tree = _UNFIT
        text = self.text
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError:
            pass  # whatever stands in such text, only the search through it can tell
        else:
            self._value = value
            if (type(value) is dict or type(value) is list) and tells_all(text, value):
                tree = value
        self._tree = tree
        return tree

    def _characters(self) -> str:
        if self._source is None:
            self._source = self.text.decode("utf-8", "replace")
        return self._source


class Path:
    """A compiled path. ``text`` is what it was compiled from."""

    __slots__ = ("_steps", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._steps = _plain_steps(text)

    def __repr__(self) -> str:
        return f"gjson.compile({self.text!r})"

    def get(self, document: Document) -> Result:
        """What the path finds.

        Missing is a result too; only nesting beyond all measure raises, a LangError.
        """
        steps = self._steps
        if steps is None:
            return self._search(document)
        node = document._tree
        if node is _UNREAD:
            node = document._plant()
        if node is _UNFIT:
            return self._search(document)
        for key, index in steps:
            if type(node) is dict:
                node = node.get(key, _ABSENT)
                if node is _ABSENT:
                    return _MISSING
            elif type(node) is list and 0 <= index < len(node):
                node = node[index]
            else:
                return _MISSING
        return _Leaf(node, document, self)

    def span(self, document: Document) -> tuple[int, int] | None:
        """Where the text that the path finds begins and ends, in characters; None where it stands nowhere as such (missing, or put
        together by a query or a modifier). Raises as ``get`` does.
        """
        hit = self._search(document)
        return (hit.at, hit.at + len(hit.raw)) if hit.at >= 0 and hit.raw else None

    def _search(self, document: Document) -> Hit:
        try:
            return _gjson_scan.get(document._characters(), self.text)
        except LangError as error:
            raise LangError(f"{self.text!r}: {error.message}", text=self.text) from None
        except RecursionError:
            raise LangError(f"{self.text!r} goes deeper into the JSON than can be followed", text=self.text) from None


class _Leaf(Result):
    """A result from the parsed tree."""

    __slots__ = ("_document", "_path", "value")

    exists = True
    value: Json

    def __init__(self, value: Json, document: Document, path: Path) -> None:
        self.value = value
        self._document = document
        self._path = path

    @property
    def kind(self) -> Kind:
        if self.value is True:
            return "True"
        if self.value is False:
            return "False"
        return _KINDS[type(self.value)]

    @property
    def raw(self) -> str:
        if self._document._made:
            return gojson.dumps(self.value).decode()
        return self._path._search(self._document).raw

    def string(self) -> str:
        value = self.value
        kind = type(value)
        if kind is str:
            return value  # type: ignore[no-any-return]
        if kind is int:
            return str(value)
        if kind is float:
            # An integer beyond 64 bits is a float here but keeps its digits in the text.
            return gojson.fixed_float(value) if self._document._made or abs(value) < 2**63 else self._exact()
        if kind is bool:
            return "true" if value else "false"
        return "" if value is None else self.raw

    def _exact(self) -> str:
        return self._path._search(self._document).string()

    def number(self) -> float:
        kind = type(self.value)
        if kind is float:
            return self.value  # type: ignore[no-any-return]
        if kind is int:
            # A value that was not read from text may hold an integer beyond all floats.
            return float(self.value) if abs(self.value) < 2**64 else to_float(str(self.value))
        if kind is str:
            return to_float(self.value)
        return 1.0 if self.value is True else 0.0

    def boolean(self) -> bool:
        kind = type(self.value)
        if kind is str:
            return to_boolean(self.value) is True
        return kind in (bool, int, float) and bool(self.value)


@lru_cache(maxsize=4096)
def compile(path: str) -> Path:
    """The path, ready to use. Never fails: to gjson every text is a path, at worst one that finds nothing."""
    return Path(path)


def escape(key: str) -> str:
    """The path that means exactly this key of an object, whatever characters it has."""
    plain = all((c.isascii() and c.isalnum()) or c <= " " or c > "~" or c in "_-:" for c in key)
    return key if plain else "".join(c if c.isalnum() or c <= " " or c > "~" or c in "_-:" else "\\" + c for c in key)


def _plain_steps(path: str) -> tuple[tuple[str, int], ...] | None:
    """Keys, each with the index that it is for an array (-1: none), if the path is made of these alone."""
    if "#" in path or path.startswith(("..", "[", "{")):
        return None
    if len(path) > 1 and (
        (path[0] == "@" and _gjson_paths.modifier(path)) or (path[0] == "!" and _gjson_paths.literal(path))
    ):
        return None
    steps: list[tuple[str, int]] = []
    more = True
    while more:
        step = _gjson_paths.object_step(path)
        item = _gjson_paths.array_step(path)
        # The two readings part at an escape only. There an array sees no number, but maybe a pipe.
        if step.wild or step.pipe is not None or item.pipe is not None:
            return None
        steps.append((step.key, item.index))
        more, path = step.more, step.path
    return tuple(steps)
