"""The golden files: questions to the Go libraries that Argo Events pins, with their answers.

``<language>.json`` holds ``shared`` (named parts of questions: a question with ``"with": "menu"`` has that part
too), ``picked`` (questions that people wrote; add ``[{…}]`` and say ``make golden``) and ``generated`` (those
of ``cases/<language>.py``, made anew each time). A row is ``[question, answer]``, one a line, in a stable
order. An answer is ``{"ok": value}`` or ``{"error": "compile" | "run" | "none" | "panic" | "timeout"}``."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent

Question = dict[str, Any]
Answer = dict[str, Any]
Row = tuple[Question, Answer]


@dataclass
class Golden:
    """One golden file."""

    language: str
    source: str = ""
    shared: dict[str, Question] = field(default_factory=dict)
    picked: list[Row] = field(default_factory=list)
    generated: list[Row] = field(default_factory=list)

    @property
    def rows(self) -> list[Row]:
        """All rows, the picked ones first."""
        return [*self.picked, *self.generated]

    def whole(self, question: Question) -> Question:
        """The question with the shared part that it names."""
        own = {key: value for key, value in question.items() if key != "with"}
        return {**self.shared[question["with"]], **own} if "with" in question else own


def languages() -> list[str]:
    """The languages that have a golden file."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def read(language: str) -> Golden:
    """The golden file of ``language``. A picked question without answer has an empty one."""
    held = json.loads((FOLDER / f"{language}.json").read_text("utf-8"))
    rows = {part: [(row[0], row[1] if len(row) > 1 else {}) for row in held[part]] for part in ("picked", "generated")}
    return Golden(language, held["source"], held["shared"], **rows)


def write(golden: Golden) -> None:
    """The file of ``golden``, a row a line."""
    lines = [f'{{"source": {_text(golden.source)},', f'"shared": {_text(golden.shared)},']
    for part, rows in (("picked", golden.picked), ("generated", golden.generated)):
        lines.append(f'"{part}": [')
        lines += [_text(list(row)) + ("," if number < len(rows) else "") for number, row in enumerate(rows, 1)]
        lines.append("]," if part == "picked" else "]}")
    (FOLDER / f"{golden.language}.json").write_text("\n".join(lines) + "\n", "utf-8")


def _text(value: Any) -> str:
    # Half surrogates cannot be written as UTF-8: json escapes what is not ASCII then.
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        text = json.dumps(value, allow_nan=False)
    return text
