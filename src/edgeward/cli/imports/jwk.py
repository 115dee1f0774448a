"""Private keys as JSON Web Keys (RFC 7517, RFC 7518 6.2 and 6.3), turned into PEM."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from edgeward.errors import Invalid
from edgeward.secret import Secret

_CURVES: Final[Mapping[str, ec.EllipticCurve]] = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1()}


def pem(jwk: Mapping[str, Any]) -> Secret[str]:
    """Give PKCS#8 PEM; raises Invalid for what is no private RSA or EC key."""
    try:
        key = _rsa(jwk) if jwk["kty"] == "RSA" else _ec(jwk)
    except (KeyError, TypeError, ValueError) as error:
        raise Invalid("it is not a private key as JSON Web Key, of RSA or an elliptic curve") from error
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Secret(text.decode())


def _rsa(jwk: Mapping[str, Any]) -> rsa.RSAPrivateKey:
    n, e, d = (_number(jwk[name]) for name in ("n", "e", "d"))
    if "p" in jwk and "q" in jwk:
        p, q = _number(jwk["p"]), _number(jwk["q"])
    else:
        p, q = rsa.rsa_recover_prime_factors(n, e, d)
    numbers = rsa.RSAPrivateNumbers(
        p,
        q,
        d,
        rsa.rsa_crt_dmp1(d, p),
        rsa.rsa_crt_dmq1(d, q),
        rsa.rsa_crt_iqmp(p, q),
        rsa.RSAPublicNumbers(e, n),
    )
    return numbers.private_key()


def _ec(jwk: Mapping[str, Any]) -> ec.EllipticCurvePrivateKey:
    if jwk["kty"] != "EC":
        raise ValueError("neither RSA nor EC")
    return ec.derive_private_key(_number(jwk["d"]), _CURVES[jwk["crv"]])


def _number(text: str) -> int:
    return int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), "big")
