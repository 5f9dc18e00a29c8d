"""What objects on a cluster are called and marked with: labels and annotations, upstream's words first.

Upstream's labels are kept as they are, so that tools which look for pods of an EventSource or a Sensor go on finding them
(``pkg/apis/events/v1alpha1`` and ``pkg/reconciler`` of Argo Events). What begins with ``argosy.dev/`` is ours.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Mapping
from typing import Any, Literal, cast, get_args

Mode = Literal["dedicated", "shared"]
"""Whether an object has pods of its own, or is served by the runner of its namespace."""

GROUP_VERSION = "argoproj.io/v1alpha1"

CONTROLLER = "controller"
"""The label that says which of the controllers made an object."""
EVENT_SOURCE_NAME, SENSOR_NAME, EVENT_BUS_NAME = "eventsource-name", "sensor-name", "eventbus-name"
OWNER_NAME = "owner-name"

MODE = "argosy.dev/mode"
"""Annotation of an object or of its namespace: ``dedicated`` or ``shared``."""
SHARDS = "argosy.dev/shards"
"""Annotation of a namespace: how many runners share its objects."""
RESPONSIBLE = "argosy.dev/controller"
"""Annotation of an object: whose it is. Ours where it is absent or says ``argosy``."""
OURS = "argosy"

API_SECRET, API_TOKEN_KEY = "argosy-api", "token"
"""The Secret of each namespace that opens the API of the pods there."""
RUNNER = "argosy-runner"
"""The service account of the runners of a namespace, and what their Deployments' names begin with."""
FIELD_MANAGER = "argosy-controller"
"""Who the API server records as the owner of the fields that the controller sets."""

_LONGEST = 63
_NO_LABEL = re.compile(r"[^a-z0-9-]+")


def ours(metadata: Mapping[str, Any]) -> bool:
    """Whether this object is left to Argosy's controller."""
    return (metadata.get("annotations") or {}).get(RESPONSIBLE, OURS) in ("", OURS)


def mode_of(metadata: Mapping[str, Any], namespace: Mapping[str, Any] | None, default: Mode) -> Mode:
    """How the object with this metadata is served: its own annotation counts first, then that of its namespace's metadata.
    A word that is neither of the two does not count.
    """
    for about in (metadata, namespace or {}):
        said = (about.get("annotations") or {}).get(MODE)
        if said in get_args(Mode):
            return cast(Mode, said)
    return default


def shard_of(key: str, shards: int) -> int:
    """Which of several processes has a unit: ``NAMESPACE/SENSOR``, ``NAMESPACE/EVENTSOURCE/EVENT`` or ``port NUMBER``. The same answer
    everywhere.
    """
    return zlib.crc32(key.encode()) % shards


def dns_label(text: str) -> str:
    """The text as a DNS label of at most 63 characters; one that had to be changed gets a digest, so that two texts never
    become one label.
    """
    label = _NO_LABEL.sub("-", text.lower()).strip("-")
    if label == text and len(label) <= _LONGEST:
        return label
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{label[: _LONGEST - len(digest) - 1].rstrip('-')}-{digest}".lstrip("-")
