"""Writes ``deploy/crds``: what ``argosy crds`` prints, a file for each kind.

Run by ``make docs``; a test compares the files with what this would write, so they cannot fall behind.
"""

from __future__ import annotations

from pathlib import Path

from argosy.cli._manifests import documents
from argosy.kubernetes.crds import definitions

FOLDER = Path(__file__).resolve().parents[1] / "deploy" / "crds"
_NOTE = "# Written by `make docs`; changes made here are lost.\n"


def files() -> dict[Path, str]:
    """Every file and what it should hold."""
    found = {}
    for one in definitions():
        (text,) = documents([one])
        found[FOLDER / f"{one['spec']['names']['plural']}.yaml"] = _NOTE + text
    return found


def main() -> None:
    """Write them."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path, text in files().items():
        path.write_text(text)


if __name__ == "__main__":
    main()
