"""Results of a run for machines: JUnit XML, TAP 14, JSON; and for people."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

from argosy.testing.coverage import Coverage
from argosy.testing.running import Result

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold, not even escaped."""


def headline(result: Result) -> str:
    """One line of text for a result."""
    trial = result.trial
    if result.passed:
        return f"ok    {trial.file}: {trial.name}"
    return f"FAIL  {trial.file}:{trial.line}: {trial.name}"


def summary(results: Sequence[Result], seconds: float, left_out: int = 0) -> str:
    """The last line."""
    failed = sum(not result.passed for result in results)
    parts = [f"{len(results) - failed} passed"]
    if failed:
        parts.append(f"{failed} failed")
    if left_out:
        parts.append(f"{left_out} not run")
    count = len(results) + left_out
    return f"{count} {'test' if count == 1 else 'tests'}: {', '.join(parts)} in {seconds:.2f} s"


def coverage_lines(coverage: Coverage) -> list[str]:
    """What no test decided, in lines."""
    count, gaps = coverage.gaps()
    sensors = "1 sensor" if coverage.sensors == 1 else f"{coverage.sensors} sensors"
    return [f"coverage: {count - len(gaps)} of {count} points of {sensors} were decided", *(f"  {gap}" for gap in gaps)]


def as_json(results: Sequence[Result], coverage: Coverage | None) -> str:
    """All results as one JSON object."""
    told: dict[str, Any] = {
        "passed": sum(result.passed for result in results),
        "failed": sum(not result.passed for result in results),
        "tests": [
            {
                "name": result.trial.name,
                "file": result.trial.file,
                "line": result.trial.line,
                "passed": result.passed,
                "seconds": round(result.seconds, 6),
                "failures": [{"sentence": one.sentence, "lines": one.lines} for one in result.failures],
            }
            for result in results
        ],
    }
    if coverage is not None:
        count, gaps = coverage.gaps()
        told["coverage"] = {
            "points": count,
            "decided": count - len(gaps),
            "gaps": [{"file": gap.file, "line": gap.line, "sensor": gap.sensor, "what": gap.what} for gap in gaps],
        }
    return json.dumps(told, indent=2, ensure_ascii=False)


def as_junit(results: Sequence[Result]) -> str:
    """All results as JUnit XML: a test suite for each file."""
    failed = sum(not result.passed for result in results)
    total = sum(result.seconds for result in results)
    root = ElementTree.Element(
        "testsuites", name="argosy", tests=str(len(results)), failures=str(failed), errors="0", time=f"{total:.3f}"
    )
    for file in dict.fromkeys(result.trial.file for result in results):
        mine = [result for result in results if result.trial.file == file]
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=_xml(file),
            tests=str(len(mine)),
            failures=str(sum(not result.passed for result in mine)),
            errors="0",
            time=f"{sum(result.seconds for result in mine):.3f}",
        )
        for result in mine:
            case = ElementTree.SubElement(
                suite,
                "testcase",
                name=_xml(result.trial.name),
                classname=_xml(file),
                file=_xml(file),
                line=str(result.trial.line),
                time=f"{result.seconds:.3f}",
            )
            if not result.passed:
                failure = ElementTree.SubElement(case, "failure", message=_xml(result.failures[0].sentence))
                failure.text = _xml("\n".join(result.lines()))
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode")


def _xml(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)


def as_tap(results: Sequence[Result]) -> str:
    """All results as TAP version 14; failures in YAML blocks."""
    lines = ["TAP version 14", f"1..{len(results)}"]
    for number, result in enumerate(results, 1):
        # A # would begin a directive.
        name = f"{result.trial.file}: {result.trial.name}".replace("\\", "\\\\").replace("#", "\\#")
        lines.append(f"{'ok' if result.passed else 'not ok'} {number} - {' '.join(name.split())}")
        if not result.passed:
            lines += ["  ---", "  message: |", *(f"    {line}".rstrip() for line in result.lines()), "  ..."]
    return "\n".join(lines)
