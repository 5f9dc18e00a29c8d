"""Where in a text an error stands, in one line."""

from __future__ import annotations

from argosy.errors import LangError

_AROUND = 40  # characters on each side


def pointed(error: LangError) -> str:
    """``the sentence (at » in: the text »around the fault)``; the sentence alone where the fault has no place."""
    if error.offset < 0 or not error.text.strip():
        return error.message
    before, behind = error.text[: error.offset], error.text[error.offset :]
    start = "…" if len(before) > _AROUND else ""
    end = "…" if len(behind) > _AROUND else ""
    shown = " ".join(f"{before[-_AROUND:]}»{behind[:_AROUND]}".split())
    return f"{error.message} (at » in: {start}{shown}{end})"
