"""What happens in a test is what happens in production: order, joins, retries, limits, dead letters; in virtual time."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.unit.testing.bench import WEB, Bench, dependency, fired, sensor, trigger

ORDER = {"from": "web/order"}
PAYMENT = {"from": "web/payment"}
BOTH = [dependency("order"), dependency("payment")]


class TestRetries:
    def test_without_a_word_in_the_manifest_the_pauses_double_from_one_second(self, bench: Bench) -> None:
        bench.manifests(sensor())

        played = bench.play(answers={"ship": {"fails": "busy", "times": 4}})

        assert fired(played) == [("ship", [0, 1, 3, 7, 15])]
        assert played.fired[0].failures == ["busy"] * 4

    def test_eight_tries_are_all_and_then_it_is_a_dead_letter(self, bench: Bench) -> None:
        bench.manifests(sensor())

        played = bench.play(answers={"ship": {"fails": "busy", "times": 100}}, deadLetters=["ship"])

        assert len(played.fired[0].tries) == 8
        assert [(one.reason, one.tries) for one in played.dead] == [("busy", 8)]

    def test_the_manifests_strategy_counts(self, bench: Bench) -> None:
        strategy = {"steps": 3, "duration": "1m", "factor": 3}
        bench.manifests(sensor(trigger("ship", retryStrategy=strategy)))

        played = bench.play(answers={"ship": {"fails": "busy", "times": 100}}, deadLetters=["ship"])

        assert fired(played) == [("ship", [0, 60, 240])]

    def test_what_the_receiver_says_about_the_time_counts_more(self, bench: Bench) -> None:
        bench.manifests(sensor())

        played = bench.play(answers={"ship": [{"retryAfter": "2h"}, "ok"]})

        assert fired(played) == [("ship", [0, 7200])]

    def test_what_is_rejected_is_not_tried_again(self, bench: Bench) -> None:
        bench.manifests(sensor())

        played = bench.play(answers={"ship": {"rejected": "no such street"}}, deadLetters=["ship"])

        assert fired(played) == [("ship", [0])]
        assert [one.reason for one in played.dead] == ["no such street"]

    def test_later_actions_wait_behind_one_that_is_tried_again(self, bench: Bench) -> None:
        bench.manifests(sensor())

        played = bench.play(
            events=[{**ORDER, "id": "first"}, {**ORDER, "id": "second"}], answers={"ship": {"fails": "", "times": 3}}
        )

        assert [(one.events["order"].id, one.at) for one in played.fired] == [
            ("first", 0),
            ("second", pytest.approx(7)),
        ]

    def test_at_most_once_is_tried_once(self, bench: Bench) -> None:
        bench.manifests(sensor(trigger("ship", atLeastOnce=False)))

        played = bench.play(answers={"ship": {"fails": "busy", "times": 100}})

        assert (fired(played), played.dead) == ([("ship", [0])], [])

    def test_a_dlq_trigger_gets_what_was_given_up(self, bench: Bench) -> None:
        bench.manifests(sensor(trigger("ship", atLeastOnce=True, dlqTrigger=trigger("regret", atLeastOnce=True))))

        played = bench.play(answers={"ship": "rejected"}, deadLetters=["ship"])

        assert fired(played) == [("ship", [0]), ("regret", [0])]


class TestRateLimits:
    @pytest.mark.parametrize(("unit", "gap"), [("Second", 0.5), ("Minute", 30), ("Hour", 1800)])
    def test_two_a_unit_are_half_a_unit_apart(self, bench: Bench, unit: str, gap: float) -> None:
        limit = {"unit": unit, "requestsPerUnit": 2}
        bench.manifests(sensor(trigger("ship", rateLimit=limit)))

        played = bench.play(event={**ORDER, "times": 4, "every": "0s"})

        assert [one.at for one in played.fired] == pytest.approx([0, gap, 2 * gap, 3 * gap], abs=0.001)

    def test_the_last_action_of_an_at_most_once_trigger_has_its_turn(self, bench: Bench) -> None:
        limit = {"unit": "Minute", "requestsPerUnit": 1}
        bench.manifests(sensor(trigger("ship", atLeastOnce=False, rateLimit=limit)))

        played = bench.play(event={**ORDER, "times": 3, "every": "0s"})

        assert [one.at for one in played.fired] == pytest.approx([0, 60, 120], abs=0.001)

    def test_an_attempt_that_takes_long_holds_up_the_next(self, bench: Bench) -> None:
        bench.manifests(sensor())

        played = bench.play(event={**ORDER, "times": 3}, answers={"ship": [{"ok": "", "takes": "10s", "times": 3}]})

        assert [one.at for one in played.fired] == pytest.approx([0, 10, 20], abs=0.001)


class TestConditions:
    def test_both_must_come_and_the_newest_counts(self, bench: Bench) -> None:
        bench.manifests(sensor(trigger("ship", conditions="order && payment"), dependencies=BOTH))

        played = bench.play(
            events=[
                {**ORDER, "id": "old"},
                {**ORDER, "id": "new"},
                {**PAYMENT, "id": "paid"},
                {**PAYMENT, "id": "again"},
            ]
        )

        (one,) = played.fired
        assert {name: event.id for name, event in one.events.items()} == {"order": "new", "payment": "paid"}
        (held,) = played.held.values()
        assert ({name: event.id for name, event in held.events.items()}, held.waits_for) == (
            {"payment": "again"},
            ["order"],
        )

    def test_a_reset_in_between_forgets(self, bench: Bench) -> None:
        bench.manifests(sensor(trigger("ship", conditions="order && payment", reset="0 6 * * *"), dependencies=BOTH))

        played = bench.play(events=[ORDER, {**PAYMENT, "at": "7h"}])

        assert played.fired == []
        (held,) = played.held.values()
        assert list(held.events) == ["payment"]

    def test_a_reset_after_the_last_event_forgets_by_the_end(self, bench: Bench) -> None:
        bench.manifests(sensor(trigger("ship", conditions="order && payment", reset="0 6 * * *"), dependencies=BOTH))

        (before,) = bench.play(event=ORDER, until="5h").held.values()
        (after,) = bench.play(event=ORDER, until="7h").held.values()

        assert (list(before.events), list(after.events)) == (["order"], [])

    def test_the_same_event_twice_is_one_event(self, bench: Bench) -> None:
        bench.manifests(sensor())

        played = bench.play(event={**ORDER, "id": "7", "times": 3})

        assert len(played.fired) == 1


class TestEvents:
    def _data(self, bench: Bench, event: dict[str, Any]) -> str:
        played = bench.manifests(sensor()).play(event={**ORDER, **event})
        return played.fired[0].events["order"].data.decode()

    def test_raw_is_wrapped_as_the_source_does(self, bench: Bench) -> None:
        data = self._data(bench, {"raw": {"item": 1.50}, "headers": {"X-Trace": "7"}})

        assert '"body":{"item":1.5}' in data
        assert '"X-Trace":["7"]' in data

    def test_a_raw_file_is_the_message_byte_for_byte(self, bench: Bench) -> None:
        (bench.folder / "body.json").write_text('{"item": 1.50}')

        assert '"body":{"item":1.50}' in self._data(bench, {"rawFile": "body.json"})

    def test_data_is_taken_as_it_is(self, bench: Bench) -> None:
        assert self._data(bench, {"data": {"b": 1, "a": None}}) == '{"b":1,"a":null}'

    def test_data_out_of_a_file_keeps_its_numbers(self, bench: Bench) -> None:
        (bench.folder / "data.json").write_text('{"b": 1.50,\n "a": 2}')

        assert self._data(bench, {"dataFile": "data.json"}) == '{"b":1.50,"a":2}'

    def test_a_whole_cloud_event_keeps_its_attributes(self, bench: Bench) -> None:
        event = {"id": "x", "source": "web", "type": "own", "subject": "order", "traceparent": "t", "data": {"a": 1}}
        bench.manifests(sensor())

        played = bench.play(event={"cloudEvent": event})

        came = played.fired[0].events["order"]
        assert (came.id, came.type, came.data, came.extensions) == ("x", "own", b'{"a":1}', {"traceparent": "t"})

    def test_without_a_word_an_event_has_the_sources_kind_the_virtual_time_and_a_number(self, bench: Bench) -> None:
        bench.manifests(sensor())

        played = bench.play(start="2026-05-01T10:00:00+02:00", events=[ORDER, {**ORDER, "at": "90s"}])

        came = [one.events["order"] for one in played.fired]
        assert [(one.id, one.type, one.time) for one in came] == [
            ("event-1", "webhook", "2026-05-01T08:00:00Z"),
            ("event-2", "webhook", "2026-05-01T08:01:30Z"),
        ]

    def test_what_the_source_refuses_never_comes(self, bench: Bench) -> None:
        bench.manifests(sensor())

        played = bench.play(event={**ORDER, "raw": "{", "headers": {"Content-Type": "application/json"}})

        assert played.fired == []
        assert "not JSON" in played.refused[0].refused

    def test_events_go_to_the_namespace_that_waits_for_them(self, bench: Bench) -> None:
        bench.manifests(
            sensor(name="here", namespace="one"),
            sensor(name="there", namespace="two"),
            more=WEB.replace("name: web", "name: other"),
        )

        played = bench.play(event={**ORDER, "namespace": "two"})

        assert [one.name.sensor for one in played.fired] == ["there"]

    def test_sensors_on_another_event_bus_do_not_hear_it(self, bench: Bench) -> None:
        bench.manifests(sensor(name="here"), sensor(name="there", eventBusName="other"))

        played = bench.play(sensors=["here", "there"])

        assert [one.name.sensor for one in played.fired] == ["here"]


class TestRendering:
    def test_a_parameter_without_a_value_is_a_dead_letter_that_was_never_tried(self, bench: Bench) -> None:
        shop = sensor()
        shop["spec"]["triggers"][0]["template"]["http"]["payload"] = [
            {"src": {"dependencyName": "order", "dataKey": "body.gone"}, "dest": "x"}
        ]
        bench.manifests(shop)

        played = bench.play(event={**ORDER, "data": {"body": {}}}, deadLetters=["ship"])

        assert played.fired == []
        assert "path 'body.gone' does not exist" in played.dead[0].reason

    def test_a_header_without_a_value_fails_as_it_would_when_it_is_sent(self, bench: Bench) -> None:
        shop = sensor()
        shop["spec"]["triggers"][0]["template"]["http"]["dynamicHeaders"] = [
            {"src": {"dependencyName": "order", "dataKey": "body.gone"}, "dest": "X-Gone"}
        ]
        bench.manifests(shop)

        played = bench.play(event={**ORDER, "data": {"body": {}}}, deadLetters=["ship"])

        assert "path 'body.gone' does not exist" in played.dead[0].reason

    def test_no_secret_is_needed(self, bench: Bench) -> None:
        shop = sensor()
        secret = {"name": "billing", "key": "token"}
        shop["spec"]["triggers"][0]["template"]["http"]["secureHeaders"] = [
            {"name": "Authorization", "valueFrom": {"secretKeyRef": secret}}
        ]
        (bench.folder / "manifests.yaml").write_text(WEB + "---\n" + yaml.safe_dump(shop))

        played = bench.play()

        assert played.fired[0].block["secureHeaders"][0]["valueFrom"]["secretKeyRef"] == secret

    def test_an_object_from_outside_is_what_the_test_gives(self, bench: Bench) -> None:
        shop = sensor()
        shop["spec"]["triggers"][0]["template"] = {
            "name": "ship",
            "k8s": {
                "operation": "create",
                "source": {"url": {"path": "http://127.0.0.1:1/object.yaml"}},
                "parameters": [{"src": {"dependencyName": "order", "dataKey": "who"}, "dest": "data.who"}],
            },
        }
        bench.manifests(shop)
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"who": "-"}}
        event = {**ORDER, "data": {"who": "Ada"}}

        known = bench.play(event=event, fetched={"ship": body}).fired[0]
        unknown = bench.play(event=event).fired[0]

        assert (known.object["data"], known.unknown) == ({"who": "Ada"}, "")  # type: ignore[index]
        assert (unknown.object, unknown.unknown) == (None, "source.url is not fetched offline")


def test_a_test_ends_when_it_says_so(bench: Bench) -> None:
    bench.manifests(sensor(trigger("ship", rateLimit={"unit": "Hour", "requestsPerUnit": 1})))

    played = bench.play(event={**ORDER, "times": 3}, until="90m")

    assert [one.at for one in played.fired] == pytest.approx([0, 3600], abs=0.001)
    assert list(played.waiting.values()) == [1]
    assert played.ended_at == 5400


def test_two_runs_of_a_test_are_the_same(bench: Bench) -> None:
    bench.manifests(sensor(trigger("ship"), trigger("bill"), name="a"), sensor(trigger("tell"), name="b"))
    test: dict[str, Any] = {
        "event": {**ORDER, "times": 5, "every": "0s"},
        "answers": {"bill": {"fails": "", "times": 7}},
    }

    one, other = bench.play(**test), bench.play(**test)

    assert [(each.name, each.id, each.tries) for each in one.fired] == [
        (each.name, each.id, each.tries) for each in other.fired
    ]


class TestForEach:
    def test_each_element_is_an_action_with_its_own_answer(self, bench: Bench) -> None:
        bench.manifests(sensor(trigger("ship", forEach={"path": "lines", "key": "sku"})))
        data = {"lines": [{"sku": "a"}, {"sku": "b"}, {"sku": "c"}]}

        played = bench.play(
            event={"from": "web/order", "data": data, "id": "o1"},
            answers={"ship": ["ok", {"rejected": "sold out"}, "ok"]},
            deadLetters=["ship"],
        )

        assert [one.events["item"].id for one in played.fired] == ["o1/a", "o1/b", "o1/c"]
        assert [one.reason for one in played.dead] == ["sold out"]

    def test_an_empty_array_says_why_nothing_fires(self, bench: Bench) -> None:
        bench.manifests(sensor(trigger("ship", forEach="lines")))

        result = bench.run(
            event={"from": "web/order", "data": {"lines": []}}, fires=[], because="the array at 'lines' is empty"
        )

        assert result.passed, result.lines()


class TestEmit:
    def test_a_sensor_goes_on_from_what_a_trigger_of_another_came_to(self, bench: Bench) -> None:
        bill = trigger("bill", emit={"eventSourceName": "billing", "eventName": "billed"})
        pack = trigger("pack", parameters=[_from("billed", "detail.invoice", "http.url")])
        on = {"name": "billed", "eventSourceName": "billing", "eventName": "billed"}
        bench.manifests(sensor(bill, name="bills"), sensor(pack, name="parcels", dependencies=[on]))

        played = bench.play(answers={"bill": {"ok": "", "detail": {"invoice": "http://127.0.0.1/7"}}})

        assert fired(played) == [("bill", [0]), ("pack", [0])]
        assert played.fired[1].block["url"] == "http://127.0.0.1/7"

    def test_sensors_that_cause_each_other_come_to_an_end(self, bench: Bench) -> None:
        on = [dependency("order"), {"name": "again", "eventSourceName": "shop", "eventName": "ship"}]
        ship = trigger("ship", conditions="order || again", emit={"maxDepth": 3})
        bench.manifests(sensor(ship, dependencies=on))

        played = bench.play(deadLetters=["ship"])

        assert len(played.fired) == 3
        assert "action 4 of a chain" in played.dead[0].reason

    def test_a_batch_does_not_hide_how_long_the_chain_is(self, bench: Bench) -> None:
        on = [dependency("order"), {"name": "again", "eventSourceName": "shop", "eventName": "ship"}]
        batch = {"window": "1s", "maxEvents": 1}
        bench.manifests(
            sensor(trigger("ship", conditions="order || again", emit={"maxDepth": 3}, batch=batch), dependencies=on)
        )

        played = bench.play(deadLetters=["ship"])

        assert len(played.fired) == 3


class TestApproval:
    def test_what_needs_approval_is_approved_at_once_unless_the_test_says_otherwise(self, bench: Bench) -> None:
        bench.manifests(sensor(trigger("ship", approval="required")))

        played = bench.play(events=[{"from": "web/order"}] * 3, answers={"ship": ["ok", {"denied": "no"}]})

        assert fired(played) == [("ship", [0]), ("ship", [2])]

    def test_what_nobody_answers_is_given_up_when_its_time_is_over(self, bench: Bench) -> None:
        bench.manifests(sensor(trigger("ship", approval={"expires": "2h"})))

        played = bench.play(answers={"ship": "unanswered"}, deadLetters=["ship"])

        assert [(one.reason, round(one.at)) for one in played.dead] == [("nobody approved it within 2h0m0s", 7200)]

    def test_a_person_who_is_not_asked_cannot_deny(self, bench: Bench) -> None:
        bench.manifests(sensor())

        played = bench.play(answers={"ship": "denied"}, deadLetters=["ship"])

        assert "asks nobody for approval" in played.dead[0].reason


def _from(name: str, path: str, dest: str) -> dict[str, Any]:
    return {"src": {"dependencyName": name, "dataKey": path}, "dest": dest}
