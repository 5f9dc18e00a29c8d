"""The processes inside the pods of one object, against a real NATS server: what the environment and what is mounted make of them."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from argosy.kubernetes.crds import definitions
from tests.brokers.test_jetstream_access import Authority
from tests.cli.receiving import Receiver, receiving
from tests.cluster.serving import (
    Nats,
    Object,
    Place,
    Service,
    badges,
    config,
    encoded,
    event_source,
    nats,
    plain,
    port,
    post,
    secret,
    sensor,
)
from tests.kubernetes.apiserver import ApiServer


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

    def test_lose_nothing_that_they_have_taken_when_they_are_killed(
        self, broker: Nats, tmp_path: Path, receiver: Receiver
    ) -> None:
        # Given the pods of a webhook and of its sensor, under way
        door = port()
        bus = {"EVENTBUS_CONFIG": encoded(config(broker.url))}
        source = encoded(plain(event_source("killed", "front", door)))
        receives = Service(tmp_path / "es", "eventsource-service", {"EVENTSOURCE_OBJECT": source, **bus})
        one = encoded(plain(sensor("killed", "tell", "front", receiver.url)))
        acts = Service(tmp_path / "sn", "sensor-service", {"SENSOR_OBJECT": one, **bus})
        for pod in (receives, acts):
            pod.mount("etc/eventbus/auth/auth.yaml", broker.access)
        receives.mount("argo-events/secrets/door/token", "open-sesame")
        acts.mount("argo-events/secrets/badge/number", "7")
        with receives, acts:
            acts.start()
            acts.until_ready()
            receives.start()
            receives.until_ready()
            # When each is killed while events come
            taken: set[str] = set()
            for number in range(90):
                if number in (30, 60):
                    pod = acts if number == 30 else receives
                    pod.end(signal.SIGKILL)
                    pod.start()
                if post(door, "front", {"n": str(number)}, "open-sesame") == 200:
                    taken.add(str(number))
                if number == 60:
                    receives.until_ready()
            assert len(taken) > 60
            # Then all that was taken was done, and what was done twice has one name
            acts.until(lambda: taken <= {n for n, _ in badges(receiver)}, "all actions")
            named: dict[str, set[str]] = {}
            for request in receiver.requests:
                named.setdefault(request.body, set()).add(request.key)
            assert {len(keys) for keys in named.values()} == {1}

    def test_work_as_far_as_they_can_while_a_secret_is_not_there(self, broker: Nats, tmp_path: Path) -> None:
        # Given an EventSource with two events, and the Secret of one
        front, back = port(), port()
        source = plain(event_source("team", "front", front))
        block = {
            **source["spec"]["webhook"]["hello"],
            "port": str(back),
            "authSecret": {"name": "late", "key": "token"},
        }
        source["spec"]["webhook"]["later"] = block
        variables = {"EVENTSOURCE_OBJECT": encoded(source), "EVENTBUS_CONFIG": encoded(config(broker.url))}
        with Service(tmp_path / "es", "eventsource-service", variables) as pod:
            pod.mount("etc/eventbus/auth/auth.yaml", broker.access)
            pod.mount("argo-events/secrets/door/token", "open-sesame")
            pod.start()
            # Then that one works, and the other says what it lacks
            pod.until(lambda: post(front, "front", {}, "open-sesame") == 200, "the event that has all")
            assert post(back, "front", {}, "at-last") != 200
            assert "argo-events/secrets/late/token" in pod.until_said("'late'")
            # When the Secret comes, then it works, too
            pod.mount("argo-events/secrets/late/token", "at-last")
            pod.until(lambda: post(back, "front", {}, "at-last") == 200, "the other event")
            pod.until_ready()


@pytest.fixture(scope="module")
def server(apiserver: ApiServer) -> ApiServer:
    """The API server with the definitions."""
    for one in definitions():
        apiserver.apply_yaml(json.dumps(one))
    return apiserver


class TestABusThatTheControllerInstalled:
    """It has a certificate of its own authority, and stands in the status."""

    @pytest.fixture
    def authority(self, tmp_path: Path) -> Authority:
        folder = tmp_path / "authority"
        folder.mkdir()
        return Authority(folder)

    @pytest.fixture
    def installed(self, authority: Authority, tmp_path: Path) -> Iterator[Nats]:
        tls = f'tls {{ cert_file: "{authority / "server.pem"}", key_file: "{authority / "server.key"}" }}'
        with nats(tmp_path / "nats", extra=tls) as server:
            yield server

    def config(self, server: Nats) -> Object:
        return {
            "url": server.url,
            "accessSecret": {"name": "bus-access", "key": "auth"},
            "tls": {"caCertSecret": {"name": "eventbus-default-js-server", "key": "ca-cert"}},
        }

    def test_is_verified_by_pods_and_runners_and_one_that_is_not_known_is_refused(
        self, server: ApiServer, installed: Nats, authority: Authority, tmp_path: Path, receiver: Receiver
    ) -> None:
        # Given an EventBus whose status names the server, and whose authority is not there yet
        place = Place(server, server.namespace(), tmp_path)
        space, door = place.namespace, port()
        place.apply(
            {
                "apiVersion": "argoproj.io/v1alpha1",
                "kind": "EventBus",
                "metadata": {"namespace": space, "name": "default"},
                "spec": {"jetstream": {"version": "latest"}},
            },
            secret(space, "bus-access", auth=installed.access),
            secret(space, "badge", number="7"),
            sensor(space, "tell", "front", receiver.url),
        )
        source = plain(event_source(space, "front", door))
        bus = {"EVENTBUS_CONFIG": encoded({"jetstream": self.config(installed)})}
        pod = Service(tmp_path / "pod", "eventsource-service", {"EVENTSOURCE_OBJECT": encoded(source), **bus})
        pod.mount("argo-events/secrets/door/token", "open-sesame")
        pod.mount("etc/eventbus/auth/auth.yaml", installed.access)
        pod.mount("argo-events/secrets/eventbus-default-js-server/ca-cert", (authority / "client.pem").read_text())
        with place.runner() as runner, pod:
            runner.start()
            pod.start()
            # Then neither talks to it
            runner.until_said("there is no EventBus 'default'")
            pod.until_said("bus", "cannot be reached", "certificate")
            # When the status names it and the authority is there
            status = {"status": {"config": {"jetstream": self.config(installed)}}}
            about = place.objects["EventBus", "default"]
            path = server.path(about, subresource="status")
            item = server.request("PATCH", path, status, content="application/merge-patch+json")
            place.objects["EventBus", "default"] = item
            authorities = (authority / "ca.pem").read_text()
            place.apply(secret(space, "eventbus-default-js-server", **{"ca-cert": authorities}))
            pod.mount("argo-events/secrets/eventbus-default-js-server/ca-cert", authorities)
            # Then both use it
            runner.until_ready()
            pod.until_ready()
            assert post(door, "front", {"n": "1"}, "open-sesame") == 200
            runner.until(lambda: badges(receiver) == [("1", "7")], "what the pod received and the runner did")
