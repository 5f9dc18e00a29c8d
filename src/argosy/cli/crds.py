"""``argosy crds``: the kinds of Argosy, for a cluster to know."""

from __future__ import annotations

import click


@click.command()
@click.argument(
    "kinds",
    nargs=-1,
    metavar="[KIND]...",
    type=click.Choice(["EventBus", "EventSource", "Sensor"], case_sensitive=False),
)
def crds(kinds: tuple[str, ...]) -> None:
    """Print the CustomResourceDefinitions of EventBus, EventSource and Sensor, or of the KINDs that are named.

    They have the names of Argo Events' definitions and take their place: every object stays. The API server then refuses wrong types and words, and
    'kubectl explain sensor.spec' tells the fields, those of all plug-ins that are installed here. It sets no defaults and keeps what it does not
    know; what spans several fields is checked by 'argosy lint'. They are too large for the annotation of a client-side 'kubectl apply'.

    \b
    Examples:
      argosy crds | kubectl apply --server-side -f -
      argosy crds Sensor

    Exit codes: 0 done, 2 the call itself was wrong.
    """
    from argosy.cli._manifests import documents
    from argosy.kubernetes.crds import KINDS, definition

    wanted = {kind.lower() for kind in kinds}
    for text in documents(definition(kind) for kind in KINDS if not wanted or kind.lower() in wanted):
        click.echo(text, nl=False)
