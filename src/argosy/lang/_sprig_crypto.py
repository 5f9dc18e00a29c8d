"""sprig's keys, certificates, ciphers and hashes of passwords, for which ``pip install 'argosy[crypto]'`` brings the
libraries. They are imported when a template calls one of these functions, and each call counts as many steps of
the template, because it takes some ten milliseconds to seconds.

What is random in sprig is random here: kinds, sizes and the form of what comes out are the same, its bytes are not.
``derivePassword`` and ``decryptAES`` answer byte for byte."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import hashlib
import hmac
import ipaddress
import secrets
from typing import Any

from argosy.errors import LangError
from argosy.lang import _gotemplate_print as goprint
from argosy.lang._gotemplate_functions import Registry, Struct, raw, registrar, text_of

FUNCTIONS: Registry = {}
sprig = registrar(FUNCTIONS)

_CHEAP, _SLOW, _SLOWEST = 1_000, 50_000, 250_000  # steps of a template's million

_SEED = b"com.lyndir.masterpassword"
_FORMS = {
    "maximum": ("anoxxxxxxxxxxxxxxxxx", "axxxxxxxxxxxxxxxxxno"),
    "long": (
        *("CvcvnoCvcvCvcv", "CvcvCvcvnoCvcv", "CvcvCvcvCvcvno", "CvccnoCvcvCvcv", "CvccCvcvnoCvcv", "CvccCvcvCvcvno"),
        *("CvcvnoCvccCvcv", "CvcvCvccnoCvcv", "CvcvCvccCvcvno", "CvcvnoCvcvCvcc", "CvcvCvcvnoCvcc", "CvcvCvcvCvccno"),
        *("CvccnoCvccCvcv", "CvccCvccnoCvcv", "CvccCvccCvcvno", "CvcvnoCvccCvcc", "CvcvCvccnoCvcc", "CvcvCvccCvccno"),
        *("CvccnoCvcvCvcc", "CvccCvcvnoCvcc", "CvccCvcvCvccno"),
    ),
    "medium": ("CvcnoCvc", "CvcCvcno"),
    "short": ("Cvcn",),
    "basic": ("aaanaaan", "aannaaan", "aaannaaa"),
    "pin": ("nnnn",),
}
_VOWELS, _CONSONANTS = "aeiou", "bcdfghjklmnpqrstvwxyz"
_LETTERS = _VOWELS.upper() + _VOWELS + _CONSONANTS.upper() + _CONSONANTS
_CHARACTERS = {
    "V": _VOWELS.upper(),
    "C": _CONSONANTS.upper(),
    "v": _VOWELS,
    "c": _CONSONANTS,
    "a": _LETTERS,
    "n": "0123456789",
    "o": "@&%?,=[]_:-+*$#!'^~;()/.",
    "x": _LETTERS + "0123456789!@#$%^&*()",
}


def _missing(error: ImportError) -> LangError:
    return LangError(f"a library is not installed ({error.name}): pip install 'argosy[crypto]'")


@sprig("derivePassword", takes="ussss", cost=_SLOW)
def _derive_password(counter: int, form: str, password: str, user: str, site: str) -> str:
    """The Master Password algorithm."""
    forms = _FORMS.get(form)
    if forms is None:
        return f"cannot find password template {form}"

    def sized(text: bytes) -> bytes:
        return _SEED + len(text).to_bytes(4, "big") + text

    key = hashlib.scrypt(raw(password), salt=sized(raw(user)), n=32768, r=8, p=2, maxmem=2**26, dklen=64)
    seed = hmac.digest(key, sized(raw(site)) + counter.to_bytes(4, "big"), "sha256")
    chosen = forms[seed[0] % len(forms)]
    return "".join(
        _CHARACTERS[kind][byte % len(_CHARACTERS[kind])] for kind, byte in zip(chosen, seed[1:], strict=False)
    )


@sprig("bcrypt", takes="s", cost=_SLOW)
def _bcrypt(password: str) -> str:
    try:
        import bcrypt
    except ImportError as error:
        raise _missing(error) from error
    if len(raw(password)) > 72:
        return "failed to encrypt string with bcrypt: bcrypt: password length exceeds 72 bytes"
    hashed: bytes = bcrypt.hashpw(raw(password), bcrypt.gensalt(10, prefix=b"2a"))
    return hashed.decode()


@sprig("htpasswd", takes="ss", cost=_SLOW)
def _htpasswd(user: str, password: str) -> str:
    return f"invalid username: {user}" if ":" in user else f"{user}:{_bcrypt(password)}"


def _aes(password: str, vector: bytes) -> Any:
    try:
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
    except ImportError as error:
        raise _missing(error) from error
    return Cipher(algorithms.AES(raw(password)[:32].ljust(32, b"\0")), modes.CBC(vector))


@sprig("encryptAES", takes="ss", cost=_CHEAP)
def _encrypt_aes(password: str, text: str) -> str:
    data = raw(text)
    if not data:
        return ""
    vector, padding = secrets.token_bytes(16), 16 - len(data) % 16
    cipher = _aes(password, vector).encryptor()
    return base64.b64encode(vector + cipher.update(data + bytes([padding]) * padding) + cipher.finalize()).decode()


@sprig("decryptAES", takes="ss", cost=_CHEAP)
def _decrypt_aes(password: str, text: str) -> str:
    if not text:
        return ""
    try:
        data = base64.b64decode(raw(text).replace(b"\r", b"").replace(b"\n", b""), validate=True)
    except binascii.Error as error:
        raise LangError("the text is not base64") from error
    if len(data) < 32 or len(data) % 16:
        # Go panics here.
        raise LangError(f"{len(data)} bytes are not what encryptAES makes")
    cipher = _aes(password, data[:16]).decryptor()
    plain = cipher.update(data[16:]) + cipher.finalize()
    if plain[-1] > len(plain):
        raise LangError("the password is another one, or the text is not what encryptAES made")
    return text_of(plain[: len(plain) - plain[-1]])


def _keys() -> Any:
    try:
        from argosy.lang import _sprig_certificates
    except ImportError as error:
        raise _missing(error) from error
    return _sprig_certificates


@sprig("genPrivateKey", takes="s", cost=_SLOWEST)
def _gen_private_key(kind: str) -> str:
    if kind not in ("", "rsa", "dsa", "ecdsa", "ed25519"):
        return f"Unknown type {kind}"
    keys = _keys()
    text: str = keys.written(keys.generate(kind or "rsa"))
    return text


def _pem(text: str, what: str) -> str:
    try:
        return base64.b64decode(raw(text), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise LangError(f"unable to decode base64 {what}") from error


@sprig("buildCustomCert", takes="ss", cost=_CHEAP)
def _build_custom_cert(certificate: str, key: str) -> Struct:
    keys = _keys()
    text, secret = _pem(certificate, "certificate"), _pem(key, "private key")
    keys.read_certificate(text)
    keys.read_key(secret)
    return _certificate(text, secret)


def _certificate(text: str, key: str) -> Struct:
    return Struct("sprig.certificate", {"Cert": text, "Key": key})


def _names(names: list[Any] | None, addresses: list[Any] | None) -> tuple[list[str], list[Any]]:
    for name in [*(names or ()), *(addresses or ())]:
        if not isinstance(name, str):
            raise LangError(f"the names and addresses of a certificate are texts, not {goprint.show(name)!r}")
    try:
        return list(names or ()), [ipaddress.ip_address(address) for address in addresses or ()]
    except ValueError as error:
        raise LangError(f"error parsing ip: {error}") from error


def _issue(
    subject: str,
    days: int,
    *,
    key: Any,
    addresses: list[Any] | None = None,
    names: list[Any] | None = None,
    ca: Struct | None = None,
    authority: bool = False,
) -> Struct:
    keys = _keys()
    signer = None if ca is None else (keys.read_certificate(ca.fields["Cert"]), keys.read_key(ca.fields["Key"]))
    key = keys.generate("rsa", 2048) if key is None else keys.read_key(key)
    try:
        until = dt.datetime.now(dt.UTC) + dt.timedelta(days=days)
    except OverflowError as error:
        raise LangError(f"{days} days are too many") from error
    text = keys.issue(subject, *_names(names, addresses), until, key, signer, authority)
    return _certificate(text, keys.written(key))


@sprig("genCA", takes="si", cost=_SLOW)
def _gen_ca(subject: str, days: int) -> Struct:
    return _issue(subject, days, key=None, authority=True)


@sprig("genCAWithKey", takes="sis", cost=_SLOW)
def _gen_ca_with_key(subject: str, days: int, key: str) -> Struct:
    return _issue(subject, days, key=key, authority=True)


@sprig("genSelfSignedCert", takes="sLLi", cost=_SLOW)
def _gen_self_signed(subject: str, addresses: Any, names: Any, days: int) -> Struct:
    return _issue(subject, days, key=None, addresses=addresses, names=names)


@sprig("genSelfSignedCertWithKey", takes="sLLis", cost=_SLOW)
def _gen_self_signed_with_key(subject: str, addresses: Any, names: Any, days: int, key: str) -> Struct:
    return _issue(subject, days, key=key, addresses=addresses, names=names)


@sprig("genSignedCert", takes="sLLiC", cost=_SLOW)
def _gen_signed(subject: str, addresses: Any, names: Any, days: int, ca: Struct) -> Struct:
    return _issue(subject, days, key=None, addresses=addresses, names=names, ca=ca)


@sprig("genSignedCertWithKey", takes="sLLiCs", cost=_SLOW)
def _gen_signed_with_key(subject: str, addresses: Any, names: Any, days: int, ca: Struct, key: str) -> Struct:
    return _issue(subject, days, key=key, addresses=addresses, names=names, ca=ca)
