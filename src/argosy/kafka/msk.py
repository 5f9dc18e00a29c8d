"""The login of Amazon MSK by an IAM role: a token for SASL's OAUTHBEARER, made anew for every connection.

It is a URL signed by Signature Version 4 (``kafka-cluster:Connect``, valid for 15 minutes) in base64, as AWS's own signers
for MSK make it.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
from urllib.parse import quote

from argosy import __version__
from argosy.aws.signing import Credentials, by_key

_SERVICE = "kafka-cluster"
_VALID_SECONDS = 900


def token(credentials: Credentials, region: str, now: dt.datetime) -> str:
    """The token of now."""
    when = now.astimezone(dt.UTC).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{when[:8]}/{region}/{_SERVICE}/aws4_request"
    host = f"kafka.{region}.amazonaws.com"
    fields = {
        "Action": "kafka-cluster:Connect",
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{credentials.key}/{scope}",
        "X-Amz-Date": when,
        "X-Amz-Expires": str(_VALID_SECONDS),
        "X-Amz-SignedHeaders": "host",
    }
    if credentials.token:
        fields["X-Amz-Security-Token"] = credentials.token
    query = "&".join(f"{_quoted(name)}={_quoted(value)}" for name, value in sorted(fields.items()))
    request = "\n".join(("GET", "/", query, f"host:{host}", "", "host", hashlib.sha256(b"").hexdigest()))
    text = "\n".join(("AWS4-HMAC-SHA256", when, scope, hashlib.sha256(request.encode()).hexdigest()))
    signed = by_key(credentials, scope, text)
    url = f"https://{host}/?{query}&X-Amz-Signature={signed}&User-Agent={_quoted(f'argosy/{__version__}')}"
    return base64.urlsafe_b64encode(url.encode()).decode().rstrip("=")


def _quoted(text: str) -> str:
    return quote(text, safe="-_.~")
