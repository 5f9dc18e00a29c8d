"""The field ``config``: settings of sarama, upstream's client library, in YAML, and what of them this library can follow.

Names are compared without regard to upper and lower case, as upstream reads them. Durations are texts such as ``10s``, or
nanoseconds. What nothing here answers to has no effect, and ``argosy lint`` says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import yaml

from argosy.errors import LangError
from argosy.lang import durations


def _milliseconds(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("is not a duration; write for example 10s or 500ms")
    try:
        seconds = durations.parse(value) if isinstance(value, str) else value / 1e9
    except LangError as error:
        raise ValueError(str(error)) from error
    if seconds < 0.001:
        raise ValueError("is shorter than a millisecond")
    return round(seconds * 1000)


def _size(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise ValueError("is no number of bytes above 0")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        raise ValueError("is no text")
    return str(value)


def _isolation(value: Any) -> str:
    found = {0: "read_uncommitted", 1: "read_committed"}.get(value) if isinstance(value, int) else None
    if found is None:
        raise ValueError("is neither 0 (ReadUncommitted) nor 1 (ReadCommitted)")
    return found


def _initial(value: Any) -> str:
    found = {-1: "latest", -2: "earliest"}.get(value) if isinstance(value, int) else None
    if found is None:
        raise ValueError("is neither -1 (OffsetNewest) nor -2 (OffsetOldest)")
    return found


_FOLLOWED: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "clientid": ("client_id", _text),
    "rackid": ("client_rack", _text),
    "net.readtimeout": ("request_timeout_ms", _milliseconds),
    "metadata.refreshfrequency": ("metadata_max_age_ms", _milliseconds),
    "metadata.retry.backoff": ("retry_backoff_ms", _milliseconds),
    "consumer.fetch.min": ("fetch_min_bytes", _size),
    "consumer.fetch.default": ("max_partition_fetch_bytes", _size),
    "consumer.fetch.max": ("fetch_max_bytes", _size),
    "consumer.maxwaittime": ("fetch_max_wait_ms", _milliseconds),
    "consumer.offsets.initial": ("initial", _initial),
    "consumer.isolationlevel": ("isolation_level", _isolation),
    "consumer.group.session.timeout": ("session_timeout_ms", _milliseconds),
    "consumer.group.heartbeat.interval": ("heartbeat_interval_ms", _milliseconds),
    "consumer.group.rebalance.timeout": ("rebalance_timeout_ms", _milliseconds),
    "consumer.group.instanceid": ("group_instance_id", _text),
}
FOLLOWED = ", ".join(sorted(_FOLLOWED))
"""What can be said there, in lower case."""


def read(text: str) -> tuple[dict[str, Any], list[str]]:
    """The library's settings, and the names of sarama's that have no effect. Raises ValueError."""
    try:
        document = yaml.safe_load(text) if text.strip() else {}
    except yaml.YAMLError as error:
        raise ValueError("is no YAML") from error
    if not isinstance(document, dict):
        raise ValueError("is no YAML mapping, such as 'consumer: {fetch: {min: 1}}'")
    settings: dict[str, Any] = {}
    idle: list[str] = []
    for name, value in _leaves(document, ""):
        if name.lower() not in _FOLLOWED:
            idle.append(name)
            continue
        key, convert = _FOLLOWED[name.lower()]
        try:
            settings[key] = convert(value)
        except ValueError as error:
            raise ValueError(f"has a {name!r} that {error}") from error
    return settings, idle


def _leaves(mapping: Mapping[Any, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in mapping.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
