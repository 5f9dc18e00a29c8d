"""``argosy new``: a working manifest of a kind, to begin with. It is the example of the kind's plug-in."""

from __future__ import annotations

import inspect
from typing import Any

import click


@click.command()
@click.argument("kind", required=False)
@click.option("--source", "only", flag_value="source", help="KIND is an event source.")
@click.option("--trigger", "only", flag_value="trigger", help="KIND is a trigger.")
@click.option("--list", "listed", is_flag=True, help="List every kind with a word on it.")
def new(kind: str | None, only: str | None, listed: bool) -> None:
    """Print a working example of an event source or trigger kind.

    KIND is the word that manifests use: 'webhook', 'amqp', 'http', 'argoWorkflow'. An event source's example
    is an EventSource, a trigger's a Sensor.

    \b
    Examples:
      argosy new --list
      argosy new webhook > webhook.yaml
      argosy new http --trigger

    Exit codes: 0 done, 2 there is no such kind, or the call itself was wrong.
    """
    from argosy import registry
    from argosy.errors import ConfigError

    if listed:
        for title, kinds, find in (
            ("Event sources", registry.source_kinds(), registry.source),
            ("Triggers", registry.trigger_kinds(), registry.trigger),
        ):
            click.echo(f"{title}:")
            width = max(map(len, kinds), default=0)
            for name in kinds:
                try:
                    click.echo(f"  {name:<{width}}  {_about(find(name))}")
                except ConfigError as error:
                    click.echo(f"  {name:<{width}}  cannot be used: {error}")
        return
    if kind is None:
        raise click.UsageError("Give a KIND; 'argosy new --list' shows them.")
    try:
        click.echo(_example(kind, only), nl=False)
    except ConfigError as error:
        raise click.UsageError(str(error)) from error


def _about(plugin: type[Any] | None) -> str:
    """The first sentence of the plug-in's module, or of its class, on one line."""
    if plugin is None:
        return ""
    text = inspect.getdoc(inspect.getmodule(plugin)) or inspect.getdoc(plugin) or ""
    first = " ".join(text.split("\n\n")[0].split()).split(". ")[0].rstrip(".")
    # Modules begin with their kind: "``webhook``: each request ...", "The ``http`` trigger: one request ...".
    head, colon, rest = first.partition(": ")
    return rest if colon and f"``{plugin.kind}``" in head else first


def _example(kind: str, only: str | None) -> str:
    from argosy import registry
    from argosy.manifests.spelling import did_you_mean

    sources = registry.source_kinds() if only != "trigger" else []
    triggers = registry.trigger_kinds() if only != "source" else []
    if kind in sources and kind in triggers:
        raise click.UsageError(f"'{kind}' is an event source and a trigger; add --source or --trigger.")
    plugin: type[Any] | None = None
    if kind in sources:
        plugin = registry.source(kind)
    elif kind in triggers:
        plugin = registry.trigger(kind)
    if plugin is not None:
        example: str = plugin.example
        return example if example.endswith("\n") else example + "\n"
    near = did_you_mean(kind, [*sources, *triggers]) or "; 'argosy new --list' shows them all."
    raise click.UsageError(f"There is no kind '{kind}'{near}")
