"""How nats-py is imported and set up: the one place that knows its options."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from argosy.bus._jetstream_settings import Connection

_PING_SECONDS = 4.0


def new_client() -> Any:
    """A client of nats-py, not yet connected."""
    # nats-py imports aiohttp where it is merely installed (10 MB, 400 ms); only its websocket transport needs
    # it.
    hidden = "aiohttp" not in sys.modules
    if hidden:
        sys.modules["aiohttp"] = None  # type: ignore[assignment]
    try:
        return importlib.import_module("nats.aio.client").Client()
    finally:
        if hidden:
            del sys.modules["aiohttp"]


def options(given: Connection) -> dict[str, Any]:
    """What ``connect`` is given beside the address and the callbacks."""
    found: dict[str, Any] = {
        "allow_reconnect": False,
        "max_reconnect_attempts": 1,
        "reconnect_time_wait": 0.02,
        "connect_timeout": 3,
        "ping_interval": _PING_SECONDS,
        "max_outstanding_pings": 2,
        # Above this, nats-py blocks where it swallows cancellation; our windows bound what is under way.
        "pending_size": 256 * 1024 * 1024,
    }
    if given.tls:
        found["tls"] = given.tls
    if given.tls_hostname:
        found["tls_hostname"] = given.tls_hostname
    if given.user:
        found |= {"user": given.user, "password": given.password}
    elif given.token:
        found["token"] = given.token
    elif given.credentials:
        text = given.credentials
        if isinstance(text, str) and "BEGIN NATS USER JWT" in text:
            text = importlib.import_module("nats.aio.client").RawCredentials(text)
        found["user_credentials"] = str(text) if isinstance(text, Path) else text
    return found
