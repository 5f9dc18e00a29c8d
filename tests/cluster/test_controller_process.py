"""The controller's process: several of it, the API server going away, its configuration, and very many objects at once."""

from __future__ import annotations

import re
import signal
import time
from pathlib import Path

import pytest

from argosy.kubernetes.crds import definitions
from tests.cluster.controlling import Controller, Space, until
from tests.cluster.objects import argo, exotic, sensor, source
from tests.kubernetes.apiserver import ApiServer


@pytest.fixture(scope="module")
def server(apiserver: ApiServer) -> ApiServer:
    """The API server with the definitions."""
    for one in definitions():
        apiserver.apply_crd(one)
    return apiserver


@pytest.fixture
def space(server: ApiServer) -> Space:
    """A namespace of this test."""
    return Space(server, server.namespace())


def test_of_two_one_works_and_the_other_takes_over_when_it_dies(
    server: ApiServer, space: Space, tmp_path: Path
) -> None:
    quick = {
        "LEADER_ELECTION_LEASE_DURATION": "3s",
        "LEADER_ELECTION_RENEW_DEADLINE": "2s",
        "LEADER_ELECTION_RETRY_PERIOD": "300ms",
    }
    # Given two, of which one works while the other stands by and is ready
    with Controller(server, space.name, tmp_path, **quick) as first:
        until(lambda: first.get("/readyz")[0] == 200 and first.leads(), "the first one works")
        with Controller(server, space.name, tmp_path, **quick) as second:
            until(lambda: second.get("/readyz")[0] == 200, "the second one is ready")
            space.apply(exotic(), source())
            until(lambda: space.names("Deployment") == ["hooks-eventsource"], "the first one has done its work")
            assert not second.leads() and second.metric("argosy_controller_writes_total") == 0
            # When the first one is killed
            first.end(signal.SIGKILL)
            space.apply(sensor())
            # Then the second one goes on
            until(second.leads, "the second one works")
            until(lambda: "tell-sensor" in space.names("Deployment"), "it has done what was left")
            # When the first one is back, it stands by, and works once the second one ends in peace
            first.start()
            until(lambda: first.get("/readyz")[0] == 200, "the first one is ready")
            assert second.leads() and not first.leads()
            assert second.end() == 0, second.log
            until(first.leads, "the first one works again")
            # When somebody else takes the Lease, it stops and stands by, and its process goes on
            lease = space.get("Lease", "argosy-controller") or {}
            renewed = {"holderIdentity": "somebody", "leaseDurationSeconds": 4, "leaseTransitions": 9}
            space.patch("Lease", "argosy-controller", {"spec": {**lease["spec"], **renewed}})
            until(lambda: not first.leads(), "it has stopped")
            until(first.leads, "nobody renews it, so it works again")
            assert first.end() == 0, first.log


def test_an_api_server_that_was_away_is_caught_up_with(server: ApiServer, space: Space, tmp_path: Path) -> None:
    # Given a controller at rest
    space.apply(exotic(), source())
    with Controller(server, space.name, tmp_path, "--no-leader-election") as controller:
        until(lambda: space.names("Deployment"), "it has done its work")
        until(controller.quiet, "nothing more to do")
        # When the API server goes away, forgets what was, and things happen before the controller looks again
        server.kill()
        until(lambda: controller.get("/readyz")[0] == 503, "it says that it does not see the cluster")
        server.start()
        space.delete("EventSource", "hooks")
        space.apply(sensor())
        server.forget()
        # Then it ends in what is there now
        until(lambda: space.names("Deployment") == ["tell-sensor"], "one came and one went")
        until(lambda: controller.get("/readyz")[0] == 200, "it is ready again")
        assert "a defect" not in controller.log


def test_a_configuration_that_changes_holds_at_once_and_a_wrong_one_changes_nothing(
    server: ApiServer, space: Space, tmp_path: Path
) -> None:
    config = tmp_path / "controller-config.yaml"
    config.write_text("argosy: {image: 'first:1'}\n")

    def image() -> str:
        live = space.get("Deployment", "hooks-eventsource") or {}
        return str(live["spec"]["template"]["spec"]["containers"][0]["image"]) if live else ""

    space.apply(exotic(), source())
    with Controller(server, space.name, tmp_path, "--no-leader-election", "--config", str(config)) as controller:
        until(lambda: image() == "first:1", "the first image")
        config.write_text("argosy: {imag: 'second:1'}\n")
        until(lambda: "did you mean 'image'" in controller.log, "the mistake is said")
        assert image() == "first:1"
        config.write_text("argosy: {image: 'third:1'}\n")
        until(lambda: image() == "third:1", "the third image")


def test_one_that_is_killed_again_and_again_ends_in_the_same_objects(
    server: ApiServer, space: Space, tmp_path: Path
) -> None:
    # Given much to do, and a bus with credentials that may be made only once
    bus = argo("EventBus", "default", {"jetstream": {"version": "latest", "replicas": 3, "persistence": {}}})
    hooks = source(annotations={"argosy.dev/mode": "shared"})
    space.apply(bus, hooks, *(sensor(f"tell-{number}") for number in range(60)))
    with Controller(server, space.name, tmp_path, "--no-leader-election") as controller:
        held = until(lambda: space.get("Secret", "eventbus-default-js-server"), "the credentials")["data"]
        # When it is killed again and again in the middle of it, while half of it changes
        for round_ in range(5):
            controller.end(signal.SIGKILL)
            space.apply(*(sensor(f"tell-{number}", replicas=2) for number in range(round_ * 6, round_ * 6 + 6)))
            space.delete("Sensor", f"tell-{50 + round_}")
            controller.start()
            until(lambda: controller.metric("argosy_controller_writes_total") > 3, "it is at work")
        # Then it ends in what is asked for, and nothing else
        wanted = {f"tell-{number}-sensor" for number in range(60) if not 50 <= number < 55}
        until(lambda: set(space.names("Deployment")) == {*wanted, "argosy-runner-0"}, "all Deployments")
        replicas = {item["metadata"]["name"]: item["spec"]["replicas"] for item in space.items("Deployment")}
        until(lambda: len(space.names("PodDisruptionBudget")) == 31, "those of 30 sensors, and that of the bus")
        assert all(replicas[f"tell-{number}-sensor"] == (2 if number < 30 else 1) for number in range(50))
        until(controller.quiet, "nothing more to do")
        assert (space.get("Secret", "eventbus-default-js-server") or {})["data"] == held
        assert space.names("Secret") == ["argosy-api", "eventbus-default-js-client-auth", "eventbus-default-js-server"]
        assert space.names("Service") == ["eventbus-default-js-svc", "hooks-eventsource-svc"]
        assert "a defect" not in controller.log


def test_it_ends_in_peace_while_it_is_at_work(server: ApiServer, space: Space, tmp_path: Path) -> None:
    space.apply(exotic(), *(sensor(f"tell-{number}") for number in range(40)))
    with Controller(server, space.name, tmp_path) as controller:
        until(lambda: space.names("Deployment"), "it has begun")
        assert controller.end() == 0, controller.log
        assert '"msg": "drained"' in controller.log
        # Its Lease is free, so that the next one need not wait
        assert "holderIdentity" not in (space.get("Lease", "argosy-controller") or {})["spec"]


def test_five_hundred_sensors_of_one_namespace(
    server: ApiServer, space: Space, tmp_path: Path, record_property: pytest.RecordProperty
) -> None:
    # Given five hundred sensors that nobody has looked at
    space.apply(exotic(), source(), *(sensor(f"tell-{number}") for number in range(500)))
    began = time.monotonic()
    with Controller(server, space.name, tmp_path, "--no-leader-election", "--log-level", "info") as controller:
        # Then each has its Deployment and its status
        until(lambda: len(space.names("Deployment")) == 501, "all Deployments", 110)
        deployed = time.monotonic() - began
        until(lambda: all("status" in item for item in space.items("Sensor")), "all statuses", 60)
        told = time.monotonic() - began
        until(controller.quiet, "nothing more to do")
        body = controller.get("/metrics")[1]
        seconds = float((re.search(r"^process_cpu_seconds_total (\S+)", body, re.MULTILINE) or [0, 0])[1])
        memory = float((re.search(r"^process_resident_memory_bytes (\S+)", body, re.MULTILINE) or [0, 0])[1])
        assert controller.metric("argosy_controller_reconciles_total") < 3000
        for name, value in (("deployed", deployed), ("told", told), ("cpu", seconds), ("mb", memory / 2**20)):
            record_property(name, round(value, 1))
            print(name, round(value, 1))
