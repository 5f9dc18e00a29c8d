"""What the rest of Argosy may expect of a bus, whichever engine stands behind it.

Three things live on a bus. The *event log* keeps events in one order and is read by position: a consumer's position is
moved by ``commit``, so a crash repeats what was not committed and never skips. The *action queue* keeps one item per
action until it is done or dead, and remembers finished ids so that writing an action twice stores it once. A *bucket* is a
durable dictionary for join state and cursors.

Every engine inherits the suite ``tests/conformance/bus.py``; the words here and the tests there say the same.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Collection
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Literal, NamedTuple

from argosy.event import Event


class Pair(NamedTuple):
    """What a dependency names: an EventSource and one of its events. On JetStream ``default.<source>.<event>``."""

    source: str
    event: str


@dataclass(frozen=True, slots=True)
class At:
    """A place in the log: the first entry at or after ``position`` or, if it is not 0, stored at or after ``time`` (seconds since the epoch)."""

    position: int = 0
    time: float = 0.0


Start = Literal["new", "earliest"] | At
"""Where a consumer begins that the bus has never seen: after the last stored event, at the first, or at a place."""


class Extent(NamedTuple):
    """The first and the last position of the log; of an empty one the first is behind the last."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """One entry of the log. ``event`` is None where the entry is not a CloudEvent; ``error`` then says why.

    ``position`` grows along the log (gaps are normal). ``stored_at`` is seconds since the epoch, by the bus's clock.
    ``repeated`` is True where an earlier reader of this consumer may have acted on the entry already without having
    committed it: what it caused must be written with ``again=True``.
    """

    position: int
    stored_at: float
    event: Event | None
    error: str = ""
    repeated: bool = False


class Subscription(ABC):
    """An open reader of the log. Iterating yields batches, each entry once, in log order.

    Iteration waits for ever: for events, and through every loss of the bus, after which it goes on where it stood.
    At most ``max_in_flight`` entries are handed out beyond the committed position.
    """

    def __aiter__(self) -> AsyncIterator[list[Delivery]]:
        return _Batches(self)

    @abstractmethod
    async def next_batch(self) -> list[Delivery]:
        """What ``async for`` yields next. Cancelling it loses nothing."""

    @abstractmethod
    async def commit(self, position: int) -> None:
        """Everything up to and including ``position`` is settled and will not be handed out again.

        Returns once that is durable; waits through a loss of the bus.
        """

    @abstractmethod
    async def caught_up(self) -> bool:
        """Whether everything that was stored before this call has been handed out. Waits through a loss of the bus."""


class _Batches(AsyncIterator[list[Delivery]]):
    """An iterator that survives its own cancellation, which a generator does not."""

    def __init__(self, subscription: Subscription) -> None:
        self._subscription = subscription

    async def __anext__(self) -> list[Delivery]:
        return await self._subscription.next_batch()


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An item that was given up. ``failures`` counts its tries; ``died_at`` is seconds since the epoch."""

    id: str
    body: bytes
    reason: str
    failures: int
    died_at: float


State = Literal["waiting", "held", "resting", "done", "dead", "discarded"]
"""``held``: a worker has it, or had it when it died. ``resting``: its last try failed and the next is not due."""
Shelf = Literal["queued", "dead", "ended"]
"""What ``Queue.items`` lists: what is still to be done, dead letters, or what is done or discarded."""


@dataclass(frozen=True, slots=True)
class Item:
    """What a queue knows of one id.

    ``place`` is where it stands on its shelf, for paging. ``at`` is when it was put or when it ended, ``not_before`` when its rest is over
    (0 where it does not rest); both are seconds since the epoch. ``body`` is None where it is not kept any more (done,
    discarded). ``error`` is what the last try said, why it died, or why it was discarded and by whom.
    """

    id: str
    state: State
    place: int
    at: float
    body: bytes | None = None
    failures: int = 0
    error: str = ""
    not_before: float = 0.0
    outcome: bytes = b""


def discarded_because(reason: str, by: str) -> str:
    """The ``error`` of an item that somebody discarded."""
    return f"{reason} (discarded by {by})" if by else reason


class Lease(ABC):
    """One item of a queue, held by one worker until one of the five endings below is called.

    The engine keeps the lease alive for as long as the worker's process lives and the ``take`` context is open. If the
    process dies, the item is handed out again with the same ``failures``: dying is no failure of the item.
    """

    id: str
    body: bytes
    put_at: float
    """When the item was put, in seconds since the epoch."""
    failures: int
    """How often a try of this item was counted as failed, over all processes."""
    last_error: str
    """What the last failed try said; empty at the first try."""
    rested_before: bool
    """Whether the item has rested before, be it after a failed try or not, and be it that somebody ended the rest."""

    @abstractmethod
    async def done(self, outcome: bytes = b"") -> None:
        """The item succeeded. Returns once durable: neither it nor a later ``put`` of its id is handed out again.

        ``outcome`` is kept beside the id for as long as the queue remembers finished items.
        """

    @abstractmethod
    async def retry_in(self, seconds: float, error: str, *, counted: bool = True) -> None:
        """The try failed: count it durably, hand the item out again after ``seconds``.

        With ``max_in_flight=1`` later items wait behind it, so order is kept. With ``counted=False`` it was no try: the item rests, and
        ``failures`` stays as it is.
        """

    @abstractmethod
    async def rest(self, seconds: float, error: str, *, counted: bool = True) -> None:
        """As ``retry_in``, durably, but hold on to the item: ``rested`` then waits for the end of the rest."""

    @property
    @abstractmethod
    def resting(self) -> bool:
        """Whether the item rests now, in the hands of whoever has the lease."""

    @abstractmethod
    async def rested(self) -> bool:
        """Return True once the item does not rest, at once if it does not. False if somebody ended the item meanwhile: the lease is over."""

    @abstractmethod
    async def dead_letter(self, reason: str) -> None:
        """Give the item up: move it to the dead letters, where it stays until a person acts. Durable on return."""

    @abstractmethod
    async def discard(self, reason: str) -> None:
        """The item shall not be done: its id is kept as discarded, with the reason, as long as a finished one. Durable on return."""

    @abstractmethod
    async def hand_back(self) -> None:
        """Not tried (the process is stopping): hand it out again at once, to whoever takes, without counting."""


class Queue(ABC):
    """The durable queue of one trigger's actions. Safe to use concurrently; several processes may open one name."""

    name: str

    @abstractmethod
    async def put(self, item_id: str, body: bytes, *, again: bool = False) -> bool:
        """Store an item; durable on return. False if this id is waiting, held, done or dead already: nothing stored.

        Ids are recognised within the engine's duplicate window (at least an hour). ``again=True`` says that this id may
        have been put long ago (its event is being read again): the record of finished items is asked as well.
        Waits through a loss of the bus. Raises EventTooLarge if ``body`` is larger than the bus accepts.
        """

    @abstractmethod
    def take(self, *, resting: bool = False) -> AbstractAsyncContextManager[AsyncIterator[Lease]]:
        """Hand out items in the order they were put, at most ``max_in_flight`` at a time over all takers.

        With ``resting``, items that rest are handed out too, in their order; the taker waits with ``Lease.rested``. So a taker that holds several
        knows of every item what came before it, also after a crash or a loss of the bus: what a predecessor held comes before
        what nobody has seen yet. There must be one such taker at a time.
        """

    @abstractmethod
    async def depth(self) -> int:
        """How many items wait or are held."""

    @abstractmethod
    async def outcome(self, item_id: str) -> bytes | None:
        """What ``done`` kept for this id, or None where it is not finished or was forgotten."""

    @abstractmethod
    async def dead_letters(self) -> list[DeadLetter]:
        """All dead letters of this queue, oldest first."""

    async def count_dead(self) -> int:
        """How many dead letters this queue has."""
        return len(await self.dead_letters())

    # For persons. Any process that reaches the bus may call these, whoever takes from the queue.

    @abstractmethod
    async def items(self, shelf: Shelf, *, after: int = 0, limit: int = 100, since: float = 0.0) -> list[Item]:
        """At most ``limit`` items of a shelf: ``queued`` and ``dead`` oldest first, ``ended`` newest first.

        ``after`` is the place of the last one that the caller has seen. ``since`` leaves out what was put, died or ended before (seconds
        since the epoch).
        """

    @abstractmethod
    async def find(self, item_id: str) -> Item | None:
        """What is known of this id, or None where it never was here or was forgotten."""

    @abstractmethod
    async def retry_now(self, item_id: str) -> bool:
        """End the rest of an item: it is handed out as soon as there is room. False if it does not rest."""

    @abstractmethod
    async def redrive(self, item_id: str) -> bool:
        """Put a dead letter back into the queue, behind what waits, as if it had never been tried. False if the id is not dead.

        Whatever dies in between: the item is dead or queued, never lost and never both, and calling again completes it.
        """

    @abstractmethod
    async def discard(self, item_id: str, reason: str, by: str) -> bool:
        """End an item that waits, rests or is dead: it is kept as discarded, with the reason and who said so. False if there is none.

        False also for an item that is held: its worker is about to end it. One that is handed out in this very moment may
        still be done, and then its outcome says so.
        """


@dataclass(frozen=True, slots=True)
class Entry:
    """A value in a bucket. ``revision`` grows with every write of the bucket and is above 0."""

    value: bytes
    revision: int


class Bucket(ABC):
    """A durable dictionary. Keys are any text without NUL; values up to the bus's message size.

    Every method waits through a loss of the bus.
    """

    @abstractmethod
    async def get(self, key: str) -> Entry | None: ...

    @abstractmethod
    async def put(self, key: str, value: bytes, *, revision: int | None = None) -> int:
        """Store and return the new revision. With ``revision``, only if the key still stands at it (0: not there).

        Raises BusError if it does not.
        """

    @abstractmethod
    async def delete(self, key: str) -> None:
        """Remove the key; nothing happens if it is not there."""

    @abstractmethod
    async def keys(self) -> list[str]:
        """All keys, sorted."""


class Bus(ABC):
    """One event log with its queues and buckets. An async context manager: open on enter, closed on exit.

    Names of consumers, queues and buckets are any text; an engine encodes what its store cannot hold. Entering raises
    BusUnavailable if the bus cannot be reached within the engine's ``connect_timeout_seconds``, and BusError, with the way out,
    if it is one that Argosy cannot use (too old, no JetStream, a stream whose settings do not fit).
    """

    @abstractmethod
    async def __aenter__(self) -> Bus: ...

    @abstractmethod
    async def __aexit__(self, *exc: object) -> None: ...

    @property
    @abstractmethod
    def ready(self) -> bool:
        """Whether the bus can be reached now."""

    @abstractmethod
    async def publish(self, event: Event) -> None:
        """Return once the log holds the event durably. Waits through a loss of the bus; safe to call concurrently.

        An event of the same source, subject and id is stored once within the duplicate window.
        Raises EventTooLarge if the bus does not accept its size.
        """

    @abstractmethod
    def subscribe(
        self, consumer: str, pairs: Collection[Pair], *, start: Start = "new", max_in_flight: int = 256
    ) -> AbstractAsyncContextManager[Subscription]:
        """Read the log as ``consumer``, which may be read by one process at a time.

        The consumer's position is durable before the context is entered: events stored from then on are not missed,
        also by a later process. ``start`` counts only for a consumer that has no position yet. ``pairs`` may differ from the last
        time; a new pair is read from the consumer's position on.
        """

    @abstractmethod
    async def position(self, consumer: str) -> int | None:
        """The committed position of a consumer; None if the bus has never seen it."""

    @abstractmethod
    async def extent(self) -> Extent:
        """Where the log begins and ends now."""

    @abstractmethod
    def history(
        self, pairs: Collection[Pair] = (), *, at: At | None = None, until: int | None = None, follow: bool = False
    ) -> AsyncGenerator[list[Delivery], None]:
        """Look into the log without being a consumer of it: batches of entries in log order, from ``at`` on.

        Ends at the position ``until``, else where the log ends while it is read; with ``follow`` it waits for what comes. Empty
        ``pairs`` are all. Close it (``contextlib.aclosing``) where it is not read to its end. Waits through a loss of the bus.
        """

    @abstractmethod
    async def find(self, event_id: str, likely: Collection[Pair] = ()) -> list[Delivery]:
        """The entries whose event has this id, else those whose event's id begins with it; newest first, at most ten.

        An event that came within the duplicate window is found at once where its pair is among the ``likely`` ones.
        """

    @abstractmethod
    def queue(self, name: str, *, max_in_flight: int | None = None) -> Queue:
        """The queue of this name; made when first used.

        Who takes from it says ``max_in_flight`` (1 where nobody has); None leaves it as it is.
        """

    @abstractmethod
    async def queues(self) -> list[str]:
        """The names of the queues in which something waits or is dead, sorted; also of those that nobody takes from any more."""

    @abstractmethod
    def bucket(self, name: str) -> Bucket:
        """The bucket of this name; made when first used."""
