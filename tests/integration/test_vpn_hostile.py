"""Hostile ids, names and secrets go through a real charon: both ends mean the same by them, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from edgeward.errors import Unavailable
from edgeward.vpn.desired import Psk
from edgeward.vpn.drivers.strongswan.vici import Vici
from tests.integration.vpn_drivers import (
    Charons,
    changed,
    charons,
    connection,
    mirrored,
    state,
    strongswan_ends,
)
from tests.integration.vpn_rig import has_charon, needs_root

pytestmark = [needs_root, pytest.mark.skipif(not has_charon(), reason="no charon-systemd here")]
SHARP = st.text(alphabet="a@#=%,'\"\\\\{}[]:;\n\r\t\x01 é/.-+$`|<>~!\u202e", min_size=1, max_size=20)
IDS = SHARP | st.text(st.characters(exclude_characters="*\0"), min_size=1, max_size=25)
SECRETS = SHARP | st.text(min_size=1, max_size=60)


@pytest.fixture(scope="module")
def daemons(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Charons]:
    with charons(tmp_path_factory.mktemp("v")) as found:
        yield found


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)  # fmt: skip
@given(mine=IDS, theirs=IDS, secret=SECRETS)
@example(mine="@#414243", theirs="@@a@b", secret="0sQUJD")
@example(mine='C=DE, O=x, CN="', theirs="fqdn:#41", secret="\0x41\n}")
@example(mine="a%any", theirs="::", secret=" ")
def test_both_ends_mean_the_same_and_another_secret_does_not_do(
    daemons: Charons, mine: str, theirs: str, secret: str
) -> None:
    asyncio.run(_check(daemons, mine, theirs, secret))


async def _check(daemons: Charons, mine: str, theirs: str, secret: str) -> None:
    one = connection(local_id=mine, peer_id=theirs, name=mine, auth=Psk(secret=secret))
    bystander = connection(2)
    async with strongswan_ends(daemons) as ends:
        await ends.here.load(bystander, None, initiate=False)
        await ends.there.load(mirrored(one), None, initiate=False)
        await ends.here.load(one, None, initiate=False)
        await ends.here.initiate(one.id)
        await state(ends.there, one)
        assert await ends.here.loaded() == {one.id, bystander.id}
        assert len((await Vici(daemons.here).request("get-shared"))["keys"]) == 2

        await ends.here.unload(one.id)
        await ends.here.load(changed(one, auth=Psk(secret=f"{secret}!")), None, initiate=False)
        with pytest.raises(Unavailable, match="pre-shared keys differ"):
            await ends.here.initiate(one.id)
