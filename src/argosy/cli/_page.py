"""What commands write: a page with colours and line breaks for a terminal, plain lines and tables, JSON.

What stands in a line comes out of events and answers, which anybody may send. So every line is cleaned of control characters, which
could rewrite what a terminal shows; of a line of a ``Page`` all parts but those that ``ink`` coloured.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

import click

_PLAIN = str.maketrans({"✓": "+", "✗": "x", "…": ".", "←": "<-", "→": "->", "·": "-", "│": "|"})
# C0 and C1 controls, DEL, line separators, marks that turn the direction of text, and halves of characters.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def clean(text: str) -> str:
    """``text`` with every character that is not shown but does something written as an escape."""
    return _UNSAFE.sub(lambda found: ascii(found[0])[1:-1], text)


def one_line(text: str, most: int) -> str:
    """``text`` with its white space folded, cut to ``most`` characters."""
    folded = " ".join(text.split())
    return folded if len(folded) <= most else folded[: most - 1] + "…"


def say(line: str) -> None:
    """Write one line to standard output, cleaned."""
    click.echo(clean(line))


def say_json(value: Any) -> None:
    """Write a document to standard output."""
    click.echo(json.dumps(value, indent=2))


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Aligned columns; the last one is as long as it is."""
    widths = [max(len(row[at]) for row in [heads, *rows]) for at in range(len(heads) - 1)]
    for row in [heads, *rows]:
        yield "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]).rstrip()


class Styled(str):
    """Text that is clean and may carry colours."""

    __slots__ = ()


class Page:
    """Standard output. Colours on a terminal unless ``NO_COLOR`` is set; no line is broken where it is no terminal."""

    def __init__(self) -> None:
        terminal = sys.stdout.isatty()
        self._colour = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self._width = max(60, shutil.get_terminal_size().columns) if terminal else 0
        self._unicode = (sys.stdout.encoding or "").lower().replace("-", "") in ("utf8", "utf16")

    def ink(self, text: str, **style: Any) -> Styled:
        """``text`` in a colour, where there are colours."""
        return Styled(click.style(clean(text), **style) if self._colour else clean(text))

    def line(self, *parts: str) -> None:
        """One line; parts that ``ink`` did not make are cleaned."""
        text = "".join(part if isinstance(part, Styled) else clean(part) for part in parts).rstrip(" ")
        if not self._unicode:
            text = text.translate(_PLAIN).encode("ascii", "backslashreplace").decode()
        click.echo(text, color=self._colour)

    def text(self, *parts: str, indent: int) -> None:
        """A line whose last part is a sentence: on a terminal broken between words, its later lines begin at ``indent``."""
        first, sentence = parts[:-1], clean(parts[-1])
        lines = [sentence]
        if self._width:
            lines = textwrap.wrap(sentence, max(30, self._width - indent), break_on_hyphens=False) or [""]
        for number, part in enumerate(lines):
            self.line(*(first if number == 0 else (" " * indent,)), *self._quotes(part))

    def _quotes(self, text: str) -> Sequence[str]:
        """What stands between backticks (values and paths) is what the eye looks for."""
        return [self.ink(part, bold=True) if part.startswith("`") else part for part in re.split(r"(`[^`]*`)", text)]
