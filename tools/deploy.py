"""Writes ``deploy``: the kustomize bases, the Helm chart, and what monitoring is given, all from what ``argosy install`` prints.

Run by ``make docs``; a test compares the files with what this would write, so they cannot fall behind. ``deploy/crds`` is
written by ``tools/crds.py``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import deploy_chart
import deploy_dashboard
import yaml

from argosy.cli._manifests import documents
from argosy.kubernetes.install import Installation, objects
from argosy.kubernetes.install.objects import admission, admission_rights

FOLDER = Path(__file__).resolve().parents[1] / "deploy"
_NOTE = "# Written by `make docs`; changes made here are lost.\n"
_KINDS = sorted(path.name for path in (FOLDER / "crds").glob("*.yaml") if path.name != "kustomization.yaml")


def files() -> dict[Path, str]:
    """Every file and what it should hold."""
    found: dict[str, str] = {"crds/kustomization.yaml": _kustomization(_KINDS)}
    for name, installation in (
        ("namespaced", Installation(admission=False)),
        ("cluster", Installation(admission=False, cluster=True)),
    ):
        found[f"{name}/install.yaml"] = _text(objects(installation, kinds=False))
        found[f"{name}/kustomization.yaml"] = _kustomization(["../crds", "install.yaml"])
        webhook = "webhook" if name == "cluster" else f"webhook-{name}"
        found[f"{webhook}/install.yaml"] = _text([*admission_rights(installation), *admission(installation)])
        found[f"{webhook}/kustomization.yaml"] = _kustomization(["install.yaml"])
    for path, text in deploy_chart.files().items():
        found[f"chart/{path}"] = text
    for plural in _KINDS:
        found[f"chart/crds/{plural}"] = (FOLDER / "crds" / plural).read_text()
    found["monitoring/prometheusrule.yaml"] = _rules()
    found["monitoring/dashboard.json"] = deploy_dashboard.text()
    return {FOLDER / path: text for path, text in found.items()}


def _rules() -> str:
    """The alerts, for the Prometheus operator."""
    groups = yaml.safe_load((FOLDER / "monitoring" / "rules.yaml").read_text())["groups"]
    about = {"name": "argosy", "namespace": "argo-events"}
    rule = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": about,
        "spec": {"groups": groups},
    }
    return _text([rule])


def _text(found: Iterable[dict[str, Any]]) -> str:
    return _NOTE + "".join(documents(found))


def _kustomization(resources: list[str]) -> str:
    head = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"
    return _NOTE + head + "resources:\n" + "".join(f"- {one}\n" for one in resources)


def main() -> None:
    """Write them; with ``--check`` say which are old instead, and end with 1."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--check", action="store_true", help="name what is not current, and exit with 1")
    asked = parser.parse_args()
    old = {path: text for path, text in files().items() if not path.exists() or path.read_text() != text}
    if asked.check:
        sys.exit(f"not current, run `make docs`: {', '.join(map(str, old))}" if old else 0)
    for path, text in old.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main()
