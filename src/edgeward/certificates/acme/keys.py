"""Keys of accounts and what they sign (RFC 8555, 6.2): the one place that knows ``josepy`` and ``acme``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from josepy import b64
from josepy.errors import Error as JoseError
from josepy.jwa import ES256, RS256
from josepy.jwk import JWKEC, JWKRSA

from edgeward.errors import Invalid

Key = JWKEC | JWKRSA
"""ECDSA on P-256, or RSA as certbot registers accounts with."""


@dataclass(frozen=True)
class Signer:
    """Who asks: a key, and the account's URL once the authority has told it."""

    key: Key
    account: str | None = None


def new_key() -> Key:
    """ECDSA on P-256, which every authority takes (RFC 8555, 6.2)."""
    return JWKEC(key=ec.generate_private_key(ec.SECP256R1()))


def write_key(key: Key) -> bytes:
    """Give PKCS#8 PEM."""
    kind, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    made: bytes = key.key.private_bytes(serialization.Encoding.PEM, kind, none)
    return made


def read_key(pem: bytes) -> Key:
    """Raises ValueError where it is no RSA key and no key on P-256."""
    key = serialization.load_pem_private_key(pem, password=None)
    if isinstance(key, rsa.RSAPrivateKey):
        return JWKRSA(key=key)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("not a key on P-256")
    return JWKEC(key=key)


def thumbprint(key: Key) -> str:
    """Give what stands for a key in the answer to a challenge (RFC 7638)."""
    return base64url(key.thumbprint())


def base64url(data: bytes) -> str:
    """Without padding, as all of ACME has it."""
    return b64.b64encode(data).decode()


def signed(url: str, payload: Mapping[str, Any] | None, signer: Signer, nonce: str | None) -> dict[str, Any]:
    """Give the JWS: the public key itself goes along where there is no account yet."""
    algorithm = RS256 if isinstance(signer.key, JWKRSA) else ES256
    if signer.account is not None:
        who: dict[str, Any] = {"kid": signer.account}
    else:
        who = {"jwk": signer.key.public_key().to_json()}
    head = {"alg": algorithm.name, **({} if nonce is None else {"nonce": nonce}), "url": url, **who}
    protected = base64url(json.dumps(head).encode())
    text = base64url(b"" if payload is None else json.dumps(payload).encode())
    signature = algorithm.sign(signer.key.key, f"{protected}.{text}".encode())
    return {"protected": protected, "payload": text, "signature": base64url(signature)}


def changing(url: str, old: Signer, fresh: Key) -> dict[str, Any]:
    """Give what asks for another key: signed by it, to be sent signed by the old one (7.3.5)."""
    inner = {"account": old.account, "oldKey": old.key.public_key().to_json()}
    return signed(url, inner, Signer(fresh), None)


def bound(url: str, key: Key, kid: str, hmac_key: str) -> dict[str, Any]:
    """Give the binding to an account of the authority's own site (7.3.4); raises Invalid."""
    from acme import messages  # this alone needs it, and it loads an HTTP client that nobody here uses

    directory = messages.Directory({"newAccount": url})
    try:
        made = messages.ExternalAccountBinding.from_data(
            key.public_key(), kid, hmac_key.strip().rstrip("="), directory
        )
    except (ValueError, TypeError, JoseError):
        raise Invalid("the key is not base64url; copy it as the authority gave it") from None
    return made
