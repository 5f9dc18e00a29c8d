"""What manifests become, judged by a real API server: it takes every object, and applying one again changes nothing."""

from __future__ import annotations

import copy
import datetime as dt
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from argosy.errors import ArgosyError
from argosy.kubernetes.client import Client
from argosy.kubernetes.config import load
from argosy.kubernetes.names import FIELD_MANAGER
from argosy.kubernetes.workloads import (
    Settings,
    api_secret,
    bus_config,
    event_bus,
    event_source,
    kept,
    made,
    renewed,
    runners,
    sensor,
    shared_event_source,
)
from argosy.manifests.bundle import Bundle
from argosy.manifests.bundle import load as load_bundle
from tests.brokers.installed_bus import Installed
from tests.brokers.test_installed_bus import as_upstream, buses, raw_client, works
from tests.conformance.bus import publish
from tests.kubernetes.apiserver import ApiServer
from tests.unit.kubernetes.objects import event_bus_of, event_source_of, sensor_of

CORPUS = Path(__file__).resolve().parents[2].parent / "shared" / "corpus"
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
NOW = dt.datetime.now(dt.UTC)
THREE = "{jetstream: {version: latest, replicas: 3}}"
Object = dict[str, Any]

_TEMPLATE = """{metadata: {labels: {a: b}, annotations: {c: d}}, serviceAccountName: sa, nodeSelector: {disk: ssd},
    volumes: [{name: tmp, emptyDir: {}}, {name: data, persistentVolumeClaim: {claimName: data}}],
    securityContext: {runAsUser: 0}, tolerations: [{key: a, operator: Exists}], imagePullSecrets: [{name: pull}],
    affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: z, labelSelector: {}}]}},
    container: {resources: {limits: {memory: 1Gi}}, imagePullPolicy: Always, securityContext: {privileged: true},
        volumeMounts: [{name: tmp, mountPath: /tmp}, {name: data, mountPath: /data}], envFrom: [{secretRef: {name: e}}],
        env: [{name: A, value: '1'}, {name: A, value: '2'}, {name: POD_NAME, value: x}]}}"""
_WEBHOOK = "webhook: {a: {port: '12000', endpoint: /a, authSecret: {name: my.hook_secret, key: t}}, b: {port: '12000', endpoint: /b}}"
_BUSES = [
    "{jetstream: {version: latest, replicas: 1}}",
    """{jetstream: {version: latest, replicas: 3, persistence: {volumeSize: 5Gi, storageClassName: ''}, startArgs: [-D],
        serviceAccountName: sa, affinity: {podAntiAffinity: {}}, containerTemplate: {securityContext: {capabilities: {add: [SYS_ADMIN]}}}}}""",
    "{nats: {native: {auth: token, maxAge: 72h}}}",
    "{kafka: {url: 'k:9092'}}",
]


def _every() -> Iterator[Object]:
    """Objects of all sorts, with and without what a template can say."""
    settings = Settings(image_pull_secrets=["pull", "more"], grace_seconds=30)
    for number, spec in enumerate(_BUSES):
        bus = event_bus_of(spec, name=f"bus-{number}")
        yield from event_bus(bus, settings, made(bus, NOW))
        config = bus_config(bus, settings)
        for replicas in (1, 2):
            name = f"o{number}-{replicas}"
            service = "service: {ports: [{port: 80, targetPort: 12000}, {port: 81, protocol: UDP}]}"
            text = f"{_WEBHOOK}\nreplicas: {replicas}\ntemplate: {_TEMPLATE}\n{service}"
            yield from event_source(event_source_of(text, name=name), config, settings)
            queue = f"redis: {{x: {{hostAddress: 'r:6379', channels: [c], password: {{name: r, key: p}}}}}}\nreplicas: {replicas}"
            yield from event_source(event_source_of(queue, name=f"q{name}"), config, settings)
            triggers = "[{template: {name: t, slack: {channel: c, message: m, slackToken: {name: slack, key: t}}}}]"
            text = f"""{{dependencies: [{{name: a, eventSourceName: b, eventName: c}}], triggers: {triggers},
                replicas: {replicas}, revisionHistoryLimit: 1, template: {_TEMPLATE}}}"""
            yield from sensor(sensor_of(text, name=name), config, settings)
    shared = event_source_of(f"{_WEBHOOK}\nservice: {{ports: [{{port: 12000}}]}}", name="shared")
    yield from shared_event_source(shared, 3)
    yield from runners("shop", 3, settings)
    yield api_secret("shop", "t0ken")


@pytest.fixture
async def client(apiserver: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Client]:
    monkeypatch.setenv("KUBECONFIG", str(apiserver.kubeconfig(tmp_path / "kubeconfig")))
    async with Client(load) as client:
        yield client


def _within(one: Object, namespace: str) -> Object:
    moved = copy.deepcopy(one)
    moved["metadata"]["namespace"] = namespace
    return moved


async def test_every_object_is_taken_and_applying_it_again_changes_nothing(client: Client, namespace: str) -> None:
    # Given objects of all sorts, in the cluster
    objects = [_within(one, namespace) for one in _every()]
    assert {one["kind"] for one in objects} == {
        "ConfigMap", "Deployment", "NetworkPolicy", "PodDisruptionBudget", "Secret", "Service", "StatefulSet",
    }  # fmt: skip
    first = [await client.apply(one, manager=FIELD_MANAGER) for one in objects]

    # When the same input is made into objects anew and applied
    again = [await client.apply(one, manager=FIELD_MANAGER) for one in objects]

    # Then nothing has changed, and nobody else's hand is in it
    for one, before, after in zip(objects, first, again, strict=True):
        assert before["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"], one["metadata"]["name"]
        assert [each["manager"] for each in after["metadata"]["managedFields"]] == [FIELD_MANAGER]


async def test_what_a_template_no_longer_says_is_gone_after_applying(client: Client, namespace: str) -> None:
    bus = bus_config(event_bus_of(_BUSES[0]), Settings())
    for text, there in ((f"{_WEBHOOK}\ntemplate: {_TEMPLATE}", True), (_WEBHOOK, False)):
        (deployment,) = event_source(event_source_of(text), bus, Settings())
        stored = await client.apply(_within(deployment, namespace), manager=FIELD_MANAGER)
        pod = stored["spec"]["template"]["spec"]
        assert ("nodeSelector" in pod) is there
        assert ("data" in [one["name"] for one in pod["volumes"]]) is there
        assert ("A" in [one["name"] for one in pod["containers"][0]["env"]]) is there


@pytest.mark.parametrize(
    "folder",
    [EXAMPLES, *(CORPUS / name for name in ("understack", "argo-events-examples"))],
    ids=["examples", "understack", "upstream"],
)
async def test_what_real_manifests_become_is_taken(client: Client, namespace: str, folder: Path) -> None:
    if not folder.is_dir():
        pytest.skip(f"{folder.name}: the corpus of real manifests is not there (../shared/corpus beside the checkout)")
    bundle = load_bundle([folder])
    dry = client.acting(dry_run=True)
    refused: list[str] = []
    count = 0
    for one in _become(bundle):
        count += 1
        try:
            await dry.apply(_within(one, namespace), manager=FIELD_MANAGER)
        except ArgosyError as error:
            refused.append(f"{one['kind']} {one['metadata']['name']}: {error}")
    assert not refused, "\n".join(refused)
    assert count >= 4


def _become(bundle: Bundle) -> Iterator[Object]:
    settings = Settings()
    config = bus_config(event_bus_of(THREE), settings)
    for bus in bundle.event_buses:
        yield from event_bus(bus, settings, made(bus, NOW))
    for source in bundle.event_sources:
        yield from event_source(source, config, settings)
        yield from shared_event_source(source, 1)
    for one in bundle.sensors:
        yield from sensor(one, config, settings)


async def test_three_servers_keep_three_copies_and_lose_one_of_themselves(tmp_path: Path) -> None:
    # Given a cluster whose servers trust each other by the generated certificates
    bus = event_bus_of(THREE)
    held = made(bus, NOW)
    with Installed(tmp_path, event_bus(bus, Settings(), held)) as installed:
        pods = buses(bus, installed.url, held)
        opened = await pods.get("shop", "default")
        await works(opened, [1])
        client = await raw_client(installed, held)
        assert (await client.jetstream().stream_info("default")).config.num_replicas == 3
        await client.close()

        # When one is gone, then the bus goes on
        installed.end(0)
        await works(opened, [2])
        await pods.close()


async def test_a_cluster_of_upstreams_is_taken_over_server_by_server_and_loses_nothing(tmp_path: Path) -> None:
    # Given three servers as upstream's controller leaves them, and events on them
    bus = event_bus_of(THREE)
    theirs = made(bus, NOW)
    objects = as_upstream(event_bus(bus, Settings(), theirs))
    found = kept(*objects[:2])
    assert found
    held = renewed(found, bus, NOW)
    with Installed(tmp_path, objects) as installed:
        pods = buses(bus, installed.url, held)
        opened = await pods.get("shop", "default")
        await works(opened, [1, 2])

        # When ours replace them, one when the last one is ready, as a StatefulSet does
        installed.apply(event_bus(bus, Settings(), held))
        for index in reversed(range(3)):
            installed.end(index)
            installed.start(index)
            installed.answers(index, "startupProbe")
            await publish(opened, [10 + index])
        await pods.close()

        # Then all events are there, for who has the new Secrets
        pods = buses(bus, installed.url, held)
        await works(await pods.get("shop", "default"), [20])
        client = await raw_client(installed, held)
        info = await client.jetstream().stream_info("default")
        assert (info.state.messages, info.config.num_replicas) == (6, 3)
        await client.close()
        await pods.close()


async def test_objects_of_upstreams_controller_are_taken_over_in_their_place(client: Client, namespace: str) -> None:
    # Given a StatefulSet with a volume, and a Service, as upstream's controller makes them: what cannot be changed is there already
    bus = event_bus_of("{jetstream: {version: latest, persistence: {storageClassName: fast}}}")
    own = {"controller": "eventbus-controller", "eventbus-name": "default", "owner-name": "default"}
    claim = {
        "metadata": {"name": "eventbus-default-js-vol", "creationTimestamp": None},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "20Gi"}},
            "storageClassName": "fast",
            "volumeMode": "Filesystem",
        },
        "status": {},
    }
    container = {"name": "main", "image": "nats:2.9.1", "livenessProbe": {"httpGet": {"path": "/", "port": 8222}}}
    theirs: list[Object] = [
        {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": {"name": "eventbus-default-js", "labels": own, "annotations": {"resource-spec-hash": "1"}},
            "spec": {
                "podManagementPolicy": "Parallel",
                "replicas": 3,
                "selector": {"matchLabels": own},
                "serviceName": "eventbus-default-js-svc",
                "template": {"metadata": {"labels": own}, "spec": {"containers": [container]}},
                "volumeClaimTemplates": [claim],
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "eventbus-default-js-svc", "labels": own},
            "spec": {"clusterIP": "None", "selector": own, "ports": [{"name": "tcp-client", "port": 4222}]},
        },
    ]
    for one in theirs:
        await client.create(await client.discover(one["apiVersion"], one["kind"]), one, namespace)

    # When ours are applied
    for one in event_bus(bus, Settings(), made(bus, NOW)):
        stored = await client.apply(_within(one, namespace), manager=FIELD_MANAGER)

        # Then they are those, with what is ours in them
        if one["kind"] == "StatefulSet":
            main = stored["spec"]["template"]["spec"]["containers"][0]
            assert main["image"] == "nats:2.10.29"
            assert main["livenessProbe"]["httpGet"]["path"] == "/healthz?js-enabled-only=true"
            assert stored["spec"]["volumeClaimTemplates"][0]["spec"]["storageClassName"] == "fast"


_PRINTED = """
import json
from argosy.kubernetes.workloads import Settings, event_source, runners
from tests.unit.kubernetes.objects import BUS, event_source_of
hooks = ", ".join(f"h{n}: {{port: '1', endpoint: /{n}, authSecret: {{name: s{n}, key: k}}}}" for n in range(9))
one = event_source_of(f"{{webhook: {{{hooks}}}, replicas: 2}}", metadata="{labels: {b: c, a: d, z: y}}")
print(json.dumps([event_source(one, BUS, Settings()), runners("shop", 3, Settings())]))
"""


def test_another_process_makes_the_same_of_it() -> None:
    made = {
        subprocess.run(
            [sys.executable, "-c", _PRINTED],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }

    assert len(made) == 1 and "orders-eventsource" in made.pop()
