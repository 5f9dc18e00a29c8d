"""``argosy events``: the event log of a run: what came, what comes, one event, and putting one there."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from argosy.cli._client import Client, connected, path
from argosy.cli._page import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PAGE = 500


def _choosing(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which events are meant."""
    for option in reversed(
        [
            click.option("--source", default="", metavar="NAME", help="Only events of this EventSource."),
            click.option("--event", "event_name", default="", metavar="NAME", help="Only events of this name."),
            click.option("-n", "--namespace", default="", metavar="NAME", help="Only the bus of this namespace."),
            click.option(
                "--where",
                default="",
                metavar="EXPR",
                help="Only events of which this is true: an expression over id, source, subject, type, time and data, for example"
                " 'data.body.total > 100'. One that fails on an event is not true of it.",
            ),
        ]
    ):
        command = option(command)
    return command


_output = click.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="How to say it."
)
_since = click.option(
    "--since",
    default="",
    metavar="TIME",
    help="Only events that came since: 10m, 24h, 7d ago, or 2026-01-31T09:30:00Z.",
)
_until = click.option("--until", default="", metavar="TIME", help="Only events that came until then; as --since.")


@click.group()
def events() -> None:
    """Look into the event log of a run, and put events there.

    An id may be shortened to its first eight characters or more, as long as it means one event.

    \b
    Examples:
      argosy events list --source shop --since 1h --where 'data.body.total > 100'
      argosy events tail -f
      argosy events show 3f2a91bc
      argosy events publish --source shop --event orders order.json
      argosy events capture -o morning.jsonl --since 8h
    """


@events.command("list")
@connected
@_choosing
@_since
@_until
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="At most so many, the newest.")
@_output
def list_events(
    client: Client,
    source: str,
    event_name: str,
    namespace: str,
    where: str,
    since: str,
    until: str,
    limit: int,
    output: str,
) -> None:
    """List events, the newest first.

    With -o json every event is one line: a JSON object with its place on the log and the whole CloudEvent as 'event'.
    """
    chosen = {"source": source, "event": event_name, "namespace": namespace, "where": where}
    chosen |= {"since": since, "until": until}
    count, before = 0, ""
    rows: list[dict[str, Any]] = []
    while count < limit:
        page = client.get("/events", **chosen, limit=min(limit - count, _PAGE), before=before, whole=output == "json")
        rows += page["events"]
        count += len(page["events"])
        before = page["next"]
        if not before:
            break
    if output == "json":
        for row in rows:
            click.echo(json.dumps(row, ensure_ascii=False))
        return
    if not rows:
        click.echo("no such event is on the log", err=True)
        return
    _table(rows)
    if before:
        click.echo(f"there are older ones; --limit {limit * 5} shows more", err=True)


@events.command()
@connected
@_choosing
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@click.option(
    "--last", type=click.IntRange(0, 1000), default=10, show_default=True, help="Begin with so many old ones."
)
@_output
def tail(
    client: Client,
    source: str,
    event_name: str,
    namespace: str,
    where: str,
    follow: bool,
    last: int,
    output: str,
) -> None:
    """Show the newest events, the newest last; with -f also those that come."""
    chosen = {"source": source, "event": event_name, "namespace": namespace, "where": where}
    rows: Iterator[Any]
    if follow:
        rows = client.lines("GET", "/log", **chosen, follow=True, last=last)
    elif last:
        rows = iter(reversed(client.get("/events", **chosen, limit=last, whole=output == "json")["events"]))
    else:
        return
    try:
        for row in rows:
            click.echo(json.dumps(row, ensure_ascii=False) if output == "json" else _line(row, _SHORT))
    except KeyboardInterrupt:
        sys.exit(130)
    if follow:
        click.echo("the run has ended", err=True)


@events.command()
@connected
@click.argument("event_id", metavar="ID")
@click.option("-n", "--namespace", default="", metavar="NAME", help="Look on the bus of this namespace only.")
@_output
def show(client: Client, event_id: str, namespace: str, output: str) -> None:
    """Show one event, whole. With -o json it is the CloudEvent alone, as other commands read it."""
    found = client.get(path("events", event_id), namespace=namespace)
    if output == "json":
        click.echo(json.dumps(found["event"], indent=2, ensure_ascii=False))
        return
    event = found["event"]
    width = 10
    for name, value in (
        ("id", event["id"]),
        ("event", f"{event['source']}/{event.get('subject', '')}"),
        ("type", event["type"]),
        ("time", event.get("time", "")),
        ("stored", f"{found['storedAt']} at {found['position']} on bus {found['bus']}"),
        ("sensors", ", ".join(found["sensors"]) or "none listens to it"),
    ):
        click.echo(f"{name:<{width}}{clean(str(value))}")
    for name, value in event.items():
        if name not in (
            "id",
            "source",
            "subject",
            "type",
            "time",
            "specversion",
            "datacontenttype",
            "data",
            "data_base64",
        ):
            click.echo(f"{clean(name):<{width}}{clean(str(value))}")
    if "data" in event:
        click.echo("data")
        for line in json.dumps(event["data"], indent=2, ensure_ascii=False).splitlines():
            click.echo("  " + clean(line))
    elif "data_base64" in event:
        click.echo(f"{'data':<{width}}{found['bytes']} bytes of {clean(str(event.get('datacontenttype')))}")
    click.echo(f"\nargosy explain {event['id'][:8]} says what became of it", err=True)


@events.command()
@connected
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True), metavar="FILE")
@click.option("--source", default="", metavar="NAME", help="FILE holds the data of a new event of this EventSource.")
@click.option(
    "--event", "event_name", default="", metavar="NAME", help="... and of this event; needed where it has several."
)
@click.option("--id", "event_id", default="", metavar="ID", help="... with this id; else it gets a new one.")
@click.option(
    "-n", "--namespace", default="", metavar="NAME", help="Where sources of several namespaces have this name."
)
@click.option(
    "--fresh-ids", is_flag=True, help="Give CloudEvents new ids, so that they are new events and not known ones."
)
@_output
def publish(
    client: Client,
    file: str,
    source: str,
    event_name: str,
    event_id: str,
    namespace: str,
    fresh_ids: bool,
    output: str,
) -> None:
    """Put events on the log of the run, as if their source had received them.

    With --source, FILE holds the JSON data of one new event. Without it, FILE holds CloudEvents (JSON, JSON lines, or YAML), as
    'argosy events capture' writes them, and they are put there as they stand; what lacks id, type or time gets them. An event whose id the
    log knows already (within its duplicate window) is stored once. FILE - is standard input.
    """
    from argosy.cli._event_files import texts
    from argosy.errors import ArgosyError

    if (event_name or event_id) and not source:
        raise click.UsageError("--event and --id describe a new event; give --source as well.")
    try:
        found = texts(file)
    except ArgosyError as error:
        raise click.UsageError(str(error)) from error
    if not found:
        raise click.UsageError(f"{file} holds nothing.")
    if source and len(found) > 1:
        raise click.UsageError(f"{file} holds {len(found)} documents; --source makes one event of one.")
    for text in found:
        if source:
            order: dict[str, Any] = {"source": source, "event": event_name, "dataText": text.decode(), "id": event_id}
        else:
            order = {"cloudEvent": (_without_id(text) if fresh_ids else text).decode()}
        done = client.post("/events", {**order, "namespace": namespace})
        if output == "json":
            click.echo(json.dumps(done, ensure_ascii=False))
        else:
            listening = ", ".join(done["sensors"]) or "no sensor listens to it"
            click.echo(f"{done['id']}  {done['source']}/{done['subject']}  → {listening}")


@events.command()
@connected
@_choosing
@_since
@_until
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@click.option(
    "-o",
    "--output",
    "target",
    type=click.Path(dir_okay=False, allow_dash=True),
    required=True,
    metavar="FILE",
    help="The file to write; - for standard output.",
)
@click.option("--force", is_flag=True, help="Write over a file that is there.")
def capture(
    client: Client,
    source: str,
    event_name: str,
    namespace: str,
    where: str,
    since: str,
    until: str,
    follow: bool,
    target: str,
    force: bool,
) -> None:
    """Write events into a file: CloudEvents as JSON lines, the oldest first.

    'argosy explain --event FILE', 'argosy test' (cloudEventFile) and 'argosy events publish FILE' read it.
    """
    if target != "-" and not force and Path(target).exists():
        raise click.UsageError(f"{target} is there already; --force writes over it.")
    chosen = {"source": source, "event": event_name, "namespace": namespace, "where": where}
    rows = client.lines("GET", "/log", text_of="event", **chosen, since=since, until=until, follow=follow)
    count = left_out = 0
    with click.open_file(target, "w", encoding="utf-8") as out:
        try:
            for row in rows:
                if "event" not in row:
                    left_out += 1
                    continue
                out.write(row["event"] + "\n")
                out.flush()
                count += 1
        except KeyboardInterrupt:
            pass  # how following ends
    what = f"; {left_out} entries that are no events were left out" if left_out else ""
    click.echo(f"{count} events captured{what}", err=True)


# ---------------------------------------------------------------------- showing


_SHORT = 8
_ID_WIDTH = 36


def _table(rows: list[dict[str, Any]]) -> None:
    width = _distinct([row["id"] for row in rows if "id" in row])
    for row in rows:
        click.echo(_line(row, width))


def _line(row: dict[str, Any], width: int) -> str:
    when = local(row["storedAt"])
    if "id" not in row:
        return f"{when}  {'?' * width}  entry {row['position']} is no event: {clean(row['error'])}"
    return f"{when}  {clean(row['id'][:width]):<{width}}  {clean(row['source'])}/{clean(row['subject'])}  {row['bytes']} bytes"


def _distinct(ids: list[str]) -> int:
    """The fewest characters, at least eight, that tell these ids apart; those of one id are one."""
    different = set(ids)
    width = _SHORT
    while width < _ID_WIDTH and len({id[:width] for id in different}) < len(different):
        width += 4
    return width


def local(text: str) -> str:
    """An RFC 3339 time as this machine's clock shows it, to the millisecond."""
    import datetime as dt

    return dt.datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def _without_id(text: bytes) -> bytes:
    import msgspec

    head = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    head.pop("id", None)
    return msgspec.json.encode(head)
