"""What a trigger collects and when it runs: correlate, within, count, absent, batch, debounce; by the times of the log."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from argosy.lang import gojson
from argosy.sensor import gathering
from argosy.sensor.actions import action_id
from tests.unit.sensor._collecting import Remembering

SAME = {"a": "order.id", "b": "ref"}


class TestCorrelate:
    def test_only_events_with_the_same_value_belong_together(self) -> None:
        one = Remembering({"conditions": "a && b", "correlate": SAME})

        assert one.come(0, "a1", {"order": {"id": "17"}}) == []
        assert one.come(1, "b1", {"ref": "18"}) == []
        assert one.come(2, "a2", {"order": {"id": "19"}}) == []
        assert one.come(3, "b2", {"ref": "17"}) == [["a1", "b2"]]
        assert one.come(4, "a3", {"order": {"id": "18"}}) == [["b1", "a3"]]
        assert one.values() == ["19"]

    def test_a_number_and_its_text_are_the_same_value(self) -> None:
        one = Remembering({"conditions": "a && b", "correlate": SAME})
        one.come(0, "a1", {"order": {"id": 17}})

        assert one.come(1, "b1", {"ref": "17"}) == [["a1", "b1"]]

    @pytest.mark.parametrize(
        ("data", "said"),
        [
            ({"order": {"no": 1}}, "path 'order.id' does not exist: no 'id' under 'order'; there is no"),
            ({"order": {"id": None}}, "path 'order.id' is empty or null, which belongs to nothing"),
            ({"order": {"id": ""}}, "path 'order.id' is empty or null, which belongs to nothing"),
        ],
    )
    def test_an_event_without_a_value_is_not_taken_in_and_says_why(self, data: object, said: str) -> None:
        one = Remembering({"conditions": "a && b", "correlate": SAME})

        assert one.come(0, "a1", data) == []

        assert one.said == said
        assert one.values() == []

    def test_says_which_value_waits_for_what(self) -> None:
        one = Remembering({"conditions": "a && b", "correlate": SAME, "within": "10m"})
        one.come(1767225600, "a1", {"order": {"id": "17"}})

        assert one.said == "waits for 'b' of '17', until 2026-01-01 00:10:00Z"

    def test_values_of_any_length_and_content_are_kept_apart(self) -> None:
        one = Remembering({"conditions": "a && b", "correlate": SAME})
        long = "x" * 100_000
        one.come(0, "a1", {"order": {"id": long + "1"}})
        one.come(0, "a2", {"order": {"id": {"z": [1]}}})
        one.come(0, "a3", {"order": {"id": "ü/.*>\n"}})

        assert one.come(1, "b1", {"ref": long + "2"}) == []
        assert one.come(1, "b2", {"ref": "ü/.*>\n"}) == [["a3", "b2"]]
        assert one.come(1, "b3", {"ref": {"z": [1]}}) == [["a2", "b3"]]
        assert all(len(key) < 40 for key in one.memory.states)

    def test_too_many_values_give_up_the_oldest_and_tell(self) -> None:
        one = Remembering({"conditions": "a && b", "correlate": SAME, "maxPending": 2})
        for number in range(4):
            one.come(number, f"a{number}", {"order": {"id": str(number)}})

        assert one.values() == ["2", "3"]
        assert one.memory.given_up == ["0", "1"]
        assert one.come(9, "b0", {"ref": "0"}) == []

    def test_a_value_that_is_complete_is_removed_once_the_log_is_not_read_again(self) -> None:
        one = Remembering({"conditions": "a && b", "correlate": SAME})
        one.come(0, "a1", {"order": {"id": "17"}})
        one.come(0, "b1", {"ref": "17"})

        assert one.memory.committed(1) == []
        (gone,) = one.memory.committed(2)

        assert gone.startswith("c.")
        assert one.memory.states == {}

    def test_a_value_that_expired_is_removed_when_any_event_comes_later(self) -> None:
        one = Remembering({"conditions": "a && b", "correlate": SAME, "within": "10s"})
        one.come(0, "a1", {"order": {"id": "1"}})
        one.come(5, "a2", {"order": {"id": "2"}})
        one.come(10, "a3", {"order": {"id": "3"}})
        assert one.values() == ["1", "2", "3"]

        one.come(10.001, "a4", {"order": {"id": "4"}})

        assert one.values() == ["2", "3", "4"]


class TestWithin:
    @pytest.mark.parametrize(("later", "together"), [(9.999, True), (10.0, True), (10.001, False)])
    def test_an_event_counts_for_so_long(self, later: float, together: bool) -> None:
        one = Remembering({"conditions": "a && b", "within": "10s"})
        one.come(0, "a1")

        assert one.come(later, "b1") == ([["a1", "b1"]] if together else [])

    def test_a_newer_event_begins_anew(self) -> None:
        one = Remembering({"conditions": "a && b", "within": "10s"})
        one.come(0, "a1")
        one.come(8, "a2")

        assert one.come(15, "b1") == [["a2", "b1"]]

    def test_only_what_is_too_old_is_forgotten(self) -> None:
        one = Remembering({"conditions": "a && b && c", "within": "10s"})
        one.come(0, "a1")
        one.come(8, "b1")
        one.come(12, "c1")

        assert one.come(15, "a2") == [["b1", "c1", "a2"]]


class TestCount:
    def test_a_dependency_holds_when_it_came_so_often_and_the_newest_is_seen(self) -> None:
        one = Remembering({"conditions": "a", "count": {"a": 3}})

        assert [one.come(n, f"a{n}") for n in range(1, 8)] == [[], [], [["a3"]], [], [], [["a6"]], []]
        assert one.said == "waits for 'a' (2 more)"

    def test_with_within_only_the_last_ones_count(self) -> None:
        one = Remembering({"conditions": "a", "count": {"a": 3}, "within": "10s"})

        found = [one.come(at, f"a{at}") for at in (0, 9, 18, 27, 28, 29)]

        assert found == [[], [], [], [], [["a28"]], []]

    def test_others_need_one(self) -> None:
        one = Remembering({"conditions": "a && b", "count": {"a": 2}})

        assert [one.come(n, name) for n, name in enumerate(["b1", "a1", "b2", "a2"])] == [[], [], [], [["b2", "a2"]]]

    def test_counts_for_each_value(self) -> None:
        one = Remembering({"conditions": "a", "count": {"a": 2}, "correlate": {"a": "k"}})

        assert [one.come(n, f"a{n}", {"k": k}) for n, k in enumerate("xyxxy")] == [[], [], [["a2"]], [], [["a4"]]]

    def test_a_reset_forgets_what_was_counted(self) -> None:
        reset = [{"byTime": {"cron": "* * * * *"}}]
        one = Remembering({"conditions": "a", "count": {"a": 2}, "conditionsReset": reset})
        one.come(59, "a1")

        assert one.come(60, "a2") == []
        assert one.come(61, "a3") == [["a3"]]


class TestAbsent:
    ABSENT: ClassVar[dict[str, Any]] = {"conditions": "a", "absent": {"dependency": "c", "after": "5s"}}

    def test_runs_when_the_other_did_not_follow_in_time(self) -> None:
        one = Remembering(self.ABSENT)
        assert one.come(0, "a1") == []
        assert one.said == "runs at 1970-01-01 00:00:05Z unless 'c' comes before"

        assert one.pass_to(4.999) == []
        assert one.pass_to(5) == [["a1"]]
        assert one.pass_to(99) == []

    @pytest.mark.parametrize(("at", "ran"), [(4.999, []), (5.0, [["a1"]]), (6.0, [["a1"]])])
    def test_the_other_must_come_before(self, at: float, ran: list[list[str]]) -> None:
        one = Remembering(self.ABSENT)
        one.come(0, "a1")

        assert one.come(at, "c1") == ran
        assert one.pass_to(99) == []

    def test_what_came_before_does_not_follow(self) -> None:
        one = Remembering(self.ABSENT)
        one.come(0, "c1")
        one.come(1, "a1")

        assert one.pass_to(6) == [["a1"]]

    def test_every_completion_waits_for_itself_and_one_event_ends_them_all(self) -> None:
        one = Remembering(self.ABSENT)
        one.come(0, "a1")
        one.come(2, "a2")

        assert one.pass_to(5) == [["a1"]]
        one.come(6, "a3")
        assert one.come(6.5, "c1") == []
        assert one.pass_to(99) == []

    def test_concerns_the_same_value(self) -> None:
        one = Remembering({**self.ABSENT, "correlate": {"a": "k", "c": "k"}})
        one.come(0, "a1", {"k": 1})
        one.come(1, "a2", {"k": 2})
        one.come(2, "c1", {"k": 1})

        assert one.pass_to(9) == [["a2"]]

    def test_an_empty_condition_means_all_others(self) -> None:
        one = Remembering({"absent": {"dependency": "c", "after": "5s"}})

        assert str(one.plan.condition) == "a && b"

    def test_a_reset_in_between_forgets_it(self) -> None:
        reset = [{"byTime": {"cron": "* * * * *"}}]
        one = Remembering({**self.ABSENT, "conditionsReset": reset})
        one.come(50, "a1")
        assert one.come(57, "a2") == [["a1"]]

        assert one.pass_to(99) == []

    def test_too_many_at_a_time_give_up_the_oldest_and_tell(self) -> None:
        one = Remembering({"conditions": "a", "absent": {"dependency": "c", "after": "1h"}})
        for number in range(102):
            one.come(number, f"a{number}")

        assert one.memory.given_up == ["a a0", "a a1"]
        assert one.pass_to(9999)[0] == ["a2"]


class TestABatch:
    def test_runs_once_for_all_when_its_window_is_over(self) -> None:
        one = Remembering({"conditions": "a"}, batch={"window": "10s"})

        assert [one.come(at, f"a{at}") for at in (0, 4, 9)] == [[], [], []]
        assert one.said == "gathers events, has 3 of 100, and runs at 1970-01-01 00:00:10Z"
        assert one.come(10, "a10") == [["a0", "a4", "a9"]]
        assert one.pass_to(20) == [["a10"]]

    def test_runs_at_once_when_it_is_full(self) -> None:
        one = Remembering({"conditions": "a"}, batch={"window": "10s", "maxEvents": 2})

        assert [one.come(at, f"a{at}") for at in range(5)] == [[], [["a0", "a1"]], [], [["a2", "a3"]], []]

    def test_is_one_event_for_each_dependency_whose_data_are_cloudevents(self) -> None:
        one = Remembering({"conditions": "a || b"}, batch={"window": "10s"})
        for at, id in enumerate(("a1", "b1", "a2")):
            one.come(at, id, {"n": at}, time=f"2026-01-01T12:00:0{at}Z")

        (completed,) = one.memory.ring_to(10, 3)

        assert list(completed.events) == ["a", "b"]
        first = completed.events["a"]
        assert (first.source, first.subject, first.time) == ("web", "a", "2026-01-01T12:00:02Z")
        assert first.datacontenttype == "application/json"
        assert [(each["id"], each["data"]) for each in gojson.loads(first.data)] == [("a1", {"n": 0}), ("a2", {"n": 2})]

    def test_has_an_id_that_its_events_make(self) -> None:
        def made(*names: str) -> str:
            one = Remembering({"conditions": "a"}, batch={"window": "10s"})
            for name in names:
                one.come(0, name)
            (completed,) = one.memory.ring_to(10, 9)
            return action_id("ns", "s", "t", completed.events)

        assert made("a1", "a2") == made("a1", "a2")
        assert len({made("a1", "a2"), made("a1"), made("a2"), made("a2", "a1")}) == 4

    def test_is_one_for_each_key_and_events_without_a_key_have_one_of_their_own(self) -> None:
        key = {"dependencyName": "a", "dataKey": "k"}
        one = Remembering({"conditions": "a"}, batch={"window": "10s", "key": key})
        for number, data in enumerate([{"k": "x"}, {"k": "y"}, {"k": "x"}, {}, {}]):
            one.come(number, f"a{number}", data)

        assert one.pass_to(99) == [["a0", "a2"], ["a1"], ["a3", "a4"]]

    def test_ends_before_it_is_too_large_for_a_message(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(gathering, "LARGEST_BATCH_BYTES", 2000)
        one = Remembering({"conditions": "a"}, batch={"window": "10s"})

        found = [one.come(0, f"a{n}", {"long": "x" * 700}) for n in range(5)]

        assert found == [[], [], [["a0", "a1"]], [], [["a2", "a3"]]]

    def test_too_many_keys_let_the_oldest_run_early_and_nothing_is_lost(self) -> None:
        key = {"dependencyName": "a", "dataKey": "k"}
        one = Remembering({"conditions": "a", "maxPending": 2}, batch={"window": "10s", "key": key})

        assert [one.come(n, f"a{n}", {"k": n}) for n in range(4)] == [[], [], [["a0"]], [["a1"]]]
        assert one.memory.given_up == []

    def test_gathers_what_the_condition_lets_through(self) -> None:
        one = Remembering({"conditions": "a && b"}, batch={"window": "10s", "maxEvents": 2})
        found = [one.come(n, id) for n, id in enumerate(("a1", "a2", "b1", "b2", "a3"))]

        assert found[-1] == [["a2", "a3", "b1", "b2"]]


class TestADebounce:
    def test_runs_for_the_last_event_when_it_has_become_quiet(self) -> None:
        one = Remembering({"conditions": "a"}, debounce={"quiet": "5s"})

        assert [one.come(at, f"a{at}") for at in (0, 4, 8)] == [[], [], []]
        assert one.said == "runs at 1970-01-01 00:00:13Z unless another event comes before"
        assert one.pass_to(12.9) == []
        assert one.pass_to(13) == [["a8"]]

    def test_does_not_wait_longer_than_at_most(self) -> None:
        one = Remembering({"conditions": "a"}, debounce={"quiet": "5s", "atMost": "10s"})

        found = [one.come(at, f"a{at}") for at in range(0, 24, 3)]

        assert found == [[], [], [], [], [["a9"]], [], [], []]
        assert one.pass_to(99) == [["a21"]]

    def test_an_event_in_the_moment_in_which_it_ends_begins_the_next(self) -> None:
        one = Remembering({"conditions": "a"}, debounce={"quiet": "5s"})
        one.come(0, "a0")

        assert one.come(5, "a5") == [["a0"]]

    def test_is_one_for_each_key(self) -> None:
        key = {"dependencyName": "a", "dataKey": "branch"}
        one = Remembering({"conditions": "a"}, debounce={"quiet": "5s", "key": key})
        for at, branch in enumerate(["main", "dev", "main", "dev", "dev"]):
            one.come(at, f"a{at}", {"branch": branch})

        assert one.pass_to(99) == [["a2"], ["a4"]]


def test_what_is_due_fires_in_the_order_of_time_over_all_values() -> None:
    one = Remembering(
        {"conditions": "a", "absent": {"dependency": "c", "after": "5s"}, "correlate": {"a": "k", "c": "k"}}
    )
    for at, key in enumerate("xyzxyz"):
        one.come(at / 10, f"a{at}", {"k": key})

    assert one.pass_to(99) == [["a0"], ["a1"], ["a2"], ["a3"], ["a4"], ["a5"]]


def test_any_number_of_events_of_one_debounce_leaves_one_timer() -> None:
    one = Remembering({"conditions": "a"}, debounce={"quiet": "5s"})
    for at in range(2000):
        one.come(at / 1000, "a1" if at % 2 else "a2")

    assert len(one.memory._dues._heap) == 1
