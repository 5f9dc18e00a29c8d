"""The ``generic`` source against a real gRPC server that speaks the contract in hand-written bytes."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpclib.const
import grpclib.server
import pytest
from grpclib.encoding.base import CodecBase

from argosy.errors import SourceError
from tests.conformance.source import SourceSuite, Upstream, eventually, free_port, on_stage
from tests.kubernetes import certificates


class _Bytes(CodecBase):  # type: ignore[misc]
    """Messages as they are on the wire."""

    __content_subtype__ = "proto"

    def encode(self, message: bytes, message_type: Any) -> bytes:
        return message

    def decode(self, data: bytes, message_type: Any) -> bytes:
        return data


def _field(number: int, value: bytes) -> bytes:
    assert len(value) < 128
    return bytes([number << 3 | 2, len(value)]) + value


class EventingServer(Upstream):
    """A server of ``generic.Eventing`` that sends what it is given to whoever asked."""

    def __init__(self) -> None:
        self.port = free_port()
        self.block = {"url": f"127.0.0.1:{self.port}", "insecure": True, "config": "a: b", "jsonBody": True}
        self.asked: list[tuple[bytes, dict[str, str]]] = []
        self.payloads: asyncio.Queue[bytes] = asyncio.Queue()
        self.refuse: Exception | None = None
        self.wanted = ""

    async def guard(self, secret: str) -> tuple[dict[str, Any], dict[tuple[str, str], str]]:
        self.wanted = f"Bearer {secret}"
        if self.asked:
            self.payloads.put_nowait(b"end")
        return {"authSecret": {"name": "generic", "key": "token"}}, {("generic", "token"): secret}

    def __mapping__(self) -> dict[str, Any]:
        return {
            "/generic.Eventing/StartEventSource": grpclib.const.Handler(
                self._start, grpclib.const.Cardinality.UNARY_STREAM, bytes, bytes
            )
        }

    async def _start(self, stream: Any) -> None:
        self.asked.append((await stream.recv_message(), dict(stream.metadata)))
        if self.wanted and self.asked[-1][1].get("authorization") != self.wanted:
            raise grpclib.GRPCError(grpclib.Status.UNAUTHENTICATED, "who are you?")
        if self.refuse is not None:
            raise self.refuse
        while (payload := await self.payloads.get()) != b"end":
            try:
                await stream.send_message(_field(1, b"example") + _field(2, payload))
            except Exception:
                self.payloads.put_nowait(payload)
                raise

    @asynccontextmanager
    async def serving(self, context: ssl.SSLContext | None = None) -> AsyncIterator[EventingServer]:
        server = grpclib.server.Server([self], codec=_Bytes())
        await server.start("127.0.0.1", self.port, ssl=context)
        try:
            yield self
        finally:
            server.close()
            await server.wait_closed()

    async def send(self, text: str) -> None:
        self.payloads.put_nowait(b'{"text":"%b"}' % text.encode())

    def text_of(self, data: Any) -> str:
        assert set(data) <= {"body", "metadata"}
        return str(data["body"]["text"])


class TestGeneric(SourceSuite):
    kind = "generic"
    bad_blocks = [  # noqa: RUF012
        ({"config": "a"}, "url"),
        ({"url": "localhost:1"}, "config"),
        ({"url": "http://localhost:1/a", "config": "a"}, "'http://localhost:1/a'"),
        ({"url": "localhost:1", "config": "a", "jsonbody": True}, "jsonbody"),
    ]

    @pytest.fixture
    async def upstream(self) -> AsyncIterator[EventingServer]:
        async with EventingServer().serving() as server:
            yield server


async def test_the_server_is_told_name_config_and_token() -> None:
    # Given a block with a token
    async with EventingServer().serving() as server:
        server.block["authSecret"] = {"name": "eventing", "key": "token"}
        async with on_stage("generic", server.block, secrets={("eventing", "token"): "s3cret"}) as stage:
            # When the source starts
            await stage.start()
            await eventually(lambda: bool(server.asked), "the server was asked")
            # Then the server gets the event's name and the config as the contract has them, and the token
            ((message, metadata),) = server.asked
            assert message == b"\x0a\x07example\x12\x04a: b"
            assert metadata["authorization"] == "Bearer s3cret"


async def test_without_json_body_the_payload_is_base64() -> None:
    async with EventingServer().serving() as server:
        server.block["jsonBody"] = False
        async with on_stage("generic", server.block) as stage:
            await stage.start()
            server.payloads.put_nowait(b"\xff\x00raw")
            (event,) = await stage.events(1)
            assert base64.b64decode(event.data["body"]) == b"\xff\x00raw"


async def test_a_payload_that_is_not_json_is_refused_and_the_next_one_taken() -> None:
    async with EventingServer().serving() as server, on_stage("generic", server.block) as stage:
        await stage.start()
        server.payloads.put_nowait(b"{nonsense")
        await server.send("sound")
        (event,) = await stage.events(1)
        assert server.text_of(event.data) == "sound"
        assert len(stage.refused) == 1
        assert "not JSON" in stage.refused[0]


async def test_a_stream_that_ends_is_asked_for_again() -> None:
    async with EventingServer().serving() as server, on_stage("generic", server.block) as stage:
        await stage.start()
        server.payloads.put_nowait(b"end")
        await server.send("again")
        assert server.text_of((await stage.events(1))[0].data) == "again"
        assert len(server.asked) == 2
        assert "ended the stream" in str(stage.errors[0])


async def test_a_server_that_comes_back_is_found() -> None:
    # Given a source whose server went away
    server = EventingServer()
    async with server.serving(), on_stage("generic", server.block) as stage:
        await stage.start()
        await server.send("one")
        await stage.events(1)
    async with on_stage("generic", server.block) as stage:
        task = asyncio.create_task(stage.start())
        await eventually(lambda: bool(stage.errors), "the source failed")
        # Then it says so in a sentence
        assert isinstance(stage.errors[0], SourceError)
        assert f"'127.0.0.1:{server.port}' cannot be reached" in str(stage.errors[0])
        # And when the server is back, it receives
        async with server.serving():
            await task
            await server.send("two")
            assert server.text_of((await stage.events(1))[0].data) == "two"
            await stage.stop()


async def test_a_refusal_of_the_server_is_told() -> None:
    async with EventingServer().serving() as server, on_stage("generic", server.block) as stage:
        server.refuse = grpclib.GRPCError(grpclib.const.Status.UNAUTHENTICATED, "who are you")
        await stage.start()
        await eventually(lambda: bool(stage.errors), "the source failed")
        assert "UNAUTHENTICATED, who are you" in str(stage.errors[0])


async def test_tls_is_spoken_unless_insecure_and_the_certificate_must_be_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a server with a certificate of an authority of its own, for the name of a cluster's Service that leads here
    certificates.authority(tmp_path)
    certificates.server(tmp_path, "eventing")
    server = EventingServer()
    server.block |= {"insecure": False, "url": "kubernetes.default.svc"}
    monkeypatch.setenv("ARGOSY_RESOLVE", f"kubernetes.default.svc:443=127.0.0.1:{server.port}")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "eventing.crt", tmp_path / "eventing.key")
    context.set_alpn_protocols(["h2"])
    async with server.serving(context), on_stage("generic", server.block) as stage:
        # When nobody trusts the authority
        starting = asyncio.create_task(stage.start())
        await eventually(lambda: bool(stage.errors), "the source failed")
        # Then the source says why it cannot connect
        assert "certificate verify failed" in str(stage.errors[0])
        # And when it is trusted, events come
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.crt"))
        await starting
        await server.send("one")
        assert server.text_of((await stage.events(1))[0].data) == "one"
        await stage.stop()
