"""What `edgeward token create --role node` says beside the token."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from edgeward.certificates.local.signing import new_root
from edgeward.cli.tokens import pin
from edgeward.errors import Unavailable
from edgeward.node.controllers.identity import certificates_in


def test_the_pin_is_that_of_the_root_that_signs_now() -> None:
    now, next_one = new_root(1_700_000_000.0), new_root(1_800_000_000.0)

    found = pin(now.pem + next_one.pem)

    assert found == hashlib.sha256(now.certificate.public_bytes(Encoding.DER)).hexdigest()
    assert found == pin(certificates_in((now.pem + next_one.pem).encode())[0])


@pytest.mark.parametrize("roots", ["", "none", "-----BEGIN CERTIFICATE-----\n"])
def test_what_is_no_root_has_no_pin(roots: str) -> None:
    with pytest.raises(Unavailable):
        pin(roots)
