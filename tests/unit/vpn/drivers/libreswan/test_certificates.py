"""Certificates in a real NSS database, and the programs that put them there."""

from __future__ import annotations

import asyncio
import datetime
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from edgeward.errors import Unavailable
from edgeward.secret import Secret
from edgeward.vpn.desired import Certificate
from edgeward.vpn.drivers.libreswan import certificates
from edgeward.vpn.drivers.libreswan.certificates import Certificates
from tests.unit.vpn.values import connection

nss = pytest.mark.skipif(shutil.which("pk12util") is None, reason="libnss3-tools is not installed")


def certificate() -> Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gw.example.com")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1)).sign(key, hashes.SHA256())
    )  # fmt: skip
    pem = made.public_bytes(serialization.Encoding.PEM).decode()
    told = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Certificate(chain=pem, key=Secret(told.decode()), authority=pem)


class Stopped(Certificates):
    """Its node is killed, or its time is over, before all is there."""

    async def _certutil(self, words: Sequence[str], given: bytes = b"") -> None:
        if "-A" in words:
            raise Unavailable("certutil does not come to an end")
        await super()._certutil(words, given)


@nss
async def test_no_key_stays_of_what_came_half(tmp_path: Path) -> None:
    place = tmp_path / "nss"
    place.mkdir()
    made = ["certutil", "-N", "-d", f"sql:{place}", "--empty-password"]
    subprocess.run(made, check=True, capture_output=True, timeout=30)
    one = connection(auth=certificate())
    with pytest.raises(Unavailable):
        await Stopped(place).have(one)

    await Certificates(place).forget(one.id)

    listed = ["certutil", "-K", "-d", f"sql:{place}"]
    keys = subprocess.run(listed, check=False, capture_output=True, timeout=30, text=True)
    assert one.id not in keys.stdout + keys.stderr
    assert "no keys found" in keys.stdout + keys.stderr


async def test_a_program_ends_with_who_waits_for_it() -> None:
    before = children()
    running = asyncio.create_task(certificates._run("sleep", ("60",)))
    async with asyncio.timeout(30):
        while not children() - before:
            await asyncio.sleep(0.01)
    made = children() - before

    running.cancel()
    await asyncio.wait([running])

    assert not children() & made


def children() -> set[str]:
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())
