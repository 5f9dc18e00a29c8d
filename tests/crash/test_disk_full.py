"""The disk of the bus is full: who sends is told, nothing is acknowledged, and all goes on once there is room."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.brokers.nats_server import NatsServer
from tests.cli.running import Run, free_port, http
from tests.crash.receiver import Receiver

MANIFESTS = """
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata: {{name: web}}
spec:
  webhook:
    in: {{port: "{port}", endpoint: /in}}
---
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {{name: all}}
spec:
  dependencies:
    - {{name: web, eventSourceName: web, eventName: in}}
  triggers:
    - template:
        name: web
        http:
          url: {receiver}/web
          payload: [{{src: {{dependencyName: web, dataKey: body.number, useRawData: true}}, dest: number}}]
"""
_SOON = """
import functools
import argosy.runtime.app as app
app.HttpServers = functools.partial(app.HttpServers, wait_seconds=1.0)
from argosy.cli.main import main
main()
"""
"""An HTTP caller is told after one second instead of ten that the bus does not answer."""
Fill = Callable[[], AbstractContextManager[None]]
"""Leaves no room within the context."""


@pytest.fixture
def limited(tmp_path: Path) -> Iterator[tuple[Run, Fill]]:
    """A server that stands by itself, with a limit for its store."""
    server = NatsServer(tmp_path / "nats")
    roomy = server.config.read_text()

    def limit(megabytes: int) -> None:
        server.config.write_text(roomy.replace("jetstream {", f"jetstream {{ max_file_store: {megabytes}M,"))
        if server.child:
            server.signal(signal.SIGHUP)

    @contextlib.contextmanager
    def fill() -> Iterator[None]:
        yield  # it is soon full
        limit(100)

    limit(4)
    asyncio.run(server.start())
    yield Run(tmp_path, "--bus", server.url), fill
    server.end()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[tuple[Run, Fill]]:
    """The server inside, whose data are on a disk that somebody else fills."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = shutil.which("mount") and not subprocess.call(
        ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)], stderr=subprocess.DEVNULL
    )
    if not mounted:
        pytest.skip("nobody here may mount a small disk")
    foreign = folder / "foreign"

    @contextlib.contextmanager
    def fill() -> Iterator[None]:
        with foreign.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        yield
        foreign.unlink()

    try:
        yield Run(folder), fill
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize("where", ["limited", "small_disk"])
def test_while_the_disk_is_full_nothing_is_acknowledged_and_then_all_goes_on(
    where: str, request: pytest.FixtureRequest
) -> None:
    run, fill = request.getfixturevalue(where)
    run.program = ["-c", _SOON]
    run.log = run.folder.parent / f"{where}.log"
    port = free_port()
    with Receiver() as receiver:
        run.write("all.yaml", MANIFESTS.format(port=port, receiver=receiver.url))

        def post(number: int) -> bool:
            body = json.dumps({"number": number, "padding": os.urandom(200_000).hex()}).encode()
            status, said = http(f"http://127.0.0.1:{port}/in", body)
            assert status == 200 or (status, said) == (503, "the event bus does not answer")
            return status == 200

        def done() -> set[int]:
            return {int(effect.body["number"]) for effect in receiver.at("/web")}

        try:
            # Given a run that works
            run.start()
            run.until_ready()
            accepted = {0} if post(0) else set()
            run.until(lambda: done() == {0})

            # When there is no room, then senders are told so after a wait that ends
            with fill():
                number = 1
                while post(number):
                    accepted.add(number)
                    number += 1
                    assert number < 100
                assert run.get("/healthz")[0] == 200

            # And once there is room again, all goes on by itself, and all that was acknowledged is done
            run.until(lambda: post(1000))
            run.until(lambda: accepted | {1000} <= done())
            assert receiver.faults == []
            assert run.end() == 0
        finally:
            run.end(signal.SIGKILL)
