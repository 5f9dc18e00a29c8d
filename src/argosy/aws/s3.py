"""S3, by AWS or by anybody else who speaks it (MinIO, Ceph): where an object is, and the region that signatures name.

Buckets stand in the path and not in the host's name, so no name but the endpoint's has to resolve. Sources:
docs.aws.amazon.com "Amazon S3 API Reference" (GetBucketLocation, GetObject); minio-go ``bucket-cache.go``.
"""

from __future__ import annotations

import re
from urllib.parse import quote, urlencode, urlsplit

from argosy.aws.client import AwsError, Client, Identity, tree

BUCKET = r"[A-Za-z0-9][A-Za-z0-9._:-]{1,61}[A-Za-z0-9]"
"""What the name of a bucket looks like."""
DEFAULT_REGION = "us-east-1"
_OWN_REGION = re.compile(r"[a-z0-9-]{1,40}")
_AWS = re.compile(r"s3[.-](?:dualstack\.)?(?:[a-z0-9-]+\.)?amazonaws\.com(\.cn)?")


def base(endpoint: str, *, insecure: bool) -> str:
    """The URL of ``host:port``. Raises ValueError for what is no such text."""
    try:
        parts = urlsplit(f"//{endpoint}")
        _ = parts.port
    except ValueError:
        parts = urlsplit("//")
    if not parts.hostname or parts.netloc != endpoint or "@" in endpoint:
        raise ValueError("is no host, or host and port, such as minio.storage:9000; 'insecure' says whether by TLS")
    return f"{'http' if insecure else 'https'}://{endpoint}"


def url(base: str, bucket: str, key: str = "", query: list[tuple[str, str]] | None = None, region: str = "") -> str:
    """Where a bucket or an object is. ``region`` leads to AWS's own host for it."""
    parts = urlsplit(base)
    if region and (found := _AWS.fullmatch(parts.netloc)):
        base = f"{parts.scheme}://s3.{region}.amazonaws.com{found[1] or ''}"
    path = f"/{quote(bucket, safe='-_.~')}/{quote(key, safe='/-_.~')}"
    return base + path + (f"?{urlencode(query, quote_via=quote, safe='-_.~')}" if query else "")


async def region(client: Client, base: str, bucket: str, who: Identity, given: str = "") -> str:
    """The region of a bucket, which signatures must name; ``given`` counts where nobody may ask. Raises AwsError."""
    place = url(base, bucket, query=[("location", "")])
    try:
        answer = await client.request("s3", DEFAULT_REGION, "GET", place, {}, b"", who, action="GetBucketLocation")
        found = (tree(answer.content, "GetBucketLocation").text or "").strip()
    except AwsError as error:
        if error.code not in ("AuthorizationHeaderMalformed", "InvalidRegion", "AccessDenied"):
            raise
        try:
            found = tree(error.content, "GetBucketLocation").findtext(".//Region") or given
        except AwsError:
            found = given
    found = "eu-west-1" if found == "EU" else found  # the name that it had once
    return found if _OWN_REGION.fullmatch(found) else DEFAULT_REGION
