"""Arguments as a Python handler's annotations want them: ``amount: Decimal``, ``when: datetime``, ``order: Order``.

What parameters set is text unless the manifest says otherwise, and JSON knows no dates; the annotations say what is meant. They are read once for each handler.
Pydantic converts, by its lax rules: the text ``7`` becomes a number, no fraction is lost, and numbers become text where text is wanted. An argument without an
annotation, or with one that nothing is known of, is passed as it is.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, PydanticUserError, TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError

from argosy.errors import Rejected
from argosy.functions import Handler
from argosy.manifests.fields import Json

_LAX = ConfigDict(coerce_numbers_to_str=True)


class Arguments:
    """What one handler wants. ``what`` names it in sentences."""

    def __init__(self, handler: Handler, what: str) -> None:
        self._what = what
        self._signature: inspect.Signature | None = None
        self._wanted: dict[str, tuple[str, TypeAdapter[Any]]] = {}
        try:
            self._signature = inspect.signature(handler)
        except ValueError:
            return  # a function of C that does not tell its arguments is called as it is
        hints = _hints(handler)
        for name, parameter in list(self._signature.parameters.items())[1:]:
            hint = hints.get(name, Any)
            if hint is Any or parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
                continue
            if (adapter := _adapter(hint)) is not None:
                self._wanted[name] = (_shown(hint), adapter)

    def of(self, events: object, given: Mapping[str, Json]) -> dict[str, Any]:
        """The arguments for one call, the caller's own. Raises Rejected if the handler does not take them."""
        args = dict(given)
        if self._signature is not None:
            try:
                self._signature.bind(events, **args)
            except TypeError as error:
                raise Rejected(f"{self._what} cannot be called with args {sorted(args)}: {error}") from error
        for name, (shown, adapter) in self._wanted.items():
            if name not in args:
                continue
            try:
                args[name] = adapter.validate_python(args[name])
            except ValidationError as error:
                first = error.errors(include_url=False, include_input=False, include_context=False)[0]
                where = "".join(f".{part}" for part in first["loc"])
                raise Rejected(f"{self._what}: argument {name + where!r} is no {shown}: {first['msg']}") from error
        return args


def _hints(handler: Handler) -> Mapping[str, Any]:
    function = handler if inspect.isroutine(handler) else getattr(handler, "__call__", handler)  # noqa: B004
    try:
        return typing.get_type_hints(function, include_extras=True)
    except (NameError, TypeError, AttributeError):
        return {}  # an annotation that names what is not there helps nobody


def _adapter(hint: Any) -> TypeAdapter[Any] | None:
    own = isinstance(hint, type) and (issubclass(hint, BaseModel) or hasattr(hint, "__dataclass_fields__"))
    try:
        return TypeAdapter(hint) if own else TypeAdapter(hint, config=_LAX)
    except PydanticSchemaGenerationError:
        return None
    except PydanticUserError:
        # A type that has rules of its own, such as a TypedDict with a configuration.
        try:
            return TypeAdapter(hint)
        except PydanticUserError:
            return None


def _shown(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) else str(hint).replace("typing.", "")
