"""The controller's configuration file, followed: what it says holds from the moment at which it can be read.

A file with an error changes nothing: what held before goes on, and the error is said.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from argosy.errors import ConfigError
from argosy.kubernetes.workloads import Settings, parse

_log = logging.getLogger("argosy.controller")
PLACE = Path("/etc/argo-events/controller-config.yaml")
"""Where upstream's installation mounts it."""
_LOOK_SECONDS = 5.0
_WORDS = {
    "image": ("ARGOSY_IMAGE", "ARGO_EVENTS_IMAGE"),
    "image_pull_policy": ("IMAGE_PULL_POLICY",),
}


class Configuration:
    """Settings from a file, and over it those of the call and of the environment."""

    def __init__(self, path: Path | None, over: Mapping[str, Any]) -> None:
        """``path`` None: the usual place, which may be empty. Raises ConfigError if the file cannot be used, or a named one is not there."""
        self._path = path or PLACE
        self._needed = path is not None
        self._over = dict(over)
        self._text = self._read()
        self.settings = self._parsed(self._text)

    def _read(self) -> str:
        try:
            return self._path.read_text(encoding="utf-8")
        except FileNotFoundError as error:
            if self._needed:
                raise ConfigError(f"there is no configuration file {str(self._path)!r}") from error
            return ""
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{str(self._path)!r} cannot be read: {error}") from error

    def _parsed(self, text: str) -> Settings:
        return parse(text, where=str(self._path)).model_copy(update=self._over)

    async def changed(self) -> None:
        """Return once the file says something else that can be used."""
        said = ""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                text = await asyncio.to_thread(self._read)
                if text == self._text:
                    said = ""
                    continue
                settings = self._parsed(text)
            except ConfigError as error:
                if str(error) != said:
                    said = str(error)
                    _log.error("%s; what it said before goes on", error, extra={"action": "configuration.error"})
                continue
            self._text, before = text, self.settings
            self.settings = settings
            if settings != before:
                return


def of_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """What the environment says, as fields of the settings. Raises ConfigError for a word that is none."""
    found: dict[str, Any] = {}
    for field, names in _WORDS.items():
        if said := next((environment[name] for name in names if environment.get(name)), ""):
            found[field] = said
    policies = ("Always", "IfNotPresent", "Never")
    if found.get("image_pull_policy", "Always") not in policies:
        raise ConfigError(f"IMAGE_PULL_POLICY must be one of {', '.join(policies)}")
    return found
