"""Tests of what is shared by all that calls AWS."""
