"""Certificates that OpenSSL's strictest reading and Python's TLS accept."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import subprocess
import threading
import time

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtensionOID
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgeward.certificates.local.signing import DAY, LeafSigner, new_intermediate, new_root, read_signer
from edgeward.certificates.x509 import pem

NOW = time.time()
ROOT = new_root(NOW)
INTERMEDIATE = new_intermediate(ROOT, NOW)
LEAVES = LeafSigner(INTERMEDIATE)


@pytest.mark.parametrize(
    "name",
    ["shop.example", "*.customers.example", ".".join(["a" * 63] * 3 + ["b" * 61]), "xn--bcher-kva.example"],
)
def test_openssl_verifies_the_chain_strictly(tmp_path, needs, name):
    leaf = LEAVES.sign([name], [], 7 * DAY, NOW)
    (tmp_path / "root.pem").write_text(ROOT.pem)
    (tmp_path / "chain.pem").write_text(INTERMEDIATE.pem)
    (tmp_path / "leaf.pem").write_text(leaf.certificate)
    visited = name.replace("*", "anybody")

    verified = subprocess.run(
        [
            *(needs("openssl"), "verify", "-x509_strict", "-check_ss_sig", "-purpose", "sslserver"),
            *("-verify_hostname", visited, "-CAfile", tmp_path / "root.pem"),
            *("-untrusted", tmp_path / "chain.pem", tmp_path / "leaf.pem"),
        ],
        capture_output=True,
        text=True,
        timeout=30,
    )

    assert verified.returncode == 0, verified.stderr


def test_python_visits_a_server_with_it_and_refuses_another_name(tmp_path):
    leaf = LEAVES.sign(["shop.example"], [ipaddress.ip_address("127.0.0.1")], 7 * DAY, NOW)
    (tmp_path / "chain.pem").write_text(leaf.certificate + INTERMEDIATE.pem + leaf.key)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "chain.pem")
    visitor = ssl.create_default_context(cadata=ROOT.pem)
    visitor.verify_flags |= ssl.VERIFY_X509_STRICT

    assert handshake(server, visitor, "shop.example")
    assert handshake(server, visitor, "127.0.0.1")
    assert not handshake(server, visitor, "other.example")


def handshake(server: ssl.SSLContext, visitor: ssl.SSLContext, name: str) -> bool:
    ours, theirs = socket.socketpair()

    def serve() -> None:
        try:
            server.wrap_socket(ours, server_side=True).close()
        except (ssl.SSLError, OSError):
            ours.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with visitor.wrap_socket(theirs, server_hostname=name):
            return True
    except ssl.SSLCertVerificationError:
        return False
    finally:
        theirs.close()
        thread.join(30)


@settings(max_examples=20)
@given(st.integers(60, int(800 * DAY)), st.integers(0, int(364 * DAY)))
@example(int(800 * DAY), 0)
@example(int(7 * DAY), int(364 * DAY))
def test_a_leaf_never_outlives_its_intermediate_and_starts_a_little_early(lifetime, later):
    leaf = LEAVES.sign(["a.example"], [], lifetime, NOW + later)
    end = INTERMEDIATE.certificate.not_valid_after_utc.timestamp()

    assert leaf.not_after.timestamp() == min(int(NOW + later + lifetime), end)
    assert 300 <= NOW + later - leaf.not_before.timestamp() < 302
    assert leaf.not_before >= INTERMEDIATE.certificate.not_valid_before_utc


def test_a_leaf_says_exactly_what_it_is_for():
    certificate = x509.load_pem_x509_certificate(
        LEAVES.sign(["a.example", "b.example"], [], DAY, NOW).certificate.encode()
    )
    names = certificate.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME)

    assert names.critical
    assert names.value.get_values_for_type(x509.DNSName) == ["a.example", "b.example"]
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert certificate.serial_number.bit_length() > 64


def test_the_intermediate_signs_leaves_only():
    constraints = INTERMEDIATE.certificate.extensions.get_extension_for_class(x509.BasicConstraints)

    assert constraints.critical
    assert constraints.value.path_length == 0


def test_an_intermediate_ends_no_later_than_its_root():
    late = new_intermediate(ROOT, NOW + 3600 * DAY)

    assert late.certificate.not_valid_after_utc == ROOT.certificate.not_valid_after_utc


def test_a_key_of_another_certificate_is_noticed():
    assert pem(read_signer(ROOT.pem, ROOT.key_pem).certificate) == ROOT.pem
    with pytest.raises(ValueError, match="does not belong"):
        read_signer(ROOT.pem, INTERMEDIATE.key_pem)
