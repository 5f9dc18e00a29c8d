"""``GET /api/v1/status`` of a run, alone and with workers: what is ready, what last happened, what waits and is dead; and what survives a restart."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.running import Run, free_port, http

SECRET = "hunter2-and-more"


def _object(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    about = {"name": name, "namespace": "shop"}
    return {"apiVersion": "argoproj.io/v1alpha1", "kind": kind, "metadata": about, "spec": spec}


def _sensor(name: str, trigger: dict[str, Any], **more: Any) -> dict[str, Any]:
    dependencies = [{"name": "order", "eventSourceName": "orders", "eventName": "new"}]
    retry = {"steps": 1}
    triggers = [{"template": {"name": "act", **trigger}, "retryStrategy": retry, **more}]
    return _object("Sensor", name, {"dependencies": dependencies, "triggers": triggers})


class _System(Run):
    def __init__(self, folder: Path, *options: str) -> None:
        super().__init__(folder, *options)
        self.port = free_port()
        webhook = {"new": {"port": str(self.port), "endpoint": "/new", "method": "POST"}}
        (folder / "watched").mkdir()
        log = {"log": {"intervalSeconds": 0}}
        shop = [
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "door", "namespace": "shop"},
                "stringData": {"password": SECRET},
            },
            _object("EventSource", "orders", {"webhook": webhook}),
            # The directory of the second event is not there.
            _object(
                "EventSource",
                "reports",
                {
                    "file": {
                        name: {
                            "eventType": "CREATE",
                            "watchPathConfig": {"directory": str(folder / name), "pathRegexp": "."},
                        }
                        for name in ("watched", "missing")
                    }
                },
            ),
            _sensor("logs", log),
            _sensor("waits", log, queue={"suspend": "queue"}),
            _sensor("dies", {"python": {"handler": "faults:fail", "path": str(self.manifests)}}),
        ]
        self.write("all.yaml", yaml.safe_dump_all(shop))
        (self.manifests / "faults.py").write_text(
            f"def fail(events):\n    raise ValueError('amqp://guest:{SECRET}@door')\n"
        )

    def post(self) -> None:
        assert http(f"http://127.0.0.1:{self.port}/new", b"{}")[0] == 200

    def ask(self, query: str = "", **headers: str) -> tuple[int, Any]:
        url = json.loads((self.folder / "data" / "api.json").read_text())["url"]
        code, body = http(f"{url}/api/v1/status{query}", headers=headers)
        return code, json.loads(body)

    def status(self, query: str = "") -> dict[str, dict[str, Any]]:
        token = json.loads((self.folder / "data" / "api.json").read_text())["token"]
        code, answer = self.ask(query, Authorization=f"Bearer {token}")
        assert code == 200, answer
        return {one["name"]: one for one in answer["objects"]}

    def until_all_but_one_are_ready(self) -> None:
        self.until(lambda: self.waiting_for() == ["source 'reports/missing'"])


@pytest.fixture(params=[(), ("--workers", "2")], ids=["alone", "workers"])
def system(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[_System]:
    with _System(tmp_path, *request.param) as system:
        yield system


def test_each_object_says_how_it_is_and_what_the_bus_knows_survives_a_restart(system: _System) -> None:
    system.start()
    system.until_all_but_one_are_ready()
    # Before anything happened, nothing is said to have
    found = system.status()
    assert list(found) == ["orders", "reports", "dies", "logs", "waits"]
    assert found["orders"] == {
        "kind": "EventSource",
        "namespace": "shop",
        "name": "orders",
        "ready": True,
        "waitingFor": None,
        "events": 1,
    }
    assert found["logs"] == {
        "kind": "Sensor",
        "namespace": "shop",
        "name": "logs",
        "ready": True,
        "waitingFor": None,
        "backlog": 0,
        "deadLetters": 0,
    }
    # A source of whose events one cannot be received says why
    reports = found["reports"]
    assert (reports["ready"], reports["events"]) == (False, 2)
    assert reports["waitingFor"].startswith("source 'reports/missing' does not receive: directory ")
    assert "does not exist" in reports["lastError"]["message"]
    # When an event comes
    system.post()
    # Then it is told, and what came of it
    system.until(lambda: system.status()["dies"]["deadLetters"] == 1)
    system.until(lambda: system.status()["waits"]["backlog"] == 1)
    system.until(lambda: "lastFired" in system.status()["logs"])
    found = system.status()
    assert found["orders"]["lastEvent"].endswith("Z")
    for name in ("logs", "waits", "dies"):
        assert found[name]["lastEvent"] >= found["orders"]["lastEvent"]
    assert "lastError" not in found["logs"]
    assert "lastFired" not in found["dies"]
    said = found["dies"]["lastError"]["message"]
    assert said.startswith("trigger 'act': ")
    assert "amqp://guest:***@door" in said
    assert found["dies"]["ready"] is True
    # And a namespace may be asked for alone
    assert system.status("?namespace=shop") == system.status()
    assert system.status("?namespace=other") == {}
    # When the process is killed and started again
    system.end(signal.SIGKILL)
    system.start()
    system.until_all_but_one_are_ready()
    # Then what the bus knows is told as before, and times begin anew
    found = system.status()
    assert (found["dies"]["deadLetters"], found["waits"]["backlog"]) == (1, 1)
    assert "lastEvent" not in found["orders"]
    assert "lastError" not in found["dies"]


def test_only_who_has_the_token_is_answered_in_whichever_header_it_comes(tmp_path: Path) -> None:
    with _System(tmp_path) as system:
        system.start({"ARGOSY_API_TOKEN": "open-sesame"})
        system.until_all_but_one_are_ready()
        right: list[dict[str, str]] = [{"Authorization": "Bearer open-sesame"}, {"X-Argosy-Token": "open-sesame"}]
        for headers in right:
            assert system.ask(**headers)[0] == 200
        wrong: list[dict[str, str]] = [
            {},
            {"X-Argosy-Token": ""},
            {"X-Argosy-Token": "open"},
            {"Authorization": "open-sesame"},
        ]
        for headers in wrong:
            assert system.ask(**headers)[0] == 401
