"""Every code that a finding can have: what it means, why it matters, and how to mend it.

The one registry of codes. ``argosy lint --explain CODE``, the page ``docs/reference/lint.md`` and the rules of
the SARIF output are read from it. Codes are stable: one may be added, none is renamed. A code's example is
the file ``examples/CODE.yaml``, in which each finding stands on a line marked ``# <- CODE``; a test proves
that lint finds just that.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources

from argosy.manifests.findings import Severity


@dataclass(frozen=True)
class Rule:
    """One code. ``severities`` are those that its findings may have, the usual one first."""

    code: str
    severities: tuple[Severity, ...]
    means: str
    why: str
    fix: str

    @property
    def example(self) -> str:
        """Manifests that have the fault, as YAML; empty where no text can show it."""
        file = resources.files(__package__).joinpath("examples", f"{self.code}.yaml")
        return file.read_text(encoding="utf-8") if file.is_file() else ""


@cache
def rules() -> dict[str, Rule]:
    """Every rule by code, sorted."""
    from argosy.manifests.checks import _rules_files, _rules_objects, _rules_sensors, _rules_traps

    found = [*_rules_files.RULES, *_rules_objects.RULES, *_rules_sensors.RULES, *_rules_traps.RULES]
    return {one.code: one for one in sorted(found, key=lambda one: one.code)}


def fix(code: str) -> str:
    """What to do about a finding with this code, in a sentence."""
    one = rules().get(code)
    return one.fix if one else ""
