"""Programs are killed at random while visitors come, an authority is ordered from and the declaration changes.

At the end everything acknowledged is there and served, no name was ordered twice, and nobody who came while
Envoy lived was turned away.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from tests.faults.storm import Storm, served
from tests.integration.acme import Needs, Pebble, pebble
from tests.integration.rootd_rig import IS_ROOT
from tests.integration.up_rig import started
from tests.integration.vpn_rig import has_charon


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory, needs: Needs) -> Iterator[Pebble]:
    with pebble(tmp_path_factory.mktemp("pebble"), needs, always_valid=True) as made:
        yield made


async def storm(authority: Pebble, seed: int, kills: int) -> None:
    print("seed", seed)
    acme = {"directory": authority.directory, "ca_file": str(authority.ca_file)}
    issuers = {"issuers": [{"name": "pebble", "acme": acme}]}
    orders, issued = authority.orders(), authority.issued()
    with started(issuers, {"EDGEWARD_DNS_SERVERS": authority.names.address}) as edge:
        await served(edge)
        found = Storm(edge, authority, random.Random(seed))
        await found.rage(kills)
    found.cost_nothing(orders, issued)


@pytest.mark.skipif(IS_ROOT and has_charon(), reason="the short storm over tunnels does the same and more")
@pytest.mark.timeout(240)
async def test_a_short_storm_costs_nothing(authority: Pebble) -> None:
    await storm(authority, seed=7, kills=4)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_a_long_storm_costs_nothing(authority: Pebble, seed: int) -> None:
    await storm(authority, seed, kills=60)
