"""The other side of the webhook family: an HTTP client that delivers as a service does and reads the answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import httpx2

from argosy.registry import wrap
from argosy.sources._raw import Raw, Wrapped
from tests.conformance.source import Stage, Upstream, free_port

Delivery = tuple[bytes, Mapping[str, str]]
"""The body and the headers of one request."""


class HookSender(Upstream):
    """Delivers what ``make`` makes of a text; ``text_of`` of the kind's own subclass reads it back."""

    names_messages = True

    def __init__(self, make: Callable[[str], Delivery], *, insistent: bool = False, **block: Any) -> None:
        """``insistent``: the service sends again what was answered 5xx, as its documentation says."""
        self.port = free_port()
        self.make = make
        self.redelivers = insistent
        self.webhook: dict[str, Any] = {"port": str(self.port), "endpoint": "/hook", "method": "POST"}
        self.block = {"webhook": self.webhook, **block}
        self.calls: list[asyncio.Task[None]] = []
        self.statuses: list[int] = []

    async def send(self, text: str) -> None:
        self.calls.append(asyncio.create_task(self._post(text)))

    async def _post(self, text: str) -> None:
        body, headers = self.make(text)
        url = f"http://127.0.0.1:{self.port}/hook"
        async with httpx2.AsyncClient(timeout=60) as client:
            while True:
                try:
                    response = await client.post(url, content=body, headers=dict(headers))
                except httpx2.TransportError:
                    return  # nobody listens: the message is lost, as the suite allows
                self.statuses.append(response.status_code)
                if response.status_code < 500 or not self.redelivers:
                    return
                await asyncio.sleep(0.05)

    async def guard(self, secret: str) -> tuple[dict[str, Any], dict[tuple[str, str], str]]:
        """By the bearer token that any webhook may want; kinds whose service signs do it by its signature."""
        make = self.unsigned = getattr(self, "unsigned", self.make)

        def signed(text: str) -> Delivery:
            body, headers = make(text)
            return body, {**headers, "Authorization": f"Bearer {secret}"}

        self.make = signed
        selector = {"name": "hook", "key": "bearer"}
        return {"webhook": {**self.webhook, "authSecret": selector}}, {("hook", "bearer"): secret}

    async def acknowledged(self) -> int:
        return self.statuses.count(200)

    async def close(self) -> None:
        for call in self.calls:
            call.cancel()
        await asyncio.gather(*self.calls, return_exceptions=True)


def webhook(**fields: Any) -> dict[str, Any]:
    """A ``webhook`` block on a free port."""
    return {"port": str(free_port()), "endpoint": "/hook", "method": "POST", **fields}


async def deliver(stage: Stage, body: bytes, headers: Mapping[str, str], path: str = "") -> httpx2.Response:
    """Post one request to what the stage listens on, starting it if it does not run."""
    if not stage.listening:
        await stage.start()
    async with httpx2.AsyncClient(timeout=60) as client:
        return await client.post(stage.listening[-1] + path, content=body, headers=dict(headers))


def wrapped(stage: Stage, body: bytes, headers: Mapping[str, str]) -> Wrapped:
    """What ``explain`` and ``test`` make of the same request offline."""
    config = stage.plugin.config.model_validate(stage.block)
    return wrap(stage.plugin.kind, config, Raw(body, headers))
