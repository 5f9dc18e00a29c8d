"""``argosy demo``: the quickstart played by itself, one act after the other, with what happened under each."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import sys
import tempfile
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click


@click.command()
@click.option("--pause", type=click.FloatRange(0), default=0.5, show_default=True, help="Seconds between the acts.")
def demo(pause: float) -> None:
    """Play the quickstart by itself, explained.

    Starts the manifests of examples/quickstart on an embedded bus in a folder that is removed afterwards, on free ports; sends what a
    person would send with curl, shows what Argosy says to it, and ends.

    \b
    Exit codes: 0 everything happened as told, 1 something did not.
    """
    from argosy.errors import ArgosyError
    from argosy.runtime import logs

    logs.configure("text", "info", sys.stdout)
    try:
        with tempfile.TemporaryDirectory(prefix="argosy-demo-") as folder:
            complaint = asyncio.run(_Tour(Path(folder), pause).play())
    except ArgosyError as error:
        complaint = str(error)
    if complaint:
        click.echo(f"argosy demo: {complaint}", err=True)
        sys.exit(1)
    click.echo("\nThat was all. Your turn: argosy run examples/quickstart")


class _Watch(logging.Handler):
    """Wakes who waits for a sentence of the story."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.changed = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append(record.getMessage())
        self.changed.set()

    async def wait_for(self, *words: str) -> bool:
        """Whether a sentence with all these words was said, now or within twenty seconds."""
        try:
            async with asyncio.timeout(20):
                while not any(all(word in line for word in words) for line in self.seen):
                    self.changed.clear()
                    await self.changed.wait()
        except TimeoutError:
            return False
        return True


class _Tour:
    def __init__(self, folder: Path, pause: float) -> None:
        self.folder = folder
        self.pause = pause
        self.inbox = folder / "inbox"
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.port: int = server.getsockname()[1]

    def manifests(self) -> str:
        """A copy of the quickstart's manifests on our port and folder."""
        import yaml

        import argosy.quickstart

        documents: list[dict[str, Any]] = []
        for path in sorted(Path(argosy.quickstart.__file__).parent.glob("*.yaml")):
            if not path.name.endswith(".test.yaml"):
                documents += yaml.safe_load_all(path.read_text())
        for document in documents:
            spec = document["spec"]
            for event in spec.get("webhook", {}).values():
                event["port"] = str(self.port)
            for event in spec.get("file", {}).values():
                event["watchPathConfig"]["directory"] = str(self.inbox)
            for trigger in spec.get("triggers", ()):
                if "http" in trigger["template"]:
                    trigger["template"]["http"]["url"] = f"http://127.0.0.1:{self.port}/inbox"
        path = self.folder / "manifests.yaml"
        path.write_text(yaml.safe_dump_all(documents))
        return str(path)

    async def play(self) -> str:
        """The acts; returns what did not happen, or nothing."""
        from argosy.runtime.feeds import Files
        from argosy.runtime.process import Options, Process

        self.inbox.mkdir()
        watch = _Watch()
        logging.getLogger("argosy").addHandler(watch)
        options = Options(data=self.folder / "data", host="127.0.0.1", grace_seconds=5.0)
        process = Process(options, Files((self.manifests(),), follow=False))
        running = asyncio.create_task(process.run())
        try:
            for source in ("web/hello", "web/order", "web/payment", "web/inbox", "folder/new-file"):
                if not await watch.wait_for(f"'{source}'", "receives"):
                    return f"source '{source}' did not start"
            for title, act, words in self.acts():
                click.echo(f"\n--- {title}")
                await asyncio.to_thread(act)
                if not await watch.wait_for(*words):
                    return f"this did not happen: {title}"
                await asyncio.sleep(self.pause)
            click.echo("\n--- The end: SIGTERM would do the same")
        finally:
            process.stop()
            await running
            logging.getLogger("argosy").removeHandler(watch)
        return ""

    def acts(self) -> list[tuple[str, Callable[[], object], tuple[str, ...]]]:
        """Title, what is done, and the words that must then be said."""
        return [
            (
                "A request whose name is made of letters passes the filter",
                lambda: self.post("hello", {"name": "Ada"}),
                ("'say-hello'", "did action"),
            ),
            (
                "A request whose name is not does nothing, and the log says why",
                lambda: self.post("hello", {"name": "R2-D2"}),
                ("'greet'", "does nothing", "R2-D2"),
            ),
            (
                "An order alone waits for its payment",
                lambda: self.post("order", {"item": "a compass"}),
                ("'shop'", "until 'payment' comes"),
            ),
            (
                "The payment completes the condition, and a Python function runs",
                lambda: self.post("payment", {"amount": 12}),
                ("'ship'", "did action", "shipped a compass"),
            ),
            (
                "A new file is announced by an HTTP request, which is an event again",
                lambda: (self.inbox / "letter.txt").write_text("ahoy"),
                ("'file-seen'", "did action"),
            ),
        ]

    def post(self, path: str, body: dict[str, Any]) -> None:
        """What curl would do."""
        url, text = f"http://127.0.0.1:{self.port}/{path}", json.dumps(body)
        click.echo(f"$ curl -H 'Content-Type: application/json' -d '{text}' {url}")
        request = urllib.request.Request(url, text.encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            click.echo(f"{answer.status} {answer.read().decode()}")
