"""The page that says where things are says so of everything that is there."""

from __future__ import annotations

from pathlib import Path

import argosy

_ROOT = Path(argosy.__file__).parent
_PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "layout.md"


def _names(folder: Path) -> set[str]:
    files = {path.name for path in folder.glob("*.py") if not path.name.startswith("_")}
    return files | {f"{path.name}/" for path in folder.iterdir() if (path / "__init__.py").exists()}


def test_every_room_of_the_package_and_of_its_part_for_clusters_is_on_the_page() -> None:
    page = _PAGE.read_text().split()
    rooms = _names(_ROOT) | _names(_ROOT / "kubernetes")
    assert sorted(room for room in rooms if not any(word.endswith(room) for word in page)) == []
