"""``argosy eventsource-service``: the container of the pods of one EventSource."""

from __future__ import annotations

from typing import Any

import click

from argosy.cli._serving import options, serve_object


@click.command("eventsource-service")
@options
def eventsource_service(**given: Any) -> None:
    """Run one EventSource, as its pods do.

    The controller makes these pods. The variables are upstream's: EVENTSOURCE_OBJECT holds the object and EVENTBUS_CONFIG the way to its
    bus, as JSON in base64. Secrets and ConfigMaps that it names are read where they are mounted, at each use:
    /argo-events/secrets/SECRET/KEY, /argo-events/config/NAME/KEY, and what opens the bus at /etc/eventbus/auth/auth.yaml; below ARGOSY_MOUNTS,
    if that is set.

    With several replicas ARGOSY_ELECT=lease (or LEADER_ELECTION=k8s) makes those that only one may receive elect one by Lease.

    SIGTERM drains: receive nothing new, finish what is under way, keep the rest on the bus.
    Exit codes: 0 drained, 1 could not run, 2 the call was wrong.
    """
    serve_object("eventsource-service", "EventSource", given)
