"""What every trigger promises, said once: the suite that each kind's test inherits.

A kind's test gives a ``Receiver``: the block that fires at it, how to see what arrived, and how to make it refuse, fail or hold
its answer. The suite opens the trigger, hands in actions as the runtime does and judges what comes back.

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
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any, ClassVar

import orjson
import pytest
import yaml
from pydantic import ValidationError

from argosy.bus._base import Queue
from argosy.bus.memory import MemoryBus
from argosy.errors import ConfigError, Rejected, RetryAfter, TriggerError
from argosy.manifests.fields import Json
from argosy.manifests.sensor import parse_sensor
from argosy.runtime import failpoints
from argosy.runtime.actions import TriggerWorker
from argosy.runtime.duties import TriggerDuties
from argosy.runtime.secrets import Secrets
from argosy.runtime.telemetry import Metrics
from argosy.sensor import actions, rendering
from argosy.triggers._base import Trigger
from tests.conformance import sent
from tests.conformance.bad_line import LINES, bad_line
from tests.conformance.gaps import Promises, not_applicable
from tests.conformance.trigger_stage import PATIENCE_SECONDS, Receiver, Stage, event, eventually

__all__ = ["FAILURES", "PATIENCE_SECONDS", "Receiver", "Stage", "TriggerSuite", "event", "eventually"]

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

    async def test_an_action_that_was_done_and_not_written_down_comes_again_under_its_name(
        self, receiver: Receiver, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Given a process that dies between the receiver's yes and the queue's
        cause = event({"n": 1, "body": {"n": 1}})
        reached: list[str] = []

        def die(point: str) -> None:
            reached.append(point)
            if point == "action.fired":
                raise _Killed

        async with MemoryBus() as bus:
            queue = bus.queue("act")
            await queue.put("action-1", actions.encode(actions.ActionRecord(cause.time, {"dep": cause})))
            with monkeypatch.context() as patch:
                patch.setattr(failpoints, "reach", die)
                with pytest.raises(_Killed):
                    await asyncio.wait_for(self._worker(receiver, stage, bus).run(), PATIENCE_SECONDS)
            assert reached[-1] == "action.fired", await queue.find("action-1")
            assert await receiver.effects() == ["action-1"]
            # When another goes on in its place
            worker = asyncio.create_task(self._worker(receiver, stage, bus).run())
            try:
                await eventually(lambda: _ended(queue), "the action has ended")
            finally:
                worker.cancel()
                await asyncio.gather(worker, return_exceptions=True)
            # Then it is performed a second time under the same name, and who can tell lets it have no second effect
            found = await queue.find("action-1")
            assert found is not None
            assert (found.state, found.failures) == ("done", 0), found.error
            assert await receiver.effects() == ["action-1"] * (1 if receiver.deduplicates else 2)

    def _worker(self, receiver: Receiver, stage: Stage, bus: MemoryBus) -> TriggerWorker:
        """Who performs the actions of a trigger with the receiver's block, as in a process of its own."""
        secrets = Secrets()
        held: dict[tuple[str, str], dict[str, str]] = {}
        for (name, key), text in stage.secrets.items():
            held.setdefault((receiver.namespace, name), {})[key] = text
        secrets.update(held, {})
        sensor, problems = parse_sensor(_sensor({"template": {"name": "act", self.kind: receiver.block}}))
        assert sensor is not None, problems
        duties = TriggerDuties(secrets=secrets, clock=stage.clock, metrics=Metrics(), grace_seconds=1.0)
        return TriggerWorker(receiver.namespace, "stage", sensor.triggers[0], bus, bus.queue("act"), duties)

    async def test_what_arrives_is_as_the_kinds_page_shows_it(
        self, receiver: Receiver, stage: Stage, trigger: Trigger[Any]
    ) -> None:
        # When an action is fired
        await stage.fire(trigger, receiver.block, id=sent.ACTION)
        arrived = await receiver.arrived()
        # Then it has the shape of the sample, and no secret is in it
        shown = orjson.dumps(sent.without([receiver.block, arrived], receiver.private)).decode()
        assert [private for private in receiver.private if private in shown] == []
        sent.compare_sent(self.kind, receiver.block, arrived, receiver.private, deduplicates=receiver.deduplicates)

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
            trigger = {"template": {"name": "act", self.kind: {}}, "parameters": [parameter]}
            sensor, problems = parse_sensor(_sensor(trigger))
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


class _Killed(BaseException):
    """The process is gone: nobody writes anything down any more."""


def _sensor(trigger: Json) -> dict[str, Json]:
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Sensor",
        "metadata": {"name": "stage"},
        "spec": {
            "dependencies": [{"name": "dep", "eventSourceName": "web", "eventName": "in"}],
            "triggers": [trigger],
        },
    }


async def _ended(queue: Queue) -> bool:
    found = await queue.find("action-1")
    return found is not None and found.state in ("done", "dead")


async def _is(found: Awaitable[int], wanted: int) -> bool:
    return await found == wanted


def _open_things() -> tuple[int, int]:
    """Sockets and tasks of this process."""
    links = []
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # the descriptor of the listing itself is gone by now
            links.append(str(path.readlink()))
    return sum(link.startswith("socket:") for link in links), len(asyncio.all_tasks())
