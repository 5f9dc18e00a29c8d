"""What every trigger promises, said once: the suite that each kind's test inherits.

A kind's test gives a ``Receiver``: the block that fires at it, how to see what arrived, and how to make it
refuse, fail or hold its answer. The suite stands where the runtime stands: it opens the trigger, hands in
actions and judges what comes back. The receiver is real; only the runtime's side is played.

    class TestHttp(TriggerSuite):
        kind = "http"

        @pytest.fixture
        async def receiver(self):
            async with HttpReceiver() as receiver:
                yield receiver
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import traceback
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import orjson
import pytest
import yaml
from pydantic import ValidationError

from argosy import registry
from argosy.bus._base import Bucket
from argosy.clock import Clock, SystemClock
from argosy.errors import ConfigError, Rejected, RetryAfter, SecretMissing, TriggerError
from argosy.event import Event
from argosy.manifests.fields import (
    ConfigMapKeySelector,
    Json,
    SecretKeySelector,
    TriggerParameterSource,
    TriggerPolicy,
)
from argosy.manifests.sensor import parse_sensor
from argosy.sensor import rendering
from argosy.triggers._base import Action, Outcome, Resolved, Trigger, TriggerContext
from tests.conformance import sent
from tests.conformance.bad_line import LINES, bad_line
from tests.conformance.gaps import Promises, not_applicable

PATIENCE_SECONDS = 20.0
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


FAILURES = {
    "refused": "nobody listens",
    "timeout": "no answer comes in time",
    "reset": "the connection breaks off",
    "tls": "the certificate is not trusted",
    "denied": "the receiver refuses for good",
    "unwell": "the receiver is unwell",
    "limited": "the receiver wants fewer at a time",
}
"""How an action may go wrong on its way, in the words of the kinds' pages."""


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


class TriggerSuite(Promises):
    """Inherit it, set ``kind``, give a ``receiver`` fixture; every promise of ``Trigger`` is then proved."""

    kind: ClassVar[str]
    bad_blocks: ClassVar[list[tuple[dict[str, Json], str]]] = []
    """Blocks that cannot work, and what the error must name. At least one."""

    @pytest.fixture
    async def receiver(self) -> AsyncIterator[Receiver]:
        raise NotImplementedError("give the receiver of this kind")
        yield

    @pytest.fixture
    def stage(self, receiver: Receiver) -> Stage:
        return Stage(self.kind, secrets=dict(receiver.secrets), namespace=receiver.namespace)

    @pytest.fixture
    async def trigger(self, stage: Stage) -> AsyncIterator[Trigger[Any]]:
        async with stage.open() as trigger:
            yield trigger

    async def test_an_action_has_one_effect_and_an_outcome(
        self, receiver: Receiver, stage: Stage, trigger: Trigger[Any]
    ) -> None:
        # When an action is fired
        outcome = await stage.fire(trigger, receiver.block, id="action-1")
        # Then it arrived once, and the outcome is one line and JSON
        assert await receiver.effects() == ["action-1"]
        assert outcome.message
        assert "\n" not in outcome.message
        orjson.dumps(outcome.detail)

    async def test_a_repeated_action_is_recognised(
        self, receiver: Receiver, stage: Stage, trigger: Trigger[Any]
    ) -> None:
        # Given an action that was performed, and whose end nobody recorded
        await stage.fire(trigger, receiver.block, id="action-1")
        # When another process tries it again
        async with stage.open() as other:
            await stage.fire(other, receiver.block, id="action-1", attempt=2)
        # Then the receiver can tell that it is the same
        assert set(await receiver.effects()) == {"action-1"}
        assert len(await receiver.effects()) == (1 if receiver.deduplicates else 2)
        # And another action is another one
        await stage.fire(trigger, receiver.block, id="action-2")
        assert set(await receiver.effects()) == {"action-1", "action-2"}

    async def test_what_arrives_is_as_the_kinds_page_shows_it(
        self, receiver: Receiver, stage: Stage, trigger: Trigger[Any]
    ) -> None:
        # When an action is fired
        await stage.fire(trigger, receiver.block, id=sent.ACTION)
        # Then what arrives has the shape of the sample, and no secret is in it
        arrived = await receiver.arrived()
        shown = orjson.dumps(sent.without([receiver.block, arrived], receiver.private)).decode()
        assert [private for private in receiver.private if private in shown] == []
        block = sent.without(receiver.block, receiver.private)
        sent.compare_sent(self.kind, block, arrived, deduplicates=receiver.deduplicates, private=receiver.private)

    async def test_opening_touches_no_network(
        self, receiver: Receiver, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Given a machine that notes every connection and every name that is looked up
        touched: list[object] = []
        connect, look_up = socket.socket.connect, socket.getaddrinfo

        def noted_connect(self: socket.socket, address: Any) -> None:
            touched.append(address)
            return connect(self, address)

        def noted_look_up(*args: Any, **named: Any) -> Any:
            touched.append(args)
            return look_up(*args, **named)

        monkeypatch.setattr(socket.socket, "connect", noted_connect)
        monkeypatch.setattr(socket, "getaddrinfo", noted_look_up)
        # When the trigger is opened and closed
        async with stage.open():
            pass
        # Then there was none
        assert touched == []
        # And firing is what does it, so the notes are worth something
        async with stage.open() as trigger:
            await stage.fire(trigger, receiver.block)
        assert bool(touched) == receiver.networked

    async def test_a_refusal_that_will_last_is_rejected(
        self, receiver: Receiver, stage: Stage, trigger: Trigger[Any]
    ) -> None:
        if not receiver.can_refuse:
            not_applicable(f"nobody refuses what {self.kind!r} does")
        # Given a receiver that will never take it
        await receiver.refuse()
        # When the action is fired, then it is Rejected, with a sentence
        with pytest.raises(Rejected) as raised:
            await stage.fire(trigger, receiver.block)
        assert len(str(raised.value)) > 20

    async def test_a_failure_that_may_pass_is_no_rejection(
        self, receiver: Receiver, stage: Stage, trigger: Trigger[Any]
    ) -> None:
        if not receiver.can_fail:
            not_applicable(f"nothing fails in what {self.kind!r} does")
        # Given a receiver that is unwell
        await receiver.fail()
        # When the action is fired, then it failed with a sentence, and another try may help
        with pytest.raises(TriggerError) as raised:
            await stage.fire(trigger, receiver.block)
        assert not isinstance(raised.value, Rejected)
        assert len(str(raised.value)) > 20
        # And it does, when the receiver is well again
        await receiver.release()
        await stage.fire(trigger, receiver.block, id="action-1", attempt=2)
        assert "action-1" in await receiver.effects()

    def test_a_thousand_actions_reuse_connections(self, receiver: Receiver) -> None:
        if not receiver.networked:
            not_applicable(f"{self.kind!r} asks nobody over the network")
        self.shown_by_own_test("thousand")

    @pytest.mark.parametrize("how", FAILURES)
    async def test_a_failure_ends_in_its_class_with_a_sentence_to_act_on(
        self, how: str, receiver: Receiver, stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self._can_happen(how, receiver)
        async with contextlib.AsyncExitStack() as stack:
            # Given a receiver, or a line to it, that is ill in this way
            wait: float | None = None
            if how in LINES:
                receiver.lead(await stack.enter_async_context(bad_line(how, tmp_path, receiver.greeting)), monkeypatch)
                if how == "tls":
                    receiver.speak_tls(monkeypatch)
            elif how == "limited":
                wait = await receiver.limit(monkeypatch)
            else:
                await (receiver.refuse if how == "denied" else receiver.fail)()
            for name, value in receiver.hastened.items() if how == "timeout" else ():
                if name.startswith("argosy."):
                    monkeypatch.setattr(name, value)
                else:
                    receiver.block = {**receiver.block, name: value}
            # When an action is fired
            async with stage.open() as trigger:
                with pytest.raises(TriggerError) as raised:
                    await stage.fire(trigger, receiver.block)
        # Then another try is made where it may help, and the sentence says what and where
        assert isinstance(raised.value, Rejected) == (how == "denied")
        seconds = raised.value.seconds if isinstance(raised.value, RetryAfter) else None
        assert how != "limited" or seconds == wait
        said = str(raised.value)
        assert len(said) > 20
        assert "\n" not in said
        assert how not in LINES or receiver.address.partition(":")[0] in said, said
        assert [private for private in receiver.private if private in said] == []
        means = "rejected" if how == "denied" else "retried" if seconds is None else "retried when the receiver says"
        sent.compare_failure(self.kind, how, FAILURES[how], means, said, receiver.private)

    def _can_happen(self, how: str, receiver: Receiver) -> None:
        if not receiver.networked and (how in LINES or how == "limited"):
            not_applicable(f"{self.kind!r} asks nobody over the network")
        if how in receiver.never:
            not_applicable(receiver.never[how])
        if (how == "denied" and not receiver.can_refuse) or (how == "unwell" and not receiver.can_fail):
            not_applicable(f"nobody answers what {self.kind!r} does")

    def test_a_parameter_that_makes_the_block_wrong_is_rejected_by_name(self, receiver: Receiver) -> None:
        for block, named in self.bad_blocks:
            # Given a trigger whose parameters write a block that cannot work
            parameter = {"src": {"dependencyName": "dep", "dataKey": "block", "useRawData": True}, "dest": self.kind}
            sensor, problems = parse_sensor(
                {
                    "apiVersion": "argoproj.io/v1alpha1",
                    "kind": "Sensor",
                    "metadata": {"name": "stage"},
                    "spec": {
                        "dependencies": [{"name": "dep", "eventSourceName": "web", "eventName": "in"}],
                        "triggers": [{"template": {"name": "act", self.kind: {}}, "parameters": [parameter]}],
                    },
                }
            )
            assert sensor is not None, problems
            # When its event comes, then no try is made, and the error says which field or value
            with pytest.raises((Rejected, ConfigError)) as raised:
                rendering.prepare(sensor.triggers[0], {"dep": event({"block": block})})
            assert named in str(raised.value), f"{named!r} is not in: {raised.value}"

    async def test_secrets_are_in_no_outcome_no_error_and_no_log(
        self, receiver: Receiver, stage: Stage, trigger: Trigger[Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        if not receiver.private:
            not_applicable(f"{self.kind!r} uses no secrets of its own")
        caplog.set_level(logging.DEBUG, logger="argosy")
        seen: list[str] = []
        # When an action succeeds, is refused, and fails
        outcome = await stage.fire(trigger, receiver.block, id="well")
        seen += [outcome.message, orjson.dumps(outcome.detail).decode()]
        for private in receiver.private:
            assert await receiver.knows(private), "the secret was not used, so this test would prove nothing"
        for turn in (receiver.fail, receiver.release, receiver.refuse):
            await turn()
            try:
                outcome = await stage.fire(trigger, receiver.block, id=f"after-{turn.__name__}")
                seen += [outcome.message, orjson.dumps(outcome.detail).decode()]
            except TriggerError as error:
                seen += traceback.format_exception(error)
                seen.append(repr(error))
        seen += [repr(trigger)]
        seen += [f"{record.getMessage()} {record.__dict__}" for record in caplog.records]
        # Then none of it holds the secret
        for private in receiver.private:
            assert [text for text in seen if private in text] == []

    async def test_actions_can_be_fired_at_the_same_time(
        self, receiver: Receiver, stage: Stage, trigger: Trigger[Any]
    ) -> None:
        # Given a receiver that answers none before all have come
        names = [f"action-{number}" for number in range(5)]
        if receiver.can_hold:
            await receiver.hold()
        # When several actions are fired
        tasks = [asyncio.create_task(stage.fire(trigger, receiver.block, id=name)) for name in names]
        if receiver.can_hold:
            await eventually(lambda: _is(receiver.held(), len(names)), "all actions are there at once")
            await receiver.release()
        await asyncio.gather(*tasks)
        # Then each has its effect
        assert sorted(await receiver.effects()) == names

    async def test_a_cancelled_action_leaves_nothing_behind(self, receiver: Receiver, stage: Stage) -> None:
        if not receiver.can_hold:
            not_applicable(f"{self.kind!r} never waits, so it cannot be cancelled under way")
        # Given what there is after a trigger has been used once
        async with stage.open() as trigger:
            await stage.fire(trigger, receiver.block, id="before")
        before = _open_things()
        # When an action is cancelled while the receiver thinks
        async with stage.open() as trigger:
            await receiver.hold()
            task = asyncio.create_task(stage.fire(trigger, receiver.block, id="cut-off"))
            await eventually(lambda: _is(receiver.held(), 1), "the action is under way")
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            # Then the trigger still works
            await receiver.release()
            await stage.fire(trigger, receiver.block, id="after")
            assert "after" in await receiver.effects()
        # And no socket and no task of it stays
        await eventually(
            lambda: all(now <= then for now, then in zip(_open_things(), before, strict=True)),
            f"no more sockets and tasks than {before}",
        )

    async def test_a_block_that_cannot_work_is_refused_by_name(self) -> None:
        # Given blocks with one fault each, and one word that no kind knows
        plugin = Stage(self.kind).plugin
        for block, named in [*self.bad_blocks, ({"noSuchField": 1}, "noSuchField")]:
            # When the manifest is read, then the error says which field or value
            with pytest.raises(ValidationError) as raised:
                plugin.config.model_validate(block)
            assert named in str(raised.value), f"{named!r} is not in: {raised.value}"

    async def test_the_example_is_a_sensor_with_a_block_of_this_kind(self) -> None:
        plugin = Stage(self.kind).plugin
        manifest = yaml.safe_load(plugin.example)
        assert manifest["kind"] == "Sensor"
        blocks = [trigger["template"].get(self.kind) for trigger in manifest["spec"]["triggers"]]
        assert [plugin.config.model_validate(block) for block in blocks if block is not None]


async def _is(found: Awaitable[int], wanted: int) -> bool:
    return await found == wanted


def _open_things() -> tuple[int, int]:
    """Sockets and tasks of this process."""
    links = []
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # the descriptor of the listing itself is gone by now
            links.append(str(path.readlink()))
    return sum(link.startswith("socket:") for link in links), len(asyncio.all_tasks())
