"""How kinds are spelt as resources (``Job`` is ``jobs``), and which live in namespaces, where no cluster is at hand to ask.

Three sources, the first that knows counts: what the caller found (CustomResourceDefinitions, a cluster's discovery), the
kinds that Kubernetes 1.35 and Argo serve themselves, and the rule that nearly all plurals follow, which is a guess.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

_SERVED: dict[str, tuple[str, str]] = {
    "": (
        "Binding ConfigMap Endpoints Event LimitRange PersistentVolumeClaim Pod PodTemplate ReplicationController"
        " ResourceQuota Secret Service ServiceAccount",
        "ComponentStatus Namespace Node PersistentVolume",
    ),
    "admissionregistration.k8s.io": (
        "",
        "MutatingWebhookConfiguration ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding"
        " ValidatingWebhookConfiguration",
    ),
    "apiextensions.k8s.io": ("", "CustomResourceDefinition"),
    "apiregistration.k8s.io": ("", "APIService"),
    "apps": ("ControllerRevision DaemonSet Deployment ReplicaSet StatefulSet", ""),
    "argoproj.io": (
        "AppProject Application ApplicationSet CronWorkflow EventBus EventSource Rollout Sensor Workflow"
        " WorkflowArtifactGCTask WorkflowEventBinding WorkflowTaskResult WorkflowTaskSet WorkflowTemplate",
        "ClusterWorkflowTemplate",
    ),
    "authentication.k8s.io": ("", "SelfSubjectReview TokenReview"),
    "authorization.k8s.io": (
        "LocalSubjectAccessReview",
        "SelfSubjectAccessReview SelfSubjectRulesReview SubjectAccessReview",
    ),
    "autoscaling": ("HorizontalPodAutoscaler", ""),
    "batch": ("CronJob Job", ""),
    "certificates.k8s.io": ("", "CertificateSigningRequest"),
    "coordination.k8s.io": ("Lease", ""),
    "discovery.k8s.io": ("EndpointSlice", ""),
    "events.k8s.io": ("Event", ""),
    "flowcontrol.apiserver.k8s.io": ("", "FlowSchema PriorityLevelConfiguration"),
    "networking.k8s.io": ("Ingress NetworkPolicy", "IPAddress IngressClass ServiceCIDR"),
    "node.k8s.io": ("", "RuntimeClass"),
    "policy": ("PodDisruptionBudget", ""),
    "rbac.authorization.k8s.io": ("Role RoleBinding", "ClusterRole ClusterRoleBinding"),
    "resource.k8s.io": ("ResourceClaim ResourceClaimTemplate", "DeviceClass ResourceSlice"),
    "scheduling.k8s.io": ("", "PriorityClass"),
    "storage.k8s.io": (
        "CSIStorageCapacity",
        "CSIDriver CSINode StorageClass VolumeAttachment VolumeAttributesClass",
    ),
}
"""By API group: the kinds that live in namespaces, and those that do not."""
_UNCHANGED = ("endpoints", "eventbus")


class Served(NamedTuple):
    """A kind as a resource."""

    plural: str
    namespaced: bool


class Kinds:
    """Resources by API group and kind. ``guessed`` collects the kinds whose plural nobody said."""

    def __init__(self, found: Mapping[tuple[str, str], Served] | None = None) -> None:
        """``found``: what is known beyond the kinds of Kubernetes and Argo, by (group, kind)."""
        self._found = {**known(), **(found or {})}
        self.guessed: set[tuple[str, str]] = set()

    def served(self, group: str, kind: str) -> Served:
        """The resource of a kind; a guess where nothing is known, and then one that lives in namespaces."""
        if found := self._found.get((group, kind)):
            return found
        self.guessed.add((group, kind))
        return Served(plural(kind), True)

    def learn(self, group: str, kind: str, served: Served) -> None:
        """What somebody who knows says of a kind counts from now on."""
        self._found[group, kind] = served

    def namespaced(self, group: str, plural: str) -> bool:
        """Whether the objects of a resource live in namespaces; so do those of a resource that is not known."""
        return not any(key[0] == group and one == Served(plural, False) for key, one in self._found.items())


def known() -> dict[tuple[str, str], Served]:
    """The kinds of Kubernetes and Argo that are known without asking."""
    return {
        (group, kind): Served(plural(kind), inside)
        for group, both in _SERVED.items()
        for kinds, inside in zip(both, (True, False), strict=True)
        for kind in kinds.split()
    }


def plural(kind: str) -> str:
    """The resource's name of a kind, as nearly all APIs form it."""
    word = kind.lower()
    if word in _UNCHANGED:
        return word
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return word + "es"
    if word.endswith("y") and word[-2:-1] not in "aeiou":
        return word[:-1] + "ies"
    return word + "s"
