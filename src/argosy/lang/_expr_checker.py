"""Finds what can never work before an expression runs: operators, calls and members that do not fit the types
that are known. The same things are found as by the Go library, because what it refuses drops every event."""

from __future__ import annotations

from dataclasses import dataclass

from argosy.errors import LangError
from argosy.lang import _expr_nodes as nodes
from argosy.lang import _expr_types as types
from argosy.lang import regex
from argosy.lang._expr_builtins import BUILTINS, PREDICATES
from argosy.lang._expr_types import ANY, BOOL, FLOAT, FUNCTION, INT, LIST, MAP, STRING, Signature, Type, an, show

_MOST_VISITS = 50_000  # overloads and `a ?: b` make the check look at nodes several times


@dataclass(frozen=True, slots=True)
class _Info:
    """What is known beside the type: the built-in function behind a name, whether it is a method, what a list
    literal is made of."""

    builtin: str = ""
    method: bool = False
    element: Type | None = None


_PLAIN = _Info()
_Found = tuple[Type | None, _Info]


@dataclass(slots=True)
class _Scope:
    """A closure's collection, and the pointers that it has beside ``#``."""

    collection: Type | None
    pointers: dict[str, Type]


class _NoFit(Exception):
    """Arguments that do not fit one overload of a function."""

    def __init__(self, message: str, offset: int, *, count: bool = False) -> None:
        super().__init__(message)
        self.offset = offset
        self.count = count
        """Whether there are too few or too many."""


def check(root: nodes.Node, text: str) -> None:
    """Sets the type of every node. Raises LangError for what can never work."""
    _Checker(text).visit(root)


class _Checker:
    def __init__(self, text: str) -> None:
        self._source = text
        self._scopes: list[_Scope] = []
        self._variables: list[tuple[str, Type | None, _Info]] = []
        self._visits = 0

    def _wrong(self, node: nodes.Node, message: str) -> LangError:
        return LangError(message, text=self._source, offset=node.offset)

    def visit(self, node: nodes.Node) -> _Found:
        self._visits += 1
        if self._visits > _MOST_VISITS:
            raise self._wrong(node, "the expression is too complex")
        found: _Found = getattr(self, "_" + type(node).__name__.lower())(node)
        node.type = found[0]
        return found

    def _nil(self, node: nodes.Nil) -> _Found:
        return None, _PLAIN

    def _integer(self, node: nodes.Integer) -> _Found:
        return INT, _PLAIN

    def _float(self, node: nodes.Float) -> _Found:
        return FLOAT, _PLAIN

    def _boolean(self, node: nodes.Boolean) -> _Found:
        return BOOL, _PLAIN

    def _text(self, node: nodes.Text) -> _Found:
        return STRING, _PLAIN

    def _name(self, node: nodes.Name) -> _Found:
        for name, known, info in reversed(self._variables):
            if name == node.name:
                return known, info
        if node.name == "$env":
            return MAP, _PLAIN
        return _in_environment(node.name)

    def _unary(self, node: nodes.Unary) -> _Found:
        inner, _ = self.visit(node.node)
        if node.operator in ("!", "not"):
            if types.is_bool(inner) or types.is_any(inner):
                return BOOL, _PLAIN
        elif types.is_number(inner):
            return inner, _PLAIN
        elif types.is_any(inner):
            return ANY, _PLAIN
        raise self._wrong(node, f"{node.operator!r} cannot be used with {show(inner)}")

    def _binary(self, node: nodes.Binary) -> _Found:
        left, _ = self.visit(node.left)
        right, about = self.visit(node.right)
        if node.operator == "matches" and isinstance(node.right, nodes.Text):
            try:
                node.regex = regex.compile(node.right.value)
            except LangError as error:
                raise self._wrong(node.right, error.message) from error
        if node.operator == "in":
            return self._in(node, left, right, about)
        found = types.result(node.operator, left, right)
        if found is False:
            reason = f"{node.operator!r} cannot be used between {show(left)} and {show(right)}"
            raise self._wrong(node, reason + _hint(node.left, node.right))
        assert found is not True  # only False stands for a refusal
        return found, _PLAIN

    def _in(self, node: nodes.Binary, left: Type | None, right: Type | None, about: _Info) -> _Found:
        if (types.is_string(left) or types.is_any(left)) and right is not None and right.kind == "struct":
            return BOOL, _PLAIN
        if types.is_map(right):
            assert right is not None and right.key is not None  # a map has keys
            if left is not None and not types.is_any(left) and not types.assignable(left, right.key):
                raise self._wrong(node, f"{an(left)} is no key of a map of {show(right.key)}")
            return BOOL, _PLAIN
        if types.is_list(right):
            assert right is not None  # it is a list
            for element in (right.element, about.element):
                if left is not None and not types.comparable(left, element):
                    raise self._wrong(node, f"{an(left)} is never in a list of {show(element)}")
            return BOOL, _PLAIN
        if types.is_any(right) or (types.is_any(left) and types.is_string(right)):
            return BOOL, _PLAIN
        raise self._wrong(node, f"'in' cannot be used between {show(left)} and {show(right)}")

    def _chain(self, node: nodes.Chain) -> _Found:
        return self.visit(node.node)

    def _member(self, node: nodes.Member) -> _Found:
        base, _ = self.visit(node.node)
        property, _ = self.visit(node.property)
        named = node.property.value if isinstance(node.property, nodes.Text) else None
        if isinstance(node.node, nodes.Name) and node.node.name == "$env":
            return _in_environment(named) if named is not None else (ANY, _PLAIN)
        if named is not None:
            if base is None:
                raise self._wrong(node, f"nil has no member {named!r}")
            method = types.method_of(base, named)
            if method is not None:
                node.method = named
                return method, _Info(method=True)
        if types.is_any(base):
            return ANY, _PLAIN
        if types.is_map(base):
            assert base is not None and base.key is not None  # a map has keys
            if property is not None and not types.assignable(property, base.key) and not types.is_any(property):
                raise self._wrong(node.property, f"{an(property)} is no key of {an(base)}")
            return base.element, _PLAIN
        if types.is_list(base):
            assert base is not None  # it is a list
            if not types.is_integer(property) and not types.is_any(property):
                raise self._wrong(node.property, f"an element of a list is chosen by an int, not by {show(property)}")
            return base.element, _PLAIN
        what = repr(named) if named is not None else show(property)
        raise self._wrong(node, f"{an(base)} has no member {what}{_hint(node.node)}")

    def _slice(self, node: nodes.Slice) -> _Found:
        base, _ = self.visit(node.node)
        if not (types.is_any(base) or types.is_string(base) or types.is_list(base)):
            raise self._wrong(node, f"{an(base)} cannot be sliced")
        for bound in (node.start, node.stop):
            if bound is not None:
                found, _ = self.visit(bound)
                if not types.is_integer(found) and not types.is_any(found):
                    raise self._wrong(bound, f"a slice is bounded by ints, not by {show(found)}")
        return base, _PLAIN

    def _call(self, node: nodes.Call) -> _Found:
        called, info = self.visit(node.callee)
        if info.builtin:
            node.builtin = info.builtin
            return self._function(info.builtin, node, node.arguments)
        name = "the function"
        if isinstance(node.callee, nodes.Name):
            name = repr(node.callee.name)
        elif isinstance(node.callee, nodes.Member) and isinstance(node.callee.property, nodes.Text):
            name = repr(node.callee.property.value)
        if called is None:
            raise self._wrong(node, f"{name} is nil, which cannot be called")
        if types.is_any(called):
            # The arguments are not looked at, so they have no types: the library leaves it at that, too.
            return ANY, _PLAIN
        if called.signature is None:
            raise self._wrong(node, f"{an(called)} cannot be called")
        try:
            return self._arguments(name, called.signature, info.method, node.arguments, node), _PLAIN
        except _NoFit as error:
            raise LangError(str(error), text=self._source, offset=error.offset) from None

    def _builtin(self, node: nodes.Builtin) -> _Found:
        if node.name in PREDICATES:
            return self._predicate(node), _PLAIN
        if node.name == "get":
            return self._get(node), _PLAIN
        return self._function(node.name, node, node.arguments)

    def _predicate(self, node: nodes.Builtin) -> Type | None:
        collection, _ = self.visit(node.arguments[0])
        if not types.is_list(collection) and not types.is_any(collection):
            raise self._wrong(node.arguments[0], f"{node.name!r} needs a list, not {show(collection)}")
        pointers = {"index": INT} if node.name in ("map", "reduce") else {}
        if node.name == "reduce":
            pointers["acc"] = ANY
        self._scopes.append(_Scope(collection, pointers))
        closure, _ = self.visit(node.arguments[1])
        self._scopes.pop()
        if len(node.arguments) == 3:
            self.visit(node.arguments[2])
        assert closure is not None and closure.signature is not None  # the parser makes it a closure
        result = closure.signature.gives[0]
        if node.name == "map":
            return types.list_of(result)
        if node.name == "groupBy":
            return types.GROUPS
        if node.name == "reduce":
            return result
        if not types.is_bool(result) and not types.is_any(result):
            raise self._wrong(
                node.arguments[1], f"the closure of {node.name!r} must be true or false, not {show(result)}"
            )
        if node.name in ("all", "none", "any", "one"):
            return BOOL
        if node.name in ("count", "findIndex", "findLastIndex"):
            return INT
        element = ANY if collection is None or types.is_any(collection) else collection.element
        if node.name == "filter":
            return LIST if types.is_any(collection) or element is None else types.list_of(element)
        return element

    def _get(self, node: nodes.Builtin) -> Type | None:
        if len(node.arguments) != 2:
            raise self._wrong(node, f"'get' takes 2 arguments, not {len(node.arguments)}")
        container, wanted = node.arguments
        if isinstance(container, nodes.Name) and container.name == "$env":
            return None if isinstance(wanted, nodes.Text) else ANY
        base, _ = self.visit(container)
        if types.is_any(base):
            return ANY
        if types.is_list(base) or types.is_map(base):
            assert base is not None  # it is a list or a map
            key, _ = self.visit(wanted)
            if key is None:
                raise self._wrong(wanted, "nil is no index")
            if types.is_list(base):
                fits = types.is_integer(key)
            else:
                assert base.key is not None  # a map has keys
                fits = types.assignable(key, base.key)
            if not fits and not types.is_any(key):
                raise self._wrong(wanted, f"{an(key)} is no index of {an(base)}")
            return base.element
        raise self._wrong(container, f"{an(base)} has no elements to get")

    def _function(self, name: str, node: nodes.Node, arguments: list[nodes.Node]) -> _Found:
        function = BUILTINS[name]
        if function.validate is not None:
            found = [self.visit(argument)[0] for argument in arguments]
            try:
                return function.validate(found), _PLAIN
            except LangError as error:
                raise self._wrong(node, f"{name!r} {error.message}") from None
        if not function.overloads:  # a name of a predicate or of `get`, called through a variable
            return ANY, _PLAIN
        last: _NoFit | None = None
        for signature in function.overloads:
            try:
                return self._arguments(repr(name), signature, False, arguments, node), _PLAIN
            except _NoFit as error:
                last = error if last is None or last.count else last
        assert last is not None  # there is at least one overload
        raise LangError(str(last), text=self._source, offset=last.offset)

    def _arguments(
        self, name: str, signature: Signature, method: bool, arguments: list[nodes.Node], node: nodes.Node
    ) -> Type:
        if len(signature.gives) > 2:
            raise _NoFit(f"{name} gives more than two values", node.offset)
        takes = signature.takes[1:] if method else signature.takes
        if len(arguments) < len(takes):
            raise _NoFit(f"{name} needs more arguments than {len(arguments)}", node.offset, count=True)
        if len(arguments) > len(takes) and signature.rest is None:
            raise _NoFit(f"{name} takes fewer arguments than {len(arguments)}", node.offset, count=True)
        for index, argument in enumerate(arguments):
            found, _ = self.visit(argument)
            wanted = takes[index] if index < len(takes) else signature.rest
            assert wanted is not None  # counted above
            if found is None or types.is_any(found) or types.assignable(found, wanted):
                continue
            if types.is_integer(wanted) and types.is_integer(found) and found.kind != wanted.kind:
                continue
            raise _NoFit(f"{name} takes {an(wanted)} here, not {an(found)}", argument.offset)
        return signature.gives[0]

    def _closure(self, node: nodes.Closure) -> _Found:
        found, _ = self.visit(node.node)
        if found is None:
            raise self._wrong(node.node, "the closure is always nil")
        return types.closure_of(found), _PLAIN

    def _pointer(self, node: nodes.Pointer) -> _Found:
        scope = self._scopes[-1] if self._scopes else None
        if scope is None:
            raise self._wrong(node, "'#' has no meaning outside of a closure")
        if node.name == "":
            return (
                ANY if types.is_any(scope.collection) or scope.collection is None else scope.collection.element
            ), _PLAIN
        if node.name in scope.pointers:
            return scope.pointers[node.name], _PLAIN
        has = " and ".join(f"'#{name}'" for name in ("", *scope.pointers))
        raise self._wrong(node, f"there is no '#{node.name}' here, only {has}")

    def _let(self, node: nodes.Let) -> _Found:
        if node.name in BUILTINS:
            raise self._wrong(node, f"{node.name!r} is the name of a built-in function")
        if any(name == node.name for name, _, _ in self._variables):
            raise self._wrong(node, f"the variable {node.name!r} exists already")
        value, info = self.visit(node.value)
        self._variables.append((node.name, value, info))
        found = self.visit(node.node)
        self._variables.pop()
        return found

    def _conditional(self, node: nodes.Conditional) -> _Found:
        test, _ = self.visit(node.test)
        if not types.is_bool(test) and not types.is_any(test):
            raise self._wrong(node.test, f"a condition is true or false, not {show(test)}")
        yes, _ = self.visit(node.yes)
        no, _ = self.visit(node.no)
        if yes is None or no is None:
            return yes or no, _PLAIN
        return (yes if types.assignable(yes, no) else ANY), _PLAIN

    def _array(self, node: nodes.Array) -> _Found:
        found = [self.visit(one)[0] for one in node.nodes]
        kinds = {one.kind if one else "" for one in found}
        if len(kinds) == 1 and found[-1] is not None:
            return LIST, _Info(element=found[-1])
        return LIST, _PLAIN

    def _map(self, node: nodes.Map) -> _Found:
        for pair in node.pairs:
            self.visit(pair)
        return MAP, _PLAIN

    def _pair(self, node: nodes.Pair) -> _Found:
        self.visit(node.key)
        self.visit(node.value)
        return None, _PLAIN


def _hint(*operands: nodes.Node) -> str:
    """What to write where a member of the environment has the name of a built-in function."""
    for one in operands:
        if isinstance(one, nodes.Name) and one.type == FUNCTION and one.name in BUILTINS:
            return f"; {one.name!r} is a built-in function, the member is get($env, {one.name!r})"
    return ""


def _in_environment(name: str) -> _Found:
    return (FUNCTION, _Info(builtin=name)) if name in BUILTINS else (ANY, _PLAIN)
