"""Offline tests of manifests: ``*.test.yaml`` files, read (``loading``), played in virtual time (``simulation``), judged (``judging``).

This module imports nothing, because pytest loads ``pytest_plugin`` in every run, also where there are no such tests.
"""
