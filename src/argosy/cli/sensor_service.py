"""``argosy sensor-service``: the container of the pods of one Sensor."""

from __future__ import annotations

from typing import Any

import click

from argosy.cli._serving import options, serve_object


@click.command("sensor-service")
@options
def sensor_service(**given: Any) -> None:
    """Run one Sensor, as its pods do.

    The controller makes these pods. The variables are upstream's: SENSOR_OBJECT holds the object and EVENTBUS_CONFIG the way to its bus, as
    JSON in base64. Secrets and ConfigMaps that it names are read where they are mounted, at each use: /argo-events/secrets/SECRET/KEY,
    /argo-events/config/NAME/KEY, and what opens the bus at /etc/eventbus/auth/auth.yaml; below ARGOSY_MOUNTS, if that is set.

    SIGTERM drains: take nothing new, finish what is under way, keep the rest on the bus.
    Exit codes: 0 drained, 1 could not run, 2 the call was wrong.
    """
    serve_object("sensor-service", "Sensor", given)
