"""Objects as YAML that people read and apply: texts of several lines as blocks, nothing as a reference to what stands above."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import yaml

_Base: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Dumper(_Base):  # type: ignore[misc]
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: Any, text: str) -> Any:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def documents(objects: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Each object as a document of its own, ``---`` before it."""
    for one in objects:
        yield "---\n" + yaml.dump(one, Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True)
