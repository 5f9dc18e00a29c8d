"""What is done about the notifications of OpenStack: one function a rule, called by the sensors beside this file.

The functions keep an inventory in SQLite. A rule of your own would call an API instead; three habits are worth keeping:

* An action may be tried again, and a notification may come late. So each function can be repeated without harm: what it
  writes has an id of its own, and what is older never replaces what is newer.
* What can never succeed raises ``Rejected``: it becomes a dead letter at once, where a person sees it. Every other
  exception is a try that failed and is repeated.
* What a function returns is kept with the action, and stands in the log.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from argosy.errors import Rejected

Events = Mapping[str, Any]


def port_changed(events: Events, inventory: str) -> str:
    """A port of a bare metal node was made, changed or deleted: which switch port is which MAC address?"""
    notice, port = _ironic(events)
    if notice["event_type"] == "baremetal.port.delete.end":
        return _gone(inventory, "port", port["uuid"], notice["timestamp"])
    link = port.get("local_link_connection") or {}
    found = {
        "node": port["node_uuid"],
        "mac": port["address"].lower(),
        "switch": link.get("switch_info", ""),
        "switch_port": link.get("port_id", ""),
    }
    return _keep(inventory, "port", port["uuid"], notice["timestamp"], found)


def node_changed(events: Events, inventory: str) -> str:
    """A node was made, changed, provisioned or switched: in what state is it, and whose is it?"""
    notice, node = _ironic(events)
    found = {
        "name": node.get("name") or "",
        "state": node["provision_state"],
        "power": node.get("power_state") or "unknown",
        "lessee": _dashed(node["lessee"]) if node.get("lessee") else "",
    }
    return _keep(inventory, "node", node["uuid"], notice["timestamp"], found)


def server_deleted(events: Events, inventory: str, node: str, project: str) -> str:
    """A server that had storage is gone: note that its volumes can go, once per server."""
    notice = events["notice"].data["body"]
    server = notice["payload"]["instance_id"]
    release = {"node": node, "project": _dashed(project)}
    return _keep(inventory, "storage-to-release", server, notice["timestamp"], release)


def network_changed(events: Events, inventory: str) -> str:
    """A network was made, changed or deleted. Of one that is gone Neutron tells the id alone."""
    notice = events["notice"].data["body"]
    payload = notice["payload"]
    if notice["event_type"] == "network.delete.end":
        return _gone(inventory, "network", payload["network_id"], notice["timestamp"])
    network = payload["network"]
    found = {"name": network["name"], "vni": network.get("provider:segmentation_id"), "mtu": network.get("mtu")}
    return _keep(inventory, "network", network["id"], notice["timestamp"], found)


def segment_range_changed(events: Events, inventory: str, minimum: int, maximum: int) -> str:
    """A range of VXLAN numbers was made, changed or deleted."""
    notice = events["notice"].data["body"]
    segments = notice["payload"]["network_segment_range"]
    if notice["event_type"] == "network_segment_range.delete.end":
        return _gone(inventory, "segment-range", segments["id"], notice["timestamp"])
    if minimum > maximum:
        raise Rejected(f"segment range {segments['name']!r} goes from {minimum} to {maximum}; correct it in Neutron")
    found = {"name": segments["name"], "minimum": minimum, "maximum": maximum}
    return _keep(inventory, "segment-range", segments["id"], notice["timestamp"], found)


def project_changed(events: Events, inventory: str) -> str:
    """A project was made, changed or deleted. Keystone sends the same for a domain, which is left alone."""
    notice = events["notice"].data["body"]
    target = notice["payload"]["target"]
    if "domain" in target.get("typeURI", ""):
        return f"{target['id']} is a domain; nothing to do"
    if notice["event_type"] == "identity.project.deleted":
        return _gone(inventory, "project", _dashed(target["id"]), notice["timestamp"])
    return _keep(inventory, "project", _dashed(target["id"]), notice["timestamp"], {"name": target.get("name", "")})


def interface_changed(events: Events, inventory: str) -> str:
    """Somebody changed an interface in Nautobot."""
    change = events["change"].data["body"]
    interface = change["data"]
    if change["event"] == "deleted":
        return _gone(inventory, "interface", interface["id"], change["timestamp"])
    found = {"name": interface["name"], "device": interface["device"]["name"], "by": change["username"]}
    return _keep(inventory, "interface", interface["id"], change["timestamp"], found)


def alerts_fired(events: Events, inventory: str) -> str:
    """Alertmanager told of alerts: note every agent of Neutron that is down. Others are not ours."""
    alerts = events["alerts"].data["body"]["alerts"]
    down = [one for one in alerts if one["status"] == "firing" and one["labels"]["alertname"] == "NeutronAgentDown"]
    for alert in down:
        host = alert["labels"]["hostname"]
        _keep(inventory, "agent-down", host, alert["startsAt"], {"agent": alert["labels"]["id"]})
    return f"{len(down)} of {len(alerts)} alerts tell of an agent that is down"


def _ironic(events: Events) -> tuple[dict[str, Any], dict[str, Any]]:
    """The notification, and the object inside Ironic's versioned payload."""
    notice = events["notice"].data["body"]
    return notice, notice["payload"]["ironic_object.data"]


def _dashed(project: str) -> str:
    """A project's id as a UUID; OpenStack writes it without dashes."""
    try:
        return str(uuid.UUID(project))
    except ValueError as error:
        raise Rejected(f"{project!r} is not the id of a project") from error


@contextlib.contextmanager
def _opened(inventory: str) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(inventory, timeout=30)) as database, database:
        database.execute("CREATE TABLE IF NOT EXISTS things (kind, id, at, data, PRIMARY KEY (kind, id))")
        yield database


def _write(inventory: str, kind: str, id: str, at: str, data: str | None) -> bool:
    """Whether it was written; it is not if something newer is there. What is gone keeps its row, without data."""
    with _opened(inventory) as database:
        done = database.execute(
            "INSERT INTO things VALUES (?, ?, ?, ?) ON CONFLICT (kind, id) DO UPDATE"
            " SET at = excluded.at, data = excluded.data WHERE excluded.at >= things.at",
            (kind, id, at, data),
        )
        return done.rowcount > 0


def _keep(inventory: str, kind: str, id: str, at: str, data: dict[str, Any]) -> str:
    written = _write(inventory, kind, id, at, json.dumps(data))
    return f"kept {kind} {id}" if written else f"{kind} {id} is newer in the inventory"


def _gone(inventory: str, kind: str, id: str, at: str) -> str:
    written = _write(inventory, kind, id, at, None)
    return f"{kind} {id} is gone" if written else f"{kind} {id} is newer in the inventory"
