"""An explanation as a person reads it: the answer first, then its reasons, then what would be sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from argosy.cli._explain_values import diff, sent, short, what
from argosy.cli._page import Page, Styled, one_line
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
_MOST_ACTIONS = 10
_LONGEST_LINE = 100
_COLOURS = {"fires": "green", "fails": "red", "waits": "yellow", "rejects": "red", "idle": "yellow", "deaf": "yellow"}
_SIGNS = {"fires": "✓", "fails": "✗", "waits": "…", "rejects": "✗", "idle": "✗", "deaf": "✗"}
_ONE = {
    "fails": "would fire and fail",
    "waits": "waits for another event",
    "rejects": "rejects it",
    "idle": "has no use for it",
    "deaf": "cannot hear it",
}
_SEVERAL = {**_ONE, "waits": "wait for another event", "rejects": "reject it", "idle": "have no use for it"}


def write(
    told: Sequence[Explanation],
    *,
    before: int,
    hints: Sequence[str],
    wrong: Sequence[Finding],
    verbose: bool,
    happened: Mapping[str, str] | None = None,
) -> None:
    """Print the explanations. ``before`` counts earlier events that are not among them; ``happened`` is what became of actions, by id."""
    page = Page()
    for number, one in enumerate(told, 1):
        if number > 1:
            page.line()
        _Explained(page, one, verbose, happened or {}).write(before + number if before + len(told) > 1 else 0)
    for hint in hints:
        page.line()
        page.text(page.ink("hint ", fg="cyan", bold=True), hint, indent=5)
    if wrong:
        page.line()
        page.line(page.ink("These manifests have errors, so the answer may be another once they are mended:", fg="red"))
        for finding in wrong:
            page.line(f"  {finding}")


class _Explained:
    """One event's explanation on the page."""

    def __init__(self, page: Page, told: Explanation, verbose: bool, happened: Mapping[str, str]) -> None:
        self._page = page
        self._happened = happened
        self._told = told
        self._verbose = verbose
        self._data: Json = data_value(told.event)

    def write(self, number: int) -> None:
        told, event, page = self._told, self._told.event, self._page
        which = f"event {number}" if number else "event"
        place = f"{event.source}/{event.subject}"
        page.line(page.ink(f"{which} {place} · {event.type} · {event.time} · {one_line(event.id, 36)}", dim=True))
        if told.nobody:
            page.text(page.ink("✗ ", fg="red", bold=True), f"Nothing fires: {told.nobody}.", indent=2)
            self._near()
        elif told.dropped:
            page.text(page.ink("✗ ", fg="red", bold=True), f"Nothing fires: {told.dropped}", indent=2)
        else:
            self._answer()
        long = True
        for story in told.sensors:
            full = self._verbose or len(told.sensors) == 1 or story.result in ("fires", "fails", "waits")
            if full or long:
                page.line()
            long = full
            self._sensor(story, full=full)
        if told.others and (told.sensors or self._verbose):
            page.line()
            many = "sensor does" if len(told.others) == 1 else "sensors do"
            names = f": {', '.join(told.others)}" if self._verbose else ""
            page.line(page.ink(f"{len(told.others)} other {many} not listen to this event{names}", dim=True))

    def _answer(self) -> None:
        stories, page = self._told.sensors, self._page
        by_result = {result: [each for each in stories if each.result == result] for result in _SIGNS}
        if firing := by_result["fires"]:
            names = ", ".join(each.name for each in firing)
            several = f" ({len(firing)} of {len(stories)} sensors that listen)" if len(stories) > len(firing) else ""
            page.line(page.ink(f"✓ Fires: {names}{several}", fg="green", bold=True))
            return
        if len(stories) == 1:
            said = f"the one sensor that listens {_ONE[stories[0].result]}"
        else:
            words = [
                f"{len(found)} {(_ONE if len(found) == 1 else _SEVERAL)[result]}"
                for result, found in by_result.items()
                if found
            ]
            said = f"of {len(stories)} sensors that listen, {', '.join(words)}"
        page.line(page.ink(f"✗ Nothing fires: {said}", fg="red", bold=True))

    def _near(self) -> None:
        told, page = self._told, self._page
        for number, near in enumerate(told.near):
            place = page.ink(f"{near.source}/{near.name}", bold=True)
            listen = "listens" if len(near.sensors) == 1 else "listen"
            page.line("  Did you mean " if number == 0 else "  or ", place, f"? {_some(near.sensors)} {listen} to it.")
        if not told.near and told.known:
            page.line(f"  {told.others[0]} listens to:" if len(told.others) == 1 else "  The sensors listen to:")
            for each in told.known[:10]:
                page.line(f"    {each.source}/{each.name}  ({_some(each.sensors)})")
            if len(told.known) > 10:
                page.line(f"    … and {len(told.known) - 10} more events")

    # -- a sensor ------------------------------------------------------------------------------------------------------

    def _sensor(self, story: SensorStory, *, full: bool) -> None:
        page = self._page
        head = (
            page.ink(_SIGNS[story.result], fg=_COLOURS[story.result], bold=True),
            " ",
            page.ink(story.name, bold=True),
        )
        if story.result in ("deaf", "idle"):
            page.text(*head, ": ", story.because, indent=4)
        else:
            page.line(*head)
        for dependency in story.dependencies:
            if full or dependency.accepted:
                self._dependency(dependency)
            else:
                for reason in dependency.reasons:
                    self._clause(reason, "  ")
        for trigger in story.triggers:
            if trigger.result != "idle" or self._verbose:
                self._trigger(trigger)

    def _dependency(self, story: DependencyStory) -> None:
        page = self._page
        word = page.ink("accepts", fg="green") if story.accepted else page.ink("rejects", fg="red")
        alone = story.accepted and not story.verdict.parts
        aside = page.ink(f" ({story.verdict.reason})" if alone else "", dim=True)
        page.line("  ", page.ink("dependency", dim=True), f" {story.name} ", word, " the event", aside)
        if story.transformed is not None:
            self._transform(story)
        if not alone:
            for clause in leaves(story.verdict):
                self._clause(clause, "    ")
        if story.not_asked:
            page.line(page.ink(f"    · {', '.join(story.not_asked)} not asked", dim=True))

    def _clause(self, clause: Verdict, indent: str) -> None:
        page = self._page
        sign = page.ink("✓", fg="green") if clause.passed else page.ink("✗", fg="red", bold=True)
        name = page.ink(clause.clause, fg=None if clause.passed else "red")
        page.text(indent, sign, " ", name, "  ", clause.reason, indent=len(indent) + len(clause.clause) + 4)

    def _transform(self, story: DependencyStory) -> None:
        done, page = story.transformed, self._page
        assert done is not None
        program = one_line(done.program, 10**6 if self._verbose else 80)
        page.line("    ", page.ink("transform", dim=True), f" {done.language} {program}")
        if done.failure:
            # The clause says why; what the program was given says the rest.
            page.line("      ", page.ink("given", dim=True), f" {short(self._data, 90)}")
            return
        changes = diff(self._data, done.after)
        most = len(changes) if self._verbose else _MOST_CHANGES
        for sign, text in changes[:most]:
            page.line("      ", page.ink(f"{sign} {text}", fg={"+": "green", "-": "red"}.get(sign)))
        if len(changes) > most:
            page.line(page.ink(f"      … {len(changes) - most} more changes", dim=True))
        if not changes:
            page.line(page.ink("      changes nothing", dim=True))

    # -- a trigger -----------------------------------------------------------------------------------------------------

    def _trigger(self, story: TriggerStory) -> None:
        page = self._page
        says = {
            "fires": "fires",
            "fails": "would fail",
            "waits": f"waits, for it needs {story.condition}" if story.waiting_for else "waits for its time",
            "idle": "stays idle",
        }
        does = ""
        if story.actions:
            last = story.actions[-1].rehearsal
            times = f" · {len(story.actions)} times" if len(story.actions) > 1 else ""
            does = f" · {what(last.kind, last.block)}{times}"
        word = page.ink(says[story.result], fg=_COLOURS[story.result])
        page.line("  ", page.ink("trigger", dim=True), f" {story.name} ", word, does)
        if story.result == "waits":
            for name in story.held:
                page.line("    ", page.ink("✓", fg="green"), f" {name} is here")
            for name in story.waiting_for:
                page.line(
                    "    ", page.ink("…", fg="yellow", bold=True), " ", page.ink(name, bold=True), " has not come"
                )
            if story.timed:
                page.text("    ", story.because, indent=4)
        if story.result == "idle":
            page.text("    ", story.because, indent=4)
        shown = story.actions if self._verbose else story.actions[:_MOST_ACTIONS]
        for action in shown:
            if action.item:
                page.line("    ", page.ink("item", dim=True), f" {one_line(action.item, 60)}")
            self._action(action)
            if became := self._happened.get(action.id):
                page.text("    ", page.ink("action", dim=True), f" {action.id[:8]} ", became, indent=6)
        if len(shown) < len(story.actions):
            page.line(page.ink(f"    … {len(story.actions) - len(shown)} more actions (-v shows them)", dim=True))
        if story.approval and story.result == "fires":
            page.line("    and waits for somebody to approve it: argosy actions approve")
        if story.emits and story.result == "fires":
            page.line(f"    then {story.emits} tells what became of it")
        if story.dlq_trigger:
            page.line(f"    then its dlqTrigger {story.dlq_trigger} gets the action")

    def _action(self, action: ActionStory) -> None:
        done, page = action.rehearsal, self._page
        width = max([min(len(_dest(each)), 40) for each in done.trace], default=0)
        several = len({each.parameter.src.dependency_name for each in done.trace}) > 1
        for setting in done.trace:
            self._setting(setting, width, several=several)
        if done.failure:
            if not any(each.failure for each in done.trace):
                page.text("    ", self._cross(), " ", done.failure, indent=6)
            return
        if done.unknown:
            page.text("    · ", f"{done.unknown}, so the object is not shown", indent=6)
            return
        lines, bright = sent(done)
        most = len(lines) if self._verbose or len(lines) <= _MOST_LINES + 3 else _MOST_LINES
        for number, text in enumerate(lines[:most]):
            cut = text if self._verbose or len(text) <= _LONGEST_LINE else f"{text[:_LONGEST_LINE]}…"
            page.line("    ", page.ink("│ ", dim=True), page.ink(cut, fg="cyan") if number in bright else cut)
        if len(lines) > most:
            page.line(page.ink(f"    … {len(lines) - most} more lines (-v shows them)", dim=True))

    def _setting(self, setting: Setting, width: int, *, several: bool) -> None:
        page = self._page
        dest = f"{_dest(setting):<{width}}"
        if setting.failure:
            page.text("    ", self._cross(), f" {dest} ", setting.failure, indent=6)
            return
        why = f" ({'; '.join(setting.complaints)})" if setting.complaints else ""
        found = setting_value(setting)
        if not setting.step or found is None:
            page.line(page.ink(f"    · {dest}   left as it is{why}", dim=True))
            return
        value = one_line(found, 40) if setting.raw else short(found, 40)
        source = _source(setting) + (f" of {setting.parameter.src.dependency_name}" if several else "") + why
        sign = page.ink("✓", fg="green")
        page.line("    ", sign, f" {dest} ← ", page.ink(value, fg="cyan"), "  ", page.ink(source, dim=True))

    def _cross(self) -> Styled:
        return self._page.ink("✗", fg="red", bold=True)


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
