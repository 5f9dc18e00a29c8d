"""Matching: transform, filters, conditions, parameters; pure functions of the event, the manifest and the join state."""
