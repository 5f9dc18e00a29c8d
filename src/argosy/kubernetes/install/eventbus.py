"""What EventBuses are installed from, as the controller's configuration: the words of Argo Events'
``controller-config.yaml`` (``pkg/reconciler/config.go``).

Argosy needs NATS 2.10 or newer. Versions that Argo Events ships and that are older stand here all the same, so that an EventBus
which names one goes on; it gets the oldest server that serves. NATS reads what an older server has stored.
"""

from __future__ import annotations

from typing import Any

from argosy.kubernetes.workloads.settings import LIMITS

_NEWEST, _OLDEST = "2.14.2", "2.10.29"
_SERVED = (_NEWEST, "2.12.12", "2.11.8", _OLDEST)
_BEFORE = ("2.10.10", "2.9.16", "2.9.12", "2.9.1", "2.8.2", "2.8.2-alpine", "2.8.1", "2.8.1-alpine")
_EXPORTER, _RELOADER = "natsio/prometheus-nats-exporter:0.18.0", "natsio/nats-server-config-reloader:0.23.0"


def _version(name: str, server: str) -> dict[str, str]:
    alpine = name.endswith("-alpine")
    return {
        "version": name,
        "natsImage": f"nats:{server}-alpine" if alpine else f"nats:{server}",
        "metricsExporterImage": _EXPORTER,
        "configReloaderImage": _RELOADER,
        # Where the two images have their program.
        "startCommand": "nats-server" if alpine else "/nats-server",
    }


def configuration() -> dict[str, Any]:
    """The whole of it."""
    versions = [_version("latest", _NEWEST), *(_version(name, name) for name in _SERVED)]
    versions += [_version(name, _OLDEST) for name in _BEFORE]
    return {
        "eventBus": {
            "jetstream": {
                # Argo Events' say "max_file_store: 1TB", which a volume is full long before. Without a word a server keeps to three
                # quarters of its volume.
                "settings": "",
                "streamConfig": LIMITS,
                "versions": versions,
            }
        }
    }
