"""What is wrong with a manifest, where, and what to do: findings, and how pydantic's errors become them.

``check`` validates a mapping against a model as Kubernetes would read it: names as written in manifests only,
no silent conversion of types, an explicit ``null`` the same as nothing, and all errors at once. It speaks of
places as paths inside the mapping (``Problem``); who knows the file (``argosy.manifests.loading``) turns them
into a ``Finding`` with line and column.
"""

from __future__ import annotations

import re
import types
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import orjson
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from argosy.manifests.spelling import did_you_mean

Severity = Literal["error", "warning", "info"]
"""Only an ``error`` keeps an object from running."""

Loc = tuple[str | int, ...]
"""A place inside an object: keys and list indexes from its root."""


@dataclass(frozen=True)
class Problem:
    """A finding whose file is not known yet. ``at_key`` points at the key itself rather than at its value."""

    code: str
    message: str
    loc: Loc = ()
    severity: Severity = "error"
    at_key: bool = False

    def inside(self, *prefix: str | int) -> Problem:
        """The same problem, seen from further out."""
        return Problem(self.code, self.message, (*prefix, *self.loc), self.severity, self.at_key)


@dataclass(frozen=True)
class Finding:
    """One sentence about a manifest.

    ``line`` and ``column`` count from 1 and are 0 where there is no text behind it.
    ``path`` is ``spec.triggers[0].template.http.url``; ``object`` is ``Sensor openstack/nova`` or empty.
    """

    code: str
    severity: Severity
    message: str
    file: str = ""
    line: int = 0
    column: int = 0
    path: str = ""
    object: str = ""

    @property
    def where(self) -> str:
        """``a.yaml:3:7``, or as much of it as is known."""
        return ":".join(str(part) for part in (self.file, self.line, self.column) if part)

    def __str__(self) -> str:
        text = f"{self.severity}: {self.message} [{self.code}]"
        return (f"{self.where}: " if self.where else "") + text + (f" ({self.path})" if self.path else "")

    def as_dict(self) -> dict[str, str | int]:
        """The finding as JSON has it."""
        return asdict(self)


def path_text(loc: Iterable[str | int]) -> str:
    """``spec.triggers[0].template``; keys that are no plain words stand in brackets and quotes."""
    text = ""
    for part in loc:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part.replace("-", "_").isidentifier():
            text += f".{part}" if text else part
        else:
            text += f'["{part}"]'
    return text


ModelT = TypeVar("ModelT", bound=BaseModel)


def check(
    model: type[ModelT], raw: object, *, also: Mapping[type[BaseModel], Iterable[str]] | None = None
) -> tuple[ModelT | None, list[Problem]]:
    """The model that ``raw`` describes, or None and every reason why it describes none.

    ``also`` are names that may stand beside a model's own fields and were already taken out of ``raw``; they
    are only used for "did you mean".
    """
    if not isinstance(raw, dict):
        return None, [Problem("wrong-type", f"must be a mapping, not {_found(raw)}")]
    raw, problems = as_meant(model, raw, also=also)
    try:
        # JSON mode keeps types strict and still takes what JSON cannot say otherwise (a time, a tuple).
        text = orjson.dumps(without_nulls(model, raw), option=orjson.OPT_NON_STR_KEYS)
    except orjson.JSONEncodeError:
        sentence = "cannot be read: it is nested too deeply, or holds a number of more than 64 bits"
        return None, [*problems, Problem("invalid-value", sentence)]
    try:
        return model.model_validate_json(text, strict=True, by_alias=True, by_name=False), problems
    except ValidationError as error:
        return None, problems + list(_problems(model, raw, error, also or {}))


def as_meant(
    model: type[BaseModel], raw: dict[str, Any], *, also: Mapping[type[BaseModel], Iterable[str]] | None = None
) -> tuple[dict[str, Any], list[Problem]]:
    """``raw`` without the fields that upstream dropped, names that differ from a field's in upper and lower
    case alone spelt as the field; and a warning for each.

    Upstream's API server keeps both and its controllers read neither, so such manifests are about.
    """
    problems: list[Problem] = []
    meant = _as_meant(model, raw, (), also or {}, problems)
    assert isinstance(meant, dict)
    return meant, problems


def _as_meant(
    annotation: Any,
    value: Any,
    loc: Loc,
    also: Mapping[type[BaseModel], Iterable[str]],
    problems: list[Problem],
) -> Any:
    if not isinstance(value, dict | list):
        return value
    for kind, arguments in _alternatives(annotation):
        if isinstance(value, dict) and isinstance(kind, type) and issubclass(kind, BaseModel):
            return _model_as_meant(kind, value, loc, also, problems)
        if isinstance(value, dict) and kind is dict and arguments:
            return {key: _as_meant(arguments[1], item, (*loc, key), also, problems) for key, item in value.items()}
        if isinstance(value, list) and kind in (list, tuple) and arguments:
            return [_as_meant(arguments[0], item, (*loc, index), also, problems) for index, item in enumerate(value)]
    return value


def _model_as_meant(
    model: type[BaseModel],
    value: dict[str, Any],
    loc: Loc,
    also: Mapping[type[BaseModel], Iterable[str]],
    problems: list[Problem],
) -> dict[str, Any]:
    fields = aliases(model)
    dropped: Mapping[str, str] = getattr(model, "dropped", {})
    known = {name.lower(): name for name in (*fields, *also.get(model, ()))}
    forbids = model.model_config.get("extra") == "forbid"
    meant: dict[str, Any] = {}
    for key, item in value.items():
        name = key
        if forbids and isinstance(key, str) and key not in known.values():
            if key in dropped:
                text = f"'{key}' has no effect since Argo Events {dropped[key]}"
                problems.append(Problem("dropped-field", text, (*loc, key), "warning", True))
                continue
            name = known.get(key.lower(), key)
            if name in value or name in meant:
                name = key  # both are there: which one is meant?
            elif name != key:
                text = f"'{key}' is read as '{name}'; spell it so, upstream does not read it as it stands"
                problems.append(Problem("field-case", text, (*loc, key), "warning", True))
        meant[name] = _as_meant(fields[name].annotation, item, (*loc, key), also, problems) if name in fields else item
    return meant


def without_nulls(annotation: Any, value: Any) -> Any:
    """``value`` without members that are null and belong to a model: to Go they are the same as absent.

    Nulls inside free JSON (a trigger's ``resource``, say) stay.
    """
    if value is None or isinstance(value, str | int | float):
        return value
    for kind, arguments in _alternatives(annotation):
        if isinstance(value, dict) and isinstance(kind, type) and issubclass(kind, BaseModel):
            fields = aliases(kind)
            return {
                key: without_nulls(fields[key].annotation, item) if key in fields else item
                for key, item in value.items()
                if item is not None or key not in fields
            }
        if isinstance(value, dict) and kind is dict and arguments:
            return {key: without_nulls(arguments[1], item) for key, item in value.items()}
        if isinstance(value, list) and kind in (list, tuple) and arguments:
            return [without_nulls(arguments[0], item) for item in value]
    return value


@cache
def aliases(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The model's fields by the name they have in manifests."""
    return {info.alias or name: info for name, info in model.model_fields.items()}


def _alternatives(annotation: Any) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _alternatives(get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for part in get_args(annotation):
            yield from _alternatives(part)
    else:
        yield origin or annotation, get_args(annotation)


def model_at(model: type[BaseModel], loc: Loc) -> type[BaseModel] | None:
    """The model that describes the mapping at ``loc``."""
    found: Any = model
    for part in loc:
        step: Any = None
        for kind, arguments in _alternatives(found):
            if isinstance(kind, type) and issubclass(kind, BaseModel) and part in aliases(kind):
                step = aliases(kind)[str(part)].annotation
            elif kind is dict and arguments:
                step = arguments[1]
            elif kind in (list, tuple) and arguments:
                step = arguments[0]
        if step is None:
            return None
        found = step
    return next(
        (kind for kind, _ in _alternatives(found) if isinstance(kind, type) and issubclass(kind, BaseModel)),
        None,
    )


_EXPECTED = {
    "string_type": "text",
    "string_sub_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "none_required": "nothing",
    "datetime_type": "a time such as 2006-01-02T15:04:05Z",
}


def _problems(
    model: type[BaseModel],
    raw: dict[str, Any],
    error: ValidationError,
    also: Mapping[type[BaseModel], Iterable[str]],
) -> Iterator[Problem]:
    mismatched: dict[Loc, tuple[list[str], object]] = {}
    for detail in error.errors(include_url=False):
        loc, kind = _real(raw, detail), detail["type"]
        if kind in _EXPECTED:
            expected, found = mismatched.setdefault(loc, ([], _at(raw, loc)))
            if _EXPECTED[kind] not in expected:
                expected.append(_EXPECTED[kind])
        elif kind == "extra_forbidden":
            owner = model_at(model, loc[:-1])
            known = [*aliases(owner), *also.get(owner, ())] if owner else []
            name = loc[-1]
            yield Problem("unknown-field", f"unknown field '{name}'{did_you_mean(str(name), known)}", loc, at_key=True)
        elif kind == "missing":
            yield Problem("missing-field", f"'{loc[-1]}' is missing", loc, at_key=True)
        else:
            yield Problem("invalid-value", _sentence(detail, loc), loc)
    for loc, (expected, found) in mismatched.items():
        wanted = " or ".join(word for word in expected if word != "nothing") or "nothing"
        yield Problem("wrong-type", f"{_name(loc)}must be {wanted}, not {_found(found)}{_hint(expected, found)}", loc)


def _sentence(detail: ErrorDetails, loc: Loc) -> str:
    name, kind, context = _name(loc), detail["type"], detail.get("ctx", {})
    given = detail["input"]
    if kind in ("value_error", "assertion_error"):
        text = str(context.get("error", detail["msg"]))
        # A validator's words are either a predicate ("is not a duration") or a sentence of their own.
        return name + text if text.split(" ")[0] in _PREDICATES else text
    if kind in ("literal_error", "enum"):
        options = str(context.get("expected", ""))
        near = (
            did_you_mean(given, [word.strip("'") for word in options.replace(" or ", ", ").split(", ")])
            if isinstance(given, str)
            else ""
        )
        shown = f"'{given}'" if isinstance(given, str) and len(given) <= 40 else _found(given)
        return f"{name}must be {options}, not {shown}{near}"
    if kind in ("string_too_short", "too_short") and not given:
        return (
            f"{name}is empty"
            if kind == "string_too_short"
            else f"{name}needs at least {context.get('min_length', 1)} entry"
        )
    # pydantic's own words: "Input should be greater than or equal to 1".
    words = re.sub("^[A-Z][a-z]+ should ", "must ", detail["msg"])
    return name + words[:1].lower() + words[1:]


_PREDICATES = frozenset(
    (
        "is",
        "are",
        "has",
        "have",
        "needs",
        "need",
        "must",
        "may",
        "wants",
        "cannot",
        "can",
        "names",
        "does",
        "contains",
        "begins",
        "holds",
    )
)


def _name(loc: Loc) -> str:
    words = [part for part in loc if isinstance(part, str)]
    return f"'{words[-1]}' " if words else ""


def _real(raw: Any, detail: ErrorDetails) -> Loc:
    """The error's place without the steps that pydantic adds for unions and validators."""
    value, real = raw, []
    *way, last = detail["loc"] or ("",)
    for part in way:
        inner = _step(value, part)
        if inner is not _NOTHING:
            real.append(part)
            value = inner
    if detail["type"] in ("missing", "extra_forbidden") or _step(value, last) is not _NOTHING:
        real.append(last)
    return tuple(real)


_NOTHING = object()


def _step(value: Any, part: str | int) -> Any:
    if isinstance(value, Mapping) and isinstance(part, str):
        return value.get(part, _NOTHING)
    if isinstance(value, list) and isinstance(part, int) and 0 <= part < len(value):
        return value[part]
    return _NOTHING


def _at(raw: Any, loc: Loc) -> Any:
    value = raw
    for part in loc:
        value = _step(value, part)
    return value


def _found(value: object) -> str:
    # A text's words are not repeated: it may be a password in the wrong place.
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, str):
        return "text"
    return "a list" if isinstance(value, list) else "a mapping"


def _hint(expected: list[str], found: object) -> str:
    if "text" in expected and isinstance(found, bool):
        return "; write it in quotes (YAML reads yes, no, on, off, y and n as true and false)"
    if "text" in expected and isinstance(found, int | float):
        return f'; write it in quotes: "{found}"'
    if isinstance(found, str) and {"a whole number", "a number", "true or false"} & set(expected):
        return "; write it without quotes"
    return ""
