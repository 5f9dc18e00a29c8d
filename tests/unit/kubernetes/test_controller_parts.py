"""The pieces of the controller by themselves: its queue, its conditions, what counts as a difference, what is said, what pods say."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from argosy.clock import run_virtually
from argosy.errors import ConfigError
from argosy.kubernetes.controller.announcing import Rate, Said, event
from argosy.kubernetes.controller.conditions import Condition, fails, holds, merged, turned
from argosy.kubernetes.controller.configuration import Configuration, of_environment
from argosy.kubernetes.controller.differing import changed_by, differences, made_of, marked
from argosy.kubernetes.controller.permitted import forbidden
from argosy.kubernetes.controller.polling import Reports
from argosy.kubernetes.controller.queue import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, Queue
from argosy.kubernetes.controller.rules import controller_own_rules, controller_rules
from argosy.kubernetes.controller.waits import Waits
from argosy.kubernetes.rights import Account, Right
from argosy.kubernetes.watching import Place
from argosy.manifests.bundle import Key

_START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def virtually(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run it in virtual time."""
    run_virtually(_START, lambda clock: main())


class TestTheQueue:
    def test_a_key_waits_once_and_is_looked_at_by_one_worker_at_a_time(self) -> None:
        looked: list[str] = []
        at_once = {"now": 0, "most": 0}

        async def look(key: str) -> None:
            at_once["now"] += 1
            at_once["most"] = max(at_once["most"], at_once["now"])
            looked.append(key)
            await asyncio.sleep(1)
            at_once["now"] -= 1

        async def main() -> None:
            queue: Queue[str] = Queue(look, pytest.fail)
            for key in ("a", "a", "a"):
                queue.add(key)
            working = asyncio.create_task(queue.run(4))
            await asyncio.sleep(0.5)
            assert looked == ["a"]
            # What comes while it is looked at is one more look, after this one
            queue.add("a")
            queue.add("a")
            await asyncio.sleep(5)
            assert looked == ["a", "a"] and at_once["most"] == 1 and queue.quiet
            # And many keys are shared out
            for number in range(8):
                queue.add(f"key {number}")
            await asyncio.sleep(2.5)
            assert len(looked) == 10 and at_once["most"] == 4
            queue.close()
            await working

        virtually(main)

    def test_a_look_that_fails_is_repeated_with_growing_pauses_until_it_succeeds(self) -> None:
        pauses: list[float] = []
        left = {"failures": 12}

        async def look(key: str) -> None:
            if left["failures"]:
                left["failures"] -= 1
                raise ConfigError("no")

        async def main() -> None:
            queue: Queue[str] = Queue(look, lambda key, error, pause: pauses.append(pause), chance=lambda: 0.5)
            queue.add("a")
            working = asyncio.create_task(queue.run(1))
            await asyncio.sleep(3600)
            assert pauses[:4] == [FIRST_PAUSE_SECONDS * 2**power for power in range(4)]
            assert max(pauses) == LONGEST_PAUSE_SECONDS and len(pauses) == 12
            # After a success it begins small again, and an event does not wait for the pause
            left["failures"] = 1
            queue.add("a")
            await asyncio.sleep(0.1)
            assert pauses[-1] == FIRST_PAUSE_SECONDS
            queue.add("a")
            await asyncio.sleep(0.1)
            assert not left["failures"] and len(pauses) == 13
            queue.close()
            await working

        virtually(main)

    def test_a_look_may_ask_to_be_repeated_and_the_sooner_of_two_times_counts(self) -> None:
        moments: list[float] = []

        async def main() -> None:
            loop = asyncio.get_running_loop()

            async def look(key: str) -> float | None:
                moments.append(round(loop.time(), 3))
                return 60.0 if len(moments) < 3 else None

            queue: Queue[str] = Queue(look, pytest.fail)
            working = asyncio.create_task(queue.run(1))
            began = loop.time()
            queue.add("a")
            await asyncio.sleep(1)
            queue.add_after("a", 10)
            queue.add_after("a", 20)
            await asyncio.sleep(1000)
            assert [round(moment - began) for moment in moments] == [0, 11, 71]
            queue.close()
            queue.add("a")
            await working
            assert len(moments) == 3

        virtually(main)

    def test_closing_lets_what_is_under_way_finish_and_begins_nothing(self) -> None:
        done: list[str] = []

        async def look(key: str) -> None:
            await asyncio.sleep(5)
            done.append(key)

        async def main() -> None:
            queue: Queue[str] = Queue(look, pytest.fail)
            for key in ("a", "b"):
                queue.add(key)
            working = asyncio.create_task(queue.run(1))
            await asyncio.sleep(1)
            queue.close()
            await queue.drained()
            assert done == ["a"]
            await working

        virtually(main)


class TestConditions:
    def test_the_time_of_a_condition_moves_with_its_status_alone(self) -> None:
        first = merged([], [holds("Ready"), fails("Deployed", "No", "because")], "1")
        assert [one["type"] for one in first] == ["Deployed", "Ready"]
        second = merged(first, [fails("Ready", "No", "because"), fails("Deployed", "Other", "of it")], "2")
        assert [(one["type"], one["lastTransitionTime"]) for one in second] == [("Deployed", "1"), ("Ready", "2")]
        assert [one["type"] for one in turned(first, second)] == ["Deployed", "Ready"]
        assert (
            merged(
                second, [Condition(one["type"], one["status"], one["reason"], one["message"]) for one in second], "3"
            )
            == second
        )

    def test_a_long_message_is_cut(self) -> None:
        assert len(merged([], [fails("Ready", "No", "x" * 40_000)], "1")[0]["message"]) == 1000


class TestDifferences:
    @pytest.mark.parametrize(
        ("live", "wanted"),
        [
            ({"a": 1, "theirs": 2}, {"a": 1}),
            ({"a": {}}, {"a": {"b": None, "c": [], "d": ""}}),
            ({}, {"a": False, "b": 0}),
            ({"c": [{"name": "x", "default": 1}, {"name": "sidecar"}]}, {"c": [{"name": "x"}]}),
            ({"resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}, {"resources": {"requests": {"cpu": "1000m", "memory": "1024Mi"}}}),
            ({"l": [1, 2]}, {"l": [1, 2]}),
        ],
    )  # fmt: skip
    def test_what_the_server_and_others_add_is_none(self, live: Any, wanted: Any) -> None:
        assert differences({"spec": live}, {"spec": wanted}) == []

    @pytest.mark.parametrize(
        ("live", "wanted", "path"),
        [
            ({"a": 2}, {"a": 1}, "a"),
            ({}, {"a": 1}, "a"),
            ({"c": [{"name": "x", "image": "theirs"}]}, {"c": [{"name": "x", "image": "ours"}]}, "c[x].image"),
            ({"c": []}, {"c": [{"name": "x"}]}, "c[x]"),
            ({"selector": {"a": "b", "c": "d"}}, {"selector": {"a": "b"}}, "selector"),
            ({"l": [1, 2, 3]}, {"l": [1, 2]}, "l"),
            ({"args": ["a"]}, {"args": ["b"]}, "args[0]"),
            ({"labels": {"version": "1.0"}}, {"labels": {"version": "1"}}, "labels.version"),
        ],
    )
    def test_what_is_not_as_it_should_be_is_named(self, live: Any, wanted: Any, path: str) -> None:
        assert differences(live, wanted) == [path]

    def test_who_changed_a_field_is_told_by_the_records_and_not_by_who_came_last(self) -> None:
        def record(manager: str, time: str, fields: Any, **more: str) -> Any:
            return {"manager": manager, "time": time, "fieldsV1": fields, **more}

        image = {"f:spec": {"f:containers": {'k:{"name":"main"}': {"f:image": {}}}}}
        records = [
            record("argosy-controller", "4", {"f:spec": {"f:replicas": {}}}),
            record("kubectl-edit", "1", {"f:spec": {"f:replicas": {}}}),
            record("somebody", "2", image),
            record("kube-controller-manager", "3", {"f:metadata": {"f:annotations": {}}}),
            record("scaler", "5", {"f:spec": {"f:replicas": {}}}, subresource="status"),
        ]
        live = {"metadata": {"managedFields": records}}
        assert changed_by(live, "argosy-controller", ["spec.replicas"]) == "kubectl-edit"
        assert changed_by(live, "argosy-controller", ["spec.containers[main].image", "spec.replicas"]) == "somebody"
        assert changed_by(live, "argosy-controller", ["spec.containers[other].image"]) == ""
        assert changed_by({"metadata": {}}, "argosy-controller", ["spec.replicas"]) == ""

    def test_an_object_carries_a_name_for_what_it_was_made_of(self) -> None:
        wanted = {"kind": "Service", "metadata": {"name": "a"}, "spec": {"ports": [1]}}
        made = marked(wanted)
        assert made_of(made) and "annotations" not in wanted["metadata"]
        assert made_of(marked({**wanted, "spec": {"ports": [2]}})) != made_of(made)
        assert made_of({"metadata": {}}) == ""


class TestWhatIsSaid:
    def test_the_same_is_said_once_in_ten_minutes_and_not_too_much_of_one_object(self) -> None:
        now = {"seconds": 0.0}
        rate = Rate(lambda: now["seconds"])
        assert rate.allows("a", "Failed", "x") and not rate.allows("a", "Failed", "x")
        now["seconds"] = 601
        assert rate.allows("a", "Failed", "x")
        allowed = [rate.allows("a", "Failed", str(number)) for number in range(50)]
        assert sum(allowed) == 9
        assert rate.allows("b", "Failed", "0")
        now["seconds"] += 61
        assert [rate.allows("a", "Failed", f"later {number}") for number in range(3)] == [True, False, False]

    def test_an_event_fits_what_the_api_takes(self) -> None:
        about = {"apiVersion": "v1", "kind": "Sensor", "metadata": {"name": "n" * 253, "namespace": "a", "uid": "u"}}
        made = event(Said(about, "Warning", "No", "ü" * 2000), "i" * 300)
        assert len(made["metadata"]["name"]) <= 253
        assert len(made["note"].encode()) <= 1024 and len(made["reportingInstance"]) <= 128


class TestWaits:
    def test_sensors_are_found_by_what_they_name_as_it_changes(self) -> None:
        def sensor(*names: str, provided: str = "") -> Any:
            conditions = [{"type": "DependenciesProvided", "status": provided}] if provided else []
            spec = {"dependencies": [{"eventSourceName": name} for name in names]}
            return {"metadata": {}, "spec": spec, "status": {"conditions": conditions}}

        waits, one, other = Waits(), Place("shop", "one"), Place("shop", "other")
        waits.note(one, sensor("a", "b"))
        waits.note(other, sensor("b", provided="True"))
        assert waits.sources("shop") == ["a", "b"] and waits.sources("elsewhere") == []
        assert waits.of("shop", "b") == [one, other] and waits.unsettled("shop") == [one]
        waits.note(one, sensor("c", provided="True"))
        assert waits.of("shop", "a") == [] and waits.of("shop", "c") == [one] and waits.unsettled("shop") == []
        waits.note(other, {"metadata": {}, "spec": {"dependencies": "none"}})
        assert waits.of("shop", "b") == [] and waits.unsettled("shop") == [other]
        waits.note(other, None)
        waits.note(one, None)
        assert waits.sources("shop") == [] and waits.unsettled("shop") == []


class TestReports:
    def test_several_pods_are_told_as_one_and_those_that_are_gone_as_none(self) -> None:
        reports, key = Reports(), Key("Sensor", "shop", "tell")
        said = {
            "kind": "Sensor",
            "name": "tell",
            "ready": False,
            "waitingFor": "the bus",
            "lastFired": "2026-01-02T00:00:00Z",
        }
        assert reports.take("one", "shop", "sensor-controller", {"objects": [said]}) == [key]
        assert reports.take("one", "shop", "sensor-controller", {"objects": [said]}) == []
        assert reports.waiting_for(key) == "the bus" and not reports.ready(key, "sensor-controller")
        later = {**said, "ready": True, "waitingFor": None, "lastFired": "2026-01-03T00:00:00Z", "backlog": 4}
        reports.take("two", "shop", "argosy-runner", {"objects": [later, {"kind": "Sensor"}, 7, None]})
        assert reports.fields(key) == {"lastFired": "2026-01-03T00:00:00Z", "backlog": 4}
        assert reports.ready(key, "argosy-runner") and not reports.ready(key, "sensor-controller")
        assert key in reports.forget(["one"])
        assert not reports.ready(key, "argosy-runner")

    def test_a_pod_that_stands_by_is_ready_and_keeps_nothing(self) -> None:
        reports, key = Reports(), Key("EventSource", "shop", "hooks")
        said = {"kind": "EventSource", "name": "hooks", "ready": True, "waitingFor": "'hooks-1' receives"}
        reports.take("two", "shop", "eventsource-controller", {"objects": [said]})
        assert reports.waiting_for(key) == ""
        reports.take("two", "shop", "eventsource-controller", {"objects": [{**said, "ready": False}]})
        assert reports.waiting_for(key) == "'hooks-1' receives"

    @pytest.mark.parametrize("nonsense", [None, 7, [], {"objects": 7}, {"objects": {"a": 1}}, {"objects": [[]]}])
    def test_an_answer_that_makes_no_sense_says_nothing(self, nonsense: Any) -> None:
        assert Reports().take("one", "shop", "sensor-controller", nonsense) == []


def test_what_is_forbidden_is_said_by_account_resource_and_namespace() -> None:
    rights = [
        Right("create", "argoproj.io", "workflows", "runs"),
        Right("get", "argoproj.io", "workflows", "runs"),
        Right("patch", "", "configmaps", "shop", "state"),
    ]
    assert forbidden({Account("shop", "maker"): rights}) == (
        "service account 'maker' may not patch configmaps 'state' in namespace 'shop', create and get workflows.argoproj.io in"
        " namespace 'runs'; 'argosy rbac -o yaml' prints the role that it needs"
    )


class TestConfiguration:
    def test_what_the_call_and_the_environment_say_counts_more_than_the_file(self, tmp_path: Path) -> None:
        file = tmp_path / "config.yaml"
        file.write_text("argosy: {image: 'a:1', mode: shared, shards: 3}")
        over = {"shards": 2, **of_environment({"ARGOSY_IMAGE": "b:1", "ARGO_EVENTS_IMAGE": "c:1"})}
        settings = Configuration(file, over).settings
        assert (settings.image, settings.mode, settings.shards) == ("b:1", "shared", 2)
        assert of_environment({"ARGO_EVENTS_IMAGE": "c:1", "IMAGE_PULL_POLICY": "Never"}) == {
            "image": "c:1",
            "image_pull_policy": "Never",
        }

    def test_a_file_that_is_named_has_to_be_there(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="no configuration file"):
            Configuration(tmp_path / "config.yaml", {})
        with pytest.raises(ConfigError, match="IMAGE_PULL_POLICY"):
            of_environment({"IMAGE_PULL_POLICY": "Sometimes"})


class TestRules:
    def test_secrets_are_neither_listed_nor_watched_where_there_are_no_runners(self) -> None:
        for namespaced in (True, False):
            verbs = {
                verb
                for rule in controller_rules(namespaced, shared=False)
                if "secrets" in rule["resources"]
                for verb in rule["verbs"]
            }
            assert verbs == {"get", "create", "patch", "delete"}

    def test_nothing_is_for_all_groups_resources_or_verbs_and_nobody_is_impersonated_or_escalated(self) -> None:
        rules = [*controller_rules(True), *controller_rules(False), *controller_own_rules()]
        words = {word for rule in rules for field in ("apiGroups", "resources", "verbs") for word in rule[field]}
        assert not words & {"*", "impersonate", "escalate", "bind", "deletecollection", "pods/exec"}

    def test_a_role_of_a_namespace_has_nothing_that_only_a_cluster_has(self) -> None:
        resources = {resource for rule in controller_rules(True) for resource in rule["resources"]}
        assert not resources & {"namespaces", "clusterroles", "clusterrolebindings", "subjectaccessreviews"}
