"""The plug-ins that these tests read manifests with."""

from tests.manifest_toys import toys

__all__ = ["toys"]
