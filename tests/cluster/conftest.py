"""What the tests of this folder share: the API server of ``tests.kubernetes``, and a whole cluster on which pods run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster import whole
from tests.kubernetes.apiserver import NotThere
from tests.kubernetes.conftest import apiserver, namespace, pytest_collection_modifyitems
from tests.missing import missing

__all__ = ["apiserver", "cluster", "namespace", "pytest_collection_modifyitems"]


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[whole.Cluster]:
    """A running cluster; each test uses namespaces of its own, made by ``cluster.manager.namespace()``."""
    try:
        running = whole.running(tmp_path_factory.mktemp("cluster"))
        with running as cluster:
            yield cluster
    except NotThere as reason:
        missing(reason)
