"""Finds plug-ins by the manifest's word: the files of ``argosy/sources`` and ``argosy/triggers``.

A kind's module is imported when the kind is first looked up, so a manifest that uses one kind pays for one.
Third parties add kinds by the entry points ``argosy.sources`` and ``argosy.triggers`` (name = kind, value =
the class).
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import re
from collections.abc import Callable
from functools import cache
from importlib import metadata
from typing import Any

from argosy.errors import ConfigError, ExtraMissing
from argosy.sources._base import Source, SourceConfig
from argosy.sources._raw import Raw, Wrapped
from argosy.triggers._base import Trigger


def _snake(kind: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", lambda match: "_" + match.group(1).lower(), kind)


def _camel(module: str) -> str:
    head, *rest = module.split("_")
    return head + "".join(word.capitalize() for word in rest)


@cache
def _entry_points(group: str) -> dict[str, metadata.EntryPoint]:
    return {point.name: point for point in metadata.entry_points(group=group)}


@cache
def _kinds(package: str, group: str) -> list[str]:
    module = importlib.import_module(package)
    own = [_camel(info.name) for info in pkgutil.iter_modules(module.__path__) if not info.name.startswith("_")]
    return sorted({*own, *_entry_points(group)})


def _imported(kind: str, load: Callable[[], Any]) -> Any:
    try:
        return load()
    except Exception as error:  # a plug-in's module may raise anything; the other kinds must live
        raise ConfigError(f"plug-in {kind!r} cannot be imported: {type(error).__name__}: {error}") from error


@cache
def _load(package: str, group: str, kind: str, base: type[Any]) -> type[Any] | None:
    if point := _entry_points(group).get(kind):
        found = _imported(kind, point.load)
    else:
        # Asked by list and not by import: a manifest's word is any text, and "a.b" or "argo_workflow" are
        # modules too.
        if kind not in _kinds(package, group):
            return None
        module = _imported(kind, lambda: importlib.import_module(f"{package}.{_snake(kind)}"))
        found = next(
            (
                value
                for value in vars(module).values()
                if isinstance(value, type) and issubclass(value, base) and value.__dict__.get("kind") == kind
            ),
            None,
        )
    if found is None or not issubclass(found, base) or found.kind != kind:
        raise ConfigError(f"plug-in {kind!r} in {package} has no {base.__name__} class whose kind is {kind!r}")
    plugin: type[Any] = found
    return plugin


def source_kinds() -> list[str]:
    """Every event source kind that can run here, sorted."""
    return _kinds("argosy.sources", "argosy.sources")


def trigger_kinds() -> list[str]:
    """Every trigger kind that can run here, sorted."""
    return _kinds("argosy.triggers", "argosy.triggers")


def source(kind: str) -> type[Source[Any]] | None:
    """The source class of this kind, or None if there is none."""
    return _load("argosy.sources", "argosy.sources", kind, Source)


def wrap(kind: str, config: SourceConfig, raw: Raw) -> Wrapped:
    """What the source of this kind, so configured, makes of a message as it stands upstream.

    Raises EventInvalid if the source would refuse it, ConfigError if the kind has no raw form.
    """
    plugin = source(kind)
    wrapped: Wrapped | None = plugin.wrap(config, raw) if plugin is not None else None
    if wrapped is None:
        raise ConfigError(f"events of kind {kind!r} have no raw form; give the event's data as the sensor sees it")
    return wrapped


def trigger(kind: str) -> type[Trigger[Any]] | None:
    """The trigger class of this kind, or None if there is none."""
    return _load("argosy.triggers", "argosy.triggers", kind, Trigger)


def event_type(kind: str) -> str:
    """The CloudEvents type of events of this source kind: the plug-in's own, else the kind."""
    plugin = source(kind)
    return (plugin.type if plugin else "") or kind


def require(plugin: type[Source[Any]] | type[Trigger[Any]]) -> None:
    """Raise ExtraMissing if a library that the plug-in needs is not installed."""
    for module in plugin.requires:
        try:
            found = importlib.util.find_spec(module)
        except ModuleNotFoundError:  # of a dotted name not even the package is there
            found = None
        if found is None:
            raise ExtraMissing(f"{plugin.kind!r}", plugin.extra)
