"""Wanted values are held against what Nautobot shows in the way in which Nautobot would read them."""

from __future__ import annotations

from typing import Any

import pytest

from argosy.triggers import _nautobot_state as state
from argosy.triggers._nautobot_state import TooShallow

SITE: dict[str, Any] = {
    "id": "6b1d",
    "object_type": "dcim.locationtype",
    "url": "http://127.0.0.1/api/dcim/location-types/6b1d/",
    "name": "Site",
    "parent": {
        "id": "77aa",
        "object_type": "dcim.locationtype",
        "url": "http://127.0.0.1/api/dcim/location-types/77aa/",
    },
}
TAG = {"id": "1", "object_type": "extras.tag", "url": "http://127.0.0.1/api/extras/tags/1/", "name": "one"}
OTHER = {"id": "2", "object_type": "extras.tag", "url": "http://127.0.0.1/api/extras/tags/2/", "name": "two"}
ACTIVE = {"value": "active", "label": "Active"}


@pytest.mark.parametrize(
    ("wanted", "there"),
    [
        ("a", "a"),
        (" a ", "a"),
        ("", None),
        (None, ""),
        (None, None),
        (5, 5),
        ("5", 5),
        (12.5, "12.500000"),
        ("true", True),
        (True, True),
        ("aa:bb:cc:00:11:22", "AA:BB:CC:00:11:22"),
        ("aabb.cc00.1122", "AA:BB:CC:00:11:22"),
        ("2001:DB8:0::1/64", "2001:db8::1/64"),
        ("2026-11-25T20:00:00+00:00", "2026-11-25T20:00:00Z"),
        ("active", ACTIVE),
        ({"value": "active"}, ACTIVE),
        (ACTIVE, ACTIVE),
        ("4", {"value": 4, "label": "IPv4"}),
        ("6b1d", SITE),
        (SITE["url"], SITE),
        ("Site", SITE),
        ({"name": "Site"}, SITE),
        ({"name": "Site", "parent": "77aa"}, SITE),
        ({"pk": "6b1d"}, SITE),
        ({"parent__id": "77aa"}, SITE),
        ([{"name": "two"}, "1"], [TAG, OTHER]),
        (["dcim.device", "dcim.location"], ["dcim.location", "dcim.device"]),
        ([], []),
        ({"a": [1, {"b": True}]}, {"a": [1, {"b": True}]}),
        ([{"a": 1}, {"b": 2}], [{"a": 1}, {"b": 2}]),
    ],
)
def test_the_same(wanted: Any, there: Any) -> None:
    assert state.same(wanted, there)


@pytest.mark.parametrize(
    ("wanted", "there"),
    [
        ("a", "A"),
        ("1.0", "1.00"),
        ("20261125", "2026-11-25"),
        ("0", ""),
        (0, None),
        (False, None),
        (1, True),
        ("x", 5),
        ("1", True),
        ({"a": 1}, "a"),
        ("retired", ACTIVE),
        ({"label": "Active"}, ACTIVE),
        ("77aa", SITE),
        (True, SITE),
        (None, SITE),
        ({}, SITE),
        ({"name": "Site", "parent": None}, SITE),
        ({"nothing": "Site"}, SITE),
        ({"name__id": "Site"}, SITE),
        ([{"name": "one"}, "1"], [TAG, OTHER]),
        (["1"], [TAG, OTHER]),
        ("1", [TAG]),
        ({"a": 1}, {"a": True}),
        ({"a": 1}, {"a": 1, "b": 2}),
        ([{"b": 2}, {"a": 1}], [{"a": 1}, {"b": 2}]),
        ([[1, 2]], [[2, 1]]),
    ],
)
def test_not_the_same(wanted: Any, there: Any) -> None:
    assert not state.same(wanted, there)


def test_what_is_not_shown_deep_enough_is_asked_for_again() -> None:
    wanted = {"parent": {"name": "Region"}}
    for form in (wanted, {"parent__name": "Region"}):
        with pytest.raises(TooShallow):
            state.same(form, SITE)
        assert state.depth(form) == 2
    deeper = {**SITE, "parent": {**SITE["parent"], "name": "Region"}}
    assert state.same(wanted, deeper)
    assert not state.same({"parent": {"name": "Town"}}, deeper)
    assert [state.depth(each) for each in ("a", [], {"name": "a"}, [{"a": {"b": {"c__d": 1}}}])] == [0, 0, 1, 4]
    assert state.depth({"__".join("abcdefghijklmn"): 1}) == 10


def test_only_what_differs_is_written() -> None:
    there = {
        "name": "a",
        "latitude": "12.500000",
        "status": ACTIVE,
        "tags": [TAG],
        "custom_fields": {"one": 1, "two": None, "three": "c"},
        "relationships": {
            "peers": {"id": "r", "url": "…", "destination": {"label": "Peers", "objects": [TAG, OTHER]}},
            "owner": {"id": "s", "url": "…", "source": {"label": "Owner", "objects": []}},
        },
    }
    as_it_is: dict[str, Any] = {
        "name": "a",
        "latitude": "12.5",
        "status": "active",
        "tags": ["1"],
        "custom_fields": {"one": "1", "two": ""},
        "relationships": {"peers": {"destination": {"objects": [{"name": "two"}, {"name": "one"}]}}},
        "password": "never shown",
    }
    decimals = frozenset(["latitude"])
    assert state.different(as_it_is, there, decimals) == {}
    changed = {
        **as_it_is,
        "latitude": "12.6",
        "tags": [],
        "custom_fields": {"one": 1, "two": "b", "three": "c"},
        "relationships": {"owner": {"source": {"objects": ["1"]}}, "peers": {"destination": {"objects": ["2", "1"]}}},
    }
    assert state.different(changed, there, decimals) == {
        "latitude": "12.6",
        "tags": [],
        "custom_fields": {"two": "b"},
        "relationships": {"owner": {"source": {"objects": ["1"]}}},
    }


def test_values_are_shown_as_people_name_them() -> None:
    long = "x" * 300
    assert state.shown({"value": "active", "label": "Active"}) == "active"
    assert state.shown([SITE, {"id": 5, "url": "u"}, {"a": ACTIVE}, None]) == ["Site", 5, {"a": "active"}, None]
    assert state.shown(long) == "x" * 200 + "…"
