"""The API server that the tests of this folder share: one per test run, a namespace of its own per test.

Where the binaries are missing, its tests are skipped with one line per file that says how to get them. In
CI they fail.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.kubernetes.apiserver import ApiServer, NotThere, find, running


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that cannot run. A mark folds into one line of the summary; a skip inside a fixture
    does not."""
    needing = [item for item in items if "apiserver" in getattr(item, "fixturenames", ())]
    if not needing or os.environ.get("CI"):
        return
    try:
        find()
    except NotThere as missing:
        for item in needing:
            item.add_marker(pytest.mark.skip(reason=str(missing)))


@pytest.fixture(scope="session")
def apiserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """A running Kubernetes API that serves Argo Workflows' kinds."""
    try:
        find()
    except NotThere as missing:
        pytest.fail(str(missing), pytrace=False)
    with running(tmp_path_factory.mktemp("apiserver")) as server:
        yield server


@pytest.fixture
def namespace(apiserver: ApiServer) -> str:
    """A namespace that this test alone uses."""
    return apiserver.namespace()
