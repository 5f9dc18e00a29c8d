"""The controller's metrics."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily

import argosy
from argosy.kubernetes.names import ours


class Metrics:
    """All metrics of one controller, in a registry of their own."""

    def __init__(self, depth: Callable[[], float], objects: Callable[[], Iterable[Mapping[str, Any]]] = tuple) -> None:
        """``depth`` counts the keys that wait, ``objects`` are those that people wrote, as they were last seen."""
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.reconciles = Counter(
            "argosy_controller_reconciles",
            "Looks at an object; result is done or failed",
            ("kind", "result"),
            registry=registry,
        )
        self.seconds = Histogram(
            "argosy_controller_reconcile_seconds",
            "How long a look at an object took",
            ("kind",),
            buckets=(0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0),
            registry=registry,
        )
        self.writes = Counter(
            "argosy_controller_writes",
            "Requests that changed something in the cluster",
            ("verb", "kind"),
            registry=registry,
        )
        self.leads = Gauge(
            "argosy_controller_leader", "1 while this process is the one that works, else 0", registry=registry
        )
        self.waiting = Gauge("argosy_controller_queue_depth", "Objects that wait to be looked at", registry=registry)
        self.waiting.set_function(depth)
        registry.register(_Failing(objects))
        build = Gauge("build_info", "What runs here", ("version", "pythonversion"), registry=registry)
        build.labels(argosy.__version__, platform.python_version()).set(1)

    async def exposition(self) -> bytes:
        """The metrics in Prometheus' text format."""
        return generate_latest(self.registry)


class _Failing:
    """The conditions of objects that are False, counted when somebody asks: there are few, and they come and go."""

    labelnames = ("kind", "namespace", "name", "condition", "reason")
    _family = ("argosy_controller_condition_false", "Conditions of objects that are False: 1 for each")

    def __init__(self, objects: Callable[[], Iterable[Mapping[str, Any]]]) -> None:
        self._objects = objects

    def describe(self) -> Iterator[Metric]:
        """The same without values, for who wants to know what there is."""
        yield GaugeMetricFamily(*self._family, labels=self.labelnames)

    def collect(self) -> Iterator[Metric]:
        """What the registry asks for."""
        family = GaugeMetricFamily(*self._family, labels=self.labelnames)
        for one in self._objects():
            about = one["metadata"]
            for condition in (one.get("status") or {}).get("conditions") or () if ours(about) else ():
                if condition.get("status") == "False":
                    what = (str(condition.get("type")), str(condition.get("reason") or ""))
                    family.add_metric((one["kind"], about.get("namespace") or "", about["name"], *what), 1)
        yield family
