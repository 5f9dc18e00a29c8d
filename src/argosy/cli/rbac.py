"""``argosy rbac``: the rights that manifests need, and nothing beyond; compared, if one likes, with what is granted."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from argosy.kubernetes.granted import Verdict
    from argosy.kubernetes.rbac import Plan
    from argosy.manifests.bundle import Bundle


@click.command()
@click.argument("paths", nargs=-1, metavar="PATH...", type=click.Path(exists=True, allow_dash=True))
@click.option(
    "-o",
    "--output",
    "form",
    type=click.Choice(["table", "yaml", "json"]),
    default="table",
    show_default=True,
    help="Who needs what; manifests to apply; both for programs.",
)
@click.option(
    "--check", is_flag=True, help="Compare with the Roles and bindings among PATH, and say what is missing or too much."
)
@click.option("--live", is_flag=True, help="Ask the cluster: how kinds are spelt; with --check, what it grants.")
@click.option("--context", default="", metavar="NAME", help="With --live: the context of the kubeconfig to use.")
@click.option(
    "--cli",
    "people",
    is_flag=True,
    help="Print instead the Roles of people who look into a namespace with argosy, and who act there; bind them yourself.",
)
@click.option("-n", "--namespace", default="", metavar="NAME", help="With --cli: the namespace of these Roles.")
@click.pass_context
def rbac(
    ctx: click.Context,
    paths: tuple[str, ...],
    form: str,
    check: bool,
    live: bool,
    context: str,
    people: bool,
    namespace: str,
) -> None:
    """Print the least rights that manifests need.

    PATH is a manifest file, a folder, or - for standard input. For each EventSource and Sensor the table says which rights its service account
    needs in the Kubernetes API, and its user in RabbitMQ. '-o yaml' prints ServiceAccounts, Roles and bindings that give just that, Permissions
    of RabbitMQ's operator (or rabbitmqctl commands), and policies that let a sensor create the Workflows of its triggers and no others.

    Plurals come from CustomResourceDefinitions among PATH, from the kinds of Kubernetes and Argo, or with --live from the cluster of the
    kubeconfig; what is left is guessed, and said. --check --live needs the right to create subjectaccessreviews and to impersonate
    the service accounts; what RabbitMQ grants is not asked.

    \b
    Examples:
      argosy rbac manifests/
      argosy rbac -o yaml manifests/ | kubectl apply --server-side -f -
      argosy rbac --check manifests/ roles/
      argosy rbac --check --live -o json manifests/
      argosy rbac --cli -n openstack | kubectl apply -f -

    Exit codes: 0 done, with --check: all have exactly what they need; 1 the manifests have errors, the cluster does not answer, or with
    --check: something is missing or too much; 2 the call itself was wrong.
    """
    from argosy.cli import _rbac_page as page
    from argosy.cli._page import clean, say, say_json
    from argosy.errors import ArgosyError
    from argosy.kubernetes.granted import by_manifests
    from argosy.kubernetes.rbac import plan
    from argosy.manifests.bundle import load
    from argosy.manifests.checks._needs import kinds_of

    if people:
        if paths or check or live:
            raise click.UsageError("--cli stands alone: it is about people, not about manifests.")
        return _of_people(namespace)
    if namespace:
        raise click.UsageError("-n is for --cli; manifests say their namespaces.")
    if context and not live:
        raise click.UsageError("--context is for --live.")
    if not paths:
        raise click.UsageError("Missing argument 'PATH...'.")
    if check and form == "yaml":
        raise click.UsageError("--check says what it found as a table or as JSON; leave out -o yaml.")
    bundle = load(paths)
    if faults := [str(one) for one in bundle.findings if one.severity == "error"]:
        for fault in faults:
            click.echo(clean(fault), err=True)
        click.echo("nothing is said of rights while the manifests have errors; see: argosy lint", err=True)
        ctx.exit(1)
    try:
        if live:
            needed, verdicts = asyncio.run(_asked(bundle, check, context))
        else:
            needed = plan(bundle, kinds_of(bundle))
            verdicts = by_manifests(needed.holders, bundle) if check else []
    except ArgosyError as error:
        click.echo(clean(f"the cluster cannot be asked: {error}"), err=True)
        ctx.exit(1)
    if check:
        found = page.compared(needed, verdicts, live=live)
        if form == "json":
            say_json(found)
        else:
            for line in page.as_lines(found):
                say(line)
        ctx.exit(0 if found["exact"] else 1)
    if form == "json":
        say_json(page.as_json(needed))
        return None
    for line in page.as_yaml(needed) if form == "yaml" else page.as_table(needed):
        click.echo(line) if form == "yaml" else say(line)
    for note in page.notes(needed):
        click.echo(clean(f"note: {note}"), err=True)
    return None


def _of_people(namespace: str) -> None:
    from argosy.cli._manifests import documents
    from argosy.kubernetes.people import roles

    click.echo("".join(documents(roles(namespace))), nl=False)


async def _asked(bundle: Bundle, check: bool, context: str) -> tuple[Plan, list[Verdict]]:
    from argosy.kubernetes.client import Client
    from argosy.kubernetes.config import load
    from argosy.kubernetes.granted import by_cluster, served
    from argosy.kubernetes.rbac import plan

    async with Client(lambda: load(context)) as client:
        needed = plan(bundle, await served(bundle, client))
        return needed, await by_cluster(needed.holders, client) if check else []
