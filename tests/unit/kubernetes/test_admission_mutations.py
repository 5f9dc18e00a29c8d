"""Whatever is done to a valid object, the webhook answers, and admits nothing that the running process would refuse.

A few dozen changes here; ten thousand in ``tests/cluster/test_admission_mutations.py``.
"""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings

from tests.unit.kubernetes.asking import Object
from tests.unit.kubernetes.mutating import judged, mutated


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(item=mutated())
def test_an_object_that_was_changed_anyhow_is_answered_and_runs_if_it_is_admitted(item: Object) -> None:
    judged(item)
