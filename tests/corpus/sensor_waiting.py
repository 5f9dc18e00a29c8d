"""Which sensors of the corpus are not fired, or not all of their triggers, each with the reason. It must shrink: a test looks
whether each entry is still true.
"""

from __future__ import annotations

from collections.abc import Mapping

_NO_URL = "'serverURL' has no effect"
UNREADABLE: Mapping[str, str] = {
    "tutorials/09-http-trigger/sensor-01.yaml": _NO_URL,
    "tutorials/09-http-trigger/sensor-02.yaml": _NO_URL,
}
"""Examples that Argo Events itself does not take any more, by what lint says of them."""

SILENT: Mapping[str, str] = {
    "sensors/filter-with-context.yaml": "its filter wants events of 'custom-webhook', and its dependency those of 'webhook'",
}
"""Examples that can be read and never fire."""

LATER: Mapping[str, str] = {
    "tutorials/03-trigger-sources/sensor-git.yaml:workflow-trigger": "sshKeyPath is no field any more, and no server lets in without a key",
}
"""Triggers that end otherwise than done."""


def not_fired() -> dict[str, str]:
    """The examples that are not fired as a whole."""
    return {**UNREADABLE, **SILENT}
