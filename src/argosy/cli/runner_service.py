"""``argosy runner-service``: the container of the pods that serve many objects of a namespace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from argosy.cli._serving import options, serve

if TYPE_CHECKING:
    from argosy.runtime.app import Shard
    from argosy.runtime.process import Options


@click.command("runner-service")
@options
@click.option(
    "--namespace",
    envvar="POD_NAMESPACE",
    show_envvar=True,
    help="The namespace to serve; without a word the one of the credentials.",
)
@click.option(
    "--mode",
    type=click.Choice(["dedicated", "shared"]),
    default="dedicated",
    show_default=True,
    envvar="ARGOSY_MODE",
    show_envvar=True,
    help="How objects of the namespace are served that do not say it themselves (argosy.dev/mode).",
)
@click.option(
    "--shard",
    default="0/1",
    show_default=True,
    envvar="ARGOSY_SHARD",
    show_envvar=True,
    metavar="I/N",
    help="Serve the I-th of N parts of the objects; I counts from 0.",
)
def runner_service(namespace: str | None, mode: str, shard: str, **given: Any) -> None:
    """Run the EventSources and Sensors of a namespace that have no pods of their own.

    The controller makes these pods for a namespace with objects in shared mode. Objects, EventBuses, and the Secrets and ConfigMaps that they name are
    read from the Kubernetes API and followed there: what changes is applied at once, what is broken runs on as it was, and an API
    server that is away stops nothing. Each Sensor acts as its own service account.

    SIGTERM drains: receive nothing new, finish what is under way, keep the rest on the bus.
    Exit codes: 0 drained, 1 could not run, 2 the call was wrong.
    """

    async def run(options: Options) -> int:
        from dataclasses import replace
        from typing import cast

        from argosy.kubernetes.client import shared
        from argosy.kubernetes.names import Mode
        from argosy.runtime.cluster import Cluster
        from argosy.runtime.process import Process

        part = _part(shard)
        async with shared() as client:
            access = await client.access()  # without credentials there is nothing to wait for
            feed = Cluster(client, namespace or access.namespace, default=cast(Mode, mode))
            return await Process(replace(options, shard=part, acts_for_accounts=True), feed).run()

    serve("runner-service", given, run)


def _part(text: str) -> Shard:
    from argosy.errors import ConfigError
    from argosy.runtime.app import Shard

    index, _, count = text.partition("/")
    if not (index.isdecimal() and count.isdecimal() and int(index) < int(count)):
        raise ConfigError(
            f"the shard {text!r} (--shard, ARGOSY_SHARD) is not one; write I/N with I from 0 to N-1, such as 0/2"
        )
    return Shard(int(index), int(count))
