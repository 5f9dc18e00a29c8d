"""``argosy test``: the tests that stand beside manifests, played offline in virtual time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from argosy.testing.coverage import Coverage
    from argosy.testing.running import Result


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=click.Path(exists=True))
@click.option("-k", "text", metavar="TEXT", default="", help="Only tests whose name or file has this text in it.")
@click.option("--update", is_flag=True, help="Write golden files anew instead of comparing them.")
@click.option("--coverage", is_flag=True, help="Say what of the sensors no test decided.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "junit", "json", "tap"]),
    default="text",
    show_default=True,
    help="How to say it.",
)
@click.option("--fail-fast", is_flag=True, help="Stop at the first failure.")
@click.pass_context
def test(
    ctx: click.Context, paths: tuple[str, ...], text: str, update: bool, coverage: bool, output: str, fail_fast: bool
) -> None:
    """Run the tests beside manifests: given events, which triggers fire, with what, or why not.

    PATH is a *.test.yaml file, or a folder in which they are looked for. Sensors run as in production, on a
    bus in memory; triggers are not fired but written down. Nothing is sent, no secret is needed, and time is
    virtual: five minutes take milliseconds.

    \b
    A test file beside the manifests:
      tests:
        - name: a name of letters is greeted
          event: {from: web/hello, raw: {name: Ada}}
          fires: [say-hello]

    \b
    Examples:
      argosy test examples/
      argosy test -k robot --coverage manifests/
      argosy test manifests/ -o junit > results.xml

    Exit codes: 0 all passed, 1 some failed, 2 the call or a file was wrong, or there was no test.
    """
    import logging
    import time

    from argosy.testing.coverage import Coverage
    from argosy.testing.loading import Loader
    from argosy.testing.running import run_all

    # What the sensors log is in the verdicts already.
    ours, quiet = logging.getLogger("argosy"), logging.NullHandler()
    ours.addHandler(quiet)
    ours.propagate = False

    def loud_again() -> None:
        ours.removeHandler(quiet)
        ours.propagate = True

    ctx.call_on_close(loud_again)
    began = time.perf_counter()
    loaded = Loader().load(paths)
    for finding in loaded.findings:
        click.echo(str(finding), err=True)
    if loaded.errors:
        click.echo("argosy test: nothing was run, because of the errors above", err=True)
        ctx.exit(2)
    trials = [one for one in loaded.trials if text.lower() in f"{one.file}: {one.name}".lower()]
    if not trials:
        where = f" with {text!r} in name or file" if text else ""
        click.echo(f"argosy test: there is no test{where} in {', '.join(paths)}", err=True)
        ctx.exit(2)
    points = Coverage() if coverage else None
    results: list[Result] = []
    for result in run_all(trials, update=update, coverage=points, fail_fast=fail_fast):
        results.append(result)
        if output == "text":
            _say(result)
    left_out = len(trials) - len(results)
    _finish(results, points, output, time.perf_counter() - began, left_out)
    ctx.exit(0 if all(result.passed for result in results) else 1)


def _say(result: Result) -> None:
    from argosy.testing.reports import headline

    line = headline(result)
    word = line[:6]
    click.echo(click.style(word, fg="green" if result.passed else "red", bold=not result.passed) + line[6:])
    for failure in result.failures:
        click.echo(f"    {failure.sentence}")
        for line in failure.shown():
            click.echo(f"      {_coloured(line)}")


def _coloured(line: str) -> str:
    """A line of a diff in its colour; ``click`` leaves colours out where the output is no terminal."""
    colour = {"-": "red", "+": "green"}.get(line[:1])
    return click.style(line, fg=colour) if colour else line


def _finish(results: list[Result], coverage: Coverage | None, output: str, seconds: float, left_out: int) -> None:
    from argosy.testing import reports

    if output == "json":
        click.echo(reports.as_json(results, coverage))
    elif output == "junit":
        click.echo(reports.as_junit(results))
    elif output == "tap":
        click.echo(reports.as_tap(results))
    if coverage is not None and output != "json":
        for line in reports.coverage_lines(coverage):
            click.echo(line, err=output != "text")
    if output == "text":
        click.echo(reports.summary(results, seconds, left_out))
