"""Go's text/template with sprig's functions (``template``, ``dataTemplate``, ``contextTemplate``).

A template is parsed once and walked for every event; values keep their Go types (JSON numbers are float64,
constants are int, sprig's arithmetic gives int64), because output and errors depend on them. Differences on
purpose: functions that read the host are refused, time zones named ``Local`` are UTC, ``keys`` and ``values``
come sorted, and a template that makes more than ``LARGEST_OUTPUT`` or takes more than ``OPERATIONS`` steps
fails."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable
from itertools import islice
from typing import Any, TypeAlias

from argosy.errors import LangError
from argosy.lang import _gotemplate_methods as _methods
from argosy.lang import _gotemplate_nodes as nodes
from argosy.lang import _gotemplate_syntax
from argosy.lang._gotemplate_bound import LARGEST_TEXT, members
from argosy.lang._gotemplate_functions import (
    BUILTINS,
    GO_TYPES,
    Function,
    Registry,
    Struct,
    fits,
    printable,
    raw,
    text_of,
    truth,
)
from argosy.lang._gotemplate_nodes import Node
from argosy.lang._gotemplate_print import MISSING, type_name

Json: TypeAlias = Any

LARGEST_OUTPUT = 4 * 1024 * 1024  # bytes
OPERATIONS = 1_000_000  # nodes walked, with large results of functions counted as more

_DEEPEST = 40
_STRAY = re.compile("[\ud800-\udfff]")
_FOREIGN = (ValueError, TypeError, ArithmeticError, LookupError, AttributeError, RecursionError, MemoryError)


class Template:
    """A parsed template. Safe to share; keeps nothing of the values it saw."""

    def __init__(self, text: str) -> None:
        from argosy.lang import sprig

        self.text = text
        self._functions: Registry = {**BUILTINS, **sprig.FUNCTIONS}
        self._templates = _gotemplate_syntax.parse(text, self._functions, sprig.REFUSED)

    def render(self, dot: Json) -> str:
        """The output for ``dot``. Raises LangError, with the place, where the template fails on this
        value."""
        run = _Run(self.text, self._templates, self._functions)
        try:
            return run.whole(_as_go(dot))
        except RecursionError as error:
            raise LangError("the template or its value is nested too deeply", text=self.text) from error


@functools.lru_cache(maxsize=1024)
def compile(text: str) -> Template:
    """``text`` as a template. Raises LangError pointing at what does not parse, or at a function that is not
    to be had."""
    return Template(text)


def _as_go(value: Json) -> Json:
    """A copy with every integer as float64, as Go's JSON decoder has them; templates may change maps, events
    must not."""
    if isinstance(value, dict):
        return {key: _as_go(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_as_go(item) for item in value]
    return float(value) if type(value) is int else value


class _Break(Exception):
    """``{{break}}``"""


class _Continue(Exception):
    """``{{continue}}``"""


class _Run:
    """One execution: the output so far, the variables, and what is left of the budget."""

    def __init__(self, text: str, templates: dict[str, list[Node]], functions: Registry) -> None:
        self._text = text
        self._templates = templates
        self._functions = functions
        self._output: list[str] = []
        self._size = 0
        self._operations = OPERATIONS
        self._variables: list[list[Any]] = []
        self._depth = 0

    def whole(self, dot: Any) -> str:
        self._variables = [["$", dot]]
        self._walk_all(dot, self._templates[""])
        text = "".join(self._output)
        if text.isascii():
            return text
        # Bytes that are no UTF-8 (a character cut in two) become one U+FFFD each, as in Go's JSON.
        return _STRAY.sub("\ufffd", text_of(raw(text)))

    def _wrong(self, node: Node, message: str) -> LangError:
        return LangError(message, text=self._text, offset=node.offset)

    def _spend(self, node: Node, amount: int = 1) -> None:
        self._operations -= amount
        if self._operations < 0:
            raise self._wrong(node, f"the template takes more than {OPERATIONS} steps")

    def _write(self, node: Node, text: str) -> None:
        self._size += len(text) if text.isascii() else len(raw(text))
        if self._size > LARGEST_OUTPUT:
            raise self._wrong(node, f"the template writes more than {LARGEST_OUTPUT} bytes")
        self._output.append(text)

    def _walk_all(self, dot: Any, body: list[Node]) -> None:
        for node in body:
            self._spend(node)
            if isinstance(node, nodes.Text):
                self._write(node, node.text)
            elif isinstance(node, nodes.Action):
                value = self._pipeline(dot, node.pipe)
                if not node.pipe.variables:
                    self._write(node, printable(value))
            elif isinstance(node, nodes.Branch):
                self._branch(dot, node)
            elif isinstance(node, nodes.Include):
                self._include(dot, node)
            elif isinstance(node, nodes.Jump):
                raise _Break if node.word == "break" else _Continue

    def _branch(self, dot: Any, node: nodes.Branch) -> None:
        mark = len(self._variables)
        try:
            value = self._pipeline(dot, node.pipe)
            if node.word == "range":
                self._range(dot, node, value)
            elif truth(value):
                self._walk_all(value if node.word == "with" else dot, node.body)
            elif node.otherwise is not None:
                self._walk_all(dot, node.otherwise)
        finally:
            del self._variables[mark:]

    def _range(self, dot: Any, node: nodes.Branch, value: Any) -> None:
        names = node.pipe.variables
        pairs: Any
        if isinstance(value, dict):
            pairs = ((key, value[key]) for key in sorted(value, key=raw))
        elif isinstance(value, list):
            pairs = enumerate(value)
        elif isinstance(value, int) and not isinstance(value, bool):
            if len(names) > 1:
                raise self._wrong(node, "a range over a number has one variable")
            pairs = ((MISSING, number) for number in range(value))
        elif value is None or value is MISSING:
            pairs = ()
        else:
            raise self._wrong(node, f"a range over a {type_name(value)} is not possible")
        ran = False
        mark = len(self._variables)
        try:
            for index, element in pairs:
                ran = True
                self._spend(node)
                self._bind(node, index, element)
                try:
                    self._walk_all(element, node.body)
                except _Continue:
                    continue
                finally:
                    del self._variables[mark:]
        except _Break:
            return
        if not ran and node.otherwise is not None:
            self._walk_all(dot, node.otherwise)

    def _bind(self, node: nodes.Branch, index: Any, element: Any) -> None:
        names = node.pipe.variables
        if not names:
            return
        values = [element] if len(names) == 1 else [index, element]
        for position, value in enumerate(values):
            if node.pipe.assigns:
                self._assign(node, names[position], value)
            else:
                self._variables[len(self._variables) - len(names) + position][1] = value

    def _include(self, dot: Any, node: nodes.Include) -> None:
        body = self._templates.get(node.name)
        if body is None:
            raise self._wrong(node, f"the template {node.name!r} is not defined")
        if self._depth >= _DEEPEST:
            raise self._wrong(node, f"templates call each other more than {_DEEPEST} deep")
        value = self._pipeline(dot, node.pipe) if node.pipe else MISSING
        outer, self._variables = self._variables, [["$", value]]
        self._depth += 1
        try:
            self._walk_all(value, body)
        finally:
            self._variables = outer
            self._depth -= 1

    def _pipeline(self, dot: Any, pipe: nodes.Pipe) -> Any:
        value: Any = _ABSENT
        for command in pipe.commands:
            value = self._command(dot, command, value)
            if value is None:
                value = MISSING
        for name in pipe.variables:
            if pipe.assigns:
                self._assign(pipe, name, value)
            else:
                self._variables.append([name, value])
        return value

    def _assign(self, node: Node, name: str, value: Any) -> None:
        self._slot(node, name)[1] = value

    def _slot(self, node: Node, name: str) -> list[Any]:
        for slot in reversed(self._variables):
            if slot[0] == name:
                found: list[Any] = slot
                return found
        raise self._wrong(node, f"the variable {name!r} is not defined")

    def _command(self, dot: Any, command: nodes.Command, final: Any) -> Any:
        first = command.operands[0]
        if isinstance(first, nodes.Call):
            return self._call(dot, first, command.operands[1:], final)
        if (len(command.operands) > 1 or final is not _ABSENT) and isinstance(first, _SELECTORS) and first.names:
            value = _OPERANDS[type(first)](self, dot, dataclasses.replace(first, names=first.names[:-1]))
            if (method := _methods.method(value, first.names[-1])) is not None:
                return self._apply(dot, first, method, command.operands[1:], final)
        if len(command.operands) > 1 or final is not _ABSENT:
            raise self._wrong(command.operands[-1], "only functions take arguments")
        if isinstance(first, nodes.Nil):
            raise self._wrong(first, "nil is not a command")
        return self._operand(dot, first)

    def _operand(self, dot: Any, node: Node) -> Any:
        """The value of one operand where no particular type is wanted."""
        self._spend(node)
        return _OPERANDS[type(node)](self, dot, node)

    def _field(self, dot: Any, node: nodes.Field) -> Any:
        return self._fields(node, dot, node.names)

    def _variable(self, dot: Any, node: nodes.Variable) -> Any:
        return self._fields(node, self._slot(node, node.name)[1], node.names)

    def _chain(self, dot: Any, node: nodes.Chain) -> Any:
        return self._fields(node, self._operand(dot, node.base), node.names)

    def _fields(self, node: Node, value: Any, names: list[str]) -> Any:
        for name in names:
            if value is MISSING:
                return MISSING
            if isinstance(value, dict):
                value = value.get(name, MISSING)
            elif isinstance(value, Struct) and name in value.fields:
                value = value.fields[name]
            elif (method := _methods.method(value, name)) is not None:
                value = self._apply(None, node, method, [], _ABSENT)
            elif value is None:
                raise self._wrong(node, f"nil has no field {name!r}")
            else:
                raise self._wrong(node, f"a {type_name(value)} has no field {name!r}")
        return value

    def _call(self, dot: Any, node: nodes.Call, operands: list[Node], final: Any) -> Any:
        return self._apply(dot, node, self._functions[node.name], operands, final)

    def _apply(self, dot: Any, node: Node, function: Function, operands: list[Node], final: Any) -> Any:
        given = len(operands) + (final is not _ABSENT)
        fixed = len(function.parameters)
        if given < fixed or (given > fixed and not function.rest):
            wanted = f"at least {fixed}" if function.rest else str(fixed)
            raise self._wrong(node, f"{function.name!r} takes {wanted} arguments and got {given}")
        if isinstance(node, nodes.Call) and node.name in ("and", "or"):
            return self._short_circuit(dot, node, operands, final)
        arguments = [self._argument(dot, function, position, operand) for position, operand in enumerate(operands)]
        if final is not _ABSENT:
            arguments.append(self._fitting(node, function, len(operands), final))
        return self._result(node, function, arguments)

    def _short_circuit(self, dot: Any, node: nodes.Call, operands: list[Node], final: Any) -> Any:
        value: Any = None
        for operand in operands:
            value = self._argument(dot, self._functions[node.name], 0, operand)
            if truth(value) == (node.name == "or"):
                return value
        if final is not _ABSENT:
            return None if final is MISSING else final
        return value

    def _argument(self, dot: Any, function: Function, position: int, node: Node) -> Any:
        letter = function.letter(position)
        if isinstance(node, nodes.Number) and letter != "a":
            value = {"i": node.integer, "l": node.integer, "u": _uint32(node), "d": node.integer, "f": node.real}.get(
                letter
            )
            if value is None:
                raise self._wrong(node, f"{function.name!r} wants a {GO_TYPES[letter]} here, not {node.text}")
            return value
        if isinstance(node, nodes.Nil):
            if letter not in "aLD":
                raise self._wrong(node, f"{function.name!r} wants a {GO_TYPES[letter]} here, not nil")
            return None
        return self._fitting(node, function, position, self._operand(dot, node))

    def _fitting(self, node: Node, function: Function, position: int, value: Any) -> Any:
        letter = function.letter(position)
        if value is None or value is MISSING:
            if letter == "a" or (value is MISSING and letter in "LD"):
                return None
        elif fits(value, letter):
            return value
        kind = "no value" if value is None or value is MISSING else f"a {type_name(value)}"
        raise self._wrong(node, f"{function.name!r} wants a {GO_TYPES[letter]} here, not {kind}")

    def _result(self, node: Node, function: Function, arguments: list[Any]) -> Any:
        cost = function.cost
        for argument in arguments:
            if isinstance(argument, str):
                cost += len(argument) >> 8
            elif function.deep:
                cost += sum(1 for _ in islice(members(argument), self._operations << 2)) >> 2
        if cost:
            self._spend(node, cost)
        try:
            value = function.run(*arguments)
        except LangError as error:
            raise self._wrong(node, f"{function.name!r} failed: {error.message}") from error
        except _FOREIGN as error:
            raise self._wrong(node, f"{function.name!r} failed: {error}") from error
        if isinstance(value, str):
            if len(value) > LARGEST_TEXT:
                raise self._wrong(node, f"{function.name!r} makes a text of more than {LARGEST_TEXT} bytes")
            self._spend(node, len(value) >> 8)
        elif isinstance(value, (list, dict)):
            self._spend(node, len(value) >> 2)
        return value


_SELECTORS = (nodes.Field, nodes.Variable, nodes.Chain)


def _uint32(node: nodes.Number) -> int | None:
    # A larger constant is cut off, as Go's reflection does it.
    return node.integer % 2**32 if node.integer is not None and node.integer >= 0 else None


_ABSENT = object()  # no value came through the pipe
_OPERANDS: dict[type[Node], Callable[..., Any]] = {
    nodes.Literal: lambda run, dot, node: node.value,
    nodes.Number: lambda run, dot, node: node.plain,
    nodes.Dot: lambda run, dot, node: dot,
    nodes.Field: _Run._field,
    nodes.Variable: _Run._variable,
    nodes.Chain: _Run._chain,
    nodes.Pipe: _Run._pipeline,
    nodes.Call: lambda run, dot, node: run._call(dot, node, [], _ABSENT),
}
