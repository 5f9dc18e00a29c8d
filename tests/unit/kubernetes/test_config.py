"""Which kubeconfig counts, what is read of it, and what is said where it cannot be used."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from argosy.errors import TriggerError
from argosy.kubernetes.config import load

Object = dict[str, Any]


def kubeconfig(path: Path, user: Object | None = None, cluster: Object | None = None, **more: Any) -> Path:
    document = {
        "clusters": [{"name": "c", "cluster": {"server": "https://c.example:6443", **(cluster or {})}}],
        "users": [{"name": "u", "user": user or {"token": "s3cr3t"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": "here"}}],
        "current-context": "x",
        **more,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(document))
    return path


def variables(*paths: Path, home: str = "/nowhere") -> dict[str, str]:
    return {"HOME": home, **({"KUBECONFIG": os.pathsep.join(map(str, paths))} if paths else {})}


async def test_the_named_file_comes_before_home_and_home_before_the_pod(tmp_path: Path) -> None:
    # Given all three
    home = kubeconfig(tmp_path / ".kube" / "config", cluster={"server": "https://home"})
    named = kubeconfig(tmp_path / "named", cluster={"server": "https://named"})
    pod = tmp_path / "pod"
    pod.mkdir()
    (pod / "token").write_text("t")
    for given, server in (
        (variables(named, home=str(tmp_path)), "named"),
        (variables(home=str(tmp_path)), "home"),
    ):
        access = load(environment=given, service_account=pod)
        # Then the first counts, and says so
        assert access.server == f"https://{server}"
        assert (access.namespace, await access.credentials.authorization(refused=False)) == (
            "here",
            "Bearer s3cr3t",
        )
        assert str(named if server == "named" else home) in access.origin
        assert "s3cr3t" not in repr(access)


def test_of_several_files_the_first_that_knows_a_name_wins(tmp_path: Path) -> None:
    # Given a file with the context, and others with the cluster in different words
    contexts = tmp_path / "contexts"
    contexts.write_text(
        yaml.safe_dump({"current-context": "x", "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}]})
    )
    first = kubeconfig(tmp_path / "sub" / "first", {"tokenFile": "token"}, {"server": "https://first"})
    (tmp_path / "sub" / "token").write_text("beside the file that names it")
    second = kubeconfig(tmp_path / "second", cluster={"server": "https://second"})
    access = load(environment=variables(contexts, tmp_path / "missing", first, second))
    assert (access.server, access.namespace) == ("https://first", "default")
    assert load("x", environment=variables(second)).server == "https://second"


async def test_relative_files_are_beside_the_kubeconfig_and_tokens_are_read_anew(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path / "sub" / "config", {"tokenFile": "token"})
    (tmp_path / "sub" / "token").write_text("one\n")
    credentials = load(environment=variables(path)).credentials
    assert await credentials.authorization(refused=False) == "Bearer one"
    (tmp_path / "sub" / "token").write_text("two\n")
    assert await credentials.authorization(refused=False) == "Bearer one"
    assert await credentials.authorization(refused=True) == "Bearer two"
    (tmp_path / "sub" / "token").unlink()
    with pytest.raises(TriggerError, match=r"token file .* cannot be read"):
        await credentials.authorization(refused=True)


async def test_a_user_and_a_password_are_basic(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path / "config", {"username": "u", "password": "p"})
    header = await load(environment=variables(path)).credentials.authorization(refused=False)
    assert base64.b64decode((header or "").removeprefix("Basic ")) == b"u:p"


def test_a_broken_neighbour_does_no_harm(tmp_path: Path) -> None:
    users = [{"name": "u", "user": {"token": "t"}}, {"name": "broken", "user": 7}, "nonsense"]
    assert load(environment=variables(kubeconfig(tmp_path / "config", users=users))).server


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"current-context": ""}, "has no current-context"),
        ({"current-context": "y"}, "has no entry 'y' under contexts; it has: x"),
        ({"clusters": []}, "has no entry 'c' under clusters; it has: none"),
        ({"users": None}, "has no entry 'u' under users"),
        ({"clusters": [{"name": "c", "cluster": {}}]}, "entry 'c' under clusters is not usable: .*server"),
        ({"users": [{"name": "u", "user": {"auth-provider": {}}}]}, None),
        ({"users": [{"name": "u", "user": {"auth-provider": {"name": "gcp"}}}]}, "auth-provider was removed"),
        (
            {"users": [{"name": "u", "user": {"exec": {"command": "x", "apiVersion": "v9"}}}]},
            "plug-ins of version 'v9' are not supported",
        ),
        (
            {"clusters": [{"name": "c", "cluster": {"server": "s", "certificate-authority-data": "!"}}]},
            "certificate authority cannot be used",
        ),
        (
            {"users": [{"name": "u", "user": {"client-certificate": "none", "client-key": "none"}}]},
            "client certificate or its key cannot be used",
        ),
    ],
)
def test_what_is_wrong_is_said_with_the_file(tmp_path: Path, more: Object, said: str | None) -> None:
    path = kubeconfig(tmp_path / "config", **more)
    if said is None:
        load(environment=variables(path))
        return
    with pytest.raises(TriggerError, match=said) as error:
        load(environment=variables(path))
    assert str(path) in str(error.value)


def test_text_that_is_no_yaml_is_not_quoted(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text("users:\n- token: [s3cr3t\n")
    with pytest.raises(TriggerError, match="is not YAML") as error:
        load(environment=variables(path))
    assert "s3cr3t" not in str(error.value)
    path.write_text("")
    with pytest.raises(TriggerError, match="is empty or not a mapping"):
        load(environment=variables(path))


def test_nothing_at_all_is_said_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(TriggerError, match=r"no '/nowhere/.kube/config'.*not a pod.*point KUBECONFIG at"):
        load(environment=variables(), service_account=tmp_path)
    with pytest.raises(TriggerError, match=r"KUBECONFIG names .*missing.* where there is no file"):
        load(environment=variables(tmp_path / "missing"), service_account=tmp_path)
    (tmp_path / "token").write_text("t")
    with pytest.raises(TriggerError, match="KUBERNETES_SERVICE_HOST"):
        load(environment=variables(), service_account=tmp_path)


async def test_a_plug_in_that_fails_is_named_and_not_quoted(tmp_path: Path) -> None:
    for command, said in (
        (
            {"command": "no-such-program", "installHint": "ask the admins"},
            "cannot be started.*ask the admins",
        ),
        ({"command": "sh", "args": ["-c", "echo s3cr3t; exit 3"]}, "ended with status 3"),
        ({"command": "sh", "args": ["-c", "echo s3cr3t"]}, "did not print an ExecCredential"),
    ):
        user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", **command}}
        credentials = load(environment=variables(kubeconfig(tmp_path / "config", user))).credentials
        with pytest.raises(TriggerError, match=said) as error:
            await credentials.authorization(refused=False)
        assert command["command"] in str(error.value)
        assert "s3cr3t" not in str(error.value)
