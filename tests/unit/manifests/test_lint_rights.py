"""Service accounts and their roles, compared with what triggers and sources need."""

from __future__ import annotations

from typing import Any

import pytest

from argosy.manifests.bundle import Finding, from_objects

RBAC = "rbac.authorization.k8s.io/v1"


def thing(kind: str, name: str, spec: object, namespace: str = "default") -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "argoproj.io/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}


SOURCE = thing("EventSource", "shop", {"webhook": {"order": {"port": "1", "endpoint": "/x", "method": "POST"}}})


def sensor(account: str | None = "packer", *, name: str = "orders", obj: object = None, **block: Any) -> dict[str, Any]:
    resource = obj or {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "pack"}}
    dependency = {"name": "order", "eventSourceName": "shop", "eventName": "order"}
    k8s = {"operation": "create", "source": {"resource": resource}, **block}
    pod = {"template": {"serviceAccountName": account}} if account else {}
    return thing(
        "Sensor", name, {**pod, "dependencies": [dependency], "triggers": [{"template": {"name": "t", "k8s": k8s}}]}
    )


def account(name: str = "packer", namespace: str = "default") -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}}


def role(*verbs: str, resource: str = "jobs", group: str = "batch", kind: str = "Role", **more: Any) -> dict[str, Any]:
    rules = [{"apiGroups": [group], "resources": [resource], "verbs": list(verbs)}]
    metadata = {"name": "packer", **({"namespace": "default"} if kind == "Role" else {})}
    return {"apiVersion": RBAC, "kind": kind, "metadata": metadata, "rules": rules, **more}


def binding(
    *, role_kind: str = "Role", kind: str = "RoleBinding", namespace: str = "default", **subject: Any
) -> dict[str, Any]:
    subject = {"kind": "ServiceAccount", "name": "packer", "namespace": "default", **subject}
    return {
        "apiVersion": RBAC,
        "kind": kind,
        "metadata": {"name": "packer", "namespace": namespace},
        "roleRef": {"kind": role_kind, "name": "packer"},
        "subjects": [subject],
    }


def said(*objects: dict[str, Any]) -> list[Finding]:
    return from_objects([SOURCE, *objects]).findings


def found(*objects: dict[str, Any]) -> list[tuple[str, str]]:
    return [(one.code, one.severity) for one in said(*objects)]


@pytest.mark.parametrize(
    "objects",
    [
        # Nothing is known of accounts at all.
        (sensor(),),
        (sensor(), account(), role("create"), binding()),
        (sensor(), account(), role("create"), binding(namespace="default", kind="RoleBinding")),
        (sensor(), account(), role("create", kind="ClusterRole"), binding(role_kind="ClusterRole")),
        (
            sensor(),
            account(),
            role("create", kind="ClusterRole"),
            binding(role_kind="ClusterRole", kind="ClusterRoleBinding"),
        ),
        (
            sensor(),
            account(),
            role("create"),
            {**binding(), "subjects": [{"kind": "Group", "name": "system:serviceaccounts:default"}]},
        ),
        # A role that is not here, or made of others, may give anything.
        (sensor(), account(), binding(role_kind="ClusterRole")),
        (
            sensor(),
            account(),
            role(kind="ClusterRole", aggregationRule={"clusterRoleSelectors": []}),
            binding(role_kind="ClusterRole"),
        ),
        # What it is about is known when there is an event.
        (sensor(source={"url": {"path": "https://a.example/x"}}), account(), role("get"), binding()),
        (
            sensor(parameters=[{"src": {"dependencyName": "order", "dataKey": "k"}, "dest": "kind"}]),
            account(),
            role("get"),
            binding(),
        ),
        # Operations that may do without a verb.
        (sensor(operation="update"), account(), role("get", "update"), binding()),
        (sensor(operation="update"), account(), role("get", "update", "create"), binding()),
        (sensor(operation="delete"), account(), role("delete"), binding()),
        (sensor(operation="apply"), account(), role("patch", "create"), binding()),
        # Somebody else holds the role, too, and may need more.
        (sensor(), account(), role("create", "delete"), binding(), binding(name="other") | {"metadata": {"name": "b"}}),
    ],
)
def test_rights_that_suffice_or_are_not_known_are_no_matter(objects: tuple[dict[str, Any], ...]) -> None:
    assert found(*objects) == []


def test_a_right_that_no_role_gives_is_missing() -> None:
    objects = (sensor(operation="patch"), account(), role("create", "get"), binding())
    (finding,) = said(*objects)
    assert (finding.code, finding.severity, finding.path) == (
        "missing-right",
        "warning",
        "spec.template.serviceAccountName",
    )
    assert "lets ServiceAccount 'packer' patch jobs.batch in namespace 'default'" in finding.message


def test_a_right_in_another_namespace_does_not_count() -> None:
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "pack", "namespace": "jobs"}}
    codes = [one.code for one in said(sensor(obj=job), account(), role("create"), binding())]
    assert "missing-right" in codes


def test_an_account_without_any_binding_has_no_rights() -> None:
    # Given a set in which others have bindings
    objects = (sensor(), account(), account("other"), role("create"), binding(name="other"))
    assert ("missing-right", "warning") in found(*objects)


def test_no_account_is_a_warning_where_accounts_are_and_a_note_elsewhere() -> None:
    assert found(sensor(None)) == [("no-service-account", "info")]
    assert found(sensor(None), account()) == [("no-service-account", "warning")]
    # The namespace's own account may have been given the rights.
    assert found(sensor(None), role("create"), binding(name="default")) == []


def test_objects_that_do_not_say_their_namespace_are_not_compared_with_those_that_do() -> None:
    # Given a role and its binding as kustomize reads them, and a sensor that names its namespace
    parts = account(), role("list"), binding()
    for one in parts:
        one["metadata"].pop("namespace")
    # Then nobody knows whether they meet
    assert found(sensor(), *parts) == []
    assert found(sensor("paker"), *parts) == []
    assert found(sensor(None), *parts) == [("no-service-account", "info")]
    # But they do where none of them says where
    alike = sensor()
    alike["metadata"].pop("namespace")
    assert [code for code, _ in found(alike, *parts)] == ["missing-right", "surplus-right"]


def test_an_account_that_is_not_there_is_found_where_others_are() -> None:
    assert found(sensor("paker"), account()) == [("unknown-service-account", "warning")]
    assert found(sensor("paker"), account(namespace="elsewhere")) == []


def test_more_rights_than_needed_are_a_note_at_the_role() -> None:
    (finding,) = said(sensor(), account(), role("create", "delete", "*"), binding())
    assert (finding.code, finding.severity, finding.object) == ("surplus-right", "info", "Role default/packer")
    assert "*, delete of jobs" in finding.message


def test_what_any_of_several_sensors_needs_is_no_surplus() -> None:
    both = sensor(), sensor(name="more", operation="delete")
    assert found(*both, account(), role("create", "delete"), binding()) == []


def watching(namespace: str) -> dict[str, Any]:
    block = {"group": "batch", "version": "v1", "resource": "jobs", "eventTypes": ["ADD"], "namespace": namespace}
    return thing("EventSource", "jobs", {"template": {"serviceAccountName": "packer"}, "resource": {"job": block}})


def test_a_source_of_objects_needs_to_list_and_watch_them() -> None:
    rights = account(), role("list", "watch"), binding()
    assert found(watching("default"), *rights) == []
    assert found(watching("default"), account(), role("list"), binding()) == [("missing-right", "warning")]
    # All namespaces: a Role of one does not suffice.
    assert [one.code for one in said(watching(""), *rights)][:1] == ["missing-right"]


def test_what_upstream_keeps_the_calendars_place_in_is_no_surplus() -> None:
    block = {"schedule": "0 2 * * *", "persistence": {"configMap": {"name": "places"}}}
    nightly = thing("EventSource", "n", {"template": {"serviceAccountName": "packer"}, "calendar": {"e": block}})
    rights = account(), role("get", "create", "update", resource="configmaps", group=""), binding()
    assert found(nightly, *rights) == []


def test_a_role_that_stands_twice_is_nobodys_matter() -> None:
    assert found(sensor(), account(), account(), role("get"), role("create"), binding(), binding()) == []


def test_roles_that_make_no_sense_are_passed_over() -> None:
    odd: list[dict[str, Any]] = [
        {**role(), "rules": "all"},
        {**role(), "metadata": {"name": "b"}, "rules": [5, {"resources": 7}]},
        {**binding(), "roleRef": [], "subjects": "x"},
        {"apiVersion": RBAC, "kind": "Role"},
        {**role(), "metadata": {"name": 5}},
    ]
    assert found(sensor(), *odd) == []


def test_a_rule_for_other_names_gives_no_right() -> None:
    def named(name: str) -> dict[str, Any]:
        one = role("delete")
        one["rules"][0]["resourceNames"] = [name]
        return one

    assert found(sensor(operation="delete"), account(), named("pack"), binding()) == []
    assert ("missing-right", "warning") in found(sensor(operation="delete"), account(), named("other"), binding())


def test_the_account_in_whose_name_a_trigger_acts_is_compared_too() -> None:
    # Given a sensor that may act as 'worker', who may read jobs and not create them
    acting = role("impersonate", resource="serviceaccounts", group="")
    worker = [
        {**one, "metadata": {**one["metadata"], "name": "worker"}} for one in (role("get"), binding(name="worker"))
    ]
    worker[1]["roleRef"] = {"kind": "Role", "name": "worker"}
    objects = (sensor(serviceAccountName="worker"), account(), account("worker"), acting, binding(), *worker)
    (finding,) = said(*objects)
    assert (finding.code, finding.path) == (
        "missing-right",
        "spec.triggers[0].template.k8s.serviceAccountName",
    )
    assert "lets ServiceAccount 'worker' create jobs.batch" in finding.message
    # And one who may not act as another
    codes = [one.code for one in said(sensor(serviceAccountName="worker"), account(), role("create"), binding())]
    assert "missing-right" in codes
