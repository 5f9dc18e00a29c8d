"""What is counted of an event source that has never received."""

from __future__ import annotations

from argosy.bus.memory import MemoryBus
from argosy.clock import SystemClock
from argosy.manifests.eventsource import EventSource, parse_event_source
from argosy.runtime.secrets import Secrets
from argosy.runtime.sources import SourceDuties, SourceRunner
from argosy.runtime.telemetry import Metrics
from argosy.sources._http import HttpServers


async def test_a_source_that_has_not_started_counts_as_not_receiving() -> None:
    # Given an event source whose broker is away for ever
    block = {"url": "amqp://127.0.0.1:1", "exchangeName": "x", "exchangeType": "topic", "routingKey": "#"}
    manifest = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "EventSource",
        "metadata": {"name": "orders", "namespace": "shop"},
        "spec": {"amqp": {"placed": block}},
    }
    source, problems = parse_event_source(manifest)
    assert isinstance(source, EventSource), problems
    metrics, http = Metrics(), HttpServers()
    duties = SourceDuties(
        http=http, secrets=Secrets(), clock=SystemClock(), metrics=metrics, listening=lambda where: None
    )
    # When it is about to be run
    async with MemoryBus() as bus:
        SourceRunner(source, source.events[0], bus, duties)
    # Then it is there with 0, and an alert can see it
    labels = {"namespace": "shop", "eventsource_name": "orders"}
    assert metrics.registry.get_sample_value("argo_events_event_service_running_total", labels) == 0
