"""Signature Version 4. Source: docs.aws.amazon.com "Create a signed AWS API request"."""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import SplitResult, parse_qsl, quote, urlsplit


class Credentials(NamedTuple):
    """Whose name a request is signed in; a temporary one has a token."""

    key: str
    secret: str
    token: str = ""

    def __repr__(self) -> str:
        return f"Credentials({self.key!r})"


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
    """The headers that sign a request. ``url`` is as it goes over the wire, its path and query encoded."""
    parts = urlsplit(url)
    when = now.astimezone(dt.UTC).strftime("%Y%m%dT%H%M%SZ")
    digest = hashlib.sha256(body).hexdigest()
    extra = {"X-Amz-Date": when}
    if service == "s3":
        extra["X-Amz-Content-Sha256"] = digest
    if credentials.token:
        extra["X-Amz-Security-Token"] = credentials.token
    lines = {name.lower(): " ".join(value.split()) for name, value in {**headers, **extra}.items()}
    lines["host"] = _host(parts)
    names = ";".join(sorted(lines))
    query = sorted(
        (quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in parse_qsl(parts.query, True)
    )
    request = "\n".join(
        (
            method,
            # S3 signs the path as it is sent; all others encode it once more.
            (parts.path or "/") if service == "s3" else quote(parts.path or "/", safe="/-_.~"),
            "&".join(f"{name}={value}" for name, value in query),
            *(f"{name}:{lines[name]}" for name in sorted(lines)),
            "",
            names,
            digest,
        )
    )
    scope = f"{when[:8]}/{region}/{service}/aws4_request"
    text = "\n".join(("AWS4-HMAC-SHA256", when, scope, hashlib.sha256(request.encode()).hexdigest()))
    signed = by_key(credentials, scope, text)
    extra["Authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={credentials.key}/{scope}, SignedHeaders={names}, Signature={signed}"
    )
    return extra


def by_key(credentials: Credentials, scope: str, text: str) -> str:
    """The signature of a text by the key that is made for a scope, ``20260131/region/service/aws4_request``."""
    key = b"AWS4" + credentials.secret.encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, text.encode(), "sha256").hex()


def _host(parts: SplitResult) -> str:
    """The ``Host`` header that HTTP clients send: in lower case, and without a port that goes without saying."""
    host = parts.netloc.lower()
    return host.removesuffix({"http": ":80", "https": ":443"}.get(parts.scheme, ""))
