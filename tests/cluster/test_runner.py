"""The runner of a namespace as a process, with a real API server and a real NATS server: what comes, changes and goes, secrets, rights, losses."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from argosy.kubernetes.crds import definitions
from argosy.runtime.cluster import LONGEST_QUIET_SECONDS
from tests.cli.receiving import Receiver, receiving
from tests.cluster.serving import Nats, Place, badges, bus, event_source, nats, port, post, secret, sensor
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

    def test_serves_one_that_is_to_have_pods_of_its_own_until_the_controller_says_that_it_has(
        self, place: Place
    ) -> None:
        # Given an event source that a runner serves
        door = port()
        item = event_source(place.namespace, "hooks", door)
        place.apply(item)

        def told(mode: str) -> None:
            status = {"status": {"mode": mode}}
            path = place.apiserver.path(item, subresource="status")
            place.apiserver.request("PATCH", path, status, content="application/merge-patch+json")

        told("shared")
        with place.runner() as runner:
            runner.start()
            runner.until_ready()
            # When it is to have pods of its own, it is served on
            item["metadata"]["annotations"] = {"argosy.dev/mode": "dedicated"}
            place.apply(item, event_source(place.namespace, "other", other := port()))
            runner.until(lambda: post(other, "other", {}, "open-sesame") == 200, "one that came after that")
            assert post(door, "hooks", {}, "open-sesame") == 200
            # Then the runner lets go when they are there
            told("dedicated")
            runner.until(lambda: post(door, "hooks", {}, "open-sesame") == 0, "the end of it")

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

    def test_lets_nobody_wait_for_the_bus_of_others_and_loses_nothing_when_it_comes(
        self, place: Place, receiver: Receiver, tmp_path: Path
    ) -> None:
        # Given objects on a bus that is there, and on one that is not
        space = place.namespace
        front, back = port(), port()
        with nats(tmp_path / "away") as away, place.runner() as runner:
            away.server.end()
            absent = bus(space, away.url)
            absent["metadata"]["name"] = "absent"
            there = [event_source(space, "back", back), sensor(space, "tell-back", "back", f"{receiver.url}/back")]
            for item in there:
                item["spec"]["eventBusName"] = "absent"
            place.apply(absent, *there)
            place.apply(event_source(space, "front", front), sensor(space, "tell", "front", f"{receiver.url}/front"))
            runner.start()
            # Then the first work, and did not wait for the others
            runner.until(lambda: post(front, "front", {"n": "1"}, "open-sesame") == 200, "those whose bus is there")
            runner.until(lambda: [one.path for one in receiver.requests] == ["/front"], "their action")
            assert not runner.said("not reading the log yet")
            assert "back" in str(runner.waiting_for())
            # When the bus comes, then the very first event finds its sensor
            asyncio.run(away.server.start())
            runner.until(lambda: post(back, "back", {"n": "2"}, "open-sesame") == 200, "those whose bus came")
            runner.until(lambda: [one.path for one in receiver.requests] == ["/front", "/back"], "their action")

    def test_receives_while_a_sensor_that_is_started_anew_finishes_what_it_does(
        self, place: Place, receiver: Receiver, broker: Nats
    ) -> None:
        # Given a Sensor whose action is not answered
        space, door = place.namespace, port()
        place.apply(event_source(space, "front", door), sensor(space, "tell", "front", receiver.url))
        with place.runner(ARGOSY_GRACE="40") as runner:
            runner.start()
            runner.until_ready()
            receiver.answers.clear()
            assert post(door, "front", {"n": "1"}, "open-sesame") == 200
            runner.until(lambda: badges(receiver) == [("1", "7")], "the action is under way")
            # When it and its EventSource are to be started anew, for their bus says something else
            other = bus(space, broker.url)
            other["spec"]["jetstreamExotic"]["streamConfig"] = "maxAge: 72h"
            changed, applied = ("the manifests changed", "the changed manifests are applied")
            before = len(runner.said(changed))
            runner.until(lambda: len(runner.said(applied)) == before, "what came before is done")
            place.apply(other)
            runner.until(lambda: len(runner.said(changed)) > before, "the change")
            # Then the source receives as it did, until the Sensor has done
            assert post(door, "front", {"n": "2"}, "open-sesame") == 200
            assert len(runner.said(applied)) == before
            receiver.answers.set()
            runner.until(lambda: len(runner.said(applied)) > before, "the end of the change")
            runner.until(lambda: post(door, "front", {"n": "3"}, "open-sesame") == 200, "the source is back")
            runner.until(lambda: [n for n, _ in badges(receiver)] == ["1", "2", "3"], "each action once")

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
