"""``argosy schema``: JSON Schema of the manifests, so that an editor completes and checks while one types."""

from __future__ import annotations

import json

import click


@click.command()
@click.argument(
    "kind", required=False, type=click.Choice(["EventSource", "EventBus", "Sensor", "Test"], case_sensitive=False)
)
@click.option("--all", "every", is_flag=True, help="One schema for all three kinds; the default.")
def schema(kind: str | None, every: bool) -> None:
    """Print the JSON Schema of the manifests, for editors.

    KIND 'Test' is the format of *.test.yaml files. Without KIND the schema takes the three kinds of manifests
    and lets other Kubernetes objects pass. It holds the fields of every plug-in that is installed. What spans
    several fields is checked by 'argosy lint' only.

    \b
    Examples:
      argosy schema > argosy.schema.json
      argosy schema Sensor > sensor.schema.json

    In an editor with the YAML language server, begin a manifest with the line

    \b
      # yaml-language-server: $schema=argosy.schema.json

    Exit codes: 0 done, 2 the call itself was wrong.
    """
    if kind and every:
        raise click.UsageError("Give a KIND or --all, not both.")
    if kind and kind.lower() == "test":
        from argosy.testing import format as test_format

        click.echo(json.dumps(test_format.schema(), indent=2))
        return
    from argosy.manifests import schema as schemas

    found = [name for name in schemas.KINDS if kind and name.lower() == kind.lower()]
    click.echo(json.dumps(schemas.schema(found[0]) if found else schemas.schema_of_all(), indent=2))
