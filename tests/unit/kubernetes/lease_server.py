"""A server that keeps one Lease with resource versions, in virtual time: all that an election sees of a real one."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

from argosy.errors import TriggerError
from argosy.kubernetes.client import AlreadyExists, Conflict, NotFound


class LeaseServer:
    """One Lease. ``away`` refuses all, ``silent`` never answers."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.version = 0
        self.away: set[str] = set()
        self.silent: set[str] = set()
        self.writes: list[str] = []

    def seen_by(self, who: str) -> Any:
        return _Client(self, who)

    async def reach(self, who: str) -> None:
        await asyncio.sleep(0.01)
        if who in self.silent:
            await asyncio.sleep(1e6)
        if who in self.away:
            raise TriggerError("the Kubernetes API cannot be reached")

    def store(self, who: str, body: dict[str, Any]) -> dict[str, Any]:
        self.version += 1
        self.lease = copy.deepcopy(body)
        self.lease["metadata"]["resourceVersion"] = str(self.version)
        self.writes.append(who)
        return copy.deepcopy(self.lease)


class _Client:
    def __init__(self, server: LeaseServer, who: str) -> None:
        self._server = server
        self._who = who

    async def get(self, resource: Any, name: str, namespace: str) -> dict[str, Any]:
        await self._server.reach(self._who)
        if self._server.lease is None:
            raise NotFound("no lease")
        return copy.deepcopy(self._server.lease)

    async def create(self, resource: Any, body: dict[str, Any], namespace: str) -> dict[str, Any]:
        await self._server.reach(self._who)
        if self._server.lease is not None:
            raise AlreadyExists("there is one")
        return self._server.store(self._who, body)

    async def replace(self, resource: Any, name: str, body: dict[str, Any], namespace: str) -> dict[str, Any]:
        await self._server.reach(self._who)
        if self._server.lease is None:
            raise NotFound("no lease")
        if body["metadata"].get("resourceVersion") != self._server.lease["metadata"]["resourceVersion"]:
            raise Conflict("changed")
        return self._server.store(self._who, body)
