"""``examples/openstack`` does what its README says: both variants, from a real RabbitMQ, in the README's own words."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import secrets
import shlex
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.brokers.rabbitmq import RabbitMQ
from tests.cli.running import Run
from tests.e2e.oslo_replay import replay
from tests.kubernetes.apiserver import ApiServer

EXAMPLE = Path(__file__).parents[2] / "examples" / "openstack"
IRONIC = "127.0.0.1:6385"


class Example(Run):
    """The example in a folder of its own, run by a command of its README; only addresses are this test's."""

    def __init__(self, folder: Path, rabbitmq: RabbitMQ, variant: str) -> None:
        super().__init__(folder)
        self.home = folder / "openstack"
        shutil.copytree(EXAMPLE, self.home)
        # The manifests say which ports to listen on: an address of the loopback that nobody else uses.
        self.host = "127." + ".".join(str(secrets.randbelow(254) + 1) for _ in range(3))
        self.rabbitmq = rabbitmq.url + "/"
        (self.home / "laptop" / "credentials.yaml").write_text(
            (EXAMPLE / "laptop" / "credentials.yaml")
            .read_text()
            .replace("username: guest", "username: argosy")
            .replace("password: guest", f"password: {rabbitmq.passwords['argosy']}")
        )
        (line,) = re.findall(rf"^argosy run .*\b{variant}\b.*$", (EXAMPLE / "README.md").read_text(), re.MULTILINE)
        assert "127.0.0.1:5672" in line
        line = line.replace("127.0.0.1:5672", f"127.0.0.1:{rabbitmq.port}").replace(IRONIC, f"{self.host}:6385")
        self.words = shlex.split(line)[1:]

    def begin(self, **environment: str) -> None:
        command = [sys.executable, *self.program, *self.words, "--host", self.host, "--data", str(self.folder / "data")]
        command += ["--admin", f"127.0.0.1:{self.admin}", "--log-format", "text"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stderr=log, cwd=self.home, env=os.environ | environment)
        self.until_ready()

    def notify(self) -> None:
        """As a reader does."""
        words = ["notify.py", "--rabbitmq", self.rabbitmq, "--webhooks", f"http://{self.host}:12000"]
        done = subprocess.run([sys.executable, *words], cwd=self.home, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr

    def things(self) -> dict[tuple[str, str], Any]:
        """The inventory: what there is, by kind and id; None for what is gone."""
        if not (self.home / "inventory.db").exists():
            return {}
        database = sqlite3.connect(self.home / "inventory.db", timeout=30)
        try:
            rows = database.execute("SELECT kind, id, data FROM things").fetchall()
        except sqlite3.OperationalError:
            rows = []  # the table is being made
        finally:
            database.close()
        return {(kind, id): data and json.loads(data) for kind, id, data in rows}


def _sent() -> Any:
    """The program that a reader sends with, as a module: it holds what is sent."""
    spec = importlib.util.spec_from_file_location("openstack_notify", EXAMPLE / "notify.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _activated() -> dict[str, str]:
    """The environment of a reader who has activated ``.venv``."""
    return {**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}


def test_the_rules_run_in_one_process(rabbitmq: RabbitMQ, tmp_path: Path, runs: list[Run]) -> None:
    # Given the example, started as its README says
    run = Example(tmp_path, rabbitmq, "in-process")
    runs.append(run)
    run.begin()

    # When a busy minute is sent
    run.notify()

    # Then the inventory holds what was told, and what fits no rule is not in it
    sent = _sent()
    project = "3a69b984-6396-4e19-b295-f87cffa5db52"
    wanted = {
        ("port", sent.PORT): {
            "node": sent.NODE,
            "mac": "52:54:00:ab:cd:01",
            "switch": "leaf-7",
            "switch_port": "Ethernet1/12",
        },
        ("node", sent.NODE): {"name": "r12-u20", "state": "clean failed", "power": "unknown", "lessee": ""},
        ("storage-to-release", sent.SERVER): {"node": sent.NODE, "project": project},
        ("network", sent.NETWORK): {"name": "tenant-net", "vni": 1860, "mtu": 9000},
        ("segment-range", sent.RANGE): {"name": "fabric-1", "minimum": 1800, "maximum": 3799},
        ("project", project): {"name": ""},
        ("interface", sent.REQUESTS["/nautobot"]["data"]["id"]): {"name": "eth0", "device": "r12-u20", "by": "alex"},
        ("agent-down", "net-1"): {"agent": "agent-of-net-1"},
        ("agent-down", "net-3"): {"agent": "agent-of-net-3"},
    }
    run.until(lambda: run.things() == wanted, "not the inventory")
    (look,) = re.findall(r"^python -c .*$", (EXAMPLE / "README.md").read_text(), re.MULTILINE)
    shown = subprocess.run(["bash", "-c", look], cwd=run.home, env=_activated(), capture_output=True, text=True)
    assert len(shown.stdout.splitlines()) == len(wanted) and sent.NODE in shown.stdout, shown.stderr

    # And Ironic was asked for the node, and the range that cannot be is a dead letter, with the reason
    run.until_said(f"PUT http://ironic.openstack.svc.cluster.local:6385/v1/nodes/{sent.NODE}/", "answered 200")
    run.until_said('"body":{"target":"manage"}')
    run.until(lambda: run.metric("argosy_actions_dead_lettered_total", trigger_name="keep-range") == 1)
    run.until_said("goes from 3799 to 1800; correct it in Neutron")
    run.until(lambda: run.metric("argosy_events_filtered_total", sensor_name="nova-server-deleted") == 1)
    run.until(lambda: run.metric("argosy_events_filtered_total", sensor_name="keystone-projects") == 1)

    # And when the process is away, the queues keep what oslo.messaging sends; a late, older one changes nothing
    assert run.end() == 0
    payload = {"target": {"id": sent.PROJECT, "typeURI": "data/security/project"}}
    told = {"publisher_id": "identity.host-1", "context": {"request_id": "req-1"}, "payload": payload}
    replay(run.rabbitmq, "keystone", [told | {"event_type": "identity.project.deleted"}])
    run.begin()
    run.until(lambda: run.things() == wanted | {("project", project): None}, "the project is not gone")
    assert run.end() == 0


def test_the_rules_make_workflows(rabbitmq: RabbitMQ, apiserver: ApiServer, tmp_path: Path, runs: list[Run]) -> None:
    # Given a cluster as the README prepares it, and the example
    apiserver.namespace("openstack")
    apiserver.apply_yaml((EXAMPLE / "workflows" / "templates.yaml").read_text())
    run = Example(tmp_path, rabbitmq, "workflows")
    runs.append(run)
    path = "/apis/argoproj.io/v1alpha1/namespaces/openstack/workflows"
    before = {one["metadata"]["uid"] for one in apiserver.request("GET", path)["items"]}
    run.begin(KUBECONFIG=str(apiserver.kubeconfig(tmp_path / "kubeconfig")))

    def made() -> list[dict[str, Any]]:
        return [one for one in apiserver.request("GET", path)["items"] if one["metadata"]["uid"] not in before]

    def parameters(workflow: dict[str, Any]) -> dict[str, str]:
        return {one["name"]: one.get("value", "") for one in workflow["spec"]["arguments"]["parameters"]}

    # When a busy minute is sent, and a service user gets a Secret
    sent = _sent()
    run.notify()
    about = {"name": "robot-credentials", "labels": {"openstack.example.com/user": "robot"}}
    credentials = {"metadata": about, "stringData": {"password": "only for this test"}}
    apiserver.request("POST", "/api/v1/namespaces/openstack/secrets", credentials)

    # Then there is a Workflow for each rule that holds, and no other
    wanted = Counter(
        {
            "ironic-objects": 2,
            "ironic-clean-failed": 1,
            "nova-server-deleted": 1,
            "neutron-networks": 1,
            "neutron-segment-ranges": 2,
            "keystone-projects": 1,
            "nautobot-interfaces": 1,
            "neutron-agent-down": 1,
            "service-users": 1,
        }
    )
    sensor = "events.argoproj.io/sensor"
    run.until(lambda: sum(run.metric("argo_events_action_triggered_total", sensor_name=n) for n in wanted) == 11)
    for name in ("nova-server-deleted", "keystone-projects"):
        run.until(lambda name=name: run.metric("argosy_events_filtered_total", sensor_name=name) == 1)
    found = made()
    assert Counter(one["metadata"]["labels"][sensor] for one in found) == wanted
    by_sensor = {one["metadata"]["labels"][sensor]: one for one in found}

    # And each carries what its rule takes out of the event
    assert parameters(by_sensor["nova-server-deleted"]) == {
        "node": sent.NODE,
        "project": sent.PROJECT,
    }
    assert parameters(by_sensor["ironic-clean-failed"]) == {"node": sent.NODE}
    assert {
        parameters(one)["maximum"] for one in found if one["metadata"]["labels"][sensor] == "neutron-segment-ranges"
    } == {
        "1800",
        "3799",
    }
    assert parameters(by_sensor["keystone-projects"]) == {
        "rule": "identity.project.created",
        "project": sent.PROJECT,
    }
    assert by_sensor["keystone-projects"]["spec"]["workflowTemplateRef"]["name"] == "keystone-project"
    network = json.loads(parameters(by_sensor["neutron-networks"])["event"])
    assert (network["event_type"], network["payload"]["network"]["mtu"]) == ("network.create.end", 9000)
    assert parameters(by_sensor["neutron-agent-down"]) == {"host": "net-1", "agent": "agent-of-net-1"}
    user = by_sensor["service-users"]
    assert parameters(user) == {"user": "robot"}
    assert user["spec"]["volumes"][0]["secret"]["secretName"] == "robot-credentials"
    # And the password is nowhere but in its Secret
    assert "only for this test" not in json.dumps(found) + run.log.read_text()
    assert run.end() == 0


@pytest.mark.parametrize("variant", ["in-process", "workflows"])
def test_the_example_lints_clean(variant: str) -> None:
    words = ["lint", "--strict", "event-sources", variant, "laptop"]
    done = subprocess.run(
        [sys.executable, "-m", "argosy.cli.main", *words], cwd=EXAMPLE, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout
