"""How ``argosy lint`` says what it found: for people, for programs, for code scanners, for GitHub's log.

Each format is a function of the Report to lines of text; which findings count and which are shown is decided
before.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from argosy import __version__
from argosy.manifests.bundle import LIVE, Bundle, Finding, Severity
from argosy.manifests.checks.rules import Rule, rules

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")
"""From the loudest."""
_COLOURS: dict[Severity, str] = {"error": "red", "warning": "yellow", "info": "blue"}
_SARIF_LEVELS: dict[Severity, str] = {"error": "error", "warning": "warning", "info": "note"}
_GITHUB_COMMANDS: dict[Severity, str] = {"error": "error", "warning": "warning", "info": "notice"}
_SARIF_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


@dataclass
class Report:
    """What was read and found. ``verbose`` shows notes to people, too; programs always get all."""

    bundle: Bundle
    findings: list[Finding]
    verbose: bool = False
    live: str = ""
    """Which part of a cluster was looked at, too."""
    counted: Counter[str] = field(init=False)

    def __post_init__(self) -> None:
        self.counted = Counter[str](finding.severity for finding in self.findings)

    @property
    def shown(self) -> list[Finding]:
        """The findings that people see."""
        return [finding for finding in self.findings if self.verbose or finding.severity != "info"]

    @property
    def objects(self) -> dict[str, int]:
        """How many objects of each of our kinds were read, those with errors included."""
        found = Counter(key.kind for key in self.bundle.origins)
        return {kind: found[kind] for kind in ("EventSource", "EventBus", "Sensor")}

    @property
    def summary(self) -> str:
        """One line: how much was read, and how it is."""
        objects = [
            _many(number, kind, "es" if kind.endswith("s") else "s") for kind, number in self.objects.items() if number
        ]
        what = ", ".join(objects) or "no EventSource, EventBus or Sensor"
        said = [_many(self.counted[name], name) for name in ("error", "warning") if self.counted[name]]
        if self.counted["info"]:
            said.append(_many(self.counted["info"], "note") + ("" if self.verbose else " (--verbose shows them)"))
        places = [_many(len(self.bundle.files), "file")] if self.bundle.files or not self.live else []
        places += [self.live] if self.live else []
        return f"{' and '.join(places)} with {what}: {', '.join(said) or 'clean'}"


def _many(number: int, what: str, plural: str = "s") -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}{plural}"


def _text(report: Report) -> Iterator[str]:
    told: set[str] = set()
    for finding in report.shown:
        severity = click.style(f"{finding.severity}:", fg=_COLOURS[finding.severity], bold=True)
        rest = str(finding)[len(finding.where) :].partition(f"{finding.severity}:")[2]
        yield (click.style(finding.where, bold=True) + ": " if finding.where else "") + severity + rest
        # Once for each code: the tenth time it only hides the next finding.
        if finding.code not in told and (rule := rules().get(finding.code)):
            yield click.style(f"    {rule.fix}", dim=True)
        told.add(finding.code)
    yield report.summary


def _json(report: Report) -> Iterator[str]:
    said = {
        "files": len(report.bundle.files),
        "objects": report.objects,
        "ignored": dict(sorted(report.bundle.ignored.items())),
        "counts": {name: report.counted[name] for name in SEVERITIES},
        "findings": [{**finding.as_dict(), "fix": _rule(finding.code).fix} for finding in report.findings],
    }
    yield json.dumps(said, indent=2)


def _github(report: Report) -> Iterator[str]:
    for finding in report.shown:
        file = "" if finding.file.startswith(LIVE) else _relative(finding.file)
        places = {"file": file, "line": finding.line, "col": finding.column, "title": finding.code}
        said = ",".join(f"{name}={_escaped(str(value), ':,')}" for name, value in places.items() if value)
        text = f"{finding.message} ({finding.path})" if finding.path else finding.message
        if finding.file.startswith(LIVE):
            text = f"{finding.file}: {text}"
        fix = _rule(finding.code).fix
        yield f"::{_GITHUB_COMMANDS[finding.severity]} {said}::{_escaped(f'{text}. {fix}' if fix else text)}"
    yield report.summary


def _escaped(text: str, also: str = "") -> str:
    for letter in "%\r\n" + also:
        text = text.replace(letter, f"%{ord(letter):02X}")
    return text


def _sarif(report: Report) -> Iterator[str]:
    codes = sorted({finding.code for finding in report.findings})
    run = {
        "tool": {
            "driver": {
                "name": "argosy",
                "semanticVersion": __version__,
                "rules": [_sarif_rule(_rule(code)) for code in codes],
            }
        },
        "columnKind": "unicodeCodePoints",
        "results": [_sarif_result(finding, codes.index(finding.code)) for finding in report.findings],
    }
    yield json.dumps({"$schema": _SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2)


def _sarif_rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.code,
        "shortDescription": {"text": rule.means},
        "fullDescription": {"text": f"{rule.means} {rule.why}"},
        "help": {"text": rule.fix},
        "defaultConfiguration": {"level": _SARIF_LEVELS[rule.severities[0]]},
    }


def _sarif_result(finding: Finding, index: int) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": finding.code,
        "ruleIndex": index,
        "level": _SARIF_LEVELS[finding.severity],
        "message": {"text": f"{finding.object}: {finding.message}" if finding.object else finding.message},
    }
    location: dict[str, Any] = {}
    if finding.file and not finding.file.startswith(LIVE):
        physical: dict[str, Any] = {"artifactLocation": {"uri": quote(_relative(finding.file))}}
        if finding.line:
            physical["region"] = {"startLine": finding.line, "startColumn": max(finding.column, 1)}
        location["physicalLocation"] = physical
    if finding.path:
        location["logicalLocations"] = [{"fullyQualifiedName": f"{finding.object}: {finding.path}", "kind": "member"}]
    if location:
        result["locations"] = [location]
    # The same finding keeps its name when lines above it change.
    about = "\0".join((finding.code, finding.object, finding.path, finding.message))
    result["partialFingerprints"] = {"argosyFinding/v1": hashlib.sha256(about.encode()).hexdigest()}
    return result


def _relative(file: str) -> str:
    """The file as seen from the working directory, which is what code hosts know; others as they are."""
    if file.startswith("<"):
        return file.strip("<>")  # standard input
    path = Path(file)
    here = Path.cwd()
    return (path.relative_to(here) if path.is_absolute() and path.is_relative_to(here) else path).as_posix()


def _rule(code: str) -> Rule:
    return rules().get(code) or Rule(code, ("error",), code, "", "")


FORMATS: dict[str, Callable[[Report], Iterator[str]]] = {
    "text": _text,
    "json": _json,
    "sarif": _sarif,
    "github": _github,
}
"""By the word for ``--output``."""


def explained(rule: Rule) -> Iterator[str]:
    """What ``--explain`` prints."""
    yield f"{click.style(rule.code, bold=True)} ({', '.join(rule.severities)})"
    yield ""
    yield rule.means
    yield rule.why
    yield ""
    yield f"To mend it: {rule.fix}"
    if rule.example:
        yield ""
        yield "An example, with the line that is meant:"
        yield ""
        for line in rule.example.splitlines():
            text, mark, code = line.partition("  # <- ")
            yield f"    {text}{click.style(mark + code, fg='red') if mark else ''}"
