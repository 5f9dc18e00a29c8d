"""libjq in a process of its own, because nothing inside ours could stop it.

libjq runs in C without looking up: a program that never ends, that fills the memory or overflows the stack would
take this process with it. So one child (``_jq_child``) runs what ``_jq_closures`` cannot; when it dies of a program, that
program has failed on that event, and the next run gets a new child. A run costs the way there and back, some 50 µs.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import signal
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from argosy.errors import LangError, NoOutput
from argosy.lang._jq_child import CPU_SECONDS, MEMORY_BYTES

_CHILD = Path(__file__).with_name("_jq_child.py")
_PATIENCE_SECONDS = 60.0
"""By the wall clock, for a child that gets no processor at all (its machine stands still, it was stopped)."""

_asking = threading.Lock()
_child: subprocess.Popen[bytes] | None = None


def _forget() -> None:
    """A process that was forked off must not talk into its parent's pipes."""
    global _asking, _child
    _asking, _child = threading.Lock(), None


def check(program: str) -> None:
    """Raises LangError, in libjq's words, if ``program`` does not parse. Even that is done outside: libjq computes constants."""
    first(program, "")


def first(program: str, text: str) -> Any:
    """The first output of ``program`` for the JSON ``text``; None for no text at all.

    Raises NoOutput when nothing comes out, LangError when the program fails or exceeds its limits.
    """
    with _asking:
        try:
            kind, said = _ask(program.encode(), text.encode())
        except (OSError, EOFError) as error:
            raise LangError(_end()) from error
    if kind == b"n":
        raise NoOutput("no output")
    if kind == b"e":
        raise LangError(said.decode())
    return json.loads(said)


def _ask(program: bytes, text: bytes) -> tuple[bytes, bytes]:
    global _child
    if _child is None or _child.poll() is not None:
        # Isolated, in a session of its own: no variable of ours, no Ctrl-C of the terminal.
        command = [sys.executable, "-I", str(_CHILD)]
        _child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={},
            start_new_session=True,
        )
    assert _child.stdin is not None and _child.stdout is not None
    _child.stdin.write(struct.pack(">II", len(program), len(text)) + program + text)
    _child.stdin.flush()
    if not select.select([_child.stdout], [], [], _PATIENCE_SECONDS)[0]:
        raise EOFError
    head = _child.stdout.read(5)
    if len(head) < 5:
        raise EOFError
    kind, length = struct.unpack(">cI", head)
    said = _child.stdout.read(length)
    if len(said) < length:
        raise EOFError
    return kind, said


def _end() -> str:
    """The child is gone or must go; why, in words."""
    global _child
    child, _child = _child, None
    if child is None:
        return "libjq does not run"
    for pipe in (child.stdin, child.stdout):
        with contextlib.suppress(OSError):
            pipe.close()  # type: ignore[union-attr]  # both are pipes; a child that waits for us ends with them
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(0.5)
    child.kill()
    code = child.wait()
    if code == -signal.SIGPROF:
        return f"the program ran for more than {CPU_SECONDS:g} s"
    if code == -signal.SIGKILL:
        return f"the program gave no answer within {_PATIENCE_SECONDS:g} s"
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return f"the program ended libjq ({how}); perhaps it needs more than {MEMORY_BYTES // 2**20} MB or never ends"


os.register_at_fork(after_in_child=_forget)
atexit.register(_end)
