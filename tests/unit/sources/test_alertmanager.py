"""The ``alertmanager`` source: the suite of every source, and one event for each alert, told once."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import pytest

from argosy.errors import BusError, ConfigError
from tests.conformance.source import SourceSuite, on_stage
from tests.unit.sources.hook_sender import Delivery, HookSender, deliver, webhook, wrapped

JSON = {"Content-Type": "application/json", "User-Agent": "Alertmanager/0.27.0"}
NEVER = "0001-01-01T00:00:00Z"


def alert(name: str, status: str = "firing", since: str = "2026-01-01T00:00:00Z", **fields: Any) -> dict[str, Any]:
    return {
        "status": status,
        "labels": {"alertname": name, "severity": "critical"},
        "annotations": {"summary": f"{name} <is> down"},
        "startsAt": since,
        "endsAt": NEVER if status == "firing" else "2026-01-01T01:00:00Z",
        "generatorURL": "http://prometheus.example/graph?g0.expr=up%3D%3D0",
        "fingerprint": f"f-{name}",
        **fields,
    }


def notification(*alerts: dict[str, Any]) -> bytes:
    value = {
        "version": "4",
        "groupKey": '{}:{alertname="a"}',
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "argosy",
        "groupLabels": {"alertname": "a"},
        "commonLabels": {"severity": "critical"},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager.example",
        "alerts": list(alerts),
    }
    return json.dumps(value).encode()


def delivery(text: str) -> Delivery:
    return notification(alert(text)), JSON


class _Alertmanager(HookSender):
    def text_of(self, data: Any) -> str:
        assert set(data) <= {"alert", "group", "metadata"}
        assert data["group"]["receiver"] == "argosy" and "alerts" not in data["group"]
        return str(data["alert"]["labels"]["alertname"])


class TestAlertmanager(SourceSuite):
    kind = "alertmanager"
    bad_blocks: ClassVar[list[tuple[dict[str, Any], str]]] = [
        ({}, "webhook"),
        ({"webhook": {"endpoint": "/a"}}, "port"),
        ({"webhook": webhook(), "repeat": True}, "repeat"),
    ]

    @pytest.fixture
    async def upstream(self) -> AsyncIterator[_Alertmanager]:
        sender = _Alertmanager(delivery, insistent=True)
        yield sender
        await sender.close()


async def test_each_alert_of_a_group_becomes_an_event_that_names_it() -> None:
    async with on_stage("alertmanager", {"webhook": webhook()}) as stage:
        body = notification(alert("a"), alert("b", "resolved"))
        response = await deliver(stage, body, JSON)
        assert (response.status_code, response.text) == (200, "success")
        assert [event.data["alert"] for event in stage.emitted] == [alert("a"), alert("b", "resolved")]
        assert [event.id for event in stage.emitted] == [
            "f-a-firing-2026-01-01T00:00:00Z",
            "f-b-resolved-2026-01-01T00:00:00Z-2026-01-01T01:00:00Z",
        ]
        with pytest.raises(ConfigError, match="2 events"):
            wrapped(stage, body, JSON)
        body = notification(alert("c"))
        await deliver(stage, body, JSON)
        assert wrapped(stage, body, JSON) == (stage.emitted[2].raw, stage.emitted[2].id)


async def test_an_alert_is_told_again_only_when_its_state_changes() -> None:
    async with on_stage("alertmanager", {"webhook": webhook()}) as stage:
        # Given an alert that was told
        await deliver(stage, notification(alert("a")), JSON)
        # When it is repeated beside a new one, also after a restart
        await deliver(stage, notification(alert("a"), alert("b")), JSON)
        await stage.stop()
        await stage.start()
        await deliver(stage, notification(alert("a"), alert("b")), JSON)
        # Then each was told once
        assert [event.data["alert"]["labels"]["alertname"] for event in stage.emitted] == ["a", "b"]
        # When it is over and fires anew, then both are told, and nothing of it stays on the bus meanwhile
        await deliver(stage, notification(alert("a", "resolved"), alert("b", "resolved")), JSON)
        assert await stage.bucket.keys() == []
        await deliver(stage, notification(alert("a", since="2026-02-02T00:00:00Z")), JSON)
        told = [(event.data["alert"]["labels"]["alertname"], event.data["alert"]["status"]) for event in stage.emitted]
        assert told[2:] == [("a", "resolved"), ("b", "resolved"), ("a", "firing")]


async def test_repeats_are_told_where_they_are_wanted() -> None:
    async with on_stage("alertmanager", {"webhook": webhook(), "repeats": True}) as stage:
        for _ in range(3):
            await deliver(stage, notification(alert("a")), JSON)
        assert [event.id for event in stage.emitted] == [None, None, None]


async def test_an_alert_that_was_not_kept_is_told_when_the_notification_comes_again() -> None:
    async with on_stage("alertmanager", {"webhook": webhook()}) as stage:
        await stage.start()
        stage.failure = BusError("the stage refuses this event")
        assert (await deliver(stage, notification(alert("a")), JSON)).status_code == 500
        stage.failure = None
        assert (await deliver(stage, notification(alert("a")), JSON)).status_code == 200
        assert len({event.id for event in stage.offered}) == 1 and len(stage.emitted) == 1


async def test_an_old_alertmanager_that_tells_no_fingerprints_is_understood() -> None:
    async with on_stage("alertmanager", {"webhook": webhook()}) as stage:
        for name in ("a", "b", "a"):
            await deliver(stage, notification(alert(name, fingerprint="")), JSON)
        assert len(stage.emitted) == len({event.id for event in stage.emitted}) == 2


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"alerts": {}}', b'{"alerts": [1]}', b'{"alerts": [{}]}'])
async def test_what_is_no_notification_is_refused(body: bytes) -> None:
    async with on_stage("alertmanager", {"webhook": webhook()}) as stage:
        assert (await deliver(stage, body, JSON)).status_code == 400
        assert (stage.offered, len(stage.refused)) == ([], 1)
