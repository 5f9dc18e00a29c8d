"""Which object of a real Nautobot an action of the ``nautobot`` trigger is about, what may be done with it, and what Nautobot refuses."""

from __future__ import annotations

import pytest

from argosy.errors import Rejected, TriggerError
from argosy.manifests.fields import Json
from tests.peers.nautobot_actions import Actions, deeds, location, new_name, site
from tests.peers.nautobot_server import NOBODY, READER, NautobotServer

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


class TestTheKey:
    async def test_a_name_that_two_have_is_rejected_with_their_names(
        self, fire: Actions, nautobot: NautobotServer, site: str, name: str
    ) -> None:
        # Given two of one name in different places
        for place in ("a", "b"):
            await fire("dcim/locations", location(f"{name}-{place}"), "name")
            child = location(name, parent={"name": f"{name}-{place}"})
            await fire("dcim/locations", child, "name", "parent=parent.name")
        # When one is wanted by its name alone, for a change or for removal, then neither is touched
        for operation in ("upsert", "update", "delete"):
            with pytest.raises(
                Rejected, match=rf"2 objects of 'dcim/locations' have name={name}: dcim.location"
            ) as error:
                await fire("dcim/locations", {"name": name}, "name", operation=operation)
            assert "name more fields in 'key'" in str(error.value)
        # When the place is named, then that one is found
        child = location(name, parent={"name": f"{name}-b"}, description="of b")
        outcome = await fire("dcim/locations", child, "name", "parent")
        assert outcome.detail["changed"] == {"description": {"from": "", "to": "of b"}}
        assert nautobot.api("GET", f"dcim/locations/?name={name}&description=of b".replace(" ", "%20"))["count"] == 1

    async def test_all_pages_are_looked_through(self, fire: Actions, nautobot: NautobotServer, name: str) -> None:
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
        self, fire: Actions, nautobot: NautobotServer, site: str, name: str
    ) -> None:
        # Given a filter by place that finds what is in places below, too
        await fire("dcim/locations", location(f"{name}-top"), "name")
        await fire("dcim/locations", location(f"{name}-below", parent={"name": f"{name}-top"}), "name")
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
        self, fire: Actions, nautobot: NautobotServer, site: str, name: str
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
        self, fire: Actions, nautobot: NautobotServer, name: str, strange: str
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
        self, fire: Actions, object_: Json, key: list[str], said: str
    ) -> None:
        with pytest.raises(Rejected, match=said):
            await fire("ipam/vlans", object_, *key, operation="delete")


class TestOtherOperations:
    async def test_create_leaves_what_is_there(
        self, fire: Actions, nautobot: NautobotServer, site: str, name: str
    ) -> None:
        made = await fire("dcim/locations", location(name), "name", operation="create")
        left = await fire("dcim/locations", location(name, description="other"), "name", operation="create")
        assert left.message == f"dcim.location '{name}' is there already"
        assert deeds(nautobot, made.detail["id"]) == ["create"]

    async def test_update_makes_nothing(self, fire: Actions, nautobot: NautobotServer, site: str, name: str) -> None:
        with pytest.raises(Rejected, match=f"there is no object of 'dcim/locations' that has name={name}"):
            await fire("dcim/locations", location(name), "name", operation="update")
        assert nautobot.api("GET", f"dcim/locations/?name={name}")["count"] == 0

    async def test_what_others_need_is_not_removed(
        self, fire: Actions, nautobot: NautobotServer, site: str, name: str
    ) -> None:
        await fire("dcim/locations", location(name), "name")
        await fire("dcim/racks", {"name": f"{name}-in", "location": {"name": name}, "status": "Active"}, "name")
        with pytest.raises(TriggerError, match=rf"answered 409: .*1 dependent objects were found: {name}-in") as error:
            await fire("dcim/locations", {"name": name}, "name", operation="delete")
        # And as soon as they are gone it is
        assert not isinstance(error.value, Rejected)
        await fire("dcim/racks", {"name": f"{name}-in"}, "name", operation="delete")
        assert (await fire("dcim/locations", {"name": name}, "name", operation="delete")).detail["did"] == "delete"

    async def test_what_was_in_something_that_is_gone_is_gone(
        self, fire: Actions, nautobot: NautobotServer, name: str
    ) -> None:
        rack: Json = {"name": name, "location": {"name": f"{name}-gone"}, "status": "Active"}
        outcome = await fire("dcim/racks", rack, "name", "location", operation="delete")
        assert outcome.message == f"no object of 'dcim/racks' has name={name}, location={name}-gone"
        # And what should be in something that is not there waits for it
        with pytest.raises(TriggerError, match="400: location: Related object not found") as error:
            await fire("dcim/racks", rack, "name", "location")
        assert not isinstance(error.value, Rejected)

    async def test_an_object_whose_id_nautobot_chooses(
        self, fire: Actions, nautobot: NautobotServer, name: str
    ) -> None:
        made = await fire("users/groups", {"name": name}, "name")
        assert isinstance(made.detail["id"], int)
        assert (await fire("users/groups", {"name": name}, "name")).detail["did"] == "nothing"
        assert (await fire("users/groups", {"name": name}, "name", operation="delete")).detail["did"] == "delete"

    async def test_a_dry_run_says_what_it_would_do_and_does_nothing(
        self, fire: Actions, nautobot: NautobotServer, site: str, name: str
    ) -> None:
        count = nautobot.api("GET", "extras/object-changes/?limit=1")["count"]
        dry = await fire("dcim/locations", location(name), "name", dryRun=True)
        assert dry.message == "would make an object of 'dcim/locations'"
        object_ = {"name": name, "location_type": {"name": "Site"}, "status": "Active"}
        assert dry.detail == {"did": "create", "dryRun": True, "object": object_}
        assert nautobot.api("GET", "extras/object-changes/?limit=1")["count"] == count
        made = await fire("dcim/locations", location(name), "name")
        dry = await fire("dcim/locations", location(name, description="new"), "name", dryRun=True)
        assert dry.message == f"would change description of dcim.location '{name}'"
        assert dry.detail["changed"] == {"description": {"from": "", "to": "new"}}
        dry = await fire("dcim/locations", {"name": name}, "name", dryRun=True, operation="delete")
        assert dry.message == f"would remove dcim.location '{name}'"
        assert deeds(nautobot, made.detail["id"]) == ["create"]


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
        self, fire: Actions, nautobot: NautobotServer, site: str, endpoint: str, object_: Json, said: str
    ) -> None:
        with pytest.raises(Rejected, match=said):
            await fire(endpoint, object_, "name")
        assert nautobot.api("GET", "dcim/locations/?name=refused")["count"] == 0

    async def test_of_a_reference_to_what_is_not_there_yet_is_tried_again(
        self, fire: Actions, nautobot: NautobotServer, site: str, name: str
    ) -> None:
        child = location(name, parent={"name": f"{name}-parent"})
        for field, wanted in (("parent", child), ("status", location(name, status="of nobody"))):
            with pytest.raises(TriggerError, match=f"400: {field}: Related object not found") as error:
                await fire("dcim/locations", wanted, "name")
            assert not isinstance(error.value, Rejected)
        await fire("dcim/locations", location(f"{name}-parent"), "name")
        assert (await fire("dcim/locations", child, "name")).detail["did"] == "create"

    async def test_of_a_custom_field_that_nobody_has(self, fire: Actions, nautobot: NautobotServer, name: str) -> None:
        # Nautobot passes over it in silence; when the object is made that shows afterwards
        for _ in range(2):
            with pytest.raises(Rejected, match=f"'{name}' has no custom field 'nothing'"):
                await fire("tenancy/tenants", {"name": name, "custom_fields": {"nothing": 1}}, "name")

    async def test_of_a_token(self, fire: Actions, nautobot: NautobotServer, site: str, name: str) -> None:
        with pytest.raises(Rejected, match="answered 403: Invalid token; see 'token'") as error:
            await fire("dcim/locations", location(name), "name", token="b4d" * 13)
        assert "b4d" not in str(error.value)
        with pytest.raises(Rejected, match="403: You do not have permission .*; the user of the token needs"):
            await fire("dcim/locations", location(name), "name", token=NOBODY)
        # Given a user who sees some locations, and nothing else
        await fire("dcim/locations", location(name, description="for all"), "name")
        seen: dict[str, Json] = {"name": name, "description": "for all"}
        assert (await fire("dcim/locations", seen, "name", token=READER)).detail["did"] == "nothing"
        # Then it may not say what they should be like, nor how they stand to what it does not see
        for changed in ({"description": "mine"}, {"status": "Active"}, {"location_type": {"name": "Site"}}):
            with pytest.raises(Rejected, match="PATCH .* answered 403"):
                await fire("dcim/locations", seen | changed, "name", token=READER)
