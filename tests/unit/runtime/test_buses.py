"""Buses: one for each EventBus of each namespace, opened once, waited for, and named without passwords."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from functools import partial

import pytest

from argosy.bus.jetstream import JetStreamBus
from argosy.bus.memory import MemoryBus
from argosy.errors import ConfigError, SecretMissing
from argosy.manifests.bundle import Bundle, loads
from argosy.runtime.buses import Buses
from argosy.runtime.secrets import Secrets

JETSTREAM = """\
apiVersion: argoproj.io/v1alpha1
kind: EventBus
metadata: {name: default, namespace: %s}
spec: {jetstream: {version: latest%s}}
"""
EXOTIC = """\
apiVersion: argoproj.io/v1alpha1
kind: EventBus
metadata: {name: default, namespace: ns}
spec: {jetstreamExotic: {url: "nats://127.0.0.1:1", accessSecret: {name: access, key: auth}}}
"""
KAFKA = """\
apiVersion: argoproj.io/v1alpha1
kind: EventBus
metadata: {name: default, namespace: ns}
spec: {kafka: {url: "kafka:9092"}}
"""


def _bundle(text: str) -> Bundle:
    bundle = loads(text)
    assert bundle.event_buses, bundle.findings
    return bundle


@pytest.fixture
async def buses() -> AsyncIterator[Buses]:
    buses = Buses("memory", Secrets())
    yield buses
    await buses.close()


class TestABus:
    async def test_is_one_for_each_name_in_each_namespace(self, buses: Buses) -> None:
        first = await buses.get("ns", "default")

        assert isinstance(first, MemoryBus)
        assert await buses.get("ns", "default") is first
        assert await buses.get("ns", "other") is not first
        assert await buses.get("other", "default") is not first

    async def test_is_opened_once_however_many_ask_at_once(self, buses: Buses) -> None:
        got = await asyncio.gather(*(buses.get("ns", "default") for _ in range(10)))

        assert len({id(bus) for bus in got}) == 1

    async def test_is_closed_at_the_end(self, buses: Buses) -> None:
        bus = await buses.get("ns", "default")
        assert bus.ready
        assert buses.unreachable() == []

        await buses.close()

        assert not bus.ready

    async def test_is_another_when_its_manifest_says_something_else(self, buses: Buses) -> None:
        first = await buses.get("ns", "default")
        before = buses.digest("ns", "default")

        buses.update(_bundle(JETSTREAM % ("ns", "")))
        second = await buses.get("ns", "default")
        buses.update(_bundle(JETSTREAM % ("ns", ", replicas: 3")))

        assert second is not first
        assert len({before, buses.digest("ns", "default")}) == 2
        assert await buses.get("ns", "default") is not second
        assert buses.digest("other", "default") == ""

    async def test_that_is_lost_is_named(self, buses: Buses) -> None:
        bus = await buses.get("ns", "default")
        await bus.__aexit__()

        assert buses.unreachable() == ["bus 'ns/default'"]
        await bus.__aenter__()

    async def test_with_an_address_given_is_one_log_for_all(self) -> None:
        buses = Buses("nats://127.0.0.1:1", Secrets())

        assert buses.key("ns", "default") == buses.key("other", "name")


class TestABusThatCannotBeReached:
    async def test_is_waited_for_and_named_without_its_password(
        self, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("argosy.runtime.buses.JetStreamBus", partial(JetStreamBus, connect_timeout_seconds=0.2))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        buses = Buses(f"nats://somebody:hunter2@127.0.0.1:{port}", Secrets())
        with caplog.at_level(logging.DEBUG, "argosy"):
            waiting = asyncio.create_task(buses.get("ns", "default"))
            async with asyncio.timeout(30):
                while not buses.unreachable():
                    assert not waiting.done()
                    await asyncio.sleep(0.01)
            assert buses.unreachable() == [f"bus 'nats://127.0.0.1:{port}'"]
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        await buses.close()

        assert buses.unreachable() == []  # nobody waits any more
        assert f"bus 'nats://127.0.0.1:{port}' cannot be reached" in caplog.text
        assert "hunter2" not in caplog.text

    async def test_for_good_is_an_error_at_once(self) -> None:
        buses = Buses("embedded", Secrets())
        buses.update(_bundle(KAFKA))

        with pytest.raises(ConfigError, match="'default' is Kafka, which this version does not run"):
            await buses.get("ns", "default")


class TestTheAccessSecret:
    async def _get(self, held: str | None) -> None:
        secrets = Secrets()
        if held is not None:
            secrets.update({("ns", "access"): {"auth": held}}, {})
        buses = Buses("embedded", secrets)
        buses.update(_bundle(EXOTIC))
        await buses.get("ns", "default")

    async def test_that_is_missing_is_said(self) -> None:
        with pytest.raises(SecretMissing, match="'auth' of Secret 'access'"):
            await self._get(None)

    @pytest.mark.parametrize("held", ["[hunter2]", "hunter2: [", ""])
    async def test_that_is_no_access_is_said_without_what_it_holds(self, held: str) -> None:
        with pytest.raises(ConfigError, match="access secret 'access'") as caught:
            await self._get(held)

        said = "".join(str(error) for error in (caught.value, caught.value.__cause__))
        assert "hunter2" not in said
        assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize(
    "spec",
    [
        "{jetstreamExotic: {url: 'http://nats:4222'}}",
        "{jetstream: {version: latest, streamConfig: 'maxMsgs: many'}}",
        "{nats: {exotic: {url: 'nats://a:4222', clusterID: a}}}",
    ],
)
async def test_what_names_a_bus_with_errors_does_not_run_on_another_one(spec: str) -> None:
    # Given a process with a log of its own, and an EventBus that cannot be read
    head = "apiVersion: argoproj.io/v1alpha1\nkind: EventBus\nmetadata: {name: default, namespace: ns}\n"
    buses = Buses("embedded", Secrets())
    buses.update(loads(f"{head}spec: {spec}\n"))
    with pytest.raises(ConfigError, match="EventBus 'default' of namespace 'ns' has errors; argosy lint tells which"):
        await buses.get("ns", "default")
