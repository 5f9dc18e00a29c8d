"""Prints the entries of ``requirements.lock``, with their hashes, of some packages: those whose names come on standard input, or
those that a report of pip (``pip install --dry-run --report``) names.

For the image, which holds less than the lock. Needs nothing but Python; ends with 1 where a package is not in the lock.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path

_LOCK = Path(__file__).resolve().parents[1] / "requirements.lock"


def entries() -> dict[str, str]:
    """What the lock says of each package, by its name in one spelling. An entry begins in the first column, and goes on indented."""
    found = re.split(r"^(?=\S)", _LOCK.read_text(), flags=re.MULTILINE)
    return {_name(one.partition("==")[0]): one for one in found if re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*==", one)}


def _name(text: str) -> str:
    return re.sub(r"[-_.]+", "-", text.strip().lower())


def main() -> None:
    """Print them, in the order of the lock."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--report", type=Path, help="a report of pip; what is ours in it is left out")
    asked = parser.parse_args()
    if asked.report:
        names = [one["metadata"]["name"] for one in json.loads(asked.report.read_text())["install"]]
    else:
        names = sys.stdin.read().split()
    wanted = {_name(name) for name in names} - {"argosy"}
    lock = entries()
    if unknown := sorted(wanted - lock.keys()):
        sys.exit(f"requirements.lock has no {', '.join(unknown)}; run `make lock`")
    sys.stdout.write("".join(text for name, text in lock.items() if name in wanted))


if __name__ == "__main__":
    main()
