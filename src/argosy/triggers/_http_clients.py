"""The open HTTP clients of one trigger: one for each set of TLS material, proxy and egress rules, so that connections are used again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import urllib.request
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from argosy import __version__
from argosy.connecting import mounts
from argosy.errors import ConfigError, Rejected
from argosy.manifests.fields import SecretKeySelector, TLSConfig
from argosy.tls import material, present
from argosy.triggers import _http
from argosy.triggers._kept import Kept, digest

if TYPE_CHECKING:
    import httpx2

_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


@dataclass(frozen=True)
class Tls:
    """What TLS is done with: PEM texts. ``digest`` names them without telling them."""

    verified: bool = True
    authority: str = field(default="", repr=False)
    certificate: str = field(default="", repr=False)
    key: str = field(default="", repr=False)

    @classmethod
    def of(cls, given: TLSConfig | None, secret: Callable[[SecretKeySelector], str]) -> Tls:
        """What a ``tls`` block says; its secrets are read now."""
        if (found := material(given, secret)) is None:
            return NO_TLS
        insecure, authority, certificate, key = found
        return cls(not insecure, authority, certificate, key)

    @cached_property
    def digest(self) -> str:
        """A hash of it."""
        return digest(self.verified, self.authority, self.certificate, self.key)

    def context(self) -> ssl.SSLContext:
        """Reads the machine's authorities, so it blocks. Raises Rejected if the texts are not what they
        should be.
        """
        if not self.authority and not self.certificate:
            return _http.trust(self.verified)
        try:
            context = ssl.create_default_context(cadata=self.authority or None)
            if not self.verified:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            if self.certificate:
                present(context, self.certificate, self.key, "tls.clientCertSecret and tls.clientKeySecret")
        except (ssl.SSLError, ValueError) as error:
            raise Rejected("tls.caCertSecret holds no PEM certificate") from error
        except ConfigError as error:
            raise Rejected(str(error)) from error
        return context


@dataclass(frozen=True)
class Proxy:
    """A proxy, and who we are to it. ``url`` is empty where there is none."""

    url: str = ""
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @cached_property
    def digest(self) -> str:
        """A hash of it."""
        return digest(self.url, self.user, self.password)


NO_PROXY = Proxy()
NO_TLS = Tls()
"""The machine's authorities, and no certificate of ours."""


def of_environment(url: str) -> Proxy:
    """The proxy that the process's environment names for this URL (``HTTPS_PROXY``, ``NO_PROXY`` …)."""
    if not any(map(os.environ.get, _VARIABLES)):
        return NO_PROXY  # without a look at the whole environment for each action
    try:
        parts = urlsplit(url)
    except ValueError:
        return NO_PROXY  # the client says what is wrong with the URL
    found = urllib.request.getproxies_environment()
    if urllib.request.proxy_bypass_environment(parts.netloc.rpartition("@")[2], found):  # type: ignore[attr-defined]
        return NO_PROXY
    named = found.get(parts.scheme) or found.get("all") or ""
    return Proxy(named if "://" in named or not named else f"http://{named}")


class Clients:
    """Open clients; of those unused, the oldest are closed (certificates get renewed)."""

    def __init__(self) -> None:
        self._kept: Kept[httpx2.AsyncClient] = Kept(lambda client: client.aclose())

    @contextlib.asynccontextmanager
    async def use(self, tls: Tls, proxy: Proxy, rules: str) -> AsyncIterator[httpx2.AsyncClient]:
        """The client for this TLS material, this proxy and requests of the same egress ``rules``. Raises Rejected if it cannot be made."""

        async def begin() -> httpx2.AsyncClient:
            return _client(await asyncio.to_thread(tls.context), proxy)

        async with self._kept.use(f"{tls.digest} {proxy.digest} {rules}", begin) as held:
            yield held.connection

    async def close(self) -> None:
        """Close all."""
        await self._kept.close()


def _client(context: ssl.SSLContext, proxy: Proxy) -> httpx2.AsyncClient:
    import http.cookiejar

    import httpx2

    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=32, keepalive_expiry=60.0)
    settings: dict[str, Any] = {}
    if proxy.url:
        auth = (proxy.user, proxy.password) if proxy.user or proxy.password else None
        try:
            settings["proxy"] = httpx2.Proxy(proxy.url, auth=auth)
        except (ValueError, httpx2.InvalidURL) as error:
            raise Rejected(f"proxy {_http.place(proxy.url)!r} is no http, https or socks5 URL") from error
    client = httpx2.AsyncClient(
        verify=context,
        timeout=None,
        limits=limits,
        mounts=mounts(verify=context, limits=limits),
        trust_env=False,  # proxies of the environment are chosen for each URL, see of_environment
        # No packed answers: a short body may not grow into a long one here.
        headers={"User-Agent": f"argosy/{__version__}", "Accept": "*/*", "Accept-Encoding": "identity"},
        **settings,
    )
    client.cookies.jar.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
    return client
