"""The HTTP APIs of services, as far as registering webhooks needs them: calls, lists in pages, quotas.

Credentials go to the API of the manifest and nowhere else, whatever links an answer holds; no sentence holds them.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from argosy import retry_after
from argosy.errors import SourceError
from argosy.sources._http_client import HttpClient

if TYPE_CHECKING:
    import httpx2

Headers = Callable[[], Awaitable[Mapping[str, str]]]


class ApiError(SourceError):
    """A service answered with a status that is no success. ``wait_seconds``: how long it wants to be left alone."""

    def __init__(self, message: str, status: int, wait_seconds: float = 0.0) -> None:
        super().__init__(message)
        self.status = status
        self.wait_seconds = wait_seconds


class Api(HttpClient):
    """The HTTP API of a service: an async context manager. ``headers`` yields the credentials, for each call;
    what is sent is JSON, or a form.
    """

    def __init__(self, base: str, headers: Headers, tls: ssl.SSLContext | None = None, *, form: bool = False) -> None:
        super().__init__("registering webhooks", tls)
        self._base = base.rstrip("/") + "/"
        self._headers = headers
        self._form = form

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        """What the service answers, as a JSON value. Raises SourceError, or ApiError with the status."""
        return _json(await self._send(method, path, body), f"{method} {path}")

    async def linked_pages(self, path: str) -> AsyncIterator[Any]:
        """The items of a list whose pages are linked by the ``Link`` header (GitHub, GitLab)."""
        following = f"{path}?per_page=100"
        while following:
            response = await self._send("GET", following, None)
            for item in _json(response, f"GET {path}") or []:
                yield item
            following = self._own(response.links.get("next", {}).get("url", ""))

    async def numbered_pages(self, path: str) -> AsyncIterator[Any]:
        """The items of a list that comes in ``values`` with ``nextPageStart`` (Bitbucket Server)."""
        start = 0
        while True:
            page = await self.call("GET", f"{path}?limit=500&start={start}")
            for item in page.get("values", []):
                yield item
            if page.get("isLastPage", True) or not isinstance(page.get("nextPageStart"), int):
                return
            start = page["nextPageStart"]

    async def next_pages(self, path: str) -> AsyncIterator[Any]:
        """The items of a list that comes in ``values`` with the URL of the ``next`` page (Bitbucket Cloud)."""
        following = f"{path}?pagelen=100"
        while following:
            page = await self.call("GET", following)
            for item in page.get("values", []):
                yield item
            following = self._own(page.get("next", ""))

    def _own(self, url: str) -> str:
        """A URL that the service gave, if it leads to the service itself: credentials go nowhere else."""
        return url if url.startswith(self._base) else ""

    async def _send(self, method: str, path: str, body: Any) -> httpx2.Response:
        import httpx2

        url = path if path.startswith(self._base) else self._base + path
        what = f"{method} {urlsplit(url)._replace(query='').geturl()}"
        headers = {"Accept": "application/json", "User-Agent": "argosy", **await self._headers()}
        try:
            response = await self._answer(method, url, headers=headers, **{"data" if self._form else "json": body})
        except httpx2.LocalProtocolError:
            # Its words quote the header that cannot be sent, and that is the token.
            raise SourceError(f"{what}: the access token cannot be sent as a header") from None
        except (httpx2.InvalidURL, httpx2.UnsupportedProtocol) as error:
            raise SourceError(f"{what}: this is no http or https URL") from error
        except (httpx2.HTTPError, OSError) as error:
            raise SourceError(f"{what}: {error or type(error).__name__}") from error
        if response.is_success:
            return response
        raise ApiError(f"{what} answered {response.status_code}", response.status_code, _quota(response))


def _json(response: httpx2.Response, what: str) -> Any:
    if not response.content:
        return None
    try:
        return response.json()
    except ValueError as error:
        raise SourceError(f"{what} answered with something that is no JSON") from error


def _quota(response: httpx2.Response) -> float:
    """Seconds that the service asks to be left alone."""
    if response.status_code not in (403, 429, 503):
        return 0.0
    if (wait := retry_after.seconds(response.headers.get("retry-after"))) is not None:
        return wait
    reset = response.headers.get("x-ratelimit-reset", response.headers.get("ratelimit-reset", ""))
    left = response.headers.get("x-ratelimit-remaining", response.headers.get("ratelimit-remaining", ""))
    if left == "0" and reset.isdigit():
        return max(0.0, int(reset) - time.time())
    # GitHub asks for a minute where it says in words alone that a limit is passed.
    limited = response.status_code == 429 or (response.status_code == 403 and "rate limit" in response.text.lower())
    return 60.0 if limited else 0.0
