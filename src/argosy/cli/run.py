"""``argosy run``: one process that does everything."""

from __future__ import annotations

from pathlib import Path

import click

from argosy.cli._process import log_format, run_to_the_end


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option(
    "--bus",
    default="embedded",
    show_default=True,
    metavar="BUS",
    help="'embedded' (a NATS JetStream server as a child process), 'memory' (forgets all at the end), or nats://[USER:PASSWORD@]HOST:PORT, "
    "with ?creds=FILE, ?nkey=FILE, ?ca=FILE, ?cert=FILE&key=FILE where the server wants them.",
)
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".argosy"),
    show_default=True,
    help="Folder of the embedded bus: events, actions, join states.",
)
@click.option(
    "--secrets",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with NAMESPACE/SECRET/KEY or SECRET/KEY files. Secret manifests come first, ARGOSY_SECRET_<SECRET>_<KEY> last.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    metavar="N",
    help="Processes that share the sources and sensors; a core each. Events of one port stay together.",
)
@click.option(
    "--resolve",
    multiple=True,
    envvar="ARGOSY_RESOLVE",
    metavar="HOST:PORT=HOST:PORT",
    help="Connect to the second address where a manifest names the first, as with 'kubectl port-forward'. May be repeated.",
)
@click.option("--host", default="0.0.0.0", show_default=True, help="Address that webhooks listen on.")
@click.option(
    "--admin",
    default="127.0.0.1:7777",
    show_default=True,
    metavar="HOST:PORT",
    help="Address of /healthz, /readyz and /metrics; 'off' for none.",
)
@click.option(
    "--reload/--no-reload", default=True, show_default=True, help="Follow changes of the files while running."
)
@click.option(
    "--grace",
    type=click.FloatRange(0),
    default=20.0,
    show_default=True,
    help="Seconds that work under way gets on SIGTERM.",
)
@click.option(
    "--durability",
    type=click.Choice(["process", "power"]),
    default="process",
    show_default=True,
    help="What the embedded bus survives: the death of any process, or also a power cut (4 to 6 times slower).",
)
@log_format
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True
)
def run(
    paths: tuple[str, ...],
    bus: str,
    data: Path,
    secrets: Path | None,
    workers: int,
    resolve: tuple[str, ...],
    host: str,
    admin: str,
    reload: bool,
    grace: float,
    durability: str,
    log_format: str,
    log_level: str,
) -> None:
    """Run the event sources and sensors of manifests.

    PATH is a manifest file, a folder (read with its sub-folders), or - for standard input. EventBus manifests choose the bus settings;
    objects of other kinds are ignored, except Secrets and ConfigMaps, which the others refer to. An object with an error
    is named and left out; the others run.

    \b
    Examples:
      argosy run examples/quickstart
      argosy run manifests/ --secrets ./secrets --bus nats://127.0.0.1:4222
      kubectl get es,sn,eb -o yaml | argosy run - --no-reload --bus memory

    SIGTERM or Ctrl-C drains: receive nothing new, finish what is under way, keep the rest on the bus. A second one cancels.
    Exit codes: 0 drained, 1 could not run, 2 the call was wrong, 130 cancelled.
    """
    from argosy import connecting
    from argosy.runtime.feeds import Files
    from argosy.runtime.process import Options, Process

    options = Options(
        bus=bus,
        data=data,
        secrets=secrets,
        workers=workers,
        host=host,
        admin=admin,
        grace_seconds=grace,
        durability=durability,
        log_format=log_format,
        log_level=log_level,
    )

    async def main() -> int:
        connecting.resolve(resolve)
        return await Process(options, Files(paths, follow=reload and "-" not in paths)).run()

    run_to_the_end("run", main, log_format, log_level)
