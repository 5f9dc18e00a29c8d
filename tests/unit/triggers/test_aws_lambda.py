"""The ``awsLambda`` trigger against a double of Lambda's Invoke, which answers, fails and holds back as it is told.

That real requests are understood and their signatures hold is shown against an emulator (``tests/peers``).
"""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from argosy.errors import Rejected, RetryAfter, TriggerError
from argosy.manifests.fields import Json
from argosy.sensor import rendering
from argosy.triggers.aws_lambda import AwsLambdaConfig
from tests.conformance.trigger import Receiver, Stage, TriggerSuite, event
from tests.unit.triggers.receivers import Answer, HttpServer

KEYS = {"accessKey": {"name": "aws", "key": "id"}, "secretKey": {"name": "aws", "key": "secret"}}
SECRETS = {("aws", "id"): "AKIAIOSFODNN7EXAMPLE", ("aws", "secret"): "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}
PAYLOAD = [{"src": {"dependencyName": "dep", "dataKey": "n"}, "dest": "n"}]
BLOCK: dict[str, Json] = {"functionName": "hello", "region": "us-east-1", "payload": PAYLOAD, **KEYS}


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No credentials of this machine get in, and nothing asks a metadata service."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[HttpServer]:
    async with HttpServer() as server:
        server.default = Answer(body=b'{"hello":"world"}')
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", server.url)
        yield server


@pytest.fixture
async def fire(server: HttpServer) -> AsyncIterator[Any]:
    stage = Stage("awsLambda", secrets=dict(SECRETS))
    async with stage.open() as trigger:

        async def fire(block: dict[str, Json] | None = None, **named: Any) -> Any:
            return await stage.fire(trigger, {**BLOCK, **(block or {})}, **named)

        yield fire


class _Lambda(Receiver):
    secrets: ClassVar[dict[tuple[str, str], str]] = {**SECRETS, ("aws", "id"): "AKIDPRIVATE"}
    private = ("AKIDPRIVATE",)
    hastened: ClassVar[dict[str, Json]] = {"argosy.triggers.aws_lambda._WAITED_SECONDS": 0.3}

    def __init__(self, server: HttpServer) -> None:
        self.server = server
        self.address = f"127.0.0.1:{server.port}"
        self.block = dict(BLOCK)

    async def effects(self) -> list[str]:
        contexts = (request.headers["x-amz-client-context"] for request in self.server.requests)
        return [json.loads(base64.b64decode(context))["custom"]["actionId"] for context in contexts]

    async def arrived(self) -> Json:
        shown = self.server.requests[-1].shown()
        headers = shown["headers"]
        context = next(name for name in headers if name.lower() == "x-amz-client-context")
        headers[context] = f"(base64 of) {base64.b64decode(headers[context]).decode()}"
        return shown

    def speak_tls(self, patch: pytest.MonkeyPatch) -> None:
        patch.setenv("AWS_ENDPOINT_URL_LAMBDA", f"https://{self.address}")

    async def limit(self, patch: pytest.MonkeyPatch) -> float:
        self.server.default = _error(429, "TooManyRequestsException", "Rate exceeded", **{"Retry-After": "7"})
        return 7

    async def knows(self, private: str) -> bool:
        return all(private in request.headers["authorization"] for request in self.server.requests)

    async def refuse(self) -> None:
        self.server.default = _error(403, "UnrecognizedClientException", "The token AKIDPRIVATE is invalid")

    async def fail(self) -> None:
        self.server.default = _error(500, "ServiceException", "AKIDPRIVATE met an internal error")

    async def hold(self) -> None:
        self.server.hold()

    async def release(self) -> None:
        self.server.default = Answer()
        self.server.release()

    async def held(self) -> int:
        return self.server.waiting


def _error(status: int, code: str, message: str, **headers: str) -> Answer:
    told = {"x-amzn-ErrorType": f"{code}:http://internal.amazon.com/coral/", **headers}
    return Answer(status, told, json.dumps({"Type": "User", "Message": message}).encode())


class TestAwsLambda(TriggerSuite):
    kind = "awsLambda"
    bad_blocks: ClassVar[list[tuple[dict[str, Any], str]]] = [
        ({**BLOCK, "functionName": ""}, "functionName"),
        ({**BLOCK, "functionName": "../../x"}, "functionName"),
        ({**BLOCK, "region": "evil.example/"}, "region"),
        ({**BLOCK, "payload": []}, "payload"),
        ({"functionName": "hello", "region": "us-east-1"}, "payload"),
        ({"functionName": "hello", "payload": PAYLOAD}, "region"),
        ({**BLOCK, "invocationType": "Later"}, "invocationType"),
        ({**BLOCK, "secretKey": None}, "secretKey"),
    ]

    @pytest.fixture
    async def receiver(self, server: HttpServer) -> _Lambda:
        return _Lambda(server)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("hello", "hello"),
        ("hello:PROD", "hello%3APROD"),
        ("hello:$LATEST", "hello%3A%24LATEST"),
        (
            "arn:aws:lambda:us-east-1:123456789012:function:hello",
            "arn%3Aaws%3Alambda%3Aus-east-1%3A123456789012%3Afunction%3Ahello",
        ),
    ],
)
async def test_the_function_is_named_as_the_manifest_has_it(
    server: HttpServer, fire: Any, name: str, path: str
) -> None:
    outcome = await fire({"functionName": name}, payload=b'{"n":1}')
    (request,) = server.requests
    assert (request.method, request.target) == ("POST", f"/2015-03-31/functions/{path}/invocations")
    assert request.body == b'{"n":1}'
    assert request.headers["x-amz-invocation-type"] == "RequestResponse"
    assert "/us-east-1/lambda/aws4_request" in request.headers["authorization"]
    assert outcome.message == f"function {name!r} in us-east-1 returned (200)"
    assert outcome.detail == {"status": 200, "body": {"hello": "world"}}


@pytest.mark.parametrize(("kind", "status"), [("Event", 202), ("DryRun", 204), ("RequestResponse", 200)])
async def test_the_invocation_type_is_what_the_block_says(
    server: HttpServer, fire: Any, kind: str, status: int
) -> None:
    server.default = Answer(status)
    outcome = await fire({"invocationType": kind})
    assert server.requests[0].headers["x-amz-invocation-type"] == kind
    assert outcome.detail == {"status": status, "body": ""}


async def test_what_a_block_says_for_one_action_counts_for_that_action(server: HttpServer, fire: Any) -> None:
    # Given blocks as parameters make them: another region, other keys
    await fire()
    await fire({"region": "eu-west-3", **KEYS, "accessKey": {"name": "aws", "key": "secret"}})
    # Then each is signed as it says, by one client
    one, two = (request.headers["authorization"] for request in server.requests)
    assert "Credential=AKIAIOSFODNN7EXAMPLE/" in one and "/us-east-1/" in one
    assert "Credential=wJalr" in two and "/eu-west-3/" in two


async def test_a_thousand_actions_use_one_connection(server: HttpServer, fire: Any) -> None:
    for number in range(1000):
        await fire(id=f"action-{number}")
    assert (len(server.requests), server.connections) == (1000, 1)


async def test_a_role_is_taken_once_for_many_actions(
    server: HttpServer, fire: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a role
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", server.url)
    inner = "<AccessKeyId>ROLE</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t0k</SessionToken>"
    server.answers["/"] = Answer(body=f"<R><C>{inner}<Expiration>2099-01-01T00:00:00Z</Expiration></C></R>".encode())
    # When actions are fired
    for _ in range(3):
        await fire({"roleARN": "arn:aws:iam::123456789012:role/some-role"})
    # Then it was taken once, and they are signed as it
    assert [request.target for request in server.requests].count("/") == 1
    assert all("Credential=ROLE/" in request.headers["authorization"] for request in server.requests[1:])
    assert server.requests[1].headers["x-amz-security-token"] == "t0k"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"errorMessage":"no such order","errorType":"KeyError","stackTrace":["..."]}', "KeyError: no such order"),
        (b'{"errorMessage":"Task timed out after 3.00 seconds"}', "Task timed out after 3.00 seconds"),
        (b"not\n  JSON", "not JSON"),
        (b"[1]", "[1]"),
        (b"", "without a word"),
    ],
)
async def test_a_function_that_fails_fails_the_action_with_its_words(
    server: HttpServer, fire: Any, body: bytes, said: str
) -> None:
    # Given a function that raises; Lambda answers 200 all the same
    server.default = Answer(200, {"X-Amz-Function-Error": "Unhandled"}, body)
    with pytest.raises(TriggerError) as raised:
        await fire()
    # Then another try may help, for it may have been its database
    assert type(raised.value) is TriggerError
    assert str(raised.value) == f"function 'hello' in us-east-1 failed (Unhandled): {said}"


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (400, "InvalidParameterValueException", Rejected),
        (400, "InvalidRequestContentException", Rejected),
        (403, "AccessDeniedException", Rejected),
        (403, "ExpiredTokenException", TriggerError),
        (404, "ResourceNotFoundException", Rejected),
        (409, "ResourceConflictException", TriggerError),
        (413, "RequestTooLargeException", Rejected),
        (429, "TooManyRequestsException", TriggerError),
        (500, "ServiceException", TriggerError),
        (502, "EC2ThrottledException", TriggerError),
        (503, "ServiceUnavailable", TriggerError),
    ],
)
async def test_refusals_and_failures_are_told_apart(
    server: HttpServer, fire: Any, status: int, code: str, error: type[Exception]
) -> None:
    server.default = _error(status, code, "for this reason")
    with pytest.raises(TriggerError) as raised:
        await fire()
    assert type(raised.value) is error
    assert f"answered {status} {code}: for this reason" in str(raised.value)


async def test_throttling_says_when_to_come_back(server: HttpServer, fire: Any) -> None:
    server.default = _error(429, "TooManyRequestsException", "Rate exceeded", **{"Retry-After": "7"})
    with pytest.raises(RetryAfter) as raised:
        await fire()
    assert raised.value.seconds == 7


async def test_the_status_policy_decides_where_there_is_one(server: HttpServer, fire: Any) -> None:
    allow: dict[str, Json] = {"status": {"allow": [200, 202]}}
    await fire(policy=allow)
    server.default = Answer(202)
    await fire({"invocationType": "Event"}, policy=allow)
    server.default = Answer(204)
    with pytest.raises(TriggerError, match=r"answered 204, which policy.status does not allow \(200, 202\)"):
        await fire({"invocationType": "DryRun"}, policy=allow)
    # And a function that failed has failed, whatever status Lambda gives it
    server.default = Answer(200, {"X-Amz-Function-Error": "Handled"}, b'{"errorMessage":"x"}')
    with pytest.raises(TriggerError, match="failed"):
        await fire(policy=allow)


async def test_what_a_function_returns_is_kept_as_far_as_that_is_sensible(server: HttpServer, fire: Any) -> None:
    for body, kept in (
        (b'{"a":[1,"\xc3\xa4"]}', {"a": [1, "ä"]}),
        (b"null", None),
        (b"plain\n text", "plain text"),
        (b'"' + b"x" * 100_000 + b'"', '"' + "x" * 499),
    ):
        server.default = Answer(body=body)
        assert (await fire()).detail["body"] == kept


async def test_nobody_there_and_no_credentials_are_sentences(fire: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given nothing at the endpoint, then another try may help
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", "http://127.0.0.1:9")
    with pytest.raises(TriggerError, match="'hello' in us-east-1: AWS Invoke at 127.0.0.1:9 failed") as raised:
        await fire()
    assert type(raised.value) is TriggerError
    # Given no credentials, then neither: a metadata service may be slow for once
    with pytest.raises(TriggerError, match="there are no AWS credentials") as raised:
        await fire({"accessKey": None, "secretKey": None})
    assert type(raised.value) is TriggerError
    # Given a profile that has none, then it cannot
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(Rejected, match="AWS_PROFILE 'nobody' has no keys"):
        await fire({"accessKey": None, "secretKey": None})


async def test_parameters_reach_every_field(server: HttpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a block all of whose fields come from the event
    places = {
        "functionName": "theirs:PROD",
        "region": "eu-west-3",
        "invocationType": "Event",
        "roleARN": "arn:aws:iam::1:role/r",
        "accessKey.name": "other",
        "secretKey.key": "hush",
        "payload.0.dest": "number",
    }
    parameters = [
        {"src": {"dependencyName": "dep", "dataKey": place.replace(".", "-")}, "dest": place} for place in places
    ]
    data = {place.replace(".", "-"): value for place, value in places.items()} | {"n": 7}
    events = {"dep": event(data)}
    config = AwsLambdaConfig.model_validate({**BLOCK, "parameters": parameters})
    # When they are set as the runtime sets them, and the action is fired
    done = rendering.complete(rendering.Prepared("awsLambda", config), None, events)
    block = done.config.model_dump(by_alias=True, exclude_unset=True)
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", server.url)
    inner = "<AccessKeyId>ROLE</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t0k</SessionToken>"
    server.answers["/"] = Answer(body=f"<R>{inner}</R>".encode())
    stage = Stage("awsLambda", secrets={("other", "id"): "AKIDOTHER", ("aws", "hush"): "s3cr3t"})
    async with stage.open() as trigger:
        await stage.fire(trigger, block, payload=done.payload)
    # Then each has its effect
    sts, invoked = server.requests
    assert "Credential=AKIDOTHER/" in sts.headers["authorization"] and b"role%2Fr" in sts.body
    assert "Credential=ROLE/" in invoked.headers["authorization"]
    assert "/eu-west-3/lambda/" in invoked.headers["authorization"]
    assert invoked.target == "/2015-03-31/functions/theirs%3APROD/invocations"
    assert invoked.headers["x-amz-invocation-type"] == "Event"
    assert invoked.body == b'{"number":"7"}'
    # And what no block may say is rejected
    bad = {"src": {"dependencyName": "dep", "value": "evil.example/"}, "dest": "region"}
    config = AwsLambdaConfig.model_validate({**BLOCK, "parameters": [bad]})
    with pytest.raises(Rejected, match="awsLambda is not valid: region"):
        rendering.complete(rendering.Prepared("awsLambda", config), None, events)


async def test_what_goes_wrong_on_the_way_is_tried_again(
    server: HttpServer, fire: Any, monkeypatch: pytest.MonkeyPatch, certificates: Path
) -> None:
    # Given an answer that breaks off, one that does not come, and a certificate that nobody knows
    server.queue.append(Answer(body=b"x" * 100, cut=10))
    with pytest.raises(TriggerError, match="failed: peer closed connection") as raised:
        await fire()
    assert type(raised.value) is TriggerError
    monkeypatch.setattr("argosy.triggers.aws_lambda._HANDED_SECONDS", 0.1)
    server.hold()
    with pytest.raises(TriggerError, match="no answer in time") as raised:
        await fire({"invocationType": "Event"})
    assert type(raised.value) is TriggerError
    server.release()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "server.crt", certificates / "server.key")
    async with HttpServer(context) as secured:
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", secured.url)
        with pytest.raises(TriggerError, match="certificate is not trusted") as raised:
            await fire()
        assert type(raised.value) is TriggerError
        assert secured.requests == []
    # Then the next try goes well
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", server.url)
    assert (await fire()).detail["status"] == 200


async def test_a_function_that_thinks_is_waited_for(
    server: HttpServer, fire: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a call that may take but a moment, unless the function is waited for
    monkeypatch.setattr("argosy.aws.client._CALL_SECONDS", 0.05)
    monkeypatch.setattr("argosy.triggers.aws_lambda._HANDED_SECONDS", 0.05)
    server.hold()
    task = asyncio.create_task(fire())
    await asyncio.sleep(0.3)
    assert not task.done()
    server.release()
    assert (await task).detail["status"] == 200


async def test_what_the_function_returned_must_say_what_the_policy_wants(server: HttpServer, fire: Any) -> None:
    policy = {"response": {"match": [{"path": "$.state", "value": "done"}]}}
    server.default = Answer(200, body=b'{"state":"done"}')
    assert (await fire(policy=policy)).detail["body"] == {"state": "done"}
    server.default = Answer(200, body=b'{"state":"late"}')
    with pytest.raises(TriggerError, match=r'policy.response is not met: \$.state is "late", not "done"'):
        await fire(policy=policy)
    # One that was only handed over has returned nothing yet
    server.default = Answer(202)
    await fire({"invocationType": "Event"}, policy=policy)
