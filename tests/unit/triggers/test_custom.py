"""The ``custom`` trigger against a real gRPC server: the suite of all triggers, and what is the contract's own."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import grpclib
import pytest
import yaml

from argosy.errors import Rejected, TriggerError
from argosy.manifests.fields import Json
from tests.conformance.sent import text_of
from tests.conformance.trigger import Receiver, Stage, TriggerSuite
from tests.unit.triggers.custom_server import CustomServer, field

_PAYLOAD: list[Json] = [{"src": {"dependencyName": "dep", "dataKey": "n"}, "dest": "n"}]
_WHOLE: dict[str, Json] = {"serverURL": "server:9000", "spec": {"a": "b"}}


class Server(Receiver):
    hastened: ClassVar[dict[str, Json]] = {
        "argosy.triggers.custom._CONNECT_SECONDS": 0.3,
        "argosy.triggers.custom._FETCH_SECONDS": 0.3,
    }

    def __init__(self, server: CustomServer) -> None:
        self.server = server
        self.address = f"127.0.0.1:{server.port}"
        self.block = {"serverURL": f"127.0.0.1:{server.port}", "spec": {"what": "run"}, "payload": _PAYLOAD}

    async def effects(self) -> list[str]:
        return [name for name, _, _ in self.server.executed]

    async def arrived(self) -> Json:
        name, resource, payload = self.server.executed[-1]
        asked = yaml.safe_load(self.server.asked[-1])
        return {
            "FetchResource": {"resource": asked},
            "Execute": {
                "metadata": {"idempotency-key": name},
                "resource": text_of(resource),
                "payload": text_of(payload),
            },
        }

    def speak_tls(self, patch: pytest.MonkeyPatch) -> None:
        self.block = {**self.block, "secure": True}

    async def limit(self, patch: pytest.MonkeyPatch) -> None:
        self.server.failure = {"Execute": grpclib.GRPCError(grpclib.Status.RESOURCE_EXHAUSTED, "slow down")}

    async def refuse(self) -> None:
        self.server.failure = {"Execute": grpclib.GRPCError(grpclib.Status.INVALID_ARGUMENT, "no such pipeline")}

    async def fail(self) -> None:
        self.server.failure = {"Execute": grpclib.GRPCError(grpclib.Status.UNAVAILABLE, "not now")}

    async def hold(self) -> None:
        self.server.close_gate()

    async def release(self) -> None:
        self.server.failure = {}
        self.server.open_gate()

    async def held(self) -> int:
        return self.server.waiting


@pytest.fixture
async def server() -> AsyncIterator[CustomServer]:
    async with CustomServer().serving() as server:
        yield server


@pytest.fixture
def block(server: CustomServer) -> dict[str, Json]:
    return Server(server).block


@pytest.fixture
def stage() -> Stage:
    return Stage("custom")


class TestCustom(TriggerSuite):
    kind = "custom"
    bad_blocks: ClassVar[list[tuple[dict[str, Any], str]]] = [
        ({"spec": {}}, "serverURL"),
        ({"serverURL": "server:9000"}, "spec"),
        ({**_WHOLE, "serverURL": ""}, "serverURL"),
        ({**_WHOLE, "serverURL": "http://server:9000"}, "host:port"),
        ({**_WHOLE, "spec": {"a": ["b"]}}, "spec"),
    ]

    @pytest.fixture
    async def receiver(self, server: CustomServer) -> Server:
        return Server(server)


async def test_the_server_is_asked_for_the_spec_and_executes_what_it_gave(
    server: CustomServer, block: dict[str, Json], stage: Stage
) -> None:
    # Given a server whose resource is no JSON, and a spec that is not in order
    server.resource = b"\x00 any bytes"
    server.policy = b"\x08\x01" + field(2, b"all\nwell")
    async with stage.open() as trigger:
        # When an action is fired
        outcome = await stage.fire(trigger, {**block, "spec": {"z": "1", "a": "ü: x"}}, payload=b'{"n": 1}')
    # Then each method got what the contract says, to the byte
    assert server.asked == ["a: 'ü: x'\nz: '1'\n".encode()]
    assert server.executed == [("action-1", b"\x00 any bytes", b'{"n": 1}')]
    assert server.judged == [b"run-1"]
    assert outcome.detail == {"response": "run-1", "policy": "all well"}


async def test_parameters_change_a_resource_that_is_a_json_object(
    server: CustomServer, block: dict[str, Json], stage: Stage
) -> None:
    changed = {**block, "parameters": [{"src": {"dependencyName": "dep", "dataKey": "n"}, "dest": "spec.n"}]}
    async with stage.open() as trigger:
        # Given an object, then it is what the runtime changes
        config = stage.plugin.config.model_validate(changed)
        assert await trigger.fetch(config) == {"kind": "Run", "spec": {"n": 1}}
        await stage.fire(trigger, changed)
        assert server.executed[0][1] == b'{"kind":"Run","spec":{"n":1}}'
        # And given anything else, then no try can help
        server.resource = b"[1]"
        with pytest.raises(Rejected, match="no JSON object"):
            await stage.fire(trigger, changed)


async def test_a_policy_that_says_no_fails_the_action_and_one_that_is_not_there_does_not(
    block: dict[str, Json], server: CustomServer, stage: Stage
) -> None:
    server.policy = b"\x08\x00" + field(2, b"the run failed")
    async with stage.open() as trigger:
        with pytest.raises(TriggerError, match="the run failed") as raised:
            await stage.fire(trigger, block)
        assert not isinstance(raised.value, Rejected)
        # And given a server that does not have the method
        server.failure = {"ApplyPolicy": grpclib.GRPCError(grpclib.Status.UNIMPLEMENTED, "unknown method")}
        assert (await stage.fire(trigger, block)).detail["policy"] == ""


async def test_a_thousand_actions_share_one_connection(
    server: CustomServer, block: dict[str, Json], stage: Stage
) -> None:
    async with stage.open() as trigger:
        for start in range(0, 1000, 50):
            await asyncio.gather(*(stage.fire(trigger, block, id=f"action-{start + number}") for number in range(50)))
    assert len({name for name, _, _ in server.executed}) == 1000
    assert server.connections == 1


@pytest.mark.parametrize("status", grpclib.Status)
async def test_every_code_is_rejected_or_tried_again(
    server: CustomServer, block: dict[str, Json], stage: Stage, status: grpclib.Status
) -> None:
    if status is grpclib.Status.OK:
        return
    lasting = (
        "INVALID_ARGUMENT NOT_FOUND ALREADY_EXISTS PERMISSION_DENIED UNAUTHENTICATED FAILED_PRECONDITION OUT_OF_RANGE"
    )
    for method in ("FetchResource", "Execute"):
        server.failure = {method: grpclib.GRPCError(status, "because")}
        async with stage.open() as trigger:
            with pytest.raises(TriggerError, match=f"refused {method}: {status.name}, because") as raised:
                await stage.fire(trigger, block)
            assert isinstance(raised.value, Rejected) == (status.name in [*lasting.split(), "UNIMPLEMENTED"])


async def test_tls_is_verified_by_the_secret_and_the_name(certificates: Path) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates / "server.crt", certificates / "server.key")
    context.set_alpn_protocols(["h2"])
    ca = {"certSecret": {"name": "tls", "key": "ca"}}
    stage = Stage("custom", secrets={("tls", "ca"): (certificates / "ca.crt").read_text(), ("tls", "bad"): "no PEM"})
    async with CustomServer().serving(context) as server, stage.open() as trigger:
        block = {**Server(server).block, "secure": True}
        # The certificate is that of 127.0.0.1
        await stage.fire(trigger, {**block, **ca})
        cases: list[tuple[dict[str, Json], str]] = [
            (block, "is not trusted"),
            ({**block, **ca, "serverNameOverride": "other.svc"}, "is not trusted"),
            ({**block, "certSecret": {"name": "tls", "key": "bad"}}, "no PEM certificate"),
            ({**block, "secure": False}, "gRPC server"),
        ]
        for changed, wanted in cases:
            with pytest.raises(TriggerError, match=wanted):
                await stage.fire(trigger, changed)
        assert len(server.executed) == 1
        # And a name that leads elsewhere has the certificate of the override
        named = {**block, **ca, "serverURL": f"localhost:{server.port}", "serverNameOverride": "127.0.0.1"}
        await stage.fire(trigger, named)


async def test_who_is_not_there_or_silent_is_a_sentence(
    block: dict[str, Json], server: CustomServer, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("argosy.triggers.custom._EXECUTE_SECONDS", 0.05)
    async with stage.open() as trigger:
        with pytest.raises(TriggerError, match="nothing listens at gRPC server '127.0.0.1:9'"):
            await stage.fire(trigger, {**block, "serverURL": "127.0.0.1:9"})
        server.close_gate()
        with pytest.raises(TriggerError, match="did not answer Execute in time|DEADLINE_EXCEEDED"):
            await stage.fire(trigger, block)


async def test_a_connection_that_is_reset_is_tried_again(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("argosy.triggers.custom._FETCH_SECONDS", 0.5)

    # Given a server that takes connections and breaks them, and one that speaks no HTTP/2
    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.transport.abort()

    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n" * 10)
        await reader.read()

    async def served(serve: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await serve(reader, writer)
        writer.close()
        gone.set()

    gone = asyncio.Event()
    for serve in (reset, babble):
        other = await asyncio.start_server(partial(served, serve), "127.0.0.1", 0)
        address = f"127.0.0.1:{other.sockets[0].getsockname()[1]}"
        async with stage.open() as trigger:
            # When an action is fired, then another try may help
            with pytest.raises(TriggerError, match=f"gRPC server '{address}'") as raised:
                await stage.fire(trigger, {**_WHOLE, "serverURL": address})
            assert not isinstance(raised.value, Rejected)
        await gone.wait()
        gone.clear()
        other.close()
