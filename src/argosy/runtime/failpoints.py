"""Named places where a crash test may kill the process: ``CRASH_AT=actions.put`` or ``CRASH_AT=actions.put:3`` (the third time).

Costs one dictionary look-up where nothing is set. The names are listed in ``NAMES``; an unknown one is refused at start.
"""

from __future__ import annotations

import os
import signal

from argosy.errors import ConfigError

NAMES = ("event.published", "actions.put", "join.saved", "position.committed", "action.taken", "action.fired")
_left: dict[str, int] = {}


def arm(text: str) -> None:
    """Set the failpoint ``NAME`` or ``NAME:COUNT``; raises ConfigError for a name that does not exist."""
    name, _, count = text.partition(":")
    if name not in NAMES:
        raise ConfigError(f"CRASH_AT names {name!r}; there is {', '.join(NAMES)}")
    _left[name] = int(count or 1)


def reach(name: str) -> None:
    """Die here, as by SIGKILL, if this failpoint is armed and its count has run down."""
    if name not in _left:
        return
    _left[name] -= 1
    if _left[name] <= 0:
        os.kill(os.getpid(), signal.SIGKILL)


if _armed := os.environ.get("CRASH_AT"):
    arm(_armed)
