"""Actions as a person reads them: one line of a list, or a page."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

from argosy.cli._page import one_line

_LONGEST = 2000
"""Characters of a sentence on a page."""


def age(seconds: float) -> str:
    """A while as a person says it."""
    seconds = max(0.0, seconds)
    for size, letter in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{int(seconds // size)}{letter}"
    return f"{int(seconds)}s"


def clock(at: float) -> str:
    """A moment as a person reads it, in local time with its offset."""
    import datetime as dt

    return dt.datetime.fromtimestamp(at).astimezone().isoformat(" ", "seconds")


def row(one: dict[str, Any]) -> list[str]:
    """An action as a line of a table."""
    says = one_line(one["error"], 100)
    if (asked := one.get("approval")) and one["state"] == "unapproved":
        says = f"waits for approval, {age(asked['expires'] - time.time())} left"
    if one.get("nextTry"):
        says = f"next try in {age(one['nextTry'] - time.time())}: {says}"
    return [
        one["id"][:12],
        one["state"],
        f"{one['sensor']}/{one['trigger']}",
        age(time.time() - one["at"]),
        str(one["tries"]),
        says,
    ]


_CLASSES = {
    "retried": "another try may help",
    "rejected": "another try cannot help",
    "exhausted": "its tries are used up",
}
_AT = {"done": "done", "dead": "given up", "discarded": "discarded"}


def page(one: dict[str, Any]) -> Iterator[str]:
    """An action with all that is known of it."""
    yield f"action   {one['id']}"
    yield f"state    {one['state']}"
    yield f"trigger  {one['trigger']} of sensor {one['sensor']} in {one['namespace']} ({one['kind']})"
    yield f"{_AT.get(one['state'], 'queued').ljust(8)} {clock(one['at'])}, {age(time.time() - one['at'])} ago"
    yield f"tries    {one['tries']}"
    if one.get("nextTry"):
        yield f"next try {clock(one['nextTry'])}, in {age(one['nextTry'] - time.time())}"
    asked = one.get("approval") or (one.get("outcome") or {}).get("approval")
    if asked and asked["state"] == "asked":
        yield f"approval wanted until {clock(asked['expires'])}, {age(asked['expires'] - time.time())} left"
    elif asked:
        comment = f": {asked['comment']}" if asked.get("comment") else ""
        yield f"approval {asked['state']} by {asked['by']} at {clock(asked['at'])}{comment}"
    if one["error"]:
        label = {"dead": "reason", "discarded": "reason"}.get(one["state"], "error")
        yield f"{label.ljust(8)} {one_line(one['error'], _LONGEST)}"
        if one.get("class"):
            yield f"class    {one['class']}: {_CLASSES[one['class']]}"
    outcome = one.get("outcome") or {}
    if outcome.get("message"):
        yield f"answer   {one_line(str(outcome['message']), _LONGEST)}"
    if one["events"]:
        yield ""
        yield "events"
        for event in one["events"]:
            at = f", {event['time']}" if event.get("time") else ""
            yield f"  {event['dependency']}: {event['id']} from {event['source']}/{event['name']}{at}"
    parameters = one.get("parameters")
    if parameters:
        yield from _parameters(parameters)
    for other in one.get("also", []):
        yield ""
        yield f"also in {other['sensor']}/{other['trigger']}: {other['state']}, tries {other['tries']}"
        if other["error"]:
            yield f"  {one_line(other['error'], _LONGEST)}"
    yield ""
    yield f"what now: {one['advice']}"


def _parameters(parameters: dict[str, Any]) -> Iterator[str]:
    yield ""
    if parameters.get("set"):
        yield "parameters, as the sensor says now"
    for setting in parameters.get("set", []):
        source = ", ".join(f"{name}: {value}" for name, value in setting["source"].items())
        place = f"{setting['in']}: {setting['dest'] or '(the whole)'}"
        if setting["state"] == "set":
            value = setting["value"] if setting["raw"] else json.dumps(setting["value"], ensure_ascii=False)
            yield f"  {place} = {value}   ({source})"
        else:
            yield f"  {place} {setting['state']}   ({source})"
        for complaint in setting.get("complaints", []):
            yield f"      {complaint}"
        if setting.get("failure"):
            yield f"      {setting['failure']}"
    if parameters.get("failure"):
        yield f"it cannot be sent as it is: {parameters['failure']}"
    if parameters.get("unknown"):
        yield f"not known before it is tried: {parameters['unknown']}"
