"""``argosy lint``: everything that is wrong with manifests, without running anything."""

from __future__ import annotations

import os

import click


@click.command()
@click.argument("paths", nargs=-1, metavar="PATH...", type=click.Path(exists=True, allow_dash=True))
@click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "json", "sarif", "github"]),
    default="text",
    show_default=True,
    help="How to say it: for people, for programs, for code scanners (SARIF 2.1.0), as GitHub workflow commands.",
)
@click.option(
    "--fail-on",
    type=click.Choice(["error", "warning", "info"]),
    default="error",
    show_default=True,
    help="The mildest severity that makes the exit code 1.",
)
@click.option("--strict", is_flag=True, help="The same as --fail-on warning.")
@click.option("--strict-upstream", is_flag=True, help="Warn of everything that only Argosy understands.")
@click.option("-v", "--verbose", is_flag=True, help="Show notes (severity 'info') too.")
@click.option(
    "--live",
    is_flag=True,
    help="Judge PATH together with what the cluster holds; without PATH, what the cluster holds.",
)
@click.option(
    "-n",
    "--namespace",
    default="",
    metavar="NAME",
    help="With --live: the namespace to look at, and of objects that name none. Default: the context's.",
)
@click.option(
    "-A", "--all-namespaces", "everywhere", is_flag=True, help="With --live and without PATH: all namespaces."
)
@click.option("--context", default="", metavar="NAME", help="With --live: the context of the kubeconfig to use.")
@click.option("--explain", metavar="CODE", help="Say what a code means and how to mend it, with an example, and end.")
@click.pass_context
def lint(
    ctx: click.Context,
    paths: tuple[str, ...],
    output: str,
    fail_on: str,
    strict: bool,
    strict_upstream: bool,
    verbose: bool,
    live: bool,
    namespace: str,
    everywhere: bool,
    context: str,
    explain: str | None,
) -> None:
    """Check manifests and say what is wrong, where, and what to do.

    PATH is a manifest file, a folder (read with its sub-folders: .yaml, .yml, .json, but not *.test.yaml), or
    - for standard input. Objects are checked by themselves and against each other, so give all that belong
    together, with the Secrets, WorkflowTemplates, ServiceAccounts and Roles that they use; or let --live take
    what is not among them from the cluster of the kubeconfig. Then live objects that PATH would break are named, too.

    \b
    Severities:
      error    the object does not run
      warning  it runs, probably not as meant
      info     good to know; shown with --verbose

    \b
    Examples:
      argosy lint manifests/
      argosy lint --strict --strict-upstream manifests/ more.yaml
      kustomize build . | argosy lint - -o json
      argosy lint -o sarif . > argosy.sarif
      argosy lint --live new-sensor.yaml
      argosy lint --live -A
      argosy lint --explain unknown-parameter

    Exit codes: 0 clean, 1 there are findings of the severity that --fail-on says or a worse one, 2 the call
    itself was wrong.
    """
    colour = False if os.environ.get("NO_COLOR") else None
    if explain is not None:
        _explain(explain, colour)
        return
    if not live and (namespace or everywhere or context):
        raise click.UsageError("-n, -A and --context are for --live.")
    if not paths and not live:
        raise click.UsageError("Missing argument 'PATH...'.")
    from argosy.cli._lint_formats import FORMATS, SEVERITIES, Report
    from argosy.manifests.bundle import LIVE, load

    where = ""
    if live:
        from argosy.cli._live import judged
        from argosy.cli._page import clean

        found = judged(paths, context, namespace, everywhere=everywhere)
        bundle, findings, where = found.bundle, found.findings, found.where
        for note in found.notes:
            click.echo(clean(f"note: {note}"), err=True)
    else:
        bundle = load(paths)
        findings = list(bundle.findings)
    if strict_upstream:
        from argosy.manifests.additions import additions

        findings += [one for one in additions(bundle) if not (paths and one.file.startswith(LIVE))]
    report = Report(bundle, findings, verbose or fail_on == "info", where)
    for line in FORMATS[output](report):
        click.echo(line, color=colour)
    mildest = "warning" if strict and fail_on == "error" else fail_on
    failing = SEVERITIES[: SEVERITIES.index(mildest) + 1]
    ctx.exit(1 if any(report.counted[severity] for severity in failing) else 0)


def _explain(code: str, colour: bool | None) -> None:
    from argosy.cli._lint_formats import explained
    from argosy.manifests.checks.rules import rules
    from argosy.manifests.spelling import did_you_mean

    rule = rules().get(code)
    if rule is None:
        raise click.UsageError(
            f"there is no code '{code}'{did_you_mean(code, rules()) or '; findings name theirs in []'}"
        )
    for line in explained(rule):
        click.echo(line, color=colour)
