"""Tests of manifests need no network, no server, no secret, and none of the libraries that sources and triggers need to run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[3] / "examples"

_WITHOUT = """
import socket, sys

LIBRARIES = {"aio_pika", "aiormq", "grpclib", "httpx2", "lightkube", "nats", "pamqp", "uvicorn", "uvloop", "watchfiles"}

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in LIBRARIES:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

def refuse(*arguments):
    raise AssertionError("a test of manifests opened a connection")

sys.meta_path.insert(0, Missing())
socket.socket.connect = socket.socket.bind = refuse

from argosy.cli.main import main

main(sys.argv[1:])
"""


def test_the_examples_pass_where_nothing_but_the_core_is_installed() -> None:
    # Given a process without the libraries of sources and triggers, and without sockets
    command = [sys.executable, "-c", _WITHOUT, "test", str(EXAMPLES)]
    # When the tests of all examples are run in it: AMQP, webhooks, Kubernetes objects, HTTP requests, Python functions
    done = subprocess.run(command, env={}, capture_output=True, text=True, timeout=60)
    # Then they pass
    assert done.returncode == 0, done.stdout + done.stderr
    assert "openstack" in done.stdout and "quickstart" in done.stdout
