"""What a trigger's worker does with its actions: tries, pauses, rates, at most once, dead letters; in virtual time on a bus in memory."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from dataclasses import replace
from typing import Any

import pytest
import yaml

from argosy.bus.memory import MemoryBus
from argosy.clock import VirtualClock, run_virtually
from argosy.errors import Rejected, RetryAfter, TriggerError
from argosy.event import Event
from argosy.manifests.fields import Backoff, Json
from argosy.manifests.sensor import TriggerSpec, parse_sensor
from argosy.runtime.actions import TriggerWorker
from argosy.runtime.duties import TriggerDuties
from argosy.runtime.lines import in_flight
from argosy.runtime.secrets import Secrets
from argosy.runtime.telemetry import Metrics
from argosy.sensor import actions
from argosy.triggers._base import Action, Outcome

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
EVENT = Event("e1", "web", "in", "webhook", "2026-01-01T00:00:00Z", b'{"host":"a.example","n":5,"kind":"log"}')


def _spec(trigger: str) -> TriggerSpec:
    text = f"""\
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {{name: s}}
spec:
  dependencies: [{{name: d, eventSourceName: web, eventName: in}}]
  triggers:
    - {trigger.strip().replace(chr(10), chr(10) + "      ")}
"""
    sensor, problems = parse_sensor(yaml.safe_load(text))
    assert sensor is not None, problems
    return sensor.triggers[0]


LOG = "template: {name: t, log: {}}\n"


class _Fake:
    """Stands for the world outside: answers tries as it was told, and keeps when and what they were."""

    def __init__(self, *answers: Exception | Outcome | None) -> None:
        self.answers = list(answers)
        self.tries: list[tuple[float, str, int]] = []
        self.fired: list[tuple[str, Any, Action]] = []
        self.opened: list[str] = []
        self.clock: VirtualClock | None = None

    def make(self, kind: str, context: Any) -> Any:
        self.opened.append(kind)
        return _FakeTrigger(self, kind)


class _FakeTrigger:
    def __init__(self, world: _Fake, kind: str) -> None:
        self.world, self.kind = world, kind

    async def __aenter__(self) -> _FakeTrigger:
        return self

    async def __aexit__(self, *exc: object) -> None:
        pass

    async def fetch(self, config: Any) -> Json | None:
        return None

    async def fire(self, config: Any, action: Action) -> Outcome:
        assert self.world.clock is not None
        self.world.tries.append((round(self.world.clock.monotonic(), 3), action.id, action.attempt))
        self.world.fired.append((self.kind, config, action))
        answer = self.world.answers.pop(0) if self.world.answers else None
        if isinstance(answer, Outcome):
            return answer
        if answer is not None:
            raise answer
        return Outcome("done")


class _End:
    """What stood where when nothing happened any more."""

    def __init__(self) -> None:
        self.depth = -1
        self.dead: list[tuple[str, str]] = []
        self.given_up: list[str] = []
        self.log: list[Event] = []
        self.outcomes: dict[str, bytes | None] = {}
        self.metrics = Metrics()
        self.held: float | None = None
        self.resting: float | None = None

    def gauge(self, name: str) -> float | None:
        labels = {"namespace": "ns", "sensor_name": "s", "trigger_name": "t"}
        return self.metrics.registry.get_sample_value(name, labels)

    def count(self, name: str) -> float | None:
        labels = {"namespace": "ns", "sensor_name": "s", "trigger_name": "t"}
        return self.metrics.registry.get_sample_value(f"{name}_total", labels)


def _play(
    spec: TriggerSpec, world: _Fake, *ids: str, hours: float = 48, body: bytes | None = None, chance: float = 0.0
) -> _End:
    """Put these actions and let the worker run until time has passed."""
    end = _End()

    async def main(clock: VirtualClock) -> None:
        world.clock = clock
        async with MemoryBus(clock=clock) as bus:
            queue, below = bus.queue("q", max_in_flight=in_flight(spec)), bus.queue("q/dlq")
            record = actions.encode(actions.ActionRecord(EVENT.time, {"d": EVENT}))
            for item in ids or ("1",):
                await queue.put(item, record if body is None else body)
            duties = TriggerDuties(
                secrets=Secrets(),
                clock=clock,
                metrics=end.metrics,
                grace_seconds=1.0,
                make=world.make,
                chance=lambda: chance,
            )
            give_up_to = below if spec.dlq_trigger else None
            worker = asyncio.create_task(TriggerWorker("ns", "s", spec, bus, queue, duties, give_up_to).run())
            await clock.sleep(hours * 3600)
            assert not worker.done(), worker.exception()
            end.held, end.resting = end.gauge("argosy_actions_held"), end.gauge("argosy_actions_resting")
            worker.cancel()
            await asyncio.gather(worker, return_exceptions=True)
            end.depth = await queue.depth()
            end.dead = [(one.id, one.reason) for one in await queue.dead_letters()]
            end.log = [each.event async for batch in bus.history() for each in batch if each.event is not None]
            end.given_up = list(bus._queues["q/dlq"].items)
            end.outcomes = {item: await queue.outcome(item) for item in ids or ("1",)}

    run_virtually(START, main)
    return end


class TestRetries:
    @pytest.mark.parametrize(
        ("strategy", "at"),
        [
            ("{steps: 3, duration: 2s, factor: 2, jitter: 0}", [0, 2, 6]),
            ("{steps: 1}", [0]),
            # Given in part: one second, no growth, five steps; 0 and less are no number of steps.
            ("{jitter: 0}", [0, 1, 2, 3, 4]),
            ("{steps: 0, jitter: 0}", [0, 1, 2, 3, 4]),
            ("{steps: -1, jitter: 0}", [0, 1, 2, 3, 4]),
            ("{}", [0, 1, 2, 3, 4]),
            # A factor of 0 lets the pause stay as it is.
            ("{steps: 3, duration: 10s, factor: 0, jitter: 0}", [0, 10, 20]),
            ('{steps: 3, duration: 1m30s, factor: "2.5", jitter: "0"}', [0, 90, 315]),
            ("{steps: 2, duration: 10m, jitter: 0}", [0, 600]),
            ("{steps: 2, duration: 500000000, jitter: 0}", [0, 0.5]),
            ("{steps: 4, duration: 1s, factor: 1e300, jitter: 0}", [0, 1, 86401, 172801]),
        ],
    )
    def test_come_after_the_pauses_that_the_manifest_says_and_then_the_action_is_a_dead_letter(
        self, strategy: str, at: list[float]
    ) -> None:
        world = _Fake(*[TriggerError("no")] * 20)

        end = _play(_spec(LOG + f"retryStrategy: {strategy}"), world, hours=100)

        assert [when for when, _, _ in world.tries] == at
        assert [attempt for _, _, attempt in world.tries] == list(range(1, len(at) + 1))
        assert end.dead == [("1", "no")]
        assert end.count("argosy_actions_dead_lettered") == 1
        assert end.count("argo_events_action_failed") == len(at)

    def test_have_up_to_the_jitter_more_pause(self) -> None:
        world = _Fake(TriggerError("no"))

        _play(_spec(LOG + "retryStrategy: {steps: 2, duration: 10s, jitter: 0.5}"), world, chance=0.999)

        assert world.tries[1][0] == pytest.approx(14.995, abs=0.01)

    def test_are_eight_in_about_two_minutes_where_nothing_is_said(self) -> None:
        world = _Fake(*[TriggerError("no")] * 20)

        end = _play(_spec(LOG), world)

        assert [when for when, _, _ in world.tries] == [0, 1, 3, 7, 15, 31, 63, 127]
        assert [one for one, _ in end.dead] == ["1"]

    def test_come_when_the_receiver_says(self) -> None:
        world = _Fake(RetryAfter("later", 42.0))

        end = _play(_spec(LOG), world)

        assert [when for when, _, _ in world.tries] == [0, 42]
        assert end.dead == []

    @pytest.mark.parametrize(
        ("asked", "at"),
        [
            (0.0, [0, 10]),  # not before the strategy's own pause
            (-5.0, [0, 10]),
            (30.0, [0, 30]),
            (1e9, [0, 86400]),  # a day is the longest
            (float("inf"), [0, 86400]),
        ],
    )
    def test_come_no_sooner_than_the_strategy_and_the_receiver_say_and_within_a_day(
        self, asked: float, at: list[float]
    ) -> None:
        world = _Fake(RetryAfter("later", asked))

        _play(_spec(LOG + "retryStrategy: {duration: 10s, jitter: 0}"), world)

        assert [when for when, _, _ in world.tries] == at

    def test_say_so_where_the_receiver_asks_for_more_than_it_gets(self, caplog: pytest.LogCaptureFixture) -> None:
        _play(_spec(LOG), _Fake(RetryAfter("later", 1e6)))

        assert "later (it asked for a pause of 1e+06 s); next in 86400.0 s" in caplog.text

    @pytest.mark.parametrize("error", [Rejected("never"), None])
    def test_do_not_come_where_they_cannot_help(self, error: Exception | None) -> None:
        world = _Fake(error)

        end = _play(_spec(LOG), world)

        assert len(world.tries) == 1
        assert end.dead == ([("1", "never")] if error else [])
        assert end.depth == 0

    def test_are_counted_when_the_action_has_ended(self) -> None:
        world = _Fake(TriggerError("no"), TriggerError("no"), None, None, Rejected("never"))

        end = _play(_spec(LOG), world, "1", "2", "3")

        labels = {"namespace": "ns", "sensor_name": "s", "trigger_name": "t"}
        read = end.metrics.registry.get_sample_value
        assert read("argosy_action_tries_count", labels) == 3
        assert read("argosy_action_tries_sum", labels) == 3 + 1 + 1
        assert read("argosy_action_tries_bucket", {**labels, "le": "2.0"}) == 2

    def test_are_what_an_action_rests_for(self) -> None:
        end = _play(_spec(LOG + "retryStrategy: {duration: 100h}"), _Fake(TriggerError("no")), "1", "2", hours=1)

        assert (end.held, end.resting) == (1, 1)
        assert (end.gauge("argosy_actions_held"), end.gauge("argosy_actions_resting")) == (0, 0)

    def test_of_a_fault_in_the_plug_in_come_too(self) -> None:
        world = _Fake(ZeroDivisionError("oops"))

        _play(_spec(LOG), world)

        assert len(world.tries) == 2

    def test_keep_the_order_of_actions(self) -> None:
        world = _Fake(TriggerError("no"))

        _play(_spec(LOG), world, "1", "2", "3")

        assert [item for _, item, _ in world.tries] == ["1", "1", "2", "3"]


class TestAnAnswerThatCannotBeKept:
    """The action is done: whatever came back, it is not done again."""

    @pytest.mark.parametrize(
        ("outcome", "words"),
        [
            (Outcome("done", {"all": "x" * 2_000_000}), "done (its answer has 2000"),
            (Outcome("y" * 2_000_000), "y (its answer has 2000"),
            (Outcome("done", {"what": object()}), "done (its answer is not JSON and was not kept)"),
            (Outcome("done", {"what": float("nan")}), "done (its answer is not JSON and was not kept)"),
        ],
    )
    def test_is_left_out_and_the_outcome_says_so(self, outcome: Outcome, words: str) -> None:
        world = _Fake(outcome)

        end = _play(_spec(LOG), world)

        assert len(world.tries) == 1
        kept = json.loads(end.outcomes["1"] or b"{}")
        assert words in kept["message"]
        assert len(kept["message"]) < 2000
        assert kept["detail"] == {}
        assert [event["id"] for event in kept["events"]] == ["e1"]
        assert end.dead == []


class TestAtLeastOnce:
    @pytest.mark.parametrize("word", ["", "atLeastOnce: true"])
    def test_is_what_a_trigger_is_unless_it_says_otherwise(self, word: str) -> None:
        world = _Fake(TriggerError("no"))

        end = _play(_spec(LOG + word), world)

        assert len(world.tries) == 2
        assert end.outcomes["1"] is not None
        outcome = json.loads(end.outcomes["1"])
        assert (outcome["message"], outcome["detail"]) == ("done", {})
        [caused_by] = outcome["events"]
        assert (caused_by["dependency"], caused_by["id"], caused_by["source"]) == ("d", EVENT.id, EVENT.source)

    def test_false_is_at_most_once_also_when_it_fails(self) -> None:
        world = _Fake(TriggerError("no"))

        end = _play(_spec(LOG + "atLeastOnce: false\nretryStrategy: {steps: 5}"), world)

        assert len(world.tries) == 1
        assert (end.dead, end.depth) == ([], 0)
        assert end.count("argo_events_action_retries_failed") == 1


class TestADeadLetterTrigger:
    DLQ = LOG + "retryStrategy: {steps: 2, jitter: 0}\ndlqTrigger:\n  template: {name: below, log: {}}\n"

    def test_gets_the_action_when_its_tries_are_used_up(self) -> None:
        end = _play(_spec(self.DLQ), _Fake(TriggerError("no"), TriggerError("no"), None), "1", "2")

        assert end.given_up == ["1"]
        assert end.dead == [("1", "no")]

    def test_gets_what_was_rejected_too(self) -> None:
        assert _play(_spec(self.DLQ), _Fake(Rejected("never"))).given_up == ["1"]

    def test_gets_nothing_that_succeeded(self) -> None:
        assert _play(_spec(self.DLQ), _Fake(TriggerError("no"))).given_up == []


class TestARateLimit:
    @pytest.mark.parametrize(
        ("limit", "at"),
        [
            ("{requestsPerUnit: 2}", [0, 0.5, 1, 1.5]),
            ("{unit: Second, requestsPerUnit: 1}", [0, 1, 2, 3]),
            ("{unit: Minute, requestsPerUnit: 6}", [0, 10, 20, 30]),
            ("{unit: Hour, requestsPerUnit: 1}", [0, 3600, 7200, 10800]),
        ],
    )
    def test_spaces_actions_evenly(self, limit: str, at: list[float]) -> None:
        world = _Fake()

        _play(_spec(LOG + f"rateLimit: {limit}"), world, "1", "2", "3", "4")

        assert [when for when, _, _ in world.tries] == at

    def test_counts_every_try(self) -> None:
        world = _Fake(TriggerError("no"))

        _play(
            _spec(LOG + "rateLimit: {unit: Minute, requestsPerUnit: 1}\nretryStrategy: {duration: 1s, jitter: 0}"),
            world,
            "1",
            "2",
        )

        assert world.tries == [(0, "1", 1), (60, "1", 2), (120, "2", 1)]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"not a record", "not an action record"),
        (
            actions.encode(actions.stripped(actions.ActionRecord("", {"d": EVENT}), "too large together")),
            "too large together",
        ),
    ],
)
def test_an_action_that_cannot_be_performed_is_a_dead_letter_at_once(body: bytes, words: str) -> None:
    world = _Fake()

    end = _play(_spec(LOG), world, body=body)

    assert world.tries == []
    assert words in end.dead[0][1]


def test_a_pause_never_overflows() -> None:
    backoff = Backoff.model_validate({"factor": 1e308, "duration": "1h", "jitter": 1e308})

    assert backoff.pause_seconds(50, 0.5) == float("inf")


class TestForEach:
    """What was put as a whole although the trigger has ``forEach``: too much of it, or the manifest had none then."""

    SPEC = "template: {name: t, log: {}}\nforEach: {path: hosts, maxItems: 2}\n"

    def _body(self, hosts: object) -> bytes:
        event = replace(EVENT, data=json.dumps({"hosts": hosts}).encode())
        return actions.encode(actions.ActionRecord(event.time, {"d": event}))

    def test_it_becomes_its_elements_and_each_is_performed(self) -> None:
        world = _Fake()

        end = _play(_spec(self.SPEC), world, body=self._body(["a", "b"]))

        assert [action.events["item"].data for _, _, action in world.fired] == [b'"a"', b'"b"']
        assert end.depth == 0
        assert b"became 2 actions" in (end.outcomes["1"] or b"")

    def test_too_many_elements_are_a_dead_letter_that_says_what_to_do(self) -> None:
        world = _Fake()

        end = _play(_spec(self.SPEC), world, body=self._body(["a", "b", "c"]))

        ((_, reason),) = end.dead
        assert "3 elements, more than 'maxItems' (2) allows; mend the manifest, then redrive" in reason
        assert world.fired == []

    def test_an_element_that_fails_is_tried_again_by_itself(self) -> None:
        world = _Fake(TriggerError("busy"), None, Rejected("never"))

        end = _play(_spec(self.SPEC), world, body=self._body(["a", "b"]))

        assert [action.events["item"].data for _, _, action in world.fired] == [b'"a"', b'"a"', b'"b"']
        assert [reason for _, reason in end.dead] == ["never"]


class TestEmit:
    SPEC = "template: {name: t, log: {}}\nretryStrategy: {steps: 2, duration: 1s}\nemit: {after: [done, dead]}\n"

    def _emitted(self, end: _End) -> list[tuple[str, str, str, str]]:
        return [(one.id, one.source, one.subject, one.type) for one in end.log]

    def test_what_an_action_came_to_is_on_the_log_before_the_action_has_ended(self) -> None:
        end = _play(_spec(self.SPEC), _Fake(TriggerError("busy"), Outcome("billed", {"invoice": 7})))

        assert self._emitted(end) == [("1.done", "s", "t", "io.argosy.action.done")]
        assert json.loads(end.log[0].data) == {
            "status": "done",
            "message": "billed",
            "detail": {"invoice": 7},
            "action": {"id": "1", "namespace": "ns", "sensor": "s", "trigger": "t", "kind": "log", "attempt": 2},
            "events": [{"dependency": "d", "id": "e1", "source": "web", "name": "in"}],
        }
        assert end.log[0].extensions == {"argosydepth": 1}

    def test_a_dead_letter_is_told_where_that_is_wanted(self) -> None:
        told = _play(_spec(self.SPEC), _Fake(Rejected("never")))
        untold = _play(_spec(self.SPEC.replace("after: [done, dead]", "eventName: x")), _Fake(Rejected("never")))

        assert self._emitted(told) == [("1.dead.1767225600000", "s", "t", "io.argosy.action.dead")]
        assert json.loads(told.log[0].data)["message"] == "never"
        assert untold.log == []

    def test_an_action_that_is_done_again_after_a_crash_emits_once(self) -> None:
        # Given a worker that dies after the event is on the log and before the action has ended
        spec = _spec(self.SPEC)

        async def main(clock: VirtualClock) -> None:
            world = _Fake()
            world.clock = clock

            class _Deadly(MemoryBus):
                async def publish(self, event: Event) -> None:
                    await super().publish(event)
                    if len(world.fired) == 1:
                        await asyncio.Event().wait()

            async with _Deadly(clock=clock) as bus:
                queue = bus.queue("q", max_in_flight=1)
                await queue.put("1", actions.encode(actions.ActionRecord(EVENT.time, {"d": EVENT})))
                for _ in range(2):
                    duties = TriggerDuties(
                        secrets=Secrets(), clock=clock, metrics=Metrics(), grace_seconds=0.0, make=world.make
                    )
                    worker = asyncio.create_task(TriggerWorker("ns", "s", spec, bus, queue, duties).run())
                    await clock.sleep(10)
                    worker.cancel()
                    await asyncio.gather(worker, return_exceptions=True)
                # Then the action ran twice under one id, and the log has its event once
                assert [action.id for _, _, action in world.fired] == ["1", "1"]
                assert (await bus.extent()).last == 1
                assert await queue.depth() == 0

        run_virtually(START, main)

    def test_a_chain_that_is_too_long_is_a_dead_letter_before_it_has_an_effect(self) -> None:
        caused = replace(EVENT, extensions={"argosydepth": 8})
        world = _Fake()

        end = _play(_spec(self.SPEC), world, body=actions.encode(actions.ActionRecord(EVENT.time, {"d": caused})))

        assert world.fired == []
        assert "action 9 of a chain" in end.dead[0][1]

    @pytest.mark.parametrize("depth", ["8", -1, 1.5, None, True])
    def test_a_depth_that_is_none_counts_as_an_event_from_outside(self, depth: object) -> None:
        caused = replace(EVENT, extensions={"argosydepth": depth})

        end = _play(_spec(self.SPEC), _Fake(), body=actions.encode(actions.ActionRecord(EVENT.time, {"d": caused})))

        assert end.dead == []

    def test_an_answer_that_the_bus_does_not_take_leaves_its_detail_out(self) -> None:
        end = _play(_spec(self.SPEC), _Fake(Outcome("large", {"body": "x" * 2_000_000})))

        (event,) = end.log
        assert json.loads(event.data)["detail"] == {}
        assert (end.outcomes["1"] or b"") != b""

    def test_an_answer_that_is_no_json_does_not_make_the_action_fail(self) -> None:
        world = _Fake(Outcome("odd", {"body": object()}))

        end = _play(_spec(self.SPEC), world)

        assert len(world.fired) == 1
        assert json.loads(end.log[0].data)["message"] == "odd"

    def test_elements_of_an_event_are_told_and_the_whole_is_not(self) -> None:
        event = replace(EVENT, data=b'{"hosts":["a","b"]}')
        body = actions.encode(actions.ActionRecord(event.time, {"d": event}))

        end = _play(_spec(self.SPEC + "forEach: hosts\n"), _Fake(), body=body)

        assert len(end.log) == 2
        assert [one["id"] for one in json.loads(end.log[1].data)["events"]] == ["e1", "e1/1"]
