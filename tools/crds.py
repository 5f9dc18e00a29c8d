"""Writes ``deploy/crds``: what ``argosy crds`` prints, a file for each kind.

Run by ``make docs``; a test compares the files with what this would write, so they cannot fall behind.
"""

from __future__ import annotations

import argparse
import sys
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
    """Write them; with ``--check`` say which are old instead, and end with 1."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--check", action="store_true", help="name what is not current, and exit with 1")
    asked = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    old = {path: text for path, text in files().items() if not path.exists() or path.read_text() != text}
    if asked.check:
        sys.exit(f"not current, run `make docs`: {', '.join(map(str, old))}" if old else 0)
    for path, text in old.items():
        path.write_text(text)


if __name__ == "__main__":
    main()
