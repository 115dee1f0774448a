"""Every algorithm that may be declared, negotiated by real daemons; pings pass through each that ESP knows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from edgeward.errors import Invalid
from edgeward.vpn import algorithms
from edgeward.vpn.desired import Connection, Ike, Ipsec, Proposal
from edgeward.vpn.drivers.strongswan.refusals import refusals
from edgeward.vpn.drivers.strongswan.vici import Vici
from tests.integration.vpn_drivers import Charons, Ends, charons, connection, mirrored, state, strongswan_ends
from tests.integration.vpn_rig import has_charon, needs_root
from tests.patience import PATIENCE

pytestmark = [needs_root, pytest.mark.skipif(not has_charon(), reason="no charon-systemd here")]
USUAL = Proposal(encryption="aes-128", integrity="sha256", groups=("group19",))


@pytest.fixture(scope="module")
def daemons(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Charons]:
    with charons(tmp_path_factory.mktemp("v")) as found:
        yield found


@pytest.fixture
async def ends(daemons: Charons) -> AsyncIterator[Ends]:
    async with strongswan_ends(daemons) as found:
        yield found


def of_ike(proposal: Proposal, version: int) -> Connection:
    return connection(ike=Ike(version=version, proposals=(proposal,)), ipsec=Ipsec(proposals=(USUAL,)))


def of_esp(proposal: Proposal, version: int) -> Connection:
    own = proposal.encryption in algorithms.AEADS
    proposal = proposal.model_copy(update={"integrity": None if own else proposal.integrity})
    return connection(ike=Ike(version=version, proposals=(USUAL,)), ipsec=Ipsec(proposals=(proposal,)))


def variants(what: str, values: Iterator[object]) -> Iterator[Proposal]:
    for value in values:
        yield USUAL.model_copy(update={what: value})


def every(version: int) -> Iterator[Connection]:
    """Each algorithm once in IKE and once in ESP; what cannot go together is left out."""
    of_all = [
        *variants("encryption", iter(sorted(algorithms.ENCRYPTIONS))),
        *variants("integrity", iter(sorted(algorithms.INTEGRITIES))),
    ]
    groups = variants("groups", ((group,) for group in sorted(algorithms.GROUPS)))
    for proposal in (*of_all, *groups):
        yield of_ike(proposal, version)
    for proposal in of_all:
        yield of_esp(proposal, version)


async def check(ends: Ends, daemons: Charons, one: Connection) -> None:
    try:
        await ends.there.load(mirrored(one), None, initiate=False)
        await ends.here.load(one, None, initiate=False)
        await ends.here.initiate(one.id)
        found = await state(ends.here, one)
        assert found.children[0].algorithms, one
        assert any(daemons.ping() == 0 for _ in range(5)), one  # IKEv1: who answers may be a moment behind
    finally:
        await ends.here.unload(one.id)
        await ends.there.unload(one.id)


async def test_all_of_ikev2(ends: Ends, daemons: Charons) -> None:
    for one in every(2):
        assert refusals(one) == ()
        await check(ends, daemons, one)


@pytest.mark.slow
async def test_all_of_ikev1_but_what_is_refused_before(ends: Ends, daemons: Charons) -> None:
    taken = [one for one in every(1) if refusals(one) == ()]
    assert len(taken) > 50
    for one in taken:
        await check(ends, daemons, one)


async def test_aggressive_mode_and_several_networks_of_ikev1(ends: Ends, daemons: Charons) -> None:
    ike = Ike(version=1, aggressive=True, proposals=(USUAL,))
    one = connection(ike=ike, peer_networks=("10.2.0.0/24", "10.2.3.0/24"))
    await ends.there.load(mirrored(one), None, initiate=False)
    await ends.here.load(one, None, initiate=True)
    await ends.here.initiate(one.id)

    found = await state(ends.here, one)
    assert {child.peer for child in found.children} == {("10.2.0.0/24",), ("10.2.3.0/24",)}
    fewer = one.model_copy(update={"peer_networks": ("10.2.3.0/24",)})
    await ends.there.load(mirrored(fewer), mirrored(one), initiate=False)
    await ends.here.load(fewer, one, initiate=True)
    async with asyncio.timeout(10 * PATIENCE):
        while {child.peer for child in (await state(ends.here, one)).children} != {("10.2.3.0/24",)}:
            await asyncio.sleep(0.05)


@pytest.mark.slow
async def test_every_group_when_keys_are_renewed(ends: Ends, daemons: Charons) -> None:
    """The group of ESP is first used then."""
    for proposal in variants("groups", ((group,) for group in sorted(algorithms.GROUPS))):
        one = of_esp(proposal, 2)
        await ends.there.load(mirrored(one), None, initiate=False)
        await ends.here.load(one, None, initiate=False)
        await ends.here.initiate(one.id)
        before = (await state(ends.here, one)).children[0]
        await Vici(daemons.here).request("rekey", {"child": one.id})
        for _ in range(400):
            after = (await state(ends.here, one)).children
            if any(child.spi_in != before.spi_in for child in after):
                break
        assert any(len(child.algorithms) > len(before.algorithms) for child in after), one
        await ends.here.unload(one.id)
        await ends.there.unload(one.id)


async def test_what_this_strongswan_does_not_know_is_refused_with_the_remedy(ends: Ends) -> None:
    proposal = USUAL.model_copy(update={"groups": ("group19", "mlkem768")})
    try:
        await ends.here.load(of_ike(proposal, 2), None, initiate=False)
    except Invalid as error:
        assert "6.0 or later" in str(error)
    else:
        assert await ends.here.loaded()  # 6.0 and later take it
