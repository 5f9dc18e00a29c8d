"""A queue or hub of the double as the other side of a trigger; what the double is told of refusals holds for all of them."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from argosy.manifests.fields import Json
from tests.conformance.trigger import Receiver
from tests.peers.azure_bus import KEY, AzureBus


class AzureReceiver(Receiver):
    """``place`` is a queue or a hub that nobody else uses."""

    private = (KEY,)
    hastened: ClassVar[dict[str, Json]] = {"argosy.azure.sending.SEND_SECONDS": 1.0}

    def __init__(self, bus: AzureBus, place: str) -> None:
        self.bus = bus
        self.place = place

    async def messages(self) -> list[dict[str, Any]]:
        """What the place holds."""
        return list((await self.bus.look(self.place))["messages"])

    async def effects(self) -> list[str]:
        return [str(message["id"]) for message in await self.messages()]

    async def arrived(self) -> Json:
        return (await self.messages())[-1]

    async def limit(self, patch: pytest.MonkeyPatch) -> float:
        await self.fail()
        return 10  # as Microsoft's documents advise

    async def knows(self, private: str) -> bool:
        # The key signs the token, without which there is no message.
        return bool(await self.messages())

    async def refuse(self) -> None:
        await self.bus.set(answer="amqp:not-allowed", hold=False)

    async def fail(self) -> None:
        await self.bus.set(answer="com.microsoft:server-busy", hold=False)

    async def hold(self) -> None:
        await self.bus.set(hold=True)

    async def release(self) -> None:
        await self.bus.set(answer="", hold=False)

    async def held(self) -> int:
        return int((await self.bus.look())["held"])
