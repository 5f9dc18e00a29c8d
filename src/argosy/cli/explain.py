"""``argosy explain``: why an event made a sensor fire, or not, without running anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from argosy.cli._client import Client, find, on_cluster

if TYPE_CHECKING:
    from collections.abc import Callable

    from argosy.manifests.bundle import Bundle, Finding, Key
    from argosy.manifests.fields import ConfigMapKeySelector
    from argosy.manifests.sensor import Sensor
    from argosy.sensor.explaining import World
    from argosy.sensor.explaining_stories import Explanation
    from argosy.sensor.rendering import Offline


@click.command()
@click.argument("words", nargs=-1, metavar="[PATH...|EVENT_ID] [SENSOR...]")
@click.option(
    "-e",
    "--event",
    "files",
    multiple=True,
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
    help="The event: a CloudEvent in JSON or YAML; - for standard input. Several events, in one file or in several, came in this order.",
)
@click.option(
    "-s",
    "--sensor",
    "sensors",
    multiple=True,
    metavar="NAME",
    help="Explain this sensor only (repeatable); needed where a file has its name.",
)
@click.option("--source", default="", metavar="NAME", help="FILE is no CloudEvent but the data of this EventSource.")
@click.option(
    "--event-name", default="", metavar="NAME", help="... and of this event; needed where the EventSource has several."
)
@click.option(
    "--from",
    "origin",
    default="",
    metavar="NAME/NAME",
    help="Both in one: --from shop/orders, as test files say it.",
)
@click.option(
    "--raw", is_flag=True, help="FILE is what the sender sends: wrap it as the source does (webhook, amqp, ...)."
)
@click.option(
    "-H",
    "--header",
    "headers",
    multiple=True,
    metavar="NAME:VALUE",
    help="With --raw: an HTTP header, or a property of an AMQP message (routingKey:orders.new). Repeatable.",
)
@click.option(
    "--method", default="", metavar="WORD", help="With --raw: the HTTP method; for resource ADD, UPDATE or DELETE."
)
@click.option("--query", default="", metavar="TEXT", help="With --raw: the part of the URL behind the question mark.")
@click.option(
    "--time", default="", metavar="TIME", help="When the event came (RFC 3339), where FILE does not say. Default: now."
)
@click.option("--each", is_flag=True, help="Of several events explain each, not only the last.")
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".argosy"),
    show_default=True,
    help="With EVENT_ID: data folder of the run to ask. ARGOSY_API and ARGOSY_TOKEN name another.",
)
@on_cluster
@click.option(
    "-n", "--namespace", default="", metavar="NAME", help="With EVENT_ID: the namespace of the event and the sensor."
)
@click.option("-v", "--verbose", is_flag=True, help="Show all: clauses not asked, whole objects, other sensors.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How to say it. The JSON is stable: docs/reference/explain.md.",
)
@click.pass_context
def explain(
    ctx: click.Context,
    words: tuple[str, ...],
    files: tuple[str, ...],
    sensors: tuple[str, ...],
    source: str,
    event_name: str,
    origin: str,
    raw: bool,
    headers: tuple[str, ...],
    method: str,
    query: str,
    time: str,
    each: bool,
    data: Path,
    context: str,
    cluster: bool,
    namespace: str,
    verbose: bool,
    output: str,
) -> None:
    """Say why an event makes a sensor fire, or why not. Nothing is run, sent or changed.

    PATH is a manifest file, a folder, or - for standard input, as for 'argosy run'; without any it is the current folder. A word
    that is no file or folder names a SENSOR to look at. For every sensor that listens to the event you read what each dependency
    said (transform, every filter clause, the value found and the value wanted), what its conditions wait for, where each
    parameter came from, and what would be sent. References to Secrets stay references.

    With EVENT_ID instead of --event, the event, those that came before it and the manifests are those of a run that goes on, and you also
    read what really became of the actions. The first eight characters of the id are enough, if they mean one event.

    \b
    Examples:
      argosy explain 3f2a91bc ship                                         (an event of a run, see 'argosy events list')
      argosy explain manifests/ --event event.json
      argosy explain --event event.json ship                               (manifests of this folder, sensor 'ship')
      kubectl get sensor,eventsource -o yaml | argosy explain - --event event.json
      argosy explain manifests/ --from shop/orders --event order.json --raw -H 'X-Kind: new'
      argosy explain manifests/ --event paid.json --event packed.json      (a condition paid && packed)
      argosy explain manifests/ --event event.json -o json | jq '.events[-1].sensors[].because'

    Exit codes: 0 a trigger would fire, 3 none would, 1 manifests that concern the event have errors, 2 the call itself
    was wrong.
    """
    from argosy.cli import _event_files, _explain_text
    from argosy.errors import ArgosyError
    from argosy.manifests.bundle import load
    from argosy.sensor import explaining

    if not files:
        if source or event_name or origin or raw or time or each:
            raise click.UsageError("These options say what a FILE holds; give --event FILE as well.")
        _explain_running(
            ctx,
            words,
            sensors,
            lambda: find(data, namespace, context, cluster=cluster),
            namespace,
            verbose=verbose,
            output=output,
        )
        return
    if cluster or context:
        raise click.UsageError("--cluster and --context go with EVENT_ID; --event FILE asks nobody.")
    paths = tuple(word for word in words if word == "-" or Path(word).exists()) or (".",)
    sensors += tuple(word for word in words if word not in paths)
    if "-" in paths and "-" in files:
        raise click.UsageError("PATH and --event cannot both be standard input.")
    if origin:
        if source or event_name:
            raise click.UsageError("--from says what --source and --event-name say; give one or the other.")
        source, _, event_name = origin.partition("/")
    if (event_name or raw) and not source:
        raise click.UsageError("--event-name and --raw need --source NAME, the EventSource's name, or --from.")
    if (headers or method or query) and not raw:
        raise click.UsageError("--header, --method and --query say how a raw message was sent; add --raw.")
    bundle = load(paths)
    _check_sensors(bundle, sensors)
    try:
        naming = _event_files.Naming(source, event_name, raw, _pairs(headers), method, query, _moment(time))
        events = _event_files.read_events(files, naming, bundle)
        told = explaining.explain(_world(bundle), events, only=sensors)
    except ArgosyError as error:
        raise click.UsageError(str(error)) from error
    shown = told if each else told[-1:]
    hints = list(dict.fromkeys(hint for one in shown if (hint := _event_files.hint(one.event, naming, bundle))))
    wrong = _concerning(bundle, [(one.event.source, one.event.subject) for one in shown], sensors)
    if output == "json":
        click.echo(json.dumps(_as_json(shown, hints, wrong), indent=2))
    else:
        _explain_text.write(shown, before=len(told) - len(shown), hints=hints, wrong=wrong, verbose=verbose)
    ctx.exit(1 if wrong else 0 if any(one.fires for one in shown) else 3)


def _explain_running(
    ctx: click.Context,
    words: tuple[str, ...],
    sensors: tuple[str, ...],
    found: Callable[[], Client],
    namespace: str,
    *,
    verbose: bool,
    output: str,
) -> None:
    """Explain an event of a run that goes on."""
    if not words:
        raise click.UsageError("Give the event: --event FILE, or the id of an event of a run ('argosy events list').")
    if Path(words[0]).exists():
        raise click.UsageError(f"'{words[0]}' is a file or folder; say which event with --event FILE.")
    from argosy.cli import _explain_running, _explain_text
    from argosy.errors import ArgosyError
    from argosy.sensor import explaining

    event_id, sensors = words[0], (*sensors, *words[1:])
    client = found()
    try:
        fetched = _explain_running.fetch(client, event_id, sensors[0] if len(sensors) == 1 else "", namespace)
        told = explaining.explain(fetched.world, fetched.events, only=sensors)[-1:]
    except ArgosyError as error:
        raise click.ClickException(str(error)) from error
    happened = _explain_running.happened(client, fetched.world, told)
    hints = []
    if fetched.more:
        hints.append(
            f"conditions were followed over the {len(fetched.events) - 1} events before it; the log has older ones"
        )
    waiting = [one.name for one in told[0].sensors if one.result == "waits"]
    hints += [f"'argosy sensor pending {name}' shows what its conditions hold now" for name in waiting]
    if output == "json":
        said = _as_json(told, hints, [])
        said["happened"] = happened
        click.echo(json.dumps(said, indent=2))
    else:
        sentences = {id: _explain_running.sentence(became) for id, became in happened.items()}
        _explain_text.write(told, before=0, hints=hints, wrong=[], verbose=verbose, happened=sentences)
    ctx.exit(0 if any(one.fires for one in told) else 3)


def _check_sensors(bundle: Bundle, names: tuple[str, ...]) -> None:
    from argosy.manifests.spelling import did_you_mean

    known = {key.name for key in bundle.origins if key.kind == "Sensor"}
    for name in names:
        if name not in known:
            what = f"There is no sensor '{name}' among these manifests, and no file or folder of this name"
            raise click.UsageError(what + (did_you_mean(name, known) or ("." if known else "; there is none at all.")))


def _pairs(headers: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for header in headers:
        name, colon, value = header.partition(":")
        if not colon or not name.strip():
            raise click.UsageError(f"--header '{header}' is not NAME:VALUE.")
        pairs[name.strip()] = value.strip()
    return pairs


def _moment(text: str) -> str:
    from argosy.errors import EventInvalid
    from argosy.event import format_time, parse_time

    try:
        return format_time(parse_time(text)) if text else ""
    except EventInvalid as error:
        raise click.UsageError(f"--time: {error}; write for example 2026-01-31T09:30:00Z") from error


def _world(bundle: Bundle) -> World:
    from argosy.sensor.explaining import World

    return World(bundle.sensors, bundle.event_sources, bundle.declared, lambda sensor: _offline(bundle, sensor))


def _offline(bundle: Bundle, sensor: Sensor) -> Offline:
    """What the sensor's triggers may read here: files beside its manifest, and ConfigMap manifests."""
    from argosy.manifests.bundle import Key
    from argosy.sensor.rendering import Offline

    space = sensor.metadata.namespace
    file = Path(bundle.origins[Key("Sensor", space, sensor.metadata.name)].file)

    def config_map(selector: ConfigMapKeySelector) -> str | None:
        values = bundle.config_maps.get((space, selector.name))
        return None if values is None else values.get(selector.key)

    return Offline(file.parent if file.is_file() else None, config_map)


def _concerning(bundle: Bundle, pairs: list[tuple[str, str]], sensors: tuple[str, ...]) -> list[Finding]:
    """The errors without which the answer might be another: of the event's source, of sensors that listen to it, of files unread."""
    from argosy.manifests._bundle import UNREADABLE

    good = {(one.metadata.namespace, one.metadata.name) for one in bundle.sensors}
    concerned = {
        str(key) for key in bundle.origins if key.kind == "EventSource" and key.name in {one for one, _ in pairs}
    }
    for key in bundle.origins:
        broken = key.kind == "Sensor" and (key.namespace, key.name) not in good
        if broken and (key.name in sensors or (not sensors and _listens(bundle, key, pairs))):
            concerned.add(str(key))
    return [
        one
        for one in bundle.findings
        if one.severity == "error" and (one.object in concerned or one.code in UNREADABLE)
    ]


def _listens(bundle: Bundle, key: Key, pairs: list[tuple[str, str]]) -> bool:
    """Whether a sensor in error names one of the events; read from its text, for it has no model."""
    from argosy.manifests._yaml import Document, documents

    try:
        text = Path(bundle.origins[key].file).read_text()
    except (OSError, UnicodeDecodeError):
        return True  # standard input is read already; better one warning too many
    for document in documents(text):
        value = document.value if isinstance(document, Document) else None
        for item in (value.get("items") or [value]) if isinstance(value, dict) else ():
            if isinstance(item, dict) and item.get("kind") == "Sensor" and _named(item) == key.name:
                spec = item.get("spec")
                listed = spec.get("dependencies") if isinstance(spec, dict) else None
                for one in listed if isinstance(listed, list) else ():
                    if isinstance(one, dict) and (one.get("eventSourceName"), one.get("eventName")) in pairs:
                        return True
    return False


def _named(item: dict[str, object]) -> object:
    metadata = item.get("metadata")
    return metadata.get("name") if isinstance(metadata, dict) else None


def _as_json(shown: list[Explanation], hints: list[str], wrong: list[Finding]) -> dict[str, object]:
    from argosy.sensor.explaining_stories import SHAPE

    return {
        "shape": SHAPE,
        "fires": any(one.fires for one in shown),
        "events": [one.as_dict() for one in shown],
        "hints": hints,
        "findings": [one.as_dict() for one in wrong],
    }
