"""What a test that fails says: what was wanted, what was found, and why."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from argosy.testing.running import run
from tests.unit.testing.bench import WEB, Bench, dependency, sensor, trigger

ORDER = {"from": "web/order"}
PAYMENT = {"from": "web/payment"}
BOTH = [dependency("order"), dependency("payment")]
ONLY_BOOKS = {"data": [{"path": "item", "type": "string", "value": ["^book$"]}]}


def _paying() -> dict[str, Any]:
    """A sensor that sends the order's item and price on."""
    shop = sensor()
    shop["spec"]["triggers"][0]["template"]["http"]["payload"] = [
        {"src": {"dependencyName": "order", "dataKey": "item"}, "dest": "what"},
        {"src": {"dependencyName": "order", "dataKey": "price", "value": "0", "useRawData": True}, "dest": "for.price"},
    ]
    return shop


def _workflow() -> dict[str, Any]:
    shop = sensor()
    body = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"generateName": "ship-"},
        "spec": {"arguments": {"parameters": [{"name": "item", "value": "-"}, {"name": "by", "value": "post"}]}},
    }
    shop["spec"]["triggers"][0]["template"] = {
        "name": "ship",
        "argoWorkflow": {
            "operation": "submit",
            "source": {"resource": body},
            "parameters": [
                {"src": {"dependencyName": "order", "dataKey": "item"}, "dest": "spec.arguments.parameters.0.value"}
            ],
        },
    }
    return shop


class TestWhatFires:
    def test_a_trigger_that_should_have_fired_says_what_each_event_met(self, bench: Bench) -> None:
        bench.manifests(sensor(dependencies=[dependency("order", filters=ONLY_BOOKS)]))

        lines = bench.lines(event={**ORDER, "data": {"item": "pen"}}, fires=["ship"])

        assert lines == [
            "fires: wanted and found differ",
            "  --- wanted",
            "  +++ found",
            "  -- ship",
            "  +[]",
            "why 'ship' of sensor 'shop' did not fire:",
            "  event-1 (web/order at 0s): dependency 'order' refused it: data[0]: `item` is `pen`, wanted `^book$`",
        ]

    def test_a_trigger_that_should_not_have_fired_says_for_what_it_did(self, bench: Bench) -> None:
        bench.manifests(sensor())

        lines = bench.lines(event={**ORDER, "at": "5m"}, fires=[])

        assert lines[-2:] == ["'ship' fired, which was not wanted:", "  ship at 5m0s for event-1 (order)"]

    def test_the_order_of_time_counts(self, bench: Bench) -> None:
        bench.manifests(
            sensor(trigger("ship", conditions="order"), trigger("bill", conditions="payment"), dependencies=BOTH)
        )
        events = [ORDER, PAYMENT]

        assert bench.run(events=events, fires=["ship", "bill"]).passed
        lines = bench.lines(events=events, fires=["bill", "ship"])
        assert lines[-3:] == [
            "the order of time was:",
            "  ship at 0s for event-1 (order)",
            "  bill at 1s for event-2 (payment)",
        ]

    def test_at_one_moment_different_triggers_have_no_order(self, bench: Bench) -> None:
        bench.manifests(sensor(trigger("ship"), trigger("bill")))

        assert bench.run(fires=["ship", "bill"]).passed
        assert bench.run(fires=["bill", "ship"]).passed

    def test_times_and_tries_are_compared(self, bench: Bench) -> None:
        bench.manifests(sensor())
        answers = {"ship": {"fails": "busy", "times": 2}}

        assert bench.run(answers=answers, fires=[{"trigger": "ship", "at": "0s", "tries": 3}]).passed
        assert bench.run(
            answers=answers, fires=[{"trigger": "ship", "tries": ["0s", "1s", "2026-01-01T00:00:03Z"]}]
        ).passed
        lines = bench.lines(answers=answers, fires=[{"trigger": "ship", "at": "1s", "tries": ["0s", "2s"]}])
        assert "fires[0] (ship): at: wanted 1s, found 0s" in lines
        assert "fires[0] (ship): tries: wanted [0s, 2s], found 3 [0s, 1s, 3s]" in lines
        assert lines.count("  busy") == 2

    def test_the_events_that_came_together_are_compared(self, bench: Bench) -> None:
        bench.manifests(sensor(trigger("ship", conditions="order && payment"), dependencies=BOTH))
        events = [{**ORDER, "id": "a"}, {**PAYMENT, "id": "b"}]

        assert bench.run(events=events, fires=[{"trigger": "ship", "events": {"order": "a", "payment": "b"}}]).passed
        lines = bench.lines(events=events, fires=[{"trigger": "ship", "events": {"order": "a", "payment": "c"}}])
        assert [line.strip() for line in lines if line.strip()[:1] in "+-"][2:] == ["-payment: c", "+payment: b"]


class TestWhatIsSent:
    EVENT: ClassVar[dict[str, Any]] = {**ORDER, "data": {"item": "book", "price": 1.5}}

    @pytest.mark.parametrize(
        "firing",
        [
            {"payload": {"what": "book", "for": {"price": 1.5}}},
            {"contains": {"payload": {"for": {"price": 1.5}}}},
            {"block": {"url": "http://127.0.0.1:9000/"}},
        ],
    )
    def test_equal_and_contained_pass(self, bench: Bench, firing: dict[str, Any]) -> None:
        bench.manifests(_paying())

        assert bench.run(event=self.EVENT, fires=[{"trigger": "ship", **firing}]).passed

    @pytest.mark.parametrize(
        ("firing", "shown"),
        [
            ({"payload": {"what": "book"}}, ["+for:", "+  price: 1.5"]),
            ({"payload": {"what": "book", "for": {"price": "1.5"}}}, ["-  price: '1.5'", "+  price: 1.5"]),
            ({"contains": {"payload": {"for": {"price": 2}}}}, ["-  price: 2", "+  price: 1.5"]),
            ({"contains": {"payload": {"gone": 1}}}, ["-gone: 1", "+{}"]),
        ],
    )
    def test_a_difference_is_shown_and_nothing_beside_it(
        self, bench: Bench, firing: dict[str, Any], shown: list[str]
    ) -> None:
        bench.manifests(_paying())

        lines = bench.lines(event=self.EVENT, fires=[{"trigger": "ship", **firing}])

        assert [line.removeprefix("  ") for line in lines if line.startswith(("  -", "  +"))][2:] == shown

    def test_a_workflows_arguments_are_compared_by_name(self, bench: Bench) -> None:
        bench.manifests(_workflow())

        assert bench.run(
            event=self.EVENT, fires=[{"trigger": "ship", "parameters": {"item": "book", "by": "post"}}]
        ).passed
        assert bench.run(
            event=self.EVENT,
            fires=[
                {"trigger": "ship", "contains": {"object": {"spec": {"arguments": {"parameters": [{"name": "by"}]}}}}}
            ],
        ).passed
        lines = bench.lines(event=self.EVENT, fires=[{"trigger": "ship", "contains": {"parameters": {"item": "pen"}}}])
        assert "  -item: pen" in lines and "  +item: book" in lines

    def test_a_part_that_the_kind_does_not_have_is_told(self, bench: Bench) -> None:
        bench.manifests(_paying())

        lines = bench.lines(event=self.EVENT, fires=[{"trigger": "ship", "object": {"kind": "Workflow"}}])

        assert lines == ["fires[0] (ship): object: there is no object: kind 'http' has none; it has payload, block"]


class TestGoldenFiles:
    FIRES: ClassVar[list[Any]] = [{"trigger": "ship", "golden": "golden/ship.yaml"}]

    def test_update_writes_what_was_found_and_then_it_passes(self, bench: Bench) -> None:
        bench.manifests(_workflow())
        event = {**ORDER, "data": {"item": "on"}}

        (line,) = bench.lines(event=event, fires=self.FIRES)
        assert line.endswith("golden/ship.yaml'; argosy test --update writes it")
        assert run(bench.trial(event=event, fires=self.FIRES), update=True).passed
        assert bench.run(event=event, fires=self.FIRES).passed
        assert "value: 'on'" in (bench.folder / "golden" / "ship.yaml").read_text()

    def test_a_golden_file_that_says_otherwise_fails_and_stays(self, bench: Bench) -> None:
        bench.manifests(_workflow())
        run(bench.trial(event={**ORDER, "data": {"item": "book"}}, fires=self.FIRES), update=True)
        before = (bench.folder / "golden" / "ship.yaml").read_text()

        lines = bench.lines(event={**ORDER, "data": {"item": "pen"}}, fires=self.FIRES)

        assert "  +      - name: item" not in lines
        assert any(line.strip() == "+        value: pen" for line in lines), lines
        assert (bench.folder / "golden" / "ship.yaml").read_text() == before


class TestWhatDoesNotFire:
    def test_because_must_stand_in_a_reason(self, bench: Bench) -> None:
        bench.manifests(sensor(dependencies=[dependency("order", filters=ONLY_BOOKS)]))
        event = {**ORDER, "data": {"item": "pen"}}

        assert bench.run(event=event, fires=[], because=["data[0]", "`item` is `pen`"]).passed
        assert bench.run(event=event, notFires=[{"trigger": "ship", "because": "wanted `^book$`"}]).passed
        lines = bench.lines(event=event, fires=[], because="exprs")
        assert lines[0] == "because: no reason has 'exprs' in it; the reasons were:"
        assert "`item` is `pen`" in lines[1]

    def test_a_path_that_is_missing_is_a_reason(self, bench: Bench) -> None:
        bench.manifests(sensor(dependencies=[dependency("order", filters=ONLY_BOOKS)]))

        assert bench.run(event={**ORDER, "data": {"itme": "book"}}, fires=[], because="there is itme").passed

    def test_a_transform_that_fails_is_a_reason_and_said_once(self, bench: Bench) -> None:
        transform = {"jq": ".item = (.item | fromjson)"}
        bench.manifests(sensor(dependencies=[dependency("order", transform=transform)]))
        event = {**ORDER, "data": {"item": "no json"}}

        assert bench.run(
            event=event, fires=[], because="dependency 'order' could not decide on it: transform.jq: "
        ).passed

    def test_other_triggers_may_fire(self, bench: Bench) -> None:
        bench.manifests(
            sensor(trigger("ship", conditions="order"), trigger("bill", conditions="payment"), dependencies=BOTH)
        )

        assert bench.run(notFires=["bill"]).passed
        lines = bench.lines(notFires=["ship"])
        assert lines == ["notFires[0]: 'ship' fired:", "  ship at 0s for event-1 (order)"]

    def test_a_condition_says_what_it_waits_for(self, bench: Bench) -> None:
        bench.manifests(sensor(trigger("ship", conditions="order && payment"), dependencies=BOTH))

        assert bench.run(notFires=[{"trigger": "ship", "because": "still waits for 'payment'"}]).passed
        assert bench.run(pending={"ship": ["payment"]}).passed
        lines = bench.lines(pending={"ship": ["order"]})
        assert lines[0] == "pending: ship: wanted and found differ"
        assert lines[-1] == "  it holds event-1 (order)"

    def test_a_reset_is_a_reason(self, bench: Bench) -> None:
        bench.manifests(sensor(trigger("ship", conditions="order && payment", reset="0 6 * * *"), dependencies=BOTH))

        assert bench.run(
            events=[ORDER, {**PAYMENT, "at": "7h"}],
            notFires=[
                {"trigger": "ship", "because": "event-1 (web/order at 0s): conditionsReset made 'ship' forget it"}
            ],
            pending={"ship": ["order"]},
        ).passed

    def test_a_source_that_refuses_is_a_reason(self, bench: Bench) -> None:
        bench.manifests(sensor())
        event = {**ORDER, "raw": "{", "headers": {"Content-Type": "application/json"}}

        assert bench.run(event=event, fires=[], because="its source refused it").passed

    def test_the_filter_of_an_event_source_is_a_reason(self, bench: Bench) -> None:
        web = WEB.replace("/order,", "/order, filter: {expression: 'body.price > 10'},")
        bench.manifests(sensor(), more=web)

        assert bench.run(event={**ORDER, "raw": {"price": 11}}, fires=["ship"]).passed
        dropped = "its source refused it: its filter `body.price > 10` is not true of it"
        assert bench.run(event={**ORDER, "raw": {"price": 9}}, fires=[], because=dropped).passed
        failed = "its source refused it: its filter fails on it: "
        assert bench.run(event={**ORDER, "raw": {"price": "dear"}}, fires=[], because=failed).passed

    def test_an_event_for_somebody_else_is_a_reason(self, bench: Bench) -> None:
        bench.manifests(sensor())

        assert bench.run(event=PAYMENT, fires=[], because="no event came that it waits for (web/order)").passed

    def test_an_action_that_had_no_time_is_a_reason(self, bench: Bench) -> None:
        bench.manifests(sensor(trigger("ship", rateLimit={"unit": "Hour", "requestsPerUnit": 1})))

        lines = bench.lines(event={**ORDER, "times": 2}, until="10m", fires=["ship", "ship"])

        assert "why 'ship' of sensor 'shop' did not fire again:" in lines
        assert lines[-1] == "  1 of its actions had not ended when the test did, at 10m0s"


class TestDeadLetters:
    def test_one_that_nobody_expects_fails_the_test(self, bench: Bench) -> None:
        bench.manifests(sensor())

        lines = bench.lines(answers={"ship": {"rejected": "no such street"}}, fires=["ship"])

        assert lines[-2:] == ["'ship' was given up at 0s:", "  no such street"]

    def test_one_that_is_expected_must_come(self, bench: Bench) -> None:
        bench.manifests(sensor())

        lines = bench.lines(deadLetters=["ship"])

        assert lines[-2:] == [
            "  event-1 (web/order at 0s): 'ship' shall run",
            "  its action for event-1 (order) was tried at 0s",
        ]

    def test_its_reason_tries_and_time_are_compared(self, bench: Bench) -> None:
        bench.manifests(sensor(trigger("ship", retryStrategy={"steps": 2, "duration": "5s"})))
        answers = {"ship": {"fails": "busy", "times": 9}}

        assert bench.run(
            answers=answers, deadLetters=[{"trigger": "ship", "because": "busy", "tries": 2, "at": "5s"}]
        ).passed
        lines = bench.lines(
            answers=answers, deadLetters=[{"trigger": "ship", "because": "lost", "tries": 3, "at": "6s"}]
        )
        assert lines == [
            "deadLetters[0] (ship): no reason has 'lost' in it; the reasons were:",
            "  busy",
            "deadLetters[0] (ship): tries: wanted 3, found 2",
            "deadLetters[0] (ship): at: wanted 6s, found 5s",
        ]
