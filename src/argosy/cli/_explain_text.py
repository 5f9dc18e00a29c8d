"""An explanation as a person reads it: the answer first, then its reasons, then what would be sent.

Colours on a terminal unless ``NO_COLOR`` is set; plain text elsewhere, where no line is broken either.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from argosy.cli._explain_values import diff, one_line, sent, short, what
from argosy.manifests.fields import Json
from argosy.sensor.explaining_stories import (
    ActionStory,
    DependencyStory,
    Explanation,
    SensorStory,
    TriggerStory,
    data_value,
    leaves,
    setting_value,
)
from argosy.sensor.rendering import Setting
from argosy.sensor.verdict import Verdict

if TYPE_CHECKING:
    from argosy.manifests.bundle import Finding

_MOST_LINES = 30
_MOST_CHANGES = 8
_LONGEST_LINE = 100
_COLOURS = {"fires": "green", "fails": "red", "waits": "yellow", "rejects": "red", "idle": "yellow", "deaf": "yellow"}
_SIGNS = {"fires": "✓", "fails": "✗", "waits": "…", "rejects": "✗", "idle": "✗", "deaf": "✗"}
_PLAIN = str.maketrans({"✓": "+", "✗": "x", "…": ".", "←": "<-", "→": "->", "·": "-"})


def write(
    told: Sequence[Explanation], *, before: int, hints: Sequence[str], wrong: Sequence[Finding], verbose: bool
) -> None:
    """Print the explanations. ``before`` counts earlier events that are not among them."""
    page = _Page(verbose)
    for number, one in enumerate(told, 1):
        if number > 1:
            page.line()
        page.explanation(one, before + number if before + len(told) > 1 else 0)
    for hint in hints:
        page.line()
        page.text(hint, first=page.ink("hint ", fg="cyan", bold=True), indent=5)
    if wrong:
        page.line()
        page.line(page.ink("These manifests have errors, so the answer may be another once they are mended:", fg="red"))
        for finding in wrong:
            page.line(f"  {finding}")


class _Page:
    def __init__(self, verbose: bool) -> None:
        self._verbose = verbose
        self._data: Json = None
        self._colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self._width = max(60, shutil.get_terminal_size().columns) if sys.stdout.isatty() else 0
        self._unicode = (sys.stdout.encoding or "").lower().replace("-", "") in ("utf8", "utf16")

    def ink(self, text: str, **style: Any) -> str:
        """``text`` in a colour, where there are colours."""
        return click.style(text, **style) if self._colour else text

    def line(self, text: str = "") -> None:
        """One line as it stands."""
        click.echo(
            text if self._unicode else text.translate(_PLAIN).encode("ascii", "replace").decode(), color=self._colour
        )

    def text(self, text: str, *, first: str = "", indent: int = 0) -> None:
        """A sentence behind ``first``; on a terminal broken between words, later lines begin at ``indent``."""
        lines = [text]
        if self._width:
            lines = textwrap.wrap(text, max(30, self._width - indent), break_on_hyphens=False) or [""]
        for number, part in enumerate(lines):
            self.line((first if number == 0 else " " * indent) + self._quotes(part))

    def _quotes(self, text: str) -> str:
        """What stands between backticks (values and paths) is what the eye looks for."""
        return re.sub(r"`[^`]*`", lambda found: self.ink(found[0], bold=True), text) if self._colour else text

    # -- an event ------------------------------------------------------------------------------------------------------

    def explanation(self, one: Explanation, number: int) -> None:
        event = one.event
        self._data = data_value(event)
        which = f"event {number}" if number else "event"
        self.line(
            self.ink(
                f"{which} {event.source}/{event.subject} · {event.type} · {event.time} · {one_line(event.id, 36)}",
                dim=True,
            )
        )
        self._answer(one)
        alone = len(one.sensors) == 1
        long = True
        for story in one.sensors:
            full = self._verbose or alone or story.result in ("fires", "fails", "waits")
            if full or long:
                self.line()
            long = full
            self._sensor(story, full=full)
        if one.others and (one.sensors or self._verbose):
            self.line()
            many = "sensor does" if len(one.others) == 1 else "sensors do"
            names = f": {', '.join(one.others)}" if self._verbose else ""
            self.line(self.ink(f"{len(one.others)} other {many} not listen to this event{names}", dim=True))

    def _answer(self, one: Explanation) -> None:
        if one.nobody:
            self.text(f"Nothing fires: {one.nobody}.", first=self.ink("✗ ", fg="red", bold=True), indent=2)
            self._near(one)
            return
        counts = {result: [each for each in one.sensors if each.result == result] for result in _SIGNS}
        if firing := counts["fires"]:
            names = ", ".join(each.name for each in firing)
            several = (
                f" ({len(firing)} of {len(one.sensors)} sensors that listen)" if len(one.sensors) > len(firing) else ""
            )
            self.line(self.ink(f"✓ Fires: {names}{several}", fg="green", bold=True))
            return
        said = {
            "fails": "would fire and fail",
            "waits": "waits for another event" if len(counts["waits"]) == 1 else "wait for another event",
            "rejects": "rejects it" if len(counts["rejects"]) == 1 else "reject it",
            "idle": "has no use for it" if len(counts["idle"]) == 1 else "have no use for it",
            "deaf": "cannot hear it",
        }
        words = [f"{len(found)} {said[result]}" for result, found in counts.items() if found]
        listen = f"of {len(one.sensors)} sensors that listen, {', '.join(words)}"
        if len(one.sensors) == 1:
            listen = f"the one sensor that listens {said[one.sensors[0].result]}"
        self.line(self.ink(f"✗ Nothing fires: {listen}", fg="red", bold=True))

    def _near(self, one: Explanation) -> None:
        for number, near in enumerate(one.near):
            word = "Did you mean " if number == 0 else "or "
            names = _some(near.sensors)
            place = self.ink(f"{near.source}/{near.name}", bold=True)
            self.line(f"  {word}{place}? {names} {'listens' if len(near.sensors) == 1 else 'listen'} to it.")
        if not one.near and one.known:
            self.line(f"  {one.others[0]} listens to:" if len(one.others) == 1 else "  The sensors listen to:")
            for each in one.known[:10]:
                self.line(f"    {each.source}/{each.name}  ({_some(each.sensors)})")
            if len(one.known) > 10:
                self.line(f"    … and {len(one.known) - 10} more events")

    # -- a sensor ------------------------------------------------------------------------------------------------------

    def _sensor(self, story: SensorStory, *, full: bool) -> None:
        colour = _COLOURS[story.result]
        sign = self.ink(_SIGNS[story.result], fg=colour, bold=True)
        head = f"{sign} {self.ink(story.name, bold=True)}"
        if story.result in ("deaf", "idle"):
            self.text(story.because, first=f"{head}: ", indent=4)
        else:
            self.line(head)
        for dependency in story.dependencies:
            self._dependency(dependency, full=full)
        for trigger in story.triggers:
            if trigger.result != "idle" or self._verbose:
                self._trigger(trigger)
        for name in story.left_out:
            self.text(f"trigger {name} is left out: this version does not run its kind", first="    ", indent=4)

    def _dependency(self, story: DependencyStory, *, full: bool) -> None:
        word = self.ink("accepts", fg="green") if story.accepted else self.ink("rejects", fg="red")
        if not full and not story.accepted:
            for reason in story.reasons:
                self._clause(reason, "  ")
            return
        passed = (
            "" if not story.accepted or list(leaves(story.verdict)) != [story.verdict] else f" ({story.verdict.reason})"
        )
        self.line(f"  {self.ink('dependency', dim=True)} {story.name} {word} the event{self.ink(passed, dim=True)}")
        if story.transformed is not None:
            self._transform(story)
        clauses = list(leaves(story.verdict))
        if story.verdict.parts or not story.accepted:
            for clause in clauses:
                self._clause(clause, "    ")
        if story.not_asked:
            self.line(self.ink(f"    · {', '.join(story.not_asked)} not asked any more", dim=True))

    def _clause(self, clause: Verdict, indent: str) -> None:
        sign = self.ink("✓", fg="green") if clause.passed else self.ink("✗", fg="red", bold=True)
        name = self.ink(clause.clause, fg=None if clause.passed else "red")
        self.text(clause.reason, first=f"{indent}{sign} {name}  ", indent=len(indent) + len(clause.clause) + 4)

    def _transform(self, story: DependencyStory) -> None:
        done = story.transformed
        assert done is not None
        program = one_line(done.program, 10**6 if self._verbose else 80)
        self.line(f"    {self.ink('transform', dim=True)} {done.language} {program}")
        if done.failure:
            # The clause says why; what the program was given says the rest.
            self.line(f"      {self.ink('given', dim=True)} {short(self._data, 90)}")
            return
        changes = diff(self._data, done.after)
        most = len(changes) if self._verbose else _MOST_CHANGES
        for sign, text in changes[:most]:
            colour = {"+": "green", "-": "red"}.get(sign)
            self.line("      " + self.ink(f"{sign} {text}", fg=colour))
        if len(changes) > most:
            self.line(self.ink(f"      … {len(changes) - most} more changes", dim=True))
        if not changes:
            self.line(self.ink("      changes nothing", dim=True))

    # -- a trigger -----------------------------------------------------------------------------------------------------

    def _trigger(self, story: TriggerStory) -> None:
        colour = _COLOURS[story.result]
        says = {
            "fires": "fires",
            "fails": "would fail",
            "waits": f"waits, for it needs {story.condition}",
            "idle": "stays idle",
        }
        does = ""
        if story.actions:
            does = " · " + what(story.actions[-1].rehearsal.kind, story.actions[-1].rehearsal.block)
            does += f" · {len(story.actions)} times" if len(story.actions) > 1 else ""
        self.line(f"  {self.ink('trigger', dim=True)} {story.name} {self.ink(says[story.result], fg=colour)}{does}")
        if story.result == "waits":
            for name in story.held:
                self.line(f"    {self.ink('✓', fg='green')} {name} is here")
            for name in story.waiting_for:
                self.line(f"    {self.ink('…', fg='yellow', bold=True)} {self.ink(name, bold=True)} has not come")
            return
        if story.result == "idle":
            self.text(story.because, first="    ", indent=4)
        for action in story.actions:
            self._action(action)

    def _action(self, action: ActionStory) -> None:
        done = action.rehearsal
        width = max([min(len(_dest(each)), 40) for each in done.trace], default=0)
        for setting in done.trace:
            self._setting(setting, width, several=len({each.parameter.src.dependency_name for each in done.trace}) > 1)
        if done.failure:
            if not any(each.failure for each in done.trace):
                self.text(done.failure, first=f"    {self.ink('✗', fg='red', bold=True)} ", indent=6)
            return
        if done.unknown:
            self.text(f"{done.unknown}, so the object is not shown", first="    · ", indent=6)
        lines, bright = sent(done)
        most = len(lines) if self._verbose or len(lines) <= _MOST_LINES + 3 else _MOST_LINES
        bar = self.ink("│", dim=True) if self._unicode else "|"
        for number, text in enumerate(lines[:most]):
            cut = text if self._verbose or len(text) <= _LONGEST_LINE else f"{text[:_LONGEST_LINE]}…"
            self.line(f"    {bar} {self.ink(cut, fg='cyan') if number in bright else cut}".rstrip())
        if len(lines) > most:
            self.line(self.ink(f"    … {len(lines) - most} more lines (-v shows them)", dim=True))

    def _setting(self, setting: Setting, width: int, *, several: bool) -> None:
        dest = f"{_dest(setting):<{width}}"
        if setting.failure:
            first = f"    {self.ink('✗', fg='red', bold=True)} {dest} "
            self.text(setting.failure, first=first, indent=6)
            return
        why = f" ({'; '.join(setting.complaints)})" if setting.complaints else ""
        found = setting_value(setting)
        if not setting.step or found is None:
            self.line(f"    {self.ink(f'· {dest}   left as it is{why}', dim=True)}")
            return
        value = one_line(found, 40) if setting.raw else short(found, 40)
        source = _source(setting) + (f" of {setting.parameter.src.dependency_name}" if several else "") + why
        self.line(
            f"    {self.ink('✓', fg='green')} {dest} ← {self.ink(value, fg='cyan')}  {self.ink(source, dim=True)}"
        )


def _dest(setting: Setting) -> str:
    place = "" if setting.place in ("object", "block") else f"{setting.place}: "
    return place + (setting.parameter.dest or "(all of it)")


def _source(setting: Setting) -> str:
    src = setting.parameter.src
    texts = {
        "dataKey": src.data_key,
        "dataTemplate": src.data_template,
        "contextKey": src.context_key,
        "contextTemplate": src.context_template,
        "value": "in the manifest",
        "event": "the whole event",
    }
    word = "" if setting.step == "event" else f"{setting.step} "
    operation = f", {setting.parameter.operation}" if setting.parameter.operation in ("append", "prepend") else ""
    return f"{word}{one_line(texts[setting.step], 60)}{operation}"


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
