"""What the commands that run until SIGTERM have in common: how loud their log is, and how they begin and end."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import NoReturn

import click

_LEVELS = {"debug": "debug", "info": "info", "warn": "warning", "warning": "warning", "error": "error"}


def _level(ctx: click.Context, option: click.Parameter, value: str) -> str:
    """The level that a word names. Upstream takes any other word for info, and a pod must not fail for the loudness of its log."""
    return _LEVELS.get(value.lower(), "info")


log_format = click.option(
    "--log-format",
    type=click.Choice(["auto", "text", "json"]),
    default="auto",
    show_default=True,
    envvar="ARGOSY_LOG_FORMAT",
    show_envvar=True,
    help="auto: text on a terminal, else JSON.",
)
log_level = click.option(
    "--log-level",
    default="info",
    show_default=True,
    envvar="LOG_LEVEL",
    show_envvar=True,
    callback=_level,
    metavar="LEVEL",
    help="debug, info, warn or error.",
)
"""Of what runs in pods."""


def run_to_the_end(name: str, main: Callable[[], Awaitable[int]], format: str, level: str) -> NoReturn:
    """Run the command until it has drained, and exit with the code that it gives. An error that has a name is said in one line, and the code
    is 1.
    """
    import uvloop

    from argosy.errors import ArgosyError
    from argosy.runtime import garbage, logs

    logs.configure(format, level)
    garbage.collect_rarely()

    async def run() -> int:
        return await main()

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            code = runner.run(run())
    except ArgosyError as error:
        click.echo(f"argosy {name}: {error}", err=True)
        code = 1
    sys.exit(code)
