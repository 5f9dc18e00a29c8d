"""What no test decided is named with its line; what one decided is not."""

from __future__ import annotations

from typing import Any

from argosy.testing.coverage import Coverage
from argosy.testing.running import run
from tests.unit.testing.bench import Bench, dependency, sensor, trigger

ORDER = {"from": "web/order"}
PAYMENT = {"from": "web/payment"}
FILTERS = {
    "data": [{"path": "item", "type": "string", "value": ["^book$"]}],
    "exprs": [{"expr": "count > 1", "fields": [{"name": "count", "path": "count"}]}],
}


def _gaps(bench: Bench, *tests: dict[str, Any]) -> list[str]:
    coverage = Coverage()
    for test in tests:
        run(bench.trial(**test), coverage=coverage)
    return [gap.what for gap in coverage.gaps()[1]]


def _order(**data: Any) -> dict[str, Any]:
    return {"event": {**ORDER, "data": data}}


def test_a_clause_is_decided_when_it_let_one_pass_and_refused_one(bench: Bench) -> None:
    bench.manifests(sensor(dependencies=[dependency("order", filters=FILTERS)]))
    good, dear, pen = _order(item="book", count=2), _order(item="book", count=1), _order(item="pen", count=2)

    assert _gaps(bench, good, dear, pen) == []
    assert _gaps(bench, good) == [
        "dependency 'order': exprs[0] never refused an event",
        "dependency 'order': data[0] never refused an event",
    ]
    assert _gaps(bench, dear) == [
        "dependency 'order' never accepted an event",
        "dependency 'order': exprs[0] never let an event pass",
        "dependency 'order': data[0] never let an event pass",
        "dependency 'order': data[0] never refused an event",
        "trigger 'ship' never fired",
    ]


def test_clauses_of_every_kind_are_counted(bench: Bench) -> None:
    filters = {
        "context": {"type": "order"},
        "time": {"start": "08:00:00", "stop": "20:00:00"},
        "script": "return event.good == true",
    }
    bench.manifests(sensor(dependencies=[dependency("order", filters=filters)]))

    def event(**event: Any) -> dict[str, Any]:
        good = {"type": "order", "time": "2026-01-01T12:00:00Z", "data": {"good": True}}
        return {"event": {**ORDER, **good, **event}}

    good, stranger = event(), event(type="other")
    night, bad = event(time="2026-01-01T22:00:00Z"), event(data={"good": False})

    assert _gaps(bench, good, stranger, night, bad) == []
    assert _gaps(bench, good, stranger, night) == ["dependency 'order': script never refused an event"]
    assert _gaps(bench, good, stranger, bad) == ["dependency 'order': time never refused an event"]
    assert _gaps(bench, good, night, bad) == ["dependency 'order': context never refused an event"]


def test_a_dependency_is_decided_when_the_condition_had_to_wait_for_it(bench: Bench) -> None:
    bench.manifests(
        sensor(
            trigger("ship", conditions="order && payment"),
            dependencies=[dependency("order"), dependency("payment")],
        )
    )

    assert _gaps(bench, {"events": [ORDER, PAYMENT]}) == ["trigger 'ship' never had to wait for 'order'"]
    assert _gaps(bench, {"events": [ORDER, PAYMENT]}, {"events": [PAYMENT, ORDER]}) == []


def test_each_source_of_a_parameter_must_give_a_value_once(bench: Bench) -> None:
    shop = sensor()
    shop["spec"]["triggers"][0]["template"]["http"]["payload"] = [
        {"src": {"dependencyName": "order", "dataKey": "item", "value": "nothing"}, "dest": "what"},
        {"src": {"dependencyName": "order", "dataKey": "count"}, "dest": "count"},
    ]
    bench.manifests(shop)

    assert _gaps(bench, _order(item="book", count=1)) == [
        "trigger 'ship': the parameter of 'what' never had its value from 'value'"
    ]
    assert _gaps(bench, _order(item="book", count=1), _order(count=1)) == []


def test_a_trigger_for_dead_letters_counts_too(bench: Bench) -> None:
    bench.manifests(sensor(trigger("ship", atLeastOnce=True, dlqTrigger=trigger("regret", atLeastOnce=True))))

    assert _gaps(bench, {}) == ["trigger 'regret' never fired"]
    assert _gaps(bench, {"answers": {"ship": "rejected"}, "deadLetters": ["ship"]}) == []


def test_a_gap_stands_in_the_line_of_what_it_is_about(bench: Bench) -> None:
    bench.manifests(sensor(dependencies=[dependency("order", filters=FILTERS)]))
    coverage = Coverage()
    run(bench.trial(**_order(item="book", count=2)), coverage=coverage)

    (expr, data) = coverage.gaps()[1]

    lines = (bench.folder / "manifests.yaml").read_text().splitlines()
    assert "expr: count > 1" in lines[expr.line - 1]
    assert "path: item" in lines[data.line - 1]
    assert str(data).startswith(
        f"{bench.folder}/manifests.yaml:{data.line}: sensor 'shop': dependency 'order': data[0]"
    )
