"""The fenced blocks of our Markdown pages, for tests that run them.

A comment on the line before a fence marks it: ``<!-- file: path -->`` says that the block is the whole of
that file, ``<!-- runs -->`` that its commands are to be run. In a ``console`` block a line ``$ …`` is a
command and the lines after it are what it prints, in that order; ``…`` stands for anything, and output
between two shown lines may be left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_FENCE = re.compile(r"^```(?P<language>[a-z]*)\s*$")
_MARK = re.compile(r"^<!-- (?P<mark>.+?) -->$")


@dataclass(frozen=True)
class Snippet:
    """One fenced block. ``line`` is the fence's, from 1; ``mark`` the comment before it, or empty."""

    page: Path
    line: int
    language: str
    mark: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def pages() -> list[Path]:
    """Every page that a reader meets."""
    own = [page for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md") if (page := ROOT / name).exists()]
    return own + sorted((ROOT / "docs").rglob("*.md"))


def read(page: Path) -> Iterator[Snippet]:
    """The blocks of one page, in order. A fence that is never closed fails."""
    start = 0
    language = mark = previous = ""
    block: list[str] = []
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if not start:
            if fence := _FENCE.match(line):
                start, language, block = number, fence["language"], []
                marked = _MARK.match(previous)
                mark = marked["mark"] if marked else ""
            previous = line
        elif line == "```":
            yield Snippet(page, start, language, mark, "\n".join(block) + "\n")
            start, previous = 0, ""
        else:
            block.append(line)
    assert not start, f"{page}:{start}: this fence is never closed"


def all_snippets() -> list[Snippet]:
    """The blocks of all pages."""
    return [snippet for page in pages() for snippet in read(page)]


def files(page: Path) -> dict[str, str]:
    """The files that a page holds whole: path to text."""
    return {s.mark.removeprefix("file: "): s.text for s in read(page) if s.mark.startswith("file: ")}


@dataclass(frozen=True)
class Step:
    """One command of a console block, and the lines that it shows."""

    command: str
    shows: tuple[str, ...]


def steps(snippet: Snippet) -> list[Step]:
    """The commands of a console block. A trailing backslash continues a command."""
    found: list[tuple[str, list[str]]] = []
    for line in snippet.text.splitlines():
        if found and found[-1][0].endswith("\\") and not found[-1][1]:
            command, shown = found[-1]
            found[-1] = (f"{command}\n{line}", shown)
        elif line.startswith("$ "):
            found.append((line[2:], []))
        else:
            assert found, f"{snippet}: begins with output"
            found[-1][1].append(line)
    return [Step(command, tuple(shown)) for command, shown in found]


def missing(shown: tuple[str, ...], printed: str) -> str | None:
    """The first line of ``shown`` that does not stand in ``printed`` after those before it; None if all
    do."""
    lines = iter(printed.splitlines())
    for line in shown:
        if not line.strip() or line.strip() == "…":
            continue
        pattern = re.compile(".*".join(re.escape(part) for part in line.strip().split("…")))
        if not any(pattern.fullmatch(candidate.strip()) for candidate in lines):
            return line
    return None
