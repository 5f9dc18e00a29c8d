"""Our kinds on a test API server."""

from __future__ import annotations

from argosy.kubernetes import crds
from tests.cluster.controlling import until
from tests.kubernetes.apiserver import ApiServer

_ROOT = "/apis/argoproj.io/v1alpha1"


def serve(server: ApiServer) -> None:
    """Apply the definitions; return once the kinds are served, and told by the server's discovery, which clients ask."""
    for each in crds.definitions():
        server.apply_crd(each)
    until(
        lambda: {one["kind"] for one in server.request("GET", _ROOT)["resources"]} >= set(crds.KINDS), "kinds are told"
    )
