"""The ``sqs`` source against moto's SQS: the suite of every source, and what is a queue's own.

AWS's own client is the other side: it makes the queues, sends, and looks.

Longer than 400 lines, for the queues, their owners and what may go wrong share one emulator.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import itertools
import json
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from argosy.errors import BusError, EventInvalid, EventTooLarge, SourceError
from argosy.manifests.fields import Json
from argosy.registry import wrap
from argosy.sources import sqs
from argosy.sources._raw import Raw
from tests.conformance.source import SourceSuite, Stage, Upstream, eventually, on_stage, raising
from tests.peers.moto_server import ACCOUNT, REGION, MotoServer
from tests.unit.triggers.receivers import Answer, HttpServer

_numbers = itertools.count(1)
KEYS = {"accessKey": {"name": "aws", "key": "id"}, "secretKey": {"name": "aws", "key": "secret"}}
SECRETS = {("aws", "id"): "AKIAIOSFODNN7EXAMPLE", ("aws", "secret"): "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}
_INVISIBLE_SECONDS = 2
"""What a poll that was given up takes along comes again soon enough for a test."""


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MotoServer]:
    with MotoServer(tmp_path_factory.mktemp("moto")) as server:
        yield server


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No credentials of this machine get in, and nothing asks a metadata service."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setattr(sqs, "_INVISIBLE_SECONDS", _INVISIBLE_SECONDS)


class Queue(Upstream):
    """A queue that nobody else uses, and its sender."""

    redelivers = True
    keeps = True
    names_messages = True
    secrets = SECRETS

    def __init__(self, server: MotoServer, **attributes: str) -> None:
        self.server = server
        self.client = server.client("sqs")
        fifo = ".fifo" if attributes.get("FifoQueue") else ""
        self.name = f"queue-{next(_numbers)}{fifo}"
        self.url = self.client.create_queue(QueueName=self.name, Attributes=attributes)["QueueUrl"]
        self.block = {"queue": self.name, "region": REGION, "endpoint": server.url, "waitTimeSeconds": 1, **KEYS}
        self.sent = 0

    async def say(self, body: str, **more: Any) -> str:
        """Send a body as it is; the message's id."""
        answer = await asyncio.to_thread(self.client.send_message, QueueUrl=self.url, MessageBody=body, **more)
        self.sent += 1
        return str(answer["MessageId"])

    async def send(self, text: str) -> None:
        await self.say(text)

    def text_of(self, data: Json) -> str:
        assert list(data) in (
            ["messageId", "messageAttributes", "body"],
            ["messageId", "messageAttributes", "body", "metadata"],
        )
        assert data["messageAttributes"] is None
        return base64.b64decode(data["body"]).decode()

    async def left(self, queue: str = "") -> tuple[int, int]:
        """How many messages the queue holds for others, and how many were received and are not settled."""
        answer = await asyncio.to_thread(
            self.client.get_queue_attributes, QueueUrl=queue or self.url, AttributeNames=["All"]
        )
        found = answer["Attributes"]
        return int(found["ApproximateNumberOfMessages"]), int(found["ApproximateNumberOfMessagesNotVisible"])

    async def acknowledged(self) -> int:
        return self.sent - sum(await self.left())


@pytest.fixture
def upstream(moto: MotoServer) -> Queue:
    return Queue(moto)


@pytest.fixture
async def stage(upstream: Queue) -> AsyncIterator[Stage]:
    async with on_stage("sqs", dict(upstream.block), secrets=dict(SECRETS)) as stage:
        yield stage


_GOOD = {"queue": "q", "region": REGION}


class TestSqs(SourceSuite):
    kind = "sqs"
    bad_blocks: ClassVar[list[tuple[dict[str, Any], str]]] = [
        ({"region": REGION}, "queue"),
        ({"queue": "", "region": REGION}, "queue"),
        ({"queue": "q"}, "region"),
        ({**_GOOD, "region": "evil.example/"}, "region"),
        ({**_GOOD, "waitTimeSeconds": 21}, "waitTimeSeconds"),
        ({**_GOOD, "waitTimeSeconds": -1}, "waitTimeSeconds"),
        ({**_GOOD, "accessKey": KEYS["accessKey"]}, "secretKey"),
        ({**_GOOD, "sessionToken": KEYS["accessKey"]}, "sessionToken"),
        ({**_GOOD, "jsonbodies": True}, "jsonbodies"),
    ]

    @pytest.fixture
    def upstream(self, upstream: Queue) -> Queue:
        return upstream


async def test_the_data_has_upstreams_keys_and_the_id_is_the_messages(upstream: Queue, stage: Stage) -> None:
    # Given a source of JSON with metadata
    stage.block |= {"jsonBody": True, "metadata": {"m": "1"}}
    await stage.start()
    # When a message with attributes of all kinds comes
    attributes = {
        "city": {"DataType": "String", "StringValue": "Tōkyō <1>"},
        "number": {"DataType": "Number", "StringValue": "12"},
        "raw": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
    }
    name = await upstream.say('{"b": 1.0, "a": "<ä>"}', MessageAttributes=attributes)
    # Then the data is upstream's, to the byte: every key of AWS's Go structure, and the body as it was sent
    (event,) = await stage.events(1)

    def attribute(kind: str, text: str = "null", binary: str = "null") -> str:
        nothing = '"BinaryListValues":null,"BinaryValue":' + binary
        return f'{{{nothing},"DataType":"{kind}","StringListValues":null,"StringValue":{text}}}'

    shown = ",".join(
        (
            f'"city":{attribute("String", chr(34) + "Tōkyō " + chr(92) + "u003c1" + chr(92) + "u003e" + chr(34))}',
            f'"number":{attribute("Number", chr(34) + "12" + chr(34))}',
            f'"raw":{attribute("Binary", binary=chr(34) + "AP8=" + chr(34))}',
        )
    )
    body = '{"b":1.0,"a":"\\u003cä\\u003e"}'
    assert event.raw.decode() == (
        f'{{"messageId":"{name}","messageAttributes":{{{shown}}},"body":{body},"metadata":{{"m":"1"}}}}'
    )
    assert event.id == name
    # And a plain message is what wrap makes of it
    name = await upstream.say('["plain"]')
    _, event = await stage.events(2)
    config = stage.context().config
    assert wrap("sqs", config, Raw(b'["plain"]', {"messageId": name})) == (event.raw, event.id) == (event.raw, name)
    assert wrap("sqs", config, Raw(b"[]")).id is None
    with pytest.raises(EventInvalid, match="not JSON"):
        wrap("sqs", config, Raw(b"no"))
    with pytest.raises(EventInvalid, match="no property"):
        wrap("sqs", config, Raw(b"[]", {"Nonsense": "1"}))


async def test_messages_are_received_ten_at_a_time_and_no_more_while_the_bus_does_not_answer(
    upstream: Queue, stage: Stage
) -> None:
    # Given twelve messages, and a bus that does not answer
    stage.close_gate()
    for number in range(12):
        await upstream.send(f"{number}")
    # When the source starts
    await stage.start()
    await eventually(lambda: stage.under_way == 10)
    await upstream.settle()
    # Then ten are under way at once, and the others are left for whoever else reads
    assert (stage.under_way, await upstream.left()) == (10, (2, 10))
    stage.open_gate()
    await stage.events(12)


async def test_while_emit_waits_nobody_else_gets_the_messages(upstream: Queue, stage: Stage) -> None:
    # Given messages whose emit waits for longer than their invisibility lasts
    await stage.start()
    stage.close_gate()
    await upstream.send("one")
    await eventually(lambda: stage.under_way == 1)
    other = await asyncio.to_thread(
        upstream.client.receive_message, QueueUrl=upstream.url, WaitTimeSeconds=_INVISIBLE_SECONDS + 1
    )
    # Then another reader has got nothing meanwhile
    assert "Messages" not in other
    # And each is one event, and deleted
    stage.open_gate()
    await stage.events(1)
    await eventually(lambda: _deleted(upstream))
    assert len(stage.offered) == 1


@pytest.mark.parametrize("dlq", [False, True])
@pytest.mark.parametrize("failure", ["not JSON", "too large"])
async def test_a_message_that_cannot_become_an_event_is_deleted_or_goes_to_the_dead_letters(
    moto: MotoServer, monkeypatch: pytest.MonkeyPatch, dlq: bool, failure: str
) -> None:
    monkeypatch.setattr(sqs, "_INVISIBLE_SECONDS", 1)
    # Given a queue whose messages become dead letters after one delivery
    dead = Queue(moto)
    arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{dead.name}"
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 1})
    upstream = Queue(moto, RedrivePolicy=policy)
    block: dict[str, Json] = {**upstream.block, "jsonBody": True, "dlq": dlq}
    async with on_stage("sqs", block, secrets=dict(SECRETS)) as stage:
        await stage.start()
        # When one comes that is no JSON, or that the bus will never take
        if failure == "too large":
            stage.failure = EventTooLarge("the event has 2 MB, the bus takes 1 MB")
        name = await upstream.say("no" if failure == "not JSON" else "{}")
        await eventually(lambda: len(stage.refused) == 1)
        # Then it is counted in a sentence that names it, and the next one is served
        stage.failure = None
        await upstream.say('"good"')
        (event,) = await stage.events(1)
        assert event.data["body"] == "good"
        assert name in stage.refused[0] and repr(upstream.name) in stage.refused[0]
        # And it is where the manifest says
        await eventually(lambda: _deleted(upstream))
        assert await upstream.left(dead.url) == (int(dlq), 0)
        assert not stage.errors


async def test_of_a_batch_what_is_stored_is_deleted_and_the_rest_comes_again(upstream: Queue, stage: Stage) -> None:
    # Given a bus that refuses one message of three
    stage.only, stage.failure = base64.b64encode(b"bad"), BusError("the bus does not take this one")
    for text in ("good", "bad", "fine"):
        await upstream.send(text)
    # When they are received, then two are stored once and deleted, and the third comes again and again
    await stage.start()
    await eventually(lambda: len(stage.errors) >= 2)
    assert sorted(upstream.text_of(event.data) for event in stage.emitted) == ["fine", "good"]
    assert sum(await upstream.left()) == 1
    # Until the bus takes it
    stage.failure = None
    await stage.events(3)
    await eventually(lambda: _deleted(upstream))
    assert len(stage.emitted) == 3


async def test_messages_of_a_fifo_queue_stay_in_order_whatever_fails(moto: MotoServer) -> None:
    # Given a FIFO queue with messages of one group, and a bus that refuses the third for a while
    upstream = Queue(moto, FifoQueue="true")
    texts = [f"{number}" for number in range(5)]
    for text in texts:
        marks = {"MessageGroupId": "g", "MessageDeduplicationId": hashlib.sha256(text.encode()).hexdigest()}
        await upstream.say(text, **marks)
    async with on_stage("sqs", dict(upstream.block), secrets=dict(SECRETS)) as stage:
        stage.only, stage.failure = base64.b64encode(b"2"), BusError("the bus does not take this one")
        await stage.start()
        # When it has failed
        await eventually(lambda: len(stage.errors) >= 2)
        # Then nothing that came after it was stored
        assert [upstream.text_of(event.data) for event in stage.emitted] == ["0", "1"]
        # And all are, in order, once the bus takes it
        stage.failure = None
        await stage.events(5)
        assert [upstream.text_of(event.data) for event in stage.emitted] == texts
        await eventually(lambda: _deleted(upstream))


async def test_a_killed_peer_is_come_back_to(tmp_path: Path) -> None:
    with MotoServer(tmp_path) as server:
        upstream = Queue(server)
        async with on_stage("sqs", dict(upstream.block), secrets=dict(SECRETS)) as stage:
            # Given a message whose emit is under way
            await stage.start()
            stage.close_gate()
            await upstream.send("before")
            await eventually(lambda: stage.under_way == 1)
            # When the peer is killed, and comes back with an empty queue (moto keeps nothing)
            await server.restart()
            stage.open_gate()
            await eventually(lambda: bool(stage.errors))
            upstream.client.create_queue(QueueName=upstream.name)
            await eventually(lambda: len(stage.listening) >= 2)
            await upstream.send("after")
            # Then both are events, each once, and sentences say what was wrong
            await stage.events(2)
            assert [upstream.text_of(event.data) for event in stage.emitted] == ["before", "after"]
            assert all(isinstance(error, SourceError) and "127.0.0.1" in str(error) for error in stage.errors)


async def test_cancelling_does_not_wait_for_a_poll(upstream: Queue, stage: Stage) -> None:
    # Given a poll that would go on for longer than this test may take
    stage.block["waitTimeSeconds"] = 20
    await stage.start()
    # When the source is cancelled, then it ends within what the runtime grants
    async with asyncio.timeout(2):
        await stage.stop()
    assert not stage.errors


async def test_the_queue_of_another_account_is_asked_for_and_its_url_is_what_counts_from_then_on() -> None:
    # Given a double of SQS, for moto knows no queue of another account
    url = "https://sqs.us-east-1.amazonaws.com/999999999999/theirs"
    async with HttpServer() as server:
        message = {"MessageId": "m-1", "ReceiptHandle": "r-1", "Body": "one"}
        for answer in ({"QueueUrl": url}, {"Messages": [message]}, {"Successful": [{"Id": "0"}]}):
            server.queue.append(Answer(body=json.dumps(answer).encode()))
        server.default = Answer(body=b"{}")
        block = {"queue": "theirs", "queueAccountId": "999999999999", "region": REGION, "endpoint": server.url, **KEYS}
        # When the source runs
        async with on_stage("sqs", block, secrets=dict(SECRETS)) as stage:
            await stage.start()
            await stage.events(1)
            await eventually(lambda: len(server.requests) >= 4)
        # Then that account's queue is looked up, and each further call is about its URL
        calls = [(request.headers["x-amz-target"], json.loads(request.body)) for request in server.requests]
        assert calls[0] == ("AmazonSQS.GetQueueUrl", {"QueueName": "theirs", "QueueOwnerAWSAccountId": "999999999999"})
        names = ["AmazonSQS.ReceiveMessage", "AmazonSQS.DeleteMessageBatch", "AmazonSQS.ReceiveMessage"]
        assert [name for name, _ in calls[1:4]] == names
        assert {call["QueueUrl"] for _, call in calls[1:]} == {url}
        # And a poll waits for three seconds where the manifest does not say
        assert calls[1][1]["WaitTimeSeconds"] == 3
        assert calls[2][1]["Entries"] == [{"Id": "0", "ReceiptHandle": "r-1"}]


@pytest.fixture
def strict(moto: MotoServer) -> Iterator[MotoServer]:
    """moto, checking signatures and rights while the test runs. Give it users before."""
    yield moto
    moto.lax()


def _user(moto: MotoServer, *actions: str) -> tuple[Any, dict[tuple[str, str], str]]:
    """A user who may do these actions, and the keys as the manifest's Secret."""
    iam = moto.client("iam")
    name = f"user-{next(_numbers)}"
    iam.create_user(UserName=name)
    document = {"Statement": [{"Effect": "Allow", "Action": list(actions), "Resource": "*"}], "Version": "2012-10-17"}
    iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=json.dumps(document))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return key, {("aws", "id"): key["AccessKeyId"], ("aws", "secret"): key["SecretAccessKey"]}


async def test_signatures_are_checked_and_rotated_keys_are_taken_up_without_a_secret_in_any_text(
    strict: MotoServer, upstream: Queue, caplog: pytest.LogCaptureFixture
) -> None:
    # Given a peer that checks signatures and rights, and a wrong secret key
    _, good = _user(strict, "sqs:*")
    _, poor = _user(strict, "sqs:GetQueueUrl")
    await upstream.send("one")
    strict.strict()
    caplog.set_level(logging.DEBUG)
    wrong = {**good, ("aws", "secret"): "this-is-not-the-secret-of-anybody"}
    async with on_stage("sqs", dict(upstream.block), secrets=dict(wrong)) as stage:
        task = asyncio.create_task(stage.start())
        await eventually(lambda: bool(stage.errors))
        assert "SignatureDoesNotMatch" in str(stage.errors[0])
        # When the Secret is that of somebody who may not read, then that is said
        stage.secrets.update(poor)
        await eventually(lambda: "AccessDenied" in str(stage.errors[-1]), f"{stage.errors}")
        # When it is right, then the message arrives, without a restart
        stage.secrets.update(good)
        await task
        await stage.events(1)
        # And no text has a secret
        told = f"{stage.errors} {stage.listening} {caplog.text}"
        for secret in (*good.values(), *poor.values(), *wrong.values()):
            assert secret not in told


@pytest.mark.parametrize("own", ["the process", "the manifest"])
async def test_a_role_is_taken_by_sts_with_whose_keys_there_are(
    strict: MotoServer, upstream: Queue, monkeypatch: pytest.MonkeyPatch, own: str
) -> None:
    # Given a role that may read queues, and a user who may only take it
    iam = strict.client("iam")
    role = f"role-{next(_numbers)}"
    trust = {"Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "*"}}]}
    arn = iam.create_role(RoleName=role, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    document = {"Statement": [{"Effect": "Allow", "Action": "sqs:*", "Resource": "*"}], "Version": "2012-10-17"}
    iam.put_role_policy(RoleName=role, PolicyName="p", PolicyDocument=json.dumps(document))
    _, keys = _user(strict, "sts:AssumeRole")
    await upstream.send("one")
    strict.strict()
    block: dict[str, Json] = {**upstream.block, "roleARN": arn}
    # When the process has keys those count, as upstream has it; where it has none, those of the manifest
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", strict.url)
    if own == "the process":
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", keys["aws", "id"])
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", keys["aws", "secret"])
    secrets = dict(SECRETS) if own == "the process" else dict(keys)
    async with on_stage("sqs", block, secrets=secrets) as stage:
        await stage.start()
        # Then the queue is read as the role
        await stage.events(1)
        assert not stage.errors


async def test_a_session_token_goes_with_its_keys(strict: MotoServer, upstream: Queue) -> None:
    # Given temporary keys of a role, in a Secret
    iam = strict.client("iam")
    role = f"role-{next(_numbers)}"
    arn = iam.create_role(RoleName=role, AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    document = {"Statement": [{"Effect": "Allow", "Action": "sqs:*", "Resource": "*"}], "Version": "2012-10-17"}
    iam.put_role_policy(RoleName=role, PolicyName="p", PolicyDocument=json.dumps(document))
    found = strict.client("sts").assume_role(RoleArn=arn, RoleSessionName="session")["Credentials"]
    secrets = {
        ("aws", "id"): found["AccessKeyId"],
        ("aws", "secret"): found["SecretAccessKey"],
        ("aws", "token"): "wrong",
    }
    await upstream.send("one")
    strict.strict()
    block: dict[str, Json] = {**upstream.block, "sessionToken": {"name": "aws", "key": "token"}}
    # When the token is wrong, then that is said; when it is right, then the queue is read
    async with on_stage("sqs", block, secrets=secrets) as stage:
        task = asyncio.create_task(stage.start())
        await eventually(lambda: bool(stage.errors))
        assert "InvalidClientTokenId" in str(stage.errors[0])
        stage.secrets["aws", "token"] = found["SessionToken"]
        await task
        await stage.events(1)


async def test_refusals_are_sentences(upstream: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    block = {key: value for key, value in upstream.block.items() if key not in KEYS}
    cases: list[tuple[dict[str, Json], str]] = [
        ({**upstream.block, "queue": "no-such-queue"}, "QueueDoesNotExist"),
        ({**upstream.block, "endpoint": "http://127.0.0.1:9"}, "GetQueueUrl at 127.0.0.1:9 failed"),
        (block, "there are no AWS credentials"),
        ({**block, "roleARN": "arn:aws:iam::1:role/r"}, "there are no AWS credentials"),
    ]
    for faulty, said in cases:
        async with raising("sqs", faulty, secrets=dict(SECRETS)) as sentence:
            assert said in sentence, sentence


async def test_tls_by_a_host_that_is_led_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Secured(MotoServer):
        tls = True

    with Secured(tmp_path) as server:
        upstream = Queue(server)
        # Given an endpoint by a name that the peer's certificate has, and one that it does not have
        names = ("kubernetes.default.svc", "other.svc")
        rules = " ".join(f"{name}:443=127.0.0.1:{server.port}" for name in names)
        monkeypatch.setenv("ARGOSY_RESOLVE", rules)
        block: dict[str, Json] = {**upstream.block, "endpoint": f"https://{names[0]}"}
        # When the machine does not know who signed it, or the name is another, then nothing is sent
        async with raising("sqs", block, secrets=dict(SECRETS)) as sentence:
            assert "certificate is not trusted" in sentence
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.crt"))
        async with raising("sqs", {**block, "endpoint": names[1]}, secrets=dict(SECRETS)) as sentence:
            assert "certificate is not trusted" in sentence
        # When both are right, then the queue is read
        async with on_stage("sqs", block, secrets=dict(SECRETS)) as stage:
            await stage.start()
            await upstream.send("one")
            await stage.events(1)


async def _deleted(queue: Queue) -> bool:
    return await queue.left() == (0, 0)


async def test_what_could_not_be_deleted_is_told_and_known_again() -> None:
    # Given a double of SQS that deletes one message of two, and delivers the other one again
    async with HttpServer() as server:
        messages = [{"MessageId": f"m-{number}", "ReceiptHandle": f"r-{number}", "Body": "x"} for number in range(2)]
        failed = {"Successful": [{"Id": "0"}], "Failed": [{"Id": "1", "Code": "ReceiptHandleIsInvalid"}]}
        found: dict[str, Json] = {"QueueUrl": "https://sqs.us-east-1.amazonaws.com/1/q"}
        for answer in (found, {"Messages": messages}, failed, found, {"Messages": messages[1:]}, {}):
            server.queue.append(Answer(body=json.dumps(answer).encode()))
        server.default = Answer(body=b"{}")
        block = {"queue": "q", "region": REGION, "endpoint": server.url, **KEYS}
        async with on_stage("sqs", block, secrets=dict(SECRETS)) as stage:
            # When the source runs
            await stage.start()
            await stage.events(3)
            # Then it said so, and the event that came twice has one id, by which the bus knows it
            assert "DeleteMessageBatch for 1 of 2 messages: ReceiptHandleIsInvalid" in str(stage.errors[0])
            assert [event.id for event in stage.emitted] == ["m-0", "m-1", "m-1"]


async def test_answers_that_are_none_are_sentences() -> None:
    async with HttpServer() as server:
        block = {"queue": "q", "region": REGION, "endpoint": server.url, **KEYS}
        for body, said in ((b"<html/>", "no JSON object"), (b"[]", "no JSON object"), (b"{}", "without the URL")):
            server.default = Answer(body=body)
            async with raising("sqs", block, secrets=dict(SECRETS)) as sentence:
                assert said in sentence
        server.default = Answer(503, body=b"<html>busy</html>")
        async with raising("sqs", block, secrets=dict(SECRETS)) as sentence:
            assert "GetQueueUrl" in sentence and sentence.endswith("answered 503")
