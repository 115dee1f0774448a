"""Secrets that listeners refer to, through a real node: authorities for visitors' certificates and their changes."""

from __future__ import annotations

import base64
import os
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.client_certificates import Authority
from tests.integration.node_rig import Rig, rig, within


@pytest.fixture
def edge(state_dir: Path) -> Iterator[Rig]:
    with rig(state_dir) as made:
        yield made


def shakes(edge: Rig, name: str, certificate: Path | None = None) -> bool:
    """Tell whether a handshake comes about, in TLS 1.2: there the visitor learns of it in the handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    if certificate is not None:
        context.load_cert_chain(certificate)
    try:
        with socket.create_connection(("127.0.0.1", edge.port), 5) as plain:
            context.wrap_socket(plain, server_hostname=name).close()
    except OSError:
        return False
    return True


def asking(name: str, authority: Authority) -> dict[tuple[str, str], dict[str, object]]:
    return {("domains", name): {"name": name, "client_certificates": {"ca": authority.pem}}}


def test_a_domain_asks_its_visitors_for_certificates_as_long_as_it_says_so(
    edge: Rig, state_dir: Path
) -> None:
    ours, others = Authority("ours"), Authority("others")
    alice, bob = ours.issue(state_dir, "alice"), others.issue(state_dir, "bob")
    edge.controller.declare("open.example")
    edge.controller.change(asking("*.private.example", ours))
    edge.controller.certify("open.example", "*.private.example")
    edge.start()

    def lets_in(*who: Path | None) -> bool:
        found = [w for w in (None, alice, bob) if shakes(edge, "a.private.example", w)]
        return found == list(who) and shakes(edge, "open.example")

    within(5, lambda: lets_in(alice), "its authority in force")
    edge.controller.change(asking("*.private.example", others))
    within(5, lambda: lets_in(bob), "another authority")

    edge.kill_node()
    assert lets_in(bob)
    edge.controller.stop()
    edge.start_node()
    assert edge.envoy is not None
    edge.envoy.end()
    edge.start_envoy()
    edge.wait_ready()
    assert lets_in(bob)


def test_a_hot_name_gets_its_chain_once_all_it_needs_is_there_and_keeps_it(edge: Rig) -> None:
    edge.controller.change({("domains", "hot.example"): {"name": "hot.example", "hot": True}})
    edge.controller.certify("hot.example")
    edge.start()
    assert edge.served("hot.example") and not reads_rsa(edge)

    rsa_twin = edge.controller.authority.issue("hot.example", key=rsa.generate_private_key(65537, 2048))
    beside = {"chain": rsa_twin["chain"], "key": rsa_twin["key"]}
    keys = [base64.b64encode(bytes([i]) * 80).decode() for i in range(3)]
    fresh = {**edge.controller.authority.issue("hot.example"), "rsa": beside, "ticket_keys": keys}
    edge.controller.change({("certificates", "hot.example"): fresh})
    within(5, lambda: reads_rsa(edge), "its RSA certificate")
    assert edge.visit("hot.example") == fresh["fingerprint"]
    assert edge.metric("edgeward_node_certificates")[""] == 1

    edge.kill_node()
    edge.controller.stop()
    edge.start_node()
    assert edge.envoy is not None
    edge.envoy.end()
    edge.start_envoy()
    edge.wait_ready()
    assert reads_rsa(edge) and edge.visit("hot.example") == fresh["fingerprint"]


def test_a_hot_names_certificate_is_another_within_a_second_and_gone_with_its_domain(edge: Rig) -> None:
    edge.controller.change({("domains", "hot.example"): {"name": "hot.example", "hot": True}})
    edge.start()
    for _ in range(2):
        fresh = renewed(edge)
        within(5, lambda now=fresh: edge.visit("hot.example") == now and reads_rsa(edge), "the new one")
    edge.controller.change(remove=[("domains", "hot.example")])
    within(5, lambda: edge.visit("hot.example") is None, "its end")
    assert not reads_rsa(edge)


def renewed(edge: Rig) -> str:
    """Give a hot name all it needs anew; gives the certificate's fingerprint."""
    twin = edge.controller.authority.issue("hot.example", key=rsa.generate_private_key(65537, 2048))
    keys = [base64.b64encode(os.urandom(80)).decode()]
    fresh = {**edge.controller.authority.issue("hot.example"), "rsa": twin, "ticket_keys": keys}
    edge.controller.change({("certificates", "hot.example"): fresh})
    return fresh["fingerprint"]


def reads_rsa(edge: Rig) -> bool:
    """Tell whether a visitor who knows no ECDSA is served."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256")
    try:
        with socket.create_connection(("127.0.0.1", edge.port), 5) as plain:
            context.wrap_socket(plain, server_hostname="hot.example").close()
    except OSError:
        return False
    return True


def test_a_domain_stops_asking(edge: Rig, state_dir: Path) -> None:
    ours = Authority("ours")
    alice = ours.issue(state_dir, "alice")
    edge.controller.change(asking("private.example", ours))
    edge.controller.certify("private.example")
    edge.start()
    within(5, lambda: shakes(edge, "private.example", alice), "its authority in force")
    assert not shakes(edge, "private.example")

    edge.controller.declare("private.example")
    within(5, lambda: shakes(edge, "private.example"), "no certificate being asked for")
    assert edge.log() is not None
