"""The ``azureEventHubs`` trigger: Microsoft's library against a double of Event Hubs on a real AMQP 1.0 engine, by TLS."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from typing import Any, ClassVar

import pytest

from argosy.errors import Rejected, RetryAfter, TriggerError
from argosy.manifests.fields import Json
from tests.conformance.trigger import Stage, TriggerSuite
from tests.peers.azure_bus import HOST, KEY, AzureBus, by_tls, collect_quietly
from tests.peers.azure_receiver import AzureReceiver

_numbers = itertools.count(1)
_PAYLOAD: list[Json] = [{"src": {"dependencyName": "dep", "dataKey": "n"}, "dest": "n"}]
_KEYS: dict[str, Json] = {
    "sharedAccessKeyName": {"name": "azure", "key": "name"},
    "sharedAccessKey": {"name": "azure", "key": "key"},
}


class Hub(AzureReceiver):
    secrets: ClassVar[dict[tuple[str, str], str]] = {("azure", "name"): "root", ("azure", "key"): KEY}
    address = f"{HOST}:5671"

    def __init__(self, bus: AzureBus) -> None:
        super().__init__(bus, f"hub-{next(_numbers)}")
        self.block = {"fqdn": HOST, "hubName": self.place, "payload": _PAYLOAD, **_KEYS}

    def speak_tls(self, patch: pytest.MonkeyPatch) -> None:
        """It does."""


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Outlives the test's event loop."""
    yield
    collect_quietly()


@pytest.fixture
async def receiver(bus: AzureBus, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hub]:
    hub = Hub(bus)
    await bus.set(hubs={hub.place: 1}, answer="", hold=False)
    async with by_tls(bus) as port:
        monkeypatch.setenv("SSL_CERT_FILE", str(bus.folder / "ca.crt"))
        monkeypatch.setenv("ARGOSY_RESOLVE", f"{HOST}:5671=127.0.0.1:{port} other.invalid:5671=127.0.0.1:{port}")
        yield hub
        await hub.release()


class TestAzureEventHubs(TriggerSuite):
    kind = "azureEventHubs"
    bad_blocks: ClassVar[list[tuple[dict[str, Any], str]]] = [
        ({"hubName": "h", "payload": _PAYLOAD, **_KEYS}, "fqdn"),
        ({"fqdn": "n", "payload": _PAYLOAD, **_KEYS}, "hubName"),
        ({"fqdn": "n", "hubName": "h", "payload": _PAYLOAD}, "sharedAccessKey"),
        ({"fqdn": "n", "hubName": "h", **_KEYS}, "payload"),
        ({"fqdn": "a b", "hubName": "h", "payload": _PAYLOAD, **_KEYS}, "is no name of a namespace"),
    ]

    @pytest.fixture
    async def receiver(self, receiver: Hub) -> Hub:
        return receiver


@pytest.fixture
def stage(receiver: Hub) -> Stage:
    return Stage("azureEventHubs", secrets=dict(receiver.secrets))


async def test_the_event_is_the_payload_with_the_actions_id(receiver: Hub, stage: Stage) -> None:
    async with stage.open() as trigger:
        outcome = await stage.fire(trigger, receiver.block, id="a-1", payload=b'{"a":"\xc3\xa4"}')
    (message,) = await receiver.messages()
    assert (message["id"], message["body"], message["contentType"]) == ("a-1", '{"a":"ä"}', "application/json")
    assert outcome.message == f"sent 10 bytes to hub '{receiver.place}' of {HOST}"


async def test_a_thousand_actions_need_one_connection(receiver: Hub, stage: Stage) -> None:
    async with stage.open() as trigger:
        await stage.fire(trigger, receiver.block, id="first")
        # The first action has asked for the hub's partitions, too
        before = (await receiver.bus.look())["connections"]
        for number in range(999):
            await stage.fire(trigger, receiver.block, id=f"{number}")
        assert (await receiver.bus.look())["connections"] == before
    assert len(await receiver.effects()) == 1000


async def test_a_rotated_secret_and_another_hub_are_taken_up_at_the_next_action(receiver: Hub, stage: Stage) -> None:
    await receiver.bus.set(hubs={f"{receiver.place}-2": 1})
    async with stage.open() as trigger:
        stage.secrets["azure", "key"] = "an-old-key"
        with pytest.raises(Rejected, match="refuses us") as raised:
            await stage.fire(trigger, receiver.block)
        assert "an-old-key" not in str(raised.value)
        stage.secrets["azure", "key"] = KEY
        await stage.fire(trigger, receiver.block, id="a-1")
        # What parameters make of the block arrives here, so another hub is another sender
        await stage.fire(trigger, {**receiver.block, "hubName": f"{receiver.place}-2"}, id="a-2")
    assert await receiver.effects() == ["a-1"]
    assert [each["id"] for each in (await receiver.bus.look(f"{receiver.place}-2"))["messages"]] == ["a-2"]


async def test_a_service_that_was_killed_is_come_back_to(receiver: Hub, stage: Stage) -> None:
    async with stage.open() as trigger:
        await stage.fire(trigger, receiver.block, id="before")
        receiver.bus.kill()
        with pytest.raises(TriggerError) as raised:
            await stage.fire(trigger, receiver.block, id="during")
        assert not isinstance(raised.value, Rejected) and HOST in str(raised.value)
        await receiver.bus.come_back()
        await stage.fire(trigger, receiver.block, id="during", attempt=2)
    assert await receiver.effects() == ["before", "during"]


async def test_failures_are_of_the_right_class_with_a_sentence(receiver: Hub, stage: Stage) -> None:
    cases: list[tuple[str, dict[str, Json], type[TriggerError], str]] = [
        ("com.microsoft:server-busy", {}, RetryAfter, "busy"),
        ("amqp:not-allowed", {}, Rejected, "not-allowed"),
        ("amqp:internal-error", {}, TriggerError, "internal-error"),
        ("", {"hubName": "no-such"}, Rejected, "has no hub 'no-such'"),
        ("", {"fqdn": "127.0.0.1:9"}, TriggerError, "nothing listens at 127.0.0.1:9"),
        ("", {"fqdn": "other.invalid"}, TriggerError, "certificate of other.invalid is not trusted"),
    ]
    async with stage.open() as trigger:
        for answer, block, kind, said in cases:
            await receiver.bus.set(answer=answer)
            with pytest.raises(TriggerError) as raised:
                await stage.fire(trigger, {**receiver.block, **block})
            assert type(raised.value) is kind and said in str(raised.value), (answer, block, raised.value)
            assert KEY not in str(raised.value)
