"""The contract of a trigger: what a plug-in is given for one action, and how it answers.

One file in this package is one kind. The runtime resolves parameters, fetches nothing itself, retries, limits, counts and logs;
a trigger performs one action once and says what came of it.
"""

from __future__ import annotations

import hashlib
import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Generic, NamedTuple, Self, TypeVar

from argosy.bus._base import Bucket
from argosy.clock import Clock
from argosy.event import Event
from argosy.kubernetes.rights import Account, Asking, Rights
from argosy.manifests.fields import (
    ConfigMapKeySelector,
    Json,
    Model,
    SecretKeySelector,
    TriggerParameterSource,
    TriggerPolicy,
)

TELLING = re.compile(r"auth|token|secret|passw|cookie|api-?key|signature", re.IGNORECASE)
"""Found in the name of a header, it tells that the value is probably a secret."""
_TRACE = re.compile(r"(?!0{32})[0-9a-f]{32}")


class TriggerConfig(Model):
    """A kind's block in ``template``. Frozen, camelCase in manifests, unknown keys refused.

    Two fields mean the same in every kind that has them, and the runtime serves them: ``parameters`` (set on the object
    that ``fetch`` returned, or on this block itself where ``fetch`` returns None) and ``payload`` (``Action.payload``).
    """

    @property
    def no_effect(self) -> Mapping[str, str]:
        """Fields that change nothing as they are written, each with the reason as a clause; ``argosy lint`` says so."""
        return {}


ConfigT = TypeVar("ConfigT", bound=TriggerConfig)


class Resolved(NamedTuple):
    """A parameter's value. ``text`` is what is set as a string; ``raw`` is JSON text, used where types are kept."""

    text: str
    raw: bytes


@dataclass(frozen=True, kw_only=True)
class Action:
    """One action to perform: this trigger, for these events. ``id`` is the same at every try and after every crash."""

    id: str
    namespace: str
    sensor: str
    trigger: str
    events: Mapping[str, Event]
    """By dependency name; data already transformed."""
    attempt: int
    """From 1."""
    payload: bytes | None = None
    """The document that the block's ``payload`` describes; None where the kind has no such field."""
    resource: Json | None = None
    """The object that ``fetch`` returned, with ``parameters`` applied; None where ``fetch`` returned None."""
    policy: TriggerPolicy | None = None
    resolve: Callable[[TriggerParameterSource], Resolved | None]
    """The value of a parameter source for these events; None where there is none and it may be skipped. Raises Rejected."""

    @property
    def trace_id(self) -> str:
        """The trace (W3C trace context, 32 hexadecimal digits) of all tries of this action."""
        return self.id if _TRACE.fullmatch(self.id) else hashlib.sha256(self.id.encode()).hexdigest()[:32]

    @property
    def traceparent(self) -> str:
        """The header ``traceparent`` of this try: a span of its own in the action's trace."""
        span = hashlib.sha256(f"{self.id}/{self.attempt}".encode()).hexdigest()[:16]
        return f"00-{self.trace_id}-{span}-01"


@dataclass(frozen=True)
class Outcome:
    """What the outside world answered. ``message`` is one line for people; ``detail`` is JSON, kept with the action.

    Neither may hold a secret.
    """

    message: str
    detail: dict[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TriggerContext:
    """What a trigger's instance is given. ``namespace`` is the sensor's."""

    namespace: str
    sensor: str
    trigger: str
    secret: Callable[[SecretKeySelector], str]
    """The secret's text; read it per action, it may rotate. Raises SecretMissing."""
    config_map: Callable[[ConfigMapKeySelector], str]
    clock: Clock
    log: logging.LoggerAdapter[logging.Logger]
    bucket: Bucket | None = None
    """Durable and this trigger's own; None where nothing is kept."""
    account: Account | None = None
    """The service account to act as in the Kubernetes API; None means the process's own."""


class Trigger(ABC, Generic[ConfigT]):
    """One trigger of a sensor, an async context manager: clients are opened once and reused for every action."""

    kind: ClassVar[str]
    """The key in ``template``: ``http``, ``argoWorkflow``."""
    config: ClassVar[type[TriggerConfig]]
    example: ClassVar[str]
    """A complete Sensor manifest in YAML: linted, documented, printed by ``argosy new``."""
    requires: ClassVar[tuple[str, ...]] = ()
    """Importable modules that this kind needs beyond the core."""
    extra: ClassVar[str] = ""
    """The name in ``pip install 'argosy[…]'`` that brings them."""
    peer: ClassVar[str] = ""
    """What the tests run it against: ``real:``, ``emulator:`` or ``double:``, and its name (``real: nats-server``)."""
    ours: ClassVar[bool] = False
    """Whether upstream does not have this kind; ``argosy lint --strict-upstream`` names it."""

    def __init__(self, ctx: TriggerContext) -> None:
        self.ctx = ctx

    @classmethod
    def rights(cls, config: ConfigT, asking: Asking) -> Rights:
        """What the sensor's service account must be allowed in the Kubernetes API for this block; most kinds ask it nothing.

        Pure: told from the manifest, without a cluster. Secrets and ConfigMaps are mounted and need no right.
        """
        return Rights()

    async def __aenter__(self) -> Self:
        """Open what is shared by all actions. Must not wait for the outside world: that belongs to ``fire``."""
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Close it."""

    async def fetch(self, config: ConfigT) -> Json | None:
        """The object that the action is about, before parameters; None where the kind has none.

        Called before every try. Raises as ``fire`` does.
        """
        return None

    @abstractmethod
    async def fire(self, config: ConfigT, action: Action) -> Outcome:
        """Perform the action once. ``config`` has this action's parameters already applied and validated.

        Raise Rejected if another try cannot help, RetryAfter if the receiver said when; anything else is retried as the manifest
        says, then dead-lettered. May be called concurrently for different actions.
        """
