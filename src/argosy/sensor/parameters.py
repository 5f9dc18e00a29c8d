"""Parameters and payloads: values out of events, set into documents (reference: ``pkg/sensors/triggers/params.go`` of upstream).

A source is resolved in a fixed order: template, then key, then the literal ``value``. Data wins over context where both are asked for. Every
function is pure: the same events and the same manifest give the same text.
"""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from argosy.errors import EventInvalid, LangError, Rejected
from argosy.event import Event, parse_time
from argosy.lang import gjson, gojson, gotemplate, sjson
from argosy.lang.gjson import Document
from argosy.manifests import _yaml
from argosy.manifests.fields import Json, TriggerParameter, TriggerParameterSource
from argosy.triggers._base import Resolved

Events = Mapping[str, Event]


class Found(NamedTuple):
    """How a source was looked up. ``value`` is None where no step gave one; ``step`` names the field that did, or is ``event``
    for the whole event. ``complaints`` say why the steps before it gave nothing.
    """

    value: Resolved | None
    step: str = ""
    complaints: Sequence[str] = ()


Note = Callable[[TriggerParameter, Found, str], None]
"""Told of each parameter what was found and, in a sentence, why it failed (empty where it did not). For explanations."""

_template = lru_cache(maxsize=4096)(gotemplate.compile)


def _text(value: str) -> Resolved:
    return Resolved(value, gojson.dumps(value))


def data_document(event: Event) -> Document:
    """The event's data as JSON; YAML data is converted by Kubernetes' rules, of several documents the first.

    Raises LangError for any other content type, and for data that is not what its content type says.
    """
    if not event.data:
        raise LangError("the event has no data")
    kind = event.datacontenttype.split(";")[0].strip()
    if kind in ("application/json", ""):
        if not gojson.valid(event.data):
            raise LangError("the event's data is not JSON")
        return Document(event.data)
    if kind == "application/yaml":
        first = next(_yaml.documents(event.data.decode("utf-8", "replace")), None)
        if isinstance(first, _yaml.Fault):
            raise LangError(f"the event's data is not YAML: line {first.line}: {first.message}")
        return Document.of(first.value if first else None)
    raise LangError(f"data of content type {event.datacontenttype!r} cannot be read; only JSON and YAML can")


def _context(event: Event) -> dict[str, Json]:
    """The context as upstream's JSON has it: time in whole seconds, null where the event has none."""
    context = dict(event.context)
    try:
        moment = parse_time(event.time).astimezone(dt.UTC)
        context["time"] = moment.replace(microsecond=0, tzinfo=None).isoformat() + "Z"
    except (EventInvalid, OverflowError):
        # A time that is no time is shown as it stands.
        context["time"] = event.time or None
    return context


def _whole(event: Event) -> str:
    context = gojson.dumps(_context(event), sort_keys=False).decode()
    data = f'"{base64.b64encode(event.data).decode()}"' if event.data else "null"
    return f'{{"context":{context},"data":{data}}}'


def _from_document(what: str, document: Document, key: str, template: str, complaints: list[str]) -> Found | None:
    if template:
        try:
            text = _template(template).render({"Input": document.first})
        except LangError as error:
            complaints.append(f"template {template!r}: {error.message}")
        else:
            if text not in ("", "<no value>"):
                return Found(_text(text), f"{what}Template", complaints)
            complaints.append(f"template {template!r} evaluated to {text or 'an empty string'!r}")
    if key:
        found = gjson.compile(key).get(document)
        if found.exists:
            if found.kind in ("JSON", "Null"):
                value = Resolved(found.raw, found.raw.encode())
            elif found.kind == "String":
                value = _text(found.string())
            else:
                # Upstream writes numbers without exponent here too. What is no JSON then stays as it stands in the event.
                text = found.string()
                value = Resolved(text, (text if gojson.valid(text) else found.raw).encode())
            return Found(value, f"{what}Key", complaints)
        complaints.append(f"path '{key}' does not exist")
    return None


def look_up(src: TriggerParameterSource, events: Events) -> Found:
    """The value of a parameter source for these events, and how it came about. Never raises."""
    event = events.get(src.dependency_name)
    default = None if src.value is None else _text(src.value)
    if event is None:
        return Found(default, "" if default is None else "value", [f"no event of {src.dependency_name!r} is here"])
    if not (src.data_key or src.data_template or src.context_key or src.context_template):
        return Found(_text(_whole(event)), "event") if default is None else Found(default, "value")
    complaints: list[str] = []
    try:
        if src.data_key or src.data_template:
            document = data_document(event)
            found = _from_document("data", document, src.data_key, src.data_template, complaints)
        else:
            document = Document.of(_context(event))
            found = _from_document("context", document, src.context_key, src.context_template, complaints)
    except LangError as error:
        complaints.append(error.message)
        found = None
    return found or Found(default, "" if default is None else "value", complaints)


def resolve(src: TriggerParameterSource, events: Events) -> Resolved | None:
    """The value of a parameter source for these events; None where there is none and the parameter is skipped.

    Raises Rejected, with every step that was tried, if the event is there and no step gives a value.
    """
    return wanted(src, look_up(src, events), events)


def wanted(src: TriggerParameterSource, found: Found, events: Events) -> Resolved | None:
    """``resolve`` for who has looked the source up already."""
    if found.value is None and src.dependency_name in events:
        raise Rejected(
            f"a parameter of dependency {src.dependency_name!r} has no value: {'; '.join(found.complaints)};"
            " give it a default with 'value', or filter such events out"
        )
    return found.value


def _set(document: bytes, dest: str, found: Resolved, raw: bool) -> bytes:
    try:
        return sjson.set_raw(document, dest, found.raw) if raw else sjson.set(document, dest, found.text)
    except LangError as error:
        raise Rejected(f"a parameter cannot be set at {dest!r}: {error.message}") from error


def apply(document: bytes, parameters: Sequence[TriggerParameter], events: Events, note: Note | None = None) -> bytes:
    """The JSON text ``document`` with all parameters set, one after the other. Raises Rejected as ``resolve`` does."""
    for parameter in parameters:
        found = look_up(parameter.src, events)
        try:
            document = _applied(document, parameter, wanted(parameter.src, found, events))
        except Rejected as error:
            if note:
                note(parameter, found, str(error))
            raise
        if note:
            note(parameter, found, "")
    return document


def _applied(document: bytes, parameter: TriggerParameter, value: Resolved | None) -> bytes:
    if value is None:
        return document
    raw = is_raw(parameter, value)
    if parameter.operation in ("append", "prepend"):
        try:
            current = gjson.compile(parameter.dest).get(Document(document))
            before = current.string()
        except LangError as error:
            raise Rejected(f"a parameter cannot be set at {parameter.dest!r}: {error.message}") from error
        if current.exists:
            joined = before + value.text if parameter.operation == "append" else value.text + before
            value, raw = _text(joined), False
    return _set(document, parameter.dest, value, raw)


def is_raw(parameter: TriggerParameter, value: Resolved) -> bool:
    """Whether the value is set as JSON. Text is always set as text, which escapes less than JSON's writers do."""
    return parameter.src.use_raw_data and not value.raw.startswith(b'"')


def apply_to(value: Json, parameters: Sequence[TriggerParameter], events: Events, note: Note | None = None) -> Json:
    """``apply`` on a JSON value; the order of its keys is kept."""
    if not parameters:
        return value
    return gojson.loads(apply(gojson.dumps(value, sort_keys=False, escape_html=False), parameters, events, note))


def payload(entries: Sequence[TriggerParameter], events: Events, note: Note | None = None) -> bytes:
    """The document that a ``payload`` list describes: empty where no entry has a value.

    The first entry without ``dest`` that has a value is the whole payload, as it stands. Upstream crashes where an entry's dependency
    has no event and no ``value``; here such an entry is skipped.
    """
    document = b""
    for entry in entries:
        found = look_up(entry.src, events)
        try:
            value = wanted(entry.src, found, events)
            if value is not None and entry.dest:
                document = _set(document, entry.dest, value, is_raw(entry, value))
        except Rejected as error:
            if note:
                note(entry, found, str(error))
            raise
        if note:
            note(entry, found, "")
        if value is not None and not entry.dest:
            return value.text.encode()
    return document
