"""The ``nautobot`` trigger against a real Nautobot, whose change log tells what each action did there."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, ClassVar

import pytest

from argosy.errors import Rejected, TriggerError
from argosy.manifests.fields import Json
from argosy.triggers._nautobot_object import id_of
from tests.conformance.sent import ACTION
from tests.conformance.trigger import Receiver, Stage, TriggerSuite
from tests.peers.nautobot_gateway import Gateway
from tests.peers.nautobot_server import NOBODY, READER, TOKEN, NautobotServer
from tests.unit.triggers.receivers import Answer

_numbers = itertools.count(1)
SECRETS = {("nautobot", "token"): TOKEN}
SECRET: Json = {"name": "nautobot", "key": "token"}
Fire = Callable[..., Awaitable[Any]]


class _Vlans(Receiver):
    """VLANs without a group, of which Nautobot lets as many be alike as one likes: effects can only be told by their ids."""

    secrets: ClassVar[dict[tuple[str, str], str]] = SECRETS
    private = (TOKEN,)
    deduplicates = True
    hastened: ClassVar[dict[str, Json]] = {"timeout": 1}

    def __init__(self, server: NautobotServer, gateway: Gateway) -> None:
        self._server, self._gateway = server, gateway
        self._name = f"vlan-{next(_numbers)}"
        self.address = f"127.0.0.1:{gateway.port}"
        self._good: dict[str, Json] = {
            "url": gateway.url,
            "token": SECRET,
            "endpoint": "ipam/vlans",
            "operation": "create",
            "object": {"name": self._name, "vid": 7, "status": "Active"},
        }
        self.block = self._good

    def ids(self) -> list[str]:
        """What is there, in the order in which it was made."""
        found = self._server.api("GET", f"ipam/vlans/?name={self._name}&limit=100")["results"]
        return [each["id"] for each in sorted(found, key=lambda each: each["created"])]

    async def effects(self) -> list[str]:
        return [_ACTIONS[id] for id in await asyncio.to_thread(self.ids)]

    async def arrived(self) -> Json:
        return next(each.shown() for each in reversed(self._gateway.requests) if each.method == "POST")

    async def knows(self, private: str) -> bool:
        return bool(await self.effects())  # nobody is let in without the token

    async def refuse(self) -> None:
        self.block = {**self._good, "object": {"name": self._name, "vid": 9999, "status": "Active"}}

    async def fail(self) -> None:
        self._gateway.instead = Answer(
            503, body=b'{"detail": "Service temporarily unavailable, please try again later."}'
        )

    async def limit(self, patch: pytest.MonkeyPatch) -> float:
        self._gateway.instead = Answer(429, {"Retry-After": "7"}, b'{"detail": "Request was throttled."}')
        return 7

    def speak_tls(self, patch: pytest.MonkeyPatch) -> None:
        self.block = {**self._good, "url": f"https://{self.address}"}

    async def hold(self) -> None:
        self._gateway.hold()

    async def release(self) -> None:
        self.block, self._gateway.instead = self._good, None
        self._gateway.release()

    async def held(self) -> int:
        return self._gateway.waiting


# An id tells nothing of the action to which it belongs, so it is looked up among those of the suite.
_NAMES = (ACTION, "before", "cut-off", "well", "after-fail", "after-release", "after-refuse", "after")
_ACTIONS = {id_of(name): name for name in (*_NAMES, *(f"action-{number}" for number in range(10)))}


class TestNautobot(TriggerSuite):
    kind = "nautobot"
    _ok: ClassVar[dict[str, Json]] = {
        "url": "http://127.0.0.1:8000",
        "token": SECRET,
        "endpoint": "ipam/vlans",
        "key": ["name"],
        "object": {"name": "a"},
    }
    bad_blocks: ClassVar[list[tuple[dict[str, Json], str]]] = [
        ({}, "url"),
        ({**_ok, "url": "nautobot.example.com"}, "is no address"),
        ({**_ok, "url": "http://admin:admin@127.0.0.1:8000"}, "names a user or a password"),
        ({**_ok, "endpoint": "vlans"}, "write the path of the API"),
        ({**_ok, "endpoint": "ipam/vlans/../../x"}, "write the path of the API"),
        ({**_ok, "operation": "replace"}, "operation"),
        ({**_ok, "key": []}, "upsert needs 'key'"),
        ({**_ok, "key": ["name = a"]}, "filter=path.in.object"),
        ({**_ok, "operation": "delete", "defaults": {"vid": 1}}, "delete makes no object"),
        ({**_ok, "timeout": -1}, "timeout"),
    ]

    @pytest.fixture
    async def receiver(self, nautobot: NautobotServer) -> AsyncIterator[_Vlans]:
        async with Gateway(nautobot.port) as gateway:
            vlans = _Vlans(nautobot, gateway)
            yield vlans
        # The next test's actions have the same ids.
        left = [{"id": id} for id in vlans.ids()]
        if left:
            nautobot.api("DELETE", "ipam/vlans/", left)


@pytest.fixture
async def fire(nautobot: NautobotServer) -> AsyncIterator[Fire]:
    async def fire(endpoint: str, object_: Json, *key: str, token: str = TOKEN, id: str = "", **fields: Json) -> Any:
        """Each in a process of its own, as it were."""
        stage = Stage("nautobot", secrets={("nautobot", "token"): token})
        block = {
            "url": nautobot.url,
            "token": SECRET,
            "endpoint": endpoint,
            "object": object_,
            "key": list(key),
            **fields,
        }
        async with stage.open() as trigger:
            return await stage.fire(trigger, block, id=id or f"action-of-{next(_numbers)}")

    yield fire


@pytest.fixture
def name() -> str:
    """A name that nothing has yet."""
    return f"n-{next(_numbers)}"


@pytest.fixture(scope="module")
def site(nautobot: NautobotServer) -> str:
    """A type of locations that may stand alone or in another, and hold everything."""
    content_types = ["dcim.device", "ipam.vlan", "ipam.prefix", "dcim.rack"]
    about = {"name": "Site", "content_types": content_types, "nestable": True}
    return str(nautobot.api("POST", "dcim/location-types/", about)["name"])


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


def _location(name: str, **fields: Json) -> dict[str, Json]:
    return {"name": name, "location_type": {"name": "Site"}, "status": "Active", **fields}


def _deeds(nautobot: NautobotServer, id: str) -> list[str]:
    return [deed for deed, _ in nautobot.changes(id)]


class TestUpsert:
    async def test_it_makes_then_leaves_then_changes_only_what_differs(
        self, fire: Fire, nautobot: NautobotServer, site: str, name: str
    ) -> None:
        # When there is no such object, then it is made
        made = await fire("dcim/locations", _location(name), "name")
        id = made.detail["id"]
        assert made.message == f"made dcim.location '{name}'"
        url = f"{nautobot.url}/api/dcim/locations/{id}/"
        assert made.detail == {"did": "create", "id": id, "url": url, "display": name}
        # When there is, and it is as it should be, then nothing is written
        left = await fire("dcim/locations", _location(name), "name")
        assert left.message == f"dcim.location '{name}' is as it should be"
        assert left.detail == {"did": "nothing", "id": id, "url": url, "display": name}
        # When something differs, then that is written
        changed = await fire("dcim/locations", _location(name, status="Planned", description="new"), "name")
        assert changed.message == f"changed status, description of dcim.location '{name}'"
        assert changed.detail["changed"] == {
            "status": {"from": "Active", "to": "Planned"},
            "description": {"from": "", "to": "new"},
        }
        assert _deeds(nautobot, id) == ["create", "update"]

    async def test_what_people_do_to_other_fields_stays(
        self, fire: Fire, nautobot: NautobotServer, site: str, name: str
    ) -> None:
        # Given an object that was made with defaults, and to which somebody has done something since
        wanted = {"name": name, "location_type": {"name": "Site"}}
        made = await fire("dcim/locations", wanted, "name", defaults={"status": "Planned", "facility": "f"})
        path = f"dcim/locations/{made.detail['id']}/"
        nautobot.api("PATCH", path, {"status": "Active", "comments": "mine", "facility": ""})
        # When the object is wanted again, then that stays
        left = await fire("dcim/locations", wanted, "name", defaults={"status": "Planned", "facility": "f"})
        assert left.detail["did"] == "nothing"
        now = nautobot.api("GET", f"{path}?depth=1")
        assert (now["status"]["name"], now["comments"], now["facility"]) == ("Active", "mine", "")

    async def test_ten_at_once_make_one(self, fire: Fire, nautobot: NautobotServer, site: str, name: str) -> None:
        # Given places that stand alone, of which Nautobot's database would take any number by one name
        async def tried(number: int) -> Any:
            while True:  # as the runtime does
                try:
                    return await fire("dcim/locations", _location(name, description=f"by {number}"), "name")
                except Rejected:
                    raise
                except TriggerError:
                    continue

        outcomes = await asyncio.gather(*map(tried, range(10)))
        found = nautobot.api("GET", f"dcim/locations/?name={name}")
        assert found["count"] == 1
        assert {outcome.detail["id"] for outcome in outcomes} == {found["results"][0]["id"]}
        assert _deeds(nautobot, found["results"][0]["id"]).count("create") == 1

    async def test_what_goes_by_another_name_now_is_another_object(
        self, fire: Fire, nautobot: NautobotServer, site: str, name: str
    ) -> None:
        # Given an object that was made here, and then got another name
        first = await fire("dcim/locations", _location(name), "name")
        nautobot.api("PATCH", f"dcim/locations/{first.detail['id']}/", {"name": f"{name}-renamed"})
        # When the first name is wanted again, then there is one of each
        second = await fire("dcim/locations", _location(name), "name")
        assert second.detail["did"] == "create"
        assert second.detail["id"] != first.detail["id"]
        assert (await fire("dcim/locations", _location(name), "name")).detail["id"] == second.detail["id"]

    async def test_connections_are_used_again(self, nautobot: NautobotServer, site: str, name: str) -> None:
        stage = Stage("nautobot", secrets=SECRETS)
        async with Gateway(nautobot.port) as gateway, stage.open() as trigger:
            for number in range(10):
                block: dict[str, Json] = {
                    **TestNautobot._ok,
                    "url": gateway.url,
                    "endpoint": "dcim/locations",
                    "object": _location(name, description=str(number)),
                }
                await stage.fire(trigger, block, id=f"{name}-{number}")
            assert gateway.connections == 1
        found = nautobot.api("GET", f"dcim/locations/?name={name}")["results"]
        assert _deeds(nautobot, found[0]["id"]) == ["create", *["update"] * 9]


class TestASecondDelivery:
    """The process was killed after Nautobot had taken the action and before that was recorded: the same action comes again."""

    async def test_of_what_makes_has_no_second_effect(
        self, fire: Fire, nautobot: NautobotServer, site: str, name: str
    ) -> None:
        first = await fire("dcim/locations", _location(name), "name", id=name)
        again = await fire("dcim/locations", _location(name), "name", id=name)
        assert again.detail["id"] == first.detail["id"]
        assert _deeds(nautobot, first.detail["id"]) == ["create"]

    async def test_of_what_changes_has_no_second_effect(
        self, fire: Fire, nautobot: NautobotServer, site: str, name: str
    ) -> None:
        made = await fire("dcim/locations", _location(name), "name")
        for _ in range(2):
            await fire("dcim/locations", _location(name, description="new"), "name", id=name)
        assert _deeds(nautobot, made.detail["id"]) == ["create", "update"]

    async def test_of_what_removes_has_no_second_effect(
        self, fire: Fire, nautobot: NautobotServer, site: str, name: str
    ) -> None:
        made = await fire("dcim/locations", _location(name), "name")
        first, again = [
            await fire("dcim/locations", {"name": name}, "name", id=name, operation="delete") for _ in range(2)
        ]
        assert (first.detail["did"], again.detail["did"]) == ("delete", "nothing")
        assert _deeds(nautobot, made.detail["id"]) == ["create", "delete"]

    async def test_of_what_makes_something_without_a_key_makes_no_other(
        self, fire: Fire, nautobot: NautobotServer, name: str
    ) -> None:
        # Given VLANs without a group, which Nautobot lets be alike
        vlan: Json = {"vid": 9, "name": name, "status": "Active"}
        one, again, other = [
            await fire("ipam/vlans", vlan, id=id, operation="create") for id in (name, name, f"{name}-2")
        ]
        assert again.message == f"ipam.vlan '{name} (9)' is there already"
        assert again.detail["id"] == one.detail["id"] != other.detail["id"]
        assert nautobot.api("GET", f"ipam/vlans/?name={name}")["count"] == 2


class TestEveryKindOfField:
    """Whatever way it is written, Nautobot is asked for a change only if there is one."""

    async def test_of_a_location(self, fire: Fire, nautobot: NautobotServer, model: None, name: str) -> None:
        # Given locations in each other, a tenant and VLANs
        await fire("dcim/locations", _location(f"{name}-top"), "name")
        parent = await fire("dcim/locations", _location(f"{name}-mid", parent={"name": f"{name}-top"}), "name")
        await fire("tenancy/tenants", {"name": name}, "name")
        for vid in (5, 6):
            await fire("ipam/vlans", {"vid": vid, "name": f"{name}-{vid}", "status": "Active"}, "name")
        # When a location is made with fields of each kind
        wanted = _location(
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
        self, fire: Fire, nautobot: NautobotServer, model: None, name: str
    ) -> None:
        # Given a device with an interface and an address
        await fire("dcim/locations", _location(name), "name")
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
            assert _deeds(nautobot, made.detail["id"])[0] == "create"
            assert again.detail["id"] == made.detail["id"]
        assert namespace.detail["did"] == "create"
        # And lists that Nautobot does not show unless it is asked are compared, too
        await fire("ipam/vlans", {"vid": 5, "name": name, "status": "Active"}, "name")
        for did in ("update", "nothing"):
            outcome = await fire("dcim/interfaces", interface | {"tagged_vlans": [{"name": name}]}, "device", "name")
            assert outcome.detail["did"] == did


class TestTheKey:
    async def test_a_name_that_two_have_is_rejected_with_their_names(
        self, fire: Fire, nautobot: NautobotServer, site: str, name: str
    ) -> None:
        # Given two of one name in different places
        for place in ("a", "b"):
            await fire("dcim/locations", _location(f"{name}-{place}"), "name")
            child = _location(name, parent={"name": f"{name}-{place}"})
            await fire("dcim/locations", child, "name", "parent=parent.name")
        # When one is wanted by its name alone, for a change or for removal, then neither is touched
        for operation in ("upsert", "update", "delete"):
            with pytest.raises(
                Rejected, match=rf"2 objects of 'dcim/locations' have name={name}: dcim.location"
            ) as error:
                await fire("dcim/locations", {"name": name}, "name", operation=operation)
            assert "name more fields in 'key'" in str(error.value)
        # When the place is named, then that one is found
        child = _location(name, parent={"name": f"{name}-b"}, description="of b")
        outcome = await fire("dcim/locations", child, "name", "parent")
        assert outcome.detail["changed"] == {"description": {"from": "", "to": "of b"}}
        assert nautobot.api("GET", f"dcim/locations/?name={name}&description=of b".replace(" ", "%20"))["count"] == 1

    async def test_all_pages_are_looked_through(self, fire: Fire, nautobot: NautobotServer, name: str) -> None:
        # Given 120 VLANs of one name, of which one has no role
        role = nautobot.api("POST", "extras/roles/", {"name": name, "content_types": ["ipam.vlan"]})["id"]
        vlans = [
            {"vid": vid, "name": name, "status": "Active", "role": role if vid != 90 else None} for vid in range(1, 121)
        ]
        nautobot.api("POST", "ipam/vlans/", vlans)
        # When that without a role is wanted, for which there is no filter, then it is found
        wanted: Json = {"name": name, "role": None, "description": "found"}
        outcome = await fire("ipam/vlans", wanted, "name", "role", operation="update")
        assert outcome.detail["display"] == f"{name} (90)"

    async def test_a_filter_that_finds_more_is_held_against_the_object(
        self, fire: Fire, nautobot: NautobotServer, site: str, name: str
    ) -> None:
        # Given a filter by place that finds what is in places below, too
        await fire("dcim/locations", _location(f"{name}-top"), "name")
        await fire("dcim/locations", _location(f"{name}-below", parent={"name": f"{name}-top"}), "name")
        for place in ("top", "below"):
            rack = {"name": name, "location": {"name": f"{name}-{place}"}, "status": "Active"}
            outcome = await fire("dcim/racks", rack, "name", "location")
            assert outcome.detail["did"] == "create"
        assert nautobot.api("GET", f"dcim/racks/?name={name}&location={name}-top")["count"] == 2
        # When the one at the top is wanted, then it is that one
        rack = {"name": name, "location": {"name": f"{name}-top"}, "comments": "mine"}
        outcome = await fire("dcim/racks", rack, "name", "location", operation="update")
        place = nautobot.api("GET", f"dcim/racks/{outcome.detail['id']}/?depth=1")["location"]["name"]
        assert place == f"{name}-top"

    async def test_by_a_custom_field_and_by_the_id(
        self, fire: Fire, nautobot: NautobotServer, site: str, name: str
    ) -> None:
        about = {"label": "serial", "key": "of_openstack", "type": "text", "content_types": ["tenancy.tenant"]}
        nautobot.api("POST", "extras/custom-fields/", about)
        for number in (1, 2):
            tenant = {"name": f"{name}-{number}", "custom_fields": {"of_openstack": f"uuid-{number}"}}
            await fire("tenancy/tenants", tenant, "name")
        # When it is known by what another system calls it, then it may get another name
        tenant = {"name": f"{name}-new", "custom_fields": {"of_openstack": "uuid-2"}}
        outcome = await fire("tenancy/tenants", tenant, "cf_of_openstack=custom_fields.of_openstack")
        assert outcome.detail["changed"] == {"name": {"from": f"{name}-2", "to": f"{name}-new"}}
        # And by its id
        wanted = {"id": outcome.detail["id"], "description": "by id"}
        assert (await fire("tenancy/tenants", wanted, "id")).detail["did"] == "update"

    @pytest.mark.parametrize("strange", ["a,b", "a&name=b #%2F", "50% / ü+ß", "null", "*", "  a  b"])
    async def test_with_any_characters_is_one_value(
        self, fire: Fire, nautobot: NautobotServer, name: str, strange: str
    ) -> None:
        for wanted in ("create", "nothing"):
            outcome = await fire("tenancy/tenants", {"name": f"{strange}{name}"}, "name")
            assert outcome.detail["did"] == wanted

    @pytest.mark.parametrize(
        ("object_", "key", "said"),
        [
            ({"name": "a"}, ["vid"], "'key' names 'vid', and 'object' has no such field"),
            ({"name": "a"}, ["x=name.b"], "'key' names 'name.b', and 'object' has no such field"),
            ({"name": " "}, ["name"], "'key' names 'name', which is empty"),
            ({"name": ["a"]}, ["name"], "which is no single value"),
            ({"role": {"color": "f"}}, ["role"], "which is a reference; write role=role.FIELD"),
            ({"role": None}, ["role"], "'key' has no value to look for: role=null"),
            ({"name": "a"}, ["nome=name"], r"400: nome: Unknown filter field; see 'key'"),
        ],
    )
    async def test_that_says_nothing_is_rejected_before_anything_is_removed(
        self, fire: Fire, object_: Json, key: list[str], said: str
    ) -> None:
        with pytest.raises(Rejected, match=said):
            await fire("ipam/vlans", object_, *key, operation="delete")


class TestOtherOperations:
    async def test_create_leaves_what_is_there(
        self, fire: Fire, nautobot: NautobotServer, site: str, name: str
    ) -> None:
        made = await fire("dcim/locations", _location(name), "name", operation="create")
        left = await fire("dcim/locations", _location(name, description="other"), "name", operation="create")
        assert left.message == f"dcim.location '{name}' is there already"
        assert _deeds(nautobot, made.detail["id"]) == ["create"]

    async def test_update_makes_nothing(self, fire: Fire, nautobot: NautobotServer, site: str, name: str) -> None:
        with pytest.raises(Rejected, match=f"there is no object of 'dcim/locations' that has name={name}"):
            await fire("dcim/locations", _location(name), "name", operation="update")
        assert nautobot.api("GET", f"dcim/locations/?name={name}")["count"] == 0

    async def test_what_others_need_is_not_removed(
        self, fire: Fire, nautobot: NautobotServer, site: str, name: str
    ) -> None:
        await fire("dcim/locations", _location(name), "name")
        await fire("dcim/racks", {"name": f"{name}-in", "location": {"name": name}, "status": "Active"}, "name")
        with pytest.raises(TriggerError, match=rf"answered 409: .*1 dependent objects were found: {name}-in") as error:
            await fire("dcim/locations", {"name": name}, "name", operation="delete")
        # And as soon as they are gone it is
        assert not isinstance(error.value, Rejected)
        await fire("dcim/racks", {"name": f"{name}-in"}, "name", operation="delete")
        assert (await fire("dcim/locations", {"name": name}, "name", operation="delete")).detail["did"] == "delete"

    async def test_an_object_whose_id_nautobot_chooses(self, fire: Fire, nautobot: NautobotServer, name: str) -> None:
        made = await fire("users/groups", {"name": name}, "name")
        assert isinstance(made.detail["id"], int)
        assert (await fire("users/groups", {"name": name}, "name")).detail["did"] == "nothing"
        assert (await fire("users/groups", {"name": name}, "name", operation="delete")).detail["did"] == "delete"

    async def test_a_dry_run_says_what_it_would_do_and_does_nothing(
        self, fire: Fire, nautobot: NautobotServer, site: str, name: str
    ) -> None:
        count = nautobot.api("GET", "extras/object-changes/?limit=1")["count"]
        dry = await fire("dcim/locations", _location(name), "name", dryRun=True)
        assert dry.message == "would make an object of 'dcim/locations'"
        object_ = {"name": name, "location_type": {"name": "Site"}, "status": "Active"}
        assert dry.detail == {"did": "create", "dryRun": True, "object": object_}
        assert nautobot.api("GET", "extras/object-changes/?limit=1")["count"] == count
        made = await fire("dcim/locations", _location(name), "name")
        dry = await fire("dcim/locations", _location(name, description="new"), "name", dryRun=True)
        assert dry.message == f"would change description of dcim.location '{name}'"
        assert dry.detail["changed"] == {"description": {"from": "", "to": "new"}}
        dry = await fire("dcim/locations", {"name": name}, "name", dryRun=True, operation="delete")
        assert dry.message == f"would remove dcim.location '{name}'"
        assert _deeds(nautobot, made.detail["id"]) == ["create"]


class TestRefusals:
    """Each is Rejected, with Nautobot's own words and what to do."""

    @pytest.mark.parametrize(
        ("endpoint", "object_", "said"),
        [
            ("dcim/nothing", {"name": "a"}, r"OPTIONS .*/api/dcim/nothing/ answered 404"),
            (
                "dcim/locations",
                {"name": "refused"},
                r"400: location_type: This field is required\.; status: This field is",
            ),
            ("dcim/locations", {"name": "refused", "nmae": "a"}, "have no field 'nmae'; there are asn, comments, "),
            (
                "dcim/locations",
                {"name": "refused", "display": "a"},
                "field 'display' of 'dcim/locations' can only be read",
            ),
            ("ipam/vlans", {"name": "refused", "vid": 9999, "status": "Active"}, "400: vid: "),
        ],
    )
    async def test_of_an_object(
        self, fire: Fire, nautobot: NautobotServer, site: str, endpoint: str, object_: Json, said: str
    ) -> None:
        with pytest.raises(Rejected, match=said):
            await fire(endpoint, object_, "name")
        assert nautobot.api("GET", "dcim/locations/?name=refused")["count"] == 0

    async def test_of_a_reference_to_what_is_not_there_yet_is_tried_again(
        self, fire: Fire, nautobot: NautobotServer, site: str, name: str
    ) -> None:
        child = _location(name, parent={"name": f"{name}-parent"})
        for field, wanted in (("parent", child), ("status", _location(name, status="of nobody"))):
            with pytest.raises(TriggerError, match=f"400: {field}: Related object not found") as error:
                await fire("dcim/locations", wanted, "name")
            assert not isinstance(error.value, Rejected)
        await fire("dcim/locations", _location(f"{name}-parent"), "name")
        assert (await fire("dcim/locations", child, "name")).detail["did"] == "create"

    async def test_of_a_custom_field_that_nobody_has(self, fire: Fire, nautobot: NautobotServer, name: str) -> None:
        # Nautobot passes over it in silence; when the object is made that shows afterwards
        for _ in range(2):
            with pytest.raises(Rejected, match=f"'{name}' has no custom field 'nothing'"):
                await fire("tenancy/tenants", {"name": name, "custom_fields": {"nothing": 1}}, "name")

    async def test_of_a_token(self, fire: Fire, nautobot: NautobotServer, site: str, name: str) -> None:
        with pytest.raises(Rejected, match="answered 403: Invalid token; see 'token'") as error:
            await fire("dcim/locations", _location(name), "name", token="b4d" * 13)
        assert "b4d" not in str(error.value)
        with pytest.raises(Rejected, match="403: You do not have permission .*; the user of the token needs"):
            await fire("dcim/locations", _location(name), "name", token=NOBODY)
        # Given a user who sees some locations, and nothing else
        await fire("dcim/locations", _location(name, description="for all"), "name")
        seen: dict[str, Json] = {"name": name, "description": "for all"}
        assert (await fire("dcim/locations", seen, "name", token=READER)).detail["did"] == "nothing"
        # Then it may not say what they should be like, nor how they stand to what it does not see
        for changed in ({"description": "mine"}, {"status": "Active"}, {"location_type": {"name": "Site"}}):
            with pytest.raises(Rejected, match="PATCH .* answered 403"):
                await fire("dcim/locations", seen | changed, "name", token=READER)

    async def test_a_nautobot_that_is_not_there_is_tried_again(self, site: str, name: str) -> None:
        stage = Stage("nautobot", secrets=SECRETS)
        async with stage.open() as trigger:
            with pytest.raises(TriggerError) as error:
                await stage.fire(trigger, {**TestNautobot._ok, "url": "http://127.0.0.1:9"})
        assert not isinstance(error.value, Rejected)
