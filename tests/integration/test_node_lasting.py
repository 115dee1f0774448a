"""Secrets that listeners refer to, through a real node: authorities for visitors' certificates and their changes."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

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
