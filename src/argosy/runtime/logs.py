"""Logging: sentences with a fixed ``action`` and fields. JSON lines (upstream's field names), or lines for a person at a terminal.

Levels are promises: INFO something happened, WARNING no data was lost but look, ERROR someone must act.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import sys
from typing import Any, TextIO

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
_COLOUR = {
    logging.DEBUG: "\033[2m",
    logging.WARNING: "\033[33m",
    logging.ERROR: "\033[31m",
    logging.CRITICAL: "\033[31m",
}


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in record.__dict__.items() if name not in _STANDARD and value not in (None, "")}


class JsonLines(logging.Formatter):
    """One JSON object a line: ``level ts logger msg`` and the record's fields (the names of zap's production encoder)."""

    def format(self, record: logging.LogRecord) -> str:
        moment = dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat().replace("+00:00", "Z")
        line = {"level": record.levelname.lower(), "ts": moment, "logger": record.name, "msg": record.getMessage()}
        line.update(_fields(record))
        if record.exc_info:
            line["stacktrace"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


class Sentences(logging.Formatter):
    """``12:00:01 sentence`` in local time; warnings and errors are coloured where the stream is a terminal."""

    def __init__(self, colour: bool) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        moment = dt.datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        mark = {logging.WARNING: "warning: ", logging.ERROR: "ERROR: ", logging.CRITICAL: "ERROR: "}.get(
            record.levelno, ""
        )
        text = f"{moment} {mark}{record.getMessage()}"
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        if self._colour and (colour := _COLOUR.get(record.levelno)):
            return f"{colour}{text}\033[0m"
        return text


def configure(form: str = "auto", level: str = "info", stream: TextIO | None = None) -> None:
    """Send the ``argosy`` loggers to ``stream`` (standard error). ``form`` is ``json``, ``text``, or ``auto`` (text on a terminal)."""
    stream = stream or sys.stderr
    if form == "auto":
        form = "text" if stream.isatty() else "json"
    out = logging.StreamHandler(stream)
    out.setFormatter(JsonLines() if form == "json" else Sentences(stream.isatty()))
    root = logging.getLogger()
    root.handlers[:] = [out]
    root.setLevel(logging.WARNING)
    logging.getLogger("argosy").setLevel(level.upper())
    # Lines about single events are for people who watch; machines ask for them with --log-level debug.
    story = logging.getLogger("argosy.story")
    story.setLevel(logging.NOTSET if form == "text" or level.lower() == "debug" else logging.WARNING)
