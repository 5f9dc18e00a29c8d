"""What only Argosy understands, for those who must be able to go back: ``lint --strict-upstream``.

Kinds of trigger that are ours say so (``Trigger.ours``), fields of ours are marked ``x-argosy`` in their
models.
"""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel

from argosy import registry
from argosy.manifests._bundle import Bundle, Key
from argosy.manifests.checks._walk import each_trigger
from argosy.manifests.findings import Finding, Loc, Problem
from argosy.manifests.loading import placed
from argosy.manifests.sensor import TRIGGER_ORDER, Sensor

UPSTREAM_SOURCES = frozenset(
    "amqp azureEventsHub azureQueueStorage azureServiceBus bitbucket bitbucketserver calendar emitter "  # noqa: SIM905
    "file generic gerrit github gitlab hdfs kafka minio mns mqtt nats nsq pubSub pulsar redis redisStream "
    "resource sftp slack sns sqs storageGrid stripe webhook".split()
)
"""The 32 kinds of event source of upstream v1.9."""
_METHODS = ("", "GET", "DELETE", "PATCH", "POST", "PUT")


def additions(bundle: Bundle) -> list[Finding]:
    """A warning for every kind and field that upstream does not have or reads otherwise."""
    found: list[Finding] = []
    for source in bundle.event_sources:
        key = Key("EventSource", source.metadata.namespace, source.metadata.name)
        for event in source.events:
            loc = ("spec", event.kind)
            if event.kind not in UPSTREAM_SOURCES:
                found.append(_said(bundle, key, f"kind '{event.kind}' is Argosy's own", loc))
            found += [_said(bundle, key, text, at) for text, at in _fields(event.config, (*loc, event.name))]
    for sensor in bundle.sensors:
        key = Key("Sensor", sensor.metadata.namespace, sensor.metadata.name)
        found += [_said(bundle, key, text, at) for text, at in _sensor(sensor)]
    return found


def _sensor(sensor: Sensor) -> Iterator[tuple[str, Loc]]:
    yield from _fields(sensor.spec, ("spec",))
    for loc, trigger in each_trigger(sensor):
        plugin = registry.trigger(trigger.kind)
        if trigger.kind not in TRIGGER_ORDER or (plugin is not None and plugin.ours):
            yield f"kind '{trigger.kind}' is Argosy's own", (*loc, "template", trigger.kind)
        if trigger.config:
            yield from _fields(trigger.config, (*loc, "template", trigger.kind))
            if trigger.kind == "http" and (method := getattr(trigger.config, "method", "")) not in _METHODS:
                yield f"upstream does not know the method {method}", (*loc, "template", "http", "method")
        if trigger.retry_strategy and trigger.at_least_once is None:
            yield (
                "'retryStrategy' is followed by upstream only where atLeastOnce: true is written",
                (*loc, "retryStrategy"),
            )
        if trigger.dlq_trigger and trigger.dlq_trigger.rate_limit:
            yield "upstream does not limit the rate of a dead-letter trigger", (*loc, "dlqTrigger", "rateLimit")
        if trigger.dlq_trigger and not (trigger.at_least_once and trigger.dlq_trigger.at_least_once):
            text = "upstream wants atLeastOnce: true written out, here and in 'dlqTrigger'"
            yield text, (*loc, "dlqTrigger")


def _fields(block: object, loc: Loc) -> Iterator[tuple[str, Loc]]:
    """Every field of ours that the manifest sets, below ``block``."""
    if isinstance(block, BaseModel):
        for name in block.model_fields_set & set(type(block).model_fields):
            info = type(block).model_fields[name]
            word = info.alias or name
            if isinstance(info.json_schema_extra, dict) and info.json_schema_extra.get("x-argosy"):
                yield f"field '{word}' is Argosy's own", (*loc, word)
            yield from _fields(getattr(block, name), (*loc, word))
    elif isinstance(block, list | tuple):
        for index, item in enumerate(block):
            yield from _fields(item, (*loc, index))
    elif isinstance(block, dict):
        for word, item in block.items():
            if isinstance(item, BaseModel):
                yield from _fields(item, (*loc, word))


def _said(bundle: Bundle, key: Key, text: str, loc: Loc) -> Finding:
    problem = Problem("argosy-only", f"{text}; upstream does not run this as it stands", loc, "warning", True)
    return placed(problem, bundle.origins[key], str(key))
