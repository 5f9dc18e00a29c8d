"""The page on Nautobot tells the truth: its manifests run unchanged between a real RabbitMQ and a real Nautobot."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.brokers.rabbitmq import NotThere, RabbitMQ, installed
from tests.cli.running import Run
from tests.e2e.oslo_replay import replay
from tests.examples import snippets
from tests.missing import missing
from tests.peers.nautobot_server import TOKEN, NautobotServer

pytestmark = pytest.mark.timeout(900)  # the first run of all makes the database

_PAGE = snippets.ROOT / "docs" / "how-to" / "keep-nautobot-in-step.md"
_PROJECT = "3a69b98463964e19b295f87cffa5db52"
_NETWORK = "4b2f1c9e-1d2c-4a43-8a8e-0b1c0c6d5f10"


@pytest.fixture
def rabbitmq(tmp_path: Path) -> Iterator[RabbitMQ]:
    try:
        installed()
    except NotThere as reason:
        missing(reason)
    with RabbitMQ(tmp_path / "rabbitmq") as broker:
        yield broker


@pytest.fixture
def run(run: Run, rabbitmq: RabbitMQ, nautobot: NautobotServer) -> Run:
    run.keep("rabbitmq", username="argosy", password=rabbitmq.passwords["argosy"])
    run.keep("nautobot", token=TOKEN)
    elsewhere = {
        "nautobot.nautobot.svc.cluster.local:80": nautobot.port,
        "rabbitmq.openstack.svc.cluster.local:5672": rabbitmq.port,
    }
    run.options += tuple(word for name, port in elsewhere.items() for word in ("--resolve", f"{name}=127.0.0.1:{port}"))
    run.write("nautobot.yaml", snippets.files(_PAGE)["nautobot.yaml"])
    return run


def _told(event_type: str, payload: Any) -> dict[str, Any]:
    return {"publisher_id": "host-1", "event_type": event_type, "context": {}, "payload": payload}


def _project(event_type: str) -> dict[str, Any]:
    return _told(event_type, {"target": {"id": _PROJECT, "typeURI": "data/security/project"}})


def _network(event_type: str, name: str) -> dict[str, Any]:
    about = {"id": _NETWORK, "name": name, "project_id": _PROJECT, "provider:network_type": "vlan"}
    return _told(event_type, {"network": {**about, "provider:segmentation_id": 1860}})


def _prepare(nautobot: NautobotServer) -> None:
    nautobot.api("POST", "tenancy/tenant-groups/", {"name": "OpenStack"})
    nautobot.api("POST", "ipam/vlan-groups/", {"name": "OpenStack"})
    nautobot.api("POST", "extras/tags/", {"name": "openstack", "content_types": ["ipam.vlan"]})
    field = {"key": "openstack_id", "label": "OpenStack id", "type": "text", "content_types": ["ipam.vlan"]}
    nautobot.api("POST", "extras/custom-fields/", field)


def test_projects_and_networks_are_kept_and_no_kill_does_anything_twice(
    nautobot: NautobotServer, rabbitmq: RabbitMQ, run: Run
) -> None:
    def found(path: str) -> list[Any]:
        return list(nautobot.api("GET", f"{path}&depth=1")["results"])

    def vlans() -> list[Any]:
        return found(f"ipam/vlans/?cf_openstack_id={_NETWORK}")

    def tenants() -> list[Any]:
        return found(f"tenancy/tenants/?name={_PROJECT}")

    def deeds(id: str) -> list[str]:
        return [deed for deed, _ in nautobot.changes(id)]

    # Given the page's manifests, in a process that dies as soon as Nautobot has taken its first action
    _prepare(nautobot)
    run.start({"CRASH_AT": "action.fired"})
    run.until_ready()
    # When a network is made whose project is not known yet, then it waits for it
    replay(rabbitmq.url + "/", "neutron", [_network("network.create.end", "blue")])
    run.until_said("tenant: Related object not found")
    # When the project is told, then the process dies
    replay(rabbitmq.url + "/", "keystone", [_project("identity.project.created")])
    run.until(lambda: run.ended, "it did not die")
    # And when it is back, both are there, and each was made once
    run.start()
    run.until_said(f"tenancy.tenant '{_PROJECT}' is as it should be")
    run.until_said("made ipam.vlan 'blue (1860)'")
    (vlan,), (tenant,) = vlans(), tenants()
    assert (vlan["vid"], vlan["name"], vlan["status"]["name"]) == (1860, "blue", "Active")
    assert vlan["tenant"]["id"] == tenant["id"]
    assert [tag["name"] for tag in vlan["tags"]] == ["openstack"]
    assert tenant["tenant_group"]["name"] == "OpenStack"
    assert deeds(tenant["id"]) == ["create"]

    # When a person gives the VLAN another status, and the network gets another name; and the process dies after that, too
    nautobot.api("PATCH", f"ipam/vlans/{vlan['id']}/", {"status": "Reserved"})
    before = len(deeds(vlan["id"]))
    assert run.end() == 0
    run.start({"CRASH_AT": "action.fired"})
    run.until_ready()
    replay(rabbitmq.url + "/", "neutron", [_network("network.update.end", "green")])
    run.until(lambda: run.ended, "it did not die")
    run.start()
    run.until_said("ipam.vlan 'green (1860)' is as it should be")
    # Then it is the same VLAN, written once, with the person's status
    (now,) = vlans()
    assert (now["id"], now["name"], now["status"]["name"]) == (vlan["id"], "green", "Reserved")
    assert deeds(vlan["id"])[before:] == ["update"]

    # When both go, then they go, whichever is told first
    replay(rabbitmq.url + "/", "keystone", [_project("identity.project.deleted")])
    replay(rabbitmq.url + "/", "neutron", [_told("network.delete.end", {"network_id": _NETWORK})])
    run.until(lambda: not vlans() and not tenants(), "they are still there")
    assert run.metric("argosy_actions_dead_lettered_total") == 0
    assert TOKEN not in run.log.read_text()
    assert run.end() == 0
