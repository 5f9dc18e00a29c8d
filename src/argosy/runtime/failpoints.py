"""Named places where a crash test may kill the process: ``CRASH_AT=actions.put`` or ``CRASH_AT=actions.put:3`` (the third time).

Costs one dictionary look-up where nothing is set. ``POINTS`` lists them, in the order in which an event meets them; an unknown one is refused at
start. What may happen between two requests to the bus is tried beside the bus (``tests/brokers/test_queue_crash.py``).
"""

from __future__ import annotations

import os
import signal

from argosy.errors import ConfigError

POINTS = {
    "event.received": "a source hands an event over; nothing is stored",
    "event.published": "the log holds the event; its sender is not told yet (no acknowledgement, no 200)",
    "action.put": "one action of a batch is stored; others, join states and the position are not",
    "actions.put": "all actions of a batch are stored; join states and the position are not",
    "join.written": "a join state that waits for more events is stored; the position is not",
    "join.cleared": "a join state whose events became an action is stored, without them; the position is not",
    "timer.set": "a join state with a due time is stored; nobody waits for that time yet",
    "gathered.written": "what batch or debounce have gathered is stored; the join states that it came out of are not",
    "gathered.cleared": "what batch or debounce had gathered became an action and is stored without it; the position is not",
    "position.committed": "the position is stored: the batch is never read again",
    "join.removed": "a state that holds nothing any more is removed, after the position was stored",
    "due.put": "an action that time alone caused is stored; the state that it came out of is not",
    "due.saved": "the state behind an action that time alone caused is stored",
    "action.taken": "a worker holds an action and has not begun",
    "action.fired": "the trigger did the action; that it is done is not written",
    "event.emitted": "the log holds the event that tells what an action came to; the action has not ended",
    "action.done": "that the action is done is written; the next is not taken",
    "action.rested": "a failed try is counted and the next one is due later",
    "action.given-up": "the tries are used up and dlqTrigger's queue holds the action; it is no dead letter yet",
    "action.dead": "the action is a dead letter",
}
"""Each place, and what is so when it is reached."""
_left: dict[str, int] = {}


def arm(text: str) -> None:
    """Set the failpoint ``NAME`` or ``NAME:COUNT``; raises ConfigError for a name that does not exist."""
    name, _, count = text.partition(":")
    if name not in POINTS:
        raise ConfigError(f"CRASH_AT names {name!r}; there is {', '.join(POINTS)}")
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
