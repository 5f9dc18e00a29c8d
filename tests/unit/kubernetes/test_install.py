"""What an installation consists of: hardened, with the least rights, the same from the command, kustomize and the chart's source."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from argosy.cli.main import main
from argosy.kubernetes.install import Installation, objects
from argosy.kubernetes.install.settings import USER
from argosy.kubernetes.workloads.settings import parse
from tests.examples import snippets

ROOT = Path(__file__).resolve().parents[3]
Object = dict[str, Any]
SHAPES = {
    "namespaced": Installation(),
    "managed": Installation(managed=("shop", "ci", "shop")),
    "cluster": Installation(cluster=True),
    "shared": Installation(mode="shared", shards=3),
    "bare": Installation(admission=False),
}


def generator(name: str) -> ModuleType:
    """One of the programs in ``tools``."""
    spec = importlib.util.spec_from_file_location(f"argosy_{name}", ROOT / "tools" / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def install(*words: str) -> Result:
    return CliRunner().invoke(main, ["install", *words])


def of(kind: str, found: list[Object]) -> list[Object]:
    return [one for one in found if one["kind"] == kind]


@pytest.fixture(params=SHAPES.values(), ids=SHAPES.keys())
def shape(request: pytest.FixtureRequest) -> Installation:
    installation = request.param
    assert isinstance(installation, Installation)
    return installation


@pytest.fixture
def found(shape: Installation) -> list[Object]:
    return list(objects(shape, kinds=False))


def test_no_two_objects_have_one_name(found: list[Object]) -> None:
    # Given an installation
    keys = [(one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]) for one in found]
    # Then each object is one object
    assert len(keys) == len(set(keys))


def test_processes_are_nobody_and_write_nothing_but_tmp(found: list[Object]) -> None:
    for deployment in of("Deployment", found):
        # Given the pods of a Deployment
        pod = deployment["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        # Then they meet the strictest of Kubernetes' pod security standards ("restricted"), and more
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == USER
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
        }
        writable = [mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")]
        assert writable == ["/tmp"]
        # And are asked how they are, and bounded
        assert {"startupProbe", "livenessProbe", "readinessProbe"} <= container.keys()
        assert container["resources"]["requests"] and container["resources"]["limits"]["memory"]


def test_what_names_something_else_names_something_that_is_there(found: list[Object]) -> None:
    # Given what there is
    accounts = {(one["metadata"]["namespace"], one["metadata"]["name"]) for one in of("ServiceAccount", found)}
    roles = {(one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]) for one in found}
    maps = {one["metadata"]["name"] for one in of("ConfigMap", found)}
    pods = [one["spec"]["template"]["metadata"]["labels"].items() for one in of("Deployment", found)]
    # Then bindings give roles that are there to accounts that are there
    for binding in (*of("RoleBinding", found), *of("ClusterRoleBinding", found)):
        role = binding["roleRef"]
        where = binding["metadata"].get("namespace") if role["kind"] == "Role" else None
        assert (role["kind"], where, role["name"]) in roles
        assert {(one["namespace"], one["name"]) for one in binding["subjects"]} <= accounts
    # And pods run as such accounts, with volumes that are there
    for deployment in of("Deployment", found):
        pod = deployment["spec"]["template"]["spec"]
        assert (deployment["metadata"]["namespace"], pod["serviceAccountName"]) in accounts
        assert {volume["configMap"]["name"] for volume in pod["volumes"] if "configMap" in volume} <= maps
    # And Services, budgets and fences are about the pods of one Deployment
    for one in (*of("Service", found), *of("PodDisruptionBudget", found), *of("NetworkPolicy", found)):
        chosen = one["spec"].get("podSelector") or one["spec"]["selector"]
        chosen = chosen.get("matchLabels", chosen)
        assert sum(chosen.items() <= labels for labels in pods) == 1


def test_doors_are_those_that_the_containers_open(found: list[Object]) -> None:
    for fence in of("NetworkPolicy", found):
        # Given what may be reached of a component
        component = fence["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/component"]
        (deployment,) = (
            one
            for one in of("Deployment", found)
            if one["metadata"]["labels"]["app.kubernetes.io/component"] == component
        )
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        # Then it is what its container serves
        opened = {port["port"] for rule in fence["spec"]["ingress"] for port in rule["ports"]}
        assert opened == {port["containerPort"] for port in container["ports"]}


def rules(found: list[Object], name: str, kind: str = "Role") -> list[Object]:
    return [rule for one in of(kind, found) if one["metadata"]["name"] == name for rule in one["rules"]]


def test_an_installation_of_one_namespace_may_do_nothing_elsewhere() -> None:
    # Given the default
    found = list(objects(Installation(), kinds=False))
    # Then all that it has in the whole cluster is the trust in its own certificate
    (wide,) = of("ClusterRole", found)
    groups = [(rule["apiGroups"], rule["resources"], rule["verbs"]) for rule in wide["rules"]]
    assert groups == [
        (["admissionregistration.k8s.io"], ["validatingwebhookconfigurations"], ["get", "patch"]),
        ([""], ["namespaces"], ["get"]),
    ]
    assert wide["rules"][0]["resourceNames"] == ["argosy-admission-argo-events"]
    # And every role is in that namespace
    assert {one["metadata"]["namespace"] for one in of("Role", found)} == {"argo-events"}


def test_secrets_cannot_be_listed_where_there_are_no_runners() -> None:
    # Given installations with and without the shared mode
    def reads(installation: Installation) -> set[str]:
        found = list(objects(installation, kinds=False))
        return {
            verb
            for one in of("Role", found)
            if one["metadata"]["name"].startswith("argosy-controller")
            for rule in one["rules"]
            if "secrets" in rule["resources"]
            for verb in rule["verbs"]
        }

    # Then only the latter's controller may look at all Secrets
    assert not reads(Installation()) & {"list", "watch"}
    assert reads(Installation(mode="shared")) >= {"list", "watch"}
    assert reads(Installation(allow_shared=True)) >= {"list", "watch"}


def test_no_rule_is_about_everything(found: list[Object]) -> None:
    for one in (*of("Role", found), *of("ClusterRole", found)):
        for rule in one["rules"]:
            # Given any rule, then it says what it is about
            assert "*" not in (*rule["apiGroups"], *rule["resources"], *rule["verbs"])


def test_each_managed_namespace_has_its_roles() -> None:
    # Given two of them, one named twice
    found = list(objects(Installation(managed=("shop", "ci", "shop")), kinds=False))
    # Then there is a role of each part in both
    places = [(one["metadata"]["namespace"], one["metadata"]["name"]) for one in of("Role", found)]
    assert {place for place in places if place[1] == "argosy-controller"} == {
        ("shop", "argosy-controller"),
        ("ci", "argosy-controller"),
    }
    # And the processes are told
    words = {
        one["metadata"]["name"]: one["spec"]["template"]["spec"]["containers"][0]["args"]
        for one in of("Deployment", found)
    }
    for args in words.values():
        assert args[1:6] == ["--namespaced", "--managed-namespace", "shop", "--managed-namespace", "ci"]
    # And the API server asks about these only
    (webhook,) = of("ValidatingWebhookConfiguration", found)
    for one in webhook["webhooks"]:
        (expression,) = one["namespaceSelector"]["matchExpressions"]
        assert sorted(expression["values"]) == ["ci", "shop"]


@pytest.mark.parametrize("name", ["controller", "admission"])
@pytest.mark.parametrize("installation", SHAPES.values(), ids=SHAPES.keys())
def test_the_words_of_the_pods_are_words_that_the_commands_know(name: str, installation: Installation) -> None:
    # Given the words of a container
    found = of("Deployment", list(objects(installation, kinds=False)))
    words = [one["spec"]["template"]["spec"]["containers"][0]["args"] for one in found]
    mine = [args for args in words if args[0] == name]
    # When the command reads them
    for args in mine:
        command = main.get_command(None, name)  # type: ignore[attr-defined]
        with command.make_context(name, args[1:]) as context:
            # Then it takes them as they were meant
            assert context.params["namespaced"] is not installation.cluster
            assert context.params["managed"] == tuple(dict.fromkeys(installation.managed))
            assert context.params["mode"] == installation.mode
    assert mine or not installation.admission


def test_upstreams_versions_of_nats_are_all_there() -> None:
    # Given the ConfigMap
    (config,) = of("ConfigMap", list(objects(Installation(), kinds=False)))
    # When the controller reads it
    settings = parse(config["data"]["controller-config.yaml"])
    # Then every version that upstream's has can be named, and none is a server that is too old
    for word in (
        "latest",
        "2.8.1",
        "2.8.1-alpine",
        "2.8.2",
        "2.8.2-alpine",
        "2.9.1",
        "2.9.12",
        "2.9.16",
        "2.10.10",
        "2.10.29",
    ):
        version = settings.jetstream.version(word)
        assert version.nats_image.startswith("nats:2.1")
        assert version.nats_image.endswith("-alpine") == word.endswith("-alpine")


def test_the_settings_of_the_page_are_settings() -> None:
    # Given the configuration that the page shows
    (text,) = (
        one.text
        for one in snippets.read(ROOT / "docs/how-to/kubernetes.md")
        if one.mark == "parsed" and "eventBus:" in one.text
    )
    # When the controller reads it
    settings = parse(text)
    # Then it says what it seems to say
    assert settings.jetstream.version("latest").nats_image == "nats:2.14.2"
    assert settings.image_pull_secrets == ["registry"]
    assert settings.resources == {"requests": {"cpu": "20m", "memory": "96Mi"}}


# The command


def test_the_command_prints_what_there_is() -> None:
    # When everything but the kinds is asked for, as JSON
    done = install("--without", "crds", "-o", "json", "-n", "events", "--image", "images.example/argosy:2")
    # Then it is that installation
    items = json.loads(done.stdout)["items"]
    assert items == list(objects(Installation(namespace="events", image="images.example/argosy:2"), kinds=False))
    # And YAML says the same
    text = install("--without", "crds", "-n", "events", "--image", "images.example/argosy:2").stdout
    assert list(yaml.safe_load_all(text)) == items


def test_parts_can_be_left_out() -> None:
    # When parts are not wanted
    done = install("--without", "crds", "--without", "admission", "--without", "namespace")
    # Then nothing of them is printed
    kinds = {one["kind"] for one in yaml.safe_load_all(done.stdout)}
    assert not kinds & {"CustomResourceDefinition", "ValidatingWebhookConfiguration", "Namespace", "ClusterRole"}


def test_a_runners_account_is_printed_alone() -> None:
    # When it is asked for
    done = install("--runner", "shop", "--runner", "shop", "--runner", "ci")
    # Then each namespace has it once
    found = list(yaml.safe_load_all(done.stdout))
    assert [(one["kind"], one["metadata"]["namespace"]) for one in found] == [
        (kind, where) for where in ("shop", "ci") for kind in ("ServiceAccount", "Role", "RoleBinding")
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--cluster", "--managed-namespace", "shop"), "leave out --managed-namespace"),
        (("--managed-namespace", "Shop"), "'Shop' is no name of a namespace"),
        (("--runner", "a.b"), "'a.b' is no name of a namespace"),
        (("--shards", "0"), "--shards"),
    ],
)
def test_what_makes_no_sense_is_refused(words: tuple[str, ...], said: str) -> None:
    # When the call is wrong
    done = install(*words)
    # Then it says how
    assert done.exit_code == 2
    assert said in done.stderr


# What stands in the repository


def test_deploy_is_current() -> None:
    # When it is compared with what would be written now
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        files = generator("deploy").files()
    finally:
        sys.path.remove(str(ROOT / "tools"))
    old = [str(path) for path, text in files.items() if not path.exists() or path.read_text() != text]
    # Then there is nothing to write
    assert not old, f"run `make docs` for {', '.join(old)}"
    # And nothing lies there that nobody writes
    by_hand = {"monitoring/rules.yaml", "monitoring/podmonitors.yaml"}
    written = {str(path.relative_to(ROOT / "deploy")) for path in files} | by_hand
    written |= {f"crds/{path.name}" for path in (ROOT / "deploy" / "crds").iterdir()}
    assert {
        str(path.relative_to(ROOT / "deploy")) for path in (ROOT / "deploy").rglob("*") if path.is_file()
    } == written


def test_values_of_the_chart_are_described_and_right_by_default() -> None:
    # Given the chart's values and their schema
    jsonschema = pytest.importorskip("jsonschema")
    values = yaml.safe_load((ROOT / "deploy/chart/values.yaml").read_text())
    schema = json.loads((ROOT / "deploy/chart/values.schema.json").read_text())
    # Then the defaults are right
    jsonschema.validate(values, schema)
    assert values == {name: about["default"] for name, about in schema["properties"].items() if "default" in about}
    # And a misspelt value is not
    with pytest.raises(jsonschema.ValidationError, match="clusterwide"):
        jsonschema.validate({**values, "clusterwide": True}, schema)
    # And every value is used
    templates = "".join(path.read_text() for path in (ROOT / "deploy/chart/templates").iterdir())
    assert {name for name in values if f".Values.{name}" not in templates} == set()


def test_no_hole_is_left_in_the_chart() -> None:
    for path in (ROOT / "deploy/chart/templates").iterdir():
        # Given a template, then nothing of how it was made is left in it
        assert not re.search("xhole", path.read_text())
