"""Tests against servers that are large to bring or slow to start; run by `make test-peers`."""
