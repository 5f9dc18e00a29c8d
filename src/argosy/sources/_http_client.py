"""The HTTP client by which kinds call the API of a service: TLS, time-outs, and ``--resolve``."""

from __future__ import annotations

import logging
import ssl
from typing import TYPE_CHECKING, Any, Self

from argosy.connecting import Connecting, mounts
from argosy.errors import ExtraMissing

if TYPE_CHECKING:
    import httpx2

_CALL_SECONDS = 30.0


class HttpClient:
    """An async context manager. ``what`` wants it, as it stands in ExtraMissing where the library is not there."""

    def __init__(self, what: str, tls: ssl.SSLContext | None = None) -> None:
        try:
            import httpx2
        except ImportError as error:
            raise ExtraMissing(what, "http") from error

        # It writes every URL down, and that of a shared access signature is one.
        logging.getLogger("httpx2").setLevel(logging.WARNING)
        verify = tls or ssl.create_default_context()
        self._client = httpx2.AsyncClient(timeout=_CALL_SECONDS, verify=verify, mounts=mounts(verify=verify))

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._client.aclose()

    async def _answer(self, method: str, url: str, **parts: Any) -> httpx2.Response:
        """One request, whose ``parts`` are the library's. Raises the library's exceptions, and OSError."""
        request = self._client.build_request(method, url, extensions={"trace": Connecting()}, **parts)
        return await self._client.send(request)
