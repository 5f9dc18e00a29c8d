"""What the commands inside pods have in common: options that the environment sets, and a process that runs until SIGTERM.

Whoever calls them is a Deployment that a controller has written, so they take everything from the environment; the options are for trying
them by hand.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

if TYPE_CHECKING:
    from argosy.runtime.process import Options

_LEVELS = {"debug": "debug", "info": "info", "warn": "warning", "warning": "warning", "error": "error"}
Command = Callable[..., None]


def level(ctx: click.Context, option: click.Parameter, value: str) -> str:
    """The level that a word names. Upstream takes any other word for info, and a pod must not fail for the loudness of its log."""
    return _LEVELS.get(value.lower(), "info")


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
    click.option(
        "--log-format",
        type=click.Choice(["auto", "text", "json"]),
        default="auto",
        show_default=True,
        envvar="ARGOSY_LOG_FORMAT",
        show_envvar=True,
        help="auto: text on a terminal, else JSON.",
    ),
    click.option(
        "--log-level",
        default="info",
        show_default=True,
        envvar="LOG_LEVEL",
        show_envvar=True,
        callback=level,
        metavar="LEVEL",
        help="debug, info, warn or error.",
    ),
)


def options(command: Command) -> Command:
    """Give a command the options of a pod."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def serve(name: str, given: Mapping[str, Any], run: Callable[[Options], Any]) -> None:
    """Run what ``run`` makes of these options until SIGTERM, and exit. An error that has a name is said in one line."""
    import uvloop

    from argosy import connecting
    from argosy.errors import ArgosyError
    from argosy.runtime import garbage, logs
    from argosy.runtime.buses import DECLARED
    from argosy.runtime.process import Options

    logs.configure(given["log_format"], given["log_level"])
    options = Options(
        bus=DECLARED,
        data=None,
        host=given["host"],
        admin=given["admin"],
        grace_seconds=given["grace"],
        log_format=given["log_format"],
        log_level=given["log_level"],
    )
    garbage.collect_rarely()
    try:
        connecting.resolve(given["resolve"])
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            code = runner.run(run(options))
    except ArgosyError as error:
        click.echo(f"argosy {name}: {error}", err=True)
        code = 1
    sys.exit(code)


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
