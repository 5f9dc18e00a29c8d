"""``argosy lint``: everything that is wrong with manifests, without running anything."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from argosy.manifests.bundle import Bundle, Finding


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=click.Path(exists=True, allow_dash=True))
@click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How to say it.",
)
@click.option("--strict", is_flag=True, help="Warnings count as errors.")
@click.option("--strict-upstream", is_flag=True, help="Warn of everything that only Argosy understands.")
@click.option("-v", "--verbose", is_flag=True, help="Show notes (severity 'info') too.")
@click.pass_context
def lint(
    ctx: click.Context,
    paths: tuple[str, ...],
    output: str,
    strict: bool,
    strict_upstream: bool,
    verbose: bool,
) -> None:
    """Check manifests and say what is wrong, where, and what to do.

    PATH is a manifest file, a folder (read with its sub-folders: .yaml, .yml, .json, but not *.test.yaml), or
    - for standard input. Objects are checked by themselves and against each other, so give all that belong
    together.

    \b
    Severities:
      error    the object does not run
      warning  it runs, probably not as meant
      later    a kind or field of Argo Events that this version does not run yet
      info     good to know; shown with --verbose

    \b
    Examples:
      argosy lint manifests/
      argosy lint --strict --strict-upstream manifests/ more.yaml
      kustomize build . | argosy lint - -o json

    Exit codes: 0 clean, 1 there are errors (with --strict also warnings), 2 the call itself was wrong.
    """
    from argosy.manifests.bundle import load

    bundle = load(paths)
    findings = list(bundle.findings)
    if strict_upstream:
        from argosy.manifests.additions import additions

        findings += additions(bundle)
    counted = Counter[str](finding.severity for finding in findings)
    if output == "json":
        click.echo(json.dumps(_as_json(bundle, findings, counted), indent=2))
    else:
        for finding in findings:
            if verbose or finding.severity != "info":
                click.echo(str(finding))
        click.echo(_summary(bundle, counted, verbose))
    ctx.exit(1 if counted["error"] or (strict and counted["warning"]) else 0)


def _objects(bundle: Bundle) -> dict[str, int]:
    found = Counter(key.kind for key in bundle.origins)
    return {kind: found[kind] for kind in ("EventSource", "EventBus", "Sensor")}


def _as_json(bundle: Bundle, findings: list[Finding], counted: Counter[str]) -> dict[str, object]:
    return {
        "files": len(bundle.files),
        "objects": _objects(bundle),
        "ignored": dict(sorted(bundle.ignored.items())),
        "counts": {name: counted[name] for name in ("error", "warning", "later", "info")},
        "findings": [finding.as_dict() for finding in findings],
    }


def _summary(bundle: Bundle, counted: Counter[str], verbose: bool) -> str:
    objects = [
        _many(number, kind, "es" if kind.endswith("s") else "s") for kind, number in _objects(bundle).items() if number
    ]
    what = ", ".join(objects) or "no EventSource, EventBus or Sensor"
    said = [_many(counted[name], name) for name in ("error", "warning") if counted[name]]
    if counted["later"]:
        said.append(f"{counted['later']} not run by this version")
    if counted["info"]:
        said.append(_many(counted["info"], "note") + ("" if verbose else " (--verbose shows them)"))
    return f"{_many(len(bundle.files), 'file')} with {what}: {', '.join(said) or 'clean'}"


def _many(number: int, what: str, plural: str = "s") -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}{plural}"
