"""What Libreswan cannot be asked for, said before anybody tries; the reasons are its own, in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from edgeward.errors import Invalid
from edgeward.vpn.desired import Certificate, Connection, Psk
from edgeward.vpn.drivers.libreswan import identity, proposals, text

_LONGEST_SECRET: Final = 4096


def refusals(connection: Connection) -> tuple[tuple[str, str], ...]:
    """Give (field, sentence with the remedy) for each; none: pluto takes it."""
    return tuple(
        dict.fromkeys((*_of_peers(connection), *_of_times(connection), *proposals.refusals(connection)))
    )


def _of_peers(connection: Connection) -> Iterator[tuple[str, str]]:
    for field, value, reading in (
        ("local_id", connection.local_id, identity.spelled),
        ("peer_id", connection.peer_id, identity.spelled),
        ("peer_address", connection.peer_address, text.peer),
    ):
        try:
            reading(value)
        except Invalid as error:
            yield field, str(error)
    auth = connection.auth
    if isinstance(auth, Psk) and not 1 <= len(auth.secret.reveal().encode()) <= _LONGEST_SECRET:
        yield "secret", f"Libreswan takes secrets of 1 to {_LONGEST_SECRET} bytes; give another one"
    if isinstance(auth, Certificate) and auth.chain:  # none: it is not known yet
        try:
            if text.signature(auth) == "ecdsa" and connection.ike.version == 1:
                yield "certificate", "IKEv1 proves itself by RSA alone; take IKEv2, or an RSA key"
            text.authority(auth)
        except Invalid as error:
            yield "certificate", str(error)
    if connection.ike.aggressive and connection.ike.version == 2:
        yield "ike.aggressive", "only IKEv1 has an aggressive mode; leave it out"
    if connection.ike.aggressive and len(connection.ike.proposals) > 1:
        yield "ike.proposals", "the aggressive mode takes one proposal; leave the others out"


def _of_times(connection: Connection) -> Iterator[tuple[str, str]]:
    for field, value, longest in (
        ("ike.lifetime", connection.ike.lifetime, text.LONGEST_IKE),
        ("ipsec.lifetime", connection.ipsec.lifetime, text.LONGEST_IPSEC),
    ):
        if value > longest:
            yield (
                field,
                f"Libreswan takes at most {longest} seconds; shorten it, or take the driver strongswan",
            )
