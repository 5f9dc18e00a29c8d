"""What the controller counts of its objects' conditions."""

from __future__ import annotations

from typing import Any

from argosy.kubernetes.controller.metrics import Metrics


def sensor(name: str, annotations: dict[str, str] | None = None, **conditions: str) -> dict[str, Any]:
    told = [{"type": type_, "status": status, "reason": "Forbidden"} for type_, status in conditions.items()]
    about = {"namespace": "shop", "name": name, "annotations": annotations or {}}
    return {"kind": "Sensor", "metadata": about, "status": {"conditions": told}}


async def test_conditions_that_are_false_are_shown_while_they_are() -> None:
    # Given objects: one that lacks a right, one that is well, one that is somebody else's, one that was not looked at
    theirs = sensor("theirs", {"argosy.dev/controller": "argo-events"}, Permitted="False")
    new = {"kind": "EventBus", "metadata": {"namespace": "shop", "name": "default"}}
    objects = [sensor("pack", Permitted="False", Deployed="True"), sensor("well", Permitted="True"), theirs, new]
    metrics = Metrics(lambda: 0, lambda: objects)
    # When the metrics are asked for
    text = (await metrics.exposition()).decode()
    # Then it alone is there
    shown = [line for line in text.splitlines() if line.startswith("argosy_controller_condition_false{")]
    assert shown == [
        'argosy_controller_condition_false{condition="Permitted",kind="Sensor",name="pack",namespace="shop",reason="Forbidden"} 1.0'
    ]
    # And when the right is given, nothing is
    objects[0] = sensor("pack", Permitted="True")
    assert b"argosy_controller_condition_false{" not in await metrics.exposition()
