"""What an installation on a cluster consists of, as data: ``argosy install``, ``deploy/`` and the chart are printed from it.

Nothing here asks a cluster. ``objects`` lists everything in an order in which it can be applied: the namespace, the kinds, who may
do what, and what runs. An installation watches its own namespace unless more are named, or all of them are meant.
"""

from argosy.kubernetes.install.objects import objects, runner
from argosy.kubernetes.install.settings import Installation

__all__ = ["Installation", "objects", "runner"]
