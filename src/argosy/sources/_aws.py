"""AWS's query APIs (SNS, STS): signed requests without a vendor's library.

Credentials are, in this order: the role of ``roleARN`` (taken with the process's own credentials, as upstream
does), the keys of the manifest, the environment (``AWS_ACCESS_KEY_ID`` …), a web identity
(``AWS_WEB_IDENTITY_TOKEN_FILE`` and ``AWS_ROLE_ARN``, as EKS sets them). The metadata services of EC2 and ECS are
not asked. Source: docs.aws.amazon.com "Signature Version 4 signing process".
"""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import hmac
import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from argosy.errors import ConfigError, SourceError
from argosy.manifests.fields import SecretKeySelector
from argosy.sources._base import SourceContext
from argosy.sources._http_client import HttpClient

if TYPE_CHECKING:
    import httpx2

_RENEW_SECONDS = 300.0
_SESSION = "argosy"
_LONGEST_ANSWER = 4 * 1024 * 1024


class Credentials(NamedTuple):
    """Whose name a request is signed in; a temporary one has a token."""

    key: str
    secret: str
    token: str = ""


class Named(NamedTuple):
    """Where the manifest says the credentials are."""

    access_key: SecretKeySelector | None
    secret_key: SecretKeySelector | None
    role_arn: str = ""


class Aws(HttpClient):
    """Calls one service of one region: an async context manager."""

    def __init__(self, ctx: SourceContext[Any], service: str, region: str, named: Named, endpoint: str = "") -> None:
        super().__init__(f"AWS {service}")
        self._ctx = ctx
        self._service = service
        self._region = region
        self._named = named
        self._url = endpoint or _url(service, region)
        self._taken: tuple[Credentials, float] | None = None

    async def call(self, action: str, **parameters: str) -> ElementTree.Element:
        """The answer's XML, its names without namespaces. Raises SourceError with AWS's own code."""
        return await self._call(self._url, self._service, action, parameters, await self._credentials())

    async def call_unsigned(self, action: str, **parameters: str) -> ElementTree.Element:
        """As ``call``, for what wants no credentials."""
        return await self._call(self._url, self._service, action, parameters, None)

    async def fetch(self, url: str) -> bytes:
        """What a public URL yields. Raises SourceError."""
        return (await self._sent("GET", url, b"", {})).content

    async def _credentials(self) -> Credentials:
        named = self._named
        if not named.role_arn and named.access_key is not None and named.secret_key is not None:
            return Credentials(self._ctx.secret(named.access_key), self._ctx.secret(named.secret_key))
        now = self._ctx.clock.now().timestamp()
        if self._taken is None or now >= self._taken[1]:
            own = await self._own()
            if not named.role_arn:
                self._taken = (own, now + _RENEW_SECONDS)
            else:
                parameters = {"RoleArn": named.role_arn, "RoleSessionName": _SESSION}
                answer = await self._sts("AssumeRole", parameters, own)
                self._taken = (_given(answer), now + 3600.0 - _RENEW_SECONDS)
        return self._taken[0]

    async def _own(self) -> Credentials:
        """The process's own credentials."""
        key, secret = os.environ.get("AWS_ACCESS_KEY_ID", ""), os.environ.get("AWS_SECRET_ACCESS_KEY", "")
        if key and secret:
            return Credentials(key, secret, os.environ.get("AWS_SESSION_TOKEN", ""))
        file, role = os.environ.get("AWS_WEB_IDENTITY_TOKEN_FILE", ""), os.environ.get("AWS_ROLE_ARN", "")
        if not (file and role):
            raise ConfigError(
                "there are no AWS credentials: give accessKey and secretKey, or AWS_ACCESS_KEY_ID and"
                " AWS_SECRET_ACCESS_KEY in the environment, or a web identity"
            )
        try:
            token = (await asyncio.to_thread(Path(file).read_text)).strip()
        except OSError as error:
            raise SourceError(f"AWS_WEB_IDENTITY_TOKEN_FILE {file!r} cannot be read: {error.strerror}") from error
        parameters = {"RoleArn": role, "RoleSessionName": _SESSION, "WebIdentityToken": token}
        return _given(await self._sts("AssumeRoleWithWebIdentity", parameters, None))

    async def _sts(self, action: str, parameters: Mapping[str, str], own: Credentials | None) -> ElementTree.Element:
        return await self._call(_url("sts", self._region), "sts", action, parameters, own, "2011-06-15")

    async def _call(
        self,
        url: str,
        service: str,
        action: str,
        parameters: Mapping[str, str],
        credentials: Credentials | None,
        version: str = "2010-03-31",
    ) -> ElementTree.Element:
        body = urlencode({"Action": action, "Version": version, **parameters}).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
        if credentials is not None:
            now = self._ctx.clock.now()
            headers |= signature("POST", url, headers, body, credentials, self._region, service, now)
        response = await self._sent("POST", url, body, headers, action)
        return _tree(response.content, action)

    async def _sent(
        self, method: str, url: str, body: bytes, headers: Mapping[str, str], action: str = ""
    ) -> httpx2.Response:
        import httpx2

        what = f"AWS {action or method} at {urlsplit(url).netloc}"
        try:
            response = await self._answer(method, url, content=body or None, headers=dict(headers))
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            raise SourceError(f"{what} failed: {type(error).__name__}") from error
        if not response.is_success:
            try:
                code = _tree(response.content, action).findtext(".//Code") or ""
            except SourceError:
                code = ""
            raise SourceError(f"{what} answered {response.status_code} {code}".rstrip())
        return response


def signature(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    credentials: Credentials,
    region: str,
    service: str,
    now: dt.datetime,
) -> dict[str, str]:
    """The headers that sign a request (Signature Version 4)."""
    parts = urlsplit(url)
    when = now.astimezone(dt.UTC).strftime("%Y%m%dT%H%M%SZ")
    extra = {"X-Amz-Date": when}
    if credentials.token:
        extra["X-Amz-Security-Token"] = credentials.token
    lines = {name.lower(): " ".join(value.split()) for name, value in {**headers, **extra}.items()}
    lines["host"] = parts.netloc
    names = ";".join(sorted(lines))
    query = sorted(
        (quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in parse_qsl(parts.query, True)
    )
    request = "\n".join(
        (
            method,
            quote(parts.path or "/", safe="/-_.~%"),
            "&".join(f"{name}={value}" for name, value in query),
            *(f"{name}:{lines[name]}" for name in sorted(lines)),
            "",
            names,
            hashlib.sha256(body).hexdigest(),
        )
    )
    scope = f"{when[:8]}/{region}/{service}/aws4_request"
    text = "\n".join(("AWS4-HMAC-SHA256", when, scope, hashlib.sha256(request.encode()).hexdigest()))
    key = b"AWS4" + credentials.secret.encode()
    for part in (when[:8], region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    signed = hmac.digest(key, text.encode(), "sha256").hex()
    extra["Authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={credentials.key}/{scope}, SignedHeaders={names}, Signature={signed}"
    )
    return extra


def _url(service: str, region: str) -> str:
    return f"https://{service}.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}/"


def _tree(text: bytes, action: str) -> ElementTree.Element:
    """The answer's XML. A document type is refused: it could name entities that grow without end."""
    if len(text) > _LONGEST_ANSWER or b"<!DOCTYPE" in text:
        raise SourceError(f"AWS answered {action} with something that is no XML of it")
    try:
        tree = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise SourceError(f"AWS answered {action} with something that is no XML") from error
    for element in tree.iter():
        element.tag = element.tag.rpartition("}")[2]
    return tree


def _given(answer: ElementTree.Element) -> Credentials:
    found = [answer.findtext(f".//{name}") or "" for name in ("AccessKeyId", "SecretAccessKey", "SessionToken")]
    if not all(found):
        raise SourceError("AWS STS answered without credentials")
    return Credentials(*found)
