"""The controller: brings a cluster to what EventBus, EventSource and Sensor objects say, again and again.

A watch event names an object and tells nothing else (``caches``). The name waits in a queue that holds it once (``queue``); a worker
takes it, compares what the objects want with what is there, and writes the difference (``reconciling``, ``buses``, ``serving``,
``namespaces``). Nothing that matters is remembered between two looks, so it is the same whether events come twice, in another order or not
at all, and whether the process died between any two writes. ``process`` runs it all; ``rules`` says which rights it needs.
"""
