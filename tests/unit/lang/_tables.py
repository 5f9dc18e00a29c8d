"""Answers of the Go libraries that Argo Events uses, recorded once; tests read them and need no Go."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def table(name: str) -> dict[str, Any]:
    """The table ``name``: its ``source``, its ``rows``, and what all rows share."""
    read: dict[str, Any] = json.loads((Path(__file__).parent / "tables" / f"{name}.json").read_text("utf-8"))
    return read


def rows(name: str) -> list[Any]:
    """The rows of the table ``name``."""
    found: list[Any] = table(name)["rows"]
    return found
