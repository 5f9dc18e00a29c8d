"""sprig's keys, certificates and password hashes: readable by others, of the same form as Go's, and never in an error."""

from __future__ import annotations

import builtins
import sys
from typing import Any

import pytest

from argosy.errors import LangError
from argosy.lang import gotemplate

bcrypt = pytest.importorskip("bcrypt", reason="pip install 'argosy[crypto]' to try keys and certificates")
x509 = pytest.importorskip("cryptography.x509")
serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")


def render(text: str, dot: Any = None) -> str:
    return gotemplate.compile(text).render(dot)


def test_a_derived_password_is_that_of_the_documentation() -> None:
    assert render('{{ derivePassword 1 "long" "password" "user" "example.com" }}') == "ZedaFaxcZaso9*"


def test_what_one_encrypts_the_other_decrypts() -> None:
    for text in ("x", "sixteen letters!", "héllo wörld, and more than one block"):
        assert render('{{ . | encryptAES "secret" | decryptAES "secret" }}', text) == text
    assert len({render('{{ encryptAES "secret" "x" }}') for _ in range(3)}) == 3


def test_a_password_file_holds_a_hash_that_checks() -> None:
    user, _, hashed = render('{{ htpasswd "ann" "s3cret" }}').partition(":")
    assert (user, hashed[:7]) == ("ann", "$2a$10$")
    assert bcrypt.checkpw(b"s3cret", hashed.encode())
    assert render('{{ htpasswd "a:b" "x" }}') == "invalid username: a:b"


@pytest.mark.parametrize(
    ("kind", "head"), [("ecdsa", "EC PRIVATE KEY"), ("ed25519", "PRIVATE KEY"), ("rsa", "RSA PRIVATE KEY")]
)
def test_a_private_key_is_pem_of_its_kind(kind: str, head: str) -> None:
    text = render("{{ genPrivateKey . }}", kind)
    assert text.startswith(f"-----BEGIN {head}-----\n")
    assert serialization.load_pem_private_key(text.encode(), None)


def test_a_signed_certificate_is_what_the_original_makes() -> None:
    # Given a certificate authority, and a certificate that it signs for a name and an address
    text = """{{ $ca := genCAWithKey "ca" 365 (genPrivateKey "ecdsa") -}}
    {{ $c := genSignedCert "me" (list "10.0.0.1") (list "me.example") 10 $ca }}{{ $ca.Cert }}{{ $c.Cert }}"""
    ca, certificate = x509.load_pem_x509_certificates(render(text).encode())
    # Then the one vouches for the other
    certificate.verify_directly_issued_by(ca)
    assert (certificate.not_valid_after_utc - certificate.not_valid_before_utc).days == 10
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["me.example"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.1"]
    # And the extensions are those that Go's sprig writes, critical where it does
    critical, plain = True, False
    assert [(extension.oid._name, extension.critical) for extension in certificate.extensions] == [
        ("keyUsage", critical),
        ("extendedKeyUsage", plain),
        ("basicConstraints", critical),
        ("authorityKeyIdentifier", plain),
        ("subjectAltName", plain),
    ]
    assert [(extension.oid._name, extension.critical) for extension in ca.extensions][3:] == [
        ("subjectKeyIdentifier", plain)
    ]


def test_a_certificate_and_its_key_are_checked_before_they_are_taken() -> None:
    made = '{{ $c := genSelfSignedCertWithKey "x" nil nil 1 (genPrivateKey "ed25519") }}'
    assert (
        render(made + "{{ $d := buildCustomCert (b64enc $c.Cert) (b64enc $c.Key) }}{{ eq $c.Cert $d.Cert }}") == "true"
    )
    with pytest.raises(LangError, match="certificate is not PEM"):
        render(made + '{{ buildCustomCert (b64enc "x") (b64enc $c.Key) }}')


def test_a_secret_is_in_no_error() -> None:
    for text in ('{{ decryptAES "hunter2" "hunter2" }}', '{{ genCAWithKey "x" 1 "hunter2" }}'):
        with pytest.raises(LangError) as caught:
            render(text)
        assert "hunter2" not in caught.value.message


@pytest.mark.parametrize(
    "text",
    [
        '{{ range until 1000 }}{{ bcrypt "x" }}{{ end }}',
        '{{ range until 1000 }}{{ derivePassword 1 "pin" "a" "b" "c" }}{{ end }}',
        '{{ range until 100000 }}{{ encryptAES "a" "b" }}{{ end }}',
    ],
)
def test_a_template_cannot_hash_without_end(text: str) -> None:
    with pytest.raises(LangError, match="steps"):
        render(text)


@pytest.mark.parametrize("call", ['bcrypt "x"', 'encryptAES "k" "x"', 'genPrivateKey "ecdsa"', 'genCA "x" 1'])
def test_without_the_library_the_command_that_installs_it_is_said(call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given an installation without the extra
    imported = builtins.__import__

    def refuse(name: str, *rest: Any, **named: Any) -> Any:
        if name.partition(".")[0] in ("bcrypt", "cryptography"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return imported(name, *rest, **named)

    for name in [name for name in sys.modules if name.startswith("argosy.lang._sprig_certificates")]:
        monkeypatch.delitem(sys.modules, name)
        monkeypatch.delattr("argosy.lang._sprig_certificates", raising=False)
    monkeypatch.setattr(builtins, "__import__", refuse)
    # When a template calls for it, then the sentence says what to install
    with pytest.raises(LangError, match=r"pip install 'argosy\[crypto\]'"):
        render(f"{{{{ {call} }}}}")
