"""What a gjson path yields, and gjson's ways to read it as text, number or boolean.

``Result`` is what callers see. ``Hit`` is the result of scanning text: the JSON text found and where it
stands. A Hit never fails: a number that is none reads as 0, a broken string ends where it breaks, as in
gjson. The other kind of result, taken from a parsed tree, stands in ``gjson``.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import Literal, TypeAlias

from argosy.lang._gjson_text import container, to_boolean, to_float, to_number
from argosy.lang.gojson import Json, fixed_float

Kind: TypeAlias = Literal["Null", "False", "True", "Number", "String", "JSON"]

_INTEGER = re.compile(r"-?[0-9]{1,4000}")
_DIGITS_ONLY = re.compile(r"-?[0-9]*")


class Result(ABC):
    """What a path found in a document.

    A missing value has the kind Null and no text; a JSON ``null`` exists.
    """

    __slots__ = ()

    @property
    @abstractmethod
    def exists(self) -> bool:
        """Whether the path found anything."""

    @property
    @abstractmethod
    def kind(self) -> Kind:
        """The type of the value, in gjson's words; JSON is an object or an array."""

    @property
    @abstractmethod
    def raw(self) -> str:
        """The JSON text as it stands in the document, spaces included; empty if nothing exists."""

    @property
    @abstractmethod
    def value(self) -> Json:
        """The value in Python: int or float as the number is written; of equal keys the first wins."""

    @abstractmethod
    def string(self) -> str:
        """Text as it is, numbers without exponent, integers digit by digit, null empty, containers raw."""

    @abstractmethod
    def number(self) -> float:
        """Numbers, text that is a number, true as 1; anything else is 0."""

    @abstractmethod
    def boolean(self) -> bool:
        """true, numbers but 0, and the texts ``1``, ``t``, ``true`` in any case."""


class Hit(Result):
    """A result in a scanned text.

    ``text`` is the content of a String. ``at`` is where ``raw`` stands in the text that was searched, -1
    where it was put together. ``index`` and ``indexes`` are gjson's public positions, which sjson writes
    by: 0 and None where gjson does not know them.
    """

    __slots__ = ("_kind", "_raw", "at", "index", "indexes", "text")

    def __init__(self, kind: Kind, raw: str, at: int = -1, text: str = "") -> None:
        self._kind = kind
        self._raw = raw
        self.at = at
        self.text = text
        self.index = 0
        self.indexes: list[int] | None = None

    @property
    def exists(self) -> bool:
        return self._kind != "Null" or self._raw != ""

    @property
    def kind(self) -> Kind:
        return self._kind

    @property
    def raw(self) -> str:
        return self._raw

    @property
    def value(self) -> Json:
        if self._kind == "JSON":
            return container(self._raw)
        if self._kind == "String":
            return self.text
        if self._kind == "Number":
            return to_number(self._raw)
        return None if self._kind == "Null" else self._kind == "True"

    def string(self) -> str:
        if self._kind == "String":
            return self.text
        if self._kind == "Number":
            return self._raw if _DIGITS_ONLY.fullmatch(self._raw) else fixed_float(to_float(self._raw))
        if self._kind == "JSON":
            return self._raw
        return "" if self._kind == "Null" else self._kind.lower()

    def number(self) -> float:
        if self._kind == "Number":
            return to_float(self._raw)
        if self._kind == "String":
            return to_float(self.text)
        return 1.0 if self._kind == "True" else 0.0

    def boolean(self) -> bool:
        if self._kind == "String":
            return to_boolean(self.text) is True
        if self._kind == "Number":
            return to_float(self._raw) != 0
        return self._kind == "True"

    def integer(self) -> int:
        """gjson's ``Int()``, for options of modifiers: of text an integer, numbers lose their fraction."""
        if self._kind == "Number":
            number = to_float(self._raw)
            if abs(number) <= 2**53 - 1:
                return int(number)
            return int(self._raw) if _INTEGER.fullmatch(self._raw) else 0
        if self._kind == "String":
            return int(self.text) if _INTEGER.fullmatch(self.text) else 0
        return 1 if self._kind == "True" else 0
