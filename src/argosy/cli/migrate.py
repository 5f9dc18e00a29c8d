"""``argosy migrate``: what changes for manifests, or for a cluster, of Argo Events."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from argosy.kubernetes.install.migration import Moved, Report


@click.command()
@click.argument("paths", nargs=-1, metavar="[PATH]...", type=click.Path(exists=True, allow_dash=True))
@click.option("--live", is_flag=True, help="Ask the cluster of the kubeconfig instead of reading files.")
@click.option("--context", default="", metavar="NAME", help="With --live: the context of the kubeconfig to use.")
@click.option("-n", "--namespace", default="", help="With --live: this namespace. Default: the context's.")
@click.option("-A", "--all-namespaces", "everywhere", is_flag=True, help="With --live: all namespaces.")
@click.option("-o", "--output", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.pass_context
def migrate(
    ctx: click.Context, paths: tuple[str, ...], live: bool, context: str, namespace: str, everywhere: bool, form: str
) -> None:
    """Say what changes for manifests, or for a cluster, of Argo Events.

    PATH is a manifest file, a folder, or - for standard input. For each EventBus, EventSource and Sensor the report names what would not run,
    what wants something of you before the switch, and what behaves differently; then what each of these means. With --live also the rights
    that service accounts lack, and what Argo Events' controller has made and would do. Nothing is changed.

    \b
    Weights:
      refused  the object does not run under Argosy as it stands
      act      it runs; something has to be done or looked at before the switch
      changes  it behaves differently, and this is all there is to it

    \b
    Examples:
      argosy migrate manifests/
      argosy migrate --live -A
      argosy migrate --live -n shop -o json

    Exit codes: 0 nothing is to be done, 1 something is refused or wants to be done, or the cluster does not answer, 2 the call itself was
    wrong.
    """
    from argosy.cli._client import Refused
    from argosy.cli._page import clean, say_json

    if live == bool(paths):
        raise click.UsageError("Give either PATH... or --live.")
    if not live and (context or namespace or everywhere):
        raise click.UsageError("--context, --namespace and --all-namespaces go with --live.")
    if namespace and everywhere:
        raise click.UsageError("--namespace and --all-namespaces are two things.")
    try:
        found, notes = _of_cluster(context, namespace, everywhere=everywhere) if live else (_of_files(paths), [])
    except Refused as error:
        click.echo(f"argosy migrate: {clean(str(error))}", err=True)
        ctx.exit(1)
    if form == "json":
        say_json(_as_json(found, notes))
    else:
        _print(found)
        for note in notes:
            click.echo(clean(f"note: {note}"), err=True)
    weights = found.weights
    ctx.exit(1 if weights["refused"] or weights["act"] else 0)


def _of_files(paths: tuple[str, ...]) -> Report:
    import io
    from pathlib import Path

    from argosy.kubernetes.install.migration import report
    from argosy.manifests._yaml import Document, documents
    from argosy.manifests.bundle import load
    from argosy.manifests.loading import MAX_FILE_BYTES

    said = sys.stdin.buffer.read(MAX_FILE_BYTES + 1) if "-" in paths else b""
    bundle = load(paths, stdin=io.BytesIO(said))
    texts = [said.decode(errors="replace")] if "-" in paths else []
    texts += [Path(name).read_text(errors="replace") for name in bundle.files if Path(name).is_file()]
    values = [one.value for text in texts for one in documents(text) if isinstance(one, Document)]
    return report(_each(values), bundle)


def _each(values: list[Any]) -> Iterator[dict[str, Any]]:
    """The objects of documents; lists are unpacked."""
    for value in values:
        if not isinstance(value, dict):
            continue
        if str(value.get("kind", "")).endswith("List") and isinstance(value.get("items"), list):
            yield from _each(value["items"])
        elif str(value.get("apiVersion", "")).startswith("argoproj.io/"):
            yield value


def _of_cluster(context: str, namespace: str, *, everywhere: bool) -> tuple[Report, list[str]]:
    from argosy.cli._apiserver import Server, Status
    from argosy.cli._live import judged
    from argosy.kubernetes.install.migration import report

    server = Server(context)
    found = judged((), context, namespace, everywhere=everywhere)
    inside = "" if everywhere else f"/namespaces/{namespace or server.namespace}"
    notes = list(found.notes)

    def read(path: str, version: str, kind: str) -> Iterator[dict[str, Any]]:
        try:
            for item in server.items(path):
                yield {"apiVersion": version, "kind": kind, **item}
        except Status as status:
            if status.code != 404:
                notes.append(f"{kind} objects cannot be read ({status}): nothing is said of them")

    group, apps = "argoproj.io/v1alpha1", "apps/v1"
    plurals = {"EventBus": "eventbus", "EventSource": "eventsources", "Sensor": "sensors"}
    objects = [one for kind, plural in plurals.items() for one in read(f"/apis/{group}{inside}/{plural}", group, kind)]
    running = [*read(f"/apis/{apps}/deployments", apps, "Deployment")]
    running += read(f"/apis/{apps}{inside}/statefulsets", apps, "StatefulSet")
    hooks = "admissionregistration.k8s.io/v1"
    kind = "ValidatingWebhookConfiguration"
    running += read(f"/apis/{hooks}/{kind.lower()}s", hooks, kind)
    return report(objects, found.bundle, running, live=True), notes


# What is said


def _as_json(found: Report, notes: list[str]) -> dict[str, Any]:
    def points(moved: Any) -> list[dict[str, Any]]:
        return [{"code": one.code, "weight": one.weight, "text": one.text, "paths": list(one.paths)} for one in moved]

    return {
        "objects": [
            {
                "kind": one.kind,
                "namespace": one.namespace,
                "name": one.name,
                "leftAlone": one.left,
                "points": points(one.points),
            }
            for one in found.objects
        ],
        "cluster": points(found.cluster),
        "weights": found.weights,
        "notes": notes,
    }


_ORDER = ("refused", "act", "changes")


def _print(found: Report) -> None:
    from argosy.cli._page import Page
    from argosy.kubernetes.install.changes import CHANGES

    page, rows = Page(), {change.code for change in CHANGES}
    colours = {"refused": "red", "act": "yellow", "changes": "cyan"}
    texts: dict[tuple[str, str], str] = {}
    for point in found.cluster:
        page.text(page.ink(f"{point.weight:<8} ", fg=colours[point.weight]), f"{point.code}: {point.text}", indent=9)
    if found.cluster:
        page.line("")
    for one in found.objects:
        page.line(page.ink(one.title, bold=True), _about(one))
        for weight in _ORDER:
            for point in (each for each in one.points if each.weight == weight):
                own = point.code not in rows or not point.paths
                where = ", ".join(point.paths)
                said = f"{point.code}{f': {where}' if where else ''}{f': {point.text}' if own else ''}"
                page.text(page.ink(f"  {weight:<8} ", fg=colours[weight]), said, indent=11)
                if not own:
                    texts.setdefault((weight, point.code), point.text)
    if texts:
        page.line("")
        page.line("What these are:")
        for (weight, code), text in sorted(texts.items(), key=lambda item: (_ORDER.index(item[0][0]), item[0][1])):
            page.text(page.ink(f"  {weight:<8} ", fg=colours[weight]), f"{code}: {text}", indent=11)
    weights = found.weights
    page.line("")
    page.line(
        f"{len(found.objects)} objects; refused: {weights['refused']}, to do: {weights['act']}, to know: {weights['changes']}"
    )


def _about(one: Moved) -> str:
    return " (left to its own controller by annotation)" if one.left else "" if one.points else ": nothing changes"
