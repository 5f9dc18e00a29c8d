"""``argosy admission``: the validating webhook."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, cast

import click

from argosy.cli._process import log_format, log_level, run_to_the_end


@click.command()
@click.option(
    "--namespaced",
    is_flag=True,
    help="Judge the objects of some namespaces only: those of --managed-namespace, or else its own.",
)
@click.option("--managed-namespace", "managed", multiple=True, metavar="NAME", help="One of them. May be repeated.")
@click.option(
    "--namespace",
    envvar=["NAMESPACE", "POD_NAMESPACE"],
    default="argo-events",
    show_default=True,
    help="Where it runs; its certificate is in a Secret there.",
)
@click.option(
    "--mode",
    type=click.Choice(["dedicated", "shared"]),
    default="dedicated",
    show_default=True,
    help="How objects are served that do not say it, as the controller was told.",
)
@click.option(
    "--service", default="argosy-admission", show_default=True, help="The Service by which the API server calls it."
)
@click.option(
    "--host-name",
    "host_names",
    multiple=True,
    metavar="NAME",
    help="Another name or address to be called by. May be repeated.",
)
@click.option(
    "--configuration",
    default="argosy-admission",
    show_default=True,
    help="The ValidatingWebhookConfiguration that is told whom to trust.",
)
@click.option(
    "--cert-dir",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with tls.crt and tls.key that somebody else keeps (cert-manager), who then says whom to trust, too. Without it the "
    "webhook makes and renews its own.",
)
@click.option("--certificate-days", type=click.FloatRange(0, min_open=True), default=30.0, show_default=True)
@click.option("--authority-days", type=click.FloatRange(0, min_open=True), default=365.0, show_default=True)
@click.option("--host", envvar="ARGOSY_HOST", default="0.0.0.0", show_default=True, help="Address that it listens on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8443, show_default=True, help="Port for HTTPS; 0 for any."
)
@click.option(
    "--admin",
    envvar="ARGOSY_ADMIN",
    default="0.0.0.0:7777",
    show_default=True,
    metavar="HOST:PORT",
    help="Address of /healthz, /readyz and /metrics; 'off' for none.",
)
@click.option(
    "--judges",
    type=click.IntRange(1, 32),
    default=2,
    show_default=True,
    help="How many processes judge objects, one object each at a time.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(0.1, 25),
    default=5.0,
    show_default=True,
    help="How long judging one object may take; then it is refused.",
)
@click.option(
    "--grace",
    type=click.FloatRange(0),
    default=10.0,
    show_default=True,
    help="Seconds that questions under way get on SIGTERM.",
)
@log_format
@log_level
def admission(
    namespaced: bool,
    managed: tuple[str, ...],
    namespace: str,
    mode: str,
    service: str,
    host_names: tuple[str, ...],
    configuration: str,
    folder: Path | None,
    certificate_days: float,
    authority_days: float,
    host: str,
    port: int,
    admin: str,
    judges: int,
    seconds: float,
    grace: float,
    log_format: str,
    log_level: str,
) -> None:
    """Judge EventSources, EventBuses and Sensors before the API server stores them.

    What argosy lint calls an error is refused, what it calls a warning is shown by kubectl. An object that names what is not
    there yet is admitted with a warning, so the order in which objects are applied does not matter.

    It is called by the API server, over HTTPS, as a ValidatingWebhookConfiguration says; argosy install prints all that it needs. Its
    certificate is made and renewed by itself.

    \b
    Examples:
      argosy admission
      argosy admission --namespaced --managed-namespace orders --managed-namespace billing
      argosy admission --cert-dir /etc/argosy/certificate

    SIGTERM drains: what was asked is answered. A second one cancels.
    Exit codes: 0 drained, 1 could not run, 2 the call was wrong, 130 cancelled.
    """
    from argosy.kubernetes.admission.process import Options, Process

    if managed and not namespaced:
        raise click.UsageError("--managed-namespace goes with --namespaced.")
    options = Options(
        namespace=namespace,
        watched=tuple(dict.fromkeys(managed or (namespace,))) if namespaced else (),
        mode=cast(Literal["dedicated", "shared"], mode),
        host=host,
        port=port,
        admin=admin,
        service=service,
        host_names=host_names,
        configuration=configuration,
        folder=folder,
        certificate_days=certificate_days,
        authority_days=authority_days,
        judges=judges,
        seconds=seconds,
        grace_seconds=grace,
    )

    async def main() -> int:
        return await Process(options).run()

    run_to_the_end("admission", main, log_format, log_level)
