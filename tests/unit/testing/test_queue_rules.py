"""``argosy test`` plays a trigger's queue as it runs in production: bursts, several at a time, keys, delays, suspension."""

from __future__ import annotations

import pytest

from tests.unit.testing.bench import Bench, fired, sensor, trigger

ORDER = {"from": "web/order"}
BY_CUSTOMER = {"concurrency": 3, "key": {"dependencyName": "order", "dataKey": "customer"}}


def _order(number: int, customer: str) -> dict[str, object]:
    return {**ORDER, "id": f"{customer}{number}", "data": {"customer": customer}}


def test_a_burst_goes_at_once_and_then_the_rate_holds(bench: Bench) -> None:
    bench.manifests(sensor(trigger("ship", rateLimit={"unit": "Minute", "requestsPerUnit": 2, "burst": 3})))

    played = bench.play(event={**ORDER, "times": 5, "every": "0s"})

    assert [one.at for one in played.fired] == pytest.approx([0, 0, 0, 30, 60], abs=0.001)


def test_several_run_side_by_side(bench: Bench) -> None:
    bench.manifests(sensor(trigger("ship", queue={"concurrency": 2})))

    played = bench.play(
        event={**ORDER, "times": 4, "every": "0s"}, answers={"ship": {"ok": "", "takes": "10s", "times": 4}}
    )

    assert [one.at for one in played.fired] == pytest.approx([0, 0, 10, 10], abs=0.001)


def test_a_key_keeps_its_order_and_lets_others_pass(bench: Bench) -> None:
    bench.manifests(sensor(trigger("ship", queue=BY_CUSTOMER, retryStrategy={"duration": "1m", "factor": 1})))

    played = bench.play(
        events=[_order(1, "ann"), _order(2, "ann"), _order(3, "bob")],
        answers={"ship": [{"fails": "busy"}, "ok"]},
    )

    assert [(one.events["order"].id, one.tries) for one in played.fired] == [
        ("ann1", pytest.approx([0, 60], abs=0.001)),
        ("bob3", pytest.approx([2], abs=0.001)),
        ("ann2", pytest.approx([60], abs=0.001)),
    ]


@pytest.mark.parametrize("queue", [{"delay": "10m"}, {"delay": "10m", "concurrency": 2}])
def test_each_action_waits_for_its_delay(bench: Bench, queue: dict[str, object]) -> None:
    bench.manifests(sensor(trigger("ship", queue=queue)))

    played = bench.play(event={**ORDER, "times": 3, "every": "1m"})

    assert [one.at for one in played.fired] == pytest.approx([600, 660, 720], abs=0.001)
    assert not played.waiting


def test_what_waits_for_its_delay_at_the_end_is_counted_as_waiting(bench: Bench) -> None:
    bench.manifests(sensor(trigger("ship", queue={"delay": "1h"})))

    played = bench.play(event=ORDER, until="30m")

    assert fired(played) == []
    assert list(played.waiting.values()) == [1]


def test_a_trigger_that_starts_suspended_is_shown_at_work(bench: Bench) -> None:
    """A test asks what the manifest does; whether somebody has resumed the trigger is not in it."""
    bench.manifests(sensor(trigger("ship", queue={"suspend": "drop"})))

    assert fired(bench.play(event=ORDER)) == [("ship", [0])]
