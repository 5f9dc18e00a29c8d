"""The parts that run on a cluster, together, against a real API server: controller, webhook, pods as processes."""
