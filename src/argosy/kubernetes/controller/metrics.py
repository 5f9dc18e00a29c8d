"""The controller's metrics."""

from __future__ import annotations

import platform
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

import argosy


class Metrics:
    """All metrics of one controller, in a registry of their own."""

    def __init__(self, depth: Callable[[], float]) -> None:
        """``depth`` counts the keys that wait."""
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
        build = Gauge("build_info", "What runs here", ("version", "pythonversion"), registry=registry)
        build.labels(argosy.__version__, platform.python_version()).set(1)

    async def exposition(self) -> bytes:
        """The metrics in Prometheus' text format."""
        return generate_latest(self.registry)
