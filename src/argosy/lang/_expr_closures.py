"""The tree made into one Python closure, which is run for every event.

A closure gets the ``Run``: the environment, the variables, the collections of the ``#`` pointers, and the
meter. A failure is given its place in the text by the innermost operation that failed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from argosy.errors import LangError
from argosy.lang import _expr_nodes as nodes
from argosy.lang import _expr_values as values
from argosy.lang._expr_access import call, cut, fetch
from argosy.lang._expr_builtins import BUILTINS, FAST, PREDICATES
from argosy.lang._expr_loops import LOOPS, Scope
from argosy.lang._expr_meter import Meter
from argosy.lang._expr_operations import operation_of
from argosy.lang._expr_values import boolean

DEEPEST = 350  # operations inside each other
_MOST_NODES = 50_000


class Run:
    """One evaluation."""

    __slots__ = ("env", "meter", "scopes", "variables")

    def __init__(self, env: Mapping[str, Any]) -> None:
        self.env = env
        self.meter = Meter()
        self.scopes: list[Scope] = []
        self.variables: dict[int, Any] = {}


Closure = Callable[[Run], Any]


def build(root: nodes.Node, text: str) -> Closure:
    """What evaluates the tree. Raises LangError if it is too deep or too large."""
    return _Builder(text).build(root)


class _Nothing(Exception):
    """``?.`` met nil: the chain is nil."""


class _Builder:
    def __init__(self, text: str) -> None:
        self._source = text
        self._variables: list[tuple[str, int]] = []
        self._next = 0
        self._depth = 0
        self._count = 0

    def build(self, node: nodes.Node) -> Closure:
        self._depth += 1
        self._count += 1
        if self._depth > DEEPEST or self._count > _MOST_NODES:
            raise LangError("the expression is too complex", text=self._source, offset=node.offset)
        made: Closure = getattr(self, "_" + type(node).__name__.lower())(node)
        self._depth -= 1
        return made

    def _located(self, error: LangError, offset: int) -> LangError:
        """The error with its place in the expression; a text that it has is that of a value, which is not shown."""
        if error.text == self._source and error.offset >= 0:
            return error
        return LangError(error.message, text=self._source, offset=offset)

    def _constant(self, node: nodes.Constant) -> Closure:
        value = node.value
        return lambda run: value

    _integer = _float = _boolean = _text = _constant

    def _nil(self, node: nodes.Nil) -> Closure:
        return lambda run: None

    def _name(self, node: nodes.Name) -> Closure:
        name = node.name
        for known, place in reversed(self._variables):
            if known == name:
                return lambda run: run.variables[place]
        if name == "$env":
            return lambda run: dict(run.env)
        return lambda run: run.env.get(name)

    def _unary(self, node: nodes.Unary) -> Closure:
        inner = self.build(node.node)
        offset = node.offset
        if node.operator == "+":
            return inner

        def negative(run: Run) -> Any:
            value = inner(run)
            try:
                return values.negate(value)
            except LangError as error:
                raise self._located(error, offset) from None

        def negation(run: Run) -> bool:
            value = inner(run)
            if value is True or value is False:
                return not value
            try:
                return not boolean(value, "what is negated")
            except LangError as error:
                raise self._located(error, offset) from None

        return negative if node.operator == "-" else negation

    def _binary(self, node: nodes.Binary) -> Closure:
        operator = node.operator
        if operator in ("and", "&&", "or", "||"):
            return self._logical(node)
        left, right = self.build(node.left), self.build(node.right)
        if operator == "??":

            def coalesced(run: Run) -> Any:
                value = left(run)
                return right(run) if values.is_nil(value) else value

            return coalesced
        operate = operation_of(node)
        offset = node.offset

        def operation(run: Run) -> Any:
            a = left(run)
            b = right(run)
            try:
                return operate(a, b, run.meter)
            except LangError as error:
                raise self._located(error, offset) from None

        return operation

    def _logical(self, node: nodes.Binary) -> Closure:
        conjunction = node.operator in ("and", "&&")
        alike = ("and", "&&") if conjunction else ("or", "||")
        parts: list[tuple[nodes.Node, int]] = []
        one: nodes.Node = node
        # A long row is one loop and not as many calls inside each other.
        while isinstance(one, nodes.Binary) and one.operator in alike:
            parts.append((one.right, one.offset))
            one = one.left
        parts.append((one, parts[-1][1]))
        parts.reverse()
        *first, last = [(self.build(part), offset) for part, offset in parts]
        last_closure = last[0]

        def logical(run: Run) -> Any:
            for closure, offset in first:
                value = closure(run)
                if value is not True and value is not False:
                    try:
                        boolean(value, f"a side of {node.operator!r}")
                    except LangError as error:
                        raise self._located(error, offset) from None
                if value is not conjunction:
                    return value
            return last_closure(run)

        return logical

    def _chain(self, node: nodes.Chain) -> Closure:
        inner = self.build(node.node)

        def chain(run: Run) -> Any:
            try:
                return inner(run)
            except _Nothing:
                return None

        return chain

    def _member(self, node: nodes.Member) -> Closure:
        base, offset, optional = self.build(node.node), node.offset, node.optional
        if isinstance(node.property, nodes.Text):
            name = node.property.value

            def named(run: Run) -> Any:
                container = base(run)
                if type(container) is dict:
                    return container.get(name)
                if optional and values.is_nil(container):
                    raise _Nothing
                try:
                    return fetch(container, name, run.meter)
                except LangError as error:
                    raise self._located(error, offset) from None

            return named
        index = self.build(node.property)

        def indexed(run: Run) -> Any:
            container = base(run)
            if optional and values.is_nil(container):
                raise _Nothing
            wanted = index(run)
            try:
                return fetch(container, wanted, run.meter)
            except LangError as error:
                raise self._located(error, offset) from None

        return indexed

    def _slice(self, node: nodes.Slice) -> Closure:
        base, offset = self.build(node.node), node.offset
        start = self.build(node.start) if node.start else None
        stop = self.build(node.stop) if node.stop else None

        def part(run: Run) -> Any:
            container = base(run)
            last = _bound(stop(run)) if stop else None
            first = _bound(start(run)) if start else None
            try:
                return cut(container, first, last, run.meter)
            except LangError as error:
                raise self._located(error, offset) from None

        return part

    def _call(self, node: nodes.Call) -> Closure:
        arguments = [self.build(argument) for argument in node.arguments]
        offset = node.offset
        if node.builtin:
            if node.builtin in FAST:
                raise LangError(
                    f"{node.builtin!r} cannot be called through a variable", text=self._source, offset=offset
                )
            return self._run_builtin(node.builtin, arguments, offset)
        callee = self.build(node.callee)

        def called(run: Run) -> Any:
            given = [argument(run) for argument in arguments]
            function = callee(run)
            try:
                return call(function, given, run.meter)
            except LangError as error:
                raise self._located(error, offset) from None

        return called

    def _builtin(self, node: nodes.Builtin) -> Closure:
        if node.name not in PREDICATES:
            return self._run_builtin(node.name, [self.build(one) for one in node.arguments], node.offset)
        collection, body = self.build(node.arguments[0]), self.build(node.arguments[1])
        extra = node.map if node.map is not None else node.arguments[2] if len(node.arguments) == 3 else None
        further = self.build(extra) if extra is not None else None
        loop, offset, throws = LOOPS[node.name], node.offset, node.throws

        def looped(run: Run) -> Any:
            elements = collection(run)
            try:
                scope = Scope(elements, run.meter)
            except LangError as error:
                raise self._located(error, offset) from None
            run.scopes.append(scope)
            try:
                return loop(scope, lambda: body(run), (lambda: further(run)) if further else None, throws)
            except LangError as error:
                raise self._located(error, offset) from None
            finally:
                run.scopes.pop()

        return looped

    def _run_builtin(self, name: str, arguments: list[Closure], offset: int) -> Closure:
        function = BUILTINS[name].run

        def built_in(run: Run) -> Any:
            given = [argument(run) for argument in arguments]
            run.meter.step()
            try:
                if function is None:
                    raise LangError(f"{name!r} cannot be called in this way")
                return function(given, run.meter)
            except LangError as error:
                raise self._located(error, offset) from None

        return built_in

    def _closure(self, node: nodes.Closure) -> Closure:
        return self.build(node.node)

    def _pointer(self, node: nodes.Pointer) -> Closure:
        offset = node.offset
        if node.name == "":

            def element(run: Run) -> Any:
                try:
                    return run.scopes[-1].element()
                except LangError as error:
                    raise self._located(error, offset) from None

            return element
        if node.name == "index":
            return lambda run: run.scopes[-1].index
        if node.name == "acc":
            return lambda run: run.scopes[-1].accumulated
        raise LangError(f"there is no '#{node.name}'", text=self._source, offset=offset)

    def _let(self, node: nodes.Let) -> Closure:
        value = self.build(node.value)
        place = self._next
        self._next += 1
        self._variables.append((node.name, place))
        inner = self.build(node.node)
        self._variables.pop()

        def bound(run: Run) -> Any:
            run.variables[place] = value(run)
            return inner(run)

        return bound

    def _conditional(self, node: nodes.Conditional) -> Closure:
        test, yes, no = self.build(node.test), self.build(node.yes), self.build(node.no)
        offset = node.offset

        def chosen(run: Run) -> Any:
            value = test(run)
            try:
                decided = boolean(value, "the condition before '?'")
            except LangError as error:
                raise self._located(error, offset) from None
            return yes(run) if decided else no(run)

        return chosen

    def _array(self, node: nodes.Array) -> Closure:
        parts = [self.build(one) for one in node.nodes]

        def array(run: Run) -> list[Any]:
            run.meter.grow(len(parts))
            return [part(run) for part in parts]

        return array

    def _map(self, node: nodes.Map) -> Closure:
        pairs = [(self.build(pair.key), self.build(pair.value)) for pair in node.pairs if isinstance(pair, nodes.Pair)]
        offset = node.offset

        def made(run: Run) -> dict[str, Any]:
            run.meter.grow(len(pairs))
            found: dict[str, Any] = {}
            for key, value in pairs:
                name, content = key(run), value(run)
                try:
                    # Of equal keys the first counts.
                    found.setdefault(values.text(name, "the key of a map"), content)
                except LangError as error:
                    raise self._located(error, offset) from None
            return found

        return made


def _bound(value: Any) -> Any:
    # None stands for an open end, and nil is none.
    return _NIL if value is None else value


class _NilBound:
    go_type = "<nil>"


_NIL = _NilBound()
