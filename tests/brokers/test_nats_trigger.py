"""The ``nats`` trigger against a real NATS server: the suite of all triggers, and what is NATS' own."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from argosy.errors import Rejected, TriggerError
from argosy.manifests.fields import Json
from tests.brokers.gate import Gate
from tests.brokers.nats_server import connect
from tests.brokers.sources.nats_server import PASSWORD, NatsServer, operator
from tests.brokers.sources.server import CLIENT_TLS
from tests.conformance.sent import text_of
from tests.conformance.trigger import Receiver, Stage, TriggerSuite, eventually

_PAYLOAD: list[Json] = [{"src": {"dependencyName": "dep", "dataKey": "body"}, "dest": "body"}]
_BASIC = {"basic": {"username": {"name": "nats", "key": "user"}, "password": {"name": "nats", "key": "password"}}}
_WHOLE: dict[str, Json] = {"url": "nats:4222", "subject": "s", "payload": _PAYLOAD}
_numbers = itertools.count(1)


class Subject(Receiver):
    """A subject of its own behind a gate, and who listens to it."""

    secrets: ClassVar[dict[tuple[str, str], str]] = {("nats", "user"): "argosy", ("nats", "password"): PASSWORD}
    private = (PASSWORD,)
    greeting = b'INFO {"server_id":"a","version":"2.12.0","max_payload":1048576,"headers":true,"tls_required":true}\r\n'
    never: ClassVar[dict[str, str]] = {"limited": "a NATS server cuts slow readers off and limits no sender"}
    hastened: ClassVar[dict[str, Json]] = {"argosy.triggers._nats_link._ANSWER_SECONDS": 1}

    def __init__(self, server: NatsServer, gate: Gate) -> None:
        self.server = server
        self.gate = gate
        self.address = f"127.0.0.1:{gate.port}"
        self.subject = f"trigger-{next(_numbers)}"
        self.block = {
            "url": f"nats://127.0.0.1:{gate.port}",
            "subject": self.subject,
            "payload": _PAYLOAD,
            "auth": _BASIC,
        }
        self.messages: list[Any] = []
        self._held_from = 0

    async def listen(self) -> None:
        self._client = await connect(self.server.url, user="argosy", password=PASSWORD)

        async def note(message: Any) -> None:
            self.messages.append(message)

        await self._client.subscribe(f"{self.subject}", cb=note)
        await self._client.subscribe(f"{self.subject}.>", cb=note)
        await self._client.flush()

    async def close(self) -> None:
        await self._client.close()

    async def effects(self) -> list[str]:
        await self._client.flush()
        await asyncio.sleep(0.02)  # the library hands messages to its callbacks by tasks of its own
        return [message.headers["Nats-Msg-Id"] for message in self.messages]

    async def arrived(self) -> Json:
        await self.effects()
        message = self.messages[-1]
        return {"subject": message.subject, "headers": dict(message.headers), "data": text_of(message.data)}

    def speak_tls(self, patch: pytest.MonkeyPatch) -> None:
        self.block = {**self.block, "url": f"tls://{self.address}"}

    async def knows(self, private: str) -> bool:
        return True  # nobody is let in without the password

    async def refuse(self) -> None:
        self.block = {**self.block, "subject": "forbidden.x"}

    async def fail(self) -> None:
        self.gate.hang_up()

    async def hold(self) -> None:
        self._held_from = len(self.messages)
        self.gate.hold()

    async def release(self) -> None:
        self.gate.release()

    async def held(self) -> int:
        return len(self.messages) - self._held_from


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    folder = tmp_path_factory.mktemp("nats")
    extra = f"""\
jetstream {{ store_dir: "{folder}/streams" }}
authorization {{ users = [
  {{ user: argosy, password: "{PASSWORD}", permissions: {{ publish: {{ deny: "forbidden.>" }} }} }}
] }}
"""
    with NatsServer(folder, extra) as server:
        yield server


@pytest.fixture
async def receiver(server: NatsServer) -> AsyncIterator[Subject]:
    async with Gate(server.port, b'{"n":1}') as gate:
        subject = Subject(server, gate)
        await subject.listen()
        yield subject
        await subject.close()


@pytest.fixture
def stage(receiver: Subject) -> Stage:
    return Stage("nats", secrets=dict(receiver.secrets))


class TestNats(TriggerSuite):
    kind = "nats"
    bad_blocks: ClassVar[list[tuple[dict[str, Any], str]]] = [
        ({"subject": "s", "payload": _PAYLOAD}, "url"),
        ({"url": "nats", "payload": _PAYLOAD}, "subject"),
        ({"url": "nats", "subject": "s"}, "payload"),
        ({**_WHOLE, "payload": []}, "payload"),
        ({**_WHOLE, "url": "http://nats"}, "nats://"),
        ({**_WHOLE, "url": "nats://nats:port"}, "url"),
        ({**_WHOLE, "subject": "a.*"}, "subject"),
        ({**_WHOLE, "subject": "a b"}, "subject"),
        ({**_WHOLE, "subject": ""}, "subject"),
        ({**_WHOLE, "auth": {"basic": {"username": {"name": "s", "key": "k"}}}}, "basic"),
        ({**_WHOLE, "tls": {}}, "caCertSecret"),
    ]

    @pytest.fixture
    async def receiver(self, receiver: Subject) -> Subject:
        """That of the module, which its other tests have, too."""
        return receiver


async def test_the_message_is_the_payload_and_nothing_else(receiver: Subject, stage: Stage) -> None:
    async with stage.open() as trigger:
        outcome = await stage.fire(
            trigger, {**receiver.block, "subject": f"{receiver.subject}.b"}, payload='{"ä": 1}'.encode()
        )
        await stage.fire(trigger, receiver.block, id="action-2", payload=b"")
    assert await receiver.effects() == ["action-1", "action-2"]
    assert [(each.subject, each.data) for each in receiver.messages] == [
        (f"{receiver.subject}.b", '{"ä": 1}'.encode()),
        (receiver.subject, b""),
    ]
    assert f"subject '{receiver.subject}.b' of nats://127.0.0.1:{receiver.gate.port}" in outcome.message


async def test_a_thousand_actions_share_one_connection(receiver: Subject, stage: Stage) -> None:
    async with stage.open() as trigger:
        for start in range(0, 1000, 50):
            await asyncio.gather(
                *(stage.fire(trigger, receiver.block, id=f"action-{start + number}") for number in range(50))
            )
        assert len(set(await receiver.effects())) == 1000
        assert receiver.gate.connections == 1


async def test_with_jet_stream_the_action_ends_when_a_stream_has_stored_it_once(
    receiver: Subject, stage: Stage
) -> None:
    # Given a stream that takes the subject
    client = await connect(receiver.server.url, user="argosy", password=PASSWORD)
    await client.jetstream().add_stream(name=receiver.subject, subjects=[f"{receiver.subject}.stored"])
    block = {**receiver.block, "subject": f"{receiver.subject}.stored", "jetStream": True}
    async with stage.open() as trigger:
        # When an action is performed twice, then it is stored once, and the outcome says where
        first = await stage.fire(trigger, block)
        again = await stage.fire(trigger, block, attempt=2)
        assert (first.detail["seq"], first.detail["duplicate"], again.detail["duplicate"]) == (1, False, True)
        assert (await client.jetstream().stream_info(receiver.subject)).state.messages == 1
        # And without a stream it is rejected
        with pytest.raises(Rejected, match="has no stream for subject"):
            await stage.fire(trigger, {**block, "subject": "lonely"})
    await client.close()


async def test_every_way_to_be_let_in_and_what_a_rotated_secret_does(tmp_path: Path, server: NatsServer) -> None:
    extra, creds = operator()
    selector = {"name": "nats", "key": "it"}
    with NatsServer(tmp_path / "jwt", extra) as by_jwt, NatsServer(tmp_path / "plain") as plain:
        cases: list[tuple[NatsServer, Json, str]] = [
            (by_jwt, {"credential": selector}, creds),
            (plain, {"nkey": selector}, plain.nkey.seed),
        ]
        for where, auth, secret in cases:
            stage = Stage("nats", secrets={("nats", "it"): secret})
            async with stage.open() as trigger:
                await stage.fire(trigger, {"url": where.url, "subject": "s", "payload": _PAYLOAD, "auth": auth})
                with pytest.raises(TriggerError):
                    await stage.fire(trigger, {"url": server.url, "subject": "s", "payload": _PAYLOAD, "auth": auth})
        # In the URL, and with the first server away
        url = f"nats://127.0.0.1:9,nats://argosy:p%40ss%2Fw%3Ard%2541@127.0.0.1:{plain.port}"
        stage = Stage("nats", secrets={("nats", "user"): "argosy", ("nats", "password"): "wr0ng"})
        async with stage.open() as trigger:
            await stage.fire(trigger, {"url": url, "subject": "s", "payload": _PAYLOAD})
            # And a password that is corrected counts at the next action
            block = {"url": plain.url, "subject": "s", "payload": _PAYLOAD, "auth": _BASIC}
            with pytest.raises(TriggerError, match="does not accept our credentials"):
                await stage.fire(trigger, block)
            stage.secrets["nats", "password"] = PASSWORD
            await stage.fire(trigger, block, attempt=2)


async def test_tls_with_our_certificate_is_demanded_and_verified(tmp_path: Path, receiver: Subject) -> None:
    with NatsServer(tmp_path, tls=True) as server:
        secrets = {**receiver.secrets, **server.tls_secrets()}
        stage = Stage("nats", secrets=secrets)
        block = {"url": f"nats://localhost:{server.port}", "subject": "s", "payload": _PAYLOAD, "auth": _BASIC}
        async with stage.open() as trigger:
            await stage.fire(trigger, {**block, "tls": CLIENT_TLS})
            only_ca = {"caCertSecret": CLIENT_TLS["caCertSecret"]}
            for tls, wanted in ((None, "is not trusted"), (only_ca, "localhost")):
                with pytest.raises(TriggerError, match=wanted) as raised:
                    await stage.fire(trigger, {**block, **({"tls": tls} if tls else {})})
                assert PASSWORD not in str(raised.value)
            with pytest.raises(Rejected, match="does not demand TLS"):
                await stage.fire(trigger, {**receiver.block, "tls": CLIENT_TLS})


async def test_failures_are_sentences_and_what_is_too_large_is_rejected(receiver: Subject, stage: Stage) -> None:
    async with stage.open() as trigger:
        with pytest.raises(TriggerError, match="nothing listens at nats://127.0.0.1:9") as raised:
            await stage.fire(trigger, {**receiver.block, "url": "nats://127.0.0.1:9"})
        assert not isinstance(raised.value, Rejected)
        with pytest.raises(Rejected, match="takes no message of 2000000 bytes"):
            await stage.fire(trigger, receiver.block, payload=b"x" * 2_000_000)
        with pytest.raises(Rejected, match="does not let us publish to 'forbidden.x'"):
            await stage.fire(trigger, {**receiver.block, "subject": "forbidden.x"})
        # And the connection is good for the next action all the same
        await stage.fire(trigger, receiver.block)
        await eventually(lambda: len(receiver.messages) == 1)
        assert receiver.gate.connections == 1


async def test_a_server_that_does_not_answer_is_tried_again_over_another_connection(
    receiver: Subject, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a server whose answers do not come
    monkeypatch.setattr("argosy.triggers._nats_link._ANSWER_SECONDS", 1)
    async with stage.open() as trigger:
        await receiver.hold()
        # When actions are fired, then they fail with a sentence
        for extra in ({}, {"jetStream": True}):
            with pytest.raises(TriggerError, match="no answer in time") as raised:
                await stage.fire(trigger, {**receiver.block, **extra})
            assert not isinstance(raised.value, Rejected)
        # And the next try does not wait for the old connection
        before = receiver.gate.connections
        await receiver.release()
        await stage.fire(trigger, receiver.block, attempt=2)
        assert receiver.gate.connections == before + 1
