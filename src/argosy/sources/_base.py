"""The contract of an event source: what a plug-in is given, what it promises, what the runtime does for it.

One file in this package is one kind; its name says the kind. The file declares a configuration model, an example and
``run``; manifest field, validation, JSON schema, lint, docs and metrics are read from it. Client libraries are imported inside
``run``, so that reading manifests stays fast. Nothing here retries, counts or logs per event: the runtime does.
"""

from __future__ import annotations

import builtins
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar, get_args

from pydantic import Field

from argosy.bus._base import Bucket
from argosy.clock import Clock
from argosy.kubernetes.rights import Account, Asking, Rights
from argosy.manifests.fields import ConfigMapKeySelector, EventFilter, Json, Model, SecretKeySelector
from argosy.sources._raw import Raw, Wrapped

if TYPE_CHECKING:
    from argosy.sources._http import HttpServers


class SourceConfig(Model):
    """What every kind's event can say. Frozen, camelCase in manifests, unknown keys refused.

    A kind whose ``filter`` holds more (prefixes, labels) derives it from ``EventFilter``: the runtime decides by
    ``filter.expression`` for every kind, also for those where upstream forgot it.
    """

    filter: EventFilter | None = None
    """Which events are kept."""
    metadata: dict[str, str] = Field(default_factory=dict)
    """Stands in the data of every event, as ``metadata``."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        for inner in get_args(cls.model_fields["filter"].annotation):
            if inner is not type(None) and not issubclass(inner, EventFilter):
                raise TypeError(f"{cls.__name__}.filter must be an EventFilter, so that it has 'expression'")

    @property
    def unverified(self) -> str:
        """Why the server that is connected to may be another one than is meant, as a clause; empty if it cannot."""
        return ""

    @property
    def no_effect(self) -> Mapping[str, str]:
        """Fields that change nothing as they are written, each with the reason as a clause; ``argosy lint`` says so."""
        return {}


ConfigT = TypeVar("ConfigT", bound=SourceConfig)


class Emit(Protocol):
    """Hands one event to the bus."""

    async def __call__(self, data: Json | bytes, *, id: str | None = None) -> None:
        """Return once the bus holds the event durably, or the event's filter dropped it.

        Waiting here is the back pressure. Safe to call concurrently. ``data`` is the event's data as a JSON value, or as
        JSON text already encoded (bytes). ``id`` is the upstream's own name for this message (offset, message id), unique
        within this event source's event: give it whenever there is one, and a redelivery is stored once.
        Raises EventTooLarge if the bus will never take it, EventInvalid if ``data`` is not JSON; refuse the
        message upstream then. While the bus is away it waits.
        """


@dataclass(frozen=True, kw_only=True)
class SourceContext(Generic[ConfigT]):
    """Everything a source is given. ``bucket`` is durable and this event's own: cursors go there."""

    namespace: str
    event_source: str
    event_name: str
    config: ConfigT
    emit: Emit
    secret: Callable[[SecretKeySelector], str]
    """The secret's text, one trailing newline cut. Read it when needed, not once: it may rotate. Raises SecretMissing."""
    config_map: Callable[[ConfigMapKeySelector], str]
    """As ``secret``, for ConfigMaps."""
    bucket: Bucket
    http: HttpServers
    """The shared HTTP servers: one per port, whatever kinds and events use it."""
    clock: Clock
    log: logging.LoggerAdapter[logging.Logger]
    listening: Callable[[str], None]
    """Call once the source receives, with where from, in words: ``http://0.0.0.0:12000/example``, ``queue 'q' of ...``."""
    refused: Callable[[str], None]
    """Count a message that cannot become an event, with the reason in a sentence; the runtime logs it, rate limited."""
    account: Account | None = None
    """The service account to act as in the Kubernetes API; None means the process's own."""
    extras: dict[str, object] = field(default_factory=dict)


class Source(ABC, Generic[ConfigT]):
    """One event of an EventSource, receiving. An instance serves one event and is made anew for every start."""

    kind: ClassVar[str]
    """The key in the manifest: ``amqp``, ``azureEventsHub``."""
    type: ClassVar[str] = ""
    """The CloudEvent type; empty means the kind itself (upstream differs for pubSub and storageGrid)."""
    config: ClassVar[builtins.type[SourceConfig]]
    """The model of one event's block."""
    example: ClassVar[str]
    """A complete EventSource manifest in YAML: linted, documented, printed by ``argosy new``."""
    exclusive: ClassVar[bool]
    """Whether only one process may receive at a time (upstream's leader-elected kinds)."""
    acknowledges: ClassVar[bool]
    """Whether the upstream is told (ack, 200, offset) only after ``emit`` returned. The conformance suite proves it."""
    requires: ClassVar[tuple[str, ...]] = ()
    """Importable modules that this kind needs beyond the core."""
    extra: ClassVar[str] = ""
    """The name in ``pip install 'argosy[…]'`` that brings them."""
    peer: ClassVar[str] = ""
    """What the tests run it against: ``real:``, ``emulator:`` or ``double:``, and its name (``real: Mosquitto``)."""

    @classmethod
    def wrap(cls, config: ConfigT, raw: Raw) -> Wrapped | None:
        """What ``run`` would emit for one message as it stands upstream; None where the kind has no such form.

        Pure, and the same code that ``run`` uses, so that recorded messages can be tested and explained offline.
        Raises EventInvalid where ``run`` would refuse the message.
        """
        return None

    @classmethod
    def rights(cls, config: ConfigT, asking: Asking) -> Rights:
        """What it must be allowed for this event: the service account in the Kubernetes API, the user in RabbitMQ. Most kinds
        need nothing. Pure: told from the manifest. Secrets and ConfigMaps are mounted and need no right.
        """
        return Rights()

    @abstractmethod
    async def run(self, ctx: SourceContext[ConfigT]) -> None:
        """Receive and emit until cancelled.

        Started again with growing pauses, for ever, whenever it raises or returns; so it does not retry, count or log per event,
        and catches nothing it cannot mend. On cancellation it stops receiving at once and lets the ``emit`` calls that are
        under way finish and be acknowledged, within the time that the runtime grants.
        """
