"""Where secrets come from: Secret manifests, a mounted folder, the environment; in this order. Values are never logged.

A folder holds ``<namespace>/<secret>/<key>`` or ``<secret>/<key>`` (what Kubernetes mounts). A variable is called
``ARGOSY_SECRET_<SECRET>_<KEY>``, upper case, with everything that is no letter or digit as ``_``; ``ARGOSY_CONFIG_…`` for ConfigMaps.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from argosy.errors import SecretMissing
from argosy.manifests.fields import ConfigMapKeySelector, SecretKeySelector

Values = Mapping[tuple[str, str], Mapping[str, str]]
"""(namespace, name) to key to text."""


def _variable(kind: str, name: str, key: str) -> str:
    return f"ARGOSY_{kind}_" + re.sub(r"[^A-Z0-9]", "_", f"{name}_{key}".upper())


class Secrets:
    """Looks secrets and config maps up, each time anew, so that a rotated value is seen. ``update`` replaces the manifests' part."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._secrets: Values = {}
        self._config_maps: Values = {}

    def update(self, secrets: Values, config_maps: Values) -> None:
        """Take the values of newly loaded manifests in place of the former ones."""
        self._secrets = secrets
        self._config_maps = config_maps

    def secret(self, namespace: str, selector: SecretKeySelector) -> str:
        """The secret's text, one trailing newline cut. Raises SecretMissing with all places that were looked at."""
        return self._find(namespace, selector.name, selector.key, "Secret", "SECRET", self._secrets)

    def config_map(self, namespace: str, selector: ConfigMapKeySelector) -> str:
        """As ``secret``, for ConfigMaps."""
        return self._find(namespace, selector.name, selector.key, "ConfigMap", "CONFIG", self._config_maps)

    def _find(self, namespace: str, name: str, key: str, what: str, kind: str, manifests: Values) -> str:
        held = manifests.get((namespace, name))
        if held is not None and key in held:
            return held[key].removesuffix("\n")
        places = [f"no {what} manifest {name!r} in namespace {namespace!r} has it"]
        # None of the three may lead out of the folder.
        if (
            self._folder is not None
            and not {namespace, name, key} & {"", ".", ".."}
            and "/" not in namespace + name + key
        ):
            for path in (self._folder / namespace / name / key, self._folder / name / key):
                try:
                    return path.read_text().removesuffix("\n")
                except OSError as error:
                    places.append(f"{path}: {error.strerror}")
                except ValueError:
                    places.append(f"{path}: is not text in UTF-8")
        variable = _variable(kind, name, key)
        if variable in os.environ:
            return os.environ[variable].removesuffix("\n")
        places.append(f"the variable {variable} is not set")
        raise SecretMissing(f"key {key!r} of {what} {name!r} cannot be found: {'; '.join(places)}")
