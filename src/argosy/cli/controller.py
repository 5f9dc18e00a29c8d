"""``argosy controller``: brings a cluster to what EventBuses, EventSources and Sensors say."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from argosy.cli._process import log_format, log_level, run_to_the_end


@click.command()
@click.option(
    "--namespaced",
    is_flag=True,
    help="See to some namespaces only: those of --managed-namespace, or else its own. Roles suffice then.",
)
@click.option(
    "--managed-namespace",
    "managed",
    multiple=True,
    metavar="NAME",
    help="One of them. May be repeated.",
)
@click.option(
    "--namespace",
    envvar=["NAMESPACE", "POD_NAMESPACE"],
    default="argo-events",
    show_default=True,
    help="Where it runs; its Lease is there.",
)
@click.option(
    "--leader-election",
    "elect",
    type=bool,
    is_flag=False,
    flag_value=True,
    default=True,
    show_default=True,
    metavar="[true|false]",
    help="Of several, one works: the one that has the Lease 'argosy-controller'. The others stand by.",
)
@click.option("--no-leader-election", "alone", is_flag=True, help="The same as --leader-election=false.")
@click.option(
    "--mode",
    type=click.Choice(["dedicated", "shared"]),
    help="How objects are served that do not say it: by pods of their own, or by the runner of their namespace. Default: as the configuration "
    "says, else dedicated.",
)
@click.option(
    "--shards",
    type=click.IntRange(1, 64),
    metavar="N",
    help="How many runners share the objects of a namespace that does not say it. Default: as the configuration says, else 1.",
)
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The configuration file, which is followed. Default: /etc/argo-events/controller-config.yaml, where it is there.",
)
@click.option("--host", envvar="ARGOSY_HOST", default="0.0.0.0", show_default=True, help="Address that it listens on.")
@click.option(
    "--metrics-port",
    type=click.IntRange(0, 65535),
    default=7777,
    show_default=True,
    help="Port of /metrics, and of /healthz and /readyz.",
)
@click.option(
    "--health-port",
    type=click.IntRange(0, 65535),
    default=8081,
    show_default=True,
    help="Another port of the same, where probes of Argo Events look.",
)
@click.option(
    "--status-interval",
    type=click.FloatRange(0.5),
    default=15.0,
    show_default=True,
    metavar="SECONDS",
    help="How often the pods are asked how they are doing.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=8,
    show_default=True,
    help="How many objects are looked at at once.",
)
@click.option("--kloglevel", type=int, hidden=True, help="Without effect; upstream has it.")
@log_format
@log_level
def controller(
    namespaced: bool,
    managed: tuple[str, ...],
    namespace: str,
    elect: bool,
    alone: bool,
    mode: str | None,
    shards: int | None,
    config: Path | None,
    host: str,
    metrics_port: int,
    health_port: int,
    status_interval: float,
    workers: int,
    kloglevel: int | None,
    log_format: str,
    log_level: str,
) -> None:
    """Bring a cluster to what EventBuses, EventSources and Sensors say.

    Installs buses, runs pods for event sources and sensors, writes into their status how they are doing, and puts back what somebody
    changed by hand. It may be stopped and killed at any time, and there may be several of it: they take turns.

    An object with the annotation argosy.dev/controller and another word than 'argosy' is left alone. argosy.dev/mode of an object, or of
    its namespace, says who serves it: dedicated (pods of its own) or shared (the runner of the namespace).

    ARGOSY_IMAGE (else ARGO_EVENTS_IMAGE) is the image of all pods, IMAGE_PULL_POLICY says when it is pulled. Where the API server is says a
    kubeconfig, or in a pod its service account.

    \b
    Examples:
      argosy controller
      argosy controller --namespaced --managed-namespace orders --managed-namespace billing
      argosy controller --mode shared --no-leader-election --config controller-config.yaml

    SIGTERM drains: what is under way is finished. A second one cancels.
    Exit codes: 0 drained, 1 could not run, 2 the call was wrong, 130 cancelled.
    """
    from argosy.kubernetes.controller.configuration import of_environment
    from argosy.kubernetes.controller.process import Options, Process

    if managed and not namespaced:
        raise click.UsageError("--managed-namespace goes with --namespaced.")
    over: dict[str, Any] = {"mode": mode, "shards": shards}

    async def main() -> int:
        options = Options(
            namespaces=tuple(dict.fromkeys(managed or (namespace,))) if namespaced else None,
            namespace=namespace,
            elect=elect and not alone,
            over={**{name: value for name, value in over.items() if value is not None}, **of_environment(os.environ)},
            config=config,
            metrics=f"{host}:{metrics_port}",
            health=f"{host}:{health_port}",
            status_seconds=status_interval,
            workers=workers,
        )
        return await Process(options).run()

    run_to_the_end("controller", main, log_format, log_level)
