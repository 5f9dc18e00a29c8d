"""Objects in S3 as the object of a trigger, against moto's S3; and against a double, where a server must misbehave."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from argosy.errors import Rejected, TriggerError
from argosy.manifests.artifacts import ArtifactLocation, S3Source
from argosy.manifests.fields import Json
from argosy.triggers import _source_s3
from argosy.triggers._source_s3 import Buckets
from argosy.triggers._sources import Objects
from tests.conformance.trigger import Stage
from tests.peers.moto_server import MotoServer
from tests.unit.triggers.receivers import Answer, HttpServer

_numbers = itertools.count(1)
KEYS = {"accessKey": {"name": "s3", "key": "id"}, "secretKey": {"name": "s3", "key": "secret"}}
SECRETS = {("s3", "id"): "AKIAIOSFODNN7EXAMPLE", ("s3", "secret"): "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}
MOST = 1000


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MotoServer]:
    with MotoServer(tmp_path_factory.mktemp("moto")) as server:
        yield server


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))


@pytest.fixture
def bucket(moto: MotoServer) -> str:
    name = f"bucket-{next(_numbers)}"
    moto.client("s3").create_bucket(Bucket=name)
    return name


@pytest.fixture
def stage() -> Stage:
    return Stage("k8s", secrets=dict(SECRETS))


@pytest.fixture
async def buckets(stage: Stage) -> AsyncIterator[Buckets]:
    async with Buckets(stage.open().ctx) as buckets:
        yield buckets


def place(server: Any, bucket: str, key: str, **more: Json) -> S3Source:
    return S3Source.model_validate(
        {
            "endpoint": f"127.0.0.1:{server.port}",
            "insecure": True,
            "bucket": {"name": bucket, "key": key},
            **KEYS,
            **more,
        }
    )


@pytest.fixture
def keys(moto: MotoServer, stage: Stage) -> Iterator[dict[tuple[str, str], str]]:
    """The keys of a user who may read, for a peer that checks signatures and rights once it is strict."""
    iam, name = moto.client("iam"), f"user-{next(_numbers)}"
    iam.create_user(UserName=name)
    allowed = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
    iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=json.dumps(allowed))
    found = iam.create_access_key(UserName=name)["AccessKey"]
    yield {("s3", "id"): found["AccessKeyId"], ("s3", "secret"): found["SecretAccessKey"]}
    moto.lax()


@pytest.mark.parametrize("key", ["one.yaml", "a/b//c d+é&=?#%41~.yaml", "!*'();:@$,[]", "/x", "...", "a/.b/..c"])
async def test_an_object_is_read_by_a_key_of_any_letters(
    moto: MotoServer, bucket: str, stage: Stage, buckets: Buckets, keys: dict[tuple[str, str], str], key: str
) -> None:
    moto.client("s3").put_object(Bucket=bucket, Key=key, Body="kind: Pod # ü\n".encode())
    stage.secrets |= keys
    moto.strict()
    assert await buckets.read(place(moto, bucket, key), MOST) == "kind: Pod # ü\n".encode()


async def test_a_wrong_key_is_told_without_being_shown_and_the_right_one_is_taken_up(
    moto: MotoServer, bucket: str, stage: Stage, buckets: Buckets, keys: dict[tuple[str, str], str]
) -> None:
    moto.client("s3").put_object(Bucket=bucket, Key="k", Body=b"{}")
    moto.strict()
    # When the keys are nobody's, and then wrong, then that is said
    with pytest.raises(TriggerError, match="InvalidAccessKeyId"):
        await buckets.read(place(moto, bucket, "k"), MOST)
    stage.secrets["s3", "id"] = keys["s3", "id"]
    with pytest.raises(TriggerError, match="SignatureDoesNotMatch") as raised:
        await buckets.read(place(moto, bucket, "k"), MOST)
    assert SECRETS["s3", "secret"] not in str(raised.value)
    # And the right ones, which the Secret has by now, count
    stage.secrets["s3", "secret"] = keys["s3", "secret"]
    assert await buckets.read(place(moto, bucket, "k"), MOST) == b"{}"


async def test_what_is_unchanged_is_not_brought_again(moto: MotoServer, bucket: str, buckets: Buckets) -> None:
    client = moto.client("s3")
    client.put_object(Bucket=bucket, Key="k", Body=b"first")
    where = place(moto, bucket, "k")
    # Given an object that was read
    assert await buckets.read(where, MOST) == b"first"
    before = _gets(moto, bucket)
    # When it is read again, then the bucket says that it is as it was
    assert await buckets.read(where, MOST) == b"first"
    assert _gets(moto, bucket)[len(before) :] == ["304"]
    # And a change counts at once, and so does its end
    client.put_object(Bucket=bucket, Key="k", Body=b"second")
    assert await buckets.read(where, MOST) == b"second"
    client.delete_object(Bucket=bucket, Key="k")
    with pytest.raises(TriggerError, match="'k' of bucket .* 404 NoSuchKey"):
        await buckets.read(where, MOST)


def _gets(moto: MotoServer, bucket: str) -> list[str]:
    """The statuses of what was asked of objects of the bucket, in order."""
    lines = [line for line in moto.output().splitlines() if f"GET /{bucket}/k " in line]
    return [status for line in lines for status in ("200", "304", "404") if f" {status} -" in line]


async def test_connection_and_region_are_kept_from_one_try_to_the_next(buckets: Buckets) -> None:
    async with HttpServer() as server:
        # Given a server that says in which region the bucket is
        server.answers["/bucket-x/"] = Answer(body=b"<LocationConstraint>eu-west-9</LocationConstraint>")
        server.default = Answer(headers={"ETag": '"1"'}, body=b"{}")
        # When many objects are read
        for number in range(100):
            await buckets.read(place(server, "bucket-x", f"{number}"), MOST)
        # Then it was asked once, by one connection, and signatures name the region
        assert [request.target for request in server.requests].count("/bucket-x/?location=") == 1
        assert (len(server.requests), server.connections) == (101, 1)
        assert all("/eu-west-9/s3/" in request.headers["authorization"] for request in server.requests[1:])
        # When it fails once, then the region is asked for again
        server.default = Answer(503, body=b"<Error><Code>SlowDown</Code></Error>")
        with pytest.raises(TriggerError, match="503 SlowDown") as raised:
            await buckets.read(place(server, "bucket-x", "k"), MOST)
        assert type(raised.value) is TriggerError
        server.default = Answer(body=b"{}")
        await buckets.read(place(server, "bucket-x", "k"), MOST)
        assert [request.target for request in server.requests].count("/bucket-x/?location=") == 2


async def test_what_is_too_large_or_breaks_off_is_no_object(buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> None:
    async with HttpServer() as server:
        server.answers["/bucket-x/"] = Answer(body=b"<LocationConstraint/>")
        server.default = Answer(body=b"x" * (MOST + 1))
        with pytest.raises(Rejected, match="is larger than"):
            await buckets.read(place(server, "bucket-x", "k"), MOST)
        server.default = Answer(headers={"ETag": '"1"'}, body=b"x" * MOST)
        assert len(await buckets.read(place(server, "bucket-x", "k"), MOST)) == MOST
        server.default = Answer(body=b"x" * MOST, cut=10)
        with pytest.raises(TriggerError, match="failed"):
            await buckets.read(place(server, "bucket-x", "k"), MOST)
        # And who does not answer is not waited for for ever
        monkeypatch.setattr(_source_s3, "_SECONDS", 0.2)
        server.hold()
        with pytest.raises(TriggerError, match=r"did not come within 0.2 s"):
            await buckets.read(place(server, "bucket-x", "k"), MOST)
        server.release()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"endpoint": ""}, "needs endpoint"),
        ({"bucket": {"name": "bucket-x"}}, "needs endpoint, bucket.name and bucket.key"),
        ({"bucket": None}, "needs endpoint, bucket.name and bucket.key"),
        ({"bucket": {"name": "a/b", "key": "k"}}, "no name that a bucket can have"),
        ({"bucket": {"name": "bucket-x", "key": "a/../b"}}, "'.' or '..'"),
        ({"endpoint": "http://minio:9000"}, "is no host"),
        ({"endpoint": "user@minio"}, "is no host"),
        ({"endpoint": "169.254.169.254"}, "link-local"),
        ({"endpoint": "metadata.google.internal:80"}, "link-local"),
        ({"region": "evil.example/"}, "region"),
        ({"caCertificate": {"name": "s3", "key": "id"}}, "no PEM certificate"),
    ],
)
async def test_what_cannot_work_is_rejected_with_a_sentence(
    buckets: Buckets, change: dict[str, Json], said: str
) -> None:
    block = place(HttpServer(), "bucket-x", "k").model_dump(by_alias=True, exclude_unset=True)
    with pytest.raises(Rejected) as raised:
        await buckets.read(S3Source.model_validate({**block, **change}), MOST)
    assert said in str(raised.value)


async def test_without_keys_the_processs_own_credentials_count(
    moto: MotoServer, bucket: str, buckets: Buckets, keys: dict[tuple[str, str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    moto.client("s3").put_object(Bucket=bucket, Key="k", Body=b"{}")
    moto.strict()
    where = place(moto, bucket, "k", accessKey=None, secretKey=None)
    # Given none, then that is said, and another try may help
    with pytest.raises(TriggerError, match="there are no AWS credentials") as raised:
        await buckets.read(where, MOST)
    assert type(raised.value) is TriggerError
    # Given some, then they count
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", keys["s3", "id"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", keys["s3", "secret"])
    assert await buckets.read(where, MOST) == b"{}"


async def test_a_name_that_resolves_to_a_link_local_address_is_rejected_before_a_byte_is_sent(
    buckets: Buckets, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with HttpServer() as server:
        # Given an address of this machine that counts as link-local
        monkeypatch.setattr("argosy.triggers._http.is_link_local", lambda host: host == "127.0.0.1")
        where = place(server, "bucket-x", "k", endpoint=f"localhost:{server.port}")
        with pytest.raises(Rejected, match="link-local"):
            await buckets.read(where, MOST)
        assert server.requests == []


async def test_tls_is_verified_by_the_authority_that_the_manifest_names(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Secured(MotoServer):
        tls = True

    with Secured(tmp_path) as server:
        server.client("s3").create_bucket(Bucket="bucket-x")
        server.client("s3").put_object(Bucket="bucket-x", Key="k", Body=b"{}")
        names = ("kubernetes.default.svc", "other.svc")
        monkeypatch.setenv("ARGOSY_RESOLVE", " ".join(f"{name}:9000=127.0.0.1:{server.port}" for name in names))
        stage.secrets["tls", "ca"] = (tmp_path / "ca.crt").read_text()
        async with Buckets(stage.open().ctx) as buckets:
            secured = {"insecure": False, "caCertificate": {"name": "tls", "key": "ca"}}
            good = place(server, "bucket-x", "k", endpoint=f"{names[0]}:9000", **secured)
            assert await buckets.read(good, MOST) == b"{}"
            other = place(server, "bucket-x", "k", endpoint=f"{names[1]}:9000", **secured)
            unknown = place(server, "bucket-x", "k", endpoint=f"{names[0]}:9000", insecure=False)
            for wrong in (other, unknown):
                with pytest.raises(TriggerError, match="certificate is not trusted"):
                    await buckets.read(wrong, MOST)


async def test_a_sensors_object_stands_in_a_bucket(moto: MotoServer, bucket: str, stage: Stage) -> None:
    # Given the tutorial's source: a workflow in a bucket
    client = moto.client("s3")
    client.put_object(Bucket=bucket, Key="hello-world.yaml", Body=b"apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n")
    client.put_object(Bucket=bucket, Key="broken.yaml", Body=b"a: b: c\n")
    client.put_object(Bucket=bucket, Key="binary.yaml", Body=b"\xff\xfe")
    async with Objects(stage.open().ctx) as objects:

        async def fetch(key: str) -> Any:
            block = place(moto, bucket, key).model_dump(by_alias=True, exclude_unset=True)
            return await objects.fetch(ArtifactLocation.model_validate({"s3": block, "inline": "kind: Other"}))

        # When it is fetched, then it is the object, before all other places, and the caller's own
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}
        found = await fetch("hello-world.yaml")
        assert found == pod
        found["metadata"]["name"] = "changed"
        assert await fetch("hello-world.yaml") == pod
        # And what is none is rejected with its place
        for key, said in (("broken.yaml", "is not YAML"), ("binary.yaml", "is not text in UTF-8")):
            with pytest.raises(Rejected, match=f"source.s3 '{key}' of bucket '{bucket}' {said}"):
                await fetch(key)
