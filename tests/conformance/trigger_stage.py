"""What stands on both sides of a trigger in its tests: the stage in the runtime's place, and the receiver.

The receiver is real; only the runtime's side is played.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar

import orjson
import pytest

from argosy import registry
from argosy.bus._base import Bucket
from argosy.clock import Clock, SystemClock
from argosy.errors import SecretMissing
from argosy.event import Event
from argosy.manifests.fields import (
    ConfigMapKeySelector,
    Json,
    SecretKeySelector,
    TriggerParameterSource,
    TriggerPolicy,
)
from argosy.triggers._base import Action, Outcome, Resolved, Trigger, TriggerContext

PATIENCE_SECONDS = 45.0
"""How long a condition may take before a test fails; nothing is asserted about how long it does take."""


async def eventually(condition: Callable[[], bool | Awaitable[bool]], what: str = "") -> None:
    """Return once ``condition`` holds; fail after ``PATIENCE_SECONDS``."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE_SECONDS
    while True:
        found = condition()
        if await found if isinstance(found, Awaitable) else found:
            return
        if loop.time() > deadline:
            pytest.fail(f"did not come about within {PATIENCE_SECONDS:g} s: {what or condition}")
        await asyncio.sleep(0.01)


def event(data: Json, *, id: str = "e-1", source: str = "webhook", subject: str = "example") -> Event:
    """An event as a sensor would hand it in."""
    return Event(
        id=id,
        source=source,
        subject=subject,
        type=source,
        time="2026-11-23T10:00:00.5Z",
        data=orjson.dumps(data),
    )


class Stage:
    """Where the runtime stands: makes the trigger and its actions."""

    def __init__(
        self,
        kind: str,
        *,
        secrets: dict[tuple[str, str], str] | None = None,
        config_maps: dict[tuple[str, str], str] | None = None,
        namespace: str = "default",
        clock: Clock | None = None,
        bucket: Bucket | None = None,
    ) -> None:
        plugin = registry.trigger(kind)
        assert plugin is not None, f"there is no trigger kind {kind!r}"
        self.plugin: type[Trigger[Any]] = plugin
        self.secrets = secrets or {}
        self.config_maps = config_maps or {}
        self.namespace = namespace
        self.clock = clock or SystemClock()
        self.bucket = bucket

    def _secret(self, selector: SecretKeySelector) -> str:
        try:
            return self.secrets[selector.name, selector.key]
        except KeyError:
            raise SecretMissing(f"secret {selector.name!r} has no key {selector.key!r}") from None

    def _config_map(self, selector: ConfigMapKeySelector) -> str:
        try:
            return self.config_maps[selector.name, selector.key]
        except KeyError:
            raise SecretMissing(f"config map {selector.name!r} has no key {selector.key!r}") from None

    def open(self) -> Trigger[Any]:
        """The trigger, not entered."""
        fields = {"sensorName": "stage", "triggerName": "act"}
        return self.plugin(
            TriggerContext(
                namespace=self.namespace,
                sensor="stage",
                trigger="act",
                secret=self._secret,
                config_map=self._config_map,
                clock=self.clock,
                log=logging.LoggerAdapter(logging.getLogger("argosy.trigger"), fields),
                bucket=self.bucket,
            )
        )

    async def fire(
        self,
        trigger: Trigger[Any],
        block: dict[str, Json],
        *,
        id: str = "action-1",
        attempt: int = 1,
        events: dict[str, Event] | None = None,
        payload: bytes | None = b'{"n":1}',
        policy: dict[str, Json] | None = None,
        values: dict[str, str] | None = None,
    ) -> Outcome:
        """Perform one action as the runtime would: validate, fetch, fire. ``values`` answers parameters by
        ``dataKey``.
        """
        config = self.plugin.config.model_validate(block)
        resource = await trigger.fetch(config)

        def resolve(src: TriggerParameterSource) -> Resolved | None:
            found = (values or {}).get(src.data_key)
            return None if found is None else Resolved(found, orjson.dumps(found))

        action = Action(
            id=id,
            namespace=self.namespace,
            sensor="stage",
            trigger="act",
            events=events if events is not None else {"dep": event({"n": 1})},
            attempt=attempt,
            payload=payload if "payload" in self.plugin.config.model_fields else None,
            resource=resource,
            policy=TriggerPolicy.model_validate(policy) if policy else None,
            resolve=resolve,
        )
        return await trigger.fire(config, action)


class Receiver(ABC):
    """The other side of a trigger, as a test sees it. Said of kinds, not of moments: what it cannot do it
    never can.
    """

    block: dict[str, Json]
    """The block that fires here; ``refuse`` may change it."""
    secrets: ClassVar[dict[tuple[str, str], str]] = {}
    private: tuple[str, ...] = ()
    """Texts that the trigger uses and nobody may see. The receiver should say them back, to lead it into
    temptation.
    """
    networked = True
    """Whether an action goes over the network."""
    deduplicates = False
    """Whether two fires of one action have one effect here."""
    can_refuse = True
    can_fail = True
    can_hold = True
    namespace = "default"
    address = ""
    """``host:port`` in the block, which ``--resolve`` can lead to a line that does not work."""
    greeting = b""
    """What the other side says in the clear before TLS begins."""
    never: ClassVar[Mapping[str, str]] = {}
    """Which of ``FAILURES`` cannot happen to this kind, each with the reason."""
    hastened: ClassVar[Mapping[str, Json]] = {}
    """What makes this kind give up waiting soon: fields of the block, and names ``argosy.…`` of what would be long."""

    @abstractmethod
    async def effects(self) -> list[str]:
        """What arrived here, in order: for each effect the action id by which it can be recognised."""

    @abstractmethod
    async def arrived(self) -> Json:
        """What arrived here last, as the kind's page shows it: a request (``method``, ``target``, ``headers``, ``body``), a message, an
        object. Secrets are taken out of it.
        """

    async def knows(self, private: str) -> bool:
        """Whether the text arrived here, so that it was indeed used."""
        raise NotImplementedError

    async def refuse(self) -> None:
        """From now on answer so that another try cannot help."""
        raise NotImplementedError

    async def fail(self) -> None:
        """From now on answer, or break off, so that another try may help."""
        raise NotImplementedError

    async def hold(self) -> None:
        """From now on take actions and do not answer."""
        raise NotImplementedError

    async def release(self) -> None:
        """Answer what is held, and all that follows."""
        raise NotImplementedError

    async def held(self) -> int:
        """How many actions wait for an answer."""
        raise NotImplementedError

    def lead(self, port: int, patch: pytest.MonkeyPatch) -> None:
        """From now on connections of new triggers go to this port of the loopback."""
        if not self.address:
            raise NotImplementedError("say which address the block has")
        patch.setenv("ARGOSY_RESOLVE", f"{self.address}=127.0.0.1:{port}")

    def speak_tls(self, patch: pytest.MonkeyPatch) -> None:
        """From now on the block wants TLS, by a certificate that is verified."""
        raise NotImplementedError

    async def limit(self, patch: pytest.MonkeyPatch) -> float | None:
        """From now on answer that these are too many; after how many seconds another is welcome, if that is said."""
        raise NotImplementedError
