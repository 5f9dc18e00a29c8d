"""Python functions as triggers: called with the events, and with the parameters that the manifest sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from argosy.errors import Rejected


def ship(events: Mapping[str, Any], item: str, amount: float) -> str:
    """Ship the item that was ordered and paid for. What is returned is kept with the action."""
    if amount <= 0:
        raise Rejected(f"{item!r} was paid with {amount}; a payment must be above 0")
    return f"shipped {item}, paid {amount}, for order {events['order'].id[:8]}"
