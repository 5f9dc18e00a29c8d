"""Says who we are by a JSON Web Token, signed with the RSA key of an app or of a service account."""

from __future__ import annotations

from collections.abc import Mapping

from argosy.errors import ExtraMissing


def signed(claims: Mapping[str, object], private_key: str, *, what: str, key_id: str = "") -> str:
    """The token, signed by RS256 with a private key in PEM.

    Raises ValueError if that is no unencrypted RSA key, and ExtraMissing, which names ``what`` wants it, without the library.
    """
    try:
        import jwt
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ImportError as error:
        raise ExtraMissing(what, "crypto") from error
    try:
        key = load_pem_private_key(private_key.encode(), None)
    except (ValueError, TypeError) as error:
        raise ValueError("no unencrypted key in PEM") from error
    if not isinstance(key, RSAPrivateKey):
        raise ValueError("no RSA key")
    return jwt.encode(dict(claims), key, algorithm="RS256", headers={"kid": key_id} if key_id else None)
