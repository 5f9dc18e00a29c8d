"""The other side of ``judges``: answers questions with the pure core, one after the other, in a process that may be killed.

A message is a length and a JSON text, both ways. Memory is limited, so that an object can take no more than this process with it.
"""

from __future__ import annotations

import contextlib
import os
import resource
import struct
import traceback
from pathlib import Path
from typing import Any

import msgspec

from argosy import registry
from argosy.errors import ConfigError
from argosy.kubernetes.admission.known import Ask, Known
from argosy.kubernetes.admission.review import Malformed, answer, judge

MEMORY_BYTES = 128 * 1024 * 1024
"""What judging may take beyond what the process needs anyhow. Some fifty times the size of the object is usual."""


class Question(msgspec.Struct):
    """A request of the API server, and what is known."""

    request: dict[str, Any]
    known: Known


class Answer(msgspec.Struct, omit_defaults=True):
    """What to say, and on whose state that rests. ``malformed`` or ``failed`` say why there is nothing to say."""

    review: dict[str, Any] = {}
    asks: list[Ask] = []
    malformed: str = ""
    failed: str = ""


def answered(text: bytes) -> Answer:
    """The answer to a question; never raises for what an object says."""
    try:
        question = msgspec.json.decode(text, type=Question)
        verdict = judge(question.request, question.known)
        return Answer(answer(question.request, verdict), verdict.asks)
    except Malformed as error:
        return Answer(malformed=str(error))
    except RecursionError:
        return Answer(failed="it is nested too deeply to be read")
    except MemoryError:
        return Answer(failed=f"it takes more than {MEMORY_BYTES // 2**20} MB to read")
    except Exception as error:  # noqa: BLE001 - a defect of ours must not look like an object that is fine
        traceback.print_exc()
        return Answer(failed=f"the webhook itself failed ({type(error).__name__}), which is a defect of Argosy")


def main() -> None:
    """Answer until the parent closes the pipe."""
    questions = os.fdopen(0, "rb")
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    _load()
    most = _size() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while head := questions.read(4):
        (length,) = struct.unpack(">I", head)
        body = msgspec.json.encode(answered(questions.read(length)))
        answers.write(struct.pack(">I", len(body)) + body)
        answers.flush()


def _load() -> None:
    """Have all kinds at hand, so that what they need does not count as what an object needs."""
    for kinds, load in ((registry.source_kinds(), registry.source), (registry.trigger_kinds(), registry.trigger)):
        for kind in kinds:
            with contextlib.suppress(ConfigError):
                load(kind)


def _size() -> int:
    """The process's address space in bytes."""
    pages = Path("/proc/self/statm").read_text().split()[0]
    return int(pages) * resource.getpagesize()


if __name__ == "__main__":
    main()
