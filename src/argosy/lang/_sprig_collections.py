"""sprig's lists and maps."""

from __future__ import annotations

import copy
import datetime as dt
from collections.abc import Iterable, Iterator
from typing import Any

from argosy.errors import LangError
from argosy.lang import _gotemplate_print as goprint
from argosy.lang._gotemplate_bound import LARGEST_LIST, bounded_list
from argosy.lang._gotemplate_functions import Chunks, Registry, Strings, registrar
from argosy.lang._sprig_numbers import to_int64
from argosy.lang._sprig_strings import strval

_MOST_SEARCHED = 8 * LARGEST_LIST  # members that one search through a list compares

FUNCTIONS: Registry = {}
sprig = registrar(FUNCTIONS)


def deep_equal(a: Any, b: Any, turns: Iterator[int] | None = None) -> bool:
    """``reflect.DeepEqual``: equal in type, in value, and in all members.

    Raises LangError beyond a number of members that only lists which share their members have. Comparisons that are
    given the same ``turns`` may take that many together.
    """
    pairs = [(a, b)]
    for _ in turns or _turns():
        if not pairs:
            return True
        a, b = pairs.pop()
        if a is b and isinstance(a, list | dict):
            continue
        if type(a) is not type(b):
            return False
        if isinstance(a, list):
            if len(a) != len(b):
                return False
            pairs.extend(zip(a, b, strict=True))
        elif isinstance(a, dict):
            if a.keys() != b.keys():
                return False
            pairs.extend((a[key], b[key]) for key in a)
        elif a != b:
            return False
    raise LangError("too many members would be compared")


def _turns(most: int = LARGEST_LIST) -> Iterator[int]:
    return iter(range(most))


def empty(value: Any) -> bool:
    """Whether ``default`` would replace the value."""
    return not (isinstance(value, dt.datetime) or bool(value))


def _elements(value: Any, doing: str) -> list[Any]:
    if not isinstance(value, list):
        kind = "nil" if value is None else f"a {goprint.type_name(value)}"
        raise LangError(f"{doing} needs a list, not {kind}")
    return list(value)


@sprig("list", "tuple", rest="a")
def _list(*values: Any) -> list[Any]:
    return list(values)


@sprig("append", "push", "mustAppend", "mustPush", takes="aa")
def _push(items: Any, value: Any) -> list[Any]:
    return [*_elements(items, "append"), value]


@sprig("prepend", "mustPrepend", takes="aa")
def _prepend(items: Any, value: Any) -> list[Any]:
    return [value, *_elements(items, "prepend")]


@sprig("first", "mustFirst", takes="a")
def _first(items: Any) -> Any:
    found = _elements(items, "first")
    return found[0] if found else None


@sprig("last", "mustLast", takes="a")
def _last(items: Any) -> Any:
    found = _elements(items, "last")
    return found[-1] if found else None


@sprig("rest", "mustRest", takes="a")
def _rest(items: Any) -> list[Any]:
    return _elements(items, "rest")[1:]


@sprig("initial", "mustInitial", takes="a")
def _initial(items: Any) -> list[Any]:
    return _elements(items, "initial")[:-1]


@sprig("reverse", "mustReverse", takes="a")
def _reverse(items: Any) -> list[Any]:
    return _elements(items, "reverse")[::-1]


@sprig("compact", "mustCompact", takes="a")
def _compact(items: Any) -> list[Any]:
    return [item for item in _elements(items, "compact") if not empty(item)]


@sprig("uniq", "mustUniq", takes="a", deep=True)
def _uniq(items: Any) -> list[Any]:
    found: list[Any] = []
    turns = _turns(_MOST_SEARCHED)
    for item in _elements(items, "uniq"):
        if not _among(found, item, turns):
            found.append(item)
    return found


def _among(items: Iterable[Any], value: Any, turns: Iterator[int]) -> bool:
    return any(deep_equal(value, item, turns) for item in items)


@sprig("without", "mustWithout", takes="a", rest="a", deep=True)
def _without(items: Any, *omitted: Any) -> list[Any]:
    turns = _turns(_MOST_SEARCHED)
    return [item for item in _elements(items, "without") if not _among(omitted, item, turns)]


@sprig("has", "mustHas", takes="aa", deep=True)
def _has(value: Any, items: Any) -> bool:
    return False if items is None else _among(_elements(items, "has"), value, _turns(_MOST_SEARCHED))


@sprig("slice", "mustSlice", takes="a", rest="a")
def _slice(items: Any, *indices: Any) -> Any:
    found = _elements(items, "slice")
    if not found:
        return None
    start = to_int64(indices[0]) if indices else 0
    end = to_int64(indices[1]) if len(indices) > 1 else len(found)
    if not 0 <= start <= end <= len(found):
        raise LangError(f"there is no part {start}:{end} of a list of {len(found)}")
    return type(items)(found[start:end])


@sprig("concat", rest="a")
def _concat(*lists: Any) -> list[Any]:
    bounded_list(sum(len(items) for items in lists if isinstance(items, list)))
    return [item for items in lists for item in _elements(items, "concat")]


@sprig("chunk", "mustChunk", takes="ia")
def _chunk(size: int, items: Any) -> Chunks:
    found = _elements(items, "chunk")
    if size <= 0:
        raise LangError(f"a list cannot be cut into parts of {size}")
    return Chunks(found[start : start + size] for start in range(0, len(found), size))


@sprig("dict", rest="a")
def _dict(*pairs: Any) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for position in range(0, len(pairs), 2):
        made[strval(pairs[position])] = pairs[position + 1] if position + 1 < len(pairs) else ""
    return made


@sprig("get", takes="Ds")
def _get(members: dict[str, Any] | None, key: str) -> Any:
    return (members or {}).get(key, "")


@sprig("set", takes="Dsa")
def _set(members: dict[str, Any] | None, key: str, value: Any) -> dict[str, Any]:
    if members is None:
        raise LangError("there is no map to set a member of")
    if _holds(value, members):
        raise LangError("the map would hold itself")
    members[key] = value
    return members


def _holds(value: Any, sought: dict[str, Any]) -> bool:
    """Whether ``sought`` itself is somewhere in ``value``."""
    seen: set[int] = set()
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if one is sought:
            return True
        if isinstance(one, (dict, list)) and id(one) not in seen:
            seen.add(id(one))
            waiting.extend(one.values() if isinstance(one, dict) else one)
    return False


@sprig("unset", takes="Ds")
def _unset(members: dict[str, Any] | None, key: str) -> dict[str, Any]:
    if members:
        members.pop(key, None)
    return members or {}


@sprig("hasKey", takes="Ds")
def _has_key(members: dict[str, Any] | None, key: str) -> bool:
    return key in (members or {})


@sprig("pluck", takes="s", rest="D")
def _pluck(key: str, *maps: dict[str, Any] | None) -> list[Any]:
    return [members[key] for members in maps if members and key in members]


@sprig("keys", rest="D")
def _keys(*maps: dict[str, Any] | None) -> Strings:
    return Strings(key for members in maps for key in sorted(members or {}))


@sprig("values", takes="D")
def _values(members: dict[str, Any] | None) -> list[Any]:
    return [value for _, value in sorted((members or {}).items(), key=lambda pair: pair[0])]


@sprig("pick", takes="D", rest="s")
def _pick(members: dict[str, Any] | None, *keys: str) -> dict[str, Any]:
    return {key: members[key] for key in keys if members and key in members}


@sprig("omit", takes="D", rest="s")
def _omit(members: dict[str, Any] | None, *keys: str) -> dict[str, Any]:
    return {key: value for key, value in (members or {}).items() if key not in keys}


@sprig("dig", takes="aaa", rest="a")
def _dig(*arguments: Any) -> Any:
    *path, default, value = arguments
    odd = next((key for key in path if not isinstance(key, str)), None)
    if odd is not None or not isinstance(value, dict):
        raise LangError(
            f"dig wants strings as keys and a map at the end, not {goprint.show(odd if odd is not None else value)!r}"
        )
    for key in path:
        if not isinstance(value, dict):
            raise LangError(f"dig wants maps on the way; at {key!r} it has none")
        if key not in value:
            return default
        value = value[key]
    return value


@sprig("merge", "mustMerge", takes="D", rest="D", deep=True)
def _merge(target: dict[str, Any] | None, *sources: dict[str, Any] | None) -> Any:
    return _merged(target, sources, overwrite=False)


@sprig("mergeOverwrite", "mustMergeOverwrite", takes="D", rest="D", deep=True)
def _merge_overwrite(target: dict[str, Any] | None, *sources: dict[str, Any] | None) -> Any:
    return _merged(target, sources, overwrite=True)


def _merged(target: dict[str, Any] | None, sources: tuple[Any, ...], *, overwrite: bool) -> dict[str, Any]:
    target = {} if target is None else target
    turns = _turns()
    for source in sources:
        _merge_into(target, source or {}, overwrite, turns)
    return target


def _merge_into(target: dict[str, Any], source: dict[str, Any], overwrite: bool, turns: Iterator[int]) -> None:
    for key, value in list(source.items()):  # a map that is in both may change on the way
        if next(turns, None) is None:
            raise LangError("too many members would be merged")
        old = target.get(key)
        if value is None:
            if overwrite:
                target[key] = None
            continue
        if isinstance(value, dict) and isinstance(old, dict):
            _merge_into(old, value, overwrite, turns)
            if old:
                continue
        if overwrite or empty(old):
            target[key] = value


@sprig("deepCopy", "mustDeepCopy", takes="a", deep=True)
def _deep_copy(value: Any) -> Any:
    if value is None:
        raise LangError("nil cannot be copied")
    return copy.deepcopy(value)
