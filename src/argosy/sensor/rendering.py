"""What an action becomes: its kind and block after parameters, its object, its payload. Pure but for ``fetch``.

The order is upstream's: ``prepare`` sets the template's parameters and reads the kind; the caller fetches the object; ``complete`` sets the
block's parameters (on the object, or on the block where there is none) and builds the payload. The running trigger goes this way with
its plug-in's ``fetch``. ``rehearse`` goes it with what can be read without a network, keeps a trace, and says where it had to stop:
that is what tests and explanations show.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from argosy.errors import ArgosyError, Rejected
from argosy.manifests.artifacts import ArtifactLocation
from argosy.manifests.fields import ConfigMapKeySelector, Json, TriggerParameter
from argosy.manifests.sensor import TriggerSpec, resolve_template
from argosy.sensor import parameters
from argosy.sensor.parameters import Events, Found, Note
from argosy.triggers import _sources
from argosy.triggers._base import TriggerConfig

_SHOWN = 200
_BOOKKEEPING = ("source", "parameters", "payload")
_SOURCES = ("dataKey", "dataTemplate", "contextKey", "contextTemplate", "value")


@dataclass(frozen=True, slots=True)
class Setting:
    """What became of one parameter.

    ``place`` says which list it stands in (``template``, ``object``, ``block``, ``payload`` or the name of another list of the block).
    ``step`` names the field of ``src`` that gave the value, or is ``event`` (the whole event), or empty where the
    parameter was skipped or failed; ``complaints`` say why earlier fields gave nothing.
    """

    place: str
    index: int
    parameter: TriggerParameter
    step: str
    value: str | None
    raw: bool
    """Whether the value was set as JSON and not as text."""
    complaints: Sequence[str] = ()
    failure: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The setting as JSON; a long value is cut."""
        src = self.parameter.src
        asked = src.model_dump(mode="json", by_alias=True, exclude_unset=True)
        out: dict[str, Any] = {
            "in": self.place,
            "index": self.index,
            "dependency": src.dependency_name,
            "source": {name: asked[name] for name in _SOURCES if name in asked},
            "dest": self.parameter.dest,
            "operation": self.parameter.operation or "overwrite",
            "state": "failed" if self.failure else "set" if self.step else "skipped",
        }
        if self.step and self.value is not None:
            out |= {"from": self.step, "value": shortened(self.value), "raw": self.raw}
        if self.complaints:
            out["complaints"] = list(self.complaints)
        if self.failure:
            out["failure"] = self.failure
        return out


def shortened(text: str, most: int = _SHOWN) -> str:
    """``text``, or its beginning and how long it is."""
    return text if len(text) <= most else f"{text[:most]}… ({len(text)} characters)"


@dataclass(frozen=True)
class Prepared:
    """An action after the template's parameters: which kind it is and that kind's block."""

    kind: str
    config: TriggerConfig


@dataclass(frozen=True)
class Rendered:
    """An action as its trigger performs it. ``resource`` is the object where the kind has one, ``payload`` the document where it has one."""

    kind: str
    config: TriggerConfig
    resource: Json | None
    payload: bytes | None


class Trace(list[Setting]):
    """Collects what became of each parameter; ``at`` gives the note-taker of one list."""

    def at(self, place: str) -> Note:
        """The note-taker of the list that ``place`` names."""
        count = 0

        def note(parameter: TriggerParameter, found: Found, failure: str) -> None:
            nonlocal count
            text = None if found.value is None else found.value.text
            raw = found.value is not None and parameters.is_raw(parameter, found.value)
            step = "" if failure else found.step
            self.append(Setting(place, count, parameter, step, text, raw, tuple(found.complaints), failure))
            count += 1

        return note


def prepare(spec: TriggerSpec, events: Events, trace: Trace | None = None) -> Prepared:
    """The kind and the block for these events.

    Raises Rejected if a parameter has no value or nothing completes the template, ConfigError if what the parameters made is wrong.
    """
    kind, config = spec.kind, spec.config
    if spec.parameters:
        note = trace.at("template") if trace is not None else None
        template = parameters.apply_to(spec.template_raw, spec.parameters, events, note)
        kind, config = resolve_template(template)
    if config is None:
        raise Rejected(f"trigger {spec.name!r} is not complete without parameters, and none completed it")
    return Prepared(kind, config)


def complete(prepared: Prepared, resource: Json | None, events: Events, trace: Trace | None = None) -> Rendered:
    """The action with the block's parameters set on ``resource`` (what ``fetch`` gave), or on the block where it is None.

    Raises Rejected if a parameter or an entry of the payload has no value, or the block is not valid with its parameters.
    """
    kind, config = prepared.kind, prepared.config
    own: Sequence[TriggerParameter] = getattr(config, "parameters", None) or []
    if resource is not None:
        note = trace.at("object") if trace is not None else None
        resource = parameters.apply_to(resource, own, events, note)
    elif own:
        config = _with_parameters(kind, config, own, events, trace.at("block") if trace is not None else None)
    entries: Sequence[TriggerParameter] | None = getattr(config, "payload", None)
    note = trace.at("payload") if trace is not None else None
    payload = None if entries is None else parameters.payload(entries, events, note)
    return Rendered(kind, config, resource, payload)


def _with_parameters(
    kind: str, config: TriggerConfig, own: Sequence[TriggerParameter], events: Events, note: Note | None
) -> TriggerConfig:
    block = config.model_dump(mode="json", by_alias=True, exclude_unset=True)
    changed = parameters.apply_to(block, own, events, note)
    try:
        return type(config).model_validate(changed)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Rejected(f"with its parameters set, {kind} is not valid: {where}: {first['msg']}") from error


ConfigMapValue = Callable[[ConfigMapKeySelector], str | None]
"""A value out of the ConfigMap manifests at hand, or None."""


@dataclass(frozen=True)
class Offline:
    """What of the world a rehearsal may read: files beside ``folder`` (None: no files), ConfigMap manifests."""

    folder: Path | None = None
    config_map: ConfigMapValue = lambda selector: None

    def fetch(self, config: TriggerConfig) -> tuple[Json | None, str]:
        """The object of the block, and why it is not there. Both empty where the kind has no object.

        Raises Rejected or TriggerError as a trigger's ``fetch`` does.
        """
        location = getattr(config, "source", None)
        if not isinstance(location, ArtifactLocation):
            return None, ""
        if getattr(config, "live_object", False) and getattr(config, "operation", "") == "update":
            return None, "the object stands in the cluster (liveObject), it is not fetched offline"
        for place in ("s3", "inline", "file", "url", "git", "configmap", "resource"):  # upstream's order
            if getattr(location, place) is not None:
                return self._from(place, location)
        raise Rejected("source names no place: give one of resource, inline, file, url, configmap")

    def _from(self, place: str, location: ArtifactLocation) -> tuple[Json | None, str]:
        if place == "inline" and location.inline is not None:
            return _sources.parse(location.inline, "source.inline"), ""
        if place == "resource":
            return copy.deepcopy(location.resource), ""
        if place == "file" and location.file is not None and self.folder is not None:
            path = self.folder / location.file.path
            if not path.is_file() and Path(location.file.path).is_absolute():
                return None, f"source.file {location.file.path!r} is not on this machine"
            return _sources.parse(_sources.read(path), f"source.file {location.file.path!r}"), ""
        if place == "configmap" and location.configmap is not None:
            selector = location.configmap
            text = self.config_map(selector)
            if text is None:
                return None, f"ConfigMap {selector.name!r} with key {selector.key!r} is not among the manifests"
            return _sources.parse(text, f"source.configmap, key {selector.key!r} of {selector.name!r}"), ""
        return None, f"source.{place} is not fetched offline"


@dataclass
class Rehearsal:
    """How far an action can be rendered without the outside world.

    ``kind`` and ``block`` are those of the manifest until the template's parameters are set. ``failure`` says why the running trigger would fail
    here too, ``unknown`` what only the outside world knows; at most one of them is not empty.
    """

    kind: str
    block: dict[str, Any]
    """The kind's block as it would run: with its parameters and computed lists, without what only says how to get there."""
    resource: Json | None = None
    payload: bytes | None = None
    trace: Trace = field(default_factory=Trace)
    failure: str = ""
    unknown: str = ""


def rehearse(spec: TriggerSpec, events: Events, offline: Offline | None = None) -> Rehearsal:
    """Render the action of ``spec`` for these events as far as it goes. Does not raise for what manifests and events say."""
    offline = offline or Offline()
    done = Rehearsal(spec.kind, shown_block(spec.config) if spec.config else dict(spec.config_raw))
    try:
        prepared = prepare(spec, events, done.trace)
        done.kind, done.block = prepared.kind, shown_block(prepared.config)
        resource, done.unknown = offline.fetch(prepared.config)
        if done.unknown:
            # The parameters' values are known all the same.
            _values(getattr(prepared.config, "parameters", None) or (), events, done.trace.at("object"))
            return done
        rendered = complete(prepared, resource, events, done.trace)
        done.block = shown_block(rendered.config)
        done.resource, done.payload = rendered.resource, rendered.payload
        for name, entries in _other_lists(rendered.config).items():
            done.block[name] = _values(entries, events, done.trace.at(name))
    except ArgosyError as error:
        done.failure, done.unknown = str(error), ""
    return done


def _values(entries: Sequence[TriggerParameter], events: Events, note: Note) -> dict[str, str]:
    """The values of a list that its kind resolves when it fires (``dynamicHeaders``), by ``dest``. Raises Rejected."""
    values = {}
    for entry in entries:
        found = parameters.look_up(entry.src, events)
        try:
            value = parameters.wanted(entry.src, found, events)
        except Rejected as error:
            note(entry, found, str(error))
            raise
        note(entry, found, "")
        if value is not None:
            values[entry.dest] = value.text
    return values


def shown_block(config: TriggerConfig) -> dict[str, Any]:
    """The block as the manifest would say it, without source, parameters and payload. References to Secrets stay references."""
    block = config.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return {name: value for name, value in block.items() if name not in _BOOKKEEPING}


def _other_lists(config: TriggerConfig) -> dict[str, list[TriggerParameter]]:
    found = {}
    for name, info in type(config).model_fields.items():
        value = getattr(config, name)
        alias = info.alias or name
        if alias not in _BOOKKEEPING and isinstance(value, list) and value and isinstance(value[0], TriggerParameter):
            found[alias] = value
    return found
