"""Lua 5.1 scripts (``transform.script``, ``filters.script``) in a sandbox with limits on time and memory.

One Lua state per thread serves all scripts while it is healthy; each run gets an environment of its own, so
neither globals nor a changed library reach the next event. What a script may use: the base functions without
loaders, ``string``, ``table``, ``math`` and the clock and dates of ``os``; ``print`` prints nothing. There is
no ``io``, ``require``, ``coroutine``, ``xpcall``. Limits: ``INSTRUCTIONS``, ``CPU_SECONDS``,
``MEMORY_BYTES``; a script that exceeds one fails, whatever it caught with ``pcall``.

Upstream runs gopher-lua: numbers print as there (``0.1``, ``1e+20``, 16 digits) by ``tostring``,
``string.format("%s")``, ``table.concat`` and ``..``."""

from __future__ import annotations

import functools
import math
import re
import threading
from typing import Any, TypeAlias

from argosy.errors import LangError
from argosy.lang._lua_concatenation import marked

Json: TypeAlias = Any

INSTRUCTIONS = 20_000_000
CPU_SECONDS = 1.0
MEMORY_BYTES = 64 * 1024 * 1024
LARGEST_RESULT = 1_000_000  # values in the returned table, nulls of its gaps counted

_INTERVAL = 200  # instructions between two looks at the clock
_CHEAP_STEPS = 1e6  # of the C pattern matcher: some milliseconds
_MOST_SCRIPTS = 256
_DEEPEST = 100
_PLACE = re.compile(r'\[string "script"\]:(\d+): ?|script:(\d+): ?')
_threads = threading.local()


class Script:
    """A compiled script. Safe to share between threads; keeps nothing of the events it saw."""

    def __init__(self, text: str) -> None:
        self.text = text
        _sandbox().function(text)

    def run(self, event: dict[str, Json], *, whole_arrays: bool = False) -> Json:
        """The last value the script returns, None if it returns nothing. ``event`` is its global of that
        name.

        Tables: see ``_to_lua`` and ``_Reader``. With ``whole_arrays`` nothing of an array is left out: arrays
        within arrays are tables, and a null within one, for which Lua has no place, raises LangError. So do an
        error in the script, an exceeded limit, and a result that is no JSON (a function, NaN, a table in
        itself)."""
        sandbox = _sandbox()
        try:
            return sandbox.run(self.text, _whole_to_lua(event) if whole_arrays else _to_lua(event))
        except LangError:
            raise
        except sandbox.memory_error as error:
            _threads.sandbox = None  # a state that ran out of memory is not sound any more
            raise LangError(f"the script needs more than {MEMORY_BYTES // 1024 // 1024} MB", text=self.text) from error
        except (sandbox.error, UnicodeError, OverflowError, RecursionError) as error:
            raise _fault(self.text, error) from error


@functools.lru_cache(maxsize=1024)
def compile(text: str) -> Script:
    """``text`` as a script. Raises LangError with the place of a syntax error."""
    return Script(text)


def _sandbox() -> _Sandbox:
    sandbox: _Sandbox | None = getattr(_threads, "sandbox", None)
    if sandbox is None or sandbox.full:
        sandbox = _threads.sandbox = _Sandbox()
    return sandbox


def _fault(text: str, error: Exception) -> LangError:
    message = str(error)
    place = _PLACE.search(message)
    said = _PLACE.sub("", message.partition("\nstack traceback:")[0]).strip()
    if not place:
        return LangError(f"the script failed: {said}", text=text)
    line = int(place[1] or place[2])
    offset = sum(len(part) + 1 for part in text.split("\n")[: line - 1])
    return LangError(f"the script failed in line {line}: {said}", text=text, offset=min(offset, len(text)))


class _Sandbox:
    """One Lua state, cut down, and the scripts compiled in it."""

    def __init__(self) -> None:
        import lupa.lua51 as lupa

        from argosy.lang._lua_prelude import PRELUDE

        self.error: type[Exception] = lupa.LuaError
        self.memory_error: type[Exception] = lupa.LuaMemoryError
        self._kind = lupa.lua_type
        self._state = lupa.LuaRuntime(
            encoding=None,
            register_eval=False,
            register_builtins=False,
            unpack_returned_tuples=False,
            max_memory=MEMORY_BYTES,
        )
        prepare = self._state.eval(b"loadstring(...)", PRELUDE.encode())
        parts = prepare(INSTRUCTIONS, CPU_SECONDS, _INTERVAL, _CHEAP_STEPS)
        self._arm, self._set_hook, self._judge, self._load = parts[:4]
        self._environment, self._shape, self._number_text, self._joint = parts[4:]
        self._functions: dict[str, Any] = {}
        self._joining: set[str] = set()

    @property
    def full(self) -> bool:
        return len(self._functions) >= _MOST_SCRIPTS

    def function(self, text: str) -> Any:
        """The compiled script. Raises LangError where it does not parse."""
        function = self._functions.get(text)
        if function is None:
            if text.startswith("\x1b"):
                raise LangError("a script must be text, not compiled Lua", text=text, offset=0)
            joining = marked(text)
            loaded = self._load((joining or text).encode("utf-8", "replace"), b"=script")
            if isinstance(loaded, tuple):
                raise _fault(text, ValueError(loaded[1].decode("utf-8", "replace")))
            function = self._functions[text] = loaded
            if joining:
                self._joining.add(text)
        return function

    def run(self, text: str, event: dict[bytes, Any]) -> Json:
        function = self.function(text)
        self._environment(function, self._state.table_from(event, recursive=True))
        self._arm()
        failure: Exception | None = None
        returned = None
        try:
            returned = function(self._joint) if text in self._joining else function()
        except self.memory_error:
            raise
        except self.error as error:
            failure = _readable(error)
        finally:
            self._set_hook()
        verdict = self._judge()
        if self._state.get_memory_used() > MEMORY_BYTES // 2:
            _threads.sandbox = None  # a script may have caught the error of a full memory: begin afresh
        if verdict:
            raise LangError(f"the script failed: {verdict.decode()}", text=text)
        if failure:
            raise _fault(text, failure) from failure
        if isinstance(returned, tuple):
            returned = returned[-1] if returned else None
        return _Reader(self._kind, self._shape, self._number_text).read(returned)


def _readable(error: Exception) -> Exception:
    said = error.args[0] if error.args else b""
    return ValueError(said.decode("utf-8", "replace") if isinstance(said, bytes) else str(error))


def _to_lua(value: Json) -> Any:
    """An event as Lua gets it: numbers are doubles; null members are absent; of arrays only objects, numbers,
    texts and booleans remain, and what follows a dropped element moves up (as upstream converts)."""
    if isinstance(value, dict):
        return {key.encode("utf-8", "replace"): _to_lua(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_to_lua(item) for item in value if item is not None and not isinstance(item, list)]
    if isinstance(value, str):
        return value.encode("utf-8", "replace")
    if isinstance(value, bool):
        return value
    return float(value)


def _whole_to_lua(value: Json) -> Any:
    if isinstance(value, dict):
        return {key.encode("utf-8", "replace"): _whole_to_lua(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        if None in value:
            raise LangError("an array of the event holds a null, which an array in Lua cannot")
        return [_whole_to_lua(item) for item in value]
    return _to_lua(value)


class _Reader:
    """Turns what a script returned into JSON values: marked (``__is_array``) and numbered tables are arrays,
    with null in their gaps and without their named members; other tables are objects, ``{}`` too; keys are
    texts."""

    def __init__(self, kind: Any, shape: Any, number_text: Any) -> None:
        self._kind = kind
        self._shape = shape
        self._number_text = number_text
        self._count = 0

    def read(self, value: Any, depth: int = 0) -> Json:
        self._count += 1
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, bytes):
            return value.decode("utf-8", "replace")
        if isinstance(value, (int, float)):
            if not math.isfinite(value):
                raise LangError("the script returned a number that JSON does not have (NaN or infinite)")
            return value
        kind = self._kind(value)
        if kind != "table":
            raise LangError(f"the script returned a {kind or 'foreign value'}, which JSON does not have")
        if depth >= _DEEPEST:
            raise LangError("the script returned a table that is nested too deeply, perhaps in itself")
        # Only raw iteration: an index could run a metamethod of the script, outside its limits.
        length = self._shape(value)
        self._count += max(length, 0)
        if self._count > LARGEST_RESULT:
            raise LangError(f"the script returned more than {LARGEST_RESULT} values")
        if length < 0:
            return {self._key(key): self.read(item, depth + 1) for key, item in value.items()}
        items: list[Json] = [None] * length
        for key, item in value.items():
            if isinstance(key, (int, float)) and not isinstance(key, bool) and key == int(key) and key >= 1:
                items[int(key) - 1] = self.read(item, depth + 1)
        return items

    def _key(self, key: Any) -> str:
        if isinstance(key, bytes):
            return key.decode("utf-8", "replace")
        if isinstance(key, bool):
            return "true" if key else "false"
        if isinstance(key, (int, float)):
            text: bytes = self._number_text(key)
            return text.decode()
        raise LangError(f"the script returned a table with a {self._kind(key)} as key")
