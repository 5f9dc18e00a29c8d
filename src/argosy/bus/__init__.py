"""The event log, the action queue and buckets: store, hand out, forget. Knows no conditions."""
