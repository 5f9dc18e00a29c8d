"""Events out of files, for commands that look at what would happen: CloudEvents, bare data, or what a sender sends."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from argosy import event as events
from argosy.errors import ArgosyError, ConfigError, EventInvalid, LangError
from argosy.event import Event
from argosy.lang import gojson
from argosy.manifests._yaml import Fault, documents
from argosy.manifests.spelling import did_you_mean
from argosy.sources._raw import Raw

if TYPE_CHECKING:
    from argosy.manifests.bundle import Bundle
    from argosy.manifests.eventsource import EventSpec

_MOST_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Naming:
    """What the files do not say themselves. ``source`` and ``name`` are the event's; empty where the files are CloudEvents."""

    source: str = ""
    name: str = ""
    raw: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    method: str = ""
    query: str = ""
    time: str = ""


def read_events(files: Sequence[str], naming: Naming, bundle: Bundle) -> list[Event]:
    """The events of all files in order; ``-`` is standard input.

    Raises ConfigError or EventInvalid, with the file named, for what cannot be an event.
    """
    found: list[Event] = []
    for file in files:
        content = _content(file)
        try:
            if naming.raw:
                found.append(_wrapped(content, naming, bundle))
            else:
                for text in _documents(content):
                    found += _events(text, naming, bundle, len(found))
        except ArgosyError as error:
            raise type(error)(f"{file}: {error}") from error
    if not found:
        raise EventInvalid(f"{', '.join(files)}: there is no event in it")
    return found


def texts(file: str) -> list[bytes]:
    """The JSON documents of a file as they stand, those of a list each for itself; ``-`` is standard input.

    Raises EventInvalid or ConfigError, with the file named.
    """
    try:
        found: list[bytes] = []
        for text in _documents(_content(file)):
            found += [bytes(raw) for raw in _raws.decode(text)] if text.startswith(b"[") else [text]
    except msgspec.DecodeError as error:
        raise EventInvalid(f"{file}: {error}") from error
    except ArgosyError as error:
        raise type(error)(str(error) if str(error).startswith(f"{file}:") else f"{file}: {error}") from error
    return found


def hint(event: Event, naming: Naming, bundle: Bundle) -> str:
    """A sentence where its source would make other data of the event; empty where nothing is odd."""
    data = gojson.loads(event.data) if gojson.valid(event.data) else None
    if naming.source and isinstance(data, dict) and {"specversion", "source", "type"} <= data.keys():
        return "the data looks like a whole CloudEvent; if it is one, leave out --source, --event-name and --raw"
    spec = _spec(bundle, event.source, event.subject)
    if spec is None or naming.raw or not _has_raw_form(spec.kind):
        return ""
    if isinstance(data, dict) and "body" in data:
        return ""
    return (
        f"the data has no 'body', which every event of kind '{spec.kind}' has;"
        " if the file holds what the sender sends, add --raw"
    )


def _has_raw_form(kind: str) -> bool:
    from argosy import registry
    from argosy.sources._base import Source

    plugin = registry.source(kind)
    return plugin is not None and plugin.wrap.__func__ is not Source.wrap.__func__  # type: ignore[attr-defined]


def _content(file: str) -> bytes:
    try:
        if file == "-":
            content = sys.stdin.buffer.read(_MOST_BYTES + 1)
        else:
            with Path(file).open("rb") as stream:
                content = stream.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from error
    if len(content) > _MOST_BYTES:
        raise EventInvalid(f"{file}: is larger than {_MOST_BYTES // 2**20} MiB; no event is")
    return content


def _documents(content: bytes) -> list[bytes]:
    """The JSON texts in it, as they stand: one, several (JSON lines), or YAML documents as JSON."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise EventInvalid("it is not text in UTF-8; for a message of bytes add --raw") from error
    if text.lstrip()[:1] in ("{", "[") and (found := _json_texts(text)) is not None:
        return found
    read = []
    for document in documents(text):
        if isinstance(document, Fault):
            raise EventInvalid(
                f"it is neither JSON nor YAML: line {document.line}, column {document.column}: {document.message}"
            )
        read.append(gojson.dumps(document.value, sort_keys=False))
    return read


def _json_texts(text: str) -> list[bytes] | None:
    decoder, at, found = json.JSONDecoder(), 0, []
    while at < len(text):
        try:
            _, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            return None
        found.append(text[at:end].encode())
        at = end + len(text[end:]) - len(text[end:].lstrip())
    return found


_raws = msgspec.json.Decoder(list[msgspec.Raw])


def _events(text: bytes, naming: Naming, bundle: Bundle, before: int) -> list[Event]:
    if naming.source:
        return [_made(text, naming, bundle, f"event-{before + 1}")]
    if text.startswith(b"["):
        each = [bytes(raw) for raw in _raws.decode(text)]
        return [_cloud_event(one, naming, bundle, before + number) for number, one in enumerate(each, 1)]
    return [_cloud_event(text, naming, bundle, before + 1)]


def _cloud_event(text: bytes, naming: Naming, bundle: Bundle, number: int) -> Event:
    try:
        head = gojson.loads(text)
    except LangError as error:
        raise EventInvalid(f"event {number} is not JSON: {error.message}") from error
    if (
        not isinstance(head, dict)
        or not isinstance(head.get("source"), str)
        or not isinstance(head.get("subject"), str)
    ):
        raise EventInvalid(
            f"event {number} is no CloudEvent: it has no 'source' (the EventSource) and 'subject' (the event's name)."
            " If the file is an event's data, say whose: --from SOURCE/EVENT."
            " If it is what the sender sends, add --raw"
        )
    missing = {
        "id": f"event-{number}",
        "type": _type(bundle, head["source"], head["subject"]),
        "time": naming.time or _now(),
    }
    extra = {name: value for name, value in missing.items() if not head.get(name)}
    if extra:
        kept = {name: value for name, value in head.items() if name not in extra}
        if "data" in kept:  # its text is kept as it stands: a parameter may copy part of it
            kept["data"] = msgspec.Raw(msgspec.json.decode(text, type=dict[str, msgspec.Raw])["data"])
        text = msgspec.json.encode({**kept, **extra})
    return events.decode(text)


def _made(data: bytes, naming: Naming, bundle: Bundle, id: str) -> Event:
    name = naming.name or _only_event(bundle, naming.source)
    kind = _type(bundle, naming.source, name)
    return Event(id=id, source=naming.source, subject=name, type=kind, time=naming.time or _now(), data=data)


def _wrapped(body: bytes, naming: Naming, bundle: Bundle) -> Event:
    name = naming.name or _only_event(bundle, naming.source)
    spec = _spec(bundle, naming.source, name)
    if spec is None:
        known = [one.metadata.name for one in bundle.event_sources]
        near = did_you_mean(naming.source, known) if naming.source not in known else ""
        raise ConfigError(
            f"--raw needs the EventSource manifest that wraps it, and event '{naming.source}/{name}' is not among"
            f" these manifests{near}"
        )
    from argosy import registry

    data, id = registry.wrap(spec.kind, spec.config, Raw(body, naming.headers, naming.method, naming.query))
    return _made(data, Naming(naming.source, name, time=naming.time), bundle, id or "event-1")


def _only_event(bundle: Bundle, source: str) -> str:
    """The name of the source's event where it has one only."""
    names = {name for (_, known), declared in bundle.declared.items() if known == source for name in declared}
    listened = {
        one.event_name for sensor in bundle.sensors for one in sensor.dependencies if one.event_source_name == source
    }
    names = names or listened
    if len(names) == 1:
        return names.pop()
    if not names:
        known = sorted({name for _, name in bundle.declared})
        near = did_you_mean(source, known) or (f"; there is {', '.join(known)}" if known else "")
        raise ConfigError(
            f"no EventSource and no sensor here names '{source}'{near}. If it is right, give --event-name"
        )
    raise ConfigError(f"'{source}' has several events: {', '.join(sorted(names))}; say which with --event-name")


def _spec(bundle: Bundle, source: str, name: str) -> EventSpec | None:
    for one in bundle.event_sources:
        for spec in one.events if one.metadata.name == source else ():
            if spec.name == name:
                return spec
    return None


def _type(bundle: Bundle, source: str, name: str) -> str:
    from argosy import registry

    spec = _spec(bundle, source, name)
    return registry.event_type(spec.kind) if spec else "unknown"


def _now() -> str:
    from argosy.clock import SystemClock

    return events.format_time(SystemClock().now())
