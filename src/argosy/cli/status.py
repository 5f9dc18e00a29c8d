"""``argosy status``: how the objects of a cluster are, on one page."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import click

_KINDS = (("EventBus", "eventbus"), ("EventSource", "eventsources"), ("Sensor", "sensors"))


@click.command()
@click.option("-n", "--namespace", default="", metavar="NAME", help="The namespace to look at. Default: the context's.")
@click.option("-A", "--all-namespaces", "everywhere", is_flag=True, help="Look at all namespaces.")
@click.option("--context", default="", metavar="NAME", help="The context of the kubeconfig to use.")
@click.option(
    "-o", "--output", "form", type=click.Choice(["text", "json"]), default="text", show_default=True, help="Format."
)
@click.pass_context
def status(ctx: click.Context, namespace: str, everywhere: bool, context: str, form: str) -> None:
    """Show how the EventBuses, EventSources and Sensors of a cluster are.

    It is read from their status, where the controller writes it: whether each is ready and why not, when it last had an event and last
    fired, and how many dead letters wait for a person. The cluster is that of KUBECONFIG.

    \b
    Examples:
      argosy status
      argosy status -A
      argosy status -n openstack -o json | jq '.objects[] | select(.ready != true)'

    Exit codes: 0 all are ready and nothing is dead, 3 not so, 1 the cluster cannot be asked, 2 the call was wrong.
    """
    from argosy.cli._apiserver import Server
    from argosy.cli._page import say, say_json, table

    server = Server(context)
    space = "" if everywhere else namespace or server.namespace
    objects = [one for kind, plural in _KINDS for one in _each(server, kind, plural, space)]
    objects.sort(key=lambda one: one["namespace"])
    dead = sum(one["deadLetters"] or 0 for one in objects)
    ready = sum(one["ready"] is True for one in objects)
    if form == "json":
        say_json({"objects": objects, "ready": ready, "deadLetters": dead})
    elif not objects:
        where = f"namespace '{space}'" if space else "any namespace"
        click.echo(f"there is no EventBus, EventSource or Sensor in {where}")
    else:
        heads = ["NAMESPACE", "KIND", "NAME", "READY", "LAST EVENT", "LAST FIRED", "BACKLOG", "DEAD", "SAYS"]
        for line in table(heads, [_row(one) for one in objects]):
            say(line)
        letters = f", {dead} dead letters ('argosy actions list --state dead')" if dead else ""
        say(f"{ready} of {len(objects)} ready{letters}")
    ctx.exit(0 if ready == len(objects) and not dead else 3)


def _each(server: Any, kind: str, plural: str, space: str) -> Iterator[dict[str, Any]]:
    from argosy.cli._apiserver import Status
    from argosy.cli._client import Refused
    from argosy.kubernetes.names import GROUP_VERSION

    inside = f"/namespaces/{quote(space, safe='')}" if space else ""
    try:
        for one in server.items(f"/apis/{GROUP_VERSION}{inside}/{plural}"):
            yield _told(kind, one)
    except Status as status:
        where = f"in namespace '{space}'" if space else "in all namespaces; one is asked with -n NAMESPACE"
        if status.code == 403:
            raise Refused(f"you may not list {plural} {where}: {status}", 403) from None
        if status.code == 404:
            raise Refused(
                "the cluster does not serve EventBus, EventSource and Sensor: install Argosy, see 'argosy install'"
            ) from None
        raise Refused(f"{plural} cannot be listed: {status}", status.code) from None


def _told(kind: str, raw: Mapping[str, Any]) -> dict[str, Any]:
    about, said = raw["metadata"], raw.get("status") or {}
    conditions = [
        {name: str(one.get(name) or "") for name in ("type", "status", "reason", "message")}
        for one in said.get("conditions") or ()
    ]
    return {
        "namespace": about["namespace"],
        "kind": kind,
        "name": about["name"],
        "ready": _ready(conditions),
        "conditions": conditions,
        **{
            name: said.get(name) for name in ("events", "lastEvent", "lastFired", "lastError", "backlog", "deadLetters")
        },
    }


def _ready(conditions: Sequence[Mapping[str, str]]) -> bool | None:
    """What the condition ``Ready`` says; without it, whether all are true, as upstream's tools count. None where nothing is said."""
    said = [one["status"] for one in conditions if one["type"] == "Ready"] or [one["status"] for one in conditions]
    if not said or ("Unknown" in said and "False" not in said):
        return None
    return all(one == "True" for one in said)


def _row(one: Mapping[str, Any]) -> list[str]:
    from argosy.cli._page import one_line

    return [
        one["namespace"],
        one["kind"],
        one["name"],
        {True: "yes", False: "no", None: "?"}[one["ready"]],
        _ago(one["lastEvent"]),
        _ago(one["lastFired"]),
        _count(one["backlog"]),
        _count(one["deadLetters"]),
        one_line(_says(one), 120),
    ]


def _says(one: Mapping[str, Any]) -> str:
    if not one["conditions"]:
        return "nobody has looked at it: does the controller run?"
    # Ready only sums up the others.
    wrong = [each for each in one["conditions"] if each["status"] != "True"]
    wrong = [each for each in wrong if each["type"] != "Ready"] or wrong
    if wrong:
        return "; ".join(
            f"{each['type']} {each['status']}: {each['message'] or each['reason'] or 'no reason'}" for each in wrong
        )
    last = one["lastError"]
    return f"last error {_ago(last.get('time'))} ago: {last.get('message')}" if isinstance(last, dict) else ""


def _count(value: Any) -> str:
    return "-" if value is None else str(value)


def _ago(text: Any) -> str:
    from argosy.cli._actions_page import age

    try:
        return age(time.time() - dt.datetime.fromisoformat(str(text)).timestamp()) if text else "-"
    except ValueError:
        return str(text)
