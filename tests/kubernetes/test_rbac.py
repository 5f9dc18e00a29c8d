"""``argosy rbac`` against a real API server: the rights that it prints suffice, and none of them can be left out."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from argosy.cli.main import main
from argosy.clock import SystemClock
from argosy.errors import Rejected
from argosy.kubernetes import config, kinds, rbac
from argosy.kubernetes.client import Client
from argosy.kubernetes.leases import Durations, Election, lease_name
from argosy.manifests.bundle import Bundle, from_objects, load
from argosy.manifests.checks._needs import kinds_of
from tests.conformance.source import eventually, on_stage
from tests.conformance.trigger import Stage
from tests.kubernetes.apiserver import ApiError, ApiServer

Object = dict[str, Any]
API = "argoproj.io/v1alpha1"
CORPUS = Path(__file__).parents[3] / "shared" / "corpus" / "understack"


def allowed(server: ApiServer, user: str, namespace: str, rule: Object, verb: str) -> bool:
    """What the server itself says of one right."""
    attributes = {"namespace": namespace, "verb": verb, "group": rule["apiGroups"][0], "resource": rule["resources"][0]}
    attributes |= {"name": rule["resourceNames"][0]} if rule.get("resourceNames") else {}
    spec = {"user": user, "groups": ["system:serviceaccounts"], "resourceAttributes": attributes}
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
    answer = server.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
    return bool(answer["status"].get("allowed"))


def holding(server: ApiServer, namespace: str, name: str, rules: list[Object]) -> str:
    """A service account that has these rules, once the server knows it."""
    user = server.service_account(namespace, name, rules)

    def known() -> bool:
        return all(allowed(server, user, namespace, rule, verb) for rule in rules for verb in rule["verbs"])

    asyncio.run(eventually(known, f"{user} has {rules}"))
    return user


def planned(bundle: Bundle) -> rbac.Plan:
    return rbac.plan(bundle, kinds_of(bundle))


def rules_of(kind: str, block: Object, namespace: str, policy: Object | None) -> dict[str, list[Object]]:
    """The rules that each account needs for one trigger, by account."""
    dependency = {"name": "d", "eventSourceName": "s", "eventName": "e"}
    trigger: Object = {"template": {"name": "act", kind: block}, **({"policy": {"k8s": policy}} if policy else {})}
    spec = {"template": {"serviceAccountName": "own"}, "dependencies": [dependency], "triggers": [trigger]}
    metadata = {"name": "one", "namespace": namespace}
    sensor = {"apiVersion": API, "kind": "Sensor", "metadata": metadata, "spec": spec}
    found = planned(from_objects([sensor])).holders
    assert all(not one.rights.unknown for one in found)
    return {one.account.name: rbac.rules(one.places.get(namespace, [])) for one in found}


def without_each(rules: list[Object]) -> Iterator[tuple[str, list[Object]]]:
    """The rules with one verb left out, for each of them, and its name."""
    for place, rule in enumerate(rules):
        for verb in rule["verbs"]:
            left = copy.deepcopy(rules)
            left[place]["verbs"].remove(verb)
            yield f"{verb} {rule['resources'][0]}", [one for one in left if one["verbs"]]


def test_the_kinds_that_are_known_are_those_that_the_server_serves(apiserver: ApiServer) -> None:
    served = {}
    groups = [("", "/api/v1")] + [
        (group["name"], f"/apis/{version['groupVersion']}")
        for group in apiserver.request("GET", "/apis")["groups"]
        for version in group["versions"]
    ]
    for group, path in groups:
        for one in apiserver.request("GET", path)["resources"]:
            if "/" not in one["name"]:
                served[group, one["kind"]] = kinds.Served(one["name"], one["namespaced"])
    known = kinds.known()
    # Other tests define kinds of their own.
    built_in = {key: one for key, one in served.items() if "." not in key[0] or key[0].endswith(".k8s.io")}
    assert {key: one for key, one in known.items() if key[0] != "argoproj.io"} == built_in
    argo = {key: one for key, one in served.items() if key[0] == "argoproj.io"}
    assert {key: known[key] for key in argo} == argo


def config_map(**about: Any) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": about, "data": {"a": "1"}}


def workflow(**about: Any) -> Object:
    return {"apiVersion": API, "kind": "Workflow", "metadata": about, "spec": {"entrypoint": "main"}}


def template(kind: str = "WorkflowTemplate") -> Object:
    return {"apiVersion": API, "kind": kind, "metadata": {"name": "build"}}


def ran(phase: str, *, suspended: bool = False) -> Object:
    """A Workflow as its controller left it."""
    pod = {"id": "one-1", "name": "one[0]", "displayName": "a", "type": "Pod", "phase": phase, "templateName": "main"}
    top = {"id": "one", "name": "one", "displayName": "one", "type": "Steps", "phase": phase, "children": ["one-1"]}
    done = {"workflows.argoproj.io/completed": "true"} if phase != "Running" else {}
    return {
        **workflow(name="one", labels=done),
        "spec": {"entrypoint": "main", **({"suspend": True} if suspended else {})},
        "status": {"phase": phase, "nodes": {"one": top, "one-1": pod}},
    }


MAP = config_map(name="one")
CASES: dict[str, tuple[str, Object, list[Object], Object | None, set[str]]] = {
    # What is fired, what is there before, the policy, and the verbs that it takes then.
    "create": ("k8s", {"source": {"resource": config_map(generateName="a-")}}, [], None, {"create"}),
    "create twice": ("k8s", {"source": {"resource": MAP}}, [], None, {"create", "get"}),
    "update": ("k8s", {"operation": "update", "source": {"resource": MAP}}, [MAP], None, {"get", "update"}),
    "update nothing": ("k8s", {"operation": "update", "source": {"resource": MAP}}, [], None, {"get", "create"}),
    "patch": ("k8s", {"operation": "patch", "source": {"resource": MAP}}, [MAP], None, {"get", "patch"}),
    "patch nothing": ("k8s", {"operation": "patch", "source": {"resource": MAP}}, [], None, {"get", "create"}),
    "apply": ("k8s", {"operation": "apply", "source": {"resource": MAP}}, [MAP], None, {"patch"}),
    "apply nothing": ("k8s", {"operation": "apply", "source": {"resource": MAP}}, [], None, {"patch", "create"}),
    "delete": ("k8s", {"operation": "delete", "source": {"resource": MAP}}, [MAP], None, {"delete"}),
    "policy": (
        "k8s",
        {"source": {"resource": config_map(generateName="a-", labels={"ready": "yes"})}},
        [],
        {"labels": {"ready": "yes"}},
        {"create", "get"},
    ),
    "acting": (
        "k8s",
        {"source": {"resource": config_map(generateName="a-")}, "serviceAccountName": "other"},
        [],
        None,
        {"impersonate", "create"},
    ),
    "submit": ("argoWorkflow", {"source": {"resource": workflow(generateName="a-")}}, [], None, {"create"}),
    "submit-from": (
        "argoWorkflow",
        {"operation": "submit-from", "source": {"resource": template()}},
        [template() | {"spec": {"entrypoint": "main"}}],
        None,
        {"get", "create"},
    ),
    "suspend": (
        "argoWorkflow",
        {"operation": "suspend", "source": {"resource": workflow(name="one")}},
        [ran("Running")],
        None,
        {"get", "patch"},
    ),
    "terminate": (
        "argoWorkflow",
        {"operation": "terminate", "source": {"resource": workflow(name="one")}},
        [ran("Running")],
        None,
        {"get", "patch"},
    ),
    "stop": (
        "argoWorkflow",
        {"operation": "stop", "source": {"resource": workflow(name="one")}},
        [ran("Running")],
        None,
        {"get", "patch"},
    ),
    "resume": (
        "argoWorkflow",
        {"operation": "resume", "source": {"resource": workflow(name="one")}},
        [ran("Running", suspended=True)],
        None,
        {"get", "update"},
    ),
    "retry": (
        "argoWorkflow",
        {"operation": "retry", "source": {"resource": workflow(name="one")}},
        [ran("Failed")],
        None,
        {"get", "update", "delete"},
    ),
    "resubmit": (
        "argoWorkflow",
        {"operation": "resubmit", "source": {"resource": workflow(name="one")}},
        [ran("Failed")],
        None,
        {"get", "create"},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_trigger_works_with_the_rights_that_are_printed_and_with_none_less(
    name: str, apiserver: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, block, before, policy, takes = CASES[name]

    def fire(cut: tuple[str, list[Object]] | None, accounts: dict[str, list[Object]], namespace: str) -> None:
        for each in before:
            apiserver.apply({**each, "metadata": {**each["metadata"], "namespace": namespace}})
        users = {
            account: holding(apiserver, namespace, account, cut[1] if cut and cut[0] == account else rules)
            for account, rules in accounts.items()
        }
        path = apiserver.kubeconfig(tmp_path / "kubeconfig", users["own"], namespace=namespace)
        monkeypatch.setenv("KUBECONFIG", str(path))

        async def act() -> None:
            stage = Stage(kind, namespace=namespace)
            async with stage.open() as trigger:
                for _ in range(2 if name == "create twice" else 1):
                    await stage.fire(trigger, copy.deepcopy(block), policy={"k8s": policy} if policy else None)

        asyncio.run(act())

    # With what is printed it works
    namespace = apiserver.namespace()
    accounts = rules_of(kind, block, namespace, policy)
    fire(None, accounts, namespace)
    # And without any verb that it takes as things stand, it is refused
    refused = set()
    for account, rules in accounts.items():
        for missing, left in without_each(rules):
            verb = missing.partition(" ")[0]
            if verb in takes:
                namespace = apiserver.namespace()
                accounts = rules_of(kind, block, namespace, policy)
                with pytest.raises(Rejected, match="cannot "):
                    fire((account, left), accounts, namespace)
                refused.add(verb)
    assert refused == takes


def test_pods_of_an_exclusive_source_elect_with_the_rights_that_are_printed_and_with_none_less(
    apiserver: ApiServer, tmp_path: Path
) -> None:
    # Given a source of which one pod receives at a time, with a standby
    namespace = apiserver.namespace()
    block = {"eventType": "CREATE", "watchPathConfig": {"directory": "/in", "pathRegexp": "."}}
    metadata = {"name": "reports", "namespace": namespace}
    spec = {"template": {"serviceAccountName": "own"}, "replicas": 2, "file": {"arrived": block}}
    source = {"apiVersion": API, "kind": "EventSource", "metadata": metadata, "spec": spec}
    (holder,) = planned(from_objects([source])).holders
    rules = rbac.rules(holder.places[namespace])
    # And none, which needs nothing, where there is no standby
    alone = planned(from_objects([{**source, "spec": {**spec, "replicas": 1}}])).holders
    assert not any(one.places for one in alone)

    def elected(name: str, rules: list[Object]) -> str:
        """Why one pod, and after it another, could not have the Lease; empty if they could."""
        apiserver.request("DELETE", f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases?labelSelector=%21none")
        user = holding(apiserver, namespace, name, rules)
        path = apiserver.kubeconfig(tmp_path / name, user)

        async def act() -> str:
            async with Client(lambda: config.load(environment={"KUBECONFIG": str(path)})) as client:
                for pod in ("first", "second"):
                    lease, short = lease_name("reports", "arrived"), Durations(1.0, 0.4, 0.1)
                    election = Election(client, namespace, lease, pod, clock=SystemClock(), durations=short)
                    acquiring = asyncio.create_task(election.acquire(lambda: None))
                    await eventually(lambda: acquiring.done() or bool(election.problem))  # noqa: B023
                    if not acquiring.done():
                        acquiring.cancel()
                        await asyncio.gather(acquiring, return_exceptions=True)
                        return election.problem
                    await election.release()
            return ""

        return asyncio.run(act())

    # Then with the rights that are printed one takes over from the other
    assert elected("all", rules) == ""
    # And without any one verb not
    for number, (missing, left) in enumerate(without_each(rules)):
        assert f'cannot {missing.split()[0]} resource "leases"' in elected(f"less-{number}", left)


def test_a_source_of_objects_works_with_the_rights_that_are_printed_and_with_none_less(
    apiserver: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    namespace = apiserver.namespace()
    block = {"namespace": namespace, "version": "v1", "resource": "secrets", "eventTypes": ["ADD"]}
    metadata = {"name": "one", "namespace": namespace}
    spec = {"template": {"serviceAccountName": "own"}, "resource": {"example": block}}
    source = {"apiVersion": API, "kind": "EventSource", "metadata": metadata, "spec": spec}
    (holder,) = planned(from_objects([source])).holders
    rules = rbac.rules(holder.places[namespace])

    def watched(name: str, rules: list[Object]) -> bool:
        """Whether a Secret that is made while the source runs becomes an event."""
        user = holding(apiserver, namespace, name, rules)
        path = apiserver.kubeconfig(tmp_path / "kubeconfig", user, namespace=namespace)
        monkeypatch.setenv("KUBECONFIG", str(path))

        async def act() -> bool:
            async with on_stage("resource", dict(block)) as stage:
                running = asyncio.create_task(stage.plugin().run(stage.context()))
                try:
                    await eventually(lambda: running.done() or bool(stage.listening))
                    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace}}
                    await asyncio.to_thread(apiserver.apply, secret)
                    await eventually(
                        lambda: (
                            running.done() or any(one.data["body"]["metadata"]["name"] == name for one in stage.emitted)
                        )
                    )
                    return not running.done()
                finally:
                    running.cancel()
                    await asyncio.wait([running])

        return asyncio.run(act())

    assert watched("all", rules)
    for missing, left in without_each(rules):
        assert not watched("no-" + missing.replace(" ", "-"), left), missing


# UnderStack


@pytest.fixture(scope="module")
def site(apiserver: ApiServer) -> dict[str, str]:
    """Namespaces of our own in the place of those that the corpus names."""
    if not CORPUS.is_dir():
        pytest.skip("the corpus folder ../shared/corpus is not beside this checkout")
    return {name: apiserver.namespace() for name in ("openstack", "argo-events")}


def moved(value: Any, site: dict[str, str]) -> Any:
    """The same in those namespaces."""
    if isinstance(value, dict):
        return {
            key: site.get(each, each) if key == "namespace" and isinstance(each, str) else moved(each, site)
            for key, each in value.items()
        }
    return [moved(each, site) for each in value] if isinstance(value, list) else value


@pytest.fixture(scope="module")
def understack(site: dict[str, str]) -> Bundle:
    bundle = load([str(CORPUS / "manifests")])
    parts = (bundle.event_sources, bundle.sensors, bundle.broker_access)
    return from_objects([moved(one.raw, site) for part in parts for one in part])


@pytest.fixture(scope="module")
def applied(apiserver: ApiServer, understack: Bundle) -> Iterator[list[Object]]:
    """What is printed, applied."""
    made = [one for one in rbac.manifests(planned(understack)) if one["kind"] != "Permission"]
    for one in made:
        apiserver.apply(one)
    yield made
    for one in made:
        if one["kind"].startswith("ValidatingAdmissionPolicy"):
            apiserver.request("DELETE", apiserver.path(one))


def test_the_corpus_needs_just_what_it_does(understack: Bundle, site: dict[str, str]) -> None:
    needed = {
        one.title: {(right.verb, right.what, right.namespace) for part in one.parts for right in part.rights.all}
        for one in planned(understack).objects
    }
    openstack, argo = site["openstack"], site["argo-events"]
    users = [f"Sensor {openstack}/keystone-automation-user-{word}" for word in ("upsert", "delete")]
    secrets = f"EventSource {openstack}/k8s-openstack-secrets"
    assert {needed.pop(title) == {("create", "jobs.batch", openstack)} for title in users} == {True}
    assert needed.pop(secrets) == {(verb, "secrets", openstack) for verb in ("list", "watch")}
    sensors = {title: rights for title, rights in needed.items() if title.startswith("Sensor")}
    assert len(sensors) == 12
    assert all(rights == {("create", "workflows.argoproj.io", argo)} for rights in sensors.values())
    assert [rights for title, rights in needed.items() if title not in sensors] == [set()] * 7


def users_of(apiserver: ApiServer, understack: Bundle) -> dict[str, str]:
    """The user of each sensor's account, with a token."""
    found = {}
    for one in planned(understack).objects:
        if one.one.kind == "Sensor":
            name, namespace = one.account.name, one.account.namespace
            path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
            token = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
            apiserver.tokens[one.account.user] = apiserver.request("POST", path, token)["status"]["token"]
            found[one.one.metadata.name] = one.account.user
    return found


def created(apiserver: ApiServer, body: Object, user: str) -> None:
    """As the sensor creates it; nothing is stored."""
    version, plural = body["apiVersion"], kinds.plural(body["kind"])
    about = {**body["metadata"], "generateName": body["metadata"].get("generateName", "a-")}
    path = f"/apis/{version}/namespaces/{about['namespace']}/{plural}?dryRun=All"
    apiserver.request("POST", path, {**body, "metadata": about}, user=user)


def refusal(apiserver: ApiServer, body: Object, user: str) -> str:
    """The server's words once it refuses; roles and policies take effect a moment after they are applied."""
    said = ""

    def refused() -> bool:
        nonlocal said
        try:
            created(apiserver, body, user)
        except ApiError as error:
            said = str(error)
        return bool(said)

    asyncio.run(eventually(refused, f"{user} is refused"))
    return said


def accepted(apiserver: ApiServer, body: Object, user: str) -> None:
    def done() -> bool:
        try:
            created(apiserver, body, user)
        except ApiError as error:
            assert error.status == 403
            return False
        return True

    asyncio.run(eventually(done, f"{user} may create its object"))


def expected(site: dict[str, str]) -> Iterator[tuple[str, Object]]:
    """Every object that the corpus says a sensor creates."""
    for path in sorted((CORPUS / "expected").glob("*.json")):
        # A label of the corpus has a comma in it, which no API server takes.
        body = json.loads(path.read_text().replace("infra-read,tenant-read", "infra-read.tenant-read"))
        body["metadata"]["labels"]["events.argoproj.io/action-timestamp"] = "1"
        yield path.stem.partition("--")[2], moved(body, site)


def test_with_what_is_printed_every_sensor_of_the_corpus_creates_its_objects(
    apiserver: ApiServer, applied: list[Object], understack: Bundle, site: dict[str, str]
) -> None:
    users = users_of(apiserver, understack)
    objects = list(expected(site))
    assert len(objects) == 19
    # Policies are at work when they refuse what nobody says
    for body, user in {users[sensor]: (body, users[sensor]) for sensor, body in objects}.values():
        if body["kind"] == "Workflow":
            odd = {**body, "spec": {**body["spec"], "workflowTemplateRef": {"name": "own-the-cluster"}}}
            assert "may create these Workflows only" in refusal(apiserver, odd, user)
    for sensor, body in objects:
        accepted(apiserver, body, users[sensor])


def changed(change: Callable[[Object], None]) -> Callable[[Object], Object]:
    def build(body: Object) -> Object:
        other = copy.deepcopy(body)
        change(other["spec"])
        return other

    return build


@pytest.mark.parametrize(
    "build",
    [
        changed(lambda spec: spec.update(serviceAccountName="workflow-admin")),
        changed(lambda spec: spec.update(podSpecPatch='{"hostNetwork": true}')),
        changed(lambda spec: spec["workflowTemplateRef"].update(clusterScope=True)),
        changed(lambda spec: spec.update(templates=[{"name": "main", "container": {"image": "x"}}])),
        changed(lambda spec: spec.pop("workflowTemplateRef")),
    ],
)
def test_a_workflow_that_no_trigger_creates_is_refused_by_the_policy(
    build: Callable[[Object], Object],
    apiserver: ApiServer,
    applied: list[Object],
    understack: Bundle,
    site: dict[str, str],
) -> None:
    users = users_of(apiserver, understack)
    sensor, body = next((sensor, body) for sensor, body in expected(site) if "workflowTemplateRef" in body["spec"])
    accepted(apiserver, body, users[sensor])
    assert "may create these Workflows only" in refusal(apiserver, build(body), users[sensor])
    # Somebody else is none of its matter
    created(apiserver, build(body), "admin")


def test_who_may_change_a_workflow_may_not_make_another_of_it(apiserver: ApiServer) -> None:
    # Given an account whose triggers submit a template, and suspend what runs
    namespace = apiserver.namespace()
    body = workflow(generateName="a-") | {"spec": {"workflowTemplateRef": {"name": "build"}}}
    blocks = [{"source": {"resource": body}}, {"operation": "suspend", "source": {"resource": workflow(name="one")}}]
    triggers = [{"template": {"name": f"t{at}", "argoWorkflow": block}} for at, block in enumerate(blocks)]
    dependency = {"name": "d", "eventSourceName": "s", "eventName": "e"}
    spec = {"template": {"serviceAccountName": "own"}, "dependencies": [dependency], "triggers": triggers}
    one = {"apiVersion": API, "kind": "Sensor", "metadata": {"name": "x", "namespace": namespace}, "spec": spec}
    (holder,) = planned(from_objects([one])).holders
    made = [each for each in rbac.manifests(planned(from_objects([one]))) if each["kind"].startswith("Validating")]
    user = holding(apiserver, namespace, "own", rbac.rules(holder.places[namespace]))
    for each in made:
        apiserver.apply(each)
    where = f"/apis/{API}/namespaces/{namespace}/workflows"
    running = {"spec": {"workflowTemplateRef": {"name": "build"}, "serviceAccountName": "builder"}}
    apiserver.apply({**workflow(name="one", namespace=namespace), **running})

    def changed(spec: Object) -> str:
        try:
            merge = "application/merge-patch+json"
            apiserver.request("PATCH", f"{where}/one?dryRun=All", {"spec": spec}, user=user, content=merge)
        except ApiError as error:
            return str(error)
        return ""

    # Then it may suspend it, and do nothing else with it
    for spec in (
        {"workflowTemplateRef": {"name": "other"}},
        {"podSpecPatch": "{}"},
        {"templates": []},
        {"serviceAccountName": None},
    ):
        asyncio.run(eventually(lambda spec=spec: "may change no more" in changed(spec)))
    assert changed({"suspend": True}) == ""
    assert changed({"arguments": {"parameters": []}}) == ""
    for each in made:
        apiserver.request("DELETE", apiserver.path(each))


def test_without_any_one_rule_something_of_the_corpus_is_refused(
    apiserver: ApiServer, applied: list[Object], understack: Bundle, site: dict[str, str]
) -> None:
    users = users_of(apiserver, understack)
    objects = list(expected(site))
    roles = [one for one in applied if one["kind"] == "Role"]
    assert sorted(sum(len(rule["verbs"]) for rule in one["rules"]) for one in roles) == [1, 1, 3]
    for role in roles:
        _, namespace, account = role["metadata"]["name"].split(".")
        user = f"system:serviceaccount:{namespace}:{account}"
        for missing, left in without_each(role["rules"]):
            apiserver.apply({**role, "rules": left})
            verb, resource = missing.split()
            rule = next(one for one in role["rules"] if resource in one["resources"])
            where = role["metadata"]["namespace"]
            asyncio.run(eventually(lambda u=user, w=where, r=rule, v=verb: not allowed(apiserver, u, w, r, v)))
            if verb == "create":
                body = next(body for sensor, body in objects if users[sensor] == user)
                assert f'cannot create resource "{resource}"' in refusal(apiserver, body, user)
            else:
                watch = "?watch=true&timeoutSeconds=1" if verb == "watch" else ""
                path = f"/api/v1/namespaces/{where}/{resource}{watch}"
                with pytest.raises(ApiError, match=f"cannot {verb} resource"):
                    apiserver.request("GET", path, user=user)
        apiserver.apply(role)


# The comparison with a cluster


def check(*words: str) -> Result:
    return CliRunner().invoke(main, ["rbac", "--check", "--live", *words])


def test_the_check_asks_the_cluster_what_is_granted(
    apiserver: ApiServer, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a sensor that makes jobs, and an account that may do something else too
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"generateName": "pack-"}}
    k8s = {"source": {"resource": job}}
    dependency = {"name": "d", "eventSourceName": "s", "eventName": "e"}
    triggers = [{"template": {"name": "act", "k8s": k8s}}]
    spec = {"template": {"serviceAccountName": "own"}, "dependencies": [dependency], "triggers": triggers}
    metadata = {"name": "one", "namespace": namespace}
    manifest = tmp_path / "sensor.json"
    manifest.write_text(json.dumps({"apiVersion": API, "kind": "Sensor", "metadata": metadata, "spec": spec}))
    monkeypatch.setenv("KUBECONFIG", str(apiserver.kubeconfig(tmp_path / "kubeconfig")))
    jobs = {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["create"]}
    maps = {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["a"], "verbs": ["get", "update"]}

    holding(apiserver, namespace, "own", [jobs])
    exact = check(str(manifest))
    assert (exact.exit_code, exact.stdout) == (0, f"service account {namespace}/own: exactly what is needed\n")

    # When the account may do something else, and not this
    user = holding(apiserver, namespace, "own", [maps])
    asyncio.run(eventually(lambda: not allowed(apiserver, user, namespace, jobs, "create")))
    found = check(str(manifest))
    assert found.exit_code == 1
    assert found.stdout.splitlines() == [
        f"service account {namespace}/own: missing: create jobs.batch in {namespace}",
        f"service account {namespace}/own: surplus: in namespace '{namespace}': get, update of configmaps 'a'",
    ]
    report = json.loads(check("-o", "json", str(manifest)).stdout)
    assert report["exact"] is False
    assert [one["verb"] for one in report["serviceAccounts"][0]["missing"]] == ["create"]

    # When it may do everything, everywhere
    everything = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": namespace}}
    apiserver.apply({**role, "rules": [everything]})
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": namespace}
    subject = {"kind": "ServiceAccount", "name": "own", "namespace": namespace}
    apiserver.apply({**role, "kind": "ClusterRoleBinding", "roleRef": reference, "subjects": [subject]})
    asyncio.run(eventually(lambda: allowed(apiserver, user, namespace, jobs, "create")))
    assert f"{namespace}/own: surplus: in all namespaces: * of *.*" in check(str(manifest)).stdout
    apiserver.request("DELETE", f"/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/{namespace}")


def test_who_may_not_ask_gets_a_sentence(
    apiserver: ApiServer, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(apiserver.kubeconfig(tmp_path / "kubeconfig", "nobody")))
    metadata = {"name": "one", "namespace": namespace}
    block = {"version": "v1", "resource": "pods", "eventTypes": ["ADD"], "namespace": namespace}
    spec = {"template": {"serviceAccountName": "own"}, "resource": {"example": block}}
    manifest = tmp_path / "source.json"
    manifest.write_text(json.dumps({"apiVersion": API, "kind": "EventSource", "metadata": metadata, "spec": spec}))
    refused = check(str(manifest))
    assert refused.exit_code == 1
    assert "the cluster cannot be asked: create subjectaccessreviews.authorization.k8s.io" in refused.stderr


def test_the_cluster_knows_how_its_kinds_are_spelt(
    apiserver: ApiServer, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a kind whose plural nobody can guess
    names = {"kind": "Mouse", "plural": "mice", "singular": "mouse", "listKind": "MouseList"}
    schema = {"openAPIV3Schema": {"type": "object"}}
    versions = [{"name": "v1", "served": True, "storage": True, "schema": schema}]
    crd: Object = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "mice.rbac.example"},
        "spec": {"group": "rbac.example", "scope": "Cluster", "names": names, "versions": versions},
    }
    apiserver.apply_yaml(json.dumps(crd))
    monkeypatch.setenv("KUBECONFIG", str(apiserver.kubeconfig(tmp_path / "kubeconfig")))
    mouse = {"apiVersion": "rbac.example/v1", "kind": "Mouse", "metadata": {"name": "one"}}
    dependency = {"name": "d", "eventSourceName": "s", "eventName": "e"}
    triggers = [{"template": {"name": "act", "k8s": {"operation": "delete", "source": {"resource": mouse}}}}]
    spec = {"template": {"serviceAccountName": "own"}, "dependencies": [dependency], "triggers": triggers}
    manifest = tmp_path / "sensor.json"
    manifest.write_text(json.dumps({"apiVersion": API, "kind": "Sensor", "metadata": {"name": "one"}, "spec": spec}))

    guessed = CliRunner().invoke(main, ["rbac", str(manifest)])
    assert "delete mouses.rbac.example 'one' in default" in guessed.stdout
    assert "the plural 'mouses' of kind Mouse in 'rbac.example' is a guess" in guessed.stderr
    asked = CliRunner().invoke(main, ["rbac", "--live", str(manifest)])
    assert "delete mice.rbac.example 'one' in all namespaces" in asked.stdout
    assert "guess" not in asked.stderr

    # And of a kind that it does not have yet, the definition beside the manifest counts
    definition = json.dumps(crd).replace("rbac.example", "new.example").replace("mice", "meeces")
    (tmp_path / "definition.json").write_text(definition)
    manifest.write_text(manifest.read_text().replace("rbac.example", "new.example"))
    asked = CliRunner().invoke(main, ["rbac", "--live", str(manifest), str(tmp_path / "definition.json")])
    assert "delete meeces.new.example 'one' in all namespaces" in asked.stdout
    assert "guess" not in asked.stderr
