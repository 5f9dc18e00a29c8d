"""What the tests of the ``nautobot`` trigger share: actions on a real Nautobot, and names that nothing there has yet."""

from __future__ import annotations

import itertools
from typing import Any

from argosy.manifests.fields import Json
from tests.conformance.trigger import Stage
from tests.peers.nautobot_server import TOKEN, NautobotServer

SECRETS = {("nautobot", "token"): TOKEN}
SECRET: Json = {"name": "nautobot", "key": "token"}
_numbers = itertools.count(1)


class Actions:
    """Called, it performs one action, each in a process of its own, as it were."""

    def __init__(self, nautobot: NautobotServer) -> None:
        self._url = nautobot.url

    async def __call__(
        self, endpoint: str, object_: Json, *key: str, token: str = TOKEN, id: str = "", **fields: Json
    ) -> Any:
        stage = Stage("nautobot", secrets={("nautobot", "token"): token})
        block = {"url": self._url, "token": SECRET, "endpoint": endpoint, "object": object_, "key": list(key), **fields}
        async with stage.open() as trigger:
            return await stage.fire(trigger, block, id=id or f"action-of-{next(_numbers)}")


def new_name() -> str:
    """A name that nothing has yet."""
    return f"n-{next(_numbers)}"


def location(name: str, **fields: Json) -> dict[str, Json]:
    """A location as it may be wanted; it needs ``site``."""
    return {"name": name, "location_type": {"name": "Site"}, "status": "Active", **fields}


def site(nautobot: NautobotServer) -> str:
    """A type of locations that may stand alone or in another, and hold everything."""
    content_types = ["dcim.device", "ipam.vlan", "ipam.prefix", "dcim.rack", "virtualization.cluster"]
    about = {"name": "Site", "content_types": content_types, "nestable": True}
    found = nautobot.api("GET", "dcim/location-types/?name=Site")["results"]
    return str((found[0] if found else nautobot.api("POST", "dcim/location-types/", about))["name"])


def deeds(nautobot: NautobotServer, id: str) -> list[str]:
    """What was done to an object, the first first."""
    return [deed for deed, _ in nautobot.changes(id)]
