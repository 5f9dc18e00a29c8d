"""The validating webhook: what ``argosy lint`` calls an error does not get into the cluster.

``review`` is the pure core: a question of the API server and what the cluster holds (``known``) in, an answer out; ``others`` and ``buses``
are what it says of objects among others and of changes to a bus. ``judges`` runs it in processes that can be killed, ``state`` keeps what the
cluster holds, ``certificates`` makes what HTTPS needs and ``presenting`` shares and shows it, ``server`` speaks with the API server,
``configuration`` says what an API server and a service account must be given, and ``process`` is the whole of it.
"""
