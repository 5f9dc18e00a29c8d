"""The ``nautobot`` trigger against a real Nautobot, whose change log tells what each action did there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import pytest

from argosy.errors import Rejected, TriggerError
from argosy.manifests.fields import Json
from argosy.triggers._nautobot_object import id_of
from tests.conformance.sent import ACTION
from tests.conformance.trigger import Receiver, Stage, TriggerSuite
from tests.peers.nautobot_actions import SECRET, SECRETS, Actions, deeds, location, new_name, site
from tests.peers.nautobot_gateway import Gateway
from tests.peers.nautobot_server import TOKEN, NautobotServer
from tests.unit.triggers.receivers import Answer

pytestmark = pytest.mark.timeout(900)  # the first run of all makes the database


class _Vlans(Receiver):
    """VLANs without a group, of which Nautobot lets as many be alike as one likes: effects can only be told by their ids."""

    secrets: ClassVar[dict[tuple[str, str], str]] = SECRETS
    private = (TOKEN,)
    deduplicates = True
    hastened: ClassVar[dict[str, Json]] = {"timeout": 1}

    def __init__(self, server: NautobotServer, gateway: Gateway) -> None:
        self._server, self._gateway = server, gateway
        self._name = f"vlan-{new_name()}"
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
def fire(nautobot: NautobotServer) -> Actions:
    return Actions(nautobot)


@pytest.fixture
def name() -> str:
    return new_name()


@pytest.fixture(scope="module", name="site")
def _site(nautobot: NautobotServer) -> str:
    return site(nautobot)


class TestUpsert:
    async def test_it_makes_then_leaves_then_changes_only_what_differs(
        self, fire: Actions, nautobot: NautobotServer, site: str, name: str
    ) -> None:
        # When there is no such object, then it is made
        made = await fire("dcim/locations", location(name), "name")
        id = made.detail["id"]
        assert made.message == f"made dcim.location '{name}'"
        url = f"{nautobot.url}/api/dcim/locations/{id}/"
        assert made.detail == {"did": "create", "id": id, "url": url, "display": name}
        # When there is, and it is as it should be, then nothing is written
        left = await fire("dcim/locations", location(name), "name")
        assert left.message == f"dcim.location '{name}' is as it should be"
        assert left.detail == {"did": "nothing", "id": id, "url": url, "display": name}
        # When something differs, then that is written
        changed = await fire("dcim/locations", location(name, status="Planned", description="new"), "name")
        assert changed.message == f"changed status, description of dcim.location '{name}'"
        assert changed.detail["changed"] == {
            "status": {"from": "Active", "to": "Planned"},
            "description": {"from": "", "to": "new"},
        }
        assert deeds(nautobot, id) == ["create", "update"]

    async def test_what_people_do_to_other_fields_stays(
        self, fire: Actions, nautobot: NautobotServer, site: str, name: str
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

    async def test_ten_at_once_make_one(self, fire: Actions, nautobot: NautobotServer, site: str, name: str) -> None:
        # Given places that stand alone, of which Nautobot's database would take any number by one name
        async def tried(number: int) -> Any:
            while True:  # as the runtime does
                try:
                    return await fire("dcim/locations", location(name, description=f"by {number}"), "name")
                except Rejected:
                    raise
                except TriggerError:
                    continue

        outcomes = await asyncio.gather(*map(tried, range(10)))
        found = nautobot.api("GET", f"dcim/locations/?name={name}")
        assert found["count"] == 1
        assert {outcome.detail["id"] for outcome in outcomes} == {found["results"][0]["id"]}
        assert deeds(nautobot, found["results"][0]["id"]).count("create") == 1

    async def test_what_goes_by_another_name_now_is_another_object(
        self, fire: Actions, nautobot: NautobotServer, site: str, name: str
    ) -> None:
        # Given an object that was made here, and then got another name
        first = await fire("dcim/locations", location(name), "name")
        nautobot.api("PATCH", f"dcim/locations/{first.detail['id']}/", {"name": f"{name}-renamed"})
        # When the first name is wanted again, then there is one of each
        second = await fire("dcim/locations", location(name), "name")
        assert second.detail["did"] == "create"
        assert second.detail["id"] != first.detail["id"]
        assert (await fire("dcim/locations", location(name), "name")).detail["id"] == second.detail["id"]

    async def test_connections_are_used_again(self, nautobot: NautobotServer, site: str, name: str) -> None:
        stage = Stage("nautobot", secrets=SECRETS)
        async with Gateway(nautobot.port) as gateway, stage.open() as trigger:
            for number in range(10):
                block: dict[str, Json] = {
                    **TestNautobot._ok,
                    "url": gateway.url,
                    "endpoint": "dcim/locations",
                    "object": location(name, description=str(number)),
                }
                await stage.fire(trigger, block, id=f"{name}-{number}")
            assert gateway.connections == 1
        found = nautobot.api("GET", f"dcim/locations/?name={name}")["results"]
        assert deeds(nautobot, found[0]["id"]) == ["create", *["update"] * 9]


class TestASecondDelivery:
    """The process was killed after Nautobot had taken the action and before that was recorded: the same action comes again."""

    async def test_of_what_makes_has_no_second_effect(
        self, fire: Actions, nautobot: NautobotServer, site: str, name: str
    ) -> None:
        first = await fire("dcim/locations", location(name), "name", id=name)
        again = await fire("dcim/locations", location(name), "name", id=name)
        assert again.detail["id"] == first.detail["id"]
        assert deeds(nautobot, first.detail["id"]) == ["create"]

    async def test_of_what_changes_has_no_second_effect(
        self, fire: Actions, nautobot: NautobotServer, site: str, name: str
    ) -> None:
        made = await fire("dcim/locations", location(name), "name")
        for _ in range(2):
            await fire("dcim/locations", location(name, description="new"), "name", id=name)
        assert deeds(nautobot, made.detail["id"]) == ["create", "update"]

    async def test_of_what_removes_has_no_second_effect(
        self, fire: Actions, nautobot: NautobotServer, site: str, name: str
    ) -> None:
        made = await fire("dcim/locations", location(name), "name")
        first, again = [
            await fire("dcim/locations", {"name": name}, "name", id=name, operation="delete") for _ in range(2)
        ]
        assert (first.detail["did"], again.detail["did"]) == ("delete", "nothing")
        assert deeds(nautobot, made.detail["id"]) == ["create", "delete"]

    async def test_of_what_makes_something_without_a_key_makes_no_other(
        self, fire: Actions, nautobot: NautobotServer, name: str
    ) -> None:
        # Given VLANs without a group, which Nautobot lets be alike
        vlan: Json = {"vid": 9, "name": name, "status": "Active"}
        one, again, other = [
            await fire("ipam/vlans", vlan, id=id, operation="create") for id in (name, name, f"{name}-2")
        ]
        assert again.message == f"ipam.vlan '{name} (9)' is there already"
        assert again.detail["id"] == one.detail["id"] != other.detail["id"]
        assert nautobot.api("GET", f"ipam/vlans/?name={name}")["count"] == 2
