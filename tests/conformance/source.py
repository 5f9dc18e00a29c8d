"""What every event source owes its upstream, said once: the suite that each kind's test inherits.

A kind's test gives an ``Upstream``: how to make it produce a message, and how to see what it was told. The
suite runs the source on a ``Stage``, which stands where the runtime stands: it hands in a context, starts
``run`` again when it ends, and has a gate in ``emit`` that a test can close. Then it looks upstream. Nothing
is mocked but the bus side of ``emit``.

    class TestWebhook(SourceSuite):
        kind = "webhook"

        @pytest.fixture
        async def upstream(self, tmp_path):
            async with WebhookClient() as upstream:
                yield upstream
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
import os
import socket
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, get_args

import orjson
import pytest
from pydantic import BaseModel, ValidationError

from argosy import registry
from argosy.bus._base import Bucket, Entry
from argosy.clock import Clock, SystemClock
from argosy.errors import ArgosyError, BusError, ConfigError, SecretMissing, SourceError
from argosy.manifests.fields import ConfigMapKeySelector, Json, SecretKeySelector
from argosy.sources._base import Source, SourceContext
from argosy.sources._http import HttpServers
from tests.conformance import samples
from tests.conformance.gaps import Promises, not_applicable

PATIENCE_SECONDS = 45.0
"""How long a condition may take before a test fails; nothing is asserted about how long it does take."""


def free_port() -> int:
    """A TCP port of the loopback that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def eventually(condition: Callable[[], bool | Awaitable[bool]], what: str = "") -> None:
    """Return once ``condition`` holds; fail after ``PATIENCE_SECONDS``."""
    deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    while True:
        found = condition()
        if await found if isinstance(found, Awaitable) else found:
            return
        if asyncio.get_running_loop().time() > deadline:
            pytest.fail(f"did not come about within {PATIENCE_SECONDS:g} s: {what or condition}")
        await asyncio.sleep(0.01)


class VirtualClock:
    """A clock that stands still until ``advance`` moves it; sleepers wake in the order of their times."""

    def __init__(self, start: dt.datetime) -> None:
        self._now = start
        self._sleepers: list[tuple[dt.datetime, int, asyncio.Future[None]]] = []
        self._count = 0

    def now(self) -> dt.datetime:
        return self._now

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        self._count += 1
        sleeper = (
            self._now + dt.timedelta(seconds=seconds),
            self._count,
            asyncio.get_running_loop().create_future(),
        )
        self._sleepers.append(sleeper)
        try:
            await sleeper[2]
        finally:
            self._sleepers.remove(sleeper)

    @property
    def sleeping(self) -> int:
        """How many wait for their time."""
        return sum(not sleeper[2].done() for sleeper in self._sleepers)

    async def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass, waking each sleeper at its own time and letting it go to sleep again."""
        end = self._now + dt.timedelta(seconds=seconds)
        while due := sorted(sleeper for sleeper in self._sleepers if sleeper[0] <= end and not sleeper[2].done()):
            self._now = max(self._now, due[0][0])
            due[0][2].set_result(None)
            await self._settle()
        self._now = end
        await self._settle()

    async def _settle(self) -> None:
        # A woken sleeper emits and sleeps again within a few turns of the loop; none of that needs real time.
        for _ in range(50):
            await asyncio.sleep(0)


class DictBucket(Bucket):
    """A bucket that outlives a source's restarts within one test."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self._revision = 0

    async def get(self, key: str) -> Entry | None:
        await asyncio.sleep(0)
        return self.entries.get(key)

    async def put(self, key: str, value: bytes, *, revision: int | None = None) -> int:
        await asyncio.sleep(0)
        stands_at = self.entries[key].revision if key in self.entries else 0
        if revision is not None and revision != stands_at:
            raise BusError(f"key {key!r} stands at revision {stands_at}, not {revision}")
        self._revision += 1
        self.entries[key] = Entry(value, self._revision)
        return self._revision

    async def delete(self, key: str) -> None:
        await asyncio.sleep(0)
        self.entries.pop(key, None)

    async def keys(self) -> list[str]:
        await asyncio.sleep(0)
        return sorted(self.entries)


@dataclass
class Emitted:
    """One event that ``emit`` took: its data as a value and as the bytes the bus would hold, and its id."""

    data: Json
    raw: bytes
    id: str | None


@dataclass
class Stage:
    """Where the runtime stands: runs one source, again whenever it ends, and holds the gate in ``emit``."""

    plugin: type[Source[Any]]
    block: dict[str, Json]
    secrets: dict[tuple[str, str], str] = field(default_factory=dict)
    config_maps: dict[tuple[str, str], str] = field(default_factory=dict)
    clock: Clock = field(default_factory=SystemClock)
    bucket: Bucket = field(default_factory=DictBucket)
    extras: dict[str, object] = field(default_factory=dict)
    http: HttpServers | None = None

    def __post_init__(self) -> None:
        self.emitted: list[Emitted] = []
        self.offered: list[Emitted] = []
        """All that ``emit`` was called with, whether it was taken or not."""
        self.refused: list[str] = []
        self.listening: list[str] = []
        self.errors: list[Exception] = []
        """What ``run`` raised, in order."""
        self.cut_off = 0
        """How many emits were cancelled under way."""
        self.under_way = 0
        self.failure: Exception | None = None
        """Set it, and ``emit`` raises it."""
        self.only = b""
        """Set it, and the gate and the failure are for events with these bytes in them."""
        self._gate = asyncio.Event()
        self._gate.set()
        self._task: asyncio.Task[None] | None = None
        self._up = asyncio.Event()

    def close_gate(self) -> None:
        """From now on ``emit`` waits, as it does while the bus is away."""
        self._gate.clear()

    def open_gate(self) -> None:
        """Let all waiting emits go on."""
        self._gate.set()

    async def emit(self, data: Json | bytes, *, id: str | None = None) -> None:
        raw = data if isinstance(data, bytes) else orjson.dumps(data)
        event = Emitted(orjson.loads(raw), raw, id)
        self.offered.append(event)
        self.under_way += 1
        try:
            meant = self.only in raw
            if meant:
                await self._gate.wait()
            await asyncio.sleep(0)
            if meant and self.failure is not None:
                raise self.failure
            self.emitted.append(event)
        except asyncio.CancelledError:
            self.cut_off += 1
            raise
        finally:
            self.under_way -= 1

    def secret(self, selector: SecretKeySelector) -> str:
        try:
            return self.secrets[selector.name, selector.key]
        except KeyError:
            raise SecretMissing(f"secret {selector.name!r} has no key {selector.key!r}") from None

    def config_map(self, selector: ConfigMapKeySelector) -> str:
        try:
            return self.config_maps[selector.name, selector.key]
        except KeyError:
            raise SecretMissing(f"config map {selector.name!r} has no key {selector.key!r}") from None

    def _listens(self, where: str) -> None:
        self.listening.append(where)
        self._up.set()

    def context(self) -> SourceContext[Any]:
        assert self.http is not None
        return SourceContext(
            namespace="default",
            event_source="stage",
            event_name="example",
            config=self.plugin.config.model_validate(self.block),
            emit=self.emit,
            secret=self.secret,
            config_map=self.config_map,
            bucket=self.bucket,
            http=self.http,
            clock=self.clock,
            log=logging.LoggerAdapter(logging.getLogger("stage"), {}),
            listening=self._listens,
            refused=self.refused.append,
            extras=self.extras,
        )

    async def _run_for_ever(self) -> None:
        while True:
            try:
                await self.plugin().run(self.context())
            except Exception as error:
                self.errors.append(error)
            self._up.clear()
            await asyncio.sleep(min(0.01 * 2 ** len(self.errors), 1.0))

    async def start(self) -> None:
        """Start the source and return once it receives."""
        self._up.clear()
        self._task = asyncio.create_task(self._run_for_ever())
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._up.wait()
        except TimeoutError:
            pytest.fail(f"the source did not say that it listens; it raised {self.errors[-3:]}")

    def begin_stop(self) -> asyncio.Task[None]:
        """Cancel the source, as the runtime does, and return its task, which ends when the source has."""
        assert self._task is not None
        task, self._task = self._task, None
        task.cancel()
        return task

    async def stop(self) -> None:
        """Cancel the source and return once it has ended."""
        if self._task is not None:
            await ended(self.begin_stop())

    async def events(self, count: int) -> list[Emitted]:
        """The first ``count`` events, once there are as many."""
        await eventually(
            lambda: len(self.emitted) >= count,
            f"{count} events, errors {self.errors[-3:]}, refused {self.refused}",
        )
        return self.emitted[:count]


async def ended(task: asyncio.Task[None]) -> None:
    """Wait for a cancelled task; fail if it does not end."""
    # Not by awaiting the task under a timeout: that would cancel it a second time, and pass.
    done, _ = await asyncio.wait({task}, timeout=PATIENCE_SECONDS)
    if not done:
        task.cancel()
        pytest.fail(f"the source did not end within {PATIENCE_SECONDS:g} s of its cancellation")
    with contextlib.suppress(asyncio.CancelledError):
        task.result()


@contextlib.asynccontextmanager
async def on_stage(kind: str, block: dict[str, Json], **given: Any) -> AsyncIterator[Stage]:
    """A stage for ``kind``, not started; whatever runs on it is stopped at the end."""
    plugin = registry.source(kind)
    assert plugin is not None, f"there is no source kind {kind!r}"
    async with HttpServers(host="127.0.0.1", linger_seconds=0.0) as http:
        stage = Stage(plugin, block, http=http, **given)
        try:
            yield stage
        finally:
            stage.open_gate()
            await stage.stop()


@contextlib.asynccontextmanager
async def raising(kind: str, block: dict[str, Json], **given: Any) -> AsyncIterator[str]:
    """What the source says when it starts with this block and cannot."""
    async with on_stage(kind, block, **given) as stage:
        with pytest.raises((SourceError, ConfigError)) as raised:
            await stage.plugin().run(stage.context())
        assert stage.listening == []
        yield str(raised.value)


class Upstream(ABC):
    """The other side of a source, as a test sees it."""

    block: dict[str, Json]
    """One event's configuration, as it stands in a manifest."""
    secrets: ClassVar[dict[tuple[str, str], str]] = {}
    clock: Clock | None = None
    """The clock the source is given; None for the machine's."""
    bucket: Bucket | None = None
    """The bucket the source is given, where what it was told stands there; None for one of the stage's
    own."""
    redelivers = False
    """Whether a message that was not acknowledged comes again, when the source has started again."""
    keeps = False
    """Whether messages sent while no source runs wait for it."""
    names_messages = False
    """Whether the upstream has ids of its own, so that ``emit`` must be given one."""

    @abstractmethod
    async def send(self, text: str) -> None:
        """Produce one message that carries ``text``; return once the upstream has it, not once it was
        acknowledged.

        Must not fail where no source listens: then the message is lost, or kept if ``keeps``.
        """

    @abstractmethod
    def text_of(self, data: Json) -> str:
        """The ``text`` of ``send`` out of an event's data. Asserts the shape of the data on the way."""

    async def acknowledged(self) -> int:
        """How many messages the upstream has been told are kept, since the test began."""
        raise NotImplementedError("the upstream of a source that acknowledges must say what it was told")

    async def guard(self, secret: str) -> tuple[dict[str, Json], dict[tuple[str, str], str]]:
        """From now on whoever comes here, or receives from here, needs this secret; one who had another is sent away.

        Returns the fields of the block by which the source uses a secret, and the secrets that it is to have.
        """
        raise NotImplementedError

    async def settle(self) -> None:
        """Return when whatever the source has told the upstream by now would show in ``acknowledged``.

        The default is a window of observation: that something does not happen cannot be awaited.
        """
        await asyncio.sleep(0.15)


class SourceSuite(Promises):
    """Inherit it, set ``kind``, give an ``upstream`` fixture; every promise of ``Source`` is then proved."""

    kind: ClassVar[str]
    copies_metadata: ClassVar[bool] = True
    """Whether the event's data carries ``metadata`` (two kinds of upstream's do not)."""
    bad_blocks: ClassVar[list[tuple[dict[str, Json], str]]] = []
    """Blocks that cannot work, and what the error must name. At least one."""

    @pytest.fixture
    async def upstream(self) -> AsyncIterator[Upstream]:
        raise NotImplementedError("give the upstream of this kind")
        yield

    @pytest.fixture
    async def stage(self, upstream: Upstream) -> AsyncIterator[Stage]:
        given: dict[str, Any] = {"secrets": dict(upstream.secrets)}
        if upstream.clock is not None:
            given["clock"] = upstream.clock
        if upstream.bucket is not None:
            given["bucket"] = upstream.bucket
        async with on_stage(self.kind, dict(upstream.block), **given) as stage:
            yield stage

    def plugin(self) -> type[Source[Any]]:
        found = registry.source(self.kind)
        assert found is not None
        return found

    def _needs_acknowledgement(self) -> None:
        if not self.plugin().acknowledges:
            not_applicable(f"{self.kind!r} declares that its upstream takes no acknowledgement")

    async def test_a_message_becomes_one_event_of_the_documented_shape(self, upstream: Upstream, stage: Stage) -> None:
        # Given a source that receives
        await stage.start()
        # When its upstream produces a message
        await upstream.send("one")
        # Then one event carries it, and nothing else was emitted
        (event,) = await stage.events(1)
        assert upstream.text_of(event.data) == "one"
        await upstream.settle()
        assert len(stage.offered) == 1
        assert not stage.errors
        # And it looks like the sample that the documentation shows
        samples.compare(self.kind, event.data, event.id)

    async def test_metadata_of_the_manifest_stands_in_the_data(self, upstream: Upstream, stage: Stage) -> None:
        # Given a block with metadata
        if not self.copies_metadata:
            not_applicable("this kind's data has no metadata, as upstream's has none")
        stage.block["metadata"] = {"hello": "world", "größe": "10"}
        await stage.start()
        # When a message comes
        await upstream.send("one")
        # Then the event's data carries the same metadata
        (event,) = await stage.events(1)
        assert event.data["metadata"] == {"hello": "world", "größe": "10"}

    async def test_messages_arrive_each_once(self, upstream: Upstream, stage: Stage) -> None:
        # Given a source that receives
        await stage.start()
        # When many messages come in one go
        texts = [f"message-{number:02}" for number in range(30)]
        for text in texts:
            await upstream.send(text)
        # Then each becomes exactly one event
        await eventually(lambda: len(stage.emitted) >= len(texts), f"{len(texts)} events, got {len(stage.emitted)}")
        await upstream.settle()
        assert sorted(upstream.text_of(event.data) for event in stage.emitted) == texts
        if upstream.names_messages:
            assert len({event.id for event in stage.emitted}) == len(texts)
            assert None not in {event.id for event in stage.emitted}

    async def test_upstream_is_told_only_after_emit_returned(self, upstream: Upstream, stage: Stage) -> None:
        self._needs_acknowledgement()
        # Given a bus that does not answer
        await stage.start()
        stage.close_gate()
        # When a message comes
        await upstream.send("one")
        await eventually(lambda: stage.under_way == 1, "emit was called")
        # Then the upstream is told nothing while emit waits
        await upstream.settle()
        assert await upstream.acknowledged() == 0
        # And it is told once emit has returned
        stage.open_gate()
        await eventually(lambda: _is(upstream.acknowledged(), 1), "the upstream was told")

    async def test_upstream_is_not_told_of_an_event_that_the_bus_refused(
        self, upstream: Upstream, stage: Stage
    ) -> None:
        self._needs_acknowledgement()
        # Given a bus that refuses
        await stage.start()
        stage.failure = BusError("the stage refuses this event")
        # When a message comes
        await upstream.send("one")
        await eventually(lambda: len(stage.offered) >= 1 and stage.under_way == 0, "emit was called and failed")
        # Then the upstream is not told that it was kept
        await upstream.settle()
        assert await upstream.acknowledged() == 0
        # And where it delivers again, the message is not lost
        stage.failure = None
        if upstream.redelivers:
            await eventually(lambda: len(stage.emitted) >= 1, f"the message came again, errors {stage.errors}")
            assert upstream.text_of(stage.emitted[0].data) == "one"
            await eventually(lambda: _is(upstream.acknowledged(), 1), "the upstream was told")

    async def test_a_redelivered_message_keeps_its_id(self, upstream: Upstream, stage: Stage) -> None:
        if not (upstream.redelivers and upstream.names_messages):
            not_applicable(f"the upstream of {self.kind!r} does not deliver a named message again")
        # Given a message whose event was offered but not stored
        await stage.start()
        stage.failure = BusError("the stage refuses this event")
        await upstream.send("one")
        await eventually(lambda: len(stage.offered) >= 1 and stage.under_way == 0, "emit was called and failed")
        # When it is delivered again
        stage.failure = None
        (event,) = await stage.events(1)
        # Then it has the id that it had
        assert event.id
        assert {offered.id for offered in stage.offered} == {event.id}

    async def test_a_source_that_ends_lets_the_emit_under_way_finish(self, upstream: Upstream, stage: Stage) -> None:
        # Given an emit under way
        await stage.start()
        stage.close_gate()
        await upstream.send("one")
        await eventually(lambda: stage.under_way == 1, "emit was called")
        # When the source is cancelled
        task = stage.begin_stop()
        await upstream.settle()
        # Then it waits for the emit
        assert not task.done()
        assert stage.cut_off == 0
        # And receives nothing new meanwhile
        await upstream.send("two")
        await upstream.settle()
        assert len(stage.offered) == 1
        # And ends when the emit has, with the upstream told
        stage.open_gate()
        await ended(task)
        assert stage.cut_off == 0
        assert [upstream.text_of(event.data) for event in stage.emitted] == ["one"]
        if self.plugin().acknowledges:
            await eventually(lambda: _is(upstream.acknowledged(), 1), "the upstream was told")

    async def test_a_source_that_ended_leaves_nothing_behind(self, upstream: Upstream, stage: Stage) -> None:
        # Given a source that has run, received and ended once, so that whatever is made once per process is
        # there
        await stage.start()
        await upstream.send("one")
        await stage.events(1)
        await stage.stop()
        await upstream.settle()
        before = _open_things()
        # When it runs and ends again
        await stage.start()
        await upstream.send("two")
        await eventually(
            lambda: any(upstream.text_of(event.data) == "two" for event in stage.emitted), "the event 'two'"
        )
        await stage.stop()
        # Then no socket, watch or task of it stays
        await eventually(lambda: _open_things() <= before, f"nothing more than {before}")

    async def test_a_source_starts_again_after_it_ended(self, upstream: Upstream, stage: Stage) -> None:
        # Given a source that received and ended
        await stage.start()
        await upstream.send("before")
        await stage.events(1)
        await stage.stop()
        # When a message comes while it is away, and one after it has come back
        if upstream.keeps:
            await upstream.send("meanwhile")
        await stage.start()
        await upstream.send("after")
        # Then both become events, and the old one is not repeated
        texts = ["after", "before", *(["meanwhile"] if upstream.keeps else [])]
        await eventually(lambda: len(stage.emitted) >= len(texts), f"{len(texts)} events, got {stage.emitted}")
        await upstream.settle()
        assert sorted(upstream.text_of(event.data) for event in stage.emitted) == texts

    async def test_a_rotated_secret_is_taken_up_without_a_restart(
        self, upstream: Upstream, stage: Stage, caplog: pytest.LogCaptureFixture
    ) -> None:
        if not _has_secrets(self.plugin().config):
            not_applicable(f"{self.kind!r} uses no secret")
        if type(upstream).guard is Upstream.guard:
            self.shown_by_own_test("rotated")
        caplog.set_level(logging.DEBUG)
        # Given a source that receives by a secret
        block, secrets = await upstream.guard("the-first-secret")
        stage.block |= block
        stage.secrets |= secrets
        await stage.start()
        await upstream.send("one")
        await stage.events(1)
        # When it is another one from now on, on both sides
        _, secrets = await upstream.guard("the-second-secret")
        stage.secrets |= secrets
        await upstream.send("two")
        # Then the next message comes by that, though nobody started anything anew
        await eventually(
            lambda: any(upstream.text_of(event.data) == "two" for event in stage.emitted),
            f"the event 'two', errors {stage.errors[-3:]}, refused {stage.refused}",
        )
        # And neither stands in any text
        told = f"{stage.errors} {stage.refused} {stage.listening} {caplog.text}"
        assert "the-first-secret" not in told and "the-second-secret" not in told

    async def test_a_block_that_cannot_work_is_refused_by_name(self) -> None:
        # Given blocks with one fault each
        assert self.bad_blocks, "give at least one block that cannot work"
        for block, named in self.bad_blocks:
            # When the manifest is read
            with pytest.raises((ValidationError, ArgosyError)) as raised:
                self.plugin().config.model_validate(block)
            # Then the error says which field or value
            assert named in str(raised.value), f"{named!r} is not in: {raised.value}"


def _has_secrets(model: type[BaseModel], seen: frozenset[type[BaseModel]] = frozenset()) -> bool:
    """Whether a field of the model, or of a model in it, names a Secret."""

    def within(annotation: Any) -> bool:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            return annotation is SecretKeySelector or (
                annotation not in seen and _has_secrets(annotation, seen | {annotation})
            )
        return any(within(inner) for inner in get_args(annotation))

    return any(within(field.annotation) for field in model.model_fields.values())


async def _is(found: Awaitable[int], wanted: int) -> bool:
    return await found == wanted


@dataclass(frozen=True)
class _Open:
    sockets: int
    watches: int
    tasks: int

    def __le__(self, other: _Open) -> bool:
        return self.sockets <= other.sockets and self.watches <= other.watches and self.tasks <= other.tasks


def _open_things() -> _Open:
    links = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the descriptor of the listing itself is gone by now
            links.append(os.readlink(f"/proc/self/fd/{name}"))
    return _Open(
        sockets=sum(link.startswith("socket:") for link in links),
        watches=sum("inotify" in link for link in links),
        tasks=len(asyncio.all_tasks()),
    )
