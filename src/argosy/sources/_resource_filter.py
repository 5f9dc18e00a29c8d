"""Which objects of the Kubernetes API a ``resource`` source lets through.

Labels are asked of the API server; name prefix, fields and times are judged here. All that is given must
hold. Where upstream's code and documentation disagree this follows the documentation: a field without an
operation means ``==``; and a field that is a number or a boolean is compared as it is written, where
upstream's code reads it as empty text.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any, Literal

from pydantic import AwareDatetime, Field, field_validator, model_validator

from argosy.errors import EventInvalid, LangError
from argosy.event import parse_time
from argosy.lang import gjson, regex
from argosy.manifests.fields import OURS, EventFilter, Model

Object = dict[str, Any]
EventType = Literal["ADD", "UPDATE", "DELETE"]


class LabelSelector(Model):
    """One requirement on the labels of an object (Kubernetes documentation, "Labels and Selectors")."""

    key: str = Field(min_length=1)
    """The label's name."""
    operation: Literal["", "=", "==", "!=", "in", "notin", "exists", "!", "gt", "lt"] = ""
    """Empty means ``=``."""
    value: str = ""
    """For ``in`` and ``notin``, values with commas between them."""

    @model_validator(mode="after")
    def _complete(self) -> LabelSelector:
        if self.operation in ("exists", "!") and self.value:
            raise ValueError(f"operation {self.operation!r} takes no value")
        return self

    @property
    def text(self) -> str:
        """The requirement as the API takes it."""
        match self.operation:
            case "exists":
                return self.key
            case "!":
                return f"!{self.key}"
            case "in" | "notin":
                return f"{self.key} {self.operation} ({self.value})"
            case "gt" | "lt":
                return f"{self.key}{'>' if self.operation == 'gt' else '<'}{self.value}"
            case operation:
                return f"{self.key}{operation or '='}{self.value}"


class FieldSelector(Model):
    """One requirement on any value of an object: a gjson path, and a regular expression (RE2) found
    anywhere in the value.
    """

    key: str = Field(min_length=1)
    """A gjson path into the object, such as ``status.phase``."""
    operation: Literal["", "=", "==", "!="] = ""
    """Empty means ``==``. A value that is not there satisfies none of them."""
    value: str = ""
    """A regular expression (RE2)."""

    @field_validator("key")
    @classmethod
    def _path(cls, key: str) -> str:
        _judged(lambda: gjson.compile(key))
        return key

    @field_validator("value")
    @classmethod
    def _pattern(cls, value: str) -> str:
        _judged(lambda: regex.compile(value))
        return value


class ResourceFilter(EventFilter):
    """What must hold for an object's event to be emitted."""

    expression: str = Field("", json_schema_extra=OURS)
    """An [expr](languages/expr.md) expression over the event's data, as every other kind has it, such as
    ``body.spec.replicas > 3``. It decides last, and costs more than what stands below."""
    prefix: str = ""
    """How the object's name begins."""
    labels: list[LabelSelector] = Field(default_factory=list)
    """What the labels must be; the API server judges."""
    fields: list[FieldSelector] = Field(default_factory=list)
    """What any fields must be."""
    created_by: AwareDatetime | None = None
    """Objects made at this time or before."""
    after_start: bool = False
    """Only what happened after the source started for the first time with these settings, to the second. What
    happened while it was away later counts.
    """


def label_selector(wanted: ResourceFilter | None) -> str:
    """The labels as the API takes them; empty where there are none."""
    return ",".join(label.text for label in wanted.labels) if wanted else ""


def predicate(
    wanted: ResourceFilter | None, started: dt.datetime
) -> Callable[[EventType, Object, gjson.Document], bool]:
    """Whether an event of this type, about this object (given as a value and as a document), is let
    through.
    """
    if wanted is None:
        return lambda event_type, item, document: True
    fields = [
        (gjson.compile(field.key), regex.compile(field.value), field.operation != "!=") for field in wanted.fields
    ]
    # The API's times have no fractions; what was made in the second of the start may have been made after it.
    since = started.replace(microsecond=0)

    def passes(event_type: EventType, item: Object, document: gjson.Document) -> bool:
        about = item["metadata"]
        if not str(about.get("name", "")).startswith(wanted.prefix):
            return False
        if wanted.created_by is not None:
            created = _time(about.get("creationTimestamp"))
            if created is None or created > wanted.created_by:
                return False
        if wanted.after_start:
            happened = _happened(event_type, about)
            if happened is not None and happened < since:
                return False
        for path, pattern, matching in fields:
            found = path.get(document)
            if not found.exists or pattern.search(found.string()) is not matching:
                return False
        return True

    return passes


def _happened(event_type: EventType, about: Object) -> dt.datetime | None:
    """When the event happened, as far as the object tells; None means now.

    Of an UPDATE the latest of ``managedFields`` tells. Where a server keeps none upstream takes the creation, and so
    drops every update of an older object; here such an update counts as new.
    """
    if event_type == "ADD":
        return _time(about.get("creationTimestamp"))
    if event_type == "DELETE":
        return _time(about.get("deletionTimestamp"))
    updates = [
        time
        for entry in about.get("managedFields") or ()
        if entry.get("operation") == "Update" and (time := _time(entry.get("time"))) is not None
    ]
    return max(updates, default=None)


def _time(text: object) -> dt.datetime | None:
    try:
        return parse_time(text) if isinstance(text, str) else None
    except EventInvalid:
        return None


def _judged(compiling: Callable[[], object]) -> None:
    try:
        compiling()
    except LangError as error:
        raise ValueError(str(error)) from error
