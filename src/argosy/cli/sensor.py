"""``argosy sensor``: the sensors of a run that goes on."""

from __future__ import annotations

from typing import Any

import click

from argosy.cli._actions_page import clock
from argosy.cli._client import Client, connected, path
from argosy.cli._page import say, say_json, table
from argosy.cli.actions import namespaced, output, who


@click.group()
def sensor() -> None:
    """List, show, suspend, resume or reset the sensors of a run that goes on.

    NAME/TRIGGER means one trigger of a sensor, NAME all of them.

    \b
    Examples:
      argosy sensor list
      argosy sensor suspend orders/bill
      argosy sensor pending orders
    """


@sensor.command("list")
@connected
@namespaced
@output
def list_sensors(client: Client, namespace: str, form: str) -> None:
    """List sensors and their triggers: what waits, what is dead, what is suspended."""
    answer = client.get("/sensors", namespace=namespace)
    if form == "json":
        return say_json(answer)
    rows = [
        [one["namespace"], f"{one['name']}/{trigger['name']}", trigger["kind"], *_counts(trigger)]
        for one in answer["sensors"]
        for trigger in one["triggers"]
    ]
    if not rows:
        click.echo("no sensors run here")
        return None
    for line in table(["NAMESPACE", "TRIGGER", "KIND", "QUEUED", "DEAD", "SUSPENDED"], rows):
        say(line)
    return None


@sensor.command("show")
@connected
@click.argument("name")
@namespaced
@output
def show(client: Client, name: str, namespace: str, form: str) -> None:
    """Show one sensor: what it waits for, and how its triggers do."""
    answer = client.get(path("sensors", name), namespace=namespace)
    if form == "json":
        return say_json(answer)
    say(f"sensor {answer['name']} in {answer['namespace']}, on event bus {answer['eventBus']}")
    for one in answer["dependencies"]:
        say(f"  waits for {one['name']}: {one['source']}/{one['event']}")
    for one in answer["triggers"]:
        queued, dead, _ = _counts(one)
        when = f" when {one['conditions']}" if one["conditions"] else ""
        say(f"  trigger {one['name']} ({one['kind']}){when}: {queued} queued, {dead} dead letters")
        for word in ("suspended", "resumed"):
            if said := one.get(f"{word}By"):
                say(f"    {word} by {said['by'] or 'somebody'} at {clock(said['at'])}")
        if one["suspended"]:
            does = "its actions wait" if one["suspended"] == "queue" else "its actions are discarded"
            say(f"    suspended: {does}; 'argosy sensor resume {answer['name']}/{one['name']}' lets it go on")
    return None


@sensor.command("suspend")
@connected
@click.argument("target", metavar="NAME[/TRIGGER]")
@click.option("--drop", is_flag=True, help="Discard the actions instead of letting them wait.")
@namespaced
@output
def suspend(client: Client, target: str, drop: bool, namespace: str, form: str) -> None:
    """Let no action of a sensor or trigger run until it is resumed.

    Events are matched all the same; their actions wait in the queue, or end as discarded with --drop. A try that is under way
    is finished. It survives a restart, and holds until 'argosy sensor resume' or until queue.suspend in the manifest changes.
    """
    name, trigger = _split(target)
    body = {"trigger": trigger, "namespace": namespace, "drop": drop, "by": who()}
    _said(client.post(path("sensors", name, "suspend"), body), form)


@sensor.command("resume")
@connected
@click.argument("target", metavar="NAME[/TRIGGER]")
@namespaced
@output
def resume(client: Client, target: str, namespace: str, form: str) -> None:
    """Let a sensor or trigger go on, also one that the manifest starts suspended (queue.suspend)."""
    name, trigger = _split(target)
    _said(client.post(path("sensors", name, "resume"), {"trigger": trigger, "namespace": namespace, "by": who()}), form)


@sensor.command("pending")
@connected
@click.argument("target", metavar="NAME[/TRIGGER]")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="At most so many.")
@namespaced
@output
def pending(client: Client, target: str, limit: int, namespace: str, form: str) -> None:
    """Show what the conditions of a sensor hold, what they wait for, and since when."""
    name, trigger = _split(target)
    answer = client.get(path("sensors", name, "pending"), trigger=trigger, namespace=namespace, limit=limit)
    if form == "json":
        return say_json(answer)
    if not answer["pending"]:
        click.echo("nothing is held")
        return None
    for one in answer["pending"]:
        say(f"{one['sentence']}, since {clock(one['since'])}")
        for event in one["holds"]:
            times = f", the newest of {event['count']}" if event["count"] > 1 else ""
            say(f"  holds {event['dependency']}: {event['id']} from {event['source']}/{event['name']}{times}")
    if answer["more"]:
        say(f"there is more; --limit shows more than {limit}")
    return None


@sensor.command("reset")
@connected
@click.argument("target", metavar="NAME[/TRIGGER]")
@namespaced
@output
def reset(client: Client, target: str, namespace: str, form: str) -> None:
    """Forget what the conditions of a sensor hold, as if their events had never come. There is no undo.

    Actions that are in a queue already stay there.
    """
    name, trigger = _split(target)
    answer = client.post(path("sensors", name, "reset"), {"trigger": trigger, "namespace": namespace})
    if form == "json":
        return say_json(answer)
    for one in answer["triggers"]:
        what = {0: "held nothing", 1: "has forgotten 1 event"}.get(
            one["forgotten"], f"has forgotten {one['forgotten']} events"
        )
        say(f"{answer['sensor']}/{one['name']} {what}")
    return None


def _said(answer: dict[str, Any], form: str) -> None:
    if form == "json":
        return say_json(answer)
    for one in answer["triggers"]:
        queued = f"{one['queued']} actions in its queue"
        what = {
            "run": f"runs; {queued}",
            "queue": f"is suspended; its actions wait, {queued}",
            "drop": f"is suspended; its actions are discarded from now on, {queued}",
        }[one["mode"]]
        say(f"{answer['sensor']}/{one['name']} {what}")
    return None


def _split(target: str) -> tuple[str, str]:
    name, _, trigger = target.partition("/")
    return name, trigger


def _counts(trigger: dict[str, Any]) -> tuple[str, str, str]:
    dead = trigger["dead"]
    return str(trigger["queued"]), f"{dead}" if dead < 100 else "100 or more", trigger["suspended"] or "-"
