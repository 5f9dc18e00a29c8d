"""From ``argosy install`` to Workflows and back: the manifests of ``workshop`` on a whole cluster, in both modes.

Everything is real but the containers: kubectl, API server, controller manager, NATS with TLS, RabbitMQ, the controller and the
pods with the rights of their accounts (``Kubelet`` says what a container is here).
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from tests.brokers import rabbitmq as brokers
from tests.cli.running import http
from tests.cluster.site import WORKSHOP, Site, spoken
from tests.cluster.whole import Cluster

pytestmark = pytest.mark.timeout(240)


def alarm(site: Site, hall: str) -> None:
    """Raise an alarm at the address of the event source's Service."""
    path = f"/api/v1/namespaces/{site.namespace}/services/alarms-eventsource-svc"
    address = site.cluster.server.request("GET", path)["spec"]["clusterIP"]
    assert http(f"http://{address}:12000/alarms", json.dumps({"hall": hall}).encode()) == (200, "success")


def issue(site: Site, badge: str) -> None:
    """Make a Secret that is a badge."""
    metadata = {"namespace": site.namespace, "name": badge, "labels": {"workshop.example/badge": "yes"}}
    site.cluster.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"number": "7"}})


def started(machine: str) -> tuple[dict[str, Any], str]:
    """What a machine says when it starts, and the Workflow that is to become of it."""
    report = {"machine": machine, "state": "started"}
    return report, spoken("check-in-", json.dumps(report, separators=(",", ":")), machine, "check-in")


def left(site: Site) -> set[str]:
    """Every object of the namespace, but what any namespace has and what a person or a sensor made."""
    kinds = site.cluster.kubectl("api-resources", "--verbs=list", "--namespaced", "-o", "name").split()
    kinds = [kind for kind in kinds if kind.split(".")[0] not in ("events", "workflows", "jobs", "pods")]
    found = set(site.cluster.kubectl("get", ",".join(kinds), "-n", site.namespace, "-o", "name").split())
    return found - {
        "serviceaccount/default",
        "configmap/kube-root-ca.crt",
        "secret/machines-broker",
        *(f"secret/{badge}" for badge in ("ann", "bob")),
    }


@pytest.mark.parametrize("mode", ["dedicated", "shared"])
def test_manifests_become_pods_and_events_become_workflows_with_the_rights_of_each_sensor(
    cluster: Cluster, rabbitmq: brokers.RabbitMQ, sites: list[Site], mode: str
) -> None:
    # Given an installation, and the manifests of a namespace, applied as they are
    site = Site(cluster, rabbitmq, mode=mode)
    sites.append(site)
    site.install()
    site.lend_broker("machines")
    site.apply(*sorted(WORKSHOP.glob("*.yaml")))
    site.until_ready()

    # When machines report, an alarm is raised and a badge is issued
    first, check_in = started("lathe")
    site.report(first, {"machine": "press", "state": "smoking"}, {"machine": "saw", "state": "idle"})
    alarm(site, "north")
    issue(site, "ann")

    # Then each becomes the object that its sensor describes, and nothing else is made
    wanted = Counter(
        [
            check_in,
            spoken("repair-", "press", "repair"),
            spoken("evacuate-", "north", "evacuate"),
            spoken("print-", "ann"),
        ]
    )
    site.until(lambda: site.made() == wanted, f"{wanted} is made")
    # And there is a pod for each object, or one for all
    served = {
        each["metadata"]["labels"].get("eventsource-name") or each["metadata"]["labels"].get("sensor-name") or "runner"
        for each in cluster.ready(site.namespace)
        if "eventbus-name" not in each["metadata"]["labels"]
    }
    objects = {each["metadata"]["name"] for plural in ("eventsources", "sensors") for each in site.objects(plural)}
    assert served == (objects if mode == "dedicated" else {"runner"})

    # When the sensors' account loses its one verb, and a machine starts
    role = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{site.namespace}/roles/workflow-starter"
    rules = cluster.server.request("GET", role)["rules"]

    def rewrite(rules: list[dict[str, Any]]) -> None:
        cluster.server.request("PATCH", role, {"rules": rules}, content="application/merge-patch+json")

    rewrite([{**rules[0], "verbs": ["get"]}])
    second, again = started("drill")
    site.report(second)

    # Then the action is a dead letter that says who may not do what
    def dead() -> list[dict[str, Any]]:
        found = json.loads(
            site.argosy("actions", "list", "--state", "dead", "--sensor", "machine-started", "-o", "json")
        )
        actions: list[dict[str, Any]] = found["actions"] if isinstance(found, dict) else found
        return actions

    site.until(dead, "there is a dead letter")
    said = json.dumps(dead())
    account = f"system:serviceaccount:{site.namespace}:workflow-starter"
    assert "forbidden" in said and account in said, said
    # And the sensor's conditions tell it, while those of others do not
    permitted = lambda name: site.conditions(site.object("sensors", name)).get("Permitted", {})  # noqa: E731
    site.until(lambda: permitted("machine-started").get("status") == "False", "Permitted is False")
    assert permitted("badge-issued")["status"] == "True"
    assert site.made() == wanted

    # When the verb is given back, and the dead letter is put back into its queue
    rewrite(rules)
    site.argosy("actions", "redrive", "--all", "--sensor", "machine-started")
    # Then the Workflow is made, once
    wanted[again] += 1
    site.until(lambda: site.made() == wanted, f"{wanted} is made")
    site.until(lambda: permitted("machine-started").get("status") == "True", "Permitted is True")

    # And the status tells what happened
    def told() -> bool:
        status = site.object("sensors", "machine-started")["status"]
        failed = status.get("lastError", {"time": "never", "message": ""})
        over = status.get("deadLetters") == 0 and status.get("lastFired", "") >= failed["time"]
        return over and account in failed["message"]

    site.until(told, "the status tells the failure and that it is over")
    for name in ("machines", "alarms", "badges"):
        site.until(
            lambda name=name: site.object("eventsources", name)["status"].get("lastEvent"), f"{name} had an event"
        )  # type: ignore[misc]

    # When all manifests are deleted
    for text in site.texts.values():
        cluster.kubectl("delete", "-n", site.namespace, "-f", "-", "--wait=false", stdin=text)
    # Then nothing of it is left but the rights of the installation
    site.until(lambda: not cluster.kubelet.pods(site.namespace), "no pod is left")
    site.until(lambda: all("argosy-controller" in name for name in left(site)), "nothing else is left")
    # And when the installation is, nothing of that is either
    cluster.kubectl("delete", "-f", "-", "--timeout=60s", stdin=site.installed)
    everywhere = cluster.kubectl("get", "clusterroles,clusterrolebindings,namespaces", "-o", "name")
    assert site.controllers not in everywhere
    assert left(site) == set()
    assert cluster.kubelet.processes(site.namespace) == {}
