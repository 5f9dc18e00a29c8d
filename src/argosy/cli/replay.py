"""``argosy replay``: events of the log driven through a sensor once more."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from argosy.cli._client import Client, Refused, connected
from argosy.cli._page import clean

_WAS = {
    "never": "never ran",
    "waiting": "waits in its queue",
    "held": "is running",
    "resting": "is tried again later",
    "done": "is done",
    "dead": "is a dead letter",
    "discarded": "was discarded",
}


@click.command()
@connected
@click.option("--to-sensor", "sensor", required=True, metavar="NAME", help="The sensor, as it runs now.")
@click.option(
    "-n", "--namespace", default="", metavar="NAME", help="Its namespace, where several sensors have this name."
)
@click.option(
    "--from",
    "since",
    required=True,
    metavar="TIME",
    help="Begin with events that came since: 10m, 24h, 7d ago, 2026-01-31T09:30:00Z, or 'earliest'.",
)
@click.option("--to", "until", default="", metavar="TIME", help="End with events that came until then. Default: now.")
@click.option("--source", default="", metavar="NAME", help="Only events of this EventSource.")
@click.option("--event-name", default="", metavar="NAME", help="Only events of this name.")
@click.option(
    "--where", default="", metavar="EXPR", help="Only events of which this is true, as for 'argosy events list'."
)
@click.option("--dry-run", is_flag=True, help="Only say what would run, and how that differs from what did.")
@click.option("--again", is_flag=True, help="Run actions once more that are done, dead or discarded.")
@click.option(
    "--name",
    default="",
    metavar="TEXT",
    help="With --again: the name of this replay. A replay that was broken off and is run again under its name does nothing twice.",
)
@click.option("--all", "everything", is_flag=True, help="Show also the events that make nothing run, with the reason.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="How to say it."
)
@click.pass_context
def replay(
    ctx: click.Context,
    client: Client,
    sensor: str,
    namespace: str,
    since: str,
    until: str,
    source: str,
    event_name: str,
    where: str,
    dry_run: bool,
    again: bool,
    name: str,
    everything: bool,
    yes: bool,
    output: str,
) -> None:
    """Drive events of the log through a sensor once more, as it is now.

    The sensor's own matching decides, with conditions and windows of its own that begin empty. What would run and never did is put into the
    trigger's queue. What is done, waits or is dead is recognised by its id and left alone, so a replay can be repeated; with --again what ended
    runs once more. The dry run shows all this for each event, and which actions ran then that would not now.

    \b
    Examples:
      argosy replay --from 2h --to-sensor ship --dry-run
      argosy replay --from 2026-01-31T09:00:00Z --to 2026-01-31T10:00:00Z --source shop --to-sensor ship
      argosy replay --from 1d --where 'data.body.total > 100' --to-sensor bill --again --name second-bill

    Exit codes: 0 replayed, 1 it could not be, 2 the call was wrong.
    """
    if name and not again:
        raise click.UsageError("--name is for --again.")
    order: dict[str, Any] = {"sensor": sensor, "namespace": namespace, "from": since, "to": until, "source": source}
    order |= {"event": event_name, "where": where, "again": again, "all": everything}
    if again:
        order["name"] = name or _fresh_name()
        if not name:
            click.echo(f"this replay is called {order['name']}; if it breaks off, go on with --name", err=True)
    page = _Page(output)
    if not dry_run and not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("This puts actions into queues. Look first with --dry-run, then say --yes.")
        ahead = page.run(client, {**order, "dryRun": True})
        count = ahead.get("would put", 0)
        if not count or not click.confirm(f"Put {count} actions?"):
            click.echo("nothing was put", err=True)
            return
    page.run(client, {**order, "dryRun": dry_run})


class _Page:
    def __init__(self, output: str) -> None:
        self._json = output == "json"
        self._progress = False

    def run(self, client: Client, order: dict[str, Any]) -> dict[str, Any]:
        """Show the replay while it goes on; what its last line says."""
        counts: dict[str, Any] = {}
        for line in client.lines("POST", "/replay", order):
            if line["kind"] == "progress":
                self._tell_progress(line)
                continue
            if line["kind"] == "end":
                counts = line
            self._clear_progress()
            if self._json:
                click.echo(json.dumps(line, ensure_ascii=False))
            elif line["kind"] != "end":
                _show(line, dry=order["dryRun"])
        if not counts:
            raise Refused("the replay broke off; run it again, what was put is recognised")
        if not self._json:
            _sum_up(counts)
        return counts

    def _tell_progress(self, line: dict[str, Any]) -> None:
        if sys.stderr.isatty():
            share = 100 * line["position"] // max(1, line["of"])
            click.echo(f"\r{line['events']} events, {share} % of the log", nl=False, err=True)
            self._progress = True

    def _clear_progress(self) -> None:
        if self._progress:
            click.echo("\r\033[K", nl=False, err=True)
            self._progress = False


def _show(line: dict[str, Any], *, dry: bool) -> None:
    from argosy.cli.events import local

    if line["kind"] == "event":
        place = clean(f"{line['source']}/{line['subject']}")
        click.echo(f"{local(line['storedAt'])}  {clean(line['id'][:8])}  {place}")
    else:
        click.echo("when nothing more came")
    for action in line["actions"]:
        was = _WAS[action["was"]]
        when = (
            f" since {local(action['at'])}" if "at" in action and action["was"] in ("done", "dead", "discarded") else ""
        )
        said = f" ({clean(action['said'])})" if action.get("said") else ""
        shown = action.get("again", action["id"])[:8]
        if action["does"] == "put":
            does, was = "is put", "" if action["was"] == "never" else f"; the first {was}{when}"
        elif action["does"] == "would put":
            does, was = "would run", f"; it {was}" if action["was"] == "never" else f" once more; the first {was}{when}"
        elif "again" in action:
            does, was = "was put by this replay before", ""
        else:
            does, was = "is left alone", f"; it {was}{when}{said}"
        click.echo(f"  {clean(action['trigger'])} {shown} {does}{was}")
    for action in line["gone"]:
        was = _WAS[action["was"]]
        click.echo(
            f"  {clean(action['trigger'])} {action['id'][:8]} would not run now; it {was} since {local(action['at'])}"
        )
    if not line["actions"]:
        for trigger in line["waits"]:
            click.echo(f"  {clean(trigger)} waits for more")
        for reason in line["refused"]:
            click.echo(f"  {clean(reason)}")


def _sum_up(counts: dict[str, Any]) -> None:
    dry = counts["dryRun"]
    put = counts.get("would put" if dry else "put", 0)
    parts = [f"{counts.get('events', 0)} events", f"{put} actions {'would be' if dry else 'were'} put"]
    for state, what in (("done", "done"), ("waiting", "waiting"), ("resting", "resting"), ("discarded", "discarded")):
        if found := counts.get(f"was {state}"):
            parts.append(f"{found} {what} before")
    if found := counts.get("was dead"):
        parts.append(f"{found} dead before ('argosy actions redrive' revives them)")
    if found := counts.get("gone"):
        parts.append(f"{found} ran that would not now")
    click.echo("; ".join(parts), err=True)


def _fresh_name() -> str:
    from argosy.clock import SystemClock

    return SystemClock().now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
