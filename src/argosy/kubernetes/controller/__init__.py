"""The controller: brings a cluster to what EventBus, EventSource and Sensor objects say, again and again.

A watch event names an object and tells nothing else (``caches``). The name waits in a queue that holds it once (``queue``); a worker
takes it, compares what the objects want (``argosy.kubernetes.workloads``) with what is there, and writes the difference (``reconciling``
leads to ``buses``, ``serving`` and ``namespaces``; what they do in the cluster they do at the ``desk``). Beside it the pods are asked how they
are (``polling``), and people are told what happened (``announcing``).

Nothing that matters is remembered between two looks, so it is the same whether events come twice, in another order or not at all, and whether
the process died between any two writes. ``process`` runs it all; ``rules`` says which rights it needs.
"""
