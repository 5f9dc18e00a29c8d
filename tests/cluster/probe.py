"""A probe of a container, really asked: over HTTP, by a connection, or by a command inside.

Until it has succeeded for the first time it is asked every half second where its period is longer, so that tests need not wait.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from tests.cluster.container import Container

_IMPATIENT_SECONDS = 0.5
_ASK = urllib.request.build_opener(
    urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=ssl._create_unverified_context())
)


class Probe:
    """One probe of a container, and what it has found so far."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self.spec = spec
        self.passing: bool | None = None
        self._last: bool | None = None
        self._streak = 0
        self._due = 0.0

    def ask(self, container: Container, address: str) -> None:
        """Ask if it is due; ``passing`` says what holds then."""
        now = time.monotonic()
        if now < max(self._due, container.started_at + self.spec.get("initialDelaySeconds", 0)):
            return
        good = self._good(container, address)
        self._streak = self._streak + 1 if good is self._last else 1
        self._last = good
        if self._streak >= (self.spec.get("successThreshold", 1) if good else self.spec.get("failureThreshold", 3)):
            self.passing = good
        period = float(self.spec.get("periodSeconds", 10))
        self._due = time.monotonic() + (period if self.passing is not None else min(period, _IMPATIENT_SECONDS))

    def _good(self, container: Container, address: str) -> bool:
        seconds = float(self.spec.get("timeoutSeconds", 1))
        if "exec" in self.spec:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return container.run(self.spec["exec"]["command"], seconds) == 0
            return False
        kind = "httpGet" if "httpGet" in self.spec else "tcpSocket"
        about = self.spec[kind]
        port = about["port"]
        if isinstance(port, str):
            port = next(each["containerPort"] for each in container.spec["ports"] if each.get("name") == port)
        host = about.get("host") or address
        try:
            if kind == "tcpSocket":
                socket.create_connection((host, port), timeout=seconds).close()
                return True
            url = f"{about.get('scheme', 'HTTP').lower()}://{host}:{port}/{about.get('path', '/').lstrip('/')}"
            headers = {each["name"]: each["value"] for each in about.get("httpHeaders") or ()}
            with _ASK.open(urllib.request.Request(url, headers=headers), timeout=seconds) as answer:
                return 200 <= answer.status < 400
        except (OSError, urllib.error.HTTPError, http.client.HTTPException):
            return False
