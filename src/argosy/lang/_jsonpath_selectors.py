"""The steps of a JSONPath: each is applied to a value and hands what it finds to the steps behind it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from argosy.errors import LangError
from argosy.lang import _gotemplate_print as goprint
from argosy.lang._gotemplate_functions import raw
from argosy.lang._gotemplate_print import Int64

_MOST_STEPS = 200_000


class Abandoned(Exception):
    """The query has to end, whatever a filter makes of failures: it takes too long, or the Go library would
    have crashed."""


class Walk:
    """One query: its root, and what it has cost."""

    __slots__ = ("root", "steps")

    def __init__(self, root: Any, steps: int = 0) -> None:
        self.root = root
        self.steps = steps

    def step(self, count: int = 1) -> None:
        """Charges work."""
        self.steps += count
        if self.steps > _MOST_STEPS:
            raise Abandoned(f"it takes more than {_MOST_STEPS} steps")

    def rooted(self, root: Any) -> _Rooted:
        """The same query as seen from another root."""
        return _Rooted(self, root)


class _Rooted(Walk):
    __slots__ = ("_walk",)

    def __init__(self, walk: Walk, root: Any) -> None:
        super().__init__(root)
        self._walk = walk

    def step(self, count: int = 1) -> None:
        self._walk.step(count)


class Script(Protocol):
    """A compiled expression of a filter or a script."""

    text: str

    def evaluate(self, walk: Walk, current: Any) -> Any:
        """Its value. Raises LangError."""


Steps = tuple["Step", ...]


class Step(Protocol):
    """One step."""

    def apply(self, walk: Walk, current: Any, rest: Steps) -> Any:
        """What this step and the ``rest`` find in ``current``. Raises LangError."""


def forward(walk: Walk, value: Any, rest: Steps) -> Any:
    """Hands ``value`` to the steps that follow."""
    walk.step()
    return rest[0].apply(walk, value, rest[1:]) if rest else value


def whole_number(value: Any) -> int | None:
    """``value`` as an integer if it is one."""
    if type(value) is float and value.is_integer():
        return int(value)
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _kind(value: Any) -> str:
    return "nil" if value is None else f"a {goprint.type_name(value)}"


def _found(walk: Walk, value: Any, rest: Steps) -> Any:
    """As ``forward``; None where it fails."""
    try:
        return forward(walk, value, rest)
    except LangError:
        return None


def _each(walk: Walk, elements: Iterable[Any], rest: Steps) -> list[Any]:
    """What the rest finds in each element. An index counts among all of them, not in each."""
    elements = list(elements)
    walk.step(len(elements))
    if not rest:
        return elements
    found = (_found(walk, element, rest) for element in elements)
    return [one for one in found if one is not None]


@dataclass(frozen=True, slots=True)
class Root:
    """``$``."""

    def apply(self, walk: Walk, current: Any, rest: Steps) -> Any:
        return forward(walk, walk.root, rest)


@dataclass(frozen=True, slots=True)
class Current:
    """``@``."""

    def apply(self, walk: Walk, current: Any, rest: Steps) -> Any:
        return forward(walk, current, rest)


@dataclass(frozen=True, slots=True)
class Key:
    """``.name`` and ``['name']``."""

    name: str

    def apply(self, walk: Walk, current: Any, rest: Steps) -> Any:
        if not isinstance(current, dict):
            raise LangError(f"there is no {self.name!r} in {_kind(current)}")
        if self.name not in current:
            raise LangError(f"there is no {self.name!r}")
        return forward(walk, current[self.name], rest)


@dataclass(frozen=True, slots=True)
class Length:
    """``.length``: of a list, a text in bytes, or a map that has no such member."""

    def apply(self, walk: Walk, current: Any, rest: Steps) -> Any:
        if isinstance(current, dict):
            value = current.get("length", Int64(len(current)))
        elif isinstance(current, list):
            value = Int64(len(current))
        elif isinstance(current, str):
            value = Int64(len(raw(current)))
        else:
            raise LangError(f"{_kind(current)} has no length")
        return forward(walk, value, rest)


@dataclass(frozen=True, slots=True)
class Index:
    """``[2]``, ``[-1]``."""

    place: int

    def apply(self, walk: Walk, current: Any, rest: Steps) -> Any:
        if not isinstance(current, list):
            raise LangError(f"{_kind(current)} has no element {self.place}")
        place = self.place + len(current) if self.place < 0 else self.place
        if not 0 <= place < len(current):
            raise LangError(f"there is no element {self.place} among {len(current)}")
        return forward(walk, current[place], rest)


def _members(current: Any, what: str) -> list[Any]:
    """The values of a map by their sorted keys, the elements of a list."""
    if isinstance(current, dict):
        return [current[key] for key in sorted(current, key=raw)]
    if isinstance(current, list):
        return current
    raise LangError(f"{_kind(current)} has no elements for {what}")


@dataclass(frozen=True, slots=True)
class Wildcard:
    """``*``."""

    def apply(self, walk: Walk, current: Any, rest: Steps) -> Any:
        return _each(walk, _members(current, "'*'"), rest)


@dataclass(frozen=True, slots=True)
class Recursive:
    """``..``: the rest applied to the value and to everything inside it."""

    def apply(self, walk: Walk, current: Any, rest: Steps) -> Any:
        found: list[Any] = []
        waiting = [current]
        while waiting:
            one = waiting.pop()
            walk.step()
            if one is None:
                continue
            value = _found(walk, one, rest)
            if isinstance(value, list) and rest:
                found.extend(value)
            elif value is not None:
                found.append(value)
            if isinstance(one, (dict, list)):
                waiting.extend(reversed(_members(one, "'..'")))
        return found


@dataclass(frozen=True, slots=True)
class Filter:
    """``[?(expression)]``: the elements for which it is true, or at least not empty. Failures count as false."""

    script: Script

    def apply(self, walk: Walk, current: Any, rest: Steps) -> Any:
        if not self.script.text:
            raise LangError("the expression of a filter is empty")
        kept = [one for one in _members(current, "a filter") if self._keeps(walk, one)]
        if rest and isinstance(rest[0], Index):
            return rest[0].apply(walk.rooted(current), kept, rest[1:])
        return _each(walk, kept, rest)

    def _keeps(self, walk: Walk, element: Any) -> bool:
        walk.step()
        try:
            value = self.script.evaluate(walk, element)
        except LangError:
            return False
        if isinstance(value, str) and len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
            value = value[1:-1]
        return bool(value)


@dataclass(frozen=True, slots=True)
class ScriptStep:
    """``[(expression)]``: a key or an index that is worked out."""

    script: Script

    def apply(self, walk: Walk, current: Any, rest: Steps) -> Any:
        value = evaluated(self.script, walk, current)
        if isinstance(value, str):
            return Key(value).apply(walk, current, rest)
        place = whole_number(value)
        if place is None:
            raise LangError(f"an expression in brackets gives a key or an index, not {_kind(value)}")
        return Index(place).apply(walk, current, rest)


def evaluated(script: Script, walk: Walk, current: Any) -> Any:
    """The value of a script. Raises LangError, also for an empty one."""
    if not script.text:
        raise LangError("an expression is empty")
    return script.evaluate(walk, current)


Bound = int | Script | None


def _argument(argument: Any, walk: Walk, current: Any) -> Any:
    return argument if argument is None or isinstance(argument, (int, str)) else evaluated(argument, walk, current)


@dataclass(frozen=True, slots=True)
class Range:
    """``[start:stop:step]``; with a negative step from the end."""

    start: Bound
    stop: Bound
    pace: Bound

    def apply(self, walk: Walk, current: Any, rest: Steps) -> Any:
        if not isinstance(current, list):
            raise LangError(f"{_kind(current)} has no elements for a range")
        start = self._limit(self.start, 0, walk, current)
        stop = self._limit(self.stop, len(current), walk, current)
        pace = 1 if self.pace is None else self._number(self.pace, walk, current)
        if pace == 0:
            raise LangError("the step of a range is 0")
        places = range(stop - 1, start - 1, pace) if pace < 0 else range(start, stop, pace)
        return among(walk, [current[place] for place in places], rest)

    def _number(self, bound: Bound, walk: Walk, current: Any) -> int:
        number = whole_number(_argument(bound, walk, current))
        if number is None:
            raise LangError("the bounds of a range are integers")
        return number

    def _limit(self, bound: Bound, default: int, walk: Walk, current: list[Any]) -> int:
        if bound is None:
            return default
        number = self._number(bound, walk, current)
        return min(max(number + len(current) if number < 0 else number, 0), len(current))


def among(walk: Walk, elements: list[Any], rest: Steps) -> Any:
    """What the rest finds in each element; an index, among them."""
    if rest and isinstance(rest[0], Index):
        return forward(walk, elements, rest)
    return _each(walk, elements, rest)


@dataclass(frozen=True, slots=True)
class Union:
    """``[0,2]`` and ``['a','b']``; what is not there is left out."""

    arguments: tuple[int | str | Script, ...]

    def apply(self, walk: Walk, current: Any, rest: Steps) -> Any:
        keys: list[str] = []
        places: list[int] = []
        for argument in self.arguments:
            value = _argument(argument, walk, current)
            place = whole_number(value)
            if isinstance(value, str):
                keys.append(value)
            elif place is not None:
                places.append(place)
            else:
                raise LangError(f"a union is made of keys or indexes, not of {_kind(value)}")
            if keys and places:
                raise LangError("a union has either keys or indexes")
        if keys:
            if not isinstance(current, dict):
                raise LangError(f"{_kind(current)} has no members for a union of keys")
            return among(walk, [current[key] for key in keys if key in current], rest)
        if not isinstance(current, list):
            raise LangError(f"{_kind(current)} has no elements for a union of indexes")
        size = len(current)
        found = [place + size if place < 0 else place for place in places]
        return among(walk, [current[place] for place in found if 0 <= place < size], rest)
