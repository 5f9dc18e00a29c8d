"""The processes inside pods, with a real API server and a real NATS server: one object from the environment, many from a namespace."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from argosy.kubernetes.controller.access import runner_access
from argosy.kubernetes.crds import definitions
from argosy.runtime.cluster import LONGEST_QUIET_SECONDS
from tests.brokers.test_jetstream_access import Authority
from tests.cli.receiving import Receiver, receiving
from tests.cluster.serving import Nats, Object, Service, bus, encoded, event_source, nats, port, post, secret, sensor
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


class Place:
    """A namespace with a runner, its bus, and a service account that may do what the controller would let it."""

    def __init__(self, apiserver: ApiServer, namespace: str, folder: Path) -> None:
        self.apiserver = apiserver
        self.namespace = namespace
        self.folder = folder
        self.objects: dict[tuple[str, str], Object] = {}

    def apply(self, *items: Object, grant: bool = True) -> None:
        """Apply objects and, as the controller does, the rights that the runner needs for them."""
        for item in items:
            self.apiserver.apply(item)
            self.objects[item["kind"], item["metadata"]["name"]] = item
        if grant:
            self.grant()

    def grant(self, without: str = "") -> str:
        """Let the runner do what it needs, ``without`` one resource; its user."""
        kinds = ("EventSource", "Sensor")
        served = [item for (kind, _), item in self.objects.items() if kind in kinds]
        buses = [item for (kind, _), item in self.objects.items() if kind == "EventBus"]
        rules = runner_access(self.namespace, served, buses)[1]["rules"]
        kept = [rule for rule in rules if without not in rule["resources"]]
        return self.apiserver.service_account(self.namespace, "argosy-runner", kept)

    def delete(self, kind: str, name: str) -> None:
        """Delete an object."""
        item = self.objects.pop((kind, name))
        self.apiserver.request("DELETE", self.apiserver.path(item))

    def runner(self, name: str = "runner", **env: str) -> Service:
        """A runner as the controller would start it."""
        config = self.apiserver.kubeconfig(self.folder / f"{name}.kubeconfig", self.grant(), namespace=self.namespace)
        own = {"KUBECONFIG": str(config), "POD_NAMESPACE": self.namespace, "ARGOSY_MODE": "shared", "HOME": "/nowhere"}
        return Service(self.folder / name, "runner-service", own | env)


@pytest.fixture(scope="module")
def server(apiserver: ApiServer) -> ApiServer:
    """The API server with the definitions."""
    for one in definitions():
        apiserver.apply_yaml(json.dumps(one))
    return apiserver


@pytest.fixture
def place(server: ApiServer, broker: Nats, tmp_path: Path) -> Place:
    """A namespace with a bus and its secrets."""
    place = Place(server, server.namespace(), tmp_path)
    space = place.namespace
    place.apply(
        bus(space, broker.url),
        secret(space, "bus-access", auth=broker.access),
        secret(space, "door", token="open-sesame"),
        secret(space, "badge", number="7"),
    )
    return place


class TestARunner:
    def test_waits_in_an_empty_namespace_and_follows_what_comes_changes_and_goes(
        self, place: Place, receiver: Receiver
    ) -> None:
        space = place.namespace
        door, other = port(), port()
        with place.runner() as runner:
            # Given a runner of a namespace without objects: it is ready
            runner.start()
            runner.until_ready()
            # When three objects come
            place.apply(
                event_source(space, "front", door),
                event_source(space, "back", other),
                sensor(space, "tell", "front", receiver.url),
            )
            # Then they run
            runner.until_said("source 'front/hello'", "receives")
            runner.until_said("source 'back/hello'", "receives")
            runner.until_ready()
            assert post(door, "front", {"n": "1"}, "open-sesame") == 200
            runner.until(lambda: badges(receiver) == [("1", "7")], "the first action")
            # When one is changed, then only that is started anew
            place.apply(event_source(space, "back", other, endpoint="/garden"))
            runner.until(lambda: post(other, "garden", {"n": "-"}, "open-sesame") == 200, "the new endpoint")
            assert len(runner.said("source 'front/hello'", "receives")) == 1
            # When one is broken, then it runs on as it was
            place.apply(event_source(space, "front", door, endpoint="/other", method="SHOUT"))
            runner.until_said("EventSource", "front", "SHOUT")
            assert post(door, "front", {"n": "2"}, "open-sesame") == 200
            runner.until(lambda: badges(receiver)[1:] == [("2", "7")], "an action of what runs on")
            # When one is deleted, then it stops, although somebody still keeps the object
            kept = place.objects["EventSource", "back"]
            kept["metadata"]["finalizers"] = ["argosy.dev/test"]
            place.apply(kept)
            place.delete("EventSource", "back")
            runner.until(lambda: post(other, "garden", {"n": "-"}, "open-sesame") in (0, 404), "the end of the source")
            free = {"metadata": {"finalizers": None}}
            place.apiserver.request("PATCH", place.apiserver.path(kept), free, content="application/merge-patch+json")
            # And statuses, written for longer than changes are gathered, are no change
            said = len(runner.said("the manifests changed"))
            status = place.apiserver.path(place.objects["Sensor", "tell"], subresource="status")
            until = time.monotonic() + 2 * LONGEST_QUIET_SECONDS
            while time.monotonic() < until:
                body = {"status": {"deadLetters": int(time.monotonic() * 1000)}}
                place.apiserver.request("PATCH", status, body, content="application/merge-patch+json")
            place.apply(secret(space, "badge", number="8"))
            runner.until(lambda: len(runner.said("the manifests changed")) > said, "the other secret")
            assert len(runner.said("the manifests changed")) == said + 1
            assert runner.end(signal.SIGTERM) == 0

    def test_leaves_alone_what_has_pods_of_its_own_or_is_somebody_elses(self, place: Place) -> None:
        # Given objects of each kind of owner, in a namespace whose mode is shared
        space = place.namespace
        doors = {name: port() for name in ("ours", "own-pods", "theirs")}
        items = {name: event_source(space, name, door) for name, door in doors.items()}
        items["own-pods"]["metadata"]["annotations"] = {"argosy.dev/mode": "dedicated"}
        items["theirs"]["metadata"]["annotations"] = {"argosy.dev/controller": "argo-events"}
        place.apply(*items.values())
        with place.runner() as runner:
            runner.start()
            runner.until_ready()
            # Then the runner serves its own
            assert [name for name, door in doors.items() if post(door, name, {}, "open-sesame")] == ["ours"]
            # When one is given to it, and one taken from it
            items["own-pods"]["metadata"]["annotations"] = {"argosy.dev/mode": "shared"}
            items["ours"]["metadata"]["annotations"] = {"argosy.dev/mode": "dedicated"}
            place.apply(items["own-pods"], items["ours"])
            # Then it is so
            runner.until(lambda: post(doors["own-pods"], "own-pods", {}, "open-sesame") == 200, "the one it was given")
            runner.until(lambda: post(doors["ours"], "ours", {}, "open-sesame") == 0, "the end of the other")
        # And where the mode is dedicated, only those that say so are its own
        with place.runner("second", ARGOSY_MODE="dedicated") as runner:
            runner.start()
            runner.until_ready()
            assert [name for name, door in doors.items() if post(door, name, {}, "open-sesame")] == ["own-pods"]

    def test_goes_on_with_rotated_secrets_and_with_those_that_come_late(self, place: Place, receiver: Receiver) -> None:
        # Given an object whose secret is not there yet, among others
        space = place.namespace
        door, late = port(), port()
        desk = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"namespace": space, "name": "desk"},
            "data": {"number": "one"},
        }
        tells = sensor(space, "tell", "front", receiver.url)
        headers = tells["spec"]["triggers"][0]["template"]["http"]["secureHeaders"]
        headers.append({"name": "X-Desk", "valueFrom": {"configMapKeyRef": {"name": "desk", "key": "number"}}})
        place.apply(
            event_source(space, "front", door),
            event_source(space, "late", late, authSecret={"name": "comes-late", "key": "token"}),
            tells,
            desk,
        )
        with place.runner() as runner:
            runner.start()
            # Then the others run
            runner.until(lambda: post(door, "front", {"n": "1"}, "open-sesame") == 200, "the one that has all")
            runner.until(lambda: badges(receiver) == [("1", "7")], "the first action")
            assert post(late, "late", {}, "anything") != 200
            # When it comes, then its source opens
            place.apply(secret(space, "comes-late", token="at-last"))
            runner.until(lambda: post(late, "late", {"n": "-"}, "at-last") == 200, "the one that waited")
            # When those in use are changed, then source and trigger use the new ones at once, and nothing was started anew
            place.apply(
                secret(space, "door", token="friend"),
                secret(space, "badge", number="8"),
                {**desk, "data": {"number": "two"}},
            )
            runner.until(lambda: post(door, "front", {"n": "2"}, "friend") == 200, "the new token")
            runner.until(lambda: badges(receiver)[1:] == [("2", "8")], "the second action")
            assert [one.headers["X-Desk"] for one in receiver.requests] == ["one", "two"]
            assert post(door, "front", {"n": "3"}, "open-sesame") == 401
            assert len(runner.said("source 'front/hello'", "receives")) == 1
            assert not [word for word in ("sesame", "friend", "at-last", "-password") if word in runner.log.read_text()]

    def test_gets_into_its_bus_again_whose_password_was_changed(
        self, server: ApiServer, tmp_path: Path, receiver: Receiver
    ) -> None:
        # Given a runner whose bus has a password
        place = Place(server, server.namespace(), tmp_path)
        space, door = place.namespace, port()
        with nats(tmp_path / "nats") as broker, place.runner() as runner:
            place.apply(
                bus(space, broker.url),
                secret(space, "bus-access", auth=broker.access),
                secret(space, "door", token="open-sesame"),
                secret(space, "badge", number="7"),
                event_source(space, "front", door),
                sensor(space, "tell", "front", receiver.url),
            )
            runner.start()
            runner.until(lambda: post(door, "front", {"n": "1"}, "open-sesame") == 200, "the first event")
            # When the password is changed there, and then in the Secret
            broker.rotate("second-password")
            runner.until_said("lost the bus")
            place.apply(secret(space, "bus-access", auth=broker.access))
            # Then it is in again, and goes on
            runner.until_said("is back")
            assert post(door, "front", {"n": "2"}, "open-sesame") == 200
            runner.until(lambda: [n for n, _ in badges(receiver)] == ["1", "2"], "both actions")
            assert len(runner.said("source 'front/hello'", "receives")) == 1

    def test_needs_each_right_that_the_controller_gives_it_and_takes_up_those_that_come_later(
        self, place: Place, receiver: Receiver
    ) -> None:
        # Given a runner that may not read Secrets, and a Sensor whose own account may make ConfigMaps, which the runner may not
        space = place.namespace
        door = port()
        may = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create", "get"]}
        place.apiserver.service_account(space, "worker", [may])
        made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "made-by-worker"}}
        maker = sensor(space, "make", "front", receiver.url)
        maker["spec"]["template"] = {"serviceAccountName": "worker"}
        maker["spec"]["triggers"] = [
            {"template": {"name": "make", "k8s": {"operation": "create", "source": {"resource": made}}}}
        ]
        place.apply(event_source(space, "front", door), maker)
        with place.runner() as runner:
            place.grant(without="secrets")
            runner.start()
            # Then it says what it lacks, is not ready, and lives
            runner.until_said("Secret 'bus-access'", "forbidden")
            runner.until(lambda: runner.waiting_for(), "what it waits for")
            assert runner.get("/healthz")[0] == 200
            # When it may, without the tokens of accounts, then it receives and cannot act
            place.grant(without="serviceaccounts/token")
            runner.until_ready()
            assert post(door, "front", {"n": "1"}, "open-sesame") == 200
            runner.until_said("serviceaccounts/token", "worker")
            # When it may that, too, then the action is done as the Sensor's account
            place.grant()
            path = f"/api/v1/namespaces/{space}/configmaps"
            names = lambda: [each["metadata"]["name"] for each in place.apiserver.request("GET", path)["items"]]  # noqa: E731
            runner.until(lambda: "made-by-worker" in names(), "what the account made")

    def test_goes_on_while_the_api_server_is_away_and_sees_afterwards_what_happened(
        self, place: Place, receiver: Receiver
    ) -> None:
        # Given a runner that serves
        space = place.namespace
        door, other = port(), port()
        place.apply(event_source(space, "front", door), sensor(space, "tell", "front", receiver.url))
        with place.runner() as runner, place.runner("late") as late:
            runner.start()
            runner.until_ready()
            # When the API server is killed
            place.apiserver.kill()
            try:
                runner.until_said("not followed")
                # Then what runs goes on, and is ready
                assert post(door, "front", {"n": "1"}, "open-sesame") == 200
                runner.until(lambda: badges(receiver) == [("1", "7")], "an action without the API server")
                assert runner.waiting_for() == []
                # And a runner that starts now lives and waits, and may be stopped
                late.start()
                late.until(lambda: "eventsources" in str(late.waiting_for()), "what it waits for")
                assert late.get("/healthz")[0] == 200
                assert late.end(signal.SIGTERM) == 0
            finally:
                place.apiserver.start()
            # When it is back with other objects, then the runner has them
            place.apply(event_source(space, "back", other))
            place.delete("Sensor", "tell")
            runner.until(lambda: post(other, "back", {}, "open-sesame") == 200, "the object that came")
            runner.until(
                lambda: json.loads(runner.asked("/sensors")[1])["sensors"] == [], "the end of the one that went"
            )

    def test_shares_the_objects_of_a_namespace_with_others_and_one_goes_without_the_rest(
        self, place: Place, receiver: Receiver
    ) -> None:
        # Given two runners and enough objects for both
        space = place.namespace
        doors = {f"door-{number}": port() for number in range(6)}
        place.apply(*(event_source(space, name, door) for name, door in doors.items()))
        place.apply(*(sensor(space, f"tell-{name}", name, f"{receiver.url}/{name}") for name in doors))
        runners = [place.runner(f"runner-{index}", ARGOSY_SHARD=f"{index}/2") for index in range(2)]
        with runners[0], runners[1]:
            for runner in runners:
                runner.start()
            for runner in runners:
                runner.until_ready()
            # Then each source is in one of them, and both have some
            shares = [
                {name for name in doors if runner.said(f"source '{name}/hello'", "receives")} for runner in runners
            ]
            assert shares[0] | shares[1] == set(doors)
            assert not shares[0] & shares[1]
            assert all(shares)
            # And what one receives the Sensor does, wherever it is, and once
            for name, door in doors.items():
                assert post(door, name, {"n": name}, "open-sesame") == 200
            runners[0].until(lambda: len(receiver.requests) == len(doors), "all actions")
            assert sorted(one.path for one in receiver.requests) == sorted(f"/{name}" for name in doors)


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
