"""The other side of ``_jq_process``: runs libjq programs, one after the other, in a process that may be killed.

Started as a file and on its own, so it imports nothing of ours. A request is two lengths, a program and a JSON text (without text
the program is only compiled); an
answer is a letter (o: output, n: no output, e: error), a length and a text. Each run may use ``CPU_SECONDS``; then
the kernel ends the process (SIGPROF), wherever libjq is. Memory is limited for the whole process.
"""

import json
import os
import resource
import signal
import struct
from typing import Any

CPU_SECONDS = 1.0
MEMORY_BYTES = 512 * 1024 * 1024
LARGEST_OUTPUT_BYTES = 16 * 1024 * 1024
_MOST_PROGRAMS = 1024


def main() -> None:
    """Answer until the parent closes the pipe."""
    requests = os.fdopen(0, "rb")
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    # Whoever started this may have less to give.
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(MEMORY_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    import jq

    programs: dict[str, Any] = {}
    while head := requests.read(8):
        lengths = struct.unpack(">II", head)
        program, text = (requests.read(length).decode() for length in lengths)
        if len(programs) >= _MOST_PROGRAMS:
            programs.clear()
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
        try:
            if program not in programs:
                programs[program] = jq.compile(program)
            output = programs[program].input_text(text).first() if text else None
            kind, said = b"o", json.dumps(output, separators=(",", ":"))
        except StopIteration:
            kind, said = b"n", ""
        except (ValueError, RecursionError) as error:
            kind, said = b"e", str(error) or "the value is nested too deeply"
        except MemoryError:
            kind, said = b"e", f"the program needs more than {MEMORY_BYTES // 2**20} MB"
        if len(said) > LARGEST_OUTPUT_BYTES:
            kind, said = b"e", f"the output is larger than {LARGEST_OUTPUT_BYTES // 2**20} MB"
        signal.setitimer(signal.ITIMER_PROF, 0)
        body = said.encode("utf-8", "surrogatepass")
        answers.write(struct.pack(">cI", kind, len(body)) + body)
        answers.flush()


if __name__ == "__main__":
    # What is left of the parent's environment is no business of a program's.
    os.environ.clear()
    main()
