"""Whatever way a field of an object is written, Nautobot is asked for a change only if there is one."""

from __future__ import annotations

import pytest

from tests.peers.nautobot_actions import Actions, deeds, location, new_name, site
from tests.peers.nautobot_server import NautobotServer

pytestmark = pytest.mark.timeout(900)  # the first run of all makes the database


@pytest.fixture
def fire(nautobot: NautobotServer) -> Actions:
    return Actions(nautobot)


@pytest.fixture
def name() -> str:
    return new_name()


@pytest.fixture(scope="module", name="site")
def _site(nautobot: NautobotServer) -> str:
    return site(nautobot)


@pytest.fixture(scope="module")
def model(nautobot: NautobotServer, site: str) -> None:
    """Custom fields of each type for locations, tags, and a relationship of locations with VLANs."""
    types = "text integer boolean date url json select multi-select markdown"
    for kind in types.split():
        about = {
            "label": f"a {kind}",
            "key": kind.replace("-", "_"),
            "type": kind,
            "content_types": ["dcim.location"],
        }
        made = nautobot.api("POST", "extras/custom-fields/", about)
        for value in ("x", "y", "z") if "select" in kind else ():
            nautobot.api("POST", "extras/custom-field-choices/", {"custom_field": made["id"], "value": value})
    for tag in ("red", "green", "blue"):
        nautobot.api("POST", "extras/tags/", {"name": tag, "content_types": ["dcim.location"]})
    nautobot.api(
        "POST",
        "extras/relationships/",
        {
            "label": "serves",
            "key": "serves",
            "type": "many-to-many",
            "source_type": "dcim.location",
            "destination_type": "ipam.vlan",
        },
    )


class TestEveryKindOfField:
    """Whatever way it is written, Nautobot is asked for a change only if there is one."""

    async def test_of_a_location(self, fire: Actions, nautobot: NautobotServer, model: None, name: str) -> None:
        # Given locations in each other, a tenant and VLANs
        await fire("dcim/locations", location(f"{name}-top"), "name")
        parent = await fire("dcim/locations", location(f"{name}-mid", parent={"name": f"{name}-top"}), "name")
        await fire("tenancy/tenants", {"name": name}, "name")
        for vid in (5, 6):
            await fire("ipam/vlans", {"vid": vid, "name": f"{name}-{vid}", "status": "Active"}, "name")
        # When a location is made with fields of each kind
        wanted = location(
            name,
            parent={"name": f"{name}-mid", "parent": {"name": f"{name}-top"}},
            tenant={"name": name},
            asn=65000,
            time_zone="Europe/Berlin",
            latitude=48.25,
            longitude="11.650000",
            comments="  some space ",
            tags=[{"name": "green"}, {"name": "red"}],
            custom_fields={
                "text": "t",
                "integer": 4,
                "boolean": True,
                "date": "2026-11-25",
                "url": "http://example.com/",
                "json": {"b": [1, {"c": None}], "a": 1},
                "select": "x",
                "multi_select": ["z", "x"],
                "markdown": "**m**",
            },
            relationships={"serves": {"destination": {"objects": [{"name": f"{name}-6"}, {"name": f"{name}-5"}]}}},
        )
        made = await fire("dcim/locations", wanted, "name")
        id = made.detail["id"]
        entries = len(nautobot.changes(id))
        # And wanted again, as it is or in other words
        ids = [nautobot.api("GET", f"ipam/vlans/?name={name}-{vid}")["results"][0]["id"] for vid in (5, 6)]
        parent_url = f"{nautobot.url}/api/dcim/locations/{parent.detail['id']}/"
        otherwise = wanted | {
            "parent": parent_url,
            "status": {"name": "Active"},
            "location_type": {"name": "Site", "nestable": True},
            "tenant": {"name": name, "tenant_group": None},
            "asn": "65000",
            "latitude": "48.25",
            "longitude": 11.65,
            "comments": "some space",
            "tags": [{"name": "red"}, {"name": "green"}],
            "custom_fields": {"integer": "4", "boolean": "true", "multi_select": ["x", "z"]},
            "relationships": {"serves": {"destination": {"objects": ids}}},
        }
        more = wanted | {"parent": {"name": f"{name}-mid", "parent__name": f"{name}-top"}}
        # Then nothing is written
        for each in (wanted, otherwise, more):
            outcome = await fire("dcim/locations", each, "name")
            assert (outcome.detail["did"], outcome.detail.get("changed")) == ("nothing", None)
        assert len(nautobot.changes(id)) == entries
        # And each that differs is found, and written, and then as it should be
        for field, value in {
            "parent": {"name": f"{name}-top"},
            "tenant": None,
            "asn": 65001,
            "time_zone": "Asia/Kathmandu",
            "latitude": "48.26",
            "comments": "",
            "tags": [{"name": "blue"}],
            "custom_fields": {"json": {"a": 1}, "select": "y", "boolean": False},
            "relationships": {"serves": {"destination": {"objects": [ids[0]]}}},
        }.items():
            changed = wanted | {field: value}
            outcome = await fire("dcim/locations", changed, "name")
            assert {each.split(".")[0] for each in outcome.detail["changed"]} >= {field}, field
            outcome = await fire("dcim/locations", changed, "name")
            assert outcome.detail["did"] == "nothing", (field, outcome.detail)

    async def test_of_what_nautobot_writes_in_a_form_of_its_own(
        self, fire: Actions, nautobot: NautobotServer, model: None, name: str
    ) -> None:
        # Given a device with an interface and an address
        await fire("dcim/locations", location(name), "name")
        await fire("dcim/manufacturers", {"name": name}, "name")
        await fire("dcim/device-types", {"model": name, "manufacturer": {"name": name}}, "model")
        await fire("extras/roles", {"name": name, "content_types": ["dcim.device"]}, "name")
        device = {
            "name": name,
            "location": {"name": name},
            "role": name,
            "status": "Active",
            "device_type": {"model": name},
        }
        interface = {
            "device": {"name": name},
            "name": "eth0",
            "type": "1000base-t",
            "status": "Active",
            "mac_address": "aa:bb:cc:00:11:22",
            "mtu": "9000",
            "enabled": "true",
            "mode": "tagged",
            "tagged_vlans": [],
        }
        namespace = await fire("ipam/namespaces", {"name": name}, "name")
        prefix = {"prefix": "2001:db8::/64", "namespace": {"name": name}, "status": "Active", "type": "network"}
        address = {
            "address": "2001:DB8:0::1/64",
            "namespace": {"name": name},
            "status": "Active",
            "dns_name": "a.example",
        }
        for endpoint, object_, key in (
            ("dcim/devices", device, ["name", "location"]),
            ("dcim/interfaces", interface, ["device", "name"]),
            ("ipam/prefixes", prefix, ["prefix", "namespace"]),
            ("ipam/ip-addresses", address, ["address", "namespace"]),
        ):
            # When it is wanted twice, then it is made once and written no more
            made = await fire(endpoint, object_, *key)
            again = await fire(endpoint, object_, *key)
            assert (made.detail["did"], again.detail["did"]) == ("create", "nothing"), again.detail
            assert deeds(nautobot, made.detail["id"])[0] == "create"
            assert again.detail["id"] == made.detail["id"]
        assert namespace.detail["did"] == "create"
        # And lists that Nautobot does not show unless it is asked are compared, too
        await fire("ipam/vlans", {"vid": 5, "name": name, "status": "Active"}, "name")
        for did in ("update", "nothing"):
            outcome = await fire("dcim/interfaces", interface | {"tagged_vlans": [{"name": name}]}, "device", "name")
            assert outcome.detail["did"] == did

    async def test_of_custom_fields_of_which_some_are_defaults(
        self, fire: Actions, nautobot: NautobotServer, model: None, name: str
    ) -> None:
        wanted = location(name, custom_fields={"text": "wanted"})
        defaults = {"custom_fields": {"text": "default", "integer": 4}}
        made = await fire("dcim/locations", wanted, "name", defaults=defaults)
        path = f"dcim/locations/{made.detail['id']}/"
        there = nautobot.api("GET", path)["custom_fields"]
        assert (there["text"], there["integer"]) == ("wanted", 4)
        # And what somebody writes into a default stays
        nautobot.api("PATCH", path, {"custom_fields": {"integer": 5}})
        assert (await fire("dcim/locations", wanted, "name", defaults=defaults)).detail["did"] == "nothing"

    async def test_of_many_kinds_of_objects(
        self, fire: Actions, nautobot: NautobotServer, site: str, name: str
    ) -> None:
        own = {"name": name}
        device = {
            **own,
            "location": own,
            "role": own,
            "status": "Active",
            "device_type": {"model": name, "manufacturer__name": name},
            "rack": own,
            "position": "3",
            "face": "front",
            "local_config_context_data": {"a": [1, 2, {"b": None}]},
        }
        machine = {**own, "cluster": own, "status": "Active", "vcpus": 4, "memory": "2048"}
        prefix = {"prefix": "10.0.0.0/24", "status": "Active", "type": "pool", "namespace": own}
        permission = {**own, "object_types": ["dcim.device"], "actions": ["view", "add"], "users": [{"username": name}]}
        context = {**own, "weight": "100", "data": {"x": {"y": [2, 1]}}, "locations": [own], "is_active": True}
        for endpoint, object_, *key in (
            ("dcim/locations", location(name, physical_address="a\nb"), "name"),
            ("dcim/manufacturers", own, "name"),
            ("dcim/device-types", {"model": name, "manufacturer": own, "u_height": "2"}, "model", "manufacturer"),
            ("extras/roles", {**own, "content_types": ["dcim.device", "ipam.prefix"]}, "name"),
            (
                "dcim/racks",
                {**own, "location": own, "status": "Active", "u_height": "42", "width": 19},
                "name",
                "location",
            ),
            ("dcim/devices", device, "name", "location=location.name"),
            ("ipam/services", {**own, "device": own, "protocol": "tcp", "ports": ["443", 80]}, "name", "device"),
            ("ipam/namespaces", own, "name"),
            ("ipam/prefixes", prefix, "prefix", "namespace"),
            ("extras/config-contexts", context, "name"),
            ("virtualization/cluster-types", own, "name"),
            ("virtualization/clusters", {**own, "cluster_type": own, "location": own}, "name"),
            ("virtualization/virtual-machines", machine, "name", "cluster"),
            ("users/users", {"username": name, "password": "never shown", "is_staff": "false"}, "username"),
            ("users/permissions", permission, "name"),
        ):
            made = await fire(endpoint, object_, *key)
            again = await fire(endpoint, object_, *key)
            assert (made.detail["did"], again.detail["did"]) == ("create", "nothing"), (endpoint, again.detail)
