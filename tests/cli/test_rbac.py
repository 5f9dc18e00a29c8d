"""``argosy rbac`` without a cluster: what is needed, what is printed, how it compares with roles beside the manifests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from argosy.cli.main import main
from tests.cli.asking import call

Object = dict[str, Any]
API = "argoproj.io/v1alpha1"
RBAC = "rbac.authorization.k8s.io/v1"
JOB = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"generateName": "pack-"}}
DEPENDENCY = {"name": "order", "eventSourceName": "shop", "eventName": "order"}


def thing(kind: str, name: str, spec: Object, namespace: str = "shop") -> Object:
    return {"apiVersion": API, "kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def sensor(*blocks: Object, account: str | None = "packer", name: str = "orders", namespace: str = "shop") -> Object:
    pod = {"template": {"serviceAccountName": account}} if account else {}
    triggers = [{"template": {"name": f"t{place}", **block}} for place, block in enumerate(blocks)]
    return thing("Sensor", name, {**pod, "dependencies": [DEPENDENCY], "triggers": triggers}, namespace)


def k8s(body: Object, **fields: Any) -> Object:
    return {"k8s": {"source": {"resource": body}, **fields}}


def argo(body: Object, **fields: Any) -> Object:
    return {"argoWorkflow": {"source": {"resource": body}, **fields}}


def workflow(spec: Object | None = None, **about: Any) -> Object:
    metadata = {"generateName": "w-", **about}
    return {"apiVersion": API, "kind": "Workflow", "metadata": metadata, "spec": spec or {"entrypoint": "main"}}


@pytest.fixture
def rbac(tmp_path: Path) -> Any:
    def run(*objects: Object, words: tuple[str, ...] = ()) -> Result:
        path = tmp_path / "all.yaml"
        path.write_text(yaml.safe_dump_all(objects))
        return CliRunner().invoke(main, ["rbac", *words, str(path)])

    return run


@pytest.fixture
def rights(rbac: Any) -> Any:
    """The rights of the first object, as ``verb resource.group namespace name``."""

    def run(*objects: Object) -> list[str]:
        done = rbac(*objects, words=("-o", "json"))
        assert done.exit_code == 0, done.output
        found = json.loads(done.stdout)["objects"][0]["rights"]
        return [
            " ".join(
                filter(
                    None, (one["verb"], f"{one['resource']}.{one['group']}".rstrip("."), one["namespace"], one["name"])
                )
            )
            for one in found
        ]

    return run


@pytest.fixture
def manifests(rbac: Any) -> Any:
    def run(*objects: Object) -> list[Object]:
        done = rbac(*objects, words=("-o", "yaml"))
        assert done.exit_code == 0, done.output
        return [one for one in yaml.safe_load_all(done.stdout) if one]

    return run


def test_the_table_says_who_needs_what(rbac: Any) -> None:
    webhook = thing("EventSource", "shop", {"webhook": {"order": {"port": "1", "endpoint": "/x", "method": "POST"}}})
    done = rbac(webhook, sensor(k8s(JOB)))
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "OBJECT                 RUNS AS  NEEDS",
        "EventSource shop/shop  -        nothing",
        "Sensor shop/orders     packer   create jobs.batch in shop",
    ]


MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}


@pytest.mark.parametrize(
    ("block", "wanted"),
    [
        (k8s(JOB), ["create jobs.batch shop"]),
        (k8s(MAP), ["create configmaps shop", "get configmaps shop a"]),
        (k8s(MAP, operation="update"), ["create configmaps shop", "get configmaps shop a", "update configmaps shop a"]),
        (k8s(MAP, operation="patch"), ["create configmaps shop", "get configmaps shop a", "patch configmaps shop a"]),
        (k8s(MAP, operation="apply"), ["create configmaps shop", "patch configmaps shop a"]),
        (k8s(MAP, operation="delete"), ["delete configmaps shop a"]),
        (argo(workflow()), ["create workflows.argoproj.io shop"]),
        (argo(workflow(namespace="jobs")), ["create workflows.argoproj.io jobs"]),
        (
            argo({"apiVersion": API, "kind": "WorkflowTemplate", "metadata": {"name": "b"}}, operation="submit-from"),
            ["create workflows.argoproj.io shop", "get workflowtemplates.argoproj.io shop b"],
        ),
        (
            argo(
                {"apiVersion": API, "kind": "ClusterWorkflowTemplate", "metadata": {"name": "b"}},
                operation="submit-from",
            ),
            ["create workflows.argoproj.io shop", "get clusterworkflowtemplates.argoproj.io b"],
        ),
        (
            argo(workflow(name="w"), operation="retry"),
            ["delete pods shop", "get workflows.argoproj.io shop w", "update workflows.argoproj.io shop w"],
        ),
        (
            argo(workflow(name="w"), operation="stop"),
            ["get workflows.argoproj.io shop w", "patch workflows.argoproj.io shop w"],
        ),
        (
            argo(workflow(name="w"), operation="stop", args=["--node-field-selector", "phase=Running"]),
            ["get workflows.argoproj.io shop w", "update workflows.argoproj.io shop w"],
        ),
        ({"http": {"url": "https://a.example/x", "method": "POST"}}, []),
    ],
)
def test_each_operation_takes_its_verbs(block: Object, wanted: list[str], rights: Any) -> None:
    assert rights(sensor(block)) == wanted


def test_a_name_that_the_event_gives_binds_no_right(rights: Any) -> None:
    parameters = [{"src": {"dependencyName": "order", "dataKey": "id"}, "dest": "metadata.name"}]
    assert rights(sensor(k8s(MAP, operation="delete", parameters=parameters))) == ["delete configmaps shop"]


def test_what_the_event_decides_is_said_not_to_be_known(rbac: Any) -> None:
    parameters = [{"src": {"dependencyName": "order", "dataKey": "kind"}, "dest": "kind"}]
    done = rbac(sensor(k8s(JOB, parameters=parameters)))
    assert done.exit_code == 0
    assert "not all that service account shop/packer needs is known: trigger 't0': an event decides" in done.stderr


def test_a_dead_letter_trigger_needs_its_rights_too(rights: Any) -> None:
    one = sensor({"log": {}})
    dead_letter = {"template": {"name": "dead", **k8s(JOB)}, "atLeastOnce": True}
    one["spec"]["triggers"][0].update({"atLeastOnce": True, "retryStrategy": {"steps": 1}, "dlqTrigger": dead_letter})
    assert rights(one) == ["create jobs.batch shop"]


def test_roles_stand_where_the_objects_are_made_and_are_bound_to_the_account(manifests: Any) -> None:
    made = manifests(sensor(argo(workflow(namespace="jobs"))), sensor(k8s(JOB), name="more"))
    roles = {
        (one["metadata"]["namespace"], one["metadata"]["name"]): one["rules"] for one in made if one["kind"] == "Role"
    }
    assert roles == {
        ("jobs", "argosy.shop.packer"): [
            {"apiGroups": ["argoproj.io"], "resources": ["workflows"], "verbs": ["create"]}
        ],
        ("shop", "argosy.shop.packer"): [{"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["create"]}],
    }
    subjects = [one["subjects"] for one in made if one["kind"] == "RoleBinding"]
    assert subjects == [[{"kind": "ServiceAccount", "name": "packer", "namespace": "shop"}]] * 2
    assert [one["metadata"] for one in made if one["kind"] == "ServiceAccount"] == [
        {"name": "packer", "namespace": "shop"}
    ]


def test_an_account_that_is_there_is_not_printed_again(manifests: Any) -> None:
    there = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "packer", "namespace": "shop"}}
    assert [one["kind"] for one in manifests(sensor(k8s(JOB)), there)] == ["Role", "RoleBinding"]


def test_who_names_no_account_gets_one_proposed(rbac: Any) -> None:
    done = rbac(sensor(k8s(JOB), account=None))
    assert "Sensor shop/orders  (orders-sensor)  create jobs.batch in shop" in done.stdout
    assert "write spec.template.serviceAccountName: orders-sensor" in done.stderr


def test_names_bind_verbs_and_a_wider_right_swallows_a_narrower_one(manifests: Any) -> None:
    other = {**MAP, "metadata": {"name": "b"}}
    (role,) = (
        one
        for one in manifests(sensor(k8s(MAP, operation="delete"), k8s(other, operation="delete")))
        if one["kind"] == "Role"
    )
    assert role["rules"] == [
        {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["a", "b"], "verbs": ["delete"]}
    ]
    source = {"resource": {"e": {"version": "v1", "resource": "configmaps", "eventTypes": ["ADD"]}}}
    spec = {"template": {"serviceAccountName": "packer"}, **source}
    narrow = {"version": "v1", "resource": "configmaps", "eventTypes": ["ADD"], "namespace": "shop"}
    also = {"template": {"serviceAccountName": "packer"}, "resource": {"e": narrow}}
    made = manifests(thing("EventSource", "all", spec), thing("EventSource", "some", also))
    assert [one["kind"] for one in made] == ["ServiceAccount", "ClusterRole", "ClusterRoleBinding"]


def test_acting_as_another_account_is_a_right_and_the_other_has_the_rest(manifests: Any) -> None:
    made = manifests(sensor(k8s(JOB, serviceAccountName="worker")))
    roles = {one["metadata"]["name"]: one["rules"] for one in made if one["kind"] == "Role"}
    assert roles == {
        "argosy.shop.packer": [
            {"apiGroups": [""], "resources": ["serviceaccounts"], "resourceNames": ["worker"], "verbs": ["impersonate"]}
        ],
        "argosy.shop.worker": [{"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["create"]}],
    }


def test_a_plural_is_taken_from_a_definition_and_a_guess_is_said(rbac: Any) -> None:
    body = {"apiVersion": "x.example/v1", "kind": "Mouse", "metadata": {"generateName": "m-"}}
    guessed = rbac(sensor(k8s(body)))
    assert "create mouses.x.example in shop" in guessed.stdout
    assert "the plural 'mouses' of kind Mouse in 'x.example' is a guess" in guessed.stderr
    crd = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "mice.x.example"},
        "spec": {"group": "x.example", "scope": "Cluster", "names": {"kind": "Mouse", "plural": "mice"}},
    }
    known = rbac(sensor(k8s(body)), crd)
    assert "create mice.x.example in all namespaces" in known.stdout
    assert known.stderr == ""


# Policies


def policies(made: list[Object]) -> list[Object]:
    return [one for one in made if one["kind"] == "ValidatingAdmissionPolicy"]


def test_a_policy_lets_the_account_create_its_workflows_only(manifests: Any) -> None:
    spec = {"workflowTemplateRef": {"name": "build"}, "serviceAccountName": "ci", "arguments": {"parameters": []}}
    parameters = [{"src": {"dependencyName": "order", "dataKey": "id"}, "dest": "spec.arguments.parameters.0.value"}]
    made = manifests(sensor(argo(workflow(spec), parameters=parameters)))
    (one,) = policies(made)
    validation, _ = one["spec"]["validations"]
    assert validation["expression"] == (
        "request.operation == 'UPDATE'\n|| "
        'request.namespace == "shop" && object.spec.all(field, field in ["arguments", "serviceAccountName", "workflowTemplateRef"])'
        ' && has(object.spec.serviceAccountName) && object.spec.serviceAccountName == "ci"'
        ' && has(object.spec.workflowTemplateRef) && object.spec.workflowTemplateRef == {"name": dyn("build")}'
    )
    assert one["spec"]["matchConditions"][0]["expression"] == (
        'request.userInfo.username == "system:serviceaccount:shop:packer"'
    )
    binding = made[-1]
    assert (binding["kind"], binding["spec"]["policyName"]) == (
        "ValidatingAdmissionPolicyBinding",
        one["metadata"]["name"],
    )


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        (argo(workflow(name="w"), operation="resubmit"), "runs what a Workflow of the cluster says"),
        (
            argo(
                workflow({"workflowTemplateRef": {"name": "b"}}),
                parameters=[
                    {"src": {"dependencyName": "order", "dataKey": "t"}, "dest": "spec.workflowTemplateRef.name"}
                ],
            ),
            "lets the event decide spec.workflowTemplateRef",
        ),
        (
            argo({"apiVersion": API, "kind": "CronWorkflow", "metadata": {"name": "c"}}, operation="submit-from"),
            "CronWorkflow",
        ),
    ],
)
def test_no_policy_pins_what_is_not_known_beforehand(block: Object, reason: str, rbac: Any) -> None:
    # Given that one of the account's triggers could be pinned
    done = rbac(sensor(block, argo(workflow())), words=("-o", "yaml"))
    assert policies([one for one in yaml.safe_load_all(done.stdout) if one]) == []
    assert "no policy says which Workflows service account shop/packer may create: trigger 't0'" in done.stderr
    assert reason in done.stderr


# RabbitMQ


def amqp(**fields: Any) -> Object:
    block = {
        "url": "amqp://mq.example:5672/sales",
        "exchangeName": "orders.new",
        "exchangeType": "topic",
        "routingKey": "order.*",
        "queueDeclare": {"name": "argo", "durable": True},
        "auth": {"username": {"name": "mq", "key": "username"}, "password": {"name": "mq", "key": "password"}},
    }
    return thing("EventSource", "shop", {"amqp": {"order": {**block, **fields}}})


@pytest.mark.parametrize(
    ("fields", "patterns"),
    [
        ({}, (r"^(argo|orders\.new)$", "^(argo)$", r"^(argo|orders\.new)$")),
        (
            {"exchangeDeclare": {"passive": True}, "queueDeclare": {"name": "argo", "passive": True}},
            ("^$", "^(argo)$", r"^(argo|orders\.new)$"),
        ),
        ({"exchangeName": ""}, ("^(argo)$", "^$", "^(argo)$")),
        (
            {"queueDeclare": {"exclusive": True}},
            (r"^(amq\.gen-.*|orders\.new)$", r"^(amq\.gen-.*)$", r"^(amq\.gen-.*|orders\.new)$"),
        ),
        (
            {"queueDeclare": {"name": "argo", "arguments": "x-dead-letter-exchange: dead"}},
            (r"^(argo|orders\.new)$", "^(argo|dead)$", r"^(argo|orders\.new)$"),
        ),
    ],
)
def test_a_user_of_rabbitmq_gets_what_its_sources_declare_bind_and_read(
    fields: Object, patterns: tuple[str, ...], rbac: Any
) -> None:
    done = rbac(amqp(**fields), words=("-o", "json"))
    assert done.exit_code == 0, done.output
    (one,) = json.loads(done.stdout)["rabbitmq"]
    assert (one["configure"], one["write"], one["read"]) == patterns
    assert (one["vhost"], one["userSecret"]) == ("sales", "mq")
    # The Kubernetes API is not asked
    assert "EventSource shop/shop  -        nothing" in rbac(amqp(**fields)).stdout


def test_what_rabbitmq_wants_is_a_command_above_the_manifests(rbac: Any) -> None:
    done = rbac(amqp(url="amqp://argo@mq.example", auth=None), words=("-o", "yaml"))
    assert done.stdout == (
        r"# rabbitmqctl set_permissions -p / argo '^(argo|orders\.new)$' '^(argo)$' '^(argo|orders\.new)$'" + "\n"
    )


def operator(permissions: Object) -> list[Object]:
    metadata = {"name": "mq", "namespace": "shop"}
    api = {"apiVersion": "rabbitmq.com/v1beta1", "metadata": metadata}
    cluster = {"rabbitmqClusterReference": {"name": "rabbit"}}
    spec = {"vhost": "sales", "userReference": {"name": "mq"}, "permissions": permissions, **cluster}
    return [{**api, "kind": "User", "spec": cluster}, {**api, "kind": "Permission", "spec": spec}]


def operated() -> Object:
    auth = {word: {"name": "mq-user-credentials", "key": word} for word in ("username", "password")}
    return amqp(auth=auth)


def test_where_the_topology_operator_knows_the_user_its_permission_is_printed_and_compared(rbac: Any) -> None:
    every = dict.fromkeys(("configure", "write", "read"), ".*")
    done = rbac(operated(), *operator(every), words=("-o", "yaml"))
    (made,) = yaml.safe_load_all(done.stdout)
    assert (made["kind"], made["metadata"]["name"]) == ("Permission", "mq")
    exact = {"configure": r"^(argo|orders\.new)$", "write": "^(argo)$", "read": r"^(argo|orders\.new)$"}
    assert made["spec"] == {
        "vhost": "sales",
        "userReference": {"name": "mq"},
        "permissions": exact,
        "rabbitmqClusterReference": {"name": "rabbit"},
    }
    wide = rbac(operated(), *operator(every), words=("--check",))
    assert wide.exit_code == 1
    assert "RabbitMQ user mq in vhost sales: surplus: write '.*', needed is '^(argo)$'" in wide.stdout
    narrow = rbac(operated(), *operator({**exact, "read": "^argo$"}), words=("--check",))
    assert (narrow.exit_code, narrow.stdout) == (1, "RabbitMQ user mq in vhost sales: missing: read of orders\\.new\n")
    right = rbac(operated(), *operator(exact), words=("--check",))
    assert (right.exit_code, right.stdout) == (0, "RabbitMQ user mq in vhost sales: exactly what is needed\n")


# The comparison


def granted(*rules: Object, kind: str = "Role", bound: str = "RoleBinding") -> list[Object]:
    metadata = {"name": "r", **({"namespace": "shop"} if kind == "Role" else {})}
    subject = {"kind": "ServiceAccount", "name": "packer", "namespace": "shop"}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "packer", "namespace": "shop"}},
        {"apiVersion": RBAC, "kind": kind, "metadata": metadata, "rules": list(rules)},
        {
            "apiVersion": RBAC,
            "kind": bound,
            "metadata": {"name": "b", "namespace": "shop"},
            "roleRef": {"kind": kind, "name": "r"},
            "subjects": [subject],
        },
    ]


def rule(*verbs: str, resource: str = "jobs", group: str = "batch", names: tuple[str, ...] = ()) -> Object:
    bound = {"resourceNames": list(names)} if names else {}
    return {"apiGroups": [group], "resources": [resource], "verbs": list(verbs), **bound}


ME = "service account shop/packer"


@pytest.mark.parametrize(
    ("block", "grants", "lines"),
    [
        (k8s(JOB), granted(rule("create")), [f"{ME}: exactly what is needed"]),
        (k8s(JOB), granted(), [f"{ME}: missing: create jobs.batch in shop"]),
        (
            k8s(JOB),
            granted(rule("create", "get", "delete")),
            [f"{ME}: surplus: Role shop/r: delete, get of jobs.batch"],
        ),
        (
            k8s(JOB),
            granted(rule("*", resource="*", group="*"), kind="ClusterRole"),
            [f"{ME}: surplus: ClusterRole r: * of *.*"],
        ),
        (
            k8s(JOB),
            granted(rule("create"), kind="ClusterRole", bound="ClusterRoleBinding"),
            [f"{ME}: surplus: ClusterRole r: create of jobs.batch in all namespaces, needed in 'shop' only"],
        ),
        (
            k8s(MAP, operation="delete"),
            granted(rule("delete", resource="configmaps", group="")),
            [f"{ME}: surplus: Role shop/r: delete of configmaps of any name, needed of 'a' only"],
        ),
        (
            k8s(MAP, operation="delete"),
            granted(rule("delete", resource="configmaps", group="", names=("b",))),
            [
                f"{ME}: missing: delete configmaps 'a' in shop",
                f"{ME}: surplus: Role shop/r: delete of configmaps of b, needed of 'a' only",
            ],
        ),
        # What is granted without a need
        ({"log": {}}, granted(rule("create")), [f"{ME}: surplus: Role shop/r: create of jobs.batch"]),
        # What nobody can tell is no finding
        (
            k8s(JOB, parameters=[{"src": {"dependencyName": "order", "dataKey": "k"}, "dest": "kind"}]),
            granted(rule("delete")),
            [
                f"{ME}: unclear: not all that it needs is known: trigger 't0': an event decides what it is about:"
                " a parameter writes to 'kind'"
            ],
        ),
        (k8s(JOB), granted(rule("create"))[2:], [f"{ME}: unclear: one of its roles does not stand in these manifests"]),
    ],
)
def test_the_check_says_what_is_missing_and_what_is_too_much(
    block: Object, grants: list[Object], lines: list[str], rbac: Any
) -> None:
    done = rbac(sensor(block), *grants, words=("--check",))
    assert done.stdout.splitlines() == lines
    assert done.exit_code == int(any("missing:" in line or "surplus:" in line for line in lines))


def test_who_names_no_account_is_compared_by_the_namespaces_own(rbac: Any) -> None:
    one = sensor(k8s(JOB), account=None)
    lacking = rbac(one, *granted(rule("create")), words=("--check",))
    assert lacking.exit_code == 1
    assert lacking.stdout.splitlines() == [
        "service account shop/default: missing: create jobs.batch in shop",
        "service account shop/default: unclear: Sensor shop/orders runs as 'default', which may serve others: name an account",
    ]
    grants = granted(rule("create", "delete"))
    grants[-1]["subjects"][0]["name"] = "default"
    assert rbac(one, *grants, words=("--check",)).exit_code == 0


def test_what_lives_in_no_namespace_is_watched_everywhere(rbac: Any) -> None:
    block = {"version": "v1", "resource": "nodes", "eventTypes": ["ADD"], "namespace": "shop"}
    done = rbac(thing("EventSource", "all", {"resource": {"e": block}}))
    assert "list, watch nodes in all namespaces" in done.stdout


def test_what_is_printed_passes_the_check(rbac: Any, manifests: Any) -> None:
    mine = [
        sensor(k8s(MAP, operation="update"), argo(workflow(namespace="jobs")), k8s(JOB, serviceAccountName="other")),
        thing("EventSource", "all", {"resource": {"e": {"version": "v1", "resource": "pods", "eventTypes": ["ADD"]}}}),
    ]
    mine[1]["spec"]["template"] = {"serviceAccountName": "watcher"}
    done = rbac(*mine, *manifests(*mine), words=("--check",))
    assert done.exit_code == 0, done.stdout
    assert done.stdout.count("exactly what is needed") == 3


def test_manifests_with_errors_get_no_roles(rbac: Any) -> None:
    bad = sensor(k8s(JOB))
    bad["spec"]["dependencies"] = []
    done = rbac(bad, words=("-o", "yaml"))
    assert (done.exit_code, done.stdout) == (1, "")
    assert "nothing is said of rights while the manifests have errors" in done.stderr


def test_a_comparison_is_no_manifest(rbac: Any) -> None:
    assert rbac(sensor(k8s(JOB)), words=("--check", "-o", "yaml")).exit_code == 2


def test_the_roles_of_people_are_printed_alone() -> None:
    # Given nothing, or a namespace
    view, operate = yaml.safe_load_all(call("rbac", "--cli", "-n", "shop").text)
    # Then there are two roles, of which one may give orders
    assert [one["metadata"] for one in (view, operate)] == [
        {"name": "argosy-view", "namespace": "shop"},
        {"name": "argosy-operate", "namespace": "shop"},
    ]
    proxy = [next(rule for rule in one["rules"] if rule["resources"] == ["pods/proxy"]) for one in (view, operate)]
    assert [rule["verbs"] for rule in proxy] == [["get"], ["get", "create"]]
    # And what belongs to manifests is refused beside it, and it beside them
    assert "--cli stands alone" in call("rbac", "--cli", ".").errors
    assert "-n is for --cli" in call("rbac", "-n", "shop", ".").errors
    assert "Missing argument" in call("rbac").errors
