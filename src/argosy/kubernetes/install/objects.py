"""The objects of an installation, part by part: kinds, the controller, the admission server, the runners of shared mode."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from argosy.kubernetes import crds
from argosy.kubernetes.admission import configuration as webhook
from argosy.kubernetes.controller.rules import controller_own_rules, controller_rules
from argosy.kubernetes.install import eventbus, rights
from argosy.kubernetes.install.pods import METRICS, SMALL, budget, deployment, fence, service
from argosy.kubernetes.install.settings import ADMISSION, CONFIG, CONTROLLER, Installation, Object, named
from argosy.kubernetes.names import RUNNER
from argosy.kubernetes.workloads import MANAGED

_CONFIG_FOLDER = "/etc/argo-events"


def objects(installation: Installation, *, kinds: bool = True) -> Iterator[Object]:
    """Everything, in an order in which it can be applied; ``kinds`` False leaves the CustomResourceDefinitions out."""
    yield namespace(installation)
    if kinds:
        yield from crds.definitions()
    yield from controller_rights(installation)
    yield from controller(installation)
    if installation.cluster:
        yield from rights.for_people()
    if installation.admission:
        yield from admission_rights(installation)
        yield from admission(installation)


def namespace(installation: Installation) -> Object:
    """Where the processes run."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": named(installation.namespace)}


# The controller


def controller_rights(installation: Installation) -> Iterator[Object]:
    """The controller's account, and what it may do where. What only runners make it need is a role of its own."""
    holder, component = (CONTROLLER, installation.namespace), "controller"
    yield rights.account(*holder, component)
    needed = controller_rules(not installation.cluster, shared=False)
    entitling = [rule for rule in controller_rules(not installation.cluster) if rule not in needed]
    roles = {CONTROLLER: needed, **({f"{CONTROLLER}-shared": entitling} if installation.shares else {})}
    for name, rules in roles.items():
        if installation.cluster:
            yield from rights.in_cluster(name, component, rules, holder)
        for where in installation.watched:
            yield from rights.in_namespace(name, component, rules, where, holder)
    yield from rights.in_namespace(
        f"{CONTROLLER}-own", component, controller_own_rules(), installation.namespace, holder
    )


def controller(installation: Installation) -> Iterator[Object]:
    """What runs the controller."""
    where = installation.namespace
    yield {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": named(CONFIG, where, component="controller"),
        "data": {"controller-config.yaml": _text(eventbus.configuration())},
    }
    yield deployment(
        CONTROLLER,
        "controller",
        installation,
        args=["controller", *_scope(installation), "--mode", installation.mode, "--shards", str(installation.shards)],
        env=[
            {"name": "ARGOSY_IMAGE", "value": installation.image},
            {"name": "IMAGE_PULL_POLICY", "value": installation.pull_policy},
        ],
        ports={**METRICS, "health": 8081},
        resources=SMALL,
        files={_CONFIG_FOLDER: {"configMap": {"name": CONFIG}}},
    )
    yield service(CONTROLLER, "controller", where, {"metrics": (7777, "metrics")})
    yield budget(CONTROLLER, "controller", where)
    yield fence(CONTROLLER, "controller", where, [7777, 8081])


def _scope(installation: Installation) -> list[Any]:
    if installation.cluster:
        return []
    # Without a name it is the namespace where it runs, which an overlay of kustomize may change.
    return [
        "--namespaced",
        *(word for where in dict.fromkeys(installation.managed) for word in ("--managed-namespace", where)),
    ]


# Admission


def admission_rights(installation: Installation) -> Iterator[Object]:
    """The admission server's account, and what it may do where."""
    holder = (ADMISSION, installation.namespace)
    yield rights.account(*holder, "admission")
    inside, outside = webhook.admission_rules(), webhook.admission_cluster_rules(installation.webhook)
    if installation.cluster:
        yield from rights.in_cluster(ADMISSION, "admission", [*inside, *outside], holder)
    else:
        for where in installation.watched:
            yield from rights.in_namespace(ADMISSION, "admission", inside, where, holder)
        yield from rights.in_cluster(f"{ADMISSION}-{installation.namespace}", "admission", outside, holder)
    own = webhook.admission_own_rules()
    yield from rights.in_namespace(f"{ADMISSION}-own", "admission", own, installation.namespace, holder)


def admission(installation: Installation) -> Iterator[Object]:
    """What runs the admission server, and which requests the API server asks it about."""
    where = installation.namespace
    yield deployment(
        ADMISSION,
        "admission",
        installation,
        args=["admission", *_scope(installation), "--mode", installation.mode, "--configuration", installation.webhook],
        env=[],
        ports={"webhook": 8443, **METRICS},
        resources=SMALL,
    )
    yield service(ADMISSION, "admission", where, {"webhook": (443, "webhook"), "metrics": (7777, "metrics")})
    yield budget(ADMISSION, "admission", where)
    yield fence(ADMISSION, "admission", where, [8443, 7777])
    labels = named(ADMISSION, component="admission")["labels"]
    yield webhook.configuration(where, watched=installation.watched, name=installation.webhook, labels=labels)


# Runners


def runner(where: str) -> list[Object]:
    """The account of a namespace's runners, and what they may do there whatever they serve.

    A controller that may do so makes the same, and gives the runners no more than what they serve needs, name by name.
    """
    read = ["get", "list", "watch"]
    rules = [
        {"apiGroups": ["argoproj.io"], "resources": rights.KINDS, "verbs": read},
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update"]},
        {"apiGroups": [""], "resources": ["secrets", "configmaps"], "verbs": read},
        {"apiGroups": [""], "resources": ["serviceaccounts/token"], "verbs": ["create"]},
    ]
    found = [rights.account(RUNNER, where, ""), *rights.in_namespace(RUNNER, "", rules, where, (RUNNER, where))]
    return [{**one, "metadata": {**one["metadata"], "labels": dict(MANAGED)}} for one in found]


def _text(value: Any) -> str:
    return yaml.safe_dump(value, sort_keys=False, width=110)
