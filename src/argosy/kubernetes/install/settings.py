"""What one may choose about an installation, and what everything of it is called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import argosy

Object = dict[str, Any]

CONTROLLER, ADMISSION = "argosy-controller", "argosy-admission"
"""Deployments, Services, service accounts and roles. None is a name of Argo Events', so both may be in one namespace."""
CONFIG = "argosy-controller-config"
"""The ConfigMap with what EventBuses are installed from, in the words of Argo Events' ``argo-events-controller-config``."""
IMAGE = f"argosy:{argosy.__version__}"
USER = 9731
"""Who the processes run as; the image is made for it."""
ADMIN_PORT = 7777
"""Where every process of ours tells how it is and what it counted."""


@dataclass(frozen=True)
class Installation:
    """What one may choose. The fields are typed as a cluster wants them; the chart's templates put expressions in their place."""

    namespace: str = "argo-events"
    """Where the controller and the admission server run."""
    managed: tuple[str, ...] = ()
    """The namespaces whose objects are served; none means ``namespace`` alone."""
    cluster: bool = False
    """Whether the objects of all namespaces are served, whatever ``managed`` says."""
    admission: bool = True
    """Whether the API server asks us before it takes an object."""
    image: str = IMAGE
    pull_policy: str = "IfNotPresent"
    mode: str = "dedicated"
    """How objects are served that say nothing themselves: ``dedicated`` or ``shared``."""
    shards: int = 1
    """How many runners share a namespace in shared mode."""

    allow_shared: bool = False
    """Whether the controller may run and entitle runners though ``mode`` is dedicated: for what says ``shared`` itself."""

    @property
    def shares(self) -> bool:
        """Whether there may be runners."""
        return self.allow_shared or self.mode == "shared"

    @property
    def watched(self) -> tuple[str, ...]:
        """The namespaces that are served, each once; nothing where all are."""
        return () if self.cluster else tuple(dict.fromkeys(self.managed or (self.namespace,)))

    @property
    def webhook(self) -> str:
        """The ValidatingWebhookConfiguration, which lives in no namespace: a cluster may have several installations."""
        return ADMISSION if self.cluster else f"{ADMISSION}-{self.namespace}"


def named(name: str, namespace: str = "", *, component: str = "") -> Object:
    """Metadata of an object of ours."""
    labels = {"app.kubernetes.io/name": "argosy", "app.kubernetes.io/part-of": "argosy"}
    if component:
        labels["app.kubernetes.io/component"] = component
    return {"name": name, **({"namespace": namespace} if namespace else {}), "labels": labels}


def selecting(component: str) -> Object:
    """The labels by which the pods of a component are found; they never change."""
    return {"app.kubernetes.io/name": "argosy", "app.kubernetes.io/component": component}
