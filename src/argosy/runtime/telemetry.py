"""Metrics. The nine of upstream keep their names, labels and units (reference: ``pkg/metrics/metrics.go``); ours begin with ``argosy_``."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import prometheus_client as prometheus
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, ProcessCollector, Summary
from prometheus_client.core import CounterMetricFamily

import argosy

prometheus.disable_created_metrics()  # type: ignore[no-untyped-call]

_SOURCE = ("namespace", "eventsource_name")
_EVENT = (*_SOURCE, "event_name")
_TRIGGER = ("namespace", "sensor_name", "trigger_name")


@dataclass(slots=True)
class Count:
    """One number of a ``Tally``."""

    value: int = 0


class Tally:
    """A counter that costs an addition, for what every sensor counts at every event: ``Counter`` takes a lock for each, ten times the price.

    Only one thread may add to a ``Count``.
    """

    def __init__(
        self, name: str, documentation: str, labelnames: tuple[str, ...], *, registry: CollectorRegistry
    ) -> None:
        self.labelnames = labelnames
        self._family = (name, documentation)
        self._counts: dict[tuple[str, ...], Count] = {}
        registry.register(self)

    def labels(self, *labels: str) -> Count:
        """The number with these labels."""
        return self._counts.setdefault(labels, Count())

    def collect(self) -> Iterator[Metric]:
        """What the registry asks for."""
        family = CounterMetricFamily(*self._family, labels=self.labelnames)
        for labels, count in self._counts.items():
            family.add_metric(labels, count.value)
        yield family


class Metrics:
    """All metrics of one process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)  # memory, processor time and open files, by the names that everybody uses
        self.sources_running = Gauge(
            "argo_events_event_service_running_total",
            "Events of an EventSource that receive now",
            _SOURCE,
            registry=registry,
        )
        self.sources_standing_by = Gauge(
            "argosy_sources_standing_by",
            "Events of an EventSource that another process receives now, in whose place this one would",
            _SOURCE,
            registry=registry,
        )
        self.events_sent = Counter(
            "argo_events_events_sent", "Events that the bus holds durably", _EVENT, registry=registry
        )
        self.events_sent_failed = Counter(
            "argo_events_events_sent_failed", "Events that the bus refused for good", _EVENT, registry=registry
        )
        self.events_refused = Counter(
            "argo_events_events_processing_failed", "Messages that could not become events", _EVENT, registry=registry
        )
        self.event_milliseconds = Summary(
            "argo_events_event_processing_duration_milliseconds", "From received to durable", _EVENT, registry=registry
        )
        self.actions_triggered = Counter(
            "argo_events_action_triggered", "Actions that succeeded", _TRIGGER, registry=registry
        )
        self.actions_failed = Counter(
            "argo_events_action_failed", "Attempts at actions that failed", _TRIGGER, registry=registry
        )
        self.actions_given_up = Counter(
            "argo_events_action_retries_failed", "Actions given up after the last try", _TRIGGER, registry=registry
        )
        self.action_milliseconds = Summary(
            "argo_events_action_duration_milliseconds", "One attempt at an action", _TRIGGER, registry=registry
        )
        self.source_restarts = Counter(
            "argosy_source_restarts", "How often a source ended and was started again", _EVENT, registry=registry
        )
        self.actions_shadowed = Counter(
            "argosy_actions_shadowed", "Actions that a shadow sensor would have run", _TRIGGER, registry=registry
        )
        self.pending_given_up = Counter(
            "argosy_pending_given_up",
            "Values of correlate whose collected events were given up, because more waited than maxPending allows",
            _TRIGGER,
            registry=registry,
        )
        self.events_filtered = Tally(
            "argosy_events_filtered",
            "Events that a dependency did not accept; result is rejected or failed (could not be decided)",
            ("namespace", "sensor_name", "dependency", "result"),
            registry=registry,
        )
        self.source_events_filtered = Counter(
            "argosy_source_events_filtered",
            "Events that an event source's filter dropped; result is rejected or failed (could not be decided)",
            (*_EVENT, "result"),
            registry=registry,
        )
        self.events_unreadable = Counter(
            "argosy_events_unreadable",
            "Entries of the log that are no events",
            ("namespace", "sensor_name"),
            registry=registry,
        )
        self.actions_dead_lettered = Counter(
            "argosy_actions_dead_lettered", "Actions that became dead letters", _TRIGGER, registry=registry
        )
        self.actions_waiting = Gauge(
            "argosy_actions_waiting", "Actions in the queue, waiting or held", _TRIGGER, registry=registry
        )
        self.actions_held = Gauge(
            "argosy_actions_held",
            "Actions that their trigger holds now: under way, or in line",
            _TRIGGER,
            registry=registry,
        )
        self.actions_resting = Gauge(
            "argosy_actions_resting",
            "Of the actions that are held, those that wait for their next try or for the end of their delay",
            _TRIGGER,
            registry=registry,
        )
        self.actions_oldest_seconds = Gauge(
            "argosy_actions_oldest_seconds",
            "Age of the oldest action in the queue, 0 where it is empty",
            _TRIGGER,
            registry=registry,
        )
        self.action_tries = Histogram(
            "argosy_action_tries",
            "How many tries actions took until they succeeded or were given up",
            _TRIGGER,
            buckets=(1, 2, 3, 5, 8, 13, 21),
            registry=registry,
        )
        self.trigger_suspended = Gauge(
            "argosy_trigger_suspended", "1 while a trigger is suspended, else 0", _TRIGGER, registry=registry
        )
        self.log_lag = Gauge(
            "argosy_log_lag",
            "Entries on the log from the first one that the sensor has not settled, to the end",
            ("namespace", "sensor_name"),
            registry=registry,
        )
        self.log_lag_seconds = Gauge(
            "argosy_log_lag_seconds",
            "Age of the first event on the log that the sensor has not settled, 0 where it has settled all",
            ("namespace", "sensor_name"),
            registry=registry,
        )
        self.sensors_running = Gauge(
            "argosy_sensors_running", "Sensors that read the log now", ("namespace",), registry=registry
        )
        self.objects_invalid = Gauge(
            "argosy_objects_invalid", "Manifest findings with severity error at the last load", registry=registry
        )
        build = Gauge("build_info", "What runs here", ("version", "pythonversion"), registry=registry)
        build.labels(argosy.__version__, platform.python_version()).set(1)

    def exposition(self, others: Iterable[Iterable[Metric]] = ()) -> bytes:
        """The metrics in Prometheus' text format, with those of other processes of ours (``--workers``) added in."""
        return prometheus.generate_latest(_Sum([self.registry.collect(), *others]))


_OF_THE_FIRST = ("build_info", "argosy_objects_invalid", "process_start_time_seconds", "process_max_fds")
"""What is not a count: every process says the same, and the first is believed."""


class _Sum:
    """Metrics of several processes, added up label by label; a unit runs in one of them, so mostly there is one value."""

    def __init__(self, processes: Iterable[Iterable[Metric]]) -> None:
        self._processes = processes

    def collect(self) -> Iterator[Metric]:
        families: dict[str, Metric] = {}
        values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
        for metrics in self._processes:
            for metric in metrics:
                known = metric.name in families
                families.setdefault(metric.name, metric)
                if known and metric.name in _OF_THE_FIRST:
                    continue
                sums = values.setdefault(metric.name, {})
                for sample in metric.samples:
                    key = (sample.name, tuple(sorted(sample.labels.items())))
                    sums[key] = sums.get(key, 0.0) + sample.value
        for name, metric in families.items():
            whole = Metric(name, metric.documentation, metric.type)
            for (series, labels), value in values[name].items():
                whole.add_sample(series, dict(labels), value)
            yield whole
