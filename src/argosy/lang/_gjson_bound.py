"""How much text one gjson look-up may make: ``@tostr|@tostr|…`` doubles with every step."""

from __future__ import annotations

import threading

from argosy.errors import LangError

LARGEST_TEXT = 16 * 1024 * 1024
"""Characters that the modifiers and multipaths of one look-up may make."""


class _Made(threading.local):
    characters = 0


_made = _Made()


def begin() -> None:
    """A new look-up of this thread: nothing is made yet."""
    _made.characters = 0


def made(text: str) -> str:
    """``text``, counted as made by this look-up. Raises LangError beyond ``LARGEST_TEXT``."""
    _made.characters += len(text)
    if _made.characters > LARGEST_TEXT:
        raise LangError(f"the path makes more than {LARGEST_TEXT // 2**20} million characters of the JSON")
    return text
