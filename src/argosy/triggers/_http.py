"""What all HTTP calls of triggers share: where they may go, how redirects are followed, and what a failed
call means.

An address may come out of an event, so a call must not reach what only this machine can reach: link-local
addresses, where clouds keep their credentials. Names and literal addresses are refused before anything is
sent. A name that merely resolves there is caught when the connection stands, before a byte is sent over it;
so it does not matter what a resolver says when. Where a proxy of the environment is used, only names and
literal addresses can be seen: the proxy resolves.
"""

from __future__ import annotations

import contextlib
import ipaddress
import ssl
from collections.abc import AsyncIterator, Collection, Iterator
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Literal, Protocol

from argosy import retry_after
from argosy.connecting import Connecting, fault
from argosy.errors import Rejected, RetryAfter, TriggerError

if TYPE_CHECKING:
    import httpx2

_MOST_REDIRECTS = 10  # as Go's client, which upstream uses
_TRY_AGAIN = frozenset((408, 425, 429))
_METADATA_NAMES = frozenset(
    ("metadata", "metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2.internal")
)
# Metadata services that are not on a link-local address: Alibaba, Azure, AWS and Google over IPv6.
_METADATA_ADDRESSES = frozenset(
    ipaddress.ip_address(text) for text in ("100.100.100.200", "168.63.129.16", "fd00:ec2::254", "fd20:ce::254")
)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


@cache
def trust(verified: bool) -> ssl.SSLContext:
    """The machine's authorities, or none (``verified`` False); one for the process, they are large. Blocks
    on files.
    """
    context = ssl.create_default_context()
    if not verified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def is_link_local(host: str) -> bool:
    """Whether ``host`` (a name or an address) is a link-local address, or one under which clouds serve
    metadata.
    """
    text = host.strip("[]").split("%")[0].rstrip(".").lower()
    if text in _METADATA_NAMES:
        return True
    try:
        address = uncoated(ipaddress.ip_address(text))
    except ValueError:
        return False
    return address.is_link_local or address in _METADATA_ADDRESSES


def uncoated(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The IPv4 address in an IPv6 coat, which leads to the same place; else the address."""
    if not isinstance(address, ipaddress.IPv6Address):
        return address
    inside = address.ipv4_mapped or address.sixtofour
    if inside is None and address in _NAT64:
        inside = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return inside or address


@lru_cache(maxsize=256)
def place(url: str) -> str:
    """The URL as it may be shown: without user, password, query and fragment."""
    import httpx2

    try:
        parsed = httpx2.URL(url)
    except httpx2.InvalidURL:
        return "the URL"
    return str(parsed.copy_with(username=None, password=None, query=None, fragment=None))


def _refuse_link_local(host: str) -> None:
    if is_link_local(host):
        raise Rejected(f"{host!r} is a link-local or metadata address, where no trigger may go")


def guard() -> Connecting:
    """The ``trace`` of a request that must not reach a link-local address."""
    return Connecting(_refuse_link_local)


class Rules(Protocol):
    """Where a request may go."""

    def check_name(self, host: str, port: int) -> None:
        """Raise Rejected if no request may go to this name or literal address."""

    def watch(self, host: str, port: int) -> Connecting:
        """The ``trace`` of a request to this host."""


class _Usual:
    """Everywhere but to link-local addresses."""

    def check_name(self, host: str, port: int) -> None:
        _refuse_link_local(host)

    def watch(self, host: str, port: int) -> Connecting:
        return guard()


_USUAL = _Usual()
Follow = Literal["all", "sameOrigin", "none"]
"""Which redirects are followed: all, those within one origin, or none."""
_PORTS = {"http": 80, "https": 443}


async def send(
    client: httpx2.AsyncClient,
    request: httpx2.Request,
    *,
    private: Collection[str] = (),
    rules: Rules = _USUAL,
    follow: Follow = "all",
    most: int = _MOST_REDIRECTS,
) -> httpx2.Response:
    """Send, follow redirects, and return the last response with its body unread; close it.

    The headers named in ``private`` do not follow to another origin. Raises Rejected for an address that ``rules`` forbid,
    which are link-local ones if nothing else is said. A redirect that is not to be followed is the answer.
    """
    for _ in range(most + 1):
        host, port = request.url.host, request.url.port or _PORTS.get(request.url.scheme, 0)
        rules.check_name(host, port)
        request.extensions = {**request.extensions, "trace": rules.watch(host, port)}
        response = await client.send(request, stream=True, follow_redirects=False)
        following = response.next_request
        if following is None or follow == "none":
            return response
        elsewhere = following.url.origin != request.url.origin
        if elsewhere and follow == "sameOrigin":
            return response
        await response.aclose()
        if elsewhere:
            for name in private:
                following.headers.pop(name, None)
        request = following
    raise Rejected(f"{place(str(request.url))} ends more than {most} redirects; it leads nowhere")


async def ask(
    client: httpx2.AsyncClient,
    request: httpx2.Request,
    limit: int,
    *,
    private: Collection[str] = (),
    rules: Rules = _USUAL,
    follow: Follow = "all",
) -> tuple[httpx2.Response, bytes]:
    """As ``send``, and the first ``limit`` bytes of the body; the response is closed."""
    response = await send(client, request, private=private, rules=rules, follow=follow)
    try:
        return response, b"".join([piece async for piece in read(response, limit)])
    finally:
        await response.aclose()


def failure(status: int, sentence: str, wait: str | None) -> TriggerError:
    """What a status that is no success means: Rejected where another try cannot help, else as ``again`` says."""
    return Rejected(sentence) if 400 <= status < 500 and status not in _TRY_AGAIN else again(sentence, wait)


def again(sentence: str, wait: str | None) -> TriggerError:
    """A failure that may pass: RetryAfter where ``wait``, the header ``Retry-After``, says when."""
    seconds = retry_after.seconds(wait)
    return TriggerError(sentence) if seconds is None else RetryAfter(sentence, seconds)


@contextlib.contextmanager
def sentences(what: str) -> Iterator[None]:
    """Turn the client's exceptions into ours; ``what`` begins the sentence, as in ``POST
    http://example.com/``.
    """
    import httpx2

    try:
        yield
    except (httpx2.InvalidURL, httpx2.UnsupportedProtocol) as error:
        raise Rejected(f"{what}: this is no http or https URL") from error
    except httpx2.LocalProtocolError:
        # Its words quote the header that is not allowed, and that header may be a secret.
        raise Rejected(f"{what}: a header or the body cannot be sent over HTTP") from None
    except httpx2.TimeoutException as error:
        raise TriggerError(f"{what}: no answer in time") from error
    except (httpx2.HTTPError, OSError) as error:
        raise TriggerError(f"{what}: {fault(error)}") from error


async def read(response: httpx2.Response, limit: int) -> AsyncIterator[bytes]:
    """The body in pieces, ``limit`` bytes at most; ends early where there is more."""
    left = limit
    async for piece in response.aiter_bytes():
        yield piece[:left]
        left -= len(piece)
        if left < 0:
            return
