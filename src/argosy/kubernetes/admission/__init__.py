"""The validating webhook: what ``argosy lint`` calls an error does not get into the cluster.

``review`` is the pure core: a question of the API server and what the cluster holds in, an answer out. ``judges`` runs it in
processes that can be killed, ``state`` keeps what the cluster holds, ``certificates`` makes and rotates what HTTPS needs, ``server``
speaks with the API server, ``configuration`` says what an API server and a service account must be given, and ``process`` is
the whole of it.
"""
