"""The API server that the tests of this folder share: one per test run, a namespace of its own per test."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.kubernetes.apiserver import ApiServer, NotThere, find, running


@pytest.fixture(scope="session")
def apiserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """A running Kubernetes API that serves Argo Workflows' kinds. Skips without the binaries; fails when ``CI`` is set."""
    try:
        find()
    except NotThere as missing:
        if os.environ.get("CI"):
            pytest.fail(str(missing), pytrace=False)
        pytest.skip(str(missing))
    with running(tmp_path_factory.mktemp("apiserver")) as server:
        yield server


@pytest.fixture
def namespace(apiserver: ApiServer) -> str:
    """A namespace that this test alone uses."""
    return apiserver.namespace()
