"""A third party's plug-ins, installed as real ones are: a module and entry points on ``sys.path``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from argosy import registry

_MODULE = '''
"""``toyHook``: a toy."""
from typing import Literal
from pydantic import Field
from argosy.manifests.fields import BasicAuth, SecretKeySelector, TriggerParameter
from argosy.sources._base import Source, SourceConfig
from argosy.triggers._base import Trigger, TriggerConfig


class HookConfig(SourceConfig):
    endpoint: str
    port: str
    retries: int = 0
    auth: BasicAuth | None = None
    token: SecretKeySelector | None = None
    quick: bool = Field(False, json_schema_extra={"x-argosy": True})


class Hook(Source[HookConfig]):
    kind = "toyHook"
    config = HookConfig
    exclusive = False
    acknowledges = True
    example = "# an event source"

    async def run(self, ctx):
        raise NotImplementedError


class PollConfig(SourceConfig):
    url: str = ""


class Poll(Source[PollConfig]):
    kind = "toyPoll"
    config = PollConfig
    exclusive = True
    acknowledges = True
    example = ""

    async def run(self, ctx):
        raise NotImplementedError


class SendConfig(TriggerConfig):
    url: str = Field(min_length=1)
    method: Literal["", "GET", "POST"] = ""
    timeout: int = 0
    token: SecretKeySelector | None = None
    parameters: list[TriggerParameter] = Field(default_factory=list)
    payload: list[TriggerParameter] = Field(default_factory=list)


class Send(Trigger[SendConfig]):
    kind = "toySend"
    config = SendConfig
    ours = True
    example = "# a sensor\\n"

    async def fire(self, config, action):
        raise NotImplementedError
'''
_POINTS = """
[argosy.sources]
toyHook = argosy_toys:Hook
toyPoll = argosy_toys:Poll
toyBroken = argosy_toys_missing:Nothing

[argosy.triggers]
toySend = argosy_toys:Send
"""


def _forget() -> None:
    for cached in (registry._load, registry._entry_points, registry._kinds):
        cached.cache_clear()


@pytest.fixture
def toys(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The sources toyHook (all processes receive), toyPoll (one does), toyBroken; the trigger toySend."""
    place = tmp_path_factory.mktemp("site")
    (place / "argosy_toys.py").write_text(_MODULE)
    info = place / "argosy_toys-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: argosy-toys\nVersion: 1\n")
    (info / "entry_points.txt").write_text(_POINTS)
    monkeypatch.syspath_prepend(str(place))
    _forget()
    yield place
    sys.modules.pop("argosy_toys", None)
    _forget()
