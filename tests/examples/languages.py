"""The tables of examples in ``docs/reference/languages``: read, run, and filled in.

``<!-- examples: jq -->`` before a table says that its rows are questions to that language. The columns are named
by their head; what all rows of the page share stands in a JSON block marked ``<!-- shared -->``, or is the text of a
block marked ``<!-- shared: json -->``. The last column is the result: JSON, or text (in quotes where it needs them), ``fails: …``, or ``like REGEX`` where it is another one
each time. ``python -m tests.examples.languages`` fills in the results that are missing."""

from __future__ import annotations

import datetime as dt
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from argosy.errors import LangError
from tests.examples import snippets
from tests.golden import ours

FOLDER = snippets.ROOT / "docs" / "reference" / "languages"
STAR = "\\* "
"""In front of the first cell: the Go library answers otherwise, and the page says why."""
_MARK = re.compile(r"^<!-- examples: (\w+) -->$")
_CELL = re.compile(r"(?<!\\)\|")
_CODE = re.compile(r"^(`+) ?(.*?) ?\1$", re.DOTALL)


@dataclass(frozen=True)
class Example:
    """One row. ``line`` counts from 1; ``result`` is the last cell without its marks, empty where it is not filled."""

    page: Path
    line: int
    language: str
    question: dict[str, Any]
    result: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def examples(page: Path) -> Iterator[Example]:
    """The examples of one page."""
    shared: dict[str, Any] = {}
    for snippet in snippets.read(page):
        if snippet.mark == "shared":
            shared = json.loads(snippet.text)
        elif snippet.mark.startswith("shared: "):
            shared = {snippet.mark.removeprefix("shared: "): snippet.text.rstrip()}
    language, head, marked = "", [], False
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if mark := _MARK.match(line):
            language, head, marked = mark[1], [], True
        elif not line.startswith("|"):
            marked = marked and not line.strip() and not head
        elif marked and not head:
            head = _cells(line)
        elif marked and not line.startswith("| ---"):
            cells = _cells(line)
            named = dict(zip(head[:-1], cells, strict=False))
            yield Example(page, number, language, {**shared, **_question(language, named)}, cells[len(head) - 1])


def _cells(line: str) -> list[str]:
    """The cells without the marks of code, and with the bars that Markdown has escaped."""
    parts = [part.strip().removeprefix(STAR).replace("\\|", "|") for part in _CELL.split(line.strip()[1:-1])]
    return [code[2] if (code := _CODE.match(part)) else part for part in parts]


def _question(language: str, named: dict[str, str]) -> dict[str, Any]:
    """The cells as a question; a column that no language asks for (a remark, the name of a function) is left out."""
    question: dict[str, Any] = {}
    for name, cell in named.items():
        if name == "template":
            question["text"] = cell
        elif name in ("program", "schedule", "expression", "script", "pattern", "duration"):
            question[
                {"program": "text", "schedule": "spec", "expression": "expr", "duration": "text"}.get(name, name)
            ] = cell
        elif name in ("path", "json", "text", "zone", "way"):
            question[name] = cell
        elif name == "value":
            question["value"] = json.loads(cell)
        elif name == "from":
            question["at"] = int(dt.datetime.fromisoformat(cell).timestamp())
    return question


def shown(example: Example) -> str:
    """The result that we give, as the table shows it."""
    try:
        answer = ours.value(example.language, example.question)
    except LangError as error:
        return f"fails: {error.message}"
    if example.language == "gjson":
        return "nothing" if answer is None else answer["raw"]
    if example.language == "cron" and answer is not None:
        return dt.datetime.fromtimestamp(answer, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if not isinstance(answer, str) or example.language in ("jq", "lua", "govaluate"):
        return json.dumps(answer, ensure_ascii=False)
    needs_quotes = not answer or answer != answer.strip() or answer[0] == '"' or re.search(r"[\n\t`\\]", answer)
    return json.dumps(answer, ensure_ascii=False) if needs_quotes else answer


def agrees(example: Example) -> bool:
    """Whether the page shows what comes out."""
    if example.result.startswith("like "):
        found = str(ours.value(example.language, example.question))
        return re.fullmatch(example.result.removeprefix("like "), found) is not None
    return shown(example) == example.result


def code(text: str) -> str:
    """``text`` as code in a cell."""
    fence = "``" if "`" in text else "`"
    inner = f" {text} " if text.startswith("`") or text.endswith("`") else text
    return fence + inner.replace("|", "\\|") + fence if text else ""


def main() -> None:
    """Fills in the last cells that are empty."""
    for page in sorted(FOLDER.glob("*.md")):
        lines = page.read_text().splitlines()
        for example in examples(page):
            line = lines[example.line - 1]
            if not example.result and re.search(r"\|\s*\|$", line):
                lines[example.line - 1] = re.sub(r"\|\s*\|$", "", line) + f"| {code(shown(example))} |"
        page.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())
