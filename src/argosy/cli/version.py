"""``argosy version``: what runs here, for bug reports."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import click

_LIBRARIES = (
    "pydantic",
    "msgspec",
    "orjson",
    "PyYAML",
    "nats-py",
    "uvicorn",
    "uvloop",
    "jq",
    "lupa",
    "google-re2",
)


@click.command()
@click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How to say it.",
)
def version(output: str) -> None:
    """Print the version of Argosy and of what it stands on.

    \b
    Examples:
      argosy version
      argosy version -o json

    Exit codes: 0 done, 2 the call itself was wrong.
    """
    from argosy import __version__

    found = {
        "argosy": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "nats-server": _nats_server(),
        **{name: _installed(name) for name in _LIBRARIES},
    }
    if output == "json":
        click.echo(json.dumps(found, indent=2))
        return
    width = max(map(len, found))
    for name, text in found.items():
        click.echo(f"{name:<{width}}  {text}")


def _installed(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _nats_server() -> str:
    """The version and place of the server that the embedded bus would start."""
    beside = Path(sys.executable).with_name("nats-server")
    binary = shutil.which("nats-server") or (str(beside) if beside.exists() else "")
    if not binary:
        return "not installed"
    try:
        answer = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return f"cannot be started: {error} ({binary})"
    return f"{answer.stdout.strip().rpartition('v')[2]} ({binary})"
