"""What an API server is told about the webhook, and the page about it."""

from __future__ import annotations

import base64
from pathlib import Path

import yaml
from click.testing import CliRunner

from argosy.cli.admission import admission
from argosy.kubernetes.admission.configuration import (
    NAME,
    SECRET,
    WEBHOOKS,
    admission_cluster_rules,
    admission_own_rules,
    admission_rules,
    ca_patch,
    configuration,
    trusted,
)
from tests.examples import snippets

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "admission.md"


def test_only_whole_objects_of_ours_are_asked_about() -> None:
    made = configuration("argo-events")
    asked = set()
    for webhook in made["webhooks"]:
        assert webhook["clientConfig"] == {
            "service": {"namespace": "argo-events", "name": NAME, "path": "/validate", "port": 443}
        }
        assert (webhook["sideEffects"], webhook["matchPolicy"], webhook["timeoutSeconds"]) == ("None", "Equivalent", 10)
        assert webhook["admissionReviewVersions"] == ["v1"]
        assert "namespaceSelector" not in webhook
        for rule in webhook["rules"]:
            assert (rule["apiGroups"], rule["apiVersions"]) == (["argoproj.io"], ["v1alpha1"])
            for resource in rule["resources"]:
                asked |= {(operation, resource, webhook["failurePolicy"]) for operation in rule["operations"]}
    ours = {(verb, kind, "Fail") for verb in ("CREATE", "UPDATE") for kind in ("eventbus", "eventsources", "sensors")}
    assert asked == {*ours, ("DELETE", "eventbus", "Fail"), ("DELETE", "eventsources", "Ignore")}


def test_only_the_namespaces_that_are_served_are_asked_about() -> None:
    for webhook in configuration("argo-events", watched=["shop", "ci"])["webhooks"]:
        (chosen,) = webhook["namespaceSelector"]["matchExpressions"]
        assert chosen == {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["shop", "ci"]}


def test_whom_to_trust_is_written_into_each_webhook() -> None:
    encoded = base64.b64encode(b"PEM").decode()
    assert trusted(configuration("argo-events")) == {""}
    assert trusted(configuration("argo-events", ca_bundle="PEM")) == {encoded}
    patch = ca_patch(configuration("argo-events"), "PEM")
    assert [one["name"] for one in patch["webhooks"]] == list(WEBHOOKS)
    assert trusted(patch) == {encoded}
    # And of a webhook that somebody took out nothing is written: that would be a webhook without rules, which is refused
    fewer = configuration("argo-events")
    fewer["webhooks"] = [fewer["webhooks"][0], {"name": "others.example.com"}]
    assert [one["name"] for one in ca_patch(fewer, "PEM")["webhooks"]] == list(WEBHOOKS[:1])


def test_it_may_read_and_change_no_more_than_it_must() -> None:
    rules = [*admission_rules(), *admission_own_rules(), *admission_cluster_rules()]
    changing = [rule for rule in rules if set(rule["verbs"]) - {"get", "list", "watch"}]
    assert [(rule["resources"], rule.get("resourceNames"), rule["verbs"]) for rule in changing] == [
        (["secrets"], None, ["create"]),
        (["secrets"], [SECRET], ["get", "update"]),
        (["validatingwebhookconfigurations"], [NAME], ["get", "patch"]),
    ]
    assert not any("*" in rule["resources"] or "*" in rule["verbs"] or "*" in rule["apiGroups"] for rule in rules)


def test_the_page_calls_things_what_they_are_called() -> None:
    text = PAGE.read_text()
    (manifest,) = [one.text for one in snippets.read(PAGE) if one.mark == "parsed"]
    certificate, told = yaml.safe_load_all(manifest)
    name, namespace = certificate["metadata"]["name"], certificate["metadata"]["namespace"]
    assert told["metadata"]["name"] == f"{NAME}-{namespace}"
    assert told["metadata"]["annotations"] == {"cert-manager.io/inject-ca-from": f"{namespace}/{name}"}
    assert certificate["spec"]["dnsNames"] == [f"{NAME}.{namespace}.svc"]
    assert SECRET in text
    # And the options that it names are there
    options = {word for option in admission.params for word in option.opts}
    assert {"--cert-dir", "--seconds"} <= options


def test_namespaces_are_named_only_where_not_all_are_judged() -> None:
    done = CliRunner().invoke(admission, ["--managed-namespace", "shop"])
    assert done.exit_code == 2
    assert "--managed-namespace goes with --namespaced." in done.output
