"""``argosy install``: everything that an installation on a cluster consists of, to be applied."""

from __future__ import annotations

import json
import re

import click

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")


def _namespace(ctx: click.Context, parameter: click.Parameter, value: str | tuple[str, ...] | None) -> object:
    for name in (value,) if isinstance(value, str) else value or ():
        if not _NAME.fullmatch(name) or len(name) > 63:
            raise click.BadParameter(f"'{name}' is no name of a namespace: small letters, digits and -, at most 63")
    return value


@click.command()
@click.option(
    "-n",
    "--namespace",
    default="argo-events",
    show_default=True,
    callback=_namespace,
    help="Where controller and admission server run.",
)
@click.option(
    "--managed-namespace",
    "managed",
    multiple=True,
    metavar="NAMESPACE",
    callback=_namespace,
    help="Serve the objects of this namespace; may be repeated. Without it: those of --namespace.",
)
@click.option("--cluster", is_flag=True, help="Serve the objects of all namespaces.")
@click.option(
    "--without",
    multiple=True,
    type=click.Choice(["admission", "crds", "namespace"]),
    help="Leave a part out; may be repeated.",
)
@click.option("--image", metavar="IMAGE", help="The image of all pods. Default: argosy with this version as its tag.")
@click.option(
    "--mode",
    type=click.Choice(["dedicated", "shared"]),
    default="dedicated",
    show_default=True,
    help="Pods for each object, or runners that serve a namespace; for objects and namespaces that do not say it themselves.",
)
@click.option(
    "--shards",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    metavar="N",
    help="How many runners share a namespace in shared mode.",
)
@click.option(
    "--allow-shared",
    is_flag=True,
    help="Let objects and namespaces choose runners (argosy.dev/mode: shared) though --mode is dedicated. The controller may then read all "
    "Secrets of the namespaces that it serves.",
)
@click.option(
    "--runner",
    "runners",
    multiple=True,
    metavar="NAMESPACE",
    callback=_namespace,
    help="Print only an account and a role for the runners of this namespace, for a controller that may not make them. May be repeated.",
)
@click.option("-o", "--output", "form", type=click.Choice(["yaml", "json"]), default="yaml", show_default=True)
def install(
    namespace: str,
    managed: tuple[str, ...],
    cluster: bool,
    without: tuple[str, ...],
    image: str | None,
    mode: str,
    shards: int,
    allow_shared: bool,
    runners: tuple[str, ...],
    form: str,
) -> None:
    """Print what an installation on a cluster consists of.

    That is: the kinds EventBus, EventSource and Sensor, the controller, the admission server that refuses what cannot run, their service
    accounts and roles. Nothing is applied, and no cluster is asked. An installation serves its own namespace unless --managed-namespace or
    --cluster say otherwise, and may do nothing elsewhere. Applying it again changes nothing; applying what a newer version prints is the upgrade.

    The pods of event sources and sensors run as the accounts that their manifests name: 'argosy rbac' prints what those need. In shared
    mode runners act as each sensor's account; the controller gives them what the objects that they serve need, for which it needs more itself.

    \b
    Examples:
      argosy install | kubectl apply --server-side -f -
      argosy install --image images.example/argosy:0.1.0 --managed-namespace shop --managed-namespace ci
      argosy install --cluster --mode shared > install.yaml
      argosy install --runner shop | kubectl apply --server-side -f -
      argosy install --without admission -o json

    Exit codes: 0 done, 2 the call itself was wrong.
    """
    from argosy.cli._manifests import documents
    from argosy.kubernetes.install import Installation, objects, runner
    from argosy.kubernetes.install.settings import IMAGE

    if cluster and managed:
        raise click.UsageError("--cluster serves all namespaces; leave out --managed-namespace.")
    if runners:
        found = [one for where in dict.fromkeys(runners) for one in runner(where)]
    else:
        installation = Installation(
            namespace=namespace,
            managed=managed,
            cluster=cluster,
            admission="admission" not in without,
            image=image or IMAGE,
            mode=mode,
            shards=shards,
            allow_shared=allow_shared,
        )
        found = list(objects(installation, kinds="crds" not in without))
        if "namespace" in without:
            found = [one for one in found if one["kind"] != "Namespace"]
    if form == "json":
        click.echo(json.dumps({"apiVersion": "v1", "kind": "List", "items": found}, indent=2))
        return
    for text in documents(found):
        click.echo(text, nl=False)
