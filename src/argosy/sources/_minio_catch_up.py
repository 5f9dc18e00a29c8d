"""What a ``minio`` source can find out about a gap: the objects that were put into its bucket meanwhile.

A bucket knows when each object was put last, so a listing shows what came; it shows neither what was removed nor what was
put twice. MinIO says its own time when a stream begins; marks are written in that time, so a wrong clock of
either side makes no hole. Source: docs.aws.amazon.com "Amazon S3 API Reference", ListObjectsV2.
"""

from __future__ import annotations

import datetime as dt
import email.utils
import hashlib
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import unquote_plus

from argosy.aws import s3
from argosy.aws.client import AwsError, Client, Identity, tree
from argosy.lang import gojson

PUT = "s3:ObjectCreated:Put"
"""What a change that was found later is called: how an object came is not to be seen any more."""
AGENT = "argosy/catch-up"
"""``source.userAgent`` of such a change, by which it can be told."""


def server_time(date: str | None, now: dt.datetime) -> dt.timedelta:
    """How far the server's clock is ahead of ours, by its ``Date`` header; nothing where there is none."""
    try:
        return email.utils.parsedate_to_datetime(date or "").astimezone(dt.UTC) - now
    except ValueError:
        return dt.timedelta()


async def put_between(
    client: Client,
    base: str,
    bucket: str,
    region: str,
    who: Identity,
    *,
    since: dt.datetime,
    until: dt.datetime,
    prefix: str,
    suffix: str,
) -> AsyncIterator[tuple[bytes, str]]:
    """Each object that was last put in this time, as a line of the stream would tell it, and what names the change.
    Raises AwsError.
    """
    query = [("encoding-type", "url"), ("list-type", "2"), ("prefix", prefix)]
    following = ""
    while True:
        pages = [*query, ("continuation-token", following)] if following else query
        url = s3.url(base, bucket, query=sorted(pages), region=region)
        answer = await client.request("s3", region, "GET", url, {}, b"", who, action="ListObjectsV2")
        page = tree(answer.content, "ListObjectsV2")
        for found in page.iter("Contents"):
            key, text = unquote_plus(found.findtext("Key") or ""), found.findtext("LastModified") or ""
            try:
                when = dt.datetime.fromisoformat(text)
            except ValueError as error:
                raise AwsError(f"S3 ListObjectsV2 says of an object that it was put at {text!r}") from error
            if since <= when <= until and key.endswith(suffix):
                tag = (found.findtext("ETag") or "").strip('"')
                size = int(found.findtext("Size") or 0)
                named = hashlib.sha256(f"{key}\0{tag}\0{text}".encode()).hexdigest()[:32]
                yield _line(bucket, region, key, size, tag, text), f"caught-up/{named}"
        following = page.findtext("NextContinuationToken") or ""
        if page.findtext("IsTruncated") != "true" or not following:
            return


def _line(bucket: str, region: str, key: str, size: int, tag: str, when: str) -> bytes:
    """A notification as MinIO would have written it, as far as the listing tells."""
    nobody = {"principalId": ""}
    place: dict[str, Any] = {"key": key, **({"size": size} if size else {}), "eTag": tag, "sequencer": ""}
    record = {
        "eventVersion": "2.0",
        "eventSource": "minio:s3",
        "awsRegion": region,
        "eventTime": when,
        "eventName": PUT,
        "userIdentity": nobody,
        "requestParameters": None,
        "responseElements": None,
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "Config",
            "bucket": {"name": bucket, "ownerIdentity": nobody, "arn": f"arn:aws:s3:::{bucket}"},
            "object": place,
        },
        "source": {"host": "", "port": "", "userAgent": AGENT},
    }
    return gojson.dumps({"Records": [record]}, sort_keys=False)
