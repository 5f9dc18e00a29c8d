"""The processes inside pods, with a real API server and a real NATS server: one object from the environment, many from a namespace."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.receiving import Receiver, receiving
from tests.cluster.serving import Nats, Object, Service, encoded, event_source, nats, port, post, sensor


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nats]:
    """A NATS server that wants a password."""
    with nats(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Where sensors send what they receive."""
    with receiving() as receiver:
        yield receiver


def plain(item: Object) -> Object:
    """The object as upstream's controller writes it into EVENTSOURCE_OBJECT and SENSOR_OBJECT."""
    return {"metadata": item["metadata"], "spec": item["spec"]}


def config(url: str) -> Object:
    """EVENTBUS_CONFIG of a bus with a password."""
    return {"jetstream": {"url": url, "accessSecret": {"name": "bus-access", "key": "auth"}, "streamConfig": ""}}


def badges(receiver: Receiver) -> list[tuple[str, str]]:
    """What was said to the receiver, and with which header."""
    return [(json.loads(one.body)["said"], one.headers["X-Badge"]) for one in receiver.requests]


class TestPodsOfOneObject:
    def test_receive_and_act_with_mounted_secrets_that_are_rotated_while_they_run(
        self, tmp_path: Path, receiver: Receiver
    ) -> None:
        # Given the pods of a webhook and of its sensor, the bus access where upstream mounts it or by its name
        door = port()
        source = plain(event_source("team", "front", door))
        one = plain(sensor("team", "tell", "front", receiver.url))
        with nats(tmp_path / "nats") as broker:
            bus = encoded(config(broker.url))
            receives = Service(
                tmp_path / "es", "eventsource-service", {"EVENTSOURCE_OBJECT": encoded(source), "EVENTBUS_CONFIG": bus}
            )
            acts = Service(tmp_path / "sn", "sensor-service", {"SENSOR_OBJECT": encoded(one), "EVENTBUS_CONFIG": bus})
            receives.mount("argo-events/secrets/door/token", "open-sesame\n")
            receives.mount("etc/eventbus/auth/auth.yaml", broker.access)
            acts.mount("argo-events/secrets/badge/number", "7")
            acts.mount("argo-events/secrets/bus-access/auth", broker.access)
            with receives, acts:
                acts.start()
                acts.until_ready()
                receives.start()
                receives.until_ready()
                # Then who does not know the token stays out, and who does is passed on with the header
                assert post(door, "front", {"n": "1"}, "wrong") == 401
                assert post(door, "front", {"n": "1"}, "open-sesame") == 200
                acts.until(lambda: badges(receiver) == [("1", "7")], "the first action")
                # When all three secrets are rotated, the bus turns everybody out who has the old one
                receives.mount("argo-events/secrets/door/token", "friend")
                acts.mount("argo-events/secrets/badge/number", "8")
                broker.rotate("second-password")
                receives.mount("etc/eventbus/auth/auth.yaml", broker.access)
                acts.mount("argo-events/secrets/bus-access/auth", broker.access)
                for service in (receives, acts):
                    service.until_said("lost the bus")
                    service.until_said("is back")
                # Then the same processes go on with the new ones
                assert post(door, "front", {"n": "2"}, "open-sesame") == 401
                assert post(door, "front", {"n": "2"}, "friend") == 200
                acts.until(lambda: badges(receiver) == [("1", "7"), ("2", "8")], "the second action")
                # And the API wants the token of the environment
                assert acts.asked("/sensors", "wrong")[0] == 401
                assert [each["name"] for each in json.loads(acts.asked("/sensors")[1])["sensors"]] == ["tell"]
                # And SIGTERM drains
                assert receives.end(signal.SIGTERM) == 0
                assert acts.end(signal.SIGTERM) == 0
            for service in (receives, acts):
                log = service.log.read_text()
                assert not [word for word in ("sesame", "friend", "-password") if word in log]
