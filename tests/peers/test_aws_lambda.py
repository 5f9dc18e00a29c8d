"""The ``awsLambda`` trigger against moto's Lambda, which checks signatures and rights and answers as it is told."""

from __future__ import annotations

import io
import itertools
import json
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from argosy.errors import Rejected
from argosy.manifests.fields import Json
from tests.conformance.trigger import Stage
from tests.peers.moto_server import REGION, MotoServer

_numbers = itertools.count(1)
KEYS = {"accessKey": {"name": "aws", "key": "id"}, "secretKey": {"name": "aws", "key": "secret"}}


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MotoServer]:
    with MotoServer(tmp_path_factory.mktemp("moto")) as server:
        # Functions are not run, which would take Docker; they return what they are told to.
        _post(server, "/moto-api/config", {"lambda": {"use_docker": False}})
        yield server


def _post(server: MotoServer, path: str, value: Json) -> None:
    request = urllib.request.Request(server.url + path, json.dumps(value).encode(), method="POST")
    with urllib.request.urlopen(request, timeout=20) as answer:
        assert answer.status in (200, 201)


@pytest.fixture
def function(moto: MotoServer) -> str:
    """A function's name."""
    name = f"function-{next(_numbers)}"
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as file:
        file.writestr("main.py", "def handle(event, context): return event")
    role = _role(moto, "lambda:None")
    moto.client("lambda").create_function(
        FunctionName=name, Runtime="python3.11", Role=role, Handler="main.handle", Code={"ZipFile": code.getvalue()}
    )
    return name


def _role(moto: MotoServer, action: str) -> str:
    """The ARN of a role that may do this."""
    iam, name = moto.client("iam"), f"role-{next(_numbers)}"
    trust = {"Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "*"}}]}
    arn = str(iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"])
    iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=_allowed(action))
    return arn


def _user(moto: MotoServer, action: str) -> dict[tuple[str, str], str]:
    """The keys of a user who may do this, as the manifest's Secret."""
    iam, name = moto.client("iam"), f"user-{next(_numbers)}"
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=_allowed(action))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return {("aws", "id"): key["AccessKeyId"], ("aws", "secret"): key["SecretAccessKey"]}


def _allowed(action: str) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": action, "Resource": "*"}]})


@pytest.fixture(autouse=True)
def alone(moto: MotoServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto.url)
    yield
    moto.lax()


async def _fire(secrets: dict[tuple[str, str], str], function: str, payload: bytes, **fields: Json) -> Any:
    stage = Stage("awsLambda", secrets=secrets)
    described = [{"src": {"dependencyName": "dep", "dataKey": "n"}, "dest": "n"}]
    block: dict[str, Json] = {"functionName": function, "region": REGION, "payload": described, **KEYS, **fields}
    async with stage.open() as trigger:
        return await stage.fire(trigger, block, payload=payload)


async def test_a_function_gets_the_payload_and_what_it_returns_is_kept(moto: MotoServer, function: str) -> None:
    keys = _user(moto, "lambda:*")
    moto.strict()
    # When it is waited for, by its name or by its ARN, then it returns what it got
    arn = f"arn:aws:lambda:{REGION}:123456789012:function:{function}"
    for name in (function, arn, f"{arn}:$LATEST"):
        outcome = await _fire(keys, name, '{"n":"ü"}'.encode())
        assert outcome.detail == {"status": 200, "body": {"n": "ü"}}
    # When it is handed the payload, or asked for, then Lambda says so
    assert (await _fire(keys, function, b"{}", invocationType="Event")).detail["status"] == 202
    assert (await _fire(keys, function, b"{}", invocationType="DryRun")).detail["status"] == 204


async def test_a_role_invokes_where_the_keys_may_not(moto: MotoServer, function: str) -> None:
    # Given a user who may only take roles, and a role that may invoke
    role, keys = _role(moto, "lambda:*"), _user(moto, "sts:AssumeRole")
    moto.strict()
    with pytest.raises(Rejected, match="AccessDenied"):
        await _fire(keys, function, b"{}")
    outcome = await _fire(keys, function, b'{"n":1}', roleARN=role)
    assert outcome.detail["body"] == {"n": 1}


async def test_a_wrong_key_is_rejected_without_being_shown(moto: MotoServer, function: str) -> None:
    keys = {**_user(moto, "lambda:*"), ("aws", "secret"): "not-the-secret-of-anybody"}
    moto.strict()
    with pytest.raises(Rejected) as raised:
        await _fire(keys, function, b"{}")
    assert "403" in str(raised.value) and "not-the-secret" not in str(raised.value)
