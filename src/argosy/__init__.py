"""Argosy: event-driven automation that loses nothing and can say why."""

__version__ = "0.1.0"
