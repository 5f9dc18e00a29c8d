"""An action that waits for a person: what holds it up, what lets it go, what ends it; in virtual time on a bus in memory."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from argosy.bus._base import Queue
from argosy.bus.memory import MemoryBus
from argosy.clock import VirtualClock, run_virtually
from argosy.errors import Rejected, TriggerError
from argosy.event import Event
from argosy.runtime.actions import TriggerWorker
from argosy.runtime.approval import Approvals, Ruling
from argosy.runtime.duties import TriggerDuties
from argosy.runtime.lines import in_flight
from argosy.runtime.secrets import Secrets
from argosy.runtime.suspension import Switch, Switchboard, say
from argosy.runtime.telemetry import Metrics
from argosy.sensor import actions
from tests.unit.runtime.test_actions import EVENT, START, _Fake, _spec

SPEC = "template: {name: t, log: {}}\nretryStrategy: {steps: 2, duration: 1s}\napproval: {expires: 1h}\n"


class _Stage:
    """A queue, its worker, and a person."""

    def __init__(self, clock: VirtualClock, bus: MemoryBus, spec: str, *answers: Any) -> None:
        self.clock, self.bus = clock, bus
        self.spec = _spec(spec)
        self.world = _Fake(*answers)
        self.world.clock = clock
        self.queue: Queue = bus.queue("q", max_in_flight=in_flight(self.spec))
        self.below = bus.queue("q/dlq")
        self.approvals = Approvals(bus)
        self._worker: asyncio.Task[None] | None = None

    async def put(self, *ids: str, data: bytes = b'{"k":1}') -> None:
        event = Event("e1", "web", "in", "webhook", EVENT.time, data)
        for item in ids:
            await self.queue.put(item, actions.encode(actions.ActionRecord(event.time, {"d": event})))
        await self.clock.settle()

    async def start(self, switch: Switch | None = None) -> None:
        duties = TriggerDuties(
            secrets=Secrets(), clock=self.clock, metrics=Metrics(), grace_seconds=0.0, make=self.world.make
        )
        give_up_to = self.below if self.spec.dlq_trigger else None
        worker = TriggerWorker("ns", "s", self.spec, self.bus, self.queue, duties, give_up_to, switch=switch)
        self._worker = asyncio.create_task(worker.run())
        await self.clock.settle()

    async def stop(self) -> None:
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)

    async def say(self, item: str, verb: Any = "approved", comment: str = "") -> Ruling:
        """As the operation does it."""
        found = await self.queue.find(item)
        assert found is not None
        said = Ruling(verb, found.at, self.clock.now().timestamp(), "alice", comment)
        holds = await self.approvals.decide("q", item, said)
        await self.queue.retry_now(item)
        await self.clock.settle()
        return holds

    @property
    def fired(self) -> list[str]:
        return [action.id for _, _, action in self.world.fired]

    async def state(self, item: str) -> tuple[str, str]:
        found = await self.queue.find(item)
        assert found is not None
        return found.state, found.error


def on_stage(spec: str = SPEC, *answers: Any) -> Callable[[Callable[[_Stage], Awaitable[None]]], Callable[[], None]]:
    def around(test: Callable[[_Stage], Awaitable[None]]) -> Callable[[], None]:
        async def play(clock: VirtualClock) -> None:
            async with MemoryBus(clock=clock) as bus:
                stage = _Stage(clock, bus, spec, *answers)
                try:
                    await test(stage)
                finally:
                    await stage.stop()

        def run() -> None:
            run_virtually(START, play)

        run.__name__, run.__doc__ = test.__name__, test.__doc__
        return run

    return around


@on_stage()
async def test_an_action_waits_until_it_is_approved_and_keeps_who_did(stage: _Stage) -> None:
    await stage.start()
    await stage.put("1")
    await stage.clock.sleep(600)
    assert (stage.fired, (await stage.state("1"))[0]) == ([], "resting")

    await stage.say("1", comment="looks good")

    assert stage.fired == ["1"]
    outcome = json.loads(await stage.queue.outcome("1") or b"")
    assert outcome["approval"] == {
        "state": "approved",
        "by": "alice",
        "comment": "looks good",
        "at": pytest.approx(START.timestamp() + 600),
    }
    assert await stage.approvals.of("q") == {}


@on_stage()
async def test_what_is_denied_ends_as_discarded_with_the_reason(stage: _Stage) -> None:
    await stage.start()
    await stage.put("1")

    await stage.say("1", "denied", "too risky")

    assert (stage.fired, await stage.state("1")) == ([], ("discarded", "denied by alice: too risky"))


@on_stage()
async def test_when_nobody_decides_it_is_a_dead_letter(stage: _Stage) -> None:
    await stage.start()
    await stage.put("1")

    await stage.clock.sleep(3601)

    assert (stage.fired, await stage.state("1")) == ([], ("dead", "nobody approved it within 1h0m0s"))


@on_stage(SPEC + "dlqTrigger: {template: {name: below, log: {}}}\n")
async def test_a_dead_letter_that_nobody_approved_goes_to_the_dlq_trigger_as_others_do(stage: _Stage) -> None:
    await stage.start()
    await stage.put("1")

    await stage.clock.sleep(3601)

    assert [item.id for item in await stage.below.items("queued")] == ["1"]


@on_stage()
async def test_who_redrives_is_asked_anew(stage: _Stage) -> None:
    # Given an action that died unapproved, and one that was approved and died
    await stage.start()
    await stage.put("1")
    await stage.clock.sleep(3601)
    await stage.queue.redrive("1")
    await stage.clock.settle()
    assert (await stage.state("1"))[0] == "resting"
    stage.world.answers = [TriggerError("busy"), TriggerError("busy")]
    await stage.say("1", comment="go")
    await stage.clock.sleep(10)
    # Then its reason says who had approved it
    assert await stage.state("1") == ("dead", "busy (approved by alice: go)")
    # And when it is redriven it waits once more
    await stage.queue.redrive("1")
    await stage.clock.sleep(10)
    assert stage.fired == ["1", "1"]
    assert (await stage.state("1"))[0] == "resting"


@on_stage()
async def test_one_that_waits_holds_up_none_of_the_others(stage: _Stage) -> None:
    await stage.start()
    await stage.put("1", "2", "3")

    await stage.say("3")
    await stage.say("1")

    assert stage.fired == ["3", "1"]


@on_stage(SPEC + "queue: {key: {dependencyName: d, dataKey: k}}\n")
async def test_of_one_key_the_order_holds_also_where_a_later_one_is_approved_first(stage: _Stage) -> None:
    await stage.start()
    await stage.put("1", "2")
    await stage.put("other", data=b'{"k":2}')

    await stage.say("2")
    await stage.say("other")
    assert stage.fired == ["other"]
    await stage.say("1")

    assert stage.fired == ["other", "1", "2"]


@on_stage(SPEC + "queue: {key: {dependencyName: d, dataKey: k}}\n")
async def test_a_denied_one_lets_the_next_of_its_key_go_on(stage: _Stage) -> None:
    await stage.start()
    await stage.put("1", "2")

    await stage.say("2")
    await stage.say("1", "denied", "no")

    assert stage.fired == ["2"]


@on_stage()
async def test_an_action_may_be_approved_before_anybody_works_on_it(stage: _Stage) -> None:
    await stage.put("1")
    await stage.say("1")

    await stage.start()

    assert stage.fired == ["1"]


@pytest.mark.parametrize(
    ("more", "answers", "state"),
    [
        ("", (), "done"),
        ("", (Rejected("no"),), "dead"),
        ("atLeastOnce: false", (), "done"),
        ("atLeastOnce: false", (TriggerError("no"),), "done"),
    ],
)
def test_what_was_said_goes_with_the_action_however_it_ends(more: str, answers: tuple[Any, ...], state: str) -> None:
    # Else the bucket, which every list of actions reads, grows for ever.
    @on_stage(SPEC + more, *answers)
    async def plays(stage: _Stage) -> None:
        await stage.start()
        await stage.put("1")
        await stage.say("1")

        assert (await stage.state("1"))[0] == state
        assert await stage.bus.bucket("approvals").keys() == []

    plays()


@on_stage()
async def test_what_was_said_goes_with_an_action_that_is_dropped(stage: _Stage) -> None:
    await stage.put("1")
    await stage.say("1")

    await say(stage.bus, {"q": ("drop", "run")})
    async with Switchboard(stage.bus, stage.clock).kept() as board:
        await stage.start(Switch(board, "q"))

        assert (await stage.state("1"))[0] == "discarded"
        assert await stage.bus.bucket("approvals").keys() == []
        await stage.stop()


@on_stage()
async def test_a_restart_forgets_neither_the_question_nor_the_answer(stage: _Stage) -> None:
    # Given two that wait, and a worker that goes
    await stage.start()
    await stage.put("1", "2")
    await stage.stop()
    await stage.say("1")
    # When another comes
    await stage.start()
    # Then the one that was approved meanwhile runs, and the other waits for as long as it had left
    assert stage.fired == ["1"]
    await stage.clock.sleep(3599)
    assert (await stage.state("2"))[0] == "resting"
    await stage.clock.sleep(2)
    assert (await stage.state("2"))[0] == "dead"


@on_stage()
async def test_an_approval_in_the_moment_before_the_rest_begins_is_not_missed(stage: _Stage) -> None:
    # Given a person who approves after the worker has looked and before it lets the action rest
    find, looks = Approvals.find, 0

    async def slow(approvals: Approvals, queue: str, action_id: str, put: float) -> Ruling | None:
        nonlocal looks
        looks += 1
        found = await find(approvals, queue, action_id, put)
        if looks == 1:
            await approvals.decide(queue, action_id, Ruling("approved", put, put, "alice"))
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Approvals, "find", slow)
        await stage.start()
        # When the action is taken
        await stage.put("1")
    # Then it runs at once
    assert stage.fired == ["1"]


@on_stage()
async def test_the_first_word_counts(stage: _Stage) -> None:
    await stage.put("1")

    await stage.say("1", "denied", "no")
    holds = await stage.say("1")

    assert (holds.verb, holds.comment) == ("denied", "no")


@on_stage(SPEC + "queue: {delay: 30m}\n")
async def test_a_delay_comes_before_the_question_and_does_not_shorten_the_time_for_it(stage: _Stage) -> None:
    await stage.start()
    await stage.put("1")

    await stage.clock.sleep(1800 + 3599)
    assert (await stage.state("1"))[0] == "resting"
    await stage.clock.sleep(2)

    assert (await stage.state("1"))[0] == "dead"


@on_stage(SPEC, TriggerError("busy"))
async def test_what_is_approved_is_tried_again_without_asking_again(stage: _Stage) -> None:
    await stage.start()
    await stage.put("1")

    await stage.say("1")
    await stage.clock.sleep(5)

    assert stage.fired == ["1", "1"]
    assert (await stage.state("1"))[0] == "done"


@on_stage(SPEC + "forEach: hosts\n")
async def test_each_element_is_asked_for_and_the_whole_is_not(stage: _Stage) -> None:
    await stage.start()

    await stage.put("1", data=b'{"hosts":["a","b"]}')

    assert (await stage.state("1"))[0] == "done"
    assert [item.state for item in await stage.queue.items("queued")] == ["resting", "resting"]


@on_stage(SPEC + "emit: {after: [asked, denied, dead]}\n")
async def test_that_somebody_is_asked_and_what_came_of_it_are_events(stage: _Stage) -> None:
    await stage.start()
    await stage.put("1", "2")
    await stage.say("1", "denied", "no")
    await stage.clock.sleep(3601)

    log = [each.event async for batch in stage.bus.history() for each in batch if each.event is not None]

    assert [(one.type.rpartition(".")[2], json.loads(one.data)["action"]["id"]) for one in log] == [
        ("asked", "1"),
        ("asked", "2"),
        ("denied", "1"),
        ("dead", "2"),
    ]
    until = START + dt.timedelta(hours=1)
    assert json.loads(log[0].data)["detail"] == {"expires": until.isoformat().replace("+00:00", "Z")}
    assert json.loads(log[2].data)["detail"]["by"] == "alice"


def test_an_approval_that_cannot_be_read_says_nothing() -> None:
    async def play(clock: VirtualClock) -> None:
        async with MemoryBus(clock=clock) as bus:
            await bus.bucket("approvals").put("q/1", b"{")
            approvals = Approvals(bus)
            assert await approvals.find("q", "1", 0.0) is None
            assert await approvals.of("q") == {}
            said = Ruling("approved", 0.0, 1.0, "alice")
            assert await approvals.decide("q", "1", said) is said

    run_virtually(START, play)


@pytest.mark.parametrize(
    ("ruling", "words"),
    [(Ruling("approved", 0, 1), "approved"), (Ruling("denied", 0, 1, "bob", "why"), "denied by bob: why")],
)
def test_a_ruling_in_words(ruling: Ruling, words: str) -> None:
    assert str(ruling) == words
