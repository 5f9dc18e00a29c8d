"""The test cluster itself: what the tests of this folder take for granted about its pods."""

from __future__ import annotations

import json
import textwrap
from typing import Any

import pytest

from tests.cluster.container import expanded
from tests.cluster.whole import Cluster

_SERVE = """
import http.server, os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path.lstrip("/")
        text = os.environ.get(name) or (open("/" + name).read() if os.path.isfile("/" + name) else "")
        self.send_response(200 if text else 404)
        self.end_headers()
        self.wfile.write(text.encode())
    def log_message(self, *_): pass
print("listening", flush=True)
http.server.HTTPServer((os.environ["IP"], 8080), Answer).serve_forever()
"""
_IP = {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}


def container(code: str = _SERVE, **more: Any) -> dict[str, Any]:
    """A container that runs this Python code."""
    env = [_IP, *more.pop("env", ())]
    return {"name": "main", "image": "process", "command": ["python3", "-c", textwrap.dedent(code)], "env": env, **more}


def pod(namespace: str, name: str, *containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    metadata = {"namespace": namespace, "name": name, "labels": {"app": name}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": list(containers), **spec}}


def deployment(namespace: str, name: str, template: dict[str, Any], **spec: Any) -> dict[str, Any]:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [template]}},
            **spec,
        },
    }


def ask(cluster: Cluster, namespace: str, name: str, what: str) -> str:
    """What the pod answers through the API server's proxy; nothing while it has nothing to say."""
    done = cluster.kubectl("get", "--raw", f"/api/v1/namespaces/{namespace}/pods/{name}:8080/proxy/{what}", check=False)
    return "" if "Error" in done else done


def test_a_pod_sees_its_environment_and_a_secret_that_changes_while_it_runs(cluster: Cluster) -> None:
    # Given a Secret, a ConfigMap, and a pod that takes from both
    namespace = cluster.manager.namespace()
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": namespace, "name": "door"}}
    colours = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": namespace, "name": "colours"}}
    cluster.apply({**secret, "stringData": {"key": "first"}}, {**colours, "data": {"sky": "blue"}})
    env = [
        {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "door", "key": "key"}}},
        {"name": "SKY", "valueFrom": {"configMapKeyRef": {"name": "colours", "key": "sky"}}},
        {"name": "BOTH", "value": "$(SKY) $(KEY) $$(SKY) $(NONE)"},
        {"name": "NONE", "valueFrom": {"secretKeyRef": {"name": "absent", "key": "key", "optional": True}}},
    ]
    mounts = [{"name": "door", "mountPath": "/argo-events/secrets/door"}]
    volumes = [{"name": "door", "secret": {"secretName": "door"}}]
    # When it is applied with the real kubectl
    cluster.apply(pod(namespace, "one", container(env=env, volumeMounts=mounts), volumes=volumes))
    # Then it is ready, has an address of its own, and knows all that
    cluster.until(lambda: cluster.ready(namespace, app="one"), "the pod is ready", namespace=namespace)
    cluster.until(lambda: ask(cluster, namespace, "one", "KEY"), "it answers", namespace=namespace)
    assert ask(cluster, namespace, "one", "BOTH") == "blue first $(SKY) $(NONE)"
    assert ask(cluster, namespace, "one", "argo-events/secrets/door/key") == "first"
    assert ask(cluster, namespace, "one", "var/run/secrets/kubernetes.io/serviceaccount/namespace") == namespace
    assert "BEGIN CERTIFICATE" in ask(cluster, namespace, "one", "var/run/secrets/kubernetes.io/serviceaccount/ca.crt")
    # When the Secret is changed
    cluster.apply({**secret, "stringData": {"key": "second"}})
    # Then the file is, in the process that runs, and the environment is not
    cluster.until(lambda: ask(cluster, namespace, "one", "argo-events/secrets/door/key") == "second", "it is renewed")
    assert ask(cluster, namespace, "one", "KEY") == "first"
    assert cluster.get("pod", "one", namespace)["status"]["containerStatuses"][0]["restartCount"] == 0


def test_the_token_of_a_pod_is_that_of_its_service_account(cluster: Cluster) -> None:
    # Given an account that may read config maps, and a pod of it that asks the API server which are there
    namespace = cluster.manager.namespace()
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}]
    cluster.server.service_account(namespace, "reader", rules)
    code = """
        import json, os, ssl, urllib.error, urllib.request
        place = "/var/run/secrets/kubernetes.io/serviceaccount/"
        trust = ssl.create_default_context(cafile=place + "ca.crt")
        url = f"https://{os.environ['KUBERNETES_SERVICE_HOST']}:{os.environ['KUBERNETES_SERVICE_PORT']}/api/v1/namespaces/"
        for kind in ("configmaps", "secrets"):
            request = urllib.request.Request(url + open(place + "namespace").read() + "/" + kind)
            request.add_header("Authorization", "Bearer " + open(place + "token").read())
            try:
                print(kind, len(json.load(urllib.request.urlopen(request, context=trust))["items"]), flush=True)
            except urllib.error.HTTPError as error:
                print(kind, error.code, json.load(error)["message"], flush=True)
    """
    # When it has run to its end
    cluster.apply(pod(namespace, "asks", container(code), serviceAccountName="reader", restartPolicy="Never"))
    cluster.until(lambda: cluster.get("pod", "asks", namespace)["status"]["phase"] == "Succeeded", "it is done")
    # Then it could do what the account may, and not more
    log = cluster.kubelet.log(namespace, "asks")
    assert "configmaps 1" in log
    assert f'secrets 403 secrets is forbidden: User "system:serviceaccount:{namespace}:reader"' in log


def test_a_pod_that_fails_its_liveness_probe_is_started_again_and_never_ready(cluster: Cluster) -> None:
    # Given a pod whose page for the liveness probe is not there
    namespace = cluster.manager.namespace()
    often = {"periodSeconds": 1, "failureThreshold": 2}
    probes = {
        "livenessProbe": {"httpGet": {"path": "/nothing", "port": 8080}, **often},
        "readinessProbe": {"httpGet": {"path": "/nothing", "port": "web"}, **often},
    }
    # When it runs
    cluster.apply(pod(namespace, "ill", container(ports=[{"name": "web", "containerPort": 8080}], **probes)))

    def status() -> Any:
        return cluster.get("pod", "ill", namespace)["status"].get("containerStatuses", [{"restartCount": 0}])[0]

    # Then it is started again and again, with growing pauses, and is not ready
    cluster.until(lambda: status()["restartCount"] >= 2, "it is started again", namespace=namespace)
    assert status()["ready"] is False
    cluster.until(lambda: cluster.kubelet.log(namespace, "ill").count("listening") >= 2, "it listens again")


def test_a_deployment_is_updated_without_a_gap_behind_its_service(cluster: Cluster) -> None:
    # Given a Deployment behind a Service
    namespace = cluster.manager.namespace()
    probe = {"readinessProbe": {"httpGet": {"path": "/VERSION", "port": 8080}, "periodSeconds": 1}}
    stop = {"lifecycle": {"preStop": {"sleep": {"seconds": 1}}}}
    strategy = {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}

    def version(number: str) -> dict[str, Any]:
        env = [{"name": "VERSION", "value": number}]
        return deployment(namespace, "web", container(env=env, **probe, **stop), strategy=strategy)

    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"namespace": namespace, "name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
    }
    asking = """
        import time, urllib.request
        while True:
            try:
                print("answer", urllib.request.urlopen("http://web/VERSION", timeout=5).read().decode(), flush=True)
            except OSError as error:
                print("none", error, flush=True)
            time.sleep(0.02)
    """
    cluster.apply(version("one"), service)
    cluster.until(lambda: cluster.ready(namespace, app="web"), "the first version is ready", namespace=namespace)
    # And a pod that asks it by its name all the time
    cluster.apply(pod(namespace, "asks", container(asking)))
    cluster.until(lambda: "answer one" in cluster.kubelet.log(namespace, "asks"), "it is asked", namespace=namespace)
    before = cluster.kubelet.log(namespace, "asks").count("none")
    # When the next version is applied
    cluster.apply(version("two"))
    cluster.kubectl("rollout", "status", "deployment/web", "-n", namespace, "--timeout=60s")
    cluster.until(lambda: len(cluster.kubelet.processes(namespace)) == 2, "the old pod is gone", namespace=namespace)
    # Then no question went unanswered
    log = cluster.kubelet.log(namespace, "asks")
    assert "answer two" in log
    assert log.count("none") == before


def test_what_is_deleted_leaves_no_process(cluster: Cluster) -> None:
    # Given pods of a Deployment, one of which does not heed SIGTERM
    namespace = cluster.manager.namespace()
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    )
    cluster.apply(
        deployment(namespace, "two", container(), replicas=2),
        pod(namespace, "deaf", container(deaf), terminationGracePeriodSeconds=1),
    )
    cluster.until(lambda: len(cluster.ready(namespace)) == 3, "all are ready", namespace=namespace)
    cluster.until(lambda: "deaf" in cluster.kubelet.log(namespace, "deaf"), "it is deaf", namespace=namespace)
    # When the namespace is deleted
    cluster.kubectl("delete", "namespace", namespace, "--timeout=60s")
    # Then processes and objects are gone
    assert cluster.kubelet.processes(namespace) == {}
    assert "not found" in cluster.kubectl("get", "namespace", namespace, check=False)


def test_a_process_without_rights_runs_on_a_file_system_that_is_only_read(cluster: Cluster) -> None:
    # Given a pod as Argosy's are: not root, nothing writable but a volume
    namespace = cluster.manager.namespace()
    code = """
        import json, os
        found = {"user": os.getuid()}
        for place in ("/somewhere", "/tmp/somewhere", "/data/somewhere"):
            try:
                open(place, "w").close()
                found[place] = "written"
            except OSError as error:
                found[place] = error.strerror
        print(json.dumps(found), flush=True)
    """
    volumes = [{"name": "tmp", "emptyDir": {}}, {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
    mounts = [{"name": "tmp", "mountPath": "/tmp"}, {"name": "data", "mountPath": "/data"}]
    security = {"runAsUser": 9731, "runAsNonRoot": True}
    only = {"securityContext": {"readOnlyRootFilesystem": True}}
    one = pod(
        namespace, "one", container(code, volumeMounts=mounts, **only), volumes=volumes, securityContext=security, restartPolicy="Never"
    )  # fmt: skip
    # When it runs
    cluster.apply(one)
    cluster.until(
        lambda: cluster.get("pod", "one", namespace)["status"]["phase"] == "Succeeded",
        "it is done",
        namespace=namespace,
    )
    # Then it could write only there
    said = json.loads(cluster.kubelet.log(namespace, "one").splitlines()[1])
    assert said == {
        "user": 9731,
        "/somewhere": "Read-only file system",
        "/tmp/somewhere": "written",
        "/data/somewhere": "Permission denied",
    }


@pytest.mark.parametrize(
    ("text", "gives"),
    [("a$(B)c", "abc"), ("$$(B)", "$(B)"), ("$(C)", "$(C)"), ("$", "$"), ("$(", "$("), ("$B", "$B")],
)
def test_references_are_expanded_as_a_kubelet_does_it(text: str, gives: str) -> None:
    assert expanded(text, {"B": "b"}) == gives
