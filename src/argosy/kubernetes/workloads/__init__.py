"""What a manifest becomes on a cluster: objects and settings in, the objects that should be there out.

Pure functions: no cluster, no file and no clock is asked, and the same input gives the same output, byte for byte. Every object is
complete (labels, owner, all fields that we decide) and ready for server-side apply as the field manager
``argosy.kubernetes.names.FIELD_MANAGER``; who applies it, and removes what is not in it any more, is the controller.
A manifest that cannot become objects raises ConfigError with a sentence for the object's status.
"""

from argosy.kubernetes.workloads._bus import claimed, event_bus
from argosy.kubernetes.workloads._bus_config import (
    bus_config,
    client_secret_name,
    installed,
    server_secret_name,
    volume_name,
)
from argosy.kubernetes.workloads._deployments import event_source, sensor
from argosy.kubernetes.workloads._owned import MANAGED, label_value
from argosy.kubernetes.workloads._runners import (
    api_secret,
    runners,
    shared_event_source,
    without_effect,
)
from argosy.kubernetes.workloads.credentials import Credentials, kept, made, renewed
from argosy.kubernetes.workloads.settings import Settings, parse

__all__ = [
    "MANAGED",
    "Credentials",
    "Settings",
    "api_secret",
    "bus_config",
    "claimed",
    "client_secret_name",
    "event_bus",
    "event_source",
    "installed",
    "kept",
    "label_value",
    "made",
    "parse",
    "renewed",
    "runners",
    "sensor",
    "server_secret_name",
    "shared_event_source",
    "volume_name",
    "without_effect",
]
