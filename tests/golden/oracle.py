"""Asks the Go libraries that Argo Events pins, through the program in ``tools/oracle``. Needs Go."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

_HERE = Path(__file__).resolve().parents[2] / "tools" / "oracle"


def available() -> bool:
    """Whether there is a Go to build the oracle with."""
    return shutil.which("go") is not None


class Oracle:
    """The running oracle; a context manager. Raises RuntimeError where it does not build, or ends early."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="argosy-oracle-")
        self._program = Path(self._folder.name) / "oracle"
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Oracle:
        build = ["go", "build", "-o", str(self._program), "."]
        done = subprocess.run(build, cwd=_HERE, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"the oracle does not build:\n{done.stderr}")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end()
        self._folder.cleanup()

    def ask(self, language: str, question: dict[str, Any]) -> dict[str, Any]:
        """``{"ok": value}``, or ``{"error": when}``: what the library said then is not kept."""
        if self._process is None:
            self._process = subprocess.Popen(
                [self._program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
            )
        process = self._process
        assert process.stdin and process.stdout
        process.stdin.write(json.dumps({"lang": language, **question}) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            self._end()
            # A crash that Go cannot recover from, such as a stack that overflows, is an answer as well.
            return {"error": "crash"}
        answer: dict[str, Any] = json.loads(line)
        if "ok" in answer:
            return {"ok": answer["ok"]}
        if answer["at"] == "timeout":
            self._end()
        return {"error": answer["at"]}

    def _end(self) -> None:
        if self._process is not None:
            assert self._process.stdin and self._process.stdout
            self._process.stdin.close()
            self._process.stdout.close()
            self._process.wait()
            self._process = None
