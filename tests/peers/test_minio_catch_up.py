"""The listing by which a ``minio`` source finds what was put in a gap, against moto's S3, whose pages have two objects."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest

from argosy.aws import s3
from argosy.aws.client import AwsError, Client
from argosy.aws.credentials import Chain, Named
from argosy.clock import SystemClock
from argosy.manifests.fields import SecretKeySelector
from argosy.sources._minio_catch_up import put_between
from tests.peers.moto_server import REGION, MotoServer


async def test_a_bucket_of_any_keys_is_listed_page_by_page(tmp_path: Path) -> None:
    with MotoServer(tmp_path) as server:
        # Given a bucket of a user who may read it, at a peer that checks signatures
        client, iam = server.client("s3"), server.client("iam")
        client.create_bucket(Bucket="input")
        keys = ["in/a", "in/b ü&+%41", "in/c<>\x01", "in/d", "in/e.md", "out/f"]
        for key in keys:
            client.put_object(Bucket="input", Key=key, Body=b"foo")
        iam.create_user(UserName="reader")
        allowed = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
        iam.put_user_policy(UserName="reader", PolicyName="p", PolicyDocument=json.dumps(allowed))
        key = iam.create_access_key(UserName="reader")["AccessKey"]
        secrets = {"id": key["AccessKeyId"], "secret": key["SecretAccessKey"]}
        server.strict()
        named = Named(SecretKeySelector(name="s", key="id"), SecretKeySelector(name="s", key="secret"))
        clock, base = SystemClock(), s3.base(f"127.0.0.1:{server.port}", insecure=True)
        now = clock.now()

        async with Client("a test", clock) as caller:
            who = Chain(caller, named, lambda selector: secrets[selector.key], clock, REGION)

            async def found(minutes: float, suffix: str = "", bucket: str = "input") -> list[str]:
                since = now - dt.timedelta(minutes=minutes)
                until = since + dt.timedelta(minutes=5)
                lines = put_between(
                    caller, base, bucket, REGION, who, since=since, until=until, prefix="in/", suffix=suffix
                )
                return [json.loads(line)["Records"][0]["s3"]["object"]["key"] async for line, _ in lines]

            # When it is listed, then what was put in that time is found, whatever it is called
            assert await found(1) == keys[:5]
            assert await found(1, suffix=".md") == ["in/e.md"]
            assert await found(10) == [] == await found(-10)
            with pytest.raises(AwsError, match="S3 ListObjectsV2 at .* answered 404 NoSuchBucket"):
                await found(1, bucket="nothing")
