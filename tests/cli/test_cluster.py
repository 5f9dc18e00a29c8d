"""Which pods of a namespace a command asks, and how their answers become one. The real API server is in ``tests/cluster``."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from argosy.cli._kubectl import reordered
from tests.cli.apiserver_double import Answer, ApiServerDouble, PodApi, Proxy, pod, unreachable
from tests.cli.asking import Said, call


@pytest.fixture
def double(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServerDouble]:
    monkeypatch.chdir(tmp_path)
    with ApiServerDouble(tmp_path) as server:
        monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig))
        yield server


def ask(*words: str, code: int = 0, given: str = "") -> Said:
    said = call(*words, "-n", "shop", given=given)
    assert said.code == code, f"{words} ended with {said.code}:\n{said.text}{said.errors}"
    return said


def knowing(*sensors: str) -> PodApi:
    """A pod that runs these sensors."""

    def answer(method: str, path: str, query: dict[str, str], body: Any) -> Answer:
        shown = [{"namespace": "shop", "name": one, "triggers": [], "dependencies": []} for one in sensors]
        if path == "/sensors":
            return 200, {"sensors": shown}
        if path == "/manifests":
            about = [{"namespace": "shop", "name": one, "folder": "", "object": {"spec": {}}} for one in sensors]
            return 200, {"sensors": about, "eventSources": [], "declared": [], "configMaps": []}
        return 200, {**shown[0], "eventBus": "default", "asked": path}

    return answer


def test_a_sensors_question_goes_to_the_pod_that_runs_it(double: ApiServerDouble) -> None:
    # Given pods of Argo Events, a pod of each of two sensors, and a runner with a third
    double.add(pod("theirs", "Sensor", "bill", ours=False), unreachable)
    double.add(pod("bill-1", "Sensor", "bill"), knowing("bill"))
    double.add(pod("ship-1", "Sensor", "ship"), knowing("ship"))
    double.add(pod("runner-1", "Runner", "argosy-runner"), knowing("note"))
    # Then each sensor is asked of its own pod
    for sensor, asked in (("bill", "bill-1"), ("ship", "ship-1"), ("note", "runner-1")):
        ask("sensor", "show", sensor)
        assert double.asked[-1] == (asked, "GET", f"/sensors/{sensor}")
    # And one that nobody runs is nobody's
    assert (
        "no sensor 'notes' runs in namespace 'shop'; did you mean 'note'?"
        in ask("sensor", "show", "notes", code=1).errors
    )


def test_of_pods_that_do_the_same_a_ready_one_answers_and_else_the_next(double: ApiServerDouble) -> None:
    # Given a pod that is not ready, one that is and does not answer, and one that ends
    double.add(pod("bill-1", "Sensor", "bill", ready=False), knowing("bill"))
    double.add(pod("bill-2", "Sensor", "bill"), unreachable)
    gone = pod("bill-0", "Sensor", "bill")
    gone["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    double.add(gone, unreachable)
    ask("sensor", "show", "bill")
    assert [name for name, *_ in double.asked] == ["bill-2", "bill-1"]
    # But an order is not given twice: nobody knows whether it was heard
    said = ask("sensor", "resume", "bill", code=1)
    assert "pod 'bill-2' of Sensor 'bill' does not answer: error trying to reach service" in said.errors
    assert double.asked[-1][0] == "bill-2"


@pytest.mark.parametrize(
    ("status", "why"),
    [
        ({"phase": "Pending", "podIP": ""}, "it is Pending"),
        (
            {
                "phase": "Pending",
                "conditions": [{"type": "PodScheduled", "status": "False", "message": "no node fits"}],
            },
            "it is Pending: no node fits",
        ),
        (
            {
                "phase": "Pending",
                "containerStatuses": [
                    {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}
                ],
            },
            "its container waits: ImagePullBackOff, no such image",
        ),
    ],
)
def test_a_list_says_which_pods_are_not_in_it_and_why(
    double: ApiServerDouble, status: dict[str, Any], why: str
) -> None:
    double.add(pod("bill-1", "Sensor", "bill"), knowing("bill"))
    double.add(pod("ship-1", "Sensor", "ship", **status), unreachable)
    double.add(pod("old-1", "Sensor", "old"), lambda *_: (404, "404 page not found\n"))
    said = ask("sensor", "list", "-o", "json")
    assert [one["name"] for one in said.json["sensors"]] == ["bill"]
    assert f"not in this answer: pod 'ship-1' of Sensor 'ship' cannot be asked: {why}" in said.errors
    assert "not in this answer: pod 'old-1' of Sensor 'old' is no pod of Argosy (it answers 404)" in said.errors


def test_where_no_pod_answers_it_fails_and_says_why(double: ApiServerDouble) -> None:
    double.add(pod("bill-1", "Sensor", "bill"), unreachable)
    assert "pod 'bill-1' of Sensor 'bill' does not answer" in ask("sensor", "list", code=1).errors


def logging(bus: str, positions: list[int]) -> PodApi:
    """A pod with a log on which events stand at these positions, each stored at its own second."""

    def answer(method: str, path: str, query: dict[str, str], body: Any) -> Answer:
        before = dict(part.split("@") for part in query.get("before", "").split(",") if part)
        if query.get("before") and bus not in before:
            return 200, {"events": [], "next": ""}
        limit = int(query["limit"])
        old = [one for one in sorted(positions, reverse=True) if one < int(before.get(bus, 1000))]
        rows = [
            {
                "bus": bus,
                "position": one,
                "storedAt": f"2026-01-01T00:00:{one:02}Z",
                "id": f"event-{one:04}",
                "source": "s",
                "subject": "e",
                "bytes": 1,
            }
            for one in old[:limit]
        ]
        return 200, {"events": rows, "next": f"{bus}@{rows[-1]['position']}" if len(old) > limit else ""}

    return answer


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 20])
def test_the_events_of_several_buses_are_one_list_without_gap_or_repetition(
    double: ApiServerDouble, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given two buses, one of which two pods and a runner read
    monkeypatch.setattr("argosy.cli.events._PAGE", limit)
    double.add(pod("a-1", "EventSource", "a", bus="one"), logging("shop/one", [1, 3, 4, 9, 12]))
    double.add(pod("b-1", "Sensor", "b", bus="one"), logging("shop/one", [1, 3, 4, 9, 12]))
    double.add(pod("r-1", "Runner", "argosy-runner"), logging("shop/one", [1, 3, 4, 9, 12]))
    double.add(pod("c-1", "Sensor", "c", bus="two"), logging("shop/two", [2, 5, 6, 7, 8, 20]))
    # When all are listed, page by page
    rows = ask("events", "list", "--limit", "100", "-o", "json").lines
    # Then they are there in the order of time, once
    assert [row["position"] for row in rows] == [20, 12, 9, 8, 7, 6, 5, 4, 3, 2, 1]
    # And of the pods with the same bus only one was asked
    assert {name for name, *_ in double.asked} == {"a-1", "c-1", "r-1"}


def test_the_way_leads_through_a_proxy_where_the_environment_or_the_kubeconfig_says_so(
    double: ApiServerDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given an API server that only a proxy reaches
    double.add(pod("bill-1", "Sensor", "bill"), knowing("bill"))
    text = double.kubeconfig.read_text()
    elsewhere = text.replace(f"127.0.0.1:{double.port}", "api.example:6443")
    with Proxy(double.port) as proxy:
        double.kubeconfig.write_text(elsewhere)
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.delenv("REQUEST_METHOD", raising=False)
        ask("sensor", "show", "bill")
        assert set(proxy.asked) == {"api.example:6443"}
        # Then it is not asked where it shall not be
        proxy.asked.clear()
        double.kubeconfig.write_text(text)
        ask("sensor", "show", "bill")
        assert proxy.asked == []
        # And the kubeconfig's own comes first
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
        double.kubeconfig.write_text(elsewhere.replace("    server:", f"    proxy-url: {proxy.url}\n    server:"))
        ask("sensor", "show", "bill")
        assert set(proxy.asked) == {"api.example:6443"}


def test_a_run_of_this_machine_comes_before_a_namespace_unless_the_cluster_is_meant(double: ApiServerDouble) -> None:
    double.add(pod("bill-1", "Sensor", "bill"), knowing("bill"))
    # Given a run in this folder, which has ended
    folder = Path(".argosy")
    folder.mkdir()
    (folder / "api.json").write_text('{"url": "http://127.0.0.1:9", "token": "x"}')
    # Then a namespace is one of that run
    assert "nothing answers at http://127.0.0.1:9" in ask("sensor", "list", code=1).errors
    # But not where the cluster is named
    assert ask("sensor", "show", "bill", "--cluster").text.startswith("sensor bill in shop")
    ask("sensor", "list", "--context", "x")
    # And without the run, or with another namespace, it is the cluster's
    (folder / "api.json").unlink()
    ask("sensor", "list")
    assert (
        "nothing runs with the data folder 'elsewhere'"
        in call("sensor", "list", "--data", "elsewhere", "-n", "shop").errors
    )
    assert "to ask a cluster give -n NAMESPACE" in call("sensor", "list").errors


@pytest.mark.parametrize(
    ("words", "becomes"),
    [
        ("-n shop events list", "events list -n shop"),
        ("events -n shop list --limit 3", "events list --limit 3 -n shop"),
        ("--context=c --namespace shop sensor show x -o json", "sensor show x -o json --context=c --namespace shop"),
        ("-nshop lint --live", "lint --live -nshop"),
        ("-A status", "status -A"),
        ("-n shop test manifests -- -n x", "test manifests -n shop -- -n x"),
        ("events list -n shop", "events list -n shop"),
        ("--help", "--help"),
        ("events --help", "events --help"),
        ("-n", "-n"),
        ("", ""),
    ],
)
def test_kubectls_flags_stand_before_the_command_too(words: str, becomes: str) -> None:
    assert reordered(words.split()) == becomes.split()


def telling(*answers: list[int] | str) -> PodApi:
    """A pod that tells events at these positions of the log, ends, and tells the next when it is asked anew; a text is an error."""
    left = list(answers)

    def answer(method: str, path: str, query: dict[str, str], body: Any) -> Answer:
        asked.append(query)
        told = left.pop(0)
        if isinstance(told, str):
            return 400, {"error": told}
        rows = [
            {
                "bus": "one",
                "position": one,
                "storedAt": f"2026-01-01T00:00:{one:02}Z",
                "id": f"event-{one:04}",
                "bytes": 1,
            }
            for one in told
        ]
        return 200, "".join(f"{json.dumps({**row, 'source': 's', 'subject': 'e'})}\n" for row in rows)

    asked: list[dict[str, str]] = []
    answer.asked = asked  # type: ignore[attr-defined]
    return answer


def test_following_goes_on_with_the_pod_that_comes_where_one_ends(
    double: ApiServerDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a pod that ends after two events
    monkeypatch.setattr("argosy.cli._cluster_log._PAUSE_SECONDS", 0.0)
    old, new = telling([1, 2]), telling([2, 3], "that is enough")

    def replaced(*question: Any) -> Answer:
        said = old(*question)
        double.pods.clear()
        double.add(pod("web-2", "EventSource", "web"), new)
        return said

    double.add(pod("web-1", "EventSource", "web"), replaced)
    # When somebody follows
    said = ask("events", "tail", "-f", "--last", "1", "-o", "json", code=1)
    # Then they go on where the first broke off, and see each event once
    assert [row["position"] for row in said.lines] == [1, 2, 3]
    assert old.asked[0]["last"] == "1"  # type: ignore[attr-defined]
    assert new.asked[0]["since"] == "2026-01-01T00:00:02Z"  # type: ignore[attr-defined]
    assert "the pod that told what comes has ended; another one is looked for" in said.errors
    assert "that is enough" in said.errors


def test_following_before_anything_came_goes_on_from_where_it_began_by_the_clock_of_the_pods(
    double: ApiServerDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a pod that ends before it has told anything
    monkeypatch.setattr("argosy.cli._cluster_log._PAUSE_SECONDS", 0.0)
    told = telling([], "that is enough")
    double.add(pod("web-1", "EventSource", "web"), told)
    # When somebody follows
    ask("events", "tail", "-f", code=1)
    # Then the next one is asked for so many seconds, and for no time of this machine
    queries = told.asked  # type: ignore[attr-defined]
    assert "since" not in queries[0]
    assert re.fullmatch(r"\d+\.\d{3}s", queries[1]["since"])


def test_following_several_buses_goes_on_with_each_although_the_pod_of_one_ends(
    double: ApiServerDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a bus of which nothing comes, and another one whose pod is replaced
    monkeypatch.setattr("argosy.cli._cluster_log._PAUSE_SECONDS", 0.0)
    old, over, waited_out = telling([1]), threading.Event(), []

    def quiet(*question: Any) -> Answer:
        if not over.wait(20):
            waited_out.append(True)
        return 200, ""

    def replaced(*question: Any) -> Answer:
        said = old(*question)
        double.pods[0] = pod("web-2", "EventSource", "web")
        double.apis["web-2"] = telling([2], "that is enough")
        return said

    double.add(pod("web-1", "EventSource", "web"), replaced)
    double.add(pod("dock-1", "EventSource", "dock", bus="two"), quiet)
    try:
        # When somebody follows both
        said = ask("events", "tail", "-f", "-o", "json", code=1)
        # Then what comes on the first is told on, and nobody waits for the second
        assert [row["position"] for row in said.lines] == [1, 2]
        assert not waited_out
    finally:
        over.set()


def test_an_event_is_published_through_a_pod_that_knows_its_source_although_another_does_not_answer(
    double: ApiServerDouble,
) -> None:
    # Given a pod that does not answer, and one of a sensor that listens to a source that nobody runs
    def listening(method: str, path: str, query: dict[str, str], body: Any) -> Answer:
        if method == "POST":
            return 200, {"id": "1", "source": "orders", "subject": "new", "namespace": "shop", "sensors": []}
        about = {"spec": {"dependencies": [{"name": "d", "eventSourceName": "orders", "eventName": "new"}]}}
        shown = [{"namespace": "shop", "name": "bill", "folder": "", "object": about}]
        return 200, {"sensors": shown, "eventSources": [], "declared": [], "configMaps": []}

    double.add(pod("away-1", "Sensor", "away"), unreachable)
    double.add(pod("bill-1", "Sensor", "bill"), listening)
    # When an event of that source is put on the log
    said = ask("events", "publish", "-", "--source", "orders", "--event", "new", "-o", "json", given="{}")
    # Then the sensor's pod has done it
    assert ("bill-1", "POST", "/events") in double.asked
    assert json.loads(said.text)["sensors"] == ["bill"]
    assert "pod 'away-1' of Sensor 'away' does not answer" in said.errors
