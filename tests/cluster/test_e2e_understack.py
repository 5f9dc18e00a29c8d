"""The whole UnderStack corpus on a cluster, applied with kubectl as it is, in both modes: from RabbitMQ to the exact Workflows.

What stands around it in production is given: the kinds of RabbitMQ's operator (which only need to be taken), and the credentials
that this operator would write. The objects that are made are compared with those that the corpus writes down, as the API server
stores them.
"""

from __future__ import annotations

import json
import secrets
from collections import Counter
from typing import Any

import pytest
import yaml

from tests.brokers import rabbitmq as brokers
from tests.cli.running import http
from tests.cluster.site import Site, argosy
from tests.cluster.whole import Cluster
from tests.e2e.test_understack import (
    BROKER,
    CORPUS,
    SERVICES,
    TIMESTAMP,
    Case,
    comparable,
    expected,
    of_kind,
    payload,
    secret,
)

pytestmark = pytest.mark.timeout(500)

MANIFESTS = CORPUS / "manifests"
ROLE = "/apis/rbac.authorization.k8s.io/v1/namespaces/argo-events/roles/sensor-submit-workflow-role"


class UnderStack(Site):
    """The corpus on the cluster."""

    def prepare(self) -> None:
        """What UnderStack has beside the manifests."""
        for plural, kind in (("users", "User"), ("permissions", "Permission")):
            self.cluster.server.apply_crd(_taken(plural, kind))
        assert self.rabbitmq is not None
        for service in SERVICES:
            user, password = f"argo-{service}", secrets.token_hex(8)
            self.rabbitmq.add_user(user, password)
            self.rabbitmq.add_vhost(service, users=(user, "argosy"))
            metadata = {"name": f"argo-{service}-user-credentials", "namespace": "openstack"}
            data = {"username": user, "password": password}
            self.cluster.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data})
        self.cluster.kubelet.more["ARGOSY_RESOLVE"] = f"{BROKER}=127.0.0.1:{self.rabbitmq.port}"

    def made_exactly(self) -> Counter[str]:
        """Every Workflow and Job of the namespaces, but for what is another's in each."""
        found: Counter[str] = Counter()
        for base, plural in (("argoproj.io/v1alpha1", "workflows"), ("batch/v1", "jobs")):
            for namespace in self.namespaces:
                answer = self.cluster.server.request("GET", f"/apis/{base}/namespaces/{namespace}/{plural}")
                kind = answer["kind"].removesuffix("List")
                found.update(comparable({"apiVersion": base, "kind": kind, **each}) for each in answer["items"])
        return found

    def wanted(self, case: Case) -> Counter[str]:
        """The objects that the corpus writes down for this event, as the API server would store them."""
        found: Counter[str] = Counter()
        for one in expected(case):
            about = one["metadata"]
            about["labels"][TIMESTAMP] = "0"
            path = self.cluster.server.path({**one, "metadata": {**about, "name": "x"}}).removesuffix("/x")
            found[comparable(self.cluster.server.request("POST", f"{path}?dryRun=All", one))] += 1
        return found

    def publish(self, case: Case) -> None:
        """As a service notifies; RabbitMQ has it on return."""
        with self.notifying(case["vhost"]) as notifier:
            notifier.publish(case["exchange"], case["routingKey"], payload(case))

    def post(self, case: Case) -> None:
        """To the Service of the event source, from outside of the cluster."""
        path = f"/api/v1/namespaces/argo-events/services/{case['eventSource']}-eventsource-svc"
        address = self.cluster.server.request("GET", path)["spec"]["clusterIP"]
        assert http(f"http://{address}:{case['port']}{case['endpoint']}", payload(case)) == (200, "success")

    def tell(self) -> Counter[str]:
        """Send every notification and every alert that the corpus has; what was made of them, which is what the corpus says."""
        wanted: Counter[str] = Counter()
        for case in of_kind("amqp"):
            self.publish(case)
            if not case["expectTriggerError"]:
                wanted += self.wanted(case)
        for case in of_kind("webhook"):
            self.post(case)
            wanted += self.wanted(case)
        self.until(lambda: self.made_exactly() == wanted, "the objects are made", seconds=90)
        return wanted

    def restrict(self, permission: dict[str, Any]) -> None:
        """Give a user of RabbitMQ the rights of a Permission, and no others."""
        assert self.rabbitmq is not None
        about = permission["spec"]
        words = [about["userReference"]["name"], about["vhost"]]
        words += [about["permissions"][kind] for kind in ("configure", "write", "read")]
        assert '"' not in "".join(words)
        given = ", ".join(f'<<"{word}">>' for word in (*words, "tests"))
        self.rabbitmq.ask(f"rabbit_auth_backend_internal:set_permissions({given}).")


def _taken(plural: str, kind: str) -> dict[str, Any]:
    """A kind of RabbitMQ's operator that takes anything."""
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.rabbitmq.com"},
        "spec": {
            "group": "rabbitmq.com",
            "names": {"plural": plural, "kind": kind},
            "scope": "Namespaced",
            "versions": [{"name": "v1beta1", "served": True, "storage": True, "schema": schema}],
        },
    }


@pytest.mark.parametrize("mode", ["dedicated", "shared"])
def test_the_corpus_applied_as_it_is_makes_the_workflows_that_are_written_down(
    cluster: Cluster, rabbitmq: brokers.RabbitMQ, sites: list[Site], mode: str, record_property: Any
) -> None:
    # Given an installation that serves both namespaces, and all manifests
    site = UnderStack(cluster, rabbitmq, namespaces=("openstack", "argo-events"), mode=mode)
    sites.append(site)
    site.install()
    site.prepare()
    cluster.kubectl("apply", "-f", str(MANIFESTS))
    site.until_ready(seconds=180)
    assert [len(site.objects(kind)) for kind in ("eventbus", "eventsources", "sensors")] == [2, 8, 14]

    # When everything is told that the corpus has, then the objects are those that are written down
    wanted = site.tell()
    # And so they are when a Secret is made, changed and deleted
    by_type = {json.loads(payload(case))["type"]: case for case in of_kind("resource")}
    path = "/api/v1/namespaces/openstack/secrets"
    wanted += site.wanted(by_type["ADD"])
    cluster.server.request("POST", path, secret(by_type["ADD"]))
    site.until(lambda: site.made_exactly() == wanted, "an object for the new Secret")
    wanted += site.wanted(by_type["UPDATE"])
    changed = secret(by_type["UPDATE"])
    cluster.server.request("PUT", f"{path}/{changed['metadata']['name']}", changed)
    site.until(lambda: site.made_exactly() == wanted, "an object for the changed Secret")
    wanted += site.wanted(by_type["DELETE"])
    last = secret(by_type["DELETE"])
    cluster.server.request("PUT", f"{path}/{last['metadata']['name']}", last)
    cluster.server.request("DELETE", f"{path}/{last['metadata']['name']}")
    site.until(lambda: site.made_exactly() == wanted, "an object for the deleted Secret")

    # And this is what it takes
    memory = {name: held for name, held in site.memory().items() if "eventbus" not in name}
    resident, own = (sum(held[kind] for held in memory.values()) for kind in (0, 1))
    record_property("memory", f"{len(memory)} pods, {resident} MB resident, {own} MB without what they share")
    print(f"{mode}: {len(memory)} pods, {resident} MB resident, {own} MB own")
    assert len(memory) == (22 if mode == "dedicated" else 2)

    # When the account of the sensors loses one verb, and a notification comes
    rules = cluster.server.request("GET", ROLE)["rules"]
    without = [{**rule, "verbs": [verb for verb in rule["verbs"] if verb != "create"]} for rule in rules]
    cluster.server.request("PATCH", ROLE, {"rules": without}, content="application/merge-patch+json")
    case = next(case for case in of_kind("amqp") if len(case["expect"]) == 1 and not case["expectTriggerError"])
    (sensor,) = case["expect"]
    changed_id = payload(case).replace(b"message_id", b"message_no")
    with site.notifying(case["vhost"]) as notifier:
        notifier.publish(case["exchange"], case["routingKey"], changed_id)

    # Then its action is a dead letter that says who may not do what, and so does the sensor's condition
    def dead() -> str:
        found = site.argosy("actions", "list", "--state", "dead", "--sensor", sensor, "-o", "json")
        return found if "forbidden" in found else ""

    assert "system:serviceaccount:openstack:sensor-submit-workflow" in site.until(dead, "there is a dead letter")

    def permitted() -> str:
        return str(site.conditions(site.object("sensors", sensor)).get("Permitted", {}).get("status"))

    site.until(lambda: permitted() == "False", "Permitted is False")
    # When the verb is given back, and the action is redriven
    cluster.server.request("PATCH", ROLE, {"rules": rules}, content="application/merge-patch+json")
    site.argosy("actions", "redrive", "--all", "--sensor", sensor)
    # Then what was missing is made
    site.until(lambda: sum(site.made_exactly().values()) == sum(wanted.values()) + 1, "the redriven object is made")
    site.until(lambda: permitted() == "True", "Permitted is True")

    # When all of it is deleted
    cluster.kubectl("delete", "--ignore-not-found", "-f", str(MANIFESTS), "--wait=false")
    # Then nothing is left
    site.until_gone()
    cluster.kubectl("delete", "--ignore-not-found", "-f", "-", "--timeout=60s", stdin=site.installed)
    assert all(not cluster.kubelet.processes(each) for each in (*site.namespaces, site.controllers))


def test_the_rights_that_argosy_prints_are_enough_and_none_is_too_many(
    cluster: Cluster, rabbitmq: brokers.RabbitMQ, sites: list[Site]
) -> None:
    # Given the corpus without its own roles, and with those that `argosy rbac` prints for it, in the cluster and in RabbitMQ
    site = UnderStack(cluster, rabbitmq, namespaces=("openstack", "argo-events"), mode="shared")
    sites.append(site)
    site.install()
    site.prepare()
    given = [each for file in sorted(MANIFESTS.glob("*.yaml")) for each in yaml.safe_load_all(file.read_text()) if each]
    kept = [each for each in given if each["kind"] not in ("Role", "RoleBinding", "Permission")]
    cluster.apply(*kept)
    printed = argosy("rbac", "-o", "yaml", str(MANIFESTS))
    rights = [each for each in yaml.safe_load_all(printed) if each]
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=printed)
    for each in rights:
        if each["kind"] == "Permission":
            site.restrict(each)
    site.until_ready(seconds=120)

    # When everything is told, then everything is made
    wanted = site.tell()
    added = next(case for case in of_kind("resource") if json.loads(payload(case))["type"] == "ADD")
    wanted += site.wanted(added)
    cluster.server.request("POST", "/api/v1/namespaces/openstack/secrets", secret(added))
    site.until(lambda: site.made_exactly() == wanted, "an object for the new Secret")

    # And whichever verb is taken away, some object lacks it, and says so
    def lacking() -> list[str]:
        objects = [*site.objects("eventsources"), *site.objects("sensors")]
        return [
            one["message"]
            for one in (site.conditions(each).get("Permitted", {}) for each in objects)
            if one.get("status") == "False"
        ]

    tried = []
    for role in (each for each in rights if each["kind"] == "Role"):
        path = cluster.server.path(role)
        for number, rule in enumerate(role["rules"]):
            for verb in rule["verbs"]:
                rules = json.loads(json.dumps(role["rules"]))
                rules[number]["verbs"].remove(verb)
                rules = [each for each in rules if each["verbs"]]
                cluster.server.request("PATCH", path, {"rules": rules}, content="application/merge-patch+json")
                what = f"{verb} {rule['resources'][0]}"
                site.until(lambda what=what: any(what in each for each in lacking()), f"{what} is missed")  # type: ignore[misc]
                cluster.server.request("PATCH", path, {"rules": role["rules"]}, content="application/merge-patch+json")
                site.until(lambda: not lacking(), "nothing is missed")
                tried.append(what)
    assert sorted(tried) == [
        "create jobs", "create workflows", "create workflows", "list secrets", "watch secrets"
    ]  # fmt: skip

    # When all of it is deleted, then nothing is left
    cluster.kubectl("delete", "--ignore-not-found", "-f", "-", "--wait=false", stdin=printed)
    cluster.kubectl("delete", "--ignore-not-found", "-f", str(MANIFESTS), "--wait=false")
    site.until_gone()
    cluster.kubectl("delete", "--ignore-not-found", "-f", "-", "--timeout=60s", stdin=site.installed)
