"""Logs: JSON lines with upstream's field names, or lines for a person; single events only for who watches."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest

from argosy.runtime import logs


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    names = ("", "argosy", "argosy.story")
    before = [(logging.getLogger(name), logging.getLogger(name).level) for name in names]
    handlers = list(logging.getLogger().handlers)
    yield
    logging.getLogger().handlers[:] = handlers
    for logger, level in before:
        logger.setLevel(level)


def _lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().split("\n")[:-1]]


class TestAJsonLine:
    def test_has_the_message_and_every_field_that_is_not_empty(self) -> None:
        out = io.StringIO()
        logs.configure("json", stream=out)

        logging.getLogger("argosy.sensor").warning(
            "sensor '%s' dropped it",
            "s",
            extra={"action": "event.undecided", "eventID": "7", "empty": "", "none": None, "n": 0},
        )

        (line,) = _lines(out)
        assert line.pop("ts").endswith("Z")  # type: ignore[attr-defined]
        assert line == {
            "level": "warning",
            "logger": "argosy.sensor",
            "msg": "sensor 's' dropped it",
            "action": "event.undecided",
            "eventID": "7",
            "n": 0,
        }

    def test_stays_one_line_whatever_is_in_it(self) -> None:
        out = io.StringIO()
        logs.configure("json", stream=out)

        try:
            raise ValueError("two\nlines")
        except ValueError:
            logging.getLogger("argosy").exception("a\nb\u2028é", extra={"odd": {1, 2} and object})

        (line,) = _lines(out)
        assert line["msg"] == "a\nb\u2028é"
        assert "ValueError: two\nlines" in str(line["stacktrace"])


class TestASentence:
    def test_has_a_time_a_mark_and_no_fields(self) -> None:
        out = io.StringIO()
        logs.configure("text", stream=out)
        log = logging.getLogger("argosy.x")

        log.info("all is well", extra={"action": "x"})
        log.warning("look")
        log.error("act")

        times, texts = zip(*(line.split(" ", 1) for line in out.getvalue().splitlines()), strict=True)
        assert texts == ("all is well", "warning: look", "ERROR: act")
        assert all(len(time) == 8 for time in times)

    def test_is_coloured_on_a_terminal_only(self) -> None:
        for stream, coloured in ((_Terminal(), True), (io.StringIO(), False)):
            logs.configure("text", stream=stream)
            logging.getLogger("argosy").error("act")
            assert ("\033[31m" in stream.getvalue()) is coloured

    def test_is_followed_by_what_was_raised(self) -> None:
        out = io.StringIO()
        logs.configure("text", stream=out)

        try:
            raise KeyError("k")
        except KeyError:
            logging.getLogger("argosy").exception("it broke")

        assert "ERROR: it broke\nTraceback" in out.getvalue()


class TestTheForm:
    @pytest.mark.parametrize(("terminal", "is_json"), [(True, False), (False, True)])
    def test_is_json_unless_somebody_watches(self, terminal: bool, is_json: bool) -> None:
        out = _Terminal() if terminal else io.StringIO()
        logs.configure(stream=out)

        logging.getLogger("argosy").error("act")

        assert out.getvalue().startswith("{") is is_json

    @pytest.mark.parametrize(
        ("form", "level", "told"),
        [
            ("text", "info", True),
            ("json", "info", False),
            ("json", "debug", True),
            ("text", "warning", False),
            ("json", "DEBUG", True),
        ],
    )
    def test_decides_whether_single_events_are_told(self, form: str, level: str, told: bool) -> None:
        out = io.StringIO()
        logs.configure(form, level, out)

        logging.getLogger("argosy.story").info("event 7 is on the log")

        assert ("event 7" in out.getvalue()) is told

    def test_of_libraries_begins_at_warnings(self) -> None:
        out = io.StringIO()
        logs.configure("json", "debug", out)

        logging.getLogger("httpx").info("chatter")
        logging.getLogger("httpx").warning("trouble")

        assert [line["msg"] for line in _lines(out)] == ["trouble"]

    def test_goes_to_standard_error_and_to_one_place_however_often_it_is_set(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        err = io.StringIO()
        monkeypatch.setattr(sys, "stderr", err)
        logs.configure("json")
        logs.configure("json")

        logging.getLogger("argosy").error("once")

        assert len(_lines(err)) == 1
