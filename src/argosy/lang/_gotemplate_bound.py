"""How much the functions of templates may make and go through.

A list that holds a list twice, which holds a list twice, … is small in memory, and endless to go through or to write."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from argosy.errors import LangError

LARGEST_TEXT = 4 * 1024 * 1024
"""Bytes of any text that comes up while a template runs."""
LARGEST_LIST = 1_000_000


def bounded(size: int, what: str = "text") -> None:
    """Raises LangError before a text of ``size`` bytes is made, if that is too much."""
    if size > LARGEST_TEXT:
        raise LangError(f"a {what} of {size} bytes would be made; the limit is {LARGEST_TEXT}")


def bounded_list(size: int) -> None:
    """Raises LangError before a list of ``size`` elements is made, if that is too much."""
    if size > LARGEST_LIST:
        raise LangError(f"a list of {size} elements would be made; the limit is {LARGEST_LIST}")


class TooLong(LangError):
    """The texts that a call would make are too long together."""


class Made:
    """Counts the texts that one call makes."""

    __slots__ = ("_size",)

    def __init__(self) -> None:
        self._size = 0

    def __call__(self, text: str) -> str:
        """``text``. Raises TooLong if all together are more than ``LARGEST_TEXT``."""
        self._size += len(text)
        if self._size > LARGEST_TEXT:
            raise TooLong(f"a text of more than {LARGEST_TEXT} bytes would be made")
        return text


def joined(texts: Iterable[str], separator: str = "") -> str:
    """The texts as one, of which no more are made than it may hold. Raises TooLong."""
    made = Made()
    return separator.join(made(text) for text in texts)


def members(value: Any) -> Iterator[Any]:
    """The value and all that is in it, a part that occurs twice twice."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        yield one
        if isinstance(one, list):
            waiting.extend(one)
        elif isinstance(one, dict):
            waiting.extend(one.values())
