"""A real Azurite: Microsoft's emulator of Azure Storage queues, with an account whose key can change, by HTTP or by HTTPS
with tokens.
"""

from __future__ import annotations

import base64
import datetime as dt
import email.utils
import hashlib
import hmac
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit
from xml.sax.saxutils import escape

import httpx2

from tests.brokers.sources.server import Server, built
from tests.kubernetes import certificates

ACCOUNT = "argosytest"
KEY = base64.b64encode(b"a key of nobody, sixty-four bytes long, as those of Azure are...").decode()
HOST = f"{ACCOUNT}.queue.core.windows.net"


class Azurite(Server):
    """One emulator. With ``by_https`` it listens there, for tokens and keys alike."""

    def __init__(self, folder: Path, *, by_https: bool = False) -> None:
        super().__init__(folder)
        self.key = KEY
        self.by_https = by_https

    def ports(self) -> list[int]:
        return [self.port]

    def command(self) -> list[str]:
        program = built("azurite")
        secured = []
        if self.by_https:
            certificates.server(self.folder, "azure", f"DNS:{HOST}")
            secured = ["--oauth", "basic", "--cert", f"{self.folder}/azure.crt", "--key", f"{self.folder}/azure.key"]
        return [
            "env", f"AZURITE_ACCOUNTS={ACCOUNT}:{self.key}", "node", program,
            "--queueHost", "127.0.0.1", "--queuePort", str(self.port), "--location", str(self.folder),
            "--silent", "--disableTelemetry", *secured,
        ]  # fmt: skip

    def set_password(self, password: str) -> None:
        self.key = password

    @property
    def connection_string(self) -> str:
        """As the portal shows it, with the endpoint that is here."""
        return (
            f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={self.key};"
            f"QueueEndpoint=http://127.0.0.1:{self.port}/{ACCOUNT};"
        )

    @property
    def scheme(self) -> str:
        """``http`` or ``https``."""
        return "https" if self.by_https else "http"

    def saved(self, text: str) -> bool:
        """Whether the emulator's file has it, so that it outlives a kill."""
        file = self.folder / "__azurite_db_queue__.json"
        return file.exists() and text in file.read_text(errors="replace")


class QueueClient:
    """Puts messages into one queue and looks at it: an async context manager. Signs for itself."""

    def __init__(self, server: Azurite, queue: str) -> None:
        self._server = server
        self._queue = queue

    async def __aenter__(self) -> Self:
        self._client = httpx2.AsyncClient(timeout=20.0, trust_env=False, verify=False)
        await self.call("PUT", "")
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._client.aclose()

    async def put(self, text: str) -> str:
        """Put a message; its id."""
        body = f"<QueueMessage><MessageText>{escape(text)}</MessageText></QueueMessage>".encode()
        answer = await self.call("POST", "/messages", body=body)
        return answer.text.split("<MessageId>")[1].split("<")[0]

    async def count(self) -> int:
        """How many messages there are, those that are invisible included."""
        answer = await self.call("GET", "", {"comp": "metadata"})
        return int(answer.headers["x-ms-approximate-messages-count"])

    async def peek(self) -> str:
        """The messages that anybody could take now, as XML."""
        return (await self.call("GET", "/messages", {"peekonly": "true", "numofmessages": "32"})).text

    async def call(
        self, method: str, path: str, query: dict[str, str] | None = None, body: bytes = b""
    ) -> httpx2.Response:
        """One signed call."""
        query = query or {}
        url = f"{self._server.scheme}://127.0.0.1:{self._server.port}/{ACCOUNT}/{self._queue}{path}"
        headers: dict[str, Any] = {
            "x-ms-date": email.utils.format_datetime(dt.datetime.now(dt.UTC), usegmt=True),
            "x-ms-version": "2021-12-02",
        }
        if body:
            headers["Content-Type"] = "application/xml"
        resource = f"/{ACCOUNT}{urlsplit(url).path}" + "".join(f"\n{name}:{query[name]}" for name in sorted(query))
        ours = "".join(f"{name}:{headers[name]}\n" for name in ("x-ms-date", "x-ms-version"))
        lines = ["", "", str(len(body)) if body else "", "", headers.get("Content-Type", ""), "", "", "", "", "", ""]
        text = f"{method}\n" + "\n".join(lines) + f"\n{ours}{resource}"
        key = base64.b64decode(self._server.key)
        signature = base64.b64encode(hmac.digest(key, text.encode(), hashlib.sha256)).decode()
        headers["Authorization"] = f"SharedKey {ACCOUNT}:{signature}"
        answer = await self._client.request(method, url, params=query, headers=headers, content=body)
        answer.raise_for_status()
        return answer
