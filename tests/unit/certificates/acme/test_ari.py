"""Renewal windows (RFC 9773)."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from edgeward.certificates.acme.answers import RenewalInfo, read
from edgeward.certificates.acme.ari import identifier, window
from edgeward.errors import Invalid, Unavailable

KEY = ec.generate_private_key(ec.SECP256R1())


def certificate(serial: int, key_identifier: bytes | None) -> str:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    builder = (
        x509.CertificateBuilder(x509.Name([]), x509.Name([]), KEY.public_key(), serial)
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=1))
    )
    if key_identifier is not None:
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier(key_identifier, None, None), critical=False
        )
    return builder.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def test_the_identifier_is_that_of_the_rfcs_own_example():
    key = bytes.fromhex("69885b6b87464041e1b37b847ba0ae2cde01c8d4")

    assert identifier(certificate(0x8765_4321, key)) == "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"


@given(st.integers(1, (1 << 159) - 1))
def test_the_serial_number_is_its_der_whatever_its_bits(serial):
    text = identifier(certificate(serial, b"k")).partition(".")[2]
    raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))

    assert int.from_bytes(raw, "big", signed=True) == serial
    assert len(raw) == 1 or not (raw[0] == 0 and raw[1] < 128)


@pytest.mark.parametrize("text", [certificate(1, None), "no certificate"])
def test_a_certificate_without_its_issuers_key_has_no_identifier(text):
    with pytest.raises(Invalid, match="which key signed it"):
        identifier(text)


def info(start: str, end: str) -> RenewalInfo:
    return read(RenewalInfo, f'{{"suggestedWindow": {{"start": "{start}", "end": "{end}"}}}}'.encode())


@given(st.none() | st.floats(0, 1e9))
def test_it_is_asked_again_within_a_day_and_not_within_a_minute(retry_after):
    found = window(info("2026-01-01T00:00:00Z", "2026-01-02T00:00:00+01:00"), retry_after, 1000.0)

    assert 60 <= found.ask_again - 1000 <= 86400
    assert found.start < found.end


@pytest.mark.parametrize("end", ["2026-01-01T00:00:00Z", "2025-12-31T00:00:00Z"])
def test_a_window_without_a_length_is_refused(end):
    with pytest.raises(Unavailable, match="ends before it starts"):
        window(info("2026-01-01T00:00:00Z", end), None, 0.0)


@pytest.mark.parametrize("start", ["0001-01-01T00:00:00", "2026-01-01T00:00:00"])
def test_a_time_of_no_zone_is_refused(start):
    with pytest.raises(Unavailable, match="not a renewalinfo"):
        window(info(start, "2026-02-01T00:00:00Z"), None, 0.0)


def test_an_answer_without_a_window_is_refused():
    with pytest.raises(Unavailable, match="not a renewalinfo: suggestedWindow"):
        read(RenewalInfo, b"{}")
