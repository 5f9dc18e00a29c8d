"""Plug-ins are found by the manifest's word: our own files, and what others installed."""

from pathlib import Path

import pytest

from argosy import registry
from argosy.errors import ConfigError, ExtraMissing
from argosy.sources._base import Source
from tests.manifest_toys import toys

__all__ = ["toys"]


def test_the_files_are_the_catalogue() -> None:
    files = Path(registry.__file__).parent / "sources"
    names = {path.stem for path in files.glob("*.py") if not path.name.startswith("_")}
    assert {registry._snake(kind) for kind in registry.source_kinds()} == names


@pytest.mark.parametrize("kind", ["webhook", "argoWorkflow", "k8s", "log"])
def test_a_kind_of_ours_is_found_by_its_word(kind: str) -> None:
    found = registry.source(kind) or registry.trigger(kind)
    assert found is not None
    assert found.kind == kind


@pytest.mark.parametrize("word", ["", ".", "a.b", "_base", "_http", "argo_workflow", "Webhook", "os", "../log"])
def test_another_word_is_no_kind(word: str) -> None:
    assert registry.source(word) is None
    assert registry.trigger(word) is None


@pytest.mark.usefixtures("toys")
def test_an_installed_plug_in_is_a_kind_like_any_other() -> None:
    assert "toyHook" in registry.source_kinds()
    found = registry.source("toyHook")
    assert found is not None
    assert issubclass(found, Source)


@pytest.mark.usefixtures("toys")
def test_a_plug_in_that_cannot_be_imported_is_named() -> None:
    with pytest.raises(ConfigError, match="'toyBroken' cannot be imported: ModuleNotFoundError"):
        registry.source("toyBroken")


@pytest.mark.parametrize("module", ["argosy_no_such_library", "argosy_no_such_package.part"])
def test_a_missing_library_is_named_with_its_command(module: str) -> None:
    plugin = registry.source("webhook")
    assert plugin is not None
    needy = type("Needy", (plugin,), {"requires": (module,), "extra": "needy"})
    with pytest.raises(ExtraMissing, match=r"pip install 'argosy\[needy\]'"):
        registry.require(needy)
