"""The API server of ``tests.kubernetes``, shared by the tests of this folder."""

from __future__ import annotations

from tests.kubernetes.conftest import apiserver, namespace, pytest_collection_modifyitems

__all__ = ["apiserver", "namespace", "pytest_collection_modifyitems"]
