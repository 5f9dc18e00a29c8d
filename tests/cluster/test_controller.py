"""The controller as a process with just its rights, on a real API server without any of Kubernetes' own controllers."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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


@pytest.fixture
def controller(server: ApiServer, space: Space, tmp_path: Path) -> Iterator[Controller]:
    """A controller of that namespace, at work."""
    with Controller(server, space.name, tmp_path, "--no-leader-election") as one:
        until(lambda: one.get("/readyz")[0] == 200, "the controller is ready")
        yield one


class TestObjectsOfAnInstallation:
    def test_an_event_source_and_a_sensor_get_their_objects_and_lose_them(
        self, space: Space, controller: Controller
    ) -> None:
        # Given a bus, an event source and a sensor
        space.apply(exotic(), source(), sensor())
        # Then each gets what it needs, and its status says how it stands
        until(lambda: space.names("Deployment") == ["hooks-eventsource", "tell-sensor"], "two Deployments")
        until(lambda: space.names("Service") == ["hooks-eventsource-svc"], "the Service")
        until(lambda: space.get("Secret", "argosy-api"), "the token")
        until(
            lambda: space.status("EventBus", "default") == {"Configured": "True", "Deployed": "True", "Ready": "True"}
        )
        until(
            lambda: (
                space.status("EventSource", "hooks")
                == {"Deployed": "True", "Permitted": "True", "Ready": "False", "SourcesProvided": "True"}
            )
        )
        until(
            lambda: (
                space.status("Sensor", "tell")
                == {
                    "DependenciesProvided": "True",
                    "Deployed": "True",
                    "Permitted": "True",
                    "Ready": "False",
                    "TriggersProvided": "True",
                }
            )
        )
        # When their pods are there, they are ready
        space.works("hooks-eventsource")
        space.works("tell-sensor")
        until(lambda: space.status("EventSource", "hooks")["Ready"] == "True")
        until(lambda: space.status("Sensor", "tell")["Ready"] == "True")
        # When all goes, nothing stays
        for kind, name in (("Sensor", "tell"), ("EventSource", "hooks"), ("EventBus", "default")):
            space.delete(kind, name)
        until(lambda: not space.names("EventBus"), "the bus goes")
        for kind in ("Deployment", "Service", "Secret"):
            until(lambda kind=kind: not space.names(kind), f"no {kind} stays")
        assert "a defect" not in controller.log

    def test_a_bus_of_its_own_is_installed_and_goes_with_its_volumes_when_nobody_uses_it(
        self, space: Space, controller: Controller
    ) -> None:
        # Given a bus with servers of its own, a volume as its StatefulSet makes it, and a sensor that uses it
        bus = {"jetstream": {"version": "latest", "replicas": 3, "persistence": {"volumeSize": "1Gi"}}}
        space.apply(argo("EventBus", "default", bus), sensor())
        until(lambda: space.names("Deployment") == ["tell-sensor"], "the bus has an address")
        assert space.names("StatefulSet") == ["eventbus-default-js"]
        assert space.names("PodDisruptionBudget") and space.names("NetworkPolicy")
        secrets = ["argosy-api", "eventbus-default-js-client-auth", "eventbus-default-js-server"]
        until(lambda: space.names("Secret") == secrets, "its Secrets")
        held = space.get("Secret", "eventbus-default-js-server")
        config = (space.get("EventBus", "default") or {})["status"]["config"]["jetstream"]
        assert config["url"] == f"nats://eventbus-default-js-svc.{space.name}.svc:4222"
        assert config["tls"]["caCertSecret"]["key"] == "ca-cert"
        labels = {"controller": "eventbus-controller", "eventbus-name": "default"}
        resources = {"requests": {"storage": "1Gi"}}
        claim = {"accessModes": ["ReadWriteOnce"], "resources": resources}
        space.apply(
            {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {"name": "data-0", "labels": labels},
                "spec": claim,
            }
        )
        # When somebody deletes it, it stays, says why, and what it consists of stays as it was
        space.delete("EventBus", "default")
        blocked = until(lambda: space.condition("EventBus", "default", "Ready").get("reason") == "InUse")
        assert blocked
        assert "Sensor 'tell'" in space.condition("EventBus", "default", "Ready")["message"]
        until(lambda: "InUse" in {one["reason"] for one in space.items("Event")}, "an Event")
        assert space.get("Secret", "eventbus-default-js-server") == held
        # When the sensor is gone, all of it goes; what Kubernetes itself takes away is protected by nobody here
        space.delete("Sensor", "tell")
        until(lambda: not space.names("EventBus"), "the bus goes")
        for kind in ("StatefulSet", "Service", "ConfigMap", "PodDisruptionBudget", "NetworkPolicy"):
            until(
                lambda kind=kind: not [name for name in space.names(kind) if name != "kube-root-ca.crt"],
                f"no {kind} stays",
            )
        until(lambda: not space.names("Secret"), "no Secret stays")
        claims = space.items("PersistentVolumeClaim")
        assert all(one["metadata"].get("deletionTimestamp") for one in claims)

    def test_what_somebody_changes_by_hand_is_set_back(self, space: Space, controller: Controller) -> None:
        space.apply(exotic(), source())
        until(lambda: space.names("Service"), "the objects")
        space.patch("Deployment", "hooks-eventsource", {"spec": {"replicas": 5}}, manager="kubectl-edit")
        until(lambda: (space.get("Deployment", "hooks-eventsource") or {})["spec"]["replicas"] == 1, "one again")
        said = until(lambda: [one for one in space.items("Event") if one["reason"] == "Reverted"], "an Event")
        assert "kubectl-edit" in said[0]["note"] and "spec.replicas" in said[0]["note"]
        # What is deleted is made again, what is added to a selector is taken out
        space.delete("Deployment", "hooks-eventsource")
        until(lambda: space.names("Deployment"), "the Deployment again")
        space.patch("Service", "hooks-eventsource-svc", {"spec": {"selector": {"colour": "red"}}})
        until(
            lambda: "colour" not in (space.get("Service", "hooks-eventsource-svc") or {})["spec"]["selector"],
            "the selector as it was",
        )
        # What others say of their own is theirs
        space.patch("Deployment", "hooks-eventsource", {"metadata": {"annotations": {"theirs": "yes"}}})
        until(controller.quiet, "nothing more to do")
        assert (space.get("Deployment", "hooks-eventsource") or {})["metadata"]["annotations"]["theirs"] == "yes"

    def test_a_change_of_the_object_changes_its_pods_and_takes_away_what_it_no_longer_asks_for(
        self, space: Space, controller: Controller
    ) -> None:
        space.apply(exotic(), source())
        until(lambda: space.names("Service"), "the Service")
        before = (space.get("Deployment", "hooks-eventsource") or {})["metadata"]["generation"]
        spec = dict(source()["spec"], template={"priorityClassName": "high"})
        del spec["service"]
        space.apply(argo("EventSource", "hooks", spec))
        until(lambda: not space.names("Service"), "no Service")
        live = space.get("Deployment", "hooks-eventsource") or {}
        assert live["metadata"]["generation"] > before
        assert live["spec"]["template"]["spec"]["priorityClassName"] == "high"

    def test_a_service_whose_address_cannot_be_changed_is_made_anew(self, space: Space, controller: Controller) -> None:
        space.apply(exotic(), source())
        before = until(lambda: space.get("Service", "hooks-eventsource-svc"), "the Service")
        assert before["spec"]["clusterIP"] != "None"
        space.patch("EventSource", "hooks", {"spec": {"service": {"clusterIP": "None"}}})

        def address() -> str:
            return str((space.get("Service", "hooks-eventsource-svc") or {"spec": {}})["spec"].get("clusterIP"))

        until(lambda: address() == "None", "one without an address")
        after = space.get("Service", "hooks-eventsource-svc") or {}
        assert after["metadata"]["uid"] != before["metadata"]["uid"]
        until(lambda: space.status("EventSource", "hooks").get("Deployed") == "True", "all is well")


class TestWhatAStatusSays:
    def test_an_invalid_spec_is_named_and_what_ran_before_goes_on(self, space: Space, controller: Controller) -> None:
        # Given an event source that runs
        space.apply(exotic(), source())
        until(lambda: space.names("Deployment"), "its Deployment")
        before = space.get("Deployment", "hooks-eventsource")
        # When it is made one that cannot be
        spec = dict(source()["spec"], calendar={"tick": {"interval": "10s"}})
        space.apply(argo("EventSource", "hooks", spec))
        # Then its status says why, and its pods are left alone
        faulty = until(
            lambda: (one := space.condition("EventSource", "hooks", "SourcesProvided")).get("status") == "False" and one
        )
        assert faulty["reason"] == "InvalidEventSource" and "write two EventSources" in faulty["message"]
        assert space.condition("EventSource", "hooks", "Ready")["reason"] == "InvalidEventSource"
        assert space.get("Deployment", "hooks-eventsource") == before
        # When it is mended, all is well
        space.patch("EventSource", "hooks", {"spec": {"calendar": None}})
        until(lambda: space.status("EventSource", "hooks")["SourcesProvided"] == "True")

    def test_a_program_that_does_not_parse_is_named_before_a_pod_finds_it(
        self, space: Space, controller: Controller
    ) -> None:
        broken = sensor()
        broken["spec"]["dependencies"][0]["transform"] = {"jq": ".a | )"}
        space.apply(exotic(), source(), broken)
        until(lambda: space.condition("Sensor", "tell", "DependenciesProvided").get("reason") == "InvalidDependencies")
        told = space.condition("Sensor", "tell", "DependenciesProvided")["message"]
        assert "spec.dependencies[0].transform.jq" in told and "does not parse" in told
        assert space.condition("Sensor", "tell", "Deployed")["reason"] == "NotYet"
        until(lambda: space.names("Deployment") == ["hooks-eventsource"], "no pods for it")

    def test_what_a_sensor_waits_for_in_vain_is_named_while_it_runs(self, space: Space, controller: Controller) -> None:
        space.apply(exotic(), sensor(of="hoks", event="pushed"))
        lacking = until(
            lambda: (one := space.condition("Sensor", "tell", "DependenciesProvided")).get("status") == "False" and one
        )
        assert lacking["reason"] == "UnknownEventSource" and "'hoks'" in lacking["message"]
        until(lambda: space.names("Deployment") == ["tell-sensor"], "it runs")
        space.apply(source("hooks"))
        until(lambda: "did you mean 'hooks'" in space.condition("Sensor", "tell", "DependenciesProvided")["message"])
        space.apply(source("hoks", event="pulled"))
        until(lambda: space.condition("Sensor", "tell", "DependenciesProvided")["reason"] == "UnknownEvent")
        space.apply(source("hoks", event="pushed"))
        until(lambda: space.status("Sensor", "tell")["DependenciesProvided"] == "True")

    def test_a_bus_that_is_missing_or_not_ready_is_named_and_waited_for(
        self, space: Space, controller: Controller
    ) -> None:
        space.apply(source(), argo("EventBus", "defualt", {"jetstreamExotic": {"url": "nats://a:4222"}}))
        missing = until(lambda: (one := space.condition("EventSource", "hooks", "Deployed")) and one)
        until(lambda: "did you mean 'defualt'" in space.condition("EventSource", "hooks", "Deployed")["message"])
        assert missing["reason"] == "EventBusNotFound"
        space.apply(argo("EventBus", "default", {"jetstream": {"version": "0.1"}}))
        until(lambda: space.condition("EventSource", "hooks", "Deployed")["reason"] == "EventBusNotReady")
        until(lambda: "'0.1'" in space.condition("EventBus", "default", "Configured").get("message", ""))
        space.patch("EventBus", "default", {"spec": {"jetstream": {"version": "latest"}}})
        until(lambda: space.names("Deployment"), "it runs")

    def test_rights_that_are_missing_are_named_until_they_are_there(
        self, server: ApiServer, space: Space, controller: Controller
    ) -> None:
        # Given a sensor that creates ConfigMaps as an account that may not
        server.service_account(space.name, "maker")
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "made-"}}
        make = {"template": {"name": "make", "k8s": {"operation": "create", "source": {"resource": body}}}}
        template = {"serviceAccountName": "maker"}
        space.apply(exotic(), source(), sensor(triggers=[make], template=template))
        lacking = until(
            lambda: (one := space.condition("Sensor", "tell", "Permitted")).get("status") == "False" and one
        )
        assert lacking["reason"] == "Forbidden"
        assert f"'maker' may not create configmaps in namespace '{space.name}'" in lacking["message"]
        # When it may
        rule = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create"]}
        server.service_account(space.name, "maker", [rule])
        until(lambda: space.status("Sensor", "tell")["Permitted"] == "True", "it is seen at once")

    def test_one_that_is_left_to_another_controller_is_not_touched(self, space: Space, controller: Controller) -> None:
        theirs = {"argosy.dev/controller": "argo-events"}
        space.apply(exotic(annotations=theirs), source(annotations=theirs))
        space.apply(exotic("ours"), sensor(eventBusName="ours"))
        until(lambda: space.names("Deployment") == ["tell-sensor"], "ours runs")
        until(controller.quiet, "nothing more to do")
        for kind, name in (("EventBus", "default"), ("EventSource", "hooks")):
            item = space.get(kind, name) or {}
            assert "status" not in item and "finalizers" not in item["metadata"]

    def test_nothing_is_written_while_nothing_happens_not_even_by_one_that_begins_anew(
        self, space: Space, controller: Controller
    ) -> None:
        # Given objects of all kinds, at rest
        bus = {"jetstream": {"version": "latest", "replicas": 3, "persistence": {}}}
        space.apply(argo("EventBus", "default", bus), source(), sensor())
        until(lambda: space.status("Sensor", "tell").get("Deployed") == "True", "all is there")
        until(lambda: space.status("EventSource", "hooks").get("Deployed") == "True", "all is there")
        until(controller.quiet, "nothing more to do")

        def versions() -> dict[str, str]:
            kinds = ("EventBus", "EventSource", "Sensor", "Deployment", "StatefulSet", "Service", "Secret")
            items = [item for kind in kinds for item in space.items(kind)]
            return {item["metadata"]["uid"]: item["metadata"]["resourceVersion"] for item in items}

        before = versions()
        # When the controller is killed and begins anew, and its looks have all been
        controller.end(signal.SIGKILL)
        controller.start()
        until(lambda: controller.get("/readyz")[0] == 200, "it is ready")
        until(lambda: controller.metric("argosy_controller_reconciles_total") >= 4, "it has looked")
        until(controller.quiet, "nothing more to do")
        # Then all is as it was
        assert versions() == before
        assert controller.metric("argosy_controller_writes_total") == 0, controller.get("/metrics")[1]


class TestWhatOthersHaveMade:
    def test_pods_of_another_controller_go_when_ours_are_there(self, space: Space, controller: Controller) -> None:
        # Given an event source as upstream's controller leaves it: its finalizer, and a Deployment of its own naming
        space.apply(source(finalizers=["eventsource-controller"]))
        owner = space.get("EventSource", "hooks") or {}
        labels = {"controller": "eventsource-controller", "eventsource-name": "hooks", "owner-name": "hooks"}
        about: dict[str, Any] = {"name": "hooks-eventsource-x7k2p", "labels": labels}
        about["ownerReferences"] = [
            {
                "apiVersion": owner["apiVersion"],
                "kind": "EventSource",
                "name": "hooks",
                "uid": owner["metadata"]["uid"],
                "controller": True,
            }
        ]
        pods = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "argo-events"}]}}
        spec = {"selector": {"matchLabels": labels}, "template": pods}
        space.apply({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": about, "spec": spec})
        # When ours are to be there
        space.apply(exotic())
        until(lambda: "hooks-eventsource" in space.names("Deployment"), "ours")
        until(controller.quiet, "nothing more to do")
        assert "hooks-eventsource-x7k2p" in space.names("Deployment"), "ours do not listen yet"
        space.works("hooks-eventsource")
        until(lambda: space.names("Deployment") == ["hooks-eventsource"], "ours alone")
        # And the finalizer, which nobody else would take away, is no hindrance
        space.delete("EventSource", "hooks")
        until(lambda: not space.names("EventSource"), "it goes")
        until(lambda: not space.names("Deployment"), "its Deployment, too")

    def test_an_object_of_somebody_else_that_has_the_name_of_ours_is_left_alone(
        self, space: Space, controller: Controller
    ) -> None:
        pods = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "main", "image": "theirs"}]}}
        spec = {"selector": {"matchLabels": {"a": "b"}}, "template": pods}
        theirs = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "tell-sensor"}, "spec": spec}
        space.apply(theirs)
        before = space.get("Deployment", "tell-sensor")
        space.apply(exotic(), sensor())
        until(lambda: space.condition("Sensor", "tell", "Deployed").get("reason") == "BuildDeploymentSpecFailed")
        assert "'tell-sensor'" in space.condition("Sensor", "tell", "Deployed")["message"]
        assert space.get("Deployment", "tell-sensor") == before

    def test_an_object_that_is_made_anew_gets_pods_of_its_own(self, space: Space, controller: Controller) -> None:
        space.apply(exotic(), sensor())
        first = until(lambda: space.get("Deployment", "tell-sensor"), "its Deployment")
        # When it goes and comes again before anybody has looked
        space.delete("Sensor", "tell")
        space.apply(sensor())
        again = space.get("Sensor", "tell") or {}

        def owner() -> str:
            live = space.get("Deployment", "tell-sensor")
            return str(live["metadata"]["ownerReferences"][0]["uid"]) if live else ""

        until(lambda: owner() == again["metadata"]["uid"], "one that belongs to the new one")
        assert first["metadata"]["ownerReferences"][0]["uid"] != again["metadata"]["uid"]

    def test_what_the_api_server_refuses_is_named_and_tried_again(self, space: Space, controller: Controller) -> None:
        # Given a pod template that no API server takes
        template = {"container": {"volumeMounts": [{"name": "nowhere", "mountPath": "/x"}]}}
        space.apply(exotic(), sensor(template=template))
        until(lambda: space.condition("Sensor", "tell", "Deployed").get("reason") == "CreateDeploymentFailed")
        assert "nowhere" in space.condition("Sensor", "tell", "Deployed")["message"]
        assert space.condition("Sensor", "tell", "Ready")["reason"] == "CreateDeploymentFailed"
        said = until(lambda: [one for one in space.items("Event") if one["reason"] == "CreateDeploymentFailed"])
        assert said[0]["regarding"]["name"] == "tell"
        # When it is mended, it runs
        space.patch("Sensor", "tell", {"spec": {"template": None}})
        until(lambda: space.status("Sensor", "tell").get("Deployed") == "True", "it is deployed")
