"""Resolves ``pyproject.toml`` (runtime, every extra, development) into ``requirements.lock``: versions and
hashes, no addresses.

Run by ``make lock`` with Python 3.11 on Linux, for which the lock is. The resolver (pip-tools) lives in a
throw-away environment, because it must not be part of what it resolves.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
_HEADER = """\
# What Argosy runs and is developed with, for Python 3.11 on Linux. Made by `make lock` from pyproject.toml;
# `make venv` installs it and nothing else.
"""
_OPTIONS = (
    "--quiet --extra=dev --all-build-deps --allow-unsafe --strip-extras --generate-hashes"
    " --annotation-style=line --no-header --no-emit-options"
    " --no-emit-index-url --no-emit-trusted-host --no-emit-find-links"
)


def _without_ourselves(lock: str) -> str:
    """The lock without the entry for the project itself (its extras refer to each other) and remarks about
    it.

    An entry is a line that starts in the first column with what follows it indented.
    """
    entries = re.split(r"^(?=\S)", lock, flags=re.MULTILINE)
    return "".join(entry for entry in entries if re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*==", entry))


def main() -> None:
    """Write the lock."""
    if (sys.version_info[:2], sys.platform) != ((3, 11), "linux"):
        sys.exit("requirements.lock is for Python 3.11 on Linux; make it there")
    target = _ROOT / "requirements.lock"
    with tempfile.TemporaryDirectory() as scratch:
        venv.create(scratch, with_pip=True)
        python = Path(scratch) / "bin" / "python"
        subprocess.run([python, "-m", "pip", "install", "--quiet", "pip-tools>=7.5"], check=True)
        output = Path(scratch) / "requirements.lock"
        if target.exists():
            # What is pinned stays, as long as pyproject.toml allows it; remove the lock to move everything.
            output.write_text(target.read_text())
        options = [*_OPTIONS.split(), f"--output-file={output}"]
        command = [str(python), "-m", "piptools", "compile", *options, "pyproject.toml"]
        # It warns of the line for ourselves, which is taken out below; what it says counts only if it fails.
        resolved = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True)
        if resolved.returncode:
            sys.exit(resolved.stderr)
        pinned = _without_ourselves(output.read_text())
    target.write_text(_HEADER + pinned)
    print(f"requirements.lock: {pinned.count('==')} packages")


if __name__ == "__main__":
    main()
