"""Secrets: where they are looked for and in which order, and that nothing leads out of the folder or tells a value."""

from __future__ import annotations

from pathlib import Path

import pytest

from argosy.errors import SecretMissing
from argosy.manifests.fields import ConfigMapKeySelector, SecretKeySelector
from argosy.runtime.secrets import Mounts, Secrets

TOKEN = SecretKeySelector(name="my-app", key="api.token")


def _write(path: Path, text: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())


def test_secrets_that_were_read_are_taken_out_of_texts(tmp_path: Path) -> None:
    secrets = Secrets(tmp_path)
    _write(tmp_path / "my-app" / "api.token", "hunter2/+")
    text = "hunter2/+ and hunter2%2F%2B"
    assert secrets.hidden(text) == text
    secrets.secret("ns", TOKEN)
    assert secrets.hidden(text) == "*** and ***"
    # What is too short would be found everywhere.
    _write(tmp_path / "my-app" / "api.token", "a")
    secrets.secret("ns", TOKEN)
    assert secrets.hidden("a cat") == "a cat"


class TestAValue:
    def test_is_looked_for_in_manifests_then_in_the_folder_then_in_the_environment(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        secrets = Secrets(tmp_path)
        monkeypatch.setenv("ARGOSY_SECRET_MY_APP_API_TOKEN", "from environment")
        assert secrets.secret("ns", TOKEN) == "from environment"

        _write(tmp_path / "my-app" / "api.token", "from folder")
        assert secrets.secret("ns", TOKEN) == "from folder"

        _write(tmp_path / "ns" / "my-app" / "api.token", "from the namespace's folder")
        assert secrets.secret("ns", TOKEN) == "from the namespace's folder"
        assert secrets.secret("other", TOKEN) == "from folder"

        secrets.update({("ns", "my-app"): {"api.token": "from manifest"}}, {})
        assert secrets.secret("ns", TOKEN) == "from manifest"
        assert secrets.secret("other", TOKEN) == "from folder"

    def test_is_read_anew_each_time(self, tmp_path: Path) -> None:
        secrets = Secrets(tmp_path)
        _write(tmp_path / "my-app" / "api.token", "old")
        assert secrets.secret("ns", TOKEN) == "old"

        _write(tmp_path / "my-app" / "api.token", "new")

        assert secrets.secret("ns", TOKEN) == "new"

    @pytest.mark.parametrize(("held", "value"), [("x\n", "x"), ("x\n\n", "x\n"), ("x", "x"), ("", ""), (" x ", " x ")])
    def test_loses_one_newline_at_its_end(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: str, value: str
    ) -> None:
        for secrets in (Secrets(tmp_path / "a"), Secrets(tmp_path / "b"), Secrets()):
            _write(tmp_path / "b" / "my-app" / "api.token", held)
            monkeypatch.setenv("ARGOSY_SECRET_MY_APP_API_TOKEN", held)
            assert secrets.secret("ns", TOKEN) == value
        secrets.update({("ns", "my-app"): {"api.token": held}}, {})
        assert secrets.secret("ns", TOKEN) == value

    def test_of_a_config_map_is_not_one_of_a_secret(self, monkeypatch: pytest.MonkeyPatch) -> None:
        secrets = Secrets()
        secrets.update({("ns", "n"): {"k": "secret"}}, {("ns", "n"): {"k": "config"}})
        monkeypatch.setenv("ARGOSY_CONFIG_N_OTHER", "from environment")

        assert secrets.secret("ns", SecretKeySelector(name="n", key="k")) == "secret"
        assert secrets.config_map("ns", ConfigMapKeySelector(name="n", key="k")) == "config"
        assert secrets.config_map("ns", ConfigMapKeySelector(name="n", key="other")) == "from environment"

    def test_that_new_manifests_do_not_have_is_gone(self) -> None:
        secrets = Secrets()
        secrets.update({("ns", "my-app"): {"api.token": "x"}}, {})
        secrets.update({}, {})

        with pytest.raises(SecretMissing):
            secrets.secret("ns", TOKEN)


class TestAMissingValue:
    def test_names_every_place_that_was_looked_at_and_tells_no_value(self, tmp_path: Path) -> None:
        secrets = Secrets(tmp_path)
        secrets.update({("ns", "my-app"): {"password": "hunter2"}, ("other", "my-app"): {"api.token": "hunter3"}}, {})

        with pytest.raises(SecretMissing) as caught:
            secrets.secret("ns", TOKEN)

        said = str(caught.value)
        assert "key 'api.token' of Secret 'my-app'" in said
        assert "no Secret manifest 'my-app' in namespace 'ns' has it" in said
        assert f"{tmp_path / 'ns' / 'my-app' / 'api.token'}: No such file" in said
        assert "the variable ARGOSY_SECRET_MY_APP_API_TOKEN is not set" in said
        assert "hunter" not in said

    @pytest.mark.parametrize(
        ("namespace", "name", "key"),
        [
            ("ns", "..", "outside"),
            ("ns", ".", "outside"),
            ("ns", "a", "../../outside"),
            ("ns", "../outside", "k"),
            ("..", "outside", "k"),
            ("../..", "outside", "k"),
            ("ns", "", "outside"),
            ("ns", "a", ""),
        ],
    )
    def test_is_what_leads_out_of_the_folder(self, tmp_path: Path, namespace: str, name: str, key: str) -> None:
        folder = tmp_path / "x" / "secrets"
        folder.mkdir(parents=True)
        for place in (tmp_path, tmp_path / "x", folder):
            _write(place / "outside" / "k", "hunter2") if name == "outside" else _write(place / "outside", "hunter2")

        with pytest.raises(SecretMissing) as caught:
            Secrets(folder).secret(namespace, SecretKeySelector(name=name, key=key))

        assert "hunter2" not in str(caught.value)

    @pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"abc\xe9"])
    def test_is_one_that_is_no_text(self, tmp_path: Path, content: bytes) -> None:
        _write(tmp_path / "my-app" / "api.token", content)

        with pytest.raises(SecretMissing, match="is not text in UTF-8"):
            Secrets(tmp_path).secret("ns", TOKEN)

    def test_is_one_with_a_name_that_no_file_can_have(self, tmp_path: Path) -> None:
        with pytest.raises(SecretMissing):
            Secrets(tmp_path).secret("ns", SecretKeySelector(name="a\0b", key="k"))


def test_two_namespaces_never_see_each_other() -> None:
    secrets = Secrets()
    secrets.update({("a", "n"): {"k": "of a"}}, {})

    with pytest.raises(SecretMissing):
        secrets.secret("b", SecretKeySelector(name="n", key="k"))


class TestAPod:
    def test_finds_secrets_and_config_maps_where_upstream_mounts_them_and_reads_them_anew(self, tmp_path: Path) -> None:
        secrets = Secrets(mounts=Mounts(tmp_path))
        _write(tmp_path / "argo-events/secrets/my-app/api.token", "first\n")
        _write(tmp_path / "argo-events/config/my-app/api.token", "public")
        assert secrets.secret("ns", TOKEN) == "first"
        assert secrets.config_map("ns", ConfigMapKeySelector(name="my-app", key="api.token")) == "public"

        _write(tmp_path / "argo-events/secrets/my-app/api.token", "second")
        assert secrets.secret("ns", TOKEN) == "second"

    def test_finds_what_opens_the_bus_at_a_place_of_its_own_and_by_its_name(self, tmp_path: Path) -> None:
        secrets = Secrets(mounts=Mounts(tmp_path, ("bus", "client-auth")))
        access = SecretKeySelector(name="bus", key="client-auth")
        _write(tmp_path / "etc/eventbus/auth/auth.yaml", "username: a")
        assert secrets.secret("ns", access) == "username: a"
        with pytest.raises(SecretMissing):
            secrets.secret("ns", TOKEN)

        _write(tmp_path / "argo-events/secrets/bus/client-auth", "username: b")
        assert secrets.secret("ns", access) == "username: b"

    def test_is_not_led_out_of_what_is_mounted(self, tmp_path: Path) -> None:
        _write(tmp_path / "outside", "not yours")
        secrets = Secrets(mounts=Mounts(tmp_path / "root"))
        with pytest.raises(SecretMissing):
            secrets.secret("ns", SecretKeySelector(name="..", key="../../../outside"))
