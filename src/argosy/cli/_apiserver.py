"""The API server of a kubeconfig, asked by commands: with the standard library alone, so that they answer fast.

What runs for long has ``argosy.kubernetes.client``. Where the server is and who asks is read by ``argosy.kubernetes.config``, the same for both.
"""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import socket
import ssl
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

from argosy.cli._client import SECONDS, Refused
from argosy.errors import TriggerError
from argosy.kubernetes import config

_PAGE = 500


class Status(Exception):
    """The API server's own refusal. ``code`` is the HTTP status."""

    def __init__(self, code: int, said: str) -> None:
        super().__init__(said)
        self.code = code


class Server:
    """The API server of a context of the kubeconfig, asked with the standard library alone."""

    def __init__(self, context: str = "") -> None:
        """Raises Refused where no kubeconfig says where the server is."""
        try:
            self._access = config.load(context)
        except TriggerError as error:
            raise Refused(str(error)) from None
        self._url = urlsplit(self._access.server)
        self._header: str | None = None
        self._asked = False
        self._lock = threading.Lock()

    @property
    def namespace(self) -> str:
        """The namespace of the context."""
        return self._access.namespace

    def get(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        """The answer to a question for the API server itself. Raises Status, or Refused where it cannot be reached."""
        connection, answer = self.send("GET", path + (f"?{urlencode(query)}" if query else ""), None, {}, SECONDS)
        try:
            raw = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise Refused(f"the Kubernetes API at {self._access.server} broke off its answer") from error
        finally:
            connection.close()
        if answer.status >= 400:
            raise Status(answer.status, said_by_server(raw) or raw[:200].decode(errors="replace"))
        try:
            return json.loads(raw)
        except ValueError:
            raise Refused(f"{self._access.server} is no Kubernetes API ({self._access.origin})") from None

    def items(self, path: str, *, labels: str = "", fields: str = "") -> Iterator[Any]:
        """The objects of a list that the selectors choose, page by page. Raises as ``get``."""
        query = {"limit": str(_PAGE)}
        query |= {word: text for word, text in (("labelSelector", labels), ("fieldSelector", fields)) if text}
        while True:
            page = self.get(path, query)
            yield from page.get("items") or ()
            going_on = (page.get("metadata") or {}).get("continue")
            if not going_on:
                return
            query["continue"] = going_on

    def send(
        self, method: str, target: str, sent: bytes | None, headers: Mapping[str, str], seconds: float
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """One request as the kubeconfig's user; the response is still to be read. Raises Refused where the server cannot be reached."""
        for again in (False, True):
            said = {"Accept": "application/json", **headers}
            if authorization := self._authorization(refused=again):
                said["Authorization"] = authorization
            connection = self._connection(seconds)
            try:
                connection.request(method, self._url.path.rstrip("/") + target, sent, said)
                answer = connection.getresponse()
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                raise Refused(
                    f"the Kubernetes API at {self._access.server} ({self._access.origin}) cannot be reached: {error or type(error).__name__}"
                ) from None
            # It may be the pod that says so, and not the API server; asking it twice does no harm.
            if answer.status != 401 or again:
                return connection, answer
            connection.close()
        raise AssertionError

    def _authorization(self, *, refused: bool) -> str | None:
        with self._lock:
            if refused or not self._asked:
                try:
                    self._header = asyncio.run(self._access.credentials.authorization(refused=refused))
                except TriggerError as error:
                    raise Refused(str(error)) from None
                self._asked = True
            return self._header

    def _proxy_of_environment(self) -> str:
        """What ``HTTPS_PROXY`` and ``NO_PROXY`` say, as for kubectl."""
        found = urllib.request.getproxies_environment()
        if urllib.request.proxy_bypass_environment(self._url.netloc.rpartition("@")[2], found):  # type: ignore[attr-defined]
            return ""
        named = found.get(self._url.scheme) or found.get("all") or ""
        return named if "://" in named or not named else f"http://{named}"

    def _connection(self, seconds: float) -> http.client.HTTPConnection:
        host, port = self._url.hostname or "", self._url.port
        named = self._access.proxy or self._proxy_of_environment()
        proxy = urlsplit(named) if named else None
        if proxy is not None and proxy.scheme != "http":
            raise Refused(
                f"the proxy {proxy.scheme}://{proxy.hostname} on the way to the Kubernetes API is of a kind that this command does not know; use http"
            )
        at = (proxy.hostname or "", proxy.port) if proxy is not None else (host, port)
        made: http.client.HTTPConnection
        if self._url.scheme == "https":
            made = _Tls(at[0], at[1], timeout=seconds, context=self._access.tls)
            made.server_name = self._access.server_name or host
        else:
            made = http.client.HTTPConnection(at[0], at[1], timeout=seconds)
        if proxy is not None:
            headers = {}
            if proxy.username:
                pair = base64.b64encode(f"{proxy.username}:{proxy.password or ''}".encode()).decode()
                headers["Proxy-Authorization"] = f"Basic {pair}"
            made.set_tunnel(host, port, headers)
        return made


class _Tls(http.client.HTTPSConnection):
    """HTTPS where the name in the certificate need not be the host that is connected to (``tls-server-name``)."""

    server_name = ""

    def __init__(self, host: str, port: int | None, *, timeout: float, context: ssl.SSLContext) -> None:
        super().__init__(host, port, timeout=timeout, context=context)
        self._trust = context

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)
        sock: socket.socket = self.sock
        self.sock = self._trust.wrap_socket(sock, server_hostname=self.server_name)


def said_by_server(raw: bytes) -> str | None:
    """What the API server says itself, where it did not pass the question on; None where the answer is somebody else's."""
    try:
        status = json.loads(raw)
    except ValueError:
        return None
    if isinstance(status, dict) and status.get("kind") == "Status" and status.get("apiVersion") == "v1":
        return str(status.get("message") or status.get("reason") or "no reason")
    return None
