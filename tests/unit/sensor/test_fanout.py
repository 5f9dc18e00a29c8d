"""One action for each element of an array: which, under which ids, what they keep, and what there is where there is no array."""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argosy.event import Event
from argosy.lang import gojson
from argosy.manifests._action_models import ForEach
from argosy.manifests.fields import TriggerParameterSource
from argosy.sensor import actions
from argosy.sensor.explaining import World, explain
from argosy.sensor.explaining_stories import TriggerStory
from argosy.sensor.fanout import Fanned, FanOut
from argosy.sensor.parameters import look_up
from tests.unit.sensor._collecting import event, sensor
from tests.unit.sensor.test_collecting_loop import _Stage, on_stage

ALERTS = {"group": "disks", "alerts": [{"fp": "x", "n": 1}, {"fp": "y", "n": 2}, {"fp": "x", "n": 3}]}


def _fan(events: dict[str, Event], strict: bool = False, **block: Any) -> Fanned:
    block = {"path": "alerts", **block}
    return FanOut(ForEach.model_validate(block), strict=strict)("whole", events)


def _data(one: Event) -> Any:
    return gojson.loads(one.data)


class TestElements:
    def test_each_element_is_an_event_of_its_own_name_beside_the_one_that_came(self) -> None:
        fanned = _fan({"a": event("a1", ALERTS)})

        assert [_data(part.events["item"]) for part in fanned.parts] == ALERTS["alerts"]
        assert [part.events["a"].id for part in fanned.parts] == ["a1"] * 3

    def test_parameters_find_the_element_its_place_and_how_many_there_are(self) -> None:
        part = _fan({"a": event("a1", ALERTS)}).parts[1]

        def value(**src: str) -> str:
            found = look_up(TriggerParameterSource.model_validate({"dependencyName": "item", **src}), part.events)
            assert found.value is not None
            return found.value.text

        assert value(dataKey="fp") == "y"
        assert value(dataTemplate="{{ .Input.fp }}-{{ .Input.n }}") == "y-2"
        assert value(contextKey="itemindex") == "1"
        assert value(contextKey="itemcount") == "3"

    def test_the_event_that_is_kept_has_this_one_element_alone(self) -> None:
        # Else a thousand elements would be stored a thousand times.
        fanned = _fan({"a": event("a1", ALERTS)})

        assert _data(fanned.parts[2].events["a"]) == {"group": "disks", "alerts": [{"fp": "x", "n": 3}]}

    def test_what_a_query_selects_stands_nowhere_so_the_event_stays_whole(self) -> None:
        fanned = _fan({"a": event("a1", ALERTS)}, path='alerts.#(fp=="x")#')

        assert [_data(part.events["item"])["n"] for part in fanned.parts] == [1, 3]
        assert _data(fanned.parts[0].events["a"]) == ALERTS

    def test_numbers_and_letters_stay_as_they_were_written(self) -> None:
        text = '{"é":"ü","alerts": [ 12345678901234567890 , 1.10 ]}'.encode()
        came = event("a1")
        fanned = _fan({"a": Event(**{**vars(came), "data": text})})

        assert [part.events["item"].data.strip() for part in fanned.parts] == [b"12345678901234567890", b"1.10"]
        assert fanned.parts[1].events["a"].data == '{"é":"ü","alerts": [1.10]}'.encode()

    def test_the_whole_of_the_data_may_be_the_array(self) -> None:
        assert len(_fan({"a": event("a1", [1, 2, 3])}, path="@this").parts) == 3

    def test_the_dependency_that_is_named_has_the_array(self) -> None:
        fanned = _fan({"a": event("a1", {}), "b": event("b1", ALERTS)}, dependencyName="b", item="alert")

        assert [list(part.events) for part in fanned.parts] == [["a", "b", "alert"]] * 3


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    before=st.dictionaries(st.text().filter(lambda key: key != "body"), _JSON, max_size=3),
    beside=st.dictionaries(st.text().filter(lambda key: key != "items"), _JSON, max_size=3),
    elements=st.lists(_JSON, min_size=1, max_size=5),
    indent=st.sampled_from([None, 1]),
    ascii_=st.booleans(),
)
@settings(deadline=None)
def test_whatever_stands_around_the_array_each_action_keeps_it_and_its_own_element(
    before: dict[str, Any], beside: dict[str, Any], elements: list[Any], indent: int | None, ascii_: bool
) -> None:
    data = {**before, "body": {**beside, "items": elements}}
    text = json.dumps(data, indent=indent, ensure_ascii=ascii_).encode("utf-8", "surrogatepass")
    if not gojson.valid(text):
        return  # half a surrogate is no JSON that a bus would carry
    came = Event(**{**vars(event("a1")), "data": text})

    parts = _fan({"a": came}, path="body.items").parts

    assert [json.loads(part.events["item"].data) for part in parts] == json.loads(text)["body"]["items"]
    for part, element in zip(parts, json.loads(text)["body"]["items"], strict=True):
        kept = json.loads(part.events["a"].data)
        assert kept["body"].pop("items") == [element]
        wanted = json.loads(text)
        del wanted["body"]["items"]
        assert kept == wanted


class TestIds:
    def test_are_the_same_whenever_it_is_fanned_out_again_and_differ_among_each_other(self) -> None:
        first, second = (_fan({"a": event("a1", ALERTS)}).parts for _ in range(2))

        assert [part.id for part in first] == [part.id for part in second]
        assert len({part.id for part in first}) == 3

    def test_with_a_key_do_not_depend_on_the_place(self) -> None:
        one = _fan({"a": event("a1", {"alerts": [{"fp": "x"}, {"fp": "y"}]})}, key="fp")
        other = _fan({"a": event("a1", {"alerts": [{"fp": "y"}, {"fp": "x"}]})}, key="fp")

        assert {part.mark: part.id for part in one.parts} == {part.mark: part.id for part in other.parts}

    def test_elements_with_one_key_are_not_lost(self) -> None:
        fanned = _fan({"a": event("a1", ALERTS)}, key="fp")

        assert [part.mark for part in fanned.parts] == ["x", "y", "x[2]"]

    @pytest.mark.parametrize(
        "keys", [["x", "x", "x[2]"], ["x[2]", "x", "x"], ["", None, "[0]"], ["a" * 5000, "a" * 5000]]
    )
    def test_no_two_elements_have_one_id_whatever_their_keys_are(self, keys: list[str | None]) -> None:
        fanned = _fan({"a": event("a1", {"alerts": [{"fp": key} for key in keys]})}, key="fp")

        assert len({part.id for part in fanned.parts}) == len(keys)


class TestNoElements:
    def test_an_empty_array_is_nothing_to_do_and_no_mistake(self) -> None:
        fanned = _fan({"a": event("a1", {"alerts": []})}, strict=True)

        assert (fanned.parts, fanned.failed, fanned.given_up) == ((), False, False)
        assert fanned.reason == "the array at 'alerts' is empty, so there is nothing to do"

    @pytest.mark.parametrize(
        ("data", "words"),
        [
            ({"alert": []}, "no 'alerts' at the top; there is alert"),
            ({"alerts": {"fp": "x"}}, "finds an object with fp, not an array"),
            ({"alerts": "[1]"}, "not an array"),
            ({"alerts": None}, "finds null, not an array"),
        ],
    )
    @pytest.mark.parametrize("strict", [True, False])
    def test_what_is_no_array_is_given_up_where_the_sensor_is_strict(
        self, data: dict[str, Any], words: str, strict: bool
    ) -> None:
        fanned = _fan({"a": event("a1", data)}, strict=strict)

        assert (fanned.failed, fanned.given_up) == (True, strict)
        assert words in fanned.reason

    def test_data_that_is_no_json_and_an_event_that_did_not_come_are_no_array_either(self) -> None:
        text = event("a1", datacontenttype="text/plain")

        assert "content type 'text/plain'" in _fan({"a": text}).reason
        assert _fan({"a": text}, dependencyName="b").reason == "no event of 'b' is here"

    def test_more_elements_than_allowed_are_given_up_as_a_whole(self) -> None:
        fanned = _fan({"a": event("a1", ALERTS)}, maxItems=2)

        assert fanned.given_up and "3 elements, more than 'maxItems' (2)" in fanned.reason

    def test_an_event_that_would_be_kept_whole_too_often_is_given_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("argosy.sensor.fanout.MOST_BYTES", 100)

        assert _fan({"a": event("a1", ALERTS)}, path="alerts.#.n").given_up
        assert not _fan({"a": event("a1", ALERTS)}).given_up

    def test_what_stands_beside_the_array_or_came_with_it_is_not_kept_too_often_either(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Else one event that is large beside an array of many small elements fills the memory.
        monkeypatch.setattr("argosy.sensor.fanout.MOST_BYTES", 300)
        beside = _fan({"a": event("a1", {**ALERTS, "image": "x" * 100})})
        joined = _fan({"a": event("a1", ALERTS), "b": event("b1", "x" * 100)})

        assert beside.given_up and "kept with each of 3 actions; let a transform drop" in beside.reason
        assert joined.given_up
        assert not _fan({"a": event("a1", {"alerts": [{"fp": "x" * 1000}]})}).given_up


FOR_EACH: dict[str, Any] = {"path": "alerts", "key": "fp"}


def _put(stage: _Stage) -> list[str]:
    found = []
    for item in stage.bus._queues["t"].items.values():
        events = actions.decode(item.body).events
        found.append(events["item"].id if "item" in events else events["a"].id)
    return found


@on_stage
async def test_an_event_becomes_its_elements_in_order(stage: _Stage) -> None:
    await stage.start({"conditions": "a"}, forEach=FOR_EACH)

    await stage.come("a1", ALERTS)
    await stage.come("a2", ALERTS)

    assert _put(stage) == ["a1/x", "a1/y", "a1/x[2]", "a2/x", "a2/y", "a2/x[2]"]


@on_stage
async def test_an_empty_array_is_told_as_what_the_dependency_came_to(stage: _Stage) -> None:
    await stage.start({"conditions": "a"}, forEach=FOR_EACH)

    await stage.come("a1", {"alerts": []})

    assert _put(stage) == []
    said = stage.witness.decided[-1].verdict
    assert (said.reason, said.failed) == ("forEach: the array at 'alerts' is empty, so there is nothing to do", False)


@on_stage
async def test_what_a_condition_has_joined_is_fanned_out_by_the_dependency_that_has_the_array(stage: _Stage) -> None:
    await stage.start({"conditions": "a && b"}, forEach={**FOR_EACH, "dependencyName": "a"})

    await stage.come("a1", ALERTS)
    await stage.come("b1")

    assert _put(stage) == ["a1/x", "a1/y", "a1/x[2]"]


@on_stage
async def test_a_batch_can_be_taken_apart_again(stage: _Stage) -> None:
    block = {"path": "@this", "key": "id"}
    await stage.start({"conditions": "a"}, forEach=block, batch={"window": "1m", "maxEvents": 2})

    await stage.come("a1")
    await stage.come("a2")

    assert [one.rpartition("/")[2] for one in _put(stage)] == ["a1", "a2"]


class _Killer(list[str]):
    """Failpoints that kill the loop when the second action is stored."""

    def append(self, point: str) -> None:
        super().append(point)
        if self.count("action.put") == 2:
            raise RuntimeError("killed")


@on_stage
async def test_a_loop_that_dies_amid_the_elements_loses_none_and_puts_none_twice(stage: _Stage) -> None:
    # Given a sensor that dies when two of three elements are stored, each of which takes longer than the one before
    queue = stage.bus.queue("t")
    put = queue.put
    begun = itertools.count(1)

    async def slowly(*args: Any, **more: Any) -> bool:
        for _ in range(10 * next(begun)):
            await asyncio.sleep(0)
        return await put(*args, **more)

    stage.bus.queue = lambda name, **more: queue  # type: ignore[method-assign]
    queue.put = slowly  # type: ignore[method-assign]
    stage.points = _Killer()
    await stage.start({"conditions": "a"}, forEach=FOR_EACH)
    await stage.come("a1", ALERTS)
    await stage.stop()
    assert _put(stage) == ["a1/x", "a1/y"]
    # When it starts anew
    stage.points = []
    await stage.start({"conditions": "a"}, forEach=FOR_EACH)
    await stage.clock.settle()
    # Then the rest is there, and nothing twice
    assert _put(stage) == ["a1/x", "a1/y", "a1/x[2]"]


@on_stage
async def test_many_elements_are_stored_before_the_batch_of_events_is_through(stage: _Stage) -> None:
    # Given a sensor and a batch of events that are waiting for it, of many elements each
    await stage.start({"conditions": "a"}, forEach="alerts")
    await stage.stop()
    for number in range(5):
        await stage.bus.publish(event(f"a{number}", {"alerts": list(range(900))}))
    stored = []
    told = stage.witness.matched

    def matched(*said: Any) -> None:
        stored.append(len(stage.bus._queues["t"].items))
        told(*said)

    stage.witness.matched = matched  # type: ignore[method-assign]
    # When it reads them
    await stage.start({"conditions": "a"}, forEach="alerts")
    await stage.clock.settle()
    # Then not all of their actions were in memory at once, and all are stored
    assert stored == [0, 0, 0, 2700, 2700]
    assert len(_put(stage)) == 5 * 900
    assert stage.points.count("actions.put") == 1


def test_a_path_alone_is_the_block() -> None:
    (trigger,) = sensor({"conditions": "a"}, forEach="alerts").triggers

    assert trigger.for_each == ForEach(path="alerts")


class TestExplained:
    def _story(self, data: Any, **block: Any) -> TriggerStory:
        told = explain(World([sensor({"conditions": "a"}, forEach={**FOR_EACH, **block})]), [event("a1", data)])
        (story,) = told[0].sensors[0].triggers
        return story

    def test_every_element_has_a_story_with_the_id_that_it_has_when_it_runs(self) -> None:
        story = self._story(ALERTS)

        assert (story.result, [one.item for one in story.actions]) == ("fires", ["x", "y", "x[2]"])
        whole = actions.action_id("ns", "s", "t", {"a": event("a1", ALERTS)})
        spec = ForEach.model_validate(FOR_EACH)
        parts = FanOut(spec, strict=False)(whole, {"a": event("a1", ALERTS)}).parts
        assert [one.id for one in story.actions] == [part.id for part in parts]

    def test_an_empty_array_fires_nothing_and_says_so(self) -> None:
        story = self._story({"alerts": []})

        assert (story.result, story.because) == (
            "idle",
            "forEach: the array at 'alerts' is empty, so there is nothing to do",
        )

    def test_too_many_elements_would_fail(self) -> None:
        story = self._story(ALERTS, maxItems=1)

        assert story.result == "fails"
        assert story.because.startswith("forEach: the array has 3 elements")
