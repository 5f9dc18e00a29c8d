"""What the sources of brokers owe beside what every source owes, said once: bounded work, messages that cannot become
events, servers that die or stand still, passwords that change, TLS, and ``--resolve``.

A kind's test inherits ``BrokerSuite`` beside ``SourceSuite``; its module has the fixture ``upstream``.
"""

from __future__ import annotations

import logging
import signal
from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Self

import pytest

from argosy.errors import EventTooLarge, SourceError
from argosy.manifests.fields import Json
from argosy.sources._in_flight import LIMIT
from tests.brokers.sources.server import CLIENT_TLS, Server
from tests.conformance.gaps import not_applicable
from tests.conformance.source import SourceSuite, Stage, Upstream, eventually, on_stage, raising

_ANOTHER = "another-one"


class BrokerUpstream(Upstream):
    """A publisher beside the source, and its server; an async context manager."""

    kind: ClassVar[str]
    server: Any
    """A ``Server``."""
    place: str
    """The topic, subject, channel or stream, as it stands in sentences."""

    def __init__(self, server: Any) -> None:
        self.server = server

    @abstractmethod
    async def __aenter__(self) -> Self: ...

    @abstractmethod
    async def __aexit__(self, *exc: object) -> None: ...

    async def again(self) -> None:
        """Connect anew, after the server was killed."""

    async def send_bad(self) -> None:
        """Produce a message that cannot become an event; where there is no such, the suite does without."""
        not_applicable(f"every message of {self.kind!r} can become an event")

    @abstractmethod
    def at(self, host: str) -> dict[str, Json]:
        """The fields of the block that lead to another host, by TLS, at the protocol's usual port."""


class BrokerSuite(SourceSuite):
    """Inherit it beside ``SourceSuite``."""

    server: ClassVar[type[Server]]
    publisher: ClassVar[type[BrokerUpstream]]
    nobody: ClassVar[dict[str, Json]]
    """The fields of the block that lead to port 9 of the loopback, where nobody listens."""
    by_tls: ClassVar[str]
    """The address of the host ``{}`` by TLS at the usual port, as it stands in sentences."""
    login_refused: ClassVar[str]
    """What the source says when the password is wrong."""
    impatient: ClassVar[dict[str, float]]
    """Constants of the source's modules, made so small that a server which stands still is soon noticed."""
    bounded: ClassVar[bool] = True
    """Whether ``_in_flight`` bounds the work; else the kind's own test shows its bound."""
    has_tls_port: ClassVar[bool] = True
    """Whether the shared server has one; else the kind's own test shows TLS."""

    @pytest.fixture
    async def upstream(self, upstream: BrokerUpstream) -> BrokerUpstream:
        """That of the module, which its other tests have, too."""
        return upstream

    async def test_no_more_than_the_limit_is_under_way_and_the_rest_begins_in_order(
        self, upstream: BrokerUpstream, stage: Stage
    ) -> None:
        if not self.bounded:
            self.shown_by_own_test("no_more_than")
        # Given a bus that does not answer
        await stage.start()
        stage.close_gate()
        # When more messages come
        texts = [f"{number:03}" for number in range(150)]
        for text in texts:
            await upstream.send(text)
        await eventually(lambda: stage.under_way == LIMIT)
        await upstream.settle()
        # Then as many as may be are under way
        assert stage.under_way == LIMIT == 64
        # And all arrive once, in the order of sending
        stage.open_gate()
        await stage.events(150)
        assert [upstream.text_of(event.data) for event in stage.offered] == texts
        await self._acknowledged(upstream, 150)

    @pytest.mark.parametrize("failure", ["not JSON", "too large"])
    async def test_a_message_that_cannot_become_an_event_is_counted_and_the_next_is_served(
        self, upstream: BrokerUpstream, stage: Stage, failure: str
    ) -> None:
        # Given a message that is no JSON, or that the bus will never take
        await stage.start()
        if failure == "too large":
            stage.failure = EventTooLarge("the event has 2 MB, the bus takes 1 MB")
            await upstream.send("large")
        else:
            await upstream.send_bad()
        await eventually(lambda: len(stage.refused) == 1)
        stage.failure = None
        # When a good one comes
        await upstream.send("good")
        # Then it is an event, the other one is counted in a sentence with its place, and neither comes again
        (event,) = await stage.events(1)
        assert upstream.text_of(event.data) == "good"
        assert upstream.place in stage.refused[0]
        assert failure != "too large" or "2 MB" in stage.refused[0]
        await self._acknowledged(upstream, 2)
        assert not stage.errors

    async def test_a_killed_server_is_come_back_to(self, upstream: BrokerUpstream, stage: Stage) -> None:
        if upstream.keeps:
            self.shown_by_own_test("killed")  # what a server that keeps messages does with them
        # Given a message whose emit is under way
        await stage.start()
        stage.close_gate()
        await upstream.send("before")
        await eventually(lambda: stage.under_way == 1)
        # When the server is killed and comes back
        await upstream.server.restart()
        stage.open_gate()
        await eventually(lambda: len(stage.listening) == 2)
        await upstream.again()
        await upstream.send("after")
        # Then both are events, each once
        await stage.events(2)
        assert [upstream.text_of(event.data) for event in stage.emitted] == ["before", "after"]
        assert all(isinstance(error, SourceError) and "127.0.0.1" in str(error) for error in stage.errors)

    async def test_a_silent_server_is_waited_for_and_one_that_stands_still_is_noticed(
        self, upstream: BrokerUpstream, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Given a source that is soon impatient
        for name, seconds in self.impatient.items():
            monkeypatch.setattr(f"argosy.sources.{name}", seconds)
        await stage.start()
        # When nothing comes for a while, then nothing ends
        await upstream.settle()
        await upstream.send("one")
        await stage.events(1)
        assert not stage.errors
        # And when the server stands still, then the run ends with a sentence
        upstream.server.signal(signal.SIGSTOP)
        try:
            await eventually(lambda: len(stage.errors) >= 1)
        finally:
            upstream.server.signal(signal.SIGCONT)
        assert "has not answered" in str(stage.errors[0])

    async def test_a_rotated_password_is_taken_up_and_no_secret_is_logged(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        with self.server(tmp_path) as server:
            async with (
                self.publisher(server) as upstream,
                on_stage(self.kind, dict(upstream.block), secrets=dict(upstream.secrets)) as stage,
            ):
                await stage.start()
                # Given a server that has a new password
                (secret,) = (name for name in upstream.secrets if name[1] == "password")
                server.set_password(_ANOTHER)
                await server.restart()
                # When the source is refused, and the secret changes
                await eventually(lambda: bool(stage.errors) and self.login_refused in str(stage.errors[-1]))
                stage.secrets[secret] = _ANOTHER
                # Then it receives again
                await eventually(lambda: len(stage.listening) == 2)
                told = f"{stage.errors} {stage.listening} {caplog.text}"
                assert _ANOTHER not in told and upstream.secrets[secret] not in told

    async def test_tls_with_our_certificate_and_a_host_that_is_led_elsewhere(
        self, upstream: BrokerUpstream, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if not self.has_tls_port:
            self.shown_by_own_test("tls")
        # Given the name of a cluster that the certificate has, and one that it does not have
        server, port = upstream.server, self.by_tls.rpartition(":")[2]
        names = ("kubernetes.default.svc", "other.svc")
        monkeypatch.setenv("ARGOSY_RESOLVE", " ".join(f"{name}:{port}=127.0.0.1:{server.tls_port}" for name in names))
        stage.block |= {**upstream.at(names[0]), "tls": CLIENT_TLS}
        stage.secrets |= server.tls_secrets()
        # When the source starts, then it comes to the server by the first, and does not trust the second
        await stage.start()
        assert self.by_tls.format(names[0]) in stage.listening[0]
        await upstream.send("one")
        await stage.events(1)
        async with raising(self.kind, {**stage.block, **upstream.at(names[1])}, secrets=stage.secrets) as sentence:
            assert f"certificate of {self.by_tls.format(names[1])} is not trusted" in sentence

    async def test_connection_backoff_pauses_before_the_failure_is_reported(self, upstream: BrokerUpstream) -> None:
        if "connection_backoff" not in self.plugin().config.model_fields:
            not_applicable(f"{self.kind!r} has no connectionBackoff")
        # Given a server that is not there, and three tries
        slept: list[float] = []

        class Clock:
            async def sleep(self, seconds: float) -> None:
                slept.append(seconds)

        backoff = {"duration": "10s", "factor": 2, "jitter": 0, "steps": 3}
        block = {**upstream.block, **self.nobody, "connectionBackoff": backoff}
        # When the source starts, then it pauses as the block says, and gives up
        async with raising(self.kind, block, secrets=dict(upstream.secrets), clock=Clock()) as sentence:
            assert "nothing listens" in sentence
        assert slept == [10.0, 20.0]

    async def _acknowledged(self, upstream: BrokerUpstream, count: int) -> None:
        async def told() -> bool:
            return await upstream.acknowledged() == count

        if self.plugin().acknowledges:
            await eventually(told, f"{count} messages are acknowledged")
