"""``argosy actions``: the action queues of a run that goes on."""

from __future__ import annotations

import getpass
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

import click

from argosy.cli._actions_page import page, row
from argosy.cli._client import Client, connected, path
from argosy.cli._page import clean, say, say_json, table

STATES = ("unapproved", "waiting", "resting", "held", "dead", "done", "discarded")


def output(command: Callable[..., Any]) -> Callable[..., Any]:
    """The option that chooses text or JSON."""
    return click.option(
        "-o", "--output", "form", type=click.Choice(["text", "json"]), default="text", show_default=True, help="Format."
    )(command)


def namespaced(command: Callable[..., Any]) -> Callable[..., Any]:
    """The option that says which namespace, where a name stands in several."""
    return click.option("-n", "--namespace", default="", help="Namespace of the sensor; needed where several have it.")(
        command
    )


def who() -> str:
    """The person at the terminal, as the record of what was done names them."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""


@click.group()
def actions() -> None:
    """List, show, retry, redrive, discard, approve or deny the actions of a run that goes on.

    An action is "this trigger shall run for these events". It waits in its trigger's queue, first for a person where the trigger has
    'approval' (unapproved), rests after a failed try, and ends as done, dead (given up, kept until a person acts) or discarded. ID is
    an action's id or its first 8 characters or more.

    \b
    Examples:
      argosy actions list --state dead
      argosy actions show 1f2e3d4c
      argosy actions redrive --all --sensor orders
    """


@actions.command("list")
@connected
@click.option("--sensor", default="", metavar="NAME", help="Only of this sensor.")
@click.option("--trigger", default="", metavar="NAME", help="Only of this trigger (NAME/dlq: of its dlqTrigger).")
@click.option("--state", multiple=True, type=click.Choice(STATES), help="Only in this state. May be repeated.")
@click.option("--since", default="", metavar="10m|TIME", help="Put, died or ended since then.")
@click.option("--where", default="", metavar="EXPR", help="Only where this expr expression holds, see above.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="At most so many of each.")
@click.option("--shadow", is_flag=True, help="Instead what shadow sensors (shadow: true) would have run.")
@namespaced
@output
def list_actions(
    client: Client,
    sensor: str,
    trigger: str,
    state: Sequence[str],
    since: str,
    where: str,
    limit: int,
    shadow: bool,
    namespace: str,
    form: str,
) -> None:
    """List actions: what is queued and what is dead, oldest first, then what has ended, newest first.

    EXPR may use id, sensor, trigger, state, error, tries, event (the newest) and events (by dependency), each event with id,
    source, name, time and data: 'events.order.data.body.total > 100'.
    """
    if shadow:
        return _list_shadow(
            client, {"sensor": sensor, "trigger": trigger, "namespace": namespace, "limit": limit}, form
        )
    answer = client.get(
        "/actions",
        sensor=sensor,
        trigger=trigger,
        state=",".join(state),
        since=since,
        where=where,
        limit=limit,
        namespace=namespace,
    )
    if form == "json":
        return say_json(answer)
    rows = answer["actions"]
    if not rows:
        click.echo("no actions" + (" fit" if any((sensor, trigger, state, since, where)) else ""))
        return None
    for line in table(["ID", "STATE", "TRIGGER", "AGE", "TRIES", "SAYS"], [row(one) for one in rows]):
        say(line)
    if answer["more"]:
        click.echo(f"there are more that are {' or '.join(answer['more'])}; --limit shows more than {limit}")
    return None


def _list_shadow(client: Client, chosen: dict[str, Any], form: str) -> None:
    answer = client.get("/shadow", **chosen)
    if form == "json":
        return say_json(answer)
    rows = [
        [
            one["id"][:8],
            f"{one['sensor']}/{one['trigger']}",
            one["at"],
            ", ".join(f"{event['source']}/{event['subject']} {event['id'][:8]}" for event in one["events"]),
        ]
        for one in answer["actions"]
    ]
    for line in table(["ID", "TRIGGER", "AT", "FOR"], rows) if rows else ["no shadow sensor would have run anything"]:
        say(line)
    if answer["total"] > len(rows):
        click.echo(f"{answer['total']} in all; of each sensor the newest {answer['remembered']} are remembered")
    return None


def located(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say where actions named by id are looked for."""
    for option in (
        namespaced,
        click.option("--trigger", default="", metavar="NAME", help="Look only in this trigger's queue."),
        click.option("--sensor", default="", metavar="NAME", help="Look only in this sensor's queues."),
    ):
        command = option(command)
    return command


def chosen(every: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The argument and the options that name actions by id, or ``every`` one of a sensor; ``_body`` makes one question of them."""

    def with_options(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in (
            namespaced,
            click.option(
                "--where",
                default="",
                metavar="EXPR",
                help="With --all: only where it holds; see 'argosy actions list'.",
            ),
            click.option(
                "--trigger", default="", metavar="NAME", help="Only of this trigger (NAME/dlq: of its dlqTrigger)."
            ),
            click.option("--sensor", default="", metavar="NAME", help="Only of this sensor."),
            click.option("--all", "every", is_flag=True, help=f"{every}; needs --sensor."),
            click.argument("ids", nargs=-1, metavar="[ID...]"),
        ):
            command = option(command)
        return command

    return with_options


def _body(ids: Sequence[str], every: bool, where: str, **narrow: str) -> dict[str, Any]:
    if every == bool(ids):
        raise click.UsageError("name actions by id, or say --all --sensor NAME")
    if every and not narrow["sensor"]:
        raise click.UsageError("--all needs --sensor NAME")
    if where and not every:
        raise click.UsageError("--where goes with --all")
    return {"ids": list(ids), "all": every, "where": where, **narrow}


@actions.command("show")
@connected
@click.argument("id")
@located
@output
def show(client: Client, id: str, form: str, **place: str) -> None:
    """Show one action: its events, every parameter, its tries and what can be done."""
    answer = client.get(path("actions", id), **place)
    if form == "json":
        return say_json(answer)
    for line in page(answer):
        say(line)
    return None


@actions.command("retry")
@connected
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@output
def retry(client: Client, ids: Sequence[str], form: str) -> None:
    """End the rest of actions whose last try failed: they are tried as soon as there is room."""
    _act(client, "retry", {"ids": list(ids)}, form)


@actions.command("redrive")
@connected
@chosen("All dead letters of the sensor")
@output
def redrive(client: Client, form: str, **which: Any) -> None:
    """Put dead letters back into their queues, with fresh tries, behind what waits there.

    An action keeps its id: a receiver that honours the Idempotency-Key recognises one that had an effect already.
    """
    _act(client, "redrive", _body(**which), form)


@actions.command("discard")
@connected
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@click.option("--reason", required=True, metavar="TEXT", help="Why; kept with the action, with your user name.")
@located
@output
def discard(client: Client, ids: Sequence[str], reason: str, form: str, **place: str) -> None:
    """End actions that wait, rest or are dead, without doing them."""
    if not reason.strip():
        raise click.UsageError("--reason says why; it must not be empty")
    _act(client, "discard", {"ids": list(ids), "reason": reason, **place}, form)


@actions.command("approve")
@connected
@click.option("--comment", default="", metavar="TEXT", help="Kept with the action, with who approved it.")
@click.option("--by", default=who, metavar="NAME", help="Who approves; your user name if nothing is said.")
@chosen("All of the sensor that nobody has decided on")
@output
def approve(client: Client, comment: str, by: str, form: str, **which: Any) -> None:
    """Let actions run that wait for approval. The first word counts: what is denied stays denied."""
    _act(client, "approve", {"comment": comment, "by": by, **_body(**which)}, form)


@actions.command("deny")
@connected
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@click.option("--comment", required=True, metavar="TEXT", help="Why; kept with the action, with who denied it.")
@click.option("--by", default=who, metavar="NAME", help="Who denies; your user name if nothing is said.")
@located
@output
def deny(client: Client, ids: Sequence[str], comment: str, by: str, form: str, **place: str) -> None:
    """End actions that wait for approval, without doing them."""
    if not comment.strip():
        raise click.UsageError("--comment says why; it must not be empty")
    _act(client, "deny", {"ids": list(ids), "comment": comment, "by": by, **place}, form)


_DID = {
    "retry": "is tried as soon as there is room",
    "redrive": "is back in the queue",
    "discard": "is discarded",
    "approve": "is approved",
    "deny": "is denied",
}
_SHORT_LINES = 20


def _act(client: Client, verb: str, body: dict[str, Any], form: str) -> None:
    did, failed = 0, 0
    for one in client.lines("POST", path("actions", verb), {"by": who(), **body}):
        did, failed = did + one["done"], failed + (not one["done"])
        if form == "json":
            click.echo(json.dumps(one))
        elif one["done"] and did <= _SHORT_LINES:
            say(f"{one['id'][:12]} of {one['sensor']}/{one['trigger']} {_DID[verb]}")
        elif not one["done"]:
            click.echo(clean(f"{one['id'][:12]}: {one['why']}"), err=True)
    if form == "text" and did > _SHORT_LINES:
        click.echo(f"… and {did - _SHORT_LINES} more; {did} in all")
    if form == "text" and not did and not failed:
        click.echo("there is none")
    if failed:
        sys.exit(1)
