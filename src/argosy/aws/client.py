"""Calls of AWS's APIs: one HTTP client, signed requests, and failures as sentences.

Three protocols are spoken: the query protocol (SNS, STS: a form, answered in XML), the JSON protocol (SQS), and
REST (Lambda, S3), whose requests a caller builds itself. Nothing is tried again in here: the runtime does that.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, Protocol, Self
from urllib.parse import urlencode, urlsplit

from argosy import retry_after, xml_document
from argosy.aws.signing import Credentials, signature
from argosy.clock import Clock
from argosy.connecting import Connecting, fault, mounts
from argosy.errors import ArgosyError, ExtraMissing

if TYPE_CHECKING:
    import xml.etree.ElementTree as ElementTree

    import httpx2

REGION = r"[a-z0-9]+(-[a-z0-9]+)*"
"""What a region looks like. It becomes part of a host's name, so nothing else may stand there."""
_CALL_SECONDS = 30.0
_CONNECT_SECONDS = 15.0
_LONGEST_ANSWER = 16 * 1024 * 1024
_VERSIONS = {"sns": "2010-03-31", "sts": "2011-06-15"}
# A function may think for 15 minutes, and what is between forgets connections that say nothing for some.
_KEEP_ALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 30),
)
# Their sentences repeat what was signed, which may hold a session token.
_TALKATIVE = re.compile(r"signature", re.IGNORECASE)
_SUFFIXES = (
    ("cn-", "amazonaws.com.cn"),
    ("us-iso-", "c2s.ic.gov"),
    ("us-isob-", "sc2s.sgov.gov"),
    ("", "amazonaws.com"),
)


class AwsError(ArgosyError):
    """A call did not succeed. ``status`` is 0 and ``code`` empty where there was no answer."""

    def __init__(
        self, message: str, *, status: int = 0, code: str = "", wait_seconds: float | None = None, content: bytes = b""
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.wait_seconds = wait_seconds
        """How long the service wants to be left alone, where it says so."""
        self.content = content
        """The answer's body. It may repeat what was signed, so nobody is shown it."""


class Identity(Protocol):
    """Who says whose name a request is signed in."""

    async def get(self) -> Credentials: ...

    def forget(self) -> None:
        """What was remembered has run out."""


class Client:
    """One HTTP client for any number of services: an async context manager. ``what`` wants it, as it stands in
    ExtraMissing where the library is not there. ``direct``: whatever proxies the environment names. ``trace`` watches the
    making of each connection.
    """

    def __init__(
        self,
        what: str,
        clock: Clock,
        *,
        tls: ssl.SSLContext | None = None,
        direct: bool = False,
        trace: Callable[[], Connecting] = Connecting,
    ) -> None:
        try:
            import httpx2
        except ImportError as error:
            raise ExtraMissing(what, "http") from error
        verify = tls or ssl.create_default_context()
        self._clock = clock
        self._trace = trace
        # No redirect is followed: a signature is for one place.
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=32, keepalive_expiry=60.0)
        settings: dict[str, Any] = {"verify": verify, "limits": limits, "socket_options": _KEEP_ALIVE}
        # By a mount and not as the transport, with which a client would not look for proxies.
        plain = {"all://": httpx2.AsyncHTTPTransport(**settings)}
        self._client = httpx2.AsyncClient(mounts=plain | (mounts(**settings) or {}), trust_env=not direct)

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._client.aclose()

    async def query(
        self, service: str, region: str, url: str, action: str, parameters: Mapping[str, str], who: Identity | None
    ) -> ElementTree.Element:
        """A call of the query protocol; the answer's XML, its names without namespaces. Raises AwsError."""
        body = urlencode({"Action": action, "Version": _VERSIONS[service], **parameters}).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
        answer = await self.request(service, region, "POST", url, headers, body, who, action=action)
        return tree(answer.content, action)

    async def json(
        self,
        service: str,
        region: str,
        url: str,
        target: str,
        document: Mapping[str, Any],
        who: Identity,
        *,
        seconds: float = _CALL_SECONDS,
    ) -> dict[str, Any]:
        """A call of the JSON protocol, ``target`` such as ``AmazonSQS.ReceiveMessage``. Raises AwsError."""
        action = target.rpartition(".")[2]
        headers = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": target}
        body = json.dumps(document).encode()
        answer = await self.request(service, region, "POST", url, headers, body, who, action=action, seconds=seconds)
        try:
            found = json.loads(answer.content or b"{}")
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise AwsError(f"{_what(service, action, url)} answered with something that is no JSON object")
        return found

    async def request(
        self,
        service: str,
        region: str,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        who: Identity | None,
        *,
        action: str = "",
        seconds: float = _CALL_SECONDS,
    ) -> httpx2.Response:
        """One request, signed as ``who`` if given; its answer, read. Raises AwsError unless it is a success."""
        import httpx2

        async with self.stream(
            service, region, method, url, headers, body, who, action=action, seconds=seconds
        ) as response:
            content = await _read(response, _what(service, action or method, url))
        return httpx2.Response(response.status_code, headers=_undone(response.headers), content=content)

    @contextlib.asynccontextmanager
    async def stream(
        self,
        service: str,
        region: str,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        who: Identity | None,
        *,
        action: str = "",
        seconds: float = _CALL_SECONDS,
    ) -> AsyncIterator[httpx2.Response]:
        """As ``request``, for an answer that is read piece by piece; ``seconds`` is how long one piece may take. What
        reading raises leaves as AwsError, too.
        """
        import httpx2

        what = _what(service, action or method, url)
        credentials = await who.get() if who is not None else None
        given = dict(headers)
        if credentials is not None:
            given |= signature(method, url, given, body, credentials, region, service, self._clock.now())
        timeout = httpx2.Timeout(seconds, connect=min(seconds, _CONNECT_SECONDS))
        try:
            request = self._client.build_request(
                method, url, headers=given, content=body or None, timeout=timeout,
                extensions={"trace": self._trace()},
            )  # fmt: skip
            response = await self._client.send(request, stream=True)
            try:
                if not response.is_success:
                    content = await _read(response, what)
                    answer = httpx2.Response(response.status_code, headers=_undone(response.headers), content=content)
                    raise _refusal(what, answer, credentials, who)
                yield response
            finally:
                await response.aclose()
        except httpx2.TimeoutException as error:
            raise AwsError(f"{what} failed: no answer in time") from error
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            raise AwsError(f"{what} failed: {fault(error)}") from error


def _what(service: str, action: str, url: str) -> str:
    # S3 is spoken by many others than AWS.
    return f"{'S3' if service == 's3' else 'AWS'} {action} at {urlsplit(url).netloc}"


def _refusal(what: str, answer: httpx2.Response, credentials: Credentials | None, who: Identity | None) -> AwsError:
    code, said = _failure(answer)
    if code.startswith("Expired") and who is not None:
        who.forget()
    told = "" if _TALKATIVE.search(code) else _blotted(said, credentials)
    return AwsError(
        f"{what} answered {answer.status_code} {': '.join(filter(None, (code, told)))}".rstrip(),
        status=answer.status_code,
        code=code,
        wait_seconds=retry_after.seconds(answer.headers.get("Retry-After")),
        content=bytes(answer.content),
    )


def endpoint(service: str, region: str, given: str = "") -> str:
    """The URL of a service, with a slash at its end: ``given`` by the manifest, or by the environment's
    ``AWS_ENDPOINT_URL_<SERVICE>`` or ``AWS_ENDPOINT_URL``, as AWS's own libraries read it; else AWS's own.
    """
    if not given:
        given = os.environ.get(f"AWS_ENDPOINT_URL_{service.upper()}", "") or os.environ.get("AWS_ENDPOINT_URL", "")
    if given:
        return (given if "://" in given else f"https://{given}").rstrip("/") + "/"
    suffix = next(suffix for prefix, suffix in _SUFFIXES if region.startswith(prefix))
    return f"https://{service}.{region}.{suffix}/"


def tree(text: bytes, action: str) -> ElementTree.Element:
    """An answer's XML."""
    try:
        return xml_document.read(text)
    except ValueError as error:
        raise AwsError(f"AWS answered {action} with something that {error}") from error


async def _read(response: httpx2.Response, what: str) -> bytes:
    pieces, length = [], 0
    async for piece in response.aiter_bytes():
        length += len(piece)
        if length > _LONGEST_ANSWER:
            raise AwsError(f"{what} answered with more than {_LONGEST_ANSWER // 2**20} MiB")
        pieces.append(piece)
    return b"".join(pieces)


def _undone(headers: httpx2.Headers) -> list[tuple[str, str]]:
    """The headers without those that told how the body, which is decoded by now, went over the wire."""
    gone: Collection[str] = ("content-encoding", "content-length", "transfer-encoding")
    return [(name, value) for name, value in headers.multi_items() if name.lower() not in gone]


def _failure(answer: httpx2.Response) -> tuple[str, str]:
    """The code and the sentence of an error, in any of the protocols; empty where there is none."""
    code = answer.headers.get("x-amzn-errortype", "").partition(":")[0]
    text = answer.content
    if text.lstrip()[:1] == b"{":
        try:
            found = json.loads(text)
        except ValueError:
            found = {}
        code = code or str(found.get("__type", "")).rpartition("#")[2]
        return code, str(found.get("message") or found.get("Message") or "")
    try:
        xml = tree(text, "")
    except AwsError:
        return code, ""
    return code or xml.findtext(".//Code") or "", xml.findtext(".//Message") or ""


def _blotted(text: str, credentials: Credentials | None) -> str:
    for secret in sorted(filter(None, credentials or ()), key=len, reverse=True):
        text = text.replace(secret, "***")
    return " ".join(text.split())[:500]
