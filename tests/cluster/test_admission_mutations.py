"""Ten thousand changes of valid objects: the webhook answers to each, and admits nothing that the running process would refuse."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings

from tests.unit.kubernetes.asking import Object
from tests.unit.kubernetes.mutating import judged, mutated


@pytest.mark.timeout(600)
@settings(max_examples=10_000, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(item=mutated())
def test_ten_thousand_objects_that_were_changed_anyhow(item: Object) -> None:
    judged(item)
