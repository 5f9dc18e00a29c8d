"""``emit``: the event that tells what an action came to, for sensors that go on from there.

Pure. The event's id is made of the action's, so an action that ends twice (its process died between the publishing and the end) is published
once. How many actions led to an event, one after the other, stands in the extension attribute ``argosydepth``: events from outside have none,
which is 0. A trigger refuses what would make the chain longer than ``maxDepth``, so sensors that cause each other come to an end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from argosy.event import DEPTH, Event
from argosy.lang import gojson
from argosy.manifests._action_models import Emit

Ending = Literal["done", "dead", "asked", "denied"]
"""What an event tells of an action; ``asked`` is no end of it, but a person has to do something."""
TYPE = "io.argosy.action."
"""The beginning of the event's ``type``; the ending follows."""


def depth(events: Iterable[Event]) -> int:
    """How many actions led to these events, at most."""
    found = [event.extensions.get(DEPTH) for event in events if event.extensions]
    return max((each for each in found if type(each) is int and each > 0), default=0)


def too_deep(emit: Emit, events: Iterable[Event]) -> str:
    """Why an action for these events must not be performed; empty where it may."""
    link = depth(events) + 1
    if link <= emit.max_depth:
        return ""
    return (
        f"emit: this would be action {link} of a chain in which each is caused by the event of the one before, and 'maxDepth' is"
        f" {emit.max_depth}; break the loop with a filter, or raise it"
    )


def event(
    emit: Emit,
    ending: Ending,
    *,
    action: Mapping[str, Any],
    message: str,
    detail: Mapping[str, Any],
    events: Mapping[str, Event],
    time: str,
    put: float,
) -> Event:
    """The event of an action that ended so. ``action`` says which: ``id``, ``namespace``, ``sensor``, ``trigger``, ``kind``, ``attempt``.

    ``put`` is when the action was put into its queue: what was redriven may end in the same way once more, and that is another event.
    Raises LangError if ``detail`` is not JSON.
    """
    causes = [
        {"dependency": name, "id": one.id, "source": one.source, "name": one.subject} for name, one in events.items()
    ]
    source, name = emit.pair(str(action["sensor"]), str(action["trigger"]))
    data = {"status": ending, "message": message, "detail": detail, "action": dict(action), "events": causes}
    return Event(
        id=f"{action['id']}.{ending}" if ending == "done" else f"{action['id']}.{ending}.{int(put * 1000)}",
        source=source,
        subject=name,
        type=TYPE + ending,
        time=time,
        data=gojson.dumps(data, sort_keys=False),
        extensions={DEPTH: depth(events.values()) + 1},
    )
