"""The manifests' public face: what a set of them says, and how it is read.

``load`` reads files and folders, ``loads`` a text, ``from_objects`` what a cluster's API answered. None of
them raises for what manifests say: whatever is wrong is a Finding of the Bundle, and everything else is in
its lists.
"""

from argosy.manifests._bundle import Bundle, Key, Origin, Values, WorkflowTemplate
from argosy.manifests.findings import Finding, Severity
from argosy.manifests.loading import LIVE, from_objects, load, loads

__all__ = [
    "LIVE",
    "Bundle",
    "Finding",
    "Key",
    "Origin",
    "Severity",
    "Values",
    "WorkflowTemplate",
    "from_objects",
    "load",
    "loads",
]
