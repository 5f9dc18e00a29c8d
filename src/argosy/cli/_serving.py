"""What the commands inside pods have in common: options that the environment sets, and a process that runs until SIGTERM.

Whoever calls them is a Deployment that a controller has written, so they take everything from the environment; the options are for trying
them by hand.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from argosy.cli._process import log_format, log_level, run_to_the_end

if TYPE_CHECKING:
    from argosy.runtime.process import Options

Command = Callable[..., None]

_OPTIONS = (
    click.option(
        "--host",
        default="0.0.0.0",
        show_default=True,
        envvar="ARGOSY_HOST",
        show_envvar=True,
        help="Address that webhooks listen on.",
    ),
    click.option(
        "--admin",
        default="0.0.0.0:7777",
        show_default=True,
        envvar="ARGOSY_ADMIN",
        show_envvar=True,
        metavar="HOST:PORT",
        help="Address of /healthz, /readyz, /metrics and of the API, which asks for the token of ARGOSY_API_TOKEN.",
    ),
    click.option(
        "--resolve",
        multiple=True,
        envvar="ARGOSY_RESOLVE",
        show_envvar=True,
        metavar="HOST:PORT=HOST:PORT",
        help="Connect to the second address where a manifest names the first. May be repeated.",
    ),
    click.option(
        "--grace",
        type=click.FloatRange(0),
        default=20.0,
        show_default=True,
        envvar="ARGOSY_GRACE",
        show_envvar=True,
        help="Seconds that work under way gets on SIGTERM.",
    ),
    log_format,
    log_level,
)


def options(command: Command) -> Command:
    """Give a command the options of a pod."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def serve(name: str, given: Mapping[str, Any], run: Callable[[Options], Awaitable[int]]) -> None:
    """Run what ``run`` makes of these options until SIGTERM, and exit. An error that has a name is said in one line."""
    from argosy import connecting
    from argosy.runtime.buses import DECLARED
    from argosy.runtime.process import Options

    options = Options(
        bus=DECLARED,
        data=None,
        host=given["host"],
        admin=given["admin"],
        grace_seconds=given["grace"],
        log_format=given["log_format"],
        log_level=given["log_level"],
    )

    async def main() -> int:
        connecting.resolve(given["resolve"])
        return await run(options)

    run_to_the_end(name, main, options.log_format, options.log_level)


def serve_object(name: str, kind: Literal["EventSource", "Sensor"], given: Mapping[str, Any]) -> None:
    """Run the one object that the environment holds."""

    async def run(options: Options) -> int:
        from dataclasses import replace

        from argosy.runtime.feeds import Environment
        from argosy.runtime.process import Process
        from argosy.runtime.secrets import Mounts

        feed = Environment(kind, os.environ)
        mounts = Mounts(Path(os.environ.get("ARGOSY_MOUNTS") or "/"), feed.access)
        return await Process(replace(options, mounts=mounts), feed).run()

    serve(name, given, run)
