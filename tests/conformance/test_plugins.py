"""Every kind that the registry finds says what it is, shows how it is used, and has a test that proves what
it does."""

from __future__ import annotations

from typing import ClassVar

import pytest

from argosy import registry
from tests.conformance.plugin import Plugin, PluginSuite
from tests.conformance.samples import SAMPLES


class TestSources(PluginSuite):
    suite = "SourceSuite"
    decides: ClassVar[tuple[str, ...]] = ("kind", "config", "example", "exclusive", "acknowledges")

    @pytest.fixture(params=registry.source_kinds())
    def plugin(self, request: pytest.FixtureRequest) -> Plugin:
        found = registry.source(request.param)
        assert found is not None
        return found

    def test_an_event_of_it_is_shown(self, plugin: Plugin) -> None:
        assert (SAMPLES / f"{plugin.kind}.json").exists(), "run its own test, which writes the sample, and `make docs`"


class TestTriggers(PluginSuite):
    suite = "TriggerSuite"
    decides: ClassVar[tuple[str, ...]] = ("kind", "config", "example")

    @pytest.fixture(params=registry.trigger_kinds())
    def plugin(self, request: pytest.FixtureRequest) -> Plugin:
        found = registry.trigger(request.param)
        assert found is not None
        return found
