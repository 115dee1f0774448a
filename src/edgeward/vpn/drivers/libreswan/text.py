"""Connections as text for addconn and pluto: sections of ``ipsec.conf``, lines of ``ipsec.secrets``.

Nothing that others wrote comes into it but through a type of its own: addresses, networks, numbers,
algorithms of a table, ids of ``identity.spelled``, and secrets in base64.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from edgeward.errors import Invalid
from edgeward.vpn.desired import Certificate, Connection, Psk
from edgeward.vpn.drivers.libreswan import proposals
from edgeward.vpn.drivers.libreswan.identity import spelled

_WORKING: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_ATTRIBUTES: Final = {
    NameOID.COUNTRY_NAME: "C", NameOID.STATE_OR_PROVINCE_NAME: "ST", NameOID.LOCALITY_NAME: "L",
    NameOID.ORGANIZATION_NAME: "O", NameOID.ORGANIZATIONAL_UNIT_NAME: "OU", NameOID.COMMON_NAME: "CN",
    NameOID.EMAIL_ADDRESS: "E",
}  # fmt: skip
LONGEST_IKE: Final = 86_400
LONGEST_IPSEC: Final = 86_400
_ACTIONS: Final[Mapping[str, str]] = {
    "clear": "clear",
    "hold": "hold",
    "restart": "restart",
    "restart-by-peer": "restart",  # what Libreswan itself made of it when it gave up the word
}


def sections(connection: Connection) -> Mapping[str, str]:
    """Give a section for each pair of networks by its name, ``ID.PAIR``: touched one by one, as pluto knows
    them; ``leftsubnets=`` would tie all of them together. Raises Invalid where an id cannot be said."""
    return {
        name(connection.id, pair): "\n\t".join(
            (f"conn {name(connection.id, pair)}", *_lines(connection, pair))
        )
        + "\n"
        for pair in pairs(connection)
    }


def pairs(connection: Connection) -> Iterator[tuple[str, str]]:
    """Give (local, peer) networks; one of nothings in transport mode."""
    if connection.ipsec.mode == "transport":
        return iter([("", "")])
    return itertools.product(connection.local_networks, connection.peer_networks)


def name(connection: str, pair: tuple[str, str]) -> str:
    return f"{connection}.{hashlib.sha256(' '.join(pair).encode()).hexdigest()[:8]}"


def whose(section: str) -> str:
    """Give the id of the connection that a section is of."""
    return section.partition(".")[0]


def _lines(connection: Connection, pair: tuple[str, str]) -> Iterator[str]:
    ike, ipsec = connection.ike, connection.ipsec
    yield f"left={connection.local_address}"
    yield f"right={peer(connection.peer_address)}"
    yield f"leftid={spelled(connection.local_id)}"
    yield f"rightid={spelled(connection.peer_id)}"
    if pair != ("", ""):
        yield f"leftsubnet={pair[0]}"
        yield f"rightsubnet={pair[1]}"
    yield "leftupdown=%disabled"
    yield "auto=ignore"  # it is loaded by name; whoever restarts pluto loads it again
    yield f"ikev2={'insist' if ike.version == 2 else 'never'}"
    if ike.version == 1:
        yield f"aggressive={'yes' if ike.aggressive else 'no'}"
    yield f"ike={proposals.ike(ike.proposals)}"
    yield f"{'phase2=ah' if ipsec.protocol == 'ah' else 'phase2=esp'}"
    yield f"phase2alg={proposals.ipsec(ipsec.proposals, ipsec.protocol)}"
    yield f"pfs={'yes' if any(one.groups for one in ipsec.proposals) else 'no'}"
    yield f"type={ipsec.mode}"
    yield from _times(connection)
    yield from _watching(connection)
    yield "mobike=no"
    yield f"keyingtries={'%forever' if connection.initiator else '1'}"
    yield from _proof(connection)


def _times(connection: Connection) -> Iterator[str]:
    shortest = min(connection.ike.lifetime, connection.ipsec.lifetime)
    yield f"ikelifetime={connection.ike.lifetime}s"
    yield f"salifetime={connection.ipsec.lifetime}s"
    yield f"rekeymargin={max(1, min(540, shortest // 10))}s"
    yield "rekeyfuzz=50%"


def _watching(connection: Connection) -> Iterator[str]:
    dpd = connection.dpd
    if dpd.action == "disabled" or dpd.interval == 0:
        return
    yield f"dpdaction={_ACTIONS[dpd.action]}"
    yield f"dpddelay={dpd.interval}s"
    if connection.ike.version == 1:
        yield f"dpdtimeout={max(dpd.timeout, dpd.interval + 1)}s"
    else:  # a peer that says nothing is given up when its retransmissions end
        yield f"retransmit-timeout={min(12, max(5, dpd.timeout - dpd.interval))}s"


def _proof(connection: Connection) -> Iterator[str]:
    if isinstance(connection.auth, Psk):
        yield "authby=secret"
        return
    yield f"authby={signature(connection.auth)}"
    yield f"leftcert={connection.id}"  # its nickname in the NSS database
    yield "leftsendcert=always"
    yield "rightrsasigkey=%cert"
    yield f'rightca="{authority(connection.auth)}"'  # it asks for one of these, and takes no other


def signature(auth: Certificate) -> str:
    """Give how a certificate's key signs: pluto does not look by itself. Raises Invalid."""
    try:
        key = x509.load_pem_x509_certificate(auth.chain.encode()).public_key()
    except ValueError:
        raise Invalid("the certificate is not readable; give it as PEM, the leaf first") from None
    if isinstance(key, ec.EllipticCurvePublicKey):
        return "ecdsa"
    if isinstance(key, rsa.RSAPublicKey):
        return "rsasig"
    raise Invalid("Libreswan proves itself by RSA and ECDSA alone; take such a key, or the driver strongswan")


def authority(auth: Certificate) -> str:
    """Give the name of the one whose certificates a peer may show; raises Invalid."""
    try:
        found = x509.load_pem_x509_certificates(auth.authority.encode())
        subject = found[0].subject
    except ValueError:
        raise Invalid("the authority's certificate is not readable; give it as PEM") from None
    if len(found) > 1:
        raise Invalid(
            "Libreswan trusts one authority for a connection; give one, or take the driver strongswan"
        )
    try:
        parts = [f"{_ATTRIBUTES[part.oid]}={part.value!s}" for part in subject]
        if any(part.count("=") > 1 or "," in part for part in parts):
            raise Invalid("one part would be read as two")
        return spelled(", ".join(parts)).strip('"')
    except (KeyError, Invalid):
        raise Invalid(
            f"Libreswan cannot be told the authority '{subject.rfc4514_string()[:60]}'; "
            "take one whose name is of C, ST, L, O, OU, CN and E in ASCII letters, or the driver strongswan"
        ) from None


def secrets(connections: Iterable[Connection]) -> str:
    """Give ``ipsec.secrets`` of them: a line for each, which names both ids; raises Invalid."""
    return "".join(
        f"{spelled(one.local_id)} {spelled(one.peer_id)} : PSK 0s{_base64(one.auth)}\n"
        for one in connections
        if isinstance(one.auth, Psk)
    )


def _base64(auth: Psk) -> str:
    return base64.b64encode(auth.secret.reveal().encode()).decode()


def peer(text: str) -> str:
    """Give the peer's address or name as one word; raises Invalid."""
    try:
        return str(ipaddress.ip_address("" if "%" in text else text))
    except ValueError:
        if _WORKING.fullmatch(text):
            return text
    raise Invalid(
        f"'{text[:60]}' is no address or name of a peer; write one as 203.0.113.9 or vpn.example.com"
    )
