"""The commands that ask a run, over the pods of a namespace: through the proxy of a real API server, to real processes."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from argosy.kubernetes.crds import definitions
from tests.cli.asking import Said, call
from tests.cli.running import free_port
from tests.cluster.pods_by_hand import Pods, lent_address, needed
from tests.examples import snippets
from tests.kubernetes.apiserver import ApiServer
from tests.missing import missing

_PAGE = snippets.ROOT / "docs" / "how-to" / "cluster-cli.md"
WEB = """
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata: {{name: web, namespace: {space}}}
spec:
  webhook:
    order: {{port: "{port}", endpoint: /order, method: POST}}
    payment: {{port: "{port}", endpoint: /payment, method: POST}}
"""
BILL = """
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {{name: bill, namespace: {space}}}
spec:
  dependencies:
    - name: order
      eventSourceName: web
      eventName: order
      filters:
        data: [{{path: body.kind, type: string, value: ["new"]}}]
  triggers:
    - template:
        name: send
        http: {{url: "http://127.0.0.1:9/", method: POST}}
      retryStrategy: {{steps: 1, duration: 1s}}
"""
SHIP = """
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {{name: ship, namespace: {space}}}
spec:
  dependencies:
    - {{name: order, eventSourceName: web, eventName: order}}
    - {{name: payment, eventSourceName: web, eventName: payment}}
  triggers:
    - template:
        name: pack
        conditions: order && payment
        log: {{}}
"""
DESK = """
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata: {{name: desk, namespace: {space}}}
spec:
  webhook:
    call: {{port: "{port}", endpoint: /call, method: POST}}
---
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {{name: note, namespace: {space}}}
spec:
  dependencies:
    - {{name: call, eventSourceName: desk, eventName: call}}
  triggers:
    - template: {{name: write, log: {{}}}}
"""


class Shop:
    """A namespace in which an EventSource and two Sensors have pods of their own, and a runner has one of each."""

    def __init__(self, pods: Pods, kubeconfig: Path) -> None:
        self.pods = pods
        self.namespace = pods.namespace
        self.env: dict[str, str | None] = {"KUBECONFIG": str(kubeconfig)}

    def ask(self, *words: str, code: int = 0, given: str = "") -> Said:
        """Call ``argosy`` about this namespace."""
        said = call(*words, "-n", self.namespace, given=given, env=self.env)
        assert said.code == code, f"{words} ended with {said.code}:\n{said.text}{said.errors}"
        return said

    def publish(self, source: str, event: str, data: Any, id: str) -> Said:
        """Put an event on the log."""
        words = ("events", "publish", "-", "--source", source, "--event", event, "--id", id)
        return self.ask(*words, given=json.dumps(data))


@pytest.fixture(scope="module")
def shop(apiserver: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    needed()
    space, folder = apiserver.namespace(), tmp_path_factory.mktemp("shop")
    with Pods(apiserver, space, folder) as pods:
        pods.start("EventSource", "web", WEB.format(space=space, port=free_port()))
        pods.start("Sensor", "bill", BILL.format(space=space))
        pods.start("Sensor", "ship", SHIP.format(space=space))
        pods.start("Runner", "0/1", DESK.format(space=space, port=free_port()))
        for run in pods.runs.values():
            run.until_ready()
        yield Shop(pods, apiserver.kubeconfig(folder / "kubeconfig"))


@pytest.fixture
def look_only(shop: Shop, apiserver: ApiServer, tmp_path: Path) -> dict[str, str | None]:
    """The environment of somebody who has the role ``argosy-view`` alone."""
    view = next(yaml.safe_load_all(call("rbac", "--cli").text))
    assert view["metadata"]["name"] == "argosy-view"
    user = apiserver.service_account(shop.namespace, "looker", view["rules"])
    return {"KUBECONFIG": str(apiserver.kubeconfig(tmp_path / "looker", user, namespace=shop.namespace))}


def test_one_namespace_answers_as_one_run_would(shop: Shop) -> None:
    # Given events of a source with a pod of its own, and of one that a runner serves
    said = shop.publish("web", "order", {"body": {"kind": "new"}}, "order-0001")
    assert "bill, ship" in said.text
    shop.publish("web", "order", {"body": {"kind": "old"}}, "order-0002")
    assert shop.publish("desk", "call", {"body": {}}, "call/00001").text.endswith("→ note\n")
    # Then the log has all of them once, whoever is asked, page by page, and by name
    ids = ["call/00001", "order-0002", "order-0001"]
    assert [row["id"] for row in shop.ask("events", "list", "-o", "json").lines] == ids
    assert shop.ask("events", "list", "--limit", "2").text.count(" web/") == 1
    assert "call/00001"[:8] in shop.ask("events", "list", "--source", "desk").text
    assert "did you mean 'web'" in shop.ask("events", "list", "--source", "wep", code=1).errors.lower()
    assert "no such event" in shop.ask("events", "list", "--source", "elsewhere").errors
    assert f"{shop.namespace}/bill, {shop.namespace}/ship" in shop.ask("events", "show", "order-0001").text
    assert f"{shop.namespace}/note" in shop.ask("events", "show", "call/00001").text
    assert [row["id"] for row in _captured(shop)] == ids[::-1]
    # And all sensors are there
    sensors = shop.ask("sensor", "list", "-o", "json").json["sensors"]
    assert [one["name"] for one in sensors] == ["bill", "note", "ship"]
    assert "waits for payment" in shop.ask("sensor", "show", "ship").text
    assert "there is no sensor" not in shop.ask("sensor", "pending", "ship").text
    assert "did you mean 'ship'" in shop.ask("sensor", "show", "shipp", code=1).errors


def test_an_event_is_explained_over_all_sensors_with_what_became_of_it(shop: Shop) -> None:
    # Given an action that died, and a condition that waits
    shop.publish("web", "order", {"body": {"kind": "new"}}, "order-0101")
    _until_state(shop, "bill", "order-0101", "dead")
    # Then explain says both, for all sensors that listen or for one
    text = shop.ask("explain", "order-0101").text
    assert "dead letter since" in text
    assert "payment" in text
    assert "payment" not in shop.ask("explain", "order-0101", "bill").text
    assert "does not listen" in shop.ask("explain", "order-0101", "note", code=3).text
    # And when the other event comes, both are what the condition had
    shop.publish("web", "payment", {"body": {}}, "payment-0101")
    _until_state(shop, "ship", "payment-0101", "done")
    told = shop.ask("explain", "payment-0101", "-o", "json").json
    assert [one["name"] for one in told["events"][-1]["sensors"] if one["result"] == "fires"] == ["ship"]
    assert [became["state"] for became in told["happened"].values()] == ["done"]
    assert "is on the log" in shop.ask("explain", "nowhere-0101", code=1).errors


def test_actions_are_found_and_acted_on_wherever_their_sensor_runs(shop: Shop) -> None:
    # Given actions of a dedicated pod and of a runner
    shop.publish("web", "order", {"body": {"kind": "new"}}, "order-0201")
    shop.publish("desk", "call", {"body": {}}, "call-0201")
    dead = _until_state(shop, "bill", "order-0201", "dead")
    done = _until_state(shop, "note", "call-0201", "done")
    # Then one list has both, each once and with its trigger's kind
    rows = shop.ask("actions", "list", "-o", "json").json["actions"]
    assert [(one["sensor"], one["kind"]) for one in rows if one["id"] == dead] == [("bill", "http")]
    assert [(one["sensor"], one["kind"]) for one in rows if one["id"] == done] == [("note", "log")]
    assert [one["state"] for one in shop.ask("actions", "list", "--limit", "1", "-o", "json").json["actions"]] == [
        "dead",
        "done",
    ]
    assert "of sensor bill" in shop.ask("actions", "show", dead[:12]).text
    assert "of sensor note" in shop.ask("actions", "show", done).text
    # And orders reach the pod that can do them, several at once
    said = shop.ask("actions", "redrive", dead, done, code=1)
    assert f"{dead[:12]} of bill/send is back in the queue" in said.text
    assert f"{done[:12]}: it is done" in said.errors
    _until_state(shop, "bill", "order-0201", "dead")
    assert "is discarded" in shop.ask("actions", "discard", dead, "--reason", "a test").text
    assert "there is no action" in shop.ask("actions", "retry", "0000000000", code=1).errors
    # And a sensor is suspended and resumed
    assert "is suspended" in shop.ask("sensor", "suspend", "bill/send").text
    assert "runs" in shop.ask("sensor", "resume", "bill/send").text


def test_actions_of_a_sensor_that_is_gone_are_still_found_and_given_up(shop: Shop) -> None:
    # Given a sensor with a dead letter, which is deleted
    manifest = BILL.format(space=shop.namespace).replace("bill", "former")
    run = shop.pods.start("Sensor", "former", manifest)
    run.until_ready()
    shop.publish("web", "order", {"body": {"kind": "new"}}, "order-0251")
    dead = _until_state(shop, "former", "order-0251", "dead")
    path = f"/api/v1/namespaces/{shop.namespace}/pods/former-sensor-x?gracePeriodSeconds=0"
    shop.pods.server.request("DELETE", path)
    run.end()
    # Then it is there for who looks, by all ways
    for words in ((), ("--sensor", "former")):
        rows = shop.ask("actions", "list", *words, "-o", "json").json["actions"]
        assert [one["sensor"] for one in rows if one["id"] == dead] == ["former"]
    assert "no sensor that runs here has its trigger any more" in shop.ask("actions", "show", dead).text
    assert "bring it back first" in shop.ask("actions", "redrive", dead, code=1).errors
    assert "is discarded" in shop.ask("actions", "discard", dead, "--reason", "it is gone", "--sensor", "former").text
    assert "no sensor 'formerly' runs" in shop.ask("actions", "list", "--sensor", "formerly", code=1).errors


def test_events_are_replayed_through_the_pod_of_the_sensor(shop: Shop) -> None:
    shop.publish("web", "order", {"body": {"kind": "new"}}, "order-0301")
    _until_state(shop, "bill", "order-0301", "dead")
    words = (
        "replay",
        "--to-sensor",
        "bill",
        "--from",
        "1h",
        "--dry-run",
        "--where",
        "id == 'order-0301'",
        "-o",
        "json",
    )
    told = shop.ask(*words).lines
    assert [action["was"] for line in told if line["kind"] == "event" for action in line["actions"]] == ["dead"]


def test_what_comes_is_followed_through_the_proxy_until_the_pods_end(shop: Shop, tmp_path: Path) -> None:
    # Given somebody who follows the log
    command = [sys.executable, "-m", "argosy.cli._kubectl", "-n", shop.namespace, "events", "tail", "-f", "--last", "0"]
    env = {**os.environ, "KUBECONFIG": str(shop.env["KUBECONFIG"])}
    follower = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)
    assert follower.stdout is not None
    coming, lines = follower.stdout, queue.SimpleQueue[str]()
    reader = threading.Thread(target=lambda: [lines.put(line) for line in coming], daemon=True)
    reader.start()
    try:
        # When events come, from the one side and the other, then each is shown at once and once
        seen: list[str] = []
        number = 0
        while not seen:  # following begins when it begins
            number += 1
            shop.publish("web", "order", {"body": {"kind": "old"}}, f"order-04{number:02}")
            with contextlib.suppress(queue.Empty):
                seen.append(lines.get(timeout=1))
        shop.publish("desk", "call", {"body": {}}, "call-0401")
        while not any("call-040" in line for line in seen):
            seen.append(lines.get(timeout=20))
        assert len(seen) == len(set(seen))
    finally:
        follower.send_signal(signal.SIGINT)
        assert follower.wait(20) == 130
        reader.join(20)
        follower.stdout.close()


def test_who_may_only_look_can_look_and_is_told_what_is_missing_to_act(
    shop: Shop, look_only: dict[str, str | None]
) -> None:
    shop.publish("web", "order", {"body": {"kind": "new"}}, "order-0501")
    dead = _until_state(shop, "bill", "order-0501", "dead")

    def ask(*words: str, code: int = 0) -> Said:
        said = call(*words, "--cluster", env=look_only)
        assert said.code == code, f"{words} ended with {said.code}:\n{said.text}{said.errors}"
        return said

    assert dead[:8] in ask("actions", "list").text
    assert "order-05" in ask("events", "list").text
    assert "is not told" in ask("explain", "order-0501").text
    said = ask("actions", "redrive", dead, code=1)
    assert f"you may not create pods/proxy in namespace '{shop.namespace}'" in said.errors
    assert "argosy rbac --cli" in said.errors


def test_who_operates_has_all_the_rights_that_it_takes_and_none_to_spare(
    shop: Shop, apiserver: ApiServer, tmp_path: Path
) -> None:
    for one in definitions():
        apiserver.apply_yaml(json.dumps(one))
    role = list(yaml.safe_load_all(call("rbac", "--cli").text))[1]
    assert role["metadata"] == {"name": "argosy-operate"}

    def refused(name: str, rules: list[Any]) -> list[str]:
        """What does not work with these rights."""
        user = apiserver.service_account(shop.namespace, name, rules)
        config = apiserver.kubeconfig(tmp_path / name, user, namespace=shop.namespace)
        commands = ("status", "sensor list", "sensor suspend note/write", "sensor resume note/write")
        return [
            said.errors
            for words in commands
            for said in [call(*words.split(), "-n", shop.namespace, env={"KUBECONFIG": str(config)})]
            if "you may not" in said.errors
        ]

    assert refused("operator", role["rules"]) == []
    number = 0
    for rule in role["rules"]:
        for word in ("verbs", "resources"):
            for each in rule[word]:
                left = {**rule, word: [one for one in rule[word] if one != each]}
                others = [one for one in role["rules"] if one is not rule]
                number += 1
                assert refused(f"less-{number}", [*others, *([left] if left[word] else [])]), (word, each)


def test_a_pod_that_does_not_answer_is_named_and_the_others_answer(shop: Shop) -> None:
    # Given a pod that is not there yet, and one that ended without anybody having noticed
    shop.pods.register("Sensor", "late", "late-sensor-x", "")
    with lent_address() as address:
        shop.pods.register("Sensor", "gone", "gone-sensor-x", address)
        try:
            said = shop.ask("sensor", "list", "-o", "json")
            assert [one["name"] for one in said.json["sensors"]] == ["bill", "note", "ship"]
            assert (
                "not in this answer: pod 'late-sensor-x' of Sensor 'late' cannot be asked: it is Pending" in said.errors
            )
            assert "not in this answer: pod 'gone-sensor-x' of Sensor 'gone' does not answer" in said.errors
            assert "'late-sensor-x'" in shop.ask("sensor", "show", "late", code=1).errors
            shop.ask("events", "list")
        finally:
            for name in ("late-sensor-x", "gone-sensor-x"):
                shop.pods.server.request(
                    "DELETE", f"/api/v1/namespaces/{shop.namespace}/pods/{name}?gracePeriodSeconds=0"
                )


def test_why_a_cluster_cannot_be_asked_is_a_sentence(
    shop: Shop, apiserver: ApiServer, namespace: str, tmp_path: Path
) -> None:
    def errors(*words: str, env: dict[str, str | None] | None = None) -> str:
        said = call("events", "list", *words, env=env or shop.env)
        assert said.code == 1, said
        return said.errors

    assert "there is no namespace 'nowhere' on this cluster" in errors("-n", "nowhere")
    assert f"no pod of Argosy runs in namespace '{namespace}'" in errors("-n", namespace)
    assert "has no entry 'other' under contexts" in errors("--context", "other")
    assert "KUBECONFIG names" in errors("--cluster", env={"KUBECONFIG": str(tmp_path / "none")})
    nobody = apiserver.kubeconfig(tmp_path / "nobody", "nobody")
    assert "you may not list pods" in errors("-n", shop.namespace, env={"KUBECONFIG": str(nobody)})
    user = apiserver.service_account(
        shop.namespace, "lister", [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]
    )
    lister = apiserver.kubeconfig(tmp_path / "lister", user)
    assert "you may not get Secret 'argosy-api'" in errors("-n", shop.namespace, env={"KUBECONFIG": str(lister)})


def test_kubectl_finds_the_plug_in_and_its_flags_stand_anywhere(shop: Shop, tmp_path: Path) -> None:
    # Given kubectl, and the program kubectl-argosy on the PATH
    kubectl = shutil.which("kubectl", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if kubectl is None:
        missing("kubectl is not installed; make test-cluster brings it")
    program = tmp_path / "kubectl-argosy"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m argosy.cli._kubectl "$@"\n')
    program.chmod(0o755)
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "KUBECONFIG": str(shop.env["KUBECONFIG"])}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([kubectl, "argosy", *words], capture_output=True, text=True, env=env, cwd=tmp_path)

    for words in (
        ("-n", shop.namespace, "sensor", "list"),
        ("sensor", f"--namespace={shop.namespace}", "list"),
        ("--context", "tests", "sensor", "list", "-n", shop.namespace),
    ):
        assert "bill/send" in run(*words).stdout
    assert "Usage: kubectl argosy sensor" in run("sensor", "--help").stdout
    # Without a flag it is the context's namespace, where nobody runs
    assert "no pod of Argosy runs in namespace 'default'" in run("sensor", "list").stderr


def _captured(shop: Shop) -> list[Any]:
    return shop.ask("events", "capture", "-o", "-").lines


def _until_state(shop: Shop, sensor: str, event: str, state: str) -> str:
    """The id of the action that this event caused, once it is in this state."""
    found: list[str] = []

    def there() -> bool:
        rows = shop.ask("actions", "list", "--sensor", sensor, "--state", state, "-o", "json").json["actions"]
        found.extend(one["id"] for one in rows if event in {each["id"] for each in one["events"]})
        return bool(found)

    next(iter(shop.pods.runs.values())).until(there, f"no action of {event} is {state}")
    return found[0]


@pytest.fixture
def page(apiserver: ApiServer, tmp_path: Path) -> Iterator[tuple[Pods, dict[str, str]]]:
    """What ``docs/how-to/cluster-cli.md`` is about, and the environment of its reader."""
    needed()
    for one in definitions():
        apiserver.apply_yaml(json.dumps(one))
    text = snippets.files(_PAGE)["shop.yaml"]
    (tmp_path / "shop.yaml").write_text(text)
    source, sensor = text.split("---\n")
    bin = tmp_path / "bin"
    bin.mkdir()
    for name, module in (("argosy", "main"), ("kubectl-argosy", "_kubectl")):
        (bin / name).write_text(f'#!/bin/sh\nexec {sys.executable} -m argosy.cli.{module} "$@"\n')
        (bin / name).chmod(0o755)
    here = Path(sys.executable).parent
    env = {**os.environ, "PATH": f"{bin}:{here}:{os.environ['PATH']}", "COLUMNS": "110", "NO_COLOR": "1"}
    with Pods(apiserver, apiserver.namespace("shop"), tmp_path / "pods") as pods:
        pods.start("EventSource", "shop", source.replace("12000", str(free_port())))
        pods.start("Sensor", "ship", sensor)
        for run in pods.runs.values():
            run.until_ready()
        good = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
        bad = {**good, "status": "False", "message": "create of workflows is missing"}
        for manifest, conditions in ((source, [good]), (sensor, [bad, {**bad, "type": "Permitted"}])):
            one = apiserver.apply(yaml.safe_load(manifest))
            path = apiserver.path(one, subresource="status")
            body = {"status": {"conditions": conditions}}
            apiserver.request("PATCH", path, body, content="application/merge-patch+json")
        yield pods, {**env, "KUBECONFIG": str(apiserver.kubeconfig(tmp_path / "kubeconfig"))}


def test_the_page_on_clusters_does_what_it_shows(page: tuple[Pods, dict[str, str]], tmp_path: Path) -> None:
    pods, env = page
    if shutil.which("kubectl", path=env["PATH"]) is None:
        missing("kubectl is not installed; make test-cluster brings it")
    steps = [
        step for snippet in snippets.read(_PAGE) if snippet.mark == "on a cluster" for step in snippets.steps(snippet)
    ]
    assert len(steps) > 8
    for step in steps:
        printed = ""

        def shown(step: snippets.Step = step) -> bool:
            # What an event causes comes in a moment.
            nonlocal printed
            done = subprocess.run(
                ["bash", "-c", step.command], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60
            )
            printed = done.stdout + done.stderr
            return snippets.missing(step.shows, printed) is None

        with contextlib.suppress(AssertionError):
            next(iter(pods.runs.values())).until(shown, seconds=15)
        assert snippets.missing(step.shows, printed) is None, f"{step.command}\n{printed}"
