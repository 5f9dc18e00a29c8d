"""The ``k8s`` trigger against a real API server."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from argosy.errors import Rejected, TriggerError
from argosy.kubernetes.client import AlreadyExists, Client, Conflict, KindUnknown, NotFound
from argosy.manifests.fields import Json
from argosy.triggers._objects import ACTION_ID, EVENT_IDS, RANDOM_NAME, TRACE_ID
from tests.conformance.trigger import Stage, TriggerSuite, event, eventually
from tests.kubernetes.apiserver import ApiError, ApiServer
from tests.kubernetes.receivers import ClusterReceiver, kubeconfig_through, overloaded, port_of, thousand
from tests.kubernetes.relay import Relay

Object = dict[str, Any]


def config_map(**about: Any) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": about, "data": {"a": "1"}}


def block(body: Object, **fields: Any) -> Object:
    return {"source": {"resource": body}, **fields}


class TestK8s(TriggerSuite):
    kind = "k8s"
    bad_blocks: ClassVar[list[tuple[dict[str, Json], str]]] = [
        ({}, "source"),
        ({"source": {}}, "names no place"),
        (block({}, operation="replace"), "operation"),
        (block({}, patchStrategy="merge"), "patchStrategy"),
    ]

    @pytest.fixture
    async def receiver(
        self, apiserver: ApiServer, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> AsyncIterator[ClusterReceiver]:
        async with Relay(port_of(apiserver)) as relay, overloaded(apiserver) as busy:
            path = kubeconfig_through(relay, apiserver, tmp_path / "kubeconfig")
            monkeypatch.setenv("KUBECONFIG", str(path))
            good, bad = block(config_map(generateName="made-")), block(config_map(name="Not A Name"))
            where = f"/api/v1/namespaces/{namespace}/configmaps"
            yield ClusterReceiver(apiserver, relay, namespace, where, good, bad, busy)


async def test_a_thousand_actions_reuse_a_connection(
    apiserver: ApiServer, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await thousand("k8s", block(config_map(generateName="made-")), apiserver, namespace, tmp_path, monkeypatch)


@pytest.fixture
def stage(apiserver: ApiServer, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.setenv("KUBECONFIG", str(apiserver.kubeconfig(tmp_path / "kubeconfig")))
    return Stage("k8s", namespace=namespace, config_maps={})


@pytest.fixture
async def fire(stage: Stage) -> AsyncIterator[Any]:
    async with stage.open() as trigger:

        async def fire(body: Object, operation: str = "create", **named: Any) -> Any:
            fields = named.pop("fields", {})
            return await stage.fire(trigger, block(body, operation=operation, **fields), **named)

        yield fire


class TestCreate:
    async def test_the_object_has_upstreams_labels_and_the_actions_id(
        self, fire: Any, apiserver: ApiServer, namespace: str
    ) -> None:
        # When an object with labels and annotations of its own is created
        before = dt.datetime.now(dt.UTC).timestamp() * 1000
        body = config_map(name="one", labels={"mine": "yes"}, annotations={"note": "kept"})
        outcome = await fire(body, id="a-1")
        # Then it is in the sensor's namespace, with both
        made = apiserver.request("GET", f"/api/v1/namespaces/{namespace}/configmaps/one")
        labels = made["metadata"]["labels"]
        assert abs(int(labels.pop("events.argoproj.io/action-timestamp")) - before) < 60_000
        assert labels == {
            "mine": "yes",
            "events.argoproj.io/sensor": "stage",
            "events.argoproj.io/trigger": "act",
        }
        annotations = made["metadata"]["annotations"]
        assert json.loads(annotations.pop(EVENT_IDS)) == {"dep": event({"n": 1}).id}
        assert re.fullmatch("[0-9a-f]{32}", annotations.pop(TRACE_ID))
        assert annotations == {"note": "kept", ACTION_ID: "a-1"}
        assert made["data"] == {"a": "1"}
        assert outcome.message == f"created ConfigMap 'one' in namespace '{namespace}'"
        assert outcome.detail == {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "namespace": namespace,
            "name": "one",
            "uid": made["metadata"]["uid"],
        }

    async def test_a_generated_name_is_the_actions_and_its_prefix_stays(
        self, fire: Any, apiserver: ApiServer, namespace: str
    ) -> None:
        names = [(await fire(config_map(generateName="made-"), id=id)).detail["name"] for id in ("a", "b", "a")]
        # sha256("a") in base32, so every version of Argosy gives the same name
        assert names[0] == names[2] == "made-zklycewkdo"
        assert names[1] != names[0]
        made = apiserver.request("GET", f"/api/v1/namespaces/{namespace}/configmaps/{names[0]}")
        assert made["metadata"]["generateName"] == "made-"

    async def test_the_server_draws_the_name_where_the_object_says_so(self, fire: Any) -> None:
        object_ = config_map(generateName="made-", annotations={RANDOM_NAME: "true"})
        names = [(await fire(object_, id="a")).detail["name"] for _ in range(2)]
        assert len(set(names)) == 2
        assert all(name.startswith("made-") for name in names)

    async def test_a_long_prefix_is_cut_so_that_the_name_fits(self, fire: Any) -> None:
        name = (await fire(config_map(generateName="x" * 80))).detail["name"]
        assert len(name) == 63

    async def test_an_object_of_another_action_is_no_success(self, fire: Any) -> None:
        await fire(config_map(name="one"), id="a-1")
        assert "already there" in (await fire(config_map(name="one"), id="a-1")).message
        with pytest.raises(AlreadyExists, match='configmaps "one" already exists'):
            await fire(config_map(name="one"), id="a-2")

    async def test_who_may_only_create_is_told_of_a_repetition_too(
        self,
        apiserver: ApiServer,
        namespace: str,
        stage: Stage,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        # Given rights to create and nothing else
        rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create"]}]
        user = apiserver.service_account(namespace, "creator", rules)
        monkeypatch.setenv("KUBECONFIG", str(apiserver.kubeconfig(tmp_path / "creator", user)))
        async with stage.open() as trigger:
            # When an action is tried twice
            outcomes = [
                await stage.fire(trigger, block(config_map(generateName="made-")), attempt=attempt)
                for attempt in (1, 2)
            ]
        # Then there is one object, and both tries say so
        assert "already there" in outcomes[1].message
        assert outcomes[0].detail["name"] == outcomes[1].detail["name"]

    async def test_every_kind_the_server_serves_can_be_made_wherever_it_lives(
        self, fire: Any, apiserver: ApiServer, namespace: str
    ) -> None:
        # Given kinds whose plural or scope nobody would guess
        storage = {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": f"fast-{namespace}", "namespace": "ignored"},
            "provisioner": "example.com/none",
        }
        outcome = await fire(storage)
        assert outcome.detail["namespace"] == ""
        assert apiserver.request("GET", f"/apis/storage.k8s.io/v1/storageclasses/fast-{namespace}")
        endpoints = {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "one"}}
        assert (await fire(endpoints)).detail["namespace"] == namespace

    async def test_a_namespace_of_the_object_wins(self, fire: Any, apiserver: ApiServer) -> None:
        other = apiserver.namespace()
        outcome = await fire(config_map(name="one", namespace=other))
        assert outcome.detail["namespace"] == other


class TestRefusals:
    async def test_an_invalid_object_is_rejected_with_the_servers_reasons(self, fire: Any) -> None:
        service = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "one"},
            "spec": {"ports": [{"port": 0}], "type": "Nonsense"},
        }
        with pytest.raises(Rejected, match=r"create services 'one' in namespace .*spec\.ports\[0\]\.port") as error:
            await fire(service)
        assert "spec.type" in str(error.value)

    async def test_a_secret_that_is_invalid_is_not_quoted(self, fire: Any) -> None:
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"k": "hunter2 !"}}
        with pytest.raises(Rejected, match=r"secrets 's'.*left out") as error:
            await fire(body)
        assert "hunter2" not in str(error.value)

    async def test_missing_rights_are_rejected_with_the_command_that_grants_them(
        self, apiserver: ApiServer, stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("KUBECONFIG", str(apiserver.kubeconfig(tmp_path / "nobody", "nobody")))
        async with stage.open() as trigger:
            with pytest.raises(Rejected) as error:
                await stage.fire(trigger, block(config_map(name="one")))
        said = str(error.value)
        assert said.startswith(f"create configmaps 'one' in namespace '{stage.namespace}': ")
        grant = "kubectl create role argosy-configmaps --verb=create --resource=configmaps"
        assert f"{grant} -n {stage.namespace}" in said

    @pytest.mark.parametrize(
        ("body", "said"),
        [
            ({"kind": "ConfigMap"}, "has no apiVersion or no kind"),
            (
                {"apiVersion": "v1", "kind": "Config"},
                r"serves no kind 'Config' in 'v1'; it serves: .*ConfigMap",
            ),
            ({"apiVersion": "v1", "kind": "ConfigMap", "metadata": []}, "metadata of the ConfigMap"),
            (config_map(name="a", labels=[1]), "metadata.labels of the ConfigMap"),
            (config_map(), "name or generateName is required"),
        ],
    )
    async def test_what_is_no_object_is_rejected(self, fire: Any, body: Object, said: str) -> None:
        with pytest.raises(Rejected, match=said):
            await fire(body)

    async def test_a_kind_that_is_installed_later_is_found(self, fire: Any, apiserver: ApiServer) -> None:
        # Given a kind that the server does not know, and a trigger that has asked for it
        thing = {"apiVersion": "things.example/v1", "kind": "Thing", "metadata": {"name": "one"}}
        with pytest.raises(KindUnknown, match=r"does not serve 'things.example/v1'.*install its definition"):
            await fire(thing)
        # When it is installed
        apiserver.apply_yaml(
            """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: thingamabobs.things.example}
spec:
  group: things.example
  scope: Namespaced
  names: {kind: Thing, plural: thingamabobs}
  versions:
    - name: v1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
"""
        )

        # Then the same trigger finds it, plural and all, as soon as the server tells of it
        async def made() -> bool:
            try:
                outcome = await fire(thing)
            except KindUnknown:
                return False
            return str(outcome.message).startswith("created Thing 'one'")

        await eventually(made, "the kind is found")

    async def test_a_missing_namespace_may_come(self, fire: Any) -> None:
        with pytest.raises(NotFound, match='namespaces "nowhere" not found'):
            await fire(config_map(name="one", namespace="nowhere"))


class TestUpdate:
    async def test_the_object_is_laid_over_what_is_there(self, fire: Any, apiserver: ApiServer, namespace: str) -> None:
        apiserver.apply({**config_map(name="one", namespace=namespace), "data": {"a": "old", "b": "kept"}})
        outcome = await fire(config_map(name="one", labels={"new": "yes"}), "update")
        made = apiserver.request("GET", f"/api/v1/namespaces/{namespace}/configmaps/one")
        assert made["data"] == {"a": "1", "b": "kept"}
        assert made["metadata"]["labels"] == {"new": "yes"}
        assert outcome.message.startswith("updated ConfigMap 'one'")

    async def test_what_is_missing_is_made_without_labels(
        self, fire: Any, apiserver: ApiServer, namespace: str
    ) -> None:
        await fire(config_map(name="one"), "update")
        made = apiserver.request("GET", f"/api/v1/namespaces/{namespace}/configmaps/one")
        assert "labels" not in made["metadata"]

    async def test_a_live_object_gets_the_parameters(self, stage: Stage, apiserver: ApiServer, namespace: str) -> None:
        # Given an object in the cluster of which the manifest knows the name
        apiserver.apply({**config_map(name="one", namespace=namespace), "data": {"a": "old", "b": "kept"}})
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one", "namespace": namespace}}
        config = stage.plugin.config.model_validate(block(body, operation="update", liveObject=True))
        async with stage.open() as trigger:
            # When it is fetched, then what parameters are set on is the object as it is
            found = await trigger.fetch(config)
            assert found["data"] == {"a": "old", "b": "kept"}
            # And a change by someone else in between is noticed
            apiserver.apply({**config_map(name="one", namespace=namespace), "data": {"c": "3"}})

            async def stale(config: Any) -> Any:
                return found

            trigger.fetch = stale  # type: ignore[method-assign]
            with pytest.raises(Conflict):
                await stage.fire(trigger, block(body, operation="update", liveObject=True))

    async def test_a_live_object_must_be_said_exactly(self, fire: Any) -> None:
        with pytest.raises(Rejected, match=r"liveObject needs metadata.namespace"):
            await fire(config_map(name="one"), "update", fields={"liveObject": True})

    async def test_a_change_by_others_at_the_same_time_is_not_lost(
        self, fire: Any, apiserver: ApiServer, namespace: str
    ) -> None:
        apiserver.apply({**config_map(name="one", namespace=namespace), "data": {}})
        bodies = [{**config_map(name="one"), "data": {f"key-{number}": "1"}} for number in range(4)]
        await asyncio.gather(*(fire(body, "update", id=str(n)) for n, body in enumerate(bodies)))
        made = apiserver.request("GET", f"/api/v1/namespaces/{namespace}/configmaps/one")
        assert sorted(made["data"]) == ["key-0", "key-1", "key-2", "key-3"]


class TestPatch:
    @pytest.mark.parametrize(
        ("strategy", "ports"),
        [
            ("", [{"port": 2}]),
            ("application/merge-patch+json", [{"port": 2}]),
            ("application/strategic-merge-patch+json", [{"port": 1}, {"port": 2}]),
        ],
    )
    async def test_lists_are_treated_as_the_strategy_says(
        self, fire: Any, apiserver: ApiServer, namespace: str, strategy: str, ports: list[Object]
    ) -> None:
        def service(port: int) -> Object:
            spec = {"ports": [{"port": port, "name": f"p{port}"}]}
            return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "one"}, "spec": spec}

        await fire(service(1))
        await fire(service(2), "patch", fields={"patchStrategy": strategy})
        made = apiserver.request("GET", f"/api/v1/namespaces/{namespace}/services/one")
        found = sorted({"port": each["port"]}["port"] for each in made["spec"]["ports"])
        assert found == [each["port"] for each in ports]

    @pytest.mark.parametrize("strategy", ["", "application/apply-patch+yaml"])
    async def test_what_is_missing_is_made(
        self, fire: Any, apiserver: ApiServer, namespace: str, strategy: str
    ) -> None:
        await fire(config_map(name="one"), "patch", fields={"patchStrategy": strategy})
        assert apiserver.request("GET", f"/api/v1/namespaces/{namespace}/configmaps/one")["data"] == {"a": "1"}

    async def test_a_list_of_changes_cannot_be_said_with_an_object(self, fire: Any) -> None:
        with pytest.raises(Rejected, match="wants a list of changes"):
            await fire(config_map(name="one"), "patch", fields={"patchStrategy": "application/json-patch+json"})

    @pytest.mark.parametrize("operation", ["update", "patch", "delete"])
    async def test_a_name_is_needed(self, fire: Any, operation: str) -> None:
        with pytest.raises(Rejected, match=f"to {operation} a ConfigMap, its metadata.name must be given"):
            await fire(config_map(generateName="a-"), operation)


class TestDelete:
    async def test_it_is_gone_and_once_more_is_no_error(self, fire: Any, apiserver: ApiServer, namespace: str) -> None:
        await fire(config_map(name="one"))
        assert (await fire(config_map(name="one"), "delete")).message.startswith("deleted ConfigMap 'one'")
        with pytest.raises(ApiError):
            apiserver.request("GET", f"/api/v1/namespaces/{namespace}/configmaps/one")
        assert "nothing to delete" in (await fire(config_map(name="one"), "delete")).message


class _Clock:
    """Counts the looks: at each pause something may be done."""

    def __init__(self, when: int, then: Any) -> None:
        self.pauses = 0
        self._when, self._then = when, then

    def now(self) -> dt.datetime:
        return dt.datetime.now(dt.UTC)

    async def sleep(self, seconds: float) -> None:
        self.pauses += 1
        if self.pauses == self._when:
            self._then()


class _Patient:
    """A clock whose pauses never end: what comes about then does so because something was seen."""

    def __init__(self) -> None:
        self.sleeping = 0

    def now(self) -> dt.datetime:
        return dt.datetime.now(dt.UTC)

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        self.sleeping += 1
        await asyncio.Event().wait()


class TestPolicy:
    @pytest.mark.parametrize(
        ("policy", "change"),
        [
            ({"labels": {"phase": "done"}}, {"metadata": {"labels": {"phase": "done"}}}),
            ({"fields": [{"path": "$.data.state", "value": "up"}]}, {"data": {"state": "up"}}),
            (
                {"labels": {"phase": "done"}, "fields": [{"path": "$.data.n", "value": "1"}]},
                {"metadata": {"labels": {"phase": "done"}}, "data": {"n": "1"}},
            ),
        ],
    )
    async def test_an_action_waits_until_the_object_is_as_wanted_and_sees_it_at_once(
        self, stage: Stage, apiserver: ApiServer, namespace: str, policy: Object, change: Object
    ) -> None:
        # Given an action under a policy, whose pauses never end
        stage.clock = clock = _Patient()
        where = f"/api/v1/namespaces/{namespace}/configmaps/one"
        async with stage.open() as trigger:
            fired = asyncio.create_task(
                stage.fire(trigger, block(config_map(name="one")), policy={"k8s": {**policy, "deadline": "1h"}})
            )
            await eventually(lambda: clock.sleeping == 1)
            # When something else about the object changes, it waits on
            apiserver.request("PATCH", where, {"data": {"other": "x"}}, content="application/merge-patch+json")
            await asyncio.sleep(0)
            assert not fired.done()
            # When the object becomes what is wanted, the action is done
            apiserver.request("PATCH", where, change, content="application/merge-patch+json")
            assert (await fired).detail["name"] == "one"

    async def test_conditions_are_those_of_the_status(self, stage: Stage, apiserver: ApiServer, namespace: str) -> None:
        body = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "one"}, "spec": {"ports": [{"port": 80}]}}
        where = f"/api/v1/namespaces/{namespace}/services/one"
        stage.clock = clock = _Patient()
        policy = {"k8s": {"conditions": {"Ready": "True"}, "deadline": "1h"}}
        async with stage.open() as trigger:
            fired = asyncio.create_task(stage.fire(trigger, block(body), policy=policy))
            await eventually(lambda: clock.sleeping == 1)
            moment = "2026-01-01T00:00:00Z"
            for state in ("False", "True"):
                one = {"type": "Ready", "status": state, "reason": "X", "message": "", "lastTransitionTime": moment}
                status = {"status": {"conditions": [one]}}
                apiserver.request("PATCH", f"{where}/status", status, content="application/merge-patch+json")
            await fired

    @pytest.mark.parametrize("strict", [True, False])
    async def test_its_patience_ends_as_the_policy_says(self, stage: Stage, strict: bool) -> None:
        stage.clock = _Clock(-1, None)
        labels = {"phase": "done"}
        policy = {"k8s": {"labels": labels, "backoff": {"steps": 3, "jitter": 0}, "errorOnBackoffTimeout": strict}}
        async with stage.open() as trigger:
            if strict:
                with pytest.raises(TriggerError, match=r"within 2s: label phase is missing, not 'done'"):
                    await stage.fire(trigger, block(config_map(name="one")), policy=policy)
            else:
                await stage.fire(trigger, block(config_map(name="one")), policy=policy)

    async def test_a_deadline_is_an_error_at_its_end(self, stage: Stage) -> None:
        stage.clock = _Clock(-1, None)
        policy = {"k8s": {"fields": [{"path": "$.data.a", "value": "2"}], "deadline": "5m"}}
        async with stage.open() as trigger:
            with pytest.raises(TriggerError, match=r'within 5m0s: \$\.data\.a is "1", not "2"'):
                await stage.fire(trigger, block(config_map(name="one")), policy=policy)

    async def test_an_object_that_is_removed_ends_the_waiting(
        self, stage: Stage, apiserver: ApiServer, namespace: str
    ) -> None:
        stage.clock = clock = _Patient()
        policy = {"k8s": {"labels": {"phase": "done"}, "deadline": "1h"}}
        async with stage.open() as trigger:
            fired = asyncio.create_task(stage.fire(trigger, block(config_map(name="one")), policy=policy))
            await eventually(lambda: clock.sleeping == 1)
            apiserver.request("DELETE", f"/api/v1/namespaces/{namespace}/configmaps/one")
            with pytest.raises(NotFound):
                await fired

    async def test_who_may_not_watch_looks_again_as_upstream_does(
        self, apiserver: ApiServer, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Given an account that may create and get, and someone who labels the object in the first pause
        rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create", "get"]}]
        user = apiserver.service_account(namespace, "looker", rules)
        monkeypatch.setenv("KUBECONFIG", str(apiserver.kubeconfig(tmp_path / "looker", user)))

        class Pauses(_Patient):
            async def sleep(self, seconds: float) -> None:
                self.sleeping += 1
                if self.sleeping == 1:
                    await asyncio.Event().wait()
                where = f"/api/v1/namespaces/{namespace}/configmaps/one"
                body = {"metadata": {"labels": {"phase": "done"}}}
                apiserver.request("PATCH", where, body, content="application/merge-patch+json")

        stage = Stage("k8s", namespace=namespace, clock=Pauses())
        policy = {"k8s": {"labels": {"phase": "done"}, "deadline": "1h"}}
        async with stage.open() as trigger:
            await stage.fire(trigger, block(config_map(name="one")), policy=policy)


class TestTheWay:
    async def test_a_server_that_went_away_is_a_failure_that_may_pass(
        self, apiserver: ApiServer, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = apiserver.kubeconfig(tmp_path / "gone")
        path.write_text(path.read_text().replace(apiserver.url, "https://127.0.0.1:1"))
        monkeypatch.setenv("KUBECONFIG", str(path))
        stage = Stage("k8s", namespace=namespace)
        async with stage.open() as trigger:
            with pytest.raises(TriggerError, match=r"https://127.0.0.1:1 .*kubeconfig.*cannot be reached") as error:
                await stage.fire(trigger, block(config_map(name="one")))
        assert not isinstance(error.value, Rejected)

    async def test_all_triggers_of_a_process_share_one_client(self, stage: Stage) -> None:
        async with stage.open() as one, stage.open() as two:
            assert isinstance(one.client, Client)  # type: ignore[attr-defined]
            assert one.client is two.client  # type: ignore[attr-defined]


class TestApply:
    async def test_only_what_the_object_names_is_set(self, fire: Any, apiserver: ApiServer, namespace: str) -> None:
        # Given an object that somebody else made
        apiserver.apply(config_map(name="one", namespace=namespace, labels={"kept": "yes"}))
        where = f"/api/v1/namespaces/{namespace}/configmaps/one"
        # When two fields are applied, one of them somebody else's
        body = config_map(name="one") | {"data": {"a": "2", "b": "3"}}
        assert (await fire(body, "apply")).message.startswith("applied ConfigMap 'one'")
        assert apiserver.request("GET", where)["data"] == {"a": "2", "b": "3"}
        # And later only one of them, then the other is gone, for it was ours; and what is not named stays
        await fire(config_map(name="one") | {"data": {"a": "2"}}, "apply", id="a-2")
        made = apiserver.request("GET", where)
        assert (made["data"], made["metadata"]["labels"]) == ({"a": "2"}, {"kept": "yes"})
        # And an object that is not there is made
        await fire(config_map(name="two"), "apply", id="a-3")
        with pytest.raises(Rejected, match="to apply a ConfigMap, its metadata.name must be given"):
            await fire(config_map(generateName="x-"), "apply")


@pytest.mark.parametrize("operation", ["create", "update", "patch", "apply"])
async def test_a_dry_run_stores_nothing_and_is_judged_all_the_same(
    fire: Any, apiserver: ApiServer, namespace: str, operation: str
) -> None:
    policy = {"k8s": {"labels": {"never": "there"}, "backoff": {"steps": 1}, "errorOnBackoffTimeout": True}}
    outcome = await fire(config_map(name="one"), operation, fields={"dryRun": True}, policy=policy)
    assert outcome.message.endswith("(dry run: nothing is stored)")
    assert apiserver.request("GET", f"/api/v1/namespaces/{namespace}/configmaps?labelSelector=x")["items"] == []
    with pytest.raises(NotFound):
        async with Client() as client:
            await client.get(await client.discover("v1", "ConfigMap"), "one", namespace)
    with pytest.raises(Rejected, match="Invalid value"):
        await fire(config_map(name="Not A Name"), operation, fields={"dryRun": True})
    # And nothing is removed
    apiserver.apply(config_map(name="two", namespace=namespace))
    await fire(config_map(name="two"), "delete", fields={"dryRun": True})
    assert apiserver.request("GET", f"/api/v1/namespaces/{namespace}/configmaps/two")


async def test_a_trigger_can_act_with_the_rights_of_another_account(
    fire: Any, apiserver: ApiServer, namespace: str
) -> None:
    # Given an account that may make ConfigMaps, and one that may not
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create"]}]
    apiserver.service_account(namespace, "writer", rules)
    apiserver.service_account(namespace, "reader")
    # When a trigger acts for each
    await fire(config_map(name="one"), fields={"serviceAccountName": "writer"})
    # Then the server judges by the account's rights and not by the sensor's, which may do anything here
    with pytest.raises(Rejected, match=f"system:serviceaccount:{namespace}:reader.*cannot create"):
        await fire(config_map(name="two"), fields={"serviceAccountName": "reader"})
    made = apiserver.request("GET", f"/api/v1/namespaces/{namespace}/configmaps/one")
    assert made["data"] == {"a": "1"}
