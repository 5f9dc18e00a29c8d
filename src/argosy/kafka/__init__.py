"""Kafka, as whatever speaks with it shares it: reaching a cluster, and Avro by a schema registry. No manifest kind is in here."""
