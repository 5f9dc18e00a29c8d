"""The HTTP client of the ``http`` source: one request and its answer, within bounds of time, size and place.

A server may stall, send without end, pack a large answer small, or send us elsewhere. So an answer has its time as a
whole, is counted while it is read, is asked for unpacked, and leads to another origin only if the manifest names it;
what is secret never goes there. Sentences show a URL without user, query and fragment, and nothing of an answer.
"""

from __future__ import annotations

import asyncio
import http.cookiejar
import ssl
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from argosy import __version__
from argosy.connecting import Connecting, mounts
from argosy.errors import ExtraMissing, SourceError

if TYPE_CHECKING:
    import httpx2

_MOST_REDIRECTS = 10


@dataclass(frozen=True)
class Call:
    """One request. ``private`` are the headers that only the URL's own origin may see."""

    method: str
    url: str
    headers: Mapping[str, str]
    private: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = b""


@dataclass(frozen=True)
class Answer:
    """What came back. ``headers`` by lower-case names, the first value of each; ``next`` is the link of that name."""

    status: int
    url: str
    headers: Mapping[str, str]
    body: bytes
    next: str = ""


@dataclass(frozen=True)
class Bounds:
    """What an answer may take: ``seconds`` as a whole, ``size`` in bytes, and ``origins`` beside the URL's own."""

    seconds: float
    size: int
    redirects: bool
    origins: Collection[str]


class PollClient:
    """An async context manager."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        try:
            import httpx2
        except ImportError as error:
            raise ExtraMissing("'http'", "http") from error

        limits = httpx2.Limits(max_connections=4, max_keepalive_connections=1, keepalive_expiry=60.0)
        self._client = httpx2.AsyncClient(
            verify=tls,
            timeout=None,
            limits=limits,
            mounts=mounts(verify=tls, limits=limits),
            headers={"User-Agent": f"argosy/{__version__}", "Accept": "*/*", "Accept-Encoding": "identity"},
        )
        self._client.cookies.jar.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._client.aclose()

    async def ask(self, call: Call, bounds: Bounds, home: str) -> Answer:
        """The answer to ``call``. ``home`` is a URL of the manifest's origin. Raises SourceError with the reason."""
        import httpx2

        what = f"{call.method} {shown(call.url)}"
        try:
            async with asyncio.timeout(bounds.seconds):
                return await self._ask(call, bounds, home, what)
        except TimeoutError as error:
            raise SourceError(f"{what}: no whole answer within {bounds.seconds:g} s") from error
        except httpx2.LocalProtocolError:
            # Its words quote the header that is not allowed, and that header may be a secret.
            raise SourceError(f"{what}: a header cannot be sent over HTTP; has a secret a line break?") from None
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            raise SourceError(f"{what}: {_why(error)}") from error

    async def _ask(self, call: Call, bounds: Bounds, home: str, what: str) -> Answer:
        import httpx2

        request = self._client.build_request(call.method, call.url, headers={**call.headers}, content=call.body or None)
        for _ in range(_MOST_REDIRECTS + 1):
            _permit(request.url, httpx2.URL(home), bounds, what)
            for name, value in call.private.items():
                # Written anew for each hop: the library takes some of them away, and keeps others.
                request.headers.pop(name, None)
                if origin(request.url) == origin(httpx2.URL(home)):
                    request.headers[name] = value
            request.extensions = {**request.extensions, "trace": Connecting()}
            response = await self._client.send(request, stream=True, follow_redirects=False)
            try:
                following = response.next_request
                if following is None:
                    return await _read(response, bounds.size, what)
            finally:
                await response.aclose()
            if not bounds.redirects:
                raise SourceError(f"{what} is sent elsewhere, which 'redirects: refuse' forbids")
            request = following
        raise SourceError(f"{what} ends more than {_MOST_REDIRECTS} redirects; it leads nowhere")


def origin(url: httpx2.URL) -> str:
    """Scheme, host and port, as they stand in a manifest's list of origins."""
    port = f":{url.port}" if url.port else ""
    return f"{url.scheme}://{f'[{url.host}]' if ':' in url.host else url.host}{port}"


def shown(url: str) -> str:
    """The URL as it may be shown."""
    import httpx2

    try:
        return str(httpx2.URL(url).copy_with(username=None, password=None, query=None, fragment=None))
    except httpx2.InvalidURL:
        return "the URL"


def joined(base: str, text: str) -> str:
    """Where a link that stands in the answer of ``base`` leads. Raises SourceError where it is none."""
    import httpx2

    try:
        return str(httpx2.URL(base).join(text))
    except httpx2.InvalidURL as error:
        raise SourceError(f"the answer of {shown(base)} names a next page that is no URL") from error


def with_query(url: str, values: Mapping[str, str]) -> str:
    """The URL with these query parameters, in place of those of the same names."""
    import httpx2

    found = httpx2.URL(url)
    return str(found.copy_merge_params(values)) if values else str(found)


def _permit(url: httpx2.URL, home: httpx2.URL, bounds: Bounds, what: str) -> None:
    if url.scheme not in ("http", "https") or not url.host:
        raise SourceError(f"{what} leads to no http or https URL")
    if origin(url) != origin(home) and origin(url) not in bounds.origins:
        raise SourceError(f"{what} leads to {origin(url)!r}; add it to 'origins' if it may")


async def _read(response: httpx2.Response, limit: int, what: str) -> Answer:
    headers: dict[str, str] = {}
    for name, value in response.headers.multi_items():
        headers.setdefault(name.lower(), value)
    if headers.get("content-encoding", "identity").lower() not in ("", "identity"):
        raise SourceError(f"{what} answers with a packed body, for which nobody asked")
    body = bytearray()
    async for piece in response.aiter_raw():
        body += piece
        if len(body) > limit:
            raise SourceError(f"{what} answers with more than maxResponseSize, {limit} bytes")
    link = response.links.get("next", {}).get("url", "")
    return Answer(response.status_code, str(response.url), headers, bytes(body), link)


def _why(error: Exception) -> str:
    import httpx2

    cause = error.__cause__ or error.__context__ or error
    while (deeper := cause.__cause__ or cause.__context__) is not None:
        cause = deeper
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"the certificate is not trusted: {cause.verify_message}; check tls.caCertSecret"
    if isinstance(error, httpx2.ConnectError):
        return f"cannot be reached ({cause.strerror if isinstance(cause, OSError) else error})"
    if isinstance(error, httpx2.RemoteProtocolError | httpx2.ReadError):
        return "the answer broke off, or is no HTTP"
    return type(error).__name__
