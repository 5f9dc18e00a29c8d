"""What a person may ask of a running system: one file a topic, each with its ``OPERATIONS``, served by ``argosy.runtime.api``."""
