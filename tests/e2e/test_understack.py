"""The UnderStack manifests, unchanged, from a real RabbitMQ, real HTTP requests and real Secrets to real Workflows and Jobs.

Every payload of the corpus comes in as it does in production, some notifications sent by oslo.messaging itself, and
RabbitMQ is killed in the middle. Then the objects in the API server are those that are written down, and no other.
An expected object is what the API server itself makes of it (a dry run), so that its defaults count as expected.
"""

from __future__ import annotations

import json
import os
import secrets
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import kombu
import pytest

from tests.brokers.rabbitmq import RabbitMQ
from tests.cli.running import Run, http
from tests.e2e.oslo_replay import replay
from tests.kubernetes.apiserver import ApiServer

CORPUS = Path(__file__).parents[3] / "shared" / "corpus" / "understack"
if not CORPUS.is_dir():
    pytest.skip("the corpus folder ../shared/corpus is not beside this checkout", allow_module_level=True)

Case = dict[str, Any]
CASES: list[Case] = json.loads((CORPUS / "index.json").read_text())
SERVICES = ("ironic", "keystone", "neutron", "nova", "cinder")
BROKER = "rabbitmq.openstack.svc.cluster.local:5672"
OWN = ("creationTimestamp", "generation", "managedFields", "resourceVersion", "uid")
ACTION_ID = "argosy.dev/action-id"
TIMESTAMP = "events.argoproj.io/action-timestamp"
LISTS = ("/apis/argoproj.io/v1alpha1/workflows", "/apis/batch/v1/jobs")


def payload(case: Case) -> bytes:
    return (CORPUS / "events" / case["file"]).read_bytes()


def expected(case: Case) -> list[dict[str, Any]]:
    """The objects that the corpus writes down for this event."""
    name = case["file"].removesuffix(".json")
    texts = [(CORPUS / "expected" / f"{name}--{sensor}.json").read_text() for sensor in case["expect"]]
    return [json.loads(possible(text)) for text in texts]


def possible(text: str) -> str:
    """One label of the corpus, of a Secret that is changed, has a comma in it, which no API server takes."""
    return text.replace("infra-read,tenant-read", "infra-read.tenant-read")


def of_kind(kind: str) -> list[Case]:
    return [case for case in CASES if case["type"] == kind]


class Site:
    """A site as UnderStack's: RabbitMQ with a virtual host and a user for each service, namespaces, credentials."""

    def __init__(self, rabbitmq: RabbitMQ, apiserver: ApiServer, folder: Path, workers: int) -> None:
        self.rabbitmq = rabbitmq
        self.apiserver = apiserver
        # An address of the loopback that nobody else uses: the manifests say which ports to listen on.
        self.host = "127." + ".".join(str(secrets.randbelow(254) + 1) for _ in range(3))
        for namespace in ("openstack", "argo-events"):
            apiserver.namespace(namespace)
            # What another test left; a notification of the same id would find its Workflow made already.
            for path in LISTS:
                group, _, plural = path.rpartition("/")
                everything = f"{group}/namespaces/{namespace}/{plural}?propagationPolicy=Background"
                apiserver.request("DELETE", everything)
        credentials = folder / "secrets" / "openstack"
        for service in SERVICES:
            user, password = f"argo-{service}", secrets.token_hex(8)
            rabbitmq.add_user(user, password)
            rabbitmq.add_vhost(service, users=(user, "argosy"))
            (credentials / f"argo-{service}-user-credentials").mkdir(parents=True)
            (credentials / f"argo-{service}-user-credentials" / "username").write_text(user)
            (credentials / f"argo-{service}-user-credentials" / "password").write_text(password)
        kubeconfig = apiserver.kubeconfig(folder / "kubeconfig")
        words = ("--secrets", str(folder / "secrets"), "--host", self.host, "--workers", str(workers))
        self.run = Run(folder, *words, "--resolve", f"{BROKER}=127.0.0.1:{rabbitmq.port}")
        self.run.manifests = CORPUS / "manifests"
        self.environment = {"KUBECONFIG": str(kubeconfig)}

    def url(self, vhost: str) -> str:
        return f"{self.rabbitmq.url}/{vhost}"

    def publish(self, cases: Iterable[Case], instead: bytes = b"") -> None:
        """Return once RabbitMQ has confirmed every message. Nothing but the body names it, as with oslo.messaging.

        ``instead`` is sent in place of the payloads.
        """
        for case in cases:
            options = {"confirm_publish": True}
            with kombu.Connection(self.url(case["vhost"]), transport_options=options) as connection:
                connection.Producer().publish(
                    instead or payload(case),
                    exchange=case["exchange"],
                    routing_key=case["routingKey"],
                    content_type="application/json",
                    content_encoding="utf-8",
                    delivery_mode=2,
                )

    def notify(self, cases: list[Case]) -> None:
        """The same notifications anew, by oslo.messaging's own notifier."""
        for case in cases:
            assert case["routingKey"] == "notifications.info"
            inner = json.loads(json.loads(payload(case))["oslo.message"])
            told = {name: inner[name] for name in ("publisher_id", "event_type", "payload")}
            context = {key[9:]: value for key, value in inner.items() if key.startswith("_context_")}
            replay(self.url(case["vhost"]), case["exchange"], [told | {"context": context}])

    def post(self, case: Case) -> None:
        status, text = http(f"http://{self.host}:{case['port']}{case['endpoint']}", payload(case))
        assert (status, text) == (200, "success")

    def made(self) -> list[dict[str, Any]]:
        """Every Workflow and Job that there is."""
        found: list[dict[str, Any]] = []
        for path in LISTS:
            answer = self.apiserver.request("GET", path)
            kind = answer["kind"].removesuffix("List")
            found += [{"apiVersion": answer["apiVersion"], "kind": kind, **item} for item in answer["items"]]
        return found

    def as_stored(self, wanted: dict[str, Any]) -> dict[str, Any]:
        """What the API server makes of the object, its defaults included; nothing is stored."""
        about = wanted["metadata"]
        about["labels"][TIMESTAMP] = "0"
        path = self.apiserver.path({**wanted, "metadata": {**about, "name": "x"}}).removesuffix("/x")
        answer: dict[str, Any] = self.apiserver.request("POST", f"{path}?dryRun=All", wanted)
        return answer


def comparable(made: dict[str, Any]) -> str:
    """The object without what is another's in every one: identity, times, the name and the marks of the action."""
    made = json.loads(json.dumps(made))
    about = made["metadata"]
    name, prefix = about.pop("name"), about["generateName"]
    assert name.startswith(prefix)
    for field in OWN:
        about.pop(field, None)
    theirs = {key: text for key, text in about.pop("annotations", {}).items() if not key.startswith("argosy.dev/")}
    if theirs:
        about["annotations"] = theirs
    assert about["labels"][TIMESTAMP].isdigit()
    about["labels"][TIMESTAMP] = "<milliseconds>"
    made.pop("status", None)
    text = json.dumps(made, sort_keys=True).replace(name, "<name>")
    if made["kind"] == "Job":
        # A Job carries its own uid as label of its pods.
        for uid in set(_values(made, "controller-uid")):
            text = text.replace(uid, "<uid>")
    return text


def _values(value: Any, suffix: str) -> Iterable[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            if key.endswith(suffix):
                yield item
            yield from _values(item, suffix)


class Tally:
    """What should have happened by now: the objects, and how many events each sensor decided on."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.objects: Counter[str] = Counter()
        self.fired: Counter[str] = Counter()
        self.events: Counter[tuple[str, str]] = Counter()
        self.failed: Counter[str] = Counter()

    def add(self, cases: Iterable[Case]) -> None:
        for case in cases:
            if case["delivered"]:
                self.events[case["eventSource"], case["eventName"]] += 1
            self.fired.update(case["expect"])
            self.failed.update(case["expectTriggerError"])
            self.objects.update(comparable(self._site.as_stored(one)) for one in expected(case))

    def settle(self, sensors: dict[str, tuple[str, str]]) -> None:
        """Return once every sensor has decided on every event, and fired; nothing is under way then."""
        run = self._site.run

        def decided() -> bool:
            return all(
                run.metric("argosy_events_filtered_total", sensor_name=sensor)
                == self.events[event] - self.fired[sensor] - self.failed[sensor]
                and run.metric("argo_events_action_triggered_total", sensor_name=sensor) == self.fired[sensor]
                and run.metric("argosy_actions_dead_lettered_total", sensor_name=sensor) == self.failed[sensor]
                for sensor, event in sensors.items()
            )

        run.until(decided, "not every event is decided and done")
        assert Counter(map(comparable, self._site.made())) == self.objects


@pytest.fixture
def sensors() -> dict[str, tuple[str, str]]:
    """Each sensor with the event that it waits for: event source and event."""
    from argosy.manifests.bundle import load

    found = load([CORPUS / "manifests"]).sensors
    return {
        one.metadata.name: (dependency.event_source_name, dependency.event_name)
        for one in found
        for dependency in one.dependencies
    }


@pytest.mark.timeout(300)
@pytest.mark.parametrize("workers", [1, 2])
def test_every_event_of_the_corpus_gives_exactly_the_objects_that_are_written_down(
    rabbitmq: RabbitMQ,
    apiserver: ApiServer,
    tmp_path: Path,
    runs: list[Run],
    sensors: dict[str, tuple[str, str]],
    workers: int,
) -> None:
    # Given the manifests as they are, in one process or shared by two
    site = Site(rabbitmq, apiserver, tmp_path, workers)
    runs.append(site.run)
    site.run.start({**os.environ, **site.environment})
    site.run.until_ready()
    assert len(sensors) == 14
    tally = Tally(site)
    notifications = of_kind("amqp")
    named = [case for case in notifications if not case["file"].startswith("malformed")]
    half = len(named) // 2

    # When half of the notifications come, those too that nobody binds or that cannot be read
    first = [case for case in notifications if case not in named[half:]]
    tally.add(first)
    site.publish(first)
    tally.settle(sensors)

    # And RabbitMQ is killed as soon as it has confirmed the others, and comes back
    tally.add(named[half:])
    site.publish(named[half:])
    rabbitmq.kill()
    rabbitmq.start()
    site.run.until_ready()
    tally.settle(sensors)

    # And oslo.messaging itself sends what neutron and nova notify of
    again = [case for case in notifications if case["exchange"] in ("neutron", "nova")]
    tally.add(again)
    site.notify(again)
    tally.settle(sensors)

    # And alerts are posted
    for case in of_kind("webhook"):
        tally.add([case])
        site.post(case)
    tally.settle(sensors)

    # And a Secret is made, changed, loses the label of one rule, and goes
    by_type = {json.loads(payload(case))["type"]: case for case in of_kind("resource")}
    path = "/api/v1/namespaces/openstack/secrets"
    tally.add([by_type["ADD"]])
    apiserver.request("POST", path, secret(by_type["ADD"]))
    tally.settle(sensors)
    tally.add([by_type["UPDATE"]])
    changed = secret(by_type["UPDATE"])
    apiserver.request("PUT", f"{path}/{changed['metadata']['name']}", changed)
    tally.settle(sensors)
    tally.add([by_type["DELETE"]])
    last = secret(by_type["DELETE"])
    apiserver.request("PUT", f"{path}/{last['metadata']['name']}", last)
    apiserver.request("DELETE", f"{path}/{last['metadata']['name']}")
    tally.settle(sensors)

    # And a notification lacks what a parameter asks for: a dead letter says so, and nothing is made
    lacking = next(case for case in again if case["file"] == "neutron-segment-range-create-end.json")
    inner = json.loads(json.loads(payload(lacking))["oslo.message"])
    del inner["payload"]["network_segment_range"]["maximum"]
    (sensor,) = lacking["expect"]
    tally.add([lacking | {"expect": [], "expectTriggerError": [sensor]}])
    site.publish([lacking], json.dumps({"oslo.version": "2.0", "oslo.message": json.dumps(inner)}).encode())
    tally.settle(sensors)
    site.run.until_said(sensor, "'payload.network_segment_range.maximum' does not exist")

    # Then no other action was given up, every object is named after its action, and the process drains
    assert sum(tally.objects.values()) == len(site.made())
    assert site.run.metric("argosy_actions_dead_lettered_total") == 1
    assert len({one["metadata"]["annotations"][ACTION_ID] for one in site.made()}) == len(site.made())
    assert site.run.end() == 0


def secret(case: Case) -> dict[str, Any]:
    """The object of a payload, as one sends it to the API server."""
    body: dict[str, Any] = json.loads(possible(payload(case).decode()))["body"]
    for field in OWN:
        body["metadata"].pop(field, None)
    return body
