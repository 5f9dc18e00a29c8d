"""A real NATS server for tests: a child on a free port with its store in a folder, killed and restarted at
will.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

from argosy.bus._base import Pair
from argosy.bus._embedded_child import find_binary
from argosy.bus.jetstream import JetStreamBus, QueueSettings, StreamSettings
from tests.cli.running import free_port
from tests.conformance.bus import Store


def spawn(config: Path) -> subprocess.Popen[bytes]:
    """Start a server with this configuration file."""
    return subprocess.Popen([find_binary(), "-c", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class NatsServer:
    """One server. ``extra`` is more text for its configuration file."""

    def __init__(self, folder: Path, *, extra: str = "", jetstream: bool = True) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        self.config = folder / "nats.conf"
        self.log = folder / "nats.log"
        store = f'jetstream {{ store_dir: "{folder / "store"}" }}\n' if jetstream else ""
        self.config.write_text(f'listen: 127.0.0.1:{self.port}\nlog_file: "{self.log}"\n{store}{extra}\n')
        self.child: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Return once the port answers."""
        self.child = spawn(self.config)
        async with asyncio.timeout(30):
            while True:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                    writer.close()
                    await writer.wait_closed()
                    return
                if self.child.poll() is not None:
                    raise RuntimeError(f"the server ended: {self.log.read_text()[-500:]}")
                await asyncio.sleep(0.01)

    def end(self, how: signal.Signals = signal.SIGKILL) -> None:
        """End the child, by default in the hardest way; it is gone on return."""
        if self.child:
            self.child.send_signal(how)
            self.child.wait(30)
            self.child = None

    def signal(self, which: signal.Signals) -> None:
        """Send a signal to the running child. SIGSTOP: every thread of it stands still on return."""
        assert self.child
        if which == signal.SIGSTOP:
            halt(self.child.pid)
        else:
            self.child.send_signal(which)


def halt(pid: int) -> None:
    """Send SIGSTOP to a process of ours, and return once every thread of it stands still."""
    os.kill(pid, signal.SIGSTOP)
    while any(_state(thread) not in "Tt" for thread in Path(f"/proc/{pid}/task").iterdir()):
        time.sleep(0.001)


def _state(thread: Path) -> str:
    return (thread / "stat").read_text().rpartition(")")[2].split()[0]


class NatsCluster:
    """Three servers; an async context manager."""

    def __init__(self, folder: Path) -> None:
        routes = [free_port() for _ in range(3)]
        wanted = ", ".join(f'"nats://127.0.0.1:{port}"' for port in routes)
        self.servers = {
            f"n{number}": NatsServer(
                folder / f"n{number}",
                extra=f"server_name: n{number}\n"
                f'cluster {{ name: test, listen: "127.0.0.1:{port}", routes: [{wanted}] }}',
            )
            for number, port in enumerate(routes)
        }

    @property
    def url(self) -> str:
        """All addresses."""
        return ",".join(server.url for server in self.servers.values())

    async def __aenter__(self) -> NatsCluster:
        await asyncio.gather(*(server.start() for server in self.servers.values()))
        return self

    async def __aexit__(self, *exc: object) -> None:
        for server in self.servers.values():
            server.end()

    async def leader(self, stream: str) -> NatsServer:
        """The server that leads the stream now."""
        client = await connect(self.url.split(","))
        info = await client.jetstream().stream_info(stream)
        await client.close()
        return self.servers[info.cluster.leader]


class JetStreamStore(Store):
    """The bus of one NatsServer."""

    def __init__(self, server: NatsServer, **options: object) -> None:
        self.server = server
        self.options = options

    def handle(self) -> JetStreamBus:
        options: dict[str, object] = {
            "settings": StreamSettings(),
            "queue_settings": QueueSettings(lease_seconds=3),
            "connect_timeout_seconds": 20,
            **self.options,
        }
        return JetStreamBus(self.server.url, **options)  # type: ignore[arg-type]

    async def write_foreign(self, pair: Pair, text: bytes) -> None:
        client = await connect(self.server.url)
        await client.jetstream().publish(f"default.{pair.source}.{pair.event}", text)
        await client.close()

    async def kill(self) -> None:
        self.server.end()

    async def restore(self) -> None:
        await self.server.start()


async def connect(url: str | list[str], **options: object):  # type: ignore[no-untyped-def]
    """A plain nats-py client, the reference for what is on the wire."""
    from nats.aio.client import Client

    client = Client()
    await client.connect(url, allow_reconnect=False, **options)  # type: ignore[arg-type]
    return client
