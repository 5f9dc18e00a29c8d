"""jq programs (``transform.jq``), compiled once; the first output counts.

What manifests mostly use runs as Python closures (``_jq_syntax``, ``_jq_closures``); a program that leaves
that part is run by libjq. Upstream runs gojq, so where the libraries differ gojq is the measure: no
environment, no input stream, no modules, no output but the value; ``tojson`` and ``tostring`` sort keys. What
still differs is in the manual's page of differences: integers beyond 2^53 stay exact in closures (gojq and
libjq round them to float64), libjq reads ``nan`` and ``01`` in ``fromjson``, and error texts are libjq's."""

from __future__ import annotations

import functools
import re
from typing import Any

from argosy.errors import LangError, NoOutput
from argosy.lang import _jq_closures, _jq_process, _jq_syntax, gojson
from argosy.lang._jq_functions import Nothing

# What reaches out of the value is bound to something harmless before the program begins. It stands on the
# program's first line so that line numbers stay true. `$ENV` is a variable of libjq's own: binding it shadows
# it.
_REFUSED = (
    ("input", ""),
    ("inputs", ""),
    ("input_line_number", ""),
    ("get_search_list", ""),
    ("modulemeta", ""),
    ("halt", ""),
    ("halt_error", ""),
    ("halt_error", "(f)"),
)
_PRELUDE = (
    "{} as $ENV | def env: {}; def input_filename: null; def debug: .; def debug(f): .; def stderr: .; "
    + "".join(f'def {name}{argument}: error("{name} is not available here"); ' for name, argument in _REFUSED)
)
_SORTED = (
    "def __tojson: tojson; "
    'def __sorted: walk(if type == "object" then . as $o | reduce keys[] as $k ({}; .[$k] = $o[$k]) '
    "else . end); "
    'def tojson: __sorted | __tojson; def tostring: if type == "string" then . else tojson end; '
)
# gojq asks for a number where libjq takes anything.
_NUMERIC = {
    "abs": 'def abs: if type == "number" then (if . < 0 then -. else . end) else error("abs needs a number") end; ',
    "isnan": 'def __isnan: isnan; def isnan: if type == "number" then __isnan elif . == null then false else error("isnan needs a number") end; ',
}
_WRITES_JSON = re.compile(r"\b(tojson|tostring)\b")
_PLACE = re.compile(r" at <top-level>, line (\d+), column (\d+)")
_LARGEST_INTEGER = 2**64
_MOST_COPIES = 256
"""Of its input in the output of a closure; a program that may hold more is run where memory and time are limited."""


class Program:
    """A compiled jq program. Safe to share; keeps nothing of the values it saw."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._library = ""
        self._closure: _jq_closures.Closure | None = None
        tree = _jq_syntax.parse(text)
        if tree is not None and _jq_closures.copies(tree) <= _MOST_COPIES:
            self._closure = _jq_closures.build(tree)
        else:
            self._library = _load(text)

    @property
    def native(self) -> bool:
        """True if the program runs as Python closures, False if libjq runs it."""
        return self._closure is not None

    def first(self, value: Any) -> Any:
        """The first output for ``value``, which is not changed but may be shared by the output.

        Raises NoOutput when nothing comes out, LangError when the program fails on this value.
        """
        try:
            if self._closure is not None:
                return self._closure(value, {})
            return self._run(value)
        except (Nothing, NoOutput):
            raise NoOutput("the jq program has no output for this event", text=self.text) from None
        except RecursionError as error:
            raise LangError("jq: the value is nested too deeply", text=self.text) from error
        except LangError as error:
            raise LangError(f"jq: {error.message}", text=self.text) from error

    def _run(self, value: Any) -> Any:
        # gojq goes through an object by its keys in order, libjq as they are written.
        text = gojson.dumps(value, escape_html=False).decode()
        return _as_decoded(_jq_process.first(self._library, text))


@functools.lru_cache(maxsize=1024)
def compile(text: str) -> Program:
    """``text`` as a program. Raises LangError with libjq's words and the place."""
    return Program(text)


def _load(text: str) -> str:
    """``text`` as libjq gets it. Raises LangError where it does not parse."""
    prelude = _PRELUDE + (_SORTED if _WRITES_JSON.search(text) else "")
    prelude += "".join(definition for name, definition in _NUMERIC.items() if name in text)
    try:
        _jq_process.check(prelude + text)
    except LangError as error:
        raise _syntax_error(text, error.message, len(prelude)) from error
    return prelude + text


def _syntax_error(text: str, message: str, shift: int) -> LangError:
    first = message.partition("\n")[0].removeprefix("jq: error: ")
    place = _PLACE.search(first)
    if not place:
        return LangError(f"jq: {first}", text=text)
    line, column = int(place[1]), int(place[2])
    column -= shift if line == 1 else 0
    before = text.split("\n")[: line - 1]
    offset = min(max(sum(len(part) + 1 for part in before) + column - 1, 0), len(text))
    said = first[: place.start()]
    return LangError(f"jq: {said} at line {line}, column {max(column, 1)}", text=text, offset=offset)


def _as_decoded(value: Any) -> Any:
    """libjq's answer with the numbers that Go would have: integers too large for 64 bits are floats."""
    if isinstance(value, dict):
        return {key: _as_decoded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_as_decoded(item) for item in value]
    if isinstance(value, int) and abs(value) >= _LARGEST_INTEGER:
        return float(value)
    return value
