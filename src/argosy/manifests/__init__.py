"""EventSource, EventBus and Sensor manifests: models, loading with line numbers, schema."""
