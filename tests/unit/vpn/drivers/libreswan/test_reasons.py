"""What pluto writes of why a tunnel is not up, told in sentences: whatever is found is told."""

from __future__ import annotations

import pytest

from edgeward.vpn.drivers.libreswan import reasons
from edgeward.vpn.drivers.libreswan.text import sections
from tests.unit.vpn.values import connection

ONE = connection()
SAID = {
    "payload AUTHENTICATION_FAILED": "refused-us",
    "authentication failed: no PSK found": "secret",
    "probable authentication failure (mismatch of preshared secrets?): malformed payload in packet": "secret",
    "we require IKEv2 peer to have ID '@a', but peer declares '@b'": "other-id",
    "IKE SA authentication request rejected Child SA with NO_PROPOSAL_CHOSEN": "esp-refused",
    "received unauthenticated message containing NO_PROPOSAL_CHOSEN": "ike-refused",
    "no local proposal matches remote proposals 1:IKE=AES_CBC_128": "offered",
    "Oakley Transform [AES_CBC (256), HMAC_SHA1, MODP1024] refused": "offered",
    "rejected Child SA with TS_UNACCEPTABLE": "networks-refused",
    "No IKEv2 connection found with compatible Traffic Selectors": "networks",
    "cannot respond to IPsec SA request because no connection is known for 10.9.0.0/24": "networks",
    "NSS: ERROR: IPsec certificate CN=berlin invalid: SEC_ERROR_UNKNOWN_ISSUER": "untrusted",
    "netlink response for Add SA esp.9f72e2a5@198.51.100.2: Protocol not supported (errno 93)": "kernel",
    "asynchronous network error report on wan0 (198.51.100.2:500): No route to host": "silent",
    "asynchronous network error report on wan0: Connection refused [errno 111, origin ICMP]": "unreachable",
    "failed in send_chunk: Network is unreachable (errno 101)": "unreachable",
    "retransmission; will wait 0.5 seconds for response": "silent",
    "received Delete SA(0x1) payload: deleting IPsec State #2": "ended",
}


def found(words: str) -> reasons.Finding:
    line = f'Nov 22 10:00:00.123456: "{next(iter(sections(ONE)))}" #1: {words}'
    one = reasons.read(line, 100.0)
    assert one is not None
    return one


@pytest.mark.parametrize(("words", "kind"), SAID.items())
def test_whatever_is_found_is_told_with_what_to_do(words: str, kind: str) -> None:
    one = found(words)
    assert one.kind == kind

    reason, remedy = reasons.told(one, ONE, 107.0)
    assert reason and remedy


def test_of_a_certificate_that_is_not_trusted_it_is_told_whose_it_should_be() -> None:
    reason, _ = reasons.told(found("NSS: ERROR: IPsec certificate CN=x invalid: SEC_ERROR_EXPIRED"), ONE, 1.0)

    assert ONE.peer_id in reason


def test_every_kind_that_is_found_is_among_these() -> None:
    assert {kind for kind, _ in reasons._FOUND} == set(SAID.values())
