"""TLS of a source that connects to a server, as ``argosy.tls`` has it for all clients."""

from argosy.tls import client_context

__all__ = ["client_context"]
