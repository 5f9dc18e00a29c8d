"""Action records: an id that the same cause always gives and no other, and a body that is read as it was written."""

from __future__ import annotations

import pytest

from argosy.errors import EventInvalid
from argosy.event import Event
from argosy.sensor import actions
from argosy.sensor.actions import ActionRecord, action_id


def _event(id: str, source: str = "web", subject: str = "in", data: bytes = b'{"n":1}', **more: str) -> Event:
    return Event(id, source, subject, "webhook", "2026-01-01T00:00:00Z", data, **more)  # type: ignore[arg-type]


A, B = _event("1"), _event("2", subject="out")


class TestAnId:
    def test_is_the_same_for_the_same_trigger_and_events_in_whatever_order(self) -> None:
        first = action_id("ns", "s", "t", {"a": A, "b": B})

        assert first == action_id("ns", "s", "t", {"b": B, "a": A})
        assert len(first) == 32 and set(first) <= set("0123456789abcdef")

    def test_does_not_depend_on_what_a_transform_made_of_an_event(self) -> None:
        assert action_id("ns", "s", "t", {"a": A}) == action_id("ns", "s", "t", {"a": _event("1", data=b"{}")})

    def test_differs_for_every_other_cause(self) -> None:
        causes = [
            ("ns", "s", "t", {"a": A}),
            ("n", "ss", "t", {"a": A}),
            ("ns", "s2", "t", {"a": A}),
            ("ns", "s", "t2", {"a": A}),
            ("ns", "s", "t", {"b": A}),
            ("ns", "s", "t", {"a": _event("10")}),
            ("ns", "s", "t", {"a": _event("1", source="we", subject="bin")}),
            ("ns", "s", "t", {"a": A, "b": B}),
            ("ns", "s", "t", {"a": B, "b": A}),
        ]

        assert len({action_id(*cause) for cause in causes}) == len(causes)

    def test_cannot_be_forged_by_what_an_event_calls_itself(self) -> None:
        for gap in ("\0", '","', "/", "\n"):
            forged = _event(gap.join(["1", "b", "web", "out", "2"]))

            assert action_id("ns", "s", "t", {"a": forged}) != action_id("ns", "s", "t", {"a": A, "b": B})


class TestARecord:
    def test_is_read_as_it_was_written(self) -> None:
        binary = _event("3", data=b"\xff\x00", datacontenttype="application/octet-stream")
        nothing = _event("4", data=b"")
        record = ActionRecord("2026-01-01T00:00:00Z", {"a": A, "b": B, "c": binary, "d": nothing})

        assert actions.decode(actions.encode(record)) == record

    def test_keeps_the_text_of_numbers(self) -> None:
        exact = _event("1", data=b'{"big":12345678901234567890,"f":1.50}')

        again = actions.decode(actions.encode(ActionRecord("", {"a": exact})))

        assert again.events["a"].data == exact.data

    def test_that_is_too_large_is_kept_without_data_and_with_the_reason(self) -> None:
        binary = _event("3", data=b"\xff\x00", datacontenttype="application/octet-stream")

        kept = actions.decode(actions.encode(actions.stripped(ActionRecord("now", {"a": A, "c": binary}), "too large")))

        assert (kept.created, kept.unusable) == ("now", "too large")
        assert {name: (one.id, one.data) for name, one in kept.events.items()} == {
            "a": ("1", b"null"),
            "c": ("3", b"null"),
        }

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"null",
            b"[]",
            b"{}",
            b'{"created":"x"}',
            b'{"created":1,"events":{}}',
            b'{"created":"x","events":{"a":{}}}',
            b"\xff",
        ],
    )
    def test_that_is_none_is_an_error(self, body: bytes) -> None:
        with pytest.raises(EventInvalid):
            actions.decode(body)
