"""Every exception that Argosy raises, one tree.

A sentence says what happened, which one (its name in quotes) and what to do. Exceptions of client libraries
cross a boundary only as ``raise Ours("sentence") from theirs``.
"""

from __future__ import annotations


class ArgosyError(Exception):
    """Something Argosy can name went wrong; the message is written for the person who has to act."""


class ConfigError(ArgosyError):
    """A manifest says something that cannot be done.

    ``file``, ``line`` and ``column`` (both from 1) and ``path`` (``spec.mqtt.example.clientId``) say where;
    they are empty or 0 where the text did not come from a file.
    """

    def __init__(self, message: str, *, file: str = "", line: int = 0, column: int = 0, path: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.file = file
        self.line = line
        self.column = column
        self.path = path

    def __str__(self) -> str:
        where = ":".join(str(part) for part in (self.file, self.line, self.column) if part)
        return ": ".join(part for part in (where, self.path, self.message) if part)


class ExtraMissing(ArgosyError):
    """A plug-in needs a library that is not installed; the message is the command that installs it."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs a library that is not installed: pip install 'argosy[{extra}]'")
        self.extra = extra


class SecretMissing(ArgosyError):
    """A Secret or ConfigMap key that a manifest refers to cannot be found. Never carries the value."""


class LangError(ArgosyError):
    """A text in one of the expression languages does not parse, or failed on this event.

    ``offset`` counts characters from 0 into ``text`` and is -1 where the fault has no place.
    """

    def __init__(self, message: str, *, text: str = "", offset: int = -1) -> None:
        super().__init__(message)
        self.message = message
        self.text = text
        self.offset = offset


class NoOutput(LangError):
    """A program ran well and yielded nothing (jq ``empty``)."""


class BusError(ArgosyError):
    """The event log or the action queue refused something for good; trying again cannot help."""


class BusUnavailable(BusError):
    """The bus cannot be reached now. Trying again later is right."""


class EventTooLarge(BusError):
    """An event is larger than the bus accepts; the source must refuse it upstream."""


class EventInvalid(ArgosyError):
    """Bytes on the log, or data that a source received, are not what they should be."""


class SourceError(ArgosyError):
    """A source lost its upstream, or could not reach it. The runtime starts it again."""


class TriggerError(ArgosyError):
    """An attempt at an action failed; another try may help."""


class RetryAfter(TriggerError):
    """An attempt failed and the receiver said when to come back. ``seconds`` counts from now."""

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


class Rejected(TriggerError):
    """An attempt failed and another try cannot help: the action is dead-lettered at once."""


class NotFound(ArgosyError):
    """Somebody asked a running system for something that it does not have."""


class Ambiguous(ArgosyError):
    """Somebody asked a running system for something that several things are; the message lists them."""
