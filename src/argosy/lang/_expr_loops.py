"""The built-in functions that run a closure for each element of a collection."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from argosy.errors import LangError
from argosy.lang._expr_meter import Meter
from argosy.lang._expr_values import Byte, Groups, Key, boolean, described
from argosy.lang._gotemplate_functions import raw

Step = Callable[[], Any]
Loop = Callable[["Scope", Step, Step | None, bool], Any]


class Scope:
    """What ``#``, ``#index`` and ``#acc`` stand for. Raises LangError if there is nothing to go through."""

    __slots__ = ("_elements", "accumulated", "index", "meter")

    def __init__(self, collection: Any, meter: Meter) -> None:
        if not isinstance(collection, (list, dict, str)):
            raise LangError(f"{described(collection)} has no elements to go through")
        self._elements: Any = collection
        if isinstance(collection, str):
            meter.read(collection)
            self._elements = raw(collection)
        self.index = 0
        self.accumulated: Any = None
        self.meter = meter

    def element(self) -> Any:
        """``#``. Raises LangError."""
        if isinstance(self._elements, dict):
            raise LangError(f"{described(self._elements)} has no elements in order; use 'keys' or 'values'")
        if not 0 <= self.index < len(self._elements):
            raise LangError(f"the index {self.index} is out of range, there are {len(self._elements)} elements")
        found = self._elements[self.index]
        return Byte(found) if isinstance(self._elements, bytes) else found

    def each(self) -> Iterator[int]:
        """Goes through the elements, from where the index stands."""
        while self.index < len(self._elements):
            self.meter.step()
            yield self.index
            self.index += 1

    def backwards(self) -> Iterator[int]:
        """Goes through the elements from the last to the first."""
        for place in range(len(self._elements) - 1, -1, -1):
            self.index = place
            self.meter.step()
            yield place


LOOPS: dict[str, Loop] = {}


def _enter(loop: Loop) -> Loop:
    LOOPS[loop.__name__.strip("_")] = loop
    return loop


def _decided(body: Step) -> bool:
    return boolean(body(), "what the closure gives")


@_enter
def _all(scope: Scope, body: Step, further: Step | None, throws: bool) -> bool:
    return all(_decided(body) for _ in scope.each())


@_enter
def _none(scope: Scope, body: Step, further: Step | None, throws: bool) -> bool:
    return not any(_decided(body) for _ in scope.each())


@_enter
def _any(scope: Scope, body: Step, further: Step | None, throws: bool) -> bool:
    return any(_decided(body) for _ in scope.each())


@_enter
def _one(scope: Scope, body: Step, further: Step | None, throws: bool) -> bool:
    return sum(_decided(body) for _ in scope.each()) == 1


@_enter
def _count(scope: Scope, body: Step, further: Step | None, throws: bool) -> int:
    return sum(_decided(body) for _ in scope.each())


@_enter
def _filter(scope: Scope, body: Step, further: Step | None, throws: bool) -> list[Any]:
    take = further or scope.element
    found = [take() for _ in scope.each() if _decided(body)]
    scope.meter.grow(len(found))
    return found


@_enter
def _map(scope: Scope, body: Step, further: Step | None, throws: bool) -> list[Any]:
    found = [body() for _ in scope.each()]
    scope.meter.grow(len(found))
    return found


def _search(places: Iterator[int], scope: Scope, body: Step, further: Step | None, throws: bool) -> Any:
    for _ in places:
        if _decided(body):
            return further() if further else scope.element()
    if throws:
        raise LangError("no element fits, so there is no first and no last one")
    return None


@_enter
def _find(scope: Scope, body: Step, further: Step | None, throws: bool) -> Any:
    return _search(scope.each(), scope, body, further, throws)


@_enter
def _findLast(scope: Scope, body: Step, further: Step | None, throws: bool) -> Any:
    return _search(scope.backwards(), scope, body, further, throws)


@_enter
def _findIndex(scope: Scope, body: Step, further: Step | None, throws: bool) -> int | None:
    return next((place for place in scope.each() if _decided(body)), None)


@_enter
def _findLastIndex(scope: Scope, body: Step, further: Step | None, throws: bool) -> int | None:
    return next((place for place in scope.backwards() if _decided(body)), None)


@_enter
def _groupBy(scope: Scope, body: Step, further: Step | None, throws: bool) -> Groups:
    groups = Groups()
    for _ in scope.each():
        groups.setdefault(Key(body()), []).append(scope.element())
    return groups


@_enter
def _reduce(scope: Scope, body: Step, further: Step | None, throws: bool) -> Any:
    if further is not None:
        scope.accumulated = further()
    else:
        scope.accumulated = scope.element()
        scope.index = 1
    for _ in scope.each():
        scope.accumulated = body()
    return scope.accumulated
