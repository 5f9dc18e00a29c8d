"""What ``argosy install`` prints, all of it, running: on a whole cluster, from the first apply over an upgrade to the removal.

The pods of the controller and of the webhook run as their Deployments say (user, root, volumes, probes, accounts), and the API server
reaches the webhook by its Service. ``tests.cluster.kubelet`` says what a container is here.
"""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.whole import Cluster
from tests.examples import snippets

pytestmark = pytest.mark.timeout(240)

ROOT = Path(__file__).resolve().parents[2]
ARGOSY = Path(sys.executable).with_name("argosy")
PAGE = ROOT / "docs" / "how-to" / "kubernetes.md"
NAMES = ("argosy-controller", "argosy-admission")


def printed(*words: str) -> str:
    """What a command of ours prints."""
    return subprocess.run([ARGOSY, *words], capture_output=True, text=True, check=True).stdout


def first(namespace: str, replicas: int = 1) -> list[dict[str, Any]]:
    """The first objects of the page, in another namespace, with one server."""
    found = list(yaml.safe_load_all(snippets.files(PAGE)["first.yaml"]))
    for one in found:
        one["metadata"]["namespace"] = namespace
        if one["kind"] == "EventBus":
            one["spec"]["jetstream"]["replicas"] = replicas
    return found


def is_ready(cluster: Cluster, namespace: str, plural: str, name: str) -> bool:
    status = cluster.get(plural, name, namespace).get("status") or {}
    return any((one["type"], one["status"]) == ("Ready", "True") for one in status.get("conditions") or ())


def test_from_the_first_apply_to_the_removal(cluster: Cluster) -> None:
    # Given a namespace with everything that is printed
    namespace = cluster.manager.namespace()
    words = ("install", "-n", namespace, "--without", "crds", "--without", "namespace")
    text = printed(*words, "--image", "argosy:one")
    cluster.kubectl("apply", "--server-side", "-f", "-", stdin=text)
    # When its pods have started, then both Deployments have theirs, and the API server knows whom to trust
    for name in NAMES:
        component = name.removeprefix("argosy-")
        labels = {"app.kubernetes.io/component": component}
        cluster.until(lambda labels=labels: len(cluster.ready(namespace, **labels)) == 2, name, namespace=namespace)  # type: ignore[misc]
    hook = f"argosy-admission-{namespace}"
    cluster.until(
        lambda: all(
            "caBundle" in one["clientConfig"] for one in cluster.get("validatingwebhookconfiguration", hook)["webhooks"]
        ),
        "the API server trusts the webhook",
        namespace=namespace,
    )

    # When objects are applied, one of them with a slip
    objects = first(namespace)
    slip = json.loads(json.dumps(objects[-1]))
    slip["spec"]["dependencies"][0]["eventName"] = "helo"
    cluster.until(
        lambda: "created" in cluster.kubectl("apply", "-f", "-", stdin=json.dumps(objects[0]), check=False), "a bus"
    )
    cluster.apply(objects[1])
    refused = cluster.until(
        lambda: _refused(cluster, slip), "the webhook has heard of the event source", namespace=namespace
    )
    # Then the API server refuses that one, in lint's words
    assert "did you mean 'hello'?" in refused
    # And the others become ready
    cluster.apply(objects[2])
    for plural, name in (("eventbus", "default"), ("eventsources", "web"), ("sensors", "greeter")):
        cluster.until(
            lambda plural=plural, name=name: is_ready(cluster, namespace, plural, name),  # type: ignore[misc]
            f"{plural} {name} is ready",
            namespace=namespace,
            seconds=90,
        )

    # When an event comes, then the sensor acts, and its status tells it
    _greet(cluster, namespace)
    cluster.until(lambda: "Ada" in cluster.kubelet.log(namespace), "the sensor logs it", namespace=namespace)
    cluster.until(
        lambda: (cluster.get("sensors", "greeter", namespace).get("status") or {}).get("lastFired"), "lastFired is told"
    )

    # When a newer image is applied, then controller, webhook and the pods of the objects follow
    cluster.kubectl("apply", "--server-side", "-f", "-", stdin=printed(*words, "--image", "argosy:two"))
    cluster.until(
        lambda: {_image(one) for one in cluster.kubelet.pods(namespace) if "argosy" in _image(one)} == {"argosy:two"},
        "all pods have the new image",
        namespace=namespace,
        seconds=90,
    )
    # And events go on
    cluster.until(
        lambda: (
            is_ready(cluster, namespace, "sensors", "greeter") and is_ready(cluster, namespace, "eventsources", "web")
        ),
        "ready again",
        namespace=namespace,
    )
    _greet(cluster, namespace, "Grace")
    cluster.until(lambda: "Grace" in cluster.kubelet.log(namespace), "the sensor logs it", namespace=namespace)

    # When all is removed as the page says
    cluster.kubectl("delete", "sensors,eventsources,eventbus", "--all", "-n", namespace, "--timeout=50s")
    cluster.kubectl("delete", "-f", "-", "--timeout=50s", stdin=printed(*words))
    # Then nothing is left, not in the namespace and not beside it
    kinds = "deployments,statefulsets,services,roles,rolebindings,serviceaccounts,poddisruptionbudgets,networkpolicies,persistentvolumeclaims"
    cluster.until(lambda: _left(cluster, kinds, namespace) == {"serviceaccount/default"}, "nothing is left")
    around = cluster.kubectl("get", "clusterroles,clusterrolebindings,validatingwebhookconfigurations", "-o", "name")
    assert namespace not in around


def _refused(cluster: Cluster, one: dict[str, Any]) -> str:
    said = cluster.kubectl("apply", "--dry-run=server", "-f", "-", stdin=json.dumps(one), check=False)
    return said if "is invalid" in said or "denied" in said else ""


def _greet(cluster: Cluster, namespace: str, name: str = "Ada") -> None:
    service = cluster.get("service", "web-eventsource-svc", namespace)
    request = urllib.request.Request(
        f"http://{service['spec']['clusterIP']}:12000/hello",
        json.dumps({"name": name}).encode(),
        {"Content-Type": "application/json"},
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=20) as answer:
        assert answer.status == 200


def _image(pod: dict[str, Any]) -> str:
    return str(pod["spec"]["containers"][0]["image"])


def _left(cluster: Cluster, kinds: str, namespace: str) -> set[str]:
    return set(cluster.kubectl("get", kinds, "-n", namespace, "-o", "name").split())
