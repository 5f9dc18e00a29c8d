"""What a process keeps of each object, what it makes of errors, and how the parts of several processes become one."""

from __future__ import annotations

from argosy.errors import TriggerError
from argosy.runtime.secrets import Secrets
from argosy.runtime.status import Pulse, Pulses, Status, added, told

KEY = ("Sensor", "shop", "orders")


def test_an_error_of_ours_is_told_and_of_any_other_only_its_kind() -> None:
    assert told(TriggerError("the receiver answered 500")) == "the receiver answered 500"
    assert told("a sentence") == "a sentence"
    assert told(ValueError("password=hunter2")) == "ValueError; the log says more"


def test_the_last_error_says_what_failed_and_is_bounded() -> None:
    pulse = Pulse()
    pulse.failed("trigger 'a'", TriggerError("x" * 5000))
    assert pulse.error_at > 0
    assert pulse.error.startswith("trigger 'a': xxx")
    assert len(pulse.error) == 1000


def test_the_last_error_holds_no_secret_that_the_process_knows() -> None:
    secrets = Secrets()
    secrets.update({("shop", "door"): {"password": "open sesame\n"}}, {})
    pulse = Pulses(secrets.hidden).of(*KEY)
    pulse.failed("trigger 'a'", TriggerError("cannot reach amqp://me:open%20sesame@door nor log in with open sesame"))
    assert pulse.error == "trigger 'a': cannot reach amqp://me:***@door nor log in with ***"
    # Nor one that was rotated since.
    secrets.update({("shop", "door"): {"password": "other"}}, {})
    assert "sesame" not in pulse.told().error


def test_all_that_ask_for_an_object_get_one_pulse_until_it_is_forgotten() -> None:
    pulses = Pulses()
    one = pulses.of(*KEY)
    one.last_event = 5.0
    assert pulses.of(*KEY) is one
    pulses.forget_but([KEY])
    assert pulses.of(*KEY) is one
    pulses.forget_but([("Sensor", "shop", "other")])
    assert pulses.of(*KEY).last_event == 0.0


def test_parts_of_an_object_are_ready_together_and_tell_the_latest() -> None:
    first = Status(True, (), ("source 'a/b' stands by: 'x' receives",), Pulse(1.0, 5.0, 3.0, "old"))
    second = Status(False, ("source 'a/c' does not receive",), (), Pulse(2.0, 4.0, 7.0, "new"))
    (found,) = added([{KEY: first}, {KEY: second}]).values()
    assert not found.ready
    assert found.waiting_for == ("source 'a/c' does not receive",)
    assert found.stands_by == first.stands_by
    assert found.pulse == Pulse(2.0, 5.0, 7.0, "new")


def test_what_only_one_process_runs_is_as_that_says() -> None:
    other = ("Sensor", "shop", "other")
    assert added([{KEY: Status()}, {other: Status(False)}]) == {KEY: Status(), other: Status(False)}
