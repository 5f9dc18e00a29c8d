"""Looks at a namespace: what its objects share. That is the token that opens the API of its pods, and the runners of the shared mode.

All of it comes with the first object that needs it, and goes with the last.
"""

from __future__ import annotations

import contextlib
import logging

from argosy.errors import Rejected
from argosy.kubernetes import workloads
from argosy.kubernetes.client import Object
from argosy.kubernetes.controller.access import runner_access
from argosy.kubernetes.controller.announcing import Said
from argosy.kubernetes.controller.desk import Desk, NotMade, place
from argosy.kubernetes.controller.serving import open_api, shards_of
from argosy.kubernetes.names import API_SECRET, RUNNER, mode_of, ours
from argosy.manifests.bundle import Key

_log = logging.getLogger("argosy.controller")
_AGAIN_SECONDS = 600.0
"""So often it is seen whether the token, which is not watched, is still there."""
_ACCESS = ("RoleBinding", "Role", "ServiceAccount")


async def look(desk: Desk, key: Key) -> float | None:
    """Bring what a namespace shares to what its objects need. Raises what the API server says."""
    name, space = key.name, desk.cluster.get("Namespace", "", key.name)
    if space is not None and space["metadata"].get("deletionTimestamp"):
        return None  # it goes with all that is in it
    there = [
        item
        for kind in ("EventSource", "Sensor")
        for item in desk.cluster.of(kind, name)
        if ours(item["metadata"]) and not item["metadata"].get("deletionTimestamp")
    ]
    shared = [item for item in there if _is_shared(desk, item, space)]
    runners = [item for item in desk.cluster.owned(key) if item["kind"] == "Deployment"]
    if there:
        await open_api(desk, name)
    if shared:
        desk.without_runners.discard(name)
        await _run(desk, name, space, shared, runners)
        return _AGAIN_SECONDS
    # What is watched goes last: whoever begins anew in between finds it and goes on from there.
    if not there:
        await _remove(desk, name, "Secret", API_SECRET)
    if runners or name not in desk.without_runners:
        for kind in _ACCESS:
            with contextlib.suppress(Rejected):  # what it may not even look at, it has not made
                await _remove(desk, name, kind, RUNNER)
    await desk.clear(runners)
    desk.without_runners.add(name)
    return _AGAIN_SECONDS if there else None


def _is_shared(desk: Desk, item: Object, space: Object | None) -> bool:
    """Whether a runner is to serve the object, or still does."""
    mode = mode_of(item["metadata"], (space or {}).get("metadata"), desk.settings().mode)
    return "shared" in (mode, (item.get("status") or {}).get("mode"))


async def _run(desk: Desk, name: str, space: Object | None, shared: list[Object], runners: list[Object]) -> None:
    settings = desk.settings()
    mode = mode_of({}, (space or {}).get("metadata"), settings.mode)
    refused: NotMade | None = None
    about = shared[0]
    try:
        await desk.bring(about, runner_access(name, shared, desk.cluster.of("EventBus", name), desk.reader))
    except NotMade as error:
        # Somebody else may have given the runners what they need.
        refused = error
        _log.warning("the runners of %s get no rights: %s", name, error, extra={"action": "runner.rights"})
        for item in shared:
            desk.announce(Said(item, "Warning", "RunnerNotEntitled", str(error)))
    wanted = workloads.runners(name, shards_of(space, settings), settings, mode)
    await desk.bring(about, wanted)
    kept = {place(item) for item in wanted}
    await desk.clear([item for item in runners if place(item) not in kept])
    if refused is not None:
        raise refused


async def _remove(desk: Desk, namespace: str, kind: str, name: str) -> None:
    found = await desk.cluster.read(kind, namespace, name)
    if found and (found["metadata"].get("labels") or {}).get("app.kubernetes.io/managed-by") == "argosy":
        await desk.clear([found])
