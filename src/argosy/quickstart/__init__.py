"""The quickstart: manifests and the Python functions that they name. ``examples/quickstart`` is this folder."""
