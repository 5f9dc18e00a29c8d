"""How the objects that run here are: what they wait for, when something last happened, what last went wrong.

Whoever handles an event or an action writes one attribute of its object's ``Pulse``, and nothing else; nobody is told. It lives with
the process: after a restart times begin anew. ``App.status`` puts it beside what is ready; ``argosy.runtime.operations.status`` answers with it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from argosy.errors import ArgosyError

Key = tuple[str, str, str]
"""Kind, namespace and name of an object."""
_LONGEST_SENTENCE = 1000


def told(error: Exception | str) -> str:
    """What a status says of an error. Of one that is not ours only the kind: its own words may hold anything, also a secret."""
    return str(error) if isinstance(error, ArgosyError | str) else f"{type(error).__name__}; the log says more"


@dataclass(slots=True)
class Pulse:
    """What last happened to one object, in seconds since the epoch; 0 where nothing has."""

    last_event: float = 0.0
    """An EventSource's event is on the log, or a Sensor has taken an event in."""
    last_fired: float = 0.0
    """An action of a Sensor was done."""
    error_at: float = 0.0
    error: str = ""
    hidden: Callable[[str], str] = field(default=str, repr=False, compare=False)

    def failed(self, what: str, error: Exception | str) -> None:
        """Keep that ``what`` went wrong, and how."""
        self.error_at, self.error = time.time(), self.hidden(f"{what}: {told(error)}")[:_LONGEST_SENTENCE]

    def told(self) -> Pulse:
        """What it is now, for another process."""
        return Pulse(self.last_event, self.last_fired, self.error_at, self.error)


class Pulses:
    """The pulses of a process. ``hidden`` takes secrets out of a text."""

    def __init__(self, hidden: Callable[[str], str] = str) -> None:
        self._hidden = hidden
        self._pulses: dict[Key, Pulse] = {}

    def of(self, kind: str, namespace: str, name: str) -> Pulse:
        """The pulse of this object, the same for all that ask."""
        return self._pulses.setdefault((kind, namespace, name), Pulse(hidden=self._hidden))

    def forget_but(self, kept: Iterable[Key]) -> None:
        """Forget objects that do not run here any more."""
        self._pulses = {key: self._pulses[key] for key in kept if key in self._pulses}


@dataclass(frozen=True, slots=True)
class Status:
    """One object as far as it runs in a process. ``waiting_for`` is empty where all of it does its work or stands by."""

    ready: bool = True
    waiting_for: tuple[str, ...] = ()
    stands_by: tuple[str, ...] = ()
    pulse: Pulse = field(default_factory=Pulse)

    def __add__(self, other: Status) -> Status:
        """Both parts of an object that several processes run."""
        one, two = self.pulse, other.pulse
        last = max(one, two, key=lambda pulse: pulse.error_at)
        return Status(
            self.ready and other.ready,
            tuple(dict.fromkeys(self.waiting_for + other.waiting_for)),
            tuple(dict.fromkeys(self.stands_by + other.stands_by)),
            Pulse(max(one.last_event, two.last_event), max(one.last_fired, two.last_fired), last.error_at, last.error),
        )


Statuses = Mapping[Key, Status]


def added(parts: Iterable[Statuses]) -> dict[Key, Status]:
    """The objects of several processes."""
    found: dict[Key, Status] = {}
    for part in parts:
        for key, status in part.items():
            found[key] = found[key] + status if key in found else status
    return found
