"""The bodies lua-resty-peter_sslers understands: JSON objects always, since anything else ends a handshake in
a Lua error and TLS alert 80.

Every release reads other members: up to 0.4.2 ``server_certificate__latest_*``, 0.5.0
``certificate_signed__latest_*``, while the server of today sends ``x509_certificate__latest_*``, which no
client reads. So all three are sent, each of them complete.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from edgeward.certificates.model import Certificate

_MEMBERS: Final = ("certificate_signed", "server_certificate", "x509_certificate")
_END: Final = "-----END CERTIFICATE-----\n"


def hit(name: str, certificate: Certificate) -> dict[str, Any]:
    """Give the answer with a certificate: in every member, whichever a client was told to prefer."""
    item = _item(certificate)
    found: dict[str, Any] = {
        "result": "success",
        "notes": "existing certificate",
        "domain": {"id": name, "domain_name": name, "is_active": True},
    }
    for member in _MEMBERS:
        found[f"{member}__latest_multi"] = found[f"{member}__latest_single"] = item
    return found


def miss(message: str) -> dict[str, Any]:
    """Give the answer without one. There are no members ``instructions`` and ``form_errors``: the client
    takes even null there for an error.
    """
    return {"result": "error", "message": message}


def leaf_and_rest(chain: str) -> tuple[str, str]:
    """Give the first certificate of a chain, and those behind it: empty where there are none."""
    end = chain.find(_END)
    if end < 0:
        return chain, ""
    cut = end + len(_END)
    return chain[:cut], chain[cut:].lstrip("\n")


def _item(certificate: Certificate) -> Mapping[str, Any]:
    leaf, rest = leaf_and_rest(certificate.chain)
    number = certificate.fingerprint
    return {
        "id": number,
        "private_key": {"id": number, "pem": certificate.key.reveal()},
        "certificate": {"id": number, "pem": leaf},
        "chain": {"id": number, "pem": rest},
        "fullchain": {"id": number, "pem": certificate.chain},
    }
