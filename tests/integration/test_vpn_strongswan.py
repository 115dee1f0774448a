"""What is strongSwan's alone: certificates, IPv6, daemons that are killed, peers that vanish."""

from __future__ import annotations

import asyncio
import datetime
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from edgeward.errors import Invalid, Unavailable
from edgeward.secret import Secret
from edgeward.vpn.desired import Certificate, Connection, Dpd, Ike, Ipsec, Psk
from edgeward.vpn.driver import Driver
from edgeward.vpn.drivers.strongswan.driver import opened
from edgeward.vpn.drivers.strongswan.vici import Vici
from tests.integration.vpn_drivers import AES128, changed, connection, mirrored, state
from tests.integration.vpn_rig import (
    IS_ROOT,
    Site,
    Wan,
    has_charon,
    has_esp,
    needs_root,
    ping,
    wide_area,
)

pytestmark = [needs_root, pytest.mark.skipif(not has_charon(), reason="no charon-systemd here")]

needs_esp = pytest.mark.skipif(not (IS_ROOT and has_esp()), reason="this kernel has no ESP")


@pytest.fixture
def wan(state_dir: Path) -> Iterator[Wan]:
    with wide_area(state_dir) as found:
        yield found


class Authority:
    """One that signs certificates for both ends."""

    def __init__(self, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        made = self._signed(self._name, self._key, x509.BasicConstraints(ca=True, path_length=None))
        self.pem = _pem(made)

    def proof(self, name: str, trusted: Authority | None = None) -> Certificate:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        made = self._signed(subject, key, x509.SubjectAlternativeName([x509.DNSName(name)]))
        pkcs8, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        text = key.private_bytes(serialization.Encoding.PEM, pkcs8, none).decode()
        return Certificate(chain=_pem(made), key=Secret(text), authority=(trusted or self).pem)

    def _signed(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, extension: x509.ExtensionType
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=30))
            .add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        )
        return builder.sign(self._key, hashes.SHA256())


def _pem(made: x509.Certificate) -> str:
    return made.public_bytes(serialization.Encoding.PEM).decode()


async def test_peers_prove_who_they_are_by_certificates(wan: Wan) -> None:
    authority, other = Authority("Edgeward tests"), Authority("somebody else")
    one = connection(auth=authority.proof("here-1.example"))
    theirs = changed(mirrored(one), auth=authority.proof("there-1.example"))
    here, there = wan.site(1), wan.site(2)
    with here.charon() as mine, there.charon() as far:
        driver, peer = await opened(mine.socket), await opened(far.socket)
        await peer.load(theirs, None, initiate=False)
        await driver.load(one, None, initiate=True)
        await state(driver, one)
        assert ping(here, here.inner, there.inner) == 0

        stranger = changed(one, auth=authority.proof("here-1.example", trusted=other))
        await driver.load(stranger, one, initiate=True)
        found = await state(driver, one, "error")
        assert "no authority that is trusted here" in found.reason or "not what is declared" in found.reason
        with pytest.raises(Invalid, match="does not take it"):
            await driver.load(changed(one, auth=changed_key(one, "no key")), stranger, initiate=True)
        await driver.load(one, stranger, initiate=True)
        await state(driver, one)
        await driver.unload(one.id)
        assert (await Vici(mine.socket).request("get-keys")).get("keys", []) == []
        for each in (driver, peer):
            await each.close()


def changed_key(one: Connection, key: str) -> Certificate:
    assert isinstance(one.auth, Certificate)
    return one.auth.model_copy(update={"key": Secret(key)})


async def test_ipv6_inside_and_outside(wan: Wan) -> None:
    here, there = wan.site(1), wan.site(2)
    one = connection(
        local_address=here.outside6, peer_address=there.outside6, local_id=here.outside6, peer_id=there.outside6,
        local_networks=(here.network6, here.network), peer_networks=(there.network6, there.network),
    )  # fmt: skip
    with here.charon() as mine, there.charon() as far:
        driver, peer = await opened(mine.socket), await opened(far.socket)
        await peer.load(mirrored(one), None, initiate=False)
        await driver.load(one, None, initiate=True)
        await state(driver, one)
        assert ping(here, here.inner6, there.inner6) == 0
        assert ping(here, here.inner, there.inner) == 0
        for each in (driver, peer):
            await each.close()


async def test_a_daemon_that_is_killed_is_driven_anew_and_its_peer_takes_it_back(wan: Wan) -> None:
    one = connection()
    here, there = wan.site(1), wan.site(2)
    with there.charon() as far:
        peer = await opened(far.socket)
        await peer.load(mirrored(one), None, initiate=False)
        with here.charon() as mine:
            driver = await opened(mine.socket)
            await driver.load(one, None, initiate=True)
            await state(driver, one)
            ended = asyncio.create_task(_heard(driver))
            await asyncio.sleep(0)
            mine.process.send(9)
            await asyncio.wait_for(ended, 30)
            with pytest.raises(Unavailable):
                await driver.states()
            await driver.close()
        with here.charon() as mine:
            again = await opened(mine.socket, [one])
            assert await again.loaded() == frozenset()
            assert await again.states() == {}
            await again.load(one, one, initiate=True)
            await state(again, one)
            assert ping(here, here.inner, there.inner) == 0
            assert len((await peer.states())[one.id].children) == 1
            await again.close()
        await peer.close()


async def _heard(driver: Driver) -> None:
    async for _ in driver.events():
        pass


@pytest.mark.slow
async def test_a_peer_that_vanishes_is_missed_and_taken_back_once_it_answers(wan: Wan) -> None:
    one = connection(dpd=Dpd(action="restart", interval=2))
    here, there = wan.site(1), wan.site(2)
    with here.charon() as mine:
        driver = await opened(mine.socket)
        with there.charon() as far:
            peer = await opened(far.socket)
            await peer.load(mirrored(one), None, initiate=False)
            await driver.load(one, None, initiate=True)
            await state(driver, one)
            far.process.send(9)
            await peer.close()
            found = await state(driver, one, "connecting", 15)
            assert "no answer from 198.51.2.2" in found.reason
        with there.charon() as far:
            peer = await opened(far.socket)
            await peer.load(mirrored(one), None, initiate=False)
            await state(driver, one, seconds=10)
            assert ping(here, here.inner, there.inner) == 0
            await peer.close()
        await driver.close()


async def test_what_the_peer_says_of_itself_is_told_though_nobody_begins_here(wan: Wan) -> None:
    one = connection()
    here, there = wan.site(1), wan.site(2)
    with here.charon() as mine, there.charon() as far:
        driver, peer = await opened(mine.socket), await opened(far.socket)
        await driver.load(one, None, initiate=False)
        for what, words in (
            ({"local_id": "moon.example"}, "says it is 'moon.example'"),
            (
                {"ike": Ike(proposals=(AES128.model_copy(update={"groups": ("group20",)}),))},
                "the peer offered",
            ),
            ({"ike": Ike(version=1, proposals=(AES128,))}, "the same IKE version"),
            ({"auth": Psk(secret="another")}, "pre-shared keys differ"),
            ({"local_networks": ("10.9.0.0/24",)}, "asked for 10.1.0.0/24 here and 10.9.0.0/24 there"),
        ):
            theirs = changed(mirrored(one), **what)
            await peer.load(theirs, None, initiate=False)
            with pytest.raises(Unavailable):
                await peer.initiate(one.id)
            for _ in range(500):  # what it said before is there until it says something else
                found = await state(driver, one, "error")
                if words in f"{found.reason}; {found.remedy}":
                    break
                await asyncio.sleep(0.01)
            assert words in f"{found.reason}; {found.remedy}"
            await peer.unload(one.id)
        for each in (driver, peer):
            await each.close()


@needs_esp
async def test_traffic_starts_a_tunnel_that_should_be_up_and_none_that_should_not(wan: Wan) -> None:
    one = connection()
    here, there = wan.site(1), wan.site(2)
    with here.charon() as mine, there.charon() as far:
        driver, peer = await opened(mine.socket), await opened(far.socket)
        await peer.load(mirrored(one), None, initiate=False)
        await driver.load(one, None, initiate=False)
        assert await asyncio.to_thread(ping, here, here.inner, there.inner) == 3
        await driver.initiate(one.id)
        await state(peer, one)

        await driver.terminate(one.id)
        assert await asyncio.to_thread(ping, here, here.inner, there.inner) == 3
        await state(driver, one, "down")
        await driver.initiate(one.id)
        await driver.close()  # nobody is there to begin it again
        await peer.terminate(one.id)
        assert await asyncio.to_thread(ping, here, here.inner, there.inner, 25) < 10
        await state(peer, one)
        await peer.close()


@needs_esp
@pytest.mark.parametrize("what", ["ah", "transport"])
async def test_what_only_the_kernel_can_do(wan: Wan, what: str) -> None:
    here, there = wan.site(1), wan.site(2)
    ipsec = Ipsec(proposals=(AES128,))
    one = changed(connection(), ipsec=changed(ipsec, protocol="ah"))
    if what == "transport":
        ends = {"local_networks": (f"{here.outside}/32",), "peer_networks": (f"{there.outside}/32",)}
        one = changed(connection(), ipsec=changed(ipsec, mode="transport"), **ends)
    with here.charon() as mine, there.charon() as far:
        driver, peer = await opened(mine.socket), await opened(far.socket)
        await peer.load(mirrored(one), None, initiate=False)
        await driver.load(one, None, initiate=True)
        await driver.initiate(one.id)
        await state(peer, one)
        source, target = (here.inner, there.inner) if what == "ah" else (here.outside, there.outside)
        assert ping(here, source, target) == 0
        assert (await state(driver, one)).children[0].packets_out >= 3
        for each in (driver, peer):
            await each.close()


@pytest.mark.slow
async def test_of_two_that_both_ends_began_at_once_one_is_ended(wan: Wan) -> None:
    one = connection()
    here, there = wan.site(1), wan.site(2)
    with here.charon() as mine, there.charon() as far:
        driver, peer = await opened(mine.socket), await opened(far.socket)
        for _ in range(20):  # until they really meet
            await asyncio.gather(
                peer.load(changed(mirrored(one), initiator=True), None, initiate=True),
                driver.load(one, None, initiate=True),
            )
            await state(driver, one)
            await asyncio.sleep(0.2)
            if len((await driver.states())[one.id].children) == 2:
                break
            await driver.unload(one.id)
            await peer.unload(one.id)
        else:
            pytest.skip("they never began at once")
        end = time.monotonic() + 120
        while True:
            ours = {child.spi_in for child in (await state(driver, one)).children}
            theirs = {child.spi_out for child in (await state(peer, one)).children}
            assert ours & theirs, "at each moment both ends have one in common"
            if len(ours) == len(theirs) == 1:
                break
            assert time.monotonic() < end
            await asyncio.sleep(0.1)
        assert await asyncio.to_thread(ping, here, here.inner, there.inner) == 0
        for each in (driver, peer):
            await each.close()


def test_sites_are_apart(wan: Wan) -> None:
    """The control of this rig: what is no tunnel's goes nowhere."""
    here, there = wan.site(1), wan.site(2)
    assert isinstance(here, Site)
    assert ping(here, here.inner, there.inner, count=2) == 2
