"""The kustomize bases and the Helm chart, built by the real programs, are what ``argosy install`` prints."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from argosy.kubernetes.install import Installation, objects
from tests.brokers.sources.server import built
from tests.kubernetes.apiserver import ApiServer
from tests.missing import missing

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
KUBECTL = Path(sys.executable).with_name("kubectl")
Object = dict[str, Any]
Key = tuple[str, str, str]


def by_key(found: Any) -> dict[Key, Object]:
    return {(one["kind"], one["metadata"].get("namespace", ""), one["metadata"]["name"]): one for one in found if one}


def expected(installation: Installation, *, kinds: bool = False) -> dict[Key, Object]:
    """The objects that ``argosy install`` prints; what its ConfigMap holds is read, for a text may be written in several ways."""
    return read(by_key(objects(installation, kinds=kinds)))


def read(found: dict[Key, Object]) -> dict[Key, Object]:
    for one in found.values():
        if one["kind"] == "ConfigMap":
            one["data"] = {name: yaml.safe_load(text) for name, text in one["data"].items()}
    return found


# Helm


@pytest.fixture(scope="module")
def helm() -> str:
    """The real helm."""
    return built("helm")


def template(helm: str, *words: str) -> subprocess.CompletedProcess[str]:
    command = [
        helm,
        "template",
        "argosy",
        str(DEPLOY / "chart"),
        "--namespace",
        "argo-events",
        "--kube-version",
        "1.35",
    ]
    return subprocess.run([*command, *words], capture_output=True, text=True)


@pytest.mark.parametrize(
    ("values", "installation"),
    [
        ("", Installation()),
        ("cluster=true", Installation(cluster=True)),
        ("managedNamespaces={shop,ci}", Installation(managed=("shop", "ci"))),
        ("mode=shared,shards=3", Installation(mode="shared", shards=3)),
        ("allowShared=true,cluster=true", Installation(allow_shared=True, cluster=True)),
        ("admission=false", Installation(admission=False)),
        (
            "image=images.example/argosy:2,imagePullPolicy=Always",
            Installation(image="images.example/argosy:2", pull_policy="Always"),
        ),
    ],
)
def test_the_chart_is_what_install_prints(helm: str, values: str, installation: Installation) -> None:
    # When the chart is rendered
    done = template(helm, *(["--set", values] if values else []))
    assert done.returncode == 0, done.stderr
    # Then it has the objects that `argosy install` prints, but for the namespace, which Helm makes itself
    wanted = {key: one for key, one in expected(installation).items() if key[0] != "Namespace"}
    assert read(by_key(yaml.safe_load_all(done.stdout))) == wanted


def test_the_chart_brings_the_kinds(helm: str) -> None:
    # When the chart is rendered with its kinds
    done = template(helm, "--include-crds")
    # Then they are those of `argosy crds`
    found = {key: one for key, one in by_key(yaml.safe_load_all(done.stdout)).items() if key[0].startswith("Custom")}
    assert found == {
        key: one for key, one in expected(Installation(), kinds=True).items() if key[0].startswith("Custom")
    }


def test_pods_can_be_placed(helm: str) -> None:
    # When values say where pods run, and from which registry
    words = (
        "nodeSelector.disk=fast",
        "tolerations[0].key=infra",
        "imagePullSecrets[0].name=pull",
        "priorityClassName=high",
    )
    done = template(
        helm, "--set", ",".join(words), "--set", "controllerReplicas=1,controllerResources=null,networkPolicies=false"
    )
    assert done.returncode == 0, done.stderr
    # Then both Deployments say it
    found = by_key(yaml.safe_load_all(done.stdout))
    for name in ("argosy-controller", "argosy-admission"):
        pod = found["Deployment", "argo-events", name]["spec"]["template"]["spec"]
        assert pod["nodeSelector"] == {"disk": "fast"}
        assert pod["tolerations"] == [{"key": "infra"}]
        assert pod["imagePullSecrets"] == [{"name": "pull"}]
        assert pod["priorityClassName"] == "high"
    assert found["Deployment", "argo-events", "argosy-controller"]["spec"]["replicas"] == 1
    assert not [key for key in found if key[0] == "NetworkPolicy"]


@pytest.mark.parametrize("values", ["clusterwide=true", "mode=both", "shards=0", "managedNamespaces={Shop}"])
def test_a_wrong_value_is_refused(helm: str, values: str) -> None:
    # When a value is misspelt or out of range
    done = template(helm, "--set", values)
    # Then the chart is not rendered, and the value is named
    assert done.returncode != 0
    assert values.partition("=")[0] in done.stderr


def test_the_chart_has_no_faults(helm: str) -> None:
    # When helm looks for faults
    done = subprocess.run(
        [helm, "lint", "--strict", "--kube-version", "1.35", str(DEPLOY / "chart")], capture_output=True, text=True
    )
    # Then there are none
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_release_is_installed_upgraded_and_removed(
    helm: str, apiserver: ApiServer, namespace: str, tmp_path: Path
) -> None:
    # Given a release on a real API server, whose webhook has written there whom to trust
    config = apiserver.kubeconfig(tmp_path / "kubeconfig")

    def run(*words: str) -> None:
        environment = {**os.environ, "KUBECONFIG": str(config), "HOME": str(tmp_path)}
        done = subprocess.run([helm, *words, "--namespace", namespace], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    run("install", "argosy", str(DEPLOY / "chart"))
    hook = f"/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/argosy-admission-{namespace}"
    names = [one["name"] for one in apiserver.request("GET", hook)["webhooks"]]
    trusted = {"webhooks": [{"name": name, "clientConfig": {"caBundle": "LS0tCg=="}} for name in names]}
    apiserver.request("PATCH", hook, trusted, content="application/strategic-merge-patch+json")
    # When it is upgraded to another image and mode
    run("upgrade", "argosy", str(DEPLOY / "chart"), "--set", "image=images.example/argosy:2,mode=shared")
    # Then the Deployment has both, and the trust stays
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/argosy-controller"
    (container,) = apiserver.request("GET", path)["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "images.example/argosy:2"
    assert "shared" in container["args"]
    assert {one["clientConfig"]["caBundle"] for one in apiserver.request("GET", hook)["webhooks"]} == {"LS0tCg=="}
    # And when it is removed, nothing of it is left in the cluster, but the kinds
    run("uninstall", "argosy")
    roles = apiserver.request("GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles")["items"]
    assert not [one for one in roles if namespace in one["metadata"]["name"]]
    hooks = apiserver.request("GET", hook.rpartition("/")[0])["items"]
    assert not [one for one in hooks if namespace in one["metadata"]["name"]]


# kustomize


@pytest.fixture(scope="module")
def kustomize() -> Any:
    """Builds a folder with the real kubectl."""
    if not KUBECTL.exists():
        missing("kubectl is not installed; make test-cluster brings it")

    def build(folder: Path) -> dict[Key, Object]:
        command = [str(KUBECTL), "kustomize", "--load-restrictor=LoadRestrictionsNone", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return read(by_key(yaml.safe_load_all(done.stdout)))

    return build


@pytest.mark.parametrize(
    ("bases", "installation"),
    [
        (["namespaced"], Installation(admission=False)),
        (["cluster"], Installation(admission=False, cluster=True)),
        (["namespaced", "webhook-namespaced"], Installation()),
        (["cluster", "webhook"], Installation(cluster=True)),
    ],
    ids=["namespaced", "cluster", "namespaced with admission", "cluster with admission"],
)
def test_the_bases_are_what_install_prints(
    kustomize: Any, tmp_path: Path, bases: list[str], installation: Installation
) -> None:
    # When bases are put together
    resources = [os.path.relpath(DEPLOY / base, tmp_path) for base in bases]
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump({"resources": resources}))
    # Then they are what `argosy install` prints
    assert kustomize(tmp_path) == expected(installation, kinds=True)


def test_an_overlay_moves_it_to_another_namespace_and_image(kustomize: Any, tmp_path: Path) -> None:
    # Given the overlay of docs/how-to/kubernetes.md
    page = (ROOT / "docs/how-to/kubernetes.md").read_text()
    (text,) = (part.split("```")[0] for part in page.split("```yaml\n")[1:] if "kind: Kustomization" in part)
    overlay = yaml.safe_load(text)
    overlay["resources"] = [
        os.path.relpath(ROOT / path.partition("argosy/")[2], tmp_path) for path in overlay["resources"]
    ]
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
    # When it is built
    found = kustomize(tmp_path)
    # Then everything is there, and asks there
    assert {key[1] for key in found} == {"", "events"}
    assert ("Namespace", "", "events") in found
    for kind in ("RoleBinding", "ClusterRoleBinding"):
        for key, one in found.items():
            if key[0] == kind:
                assert {subject["namespace"] for subject in one["subjects"]} == {"events"}
    (webhook,) = (one for key, one in found.items() if key[0] == "ValidatingWebhookConfiguration")
    assert {one["clientConfig"]["service"]["namespace"] for one in webhook["webhooks"]} == {"events"}
    # And the controller gives the pods that it makes the same image
    (container,) = found["Deployment", "events", "argosy-controller"]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "images.example/argosy:0.1.0"
    assert {"name": "ARGOSY_IMAGE", "value": "images.example/argosy:0.1.0"} in container["env"]
