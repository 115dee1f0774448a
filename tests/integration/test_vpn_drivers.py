"""What holds of every driver, whichever daemon it drives."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from edgeward.errors import NotFound, Unavailable
from edgeward.rootd.table import kernel
from edgeward.vpn.desired import Dpd, Ipsec, Psk
from edgeward.vpn.driver import State
from tests.integration.vpn_drivers import (
    AES128,
    GCM,
    Charons,
    Ends,
    both,
    changed,
    charons,
    connection,
    libreswan_ends,
    memory_ends,
    mirrored,
    plutos,
    state,
    strongswan_ends,
    up,
)
from tests.integration.vpn_rig import IS_ROOT, has_charon


@pytest.fixture(scope="module")
def daemons(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Charons | None]:
    """Two charons for all tests of this module; each leaves them as it found them."""
    if not (IS_ROOT and has_charon()):
        yield None
        return
    with charons(tmp_path_factory.mktemp("v")) as found:
        yield found


@pytest.fixture(scope="module")
def pluto_places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """Two plutos in the same way; they need a kernel with ESP: tests/uml has this suite run on one."""
    if not IS_ROOT or not kernel.has_esp():
        pytest.skip("this kernel has no ESP, or we are not root; tests/uml has one")
    with plutos(tmp_path_factory.mktemp("p")) as found:
        yield found


@pytest.fixture(params=["memory", "strongswan", "libreswan"])
async def ends(request: pytest.FixtureRequest, daemons: Charons | None) -> AsyncIterator[Ends]:
    async with AsyncExitStack() as stack:
        if request.param == "memory":
            yield await stack.enter_async_context(memory_ends())
        elif request.param == "libreswan":
            places = request.getfixturevalue("pluto_places")
            yield await stack.enter_async_context(libreswan_ends(*places))
        elif daemons is None:
            pytest.skip("only root makes network namespaces, and charon-systemd is to be there")
        else:
            yield await stack.enter_async_context(strongswan_ends(daemons))


def spis(found: State) -> set[tuple[str, str]]:
    return {(child.spi_in, child.spi_out) for child in found.children}


async def test_nothing_is_known_at_first_and_what_is_loaded_is_known(ends: Ends) -> None:
    one = connection()
    assert await ends.here.loaded() == frozenset()
    assert await ends.here.states() == {}

    await ends.here.load(one, None, initiate=False)
    assert await ends.here.loaded() == {one.id}
    assert set(await ends.here.states()) == {one.id}


async def test_a_tunnel_comes_up_on_both_ends_and_is_told_of(ends: Ends) -> None:
    one = connection()
    found = await up(ends, one)

    assert (found.reason, found.remedy, found.peer_address) == ("", "", one.peer_address)
    assert found.algorithms
    (child,) = found.children
    assert (child.local, child.peer) == (one.local_networks, one.peer_networks)
    assert child.spi_in
    assert child.algorithms
    assert abs(child.since - found.since) < 30


async def test_what_is_not_to_begin_waits_for_its_peer(ends: Ends) -> None:
    one = connection()
    await ends.here.load(one, None, initiate=False)
    await ends.there.load(mirrored(one), None, initiate=True)  # it only answers, too
    await asyncio.sleep(0.1)
    assert (await state(ends.here, one, "down")).children == ()

    await ends.here.initiate(one.id)
    await state(ends.there, one)


async def test_the_same_again_changes_nothing(ends: Ends) -> None:
    one = connection()
    before = await up(ends, one)

    await ends.here.load(one, one, initiate=True)
    await ends.here.load(one, None, initiate=True)
    await ends.here.initiate(one.id)
    assert spis(await state(ends.here, one)) == spis(before)


async def test_other_algorithms_make_new_keys_and_leave_others_alone(ends: Ends) -> None:
    one, other = connection(1), connection(2)
    before, of_other = await up(ends, one), await up(ends, other)

    await both(ends, one, changed(one, ipsec=Ipsec(proposals=(GCM,))))
    after = await state(ends.here, one)
    assert spis(after).isdisjoint(spis(before))
    assert len(after.children) == 1
    assert "256" in after.children[0].algorithms
    assert spis(await state(ends.here, other)) == spis(of_other)


async def test_other_networks_are_carried_instead(ends: Ends) -> None:
    one = connection()
    await up(ends, one)

    other = changed(one, local_networks=("10.1.3.0/24",), peer_networks=("10.2.3.0/24",))
    await both(ends, one, other)
    (child,) = (await state(ends.here, one)).children
    assert (child.local, child.peer) == (("10.1.3.0/24",), ("10.2.3.0/24",))
    assert len((await state(ends.there, one)).children) == 1


async def test_another_way_of_watching_the_peer_is_in_force_at_once(ends: Ends) -> None:
    one = connection()
    before = await up(ends, one)

    await both(ends, one, changed(one, dpd=Dpd(action="restart", interval=7, timeout=20)))
    after = await state(ends.here, one)
    assert spis(after).isdisjoint(spis(before))
    assert len(after.children) == 1


async def test_another_secret_is_proven_at_once(ends: Ends) -> None:
    one = connection()
    await up(ends, one)

    await both(ends, one, changed(one, auth=Psk(secret="another secret of both")))
    assert len((await state(ends.here, one)).children) == 1

    wrong = changed(one, auth=Psk(secret="one that the peer does not have"))
    await ends.here.load(wrong, changed(one, auth=Psk(secret="another secret of both")), initiate=True)
    found = await state(ends.here, one, "error")
    assert "pre-shared keys differ" in found.reason
    assert "secret" in found.remedy or "ids" in found.remedy
    assert found.children == ()
    assert "a secret" not in repr(found) + repr(wrong)


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ({"auth": Psk(secret="another")}, "pre-shared keys differ"),
        ({"ipsec": Ipsec(proposals=(GCM,))}, "refused our proposals for ESP"),
        ({"peer_networks": ("10.9.0.0/24",)}, "refused our networks"),
    ],
    ids=["secret", "proposals", "networks"],
)
async def test_what_does_not_come_up_says_why_and_what_to_do(
    ends: Ends, what: dict[str, object], words: str
) -> None:
    one = changed(connection(), **what)
    await ends.there.load(mirrored(connection()), None, initiate=False)
    await ends.here.load(one, None, initiate=False)

    with pytest.raises(Unavailable, match=words):
        await ends.here.initiate(one.id)
    found = await state(ends.here, one, "error")
    assert words in found.reason
    assert found.remedy
    there = await state(ends.there, one, "error")
    assert there.reason


async def test_a_peer_that_is_not_there_is_named(ends: Ends) -> None:
    one = changed(connection(), peer_address="198.51.1.77")
    await ends.here.load(one, None, initiate=False)

    with pytest.raises(Unavailable, match=r"no answer from 198\.51\.1\.77"):
        await ends.here.initiate(one.id)


async def test_one_that_is_terminated_stays_known_and_down_until_it_is_initiated(ends: Ends) -> None:
    one = connection()
    await up(ends, one)

    await ends.here.terminate(one.id)
    await state(ends.here, one, "down")
    assert (await state(ends.there, one, "down")).children == ()
    assert await ends.here.loaded() == {one.id}
    await ends.here.initiate(one.id)
    await state(ends.there, one)


async def test_one_that_the_peer_ends_comes_up_again(ends: Ends) -> None:
    one = connection()
    before = await up(ends, one)

    await ends.there.terminate(one.id)
    for _ in range(500):
        after = (await ends.here.states())[one.id]
        if after.phase == "active" and spis(after) != spis(before):
            break
        await asyncio.sleep(0.01)
    assert spis(after).isdisjoint(spis(before))


async def test_what_is_unloaded_is_gone_on_both_ends_and_nobody_can_begin_it(ends: Ends) -> None:
    one = connection()
    await up(ends, one)

    await ends.here.unload(one.id)
    await ends.here.unload(one.id)
    assert await ends.here.loaded() == frozenset()
    assert await ends.here.states() == {}
    await state(ends.there, one, "down")
    with pytest.raises(Unavailable):
        await ends.there.initiate(one.id)
    for call in (ends.here.initiate, ends.here.terminate):
        with pytest.raises(NotFound):
            await call(one.id)


async def test_one_that_is_disabled_is_known_and_neither_answers_nor_begins(ends: Ends) -> None:
    one = connection()
    await up(ends, one)

    await ends.here.load(changed(one, enabled=False), one, initiate=True)
    assert await ends.here.loaded() == {one.id}
    assert (await state(ends.here, one, "disabled")).children == ()
    await state(ends.there, one, "down")
    with pytest.raises(Unavailable):
        await ends.there.initiate(one.id)
    await ends.here.load(one, changed(one, enabled=False), initiate=True)
    await state(ends.here, one)


async def test_connections_between_the_same_peers_and_ids_live_and_end_apart(ends: Ends) -> None:
    one = connection(1)
    other = changed(connection(2), local_id=one.local_id, peer_id=one.peer_id)
    first = await up(ends, one)
    second = await up(ends, other)
    assert spis(await state(ends.here, one)) == spis(first)

    await ends.here.terminate(other.id)
    await state(ends.here, other, "down")
    assert spis(await state(ends.here, one)) == spis(first)
    await ends.here.initiate(other.id)
    second = await state(ends.here, other)
    if not ends.apart:
        await both(ends, one, changed(one, dpd=Dpd(action="restart", interval=7, timeout=20)))
        assert spis(await state(ends.here, one)).isdisjoint(spis(first))
        assert (await state(ends.here, other)).children
        return
    await both(ends, one, changed(one, ipsec=Ipsec(proposals=(GCM,))))
    assert spis(await state(ends.here, one)).isdisjoint(spis(first))
    assert spis(await state(ends.here, other)) == spis(second)
    await ends.here.unload(one.id)
    assert await ends.here.loaded() == {other.id}
    assert spis(await state(ends.here, other)) == spis(second)


async def test_another_driver_finds_everything_and_disturbs_nothing(ends: Ends) -> None:
    one, other = connection(1), connection(2)
    before = {each.id: spis(await up(ends, each)) for each in (one, other)}
    await ends.here.close()

    again = await ends.reopened([one, other])
    assert await again.loaded() == {one.id, other.id}
    for each in (one, other):
        await again.load(each, each, initiate=True)
    assert {key: spis(found) for key, found in (await again.states()).items()} == before


async def test_events_name_what_may_be_in_another_state(ends: Ends) -> None:
    one, heard = connection(), asyncio.Queue[str]()

    async def follow() -> None:
        async for each in ends.here.events():
            await heard.put(each)

    following = asyncio.create_task(follow())
    await asyncio.sleep(0)
    await up(ends, one)
    assert await asyncio.wait_for(heard.get(), 30) == one.id
    await asyncio.sleep(0.3)
    while not heard.empty():
        heard.get_nowait()
    await ends.there.terminate(one.id)
    assert await asyncio.wait_for(heard.get(), 30) == one.id
    following.cancel()


async def test_what_it_wrote_of_one_is_given_without_its_secret(ends: Ends) -> None:
    one, began = (
        connection(auth=Psk(secret="canary of both")),
        time.time(),
    )  # others wrote before into pluto's
    await up(ends, one)
    await up(ends, connection(2))
    await ends.here.terminate(one.id)

    for driver in (ends.here, ends.there):
        found = await driver.lines(one.id, 1000)
        assert found and [at for at, _ in found] == sorted(at for at, _ in found)
        assert began - 1 <= found[-1][0] <= time.time() + 1
        assert not any("canary" in text for _, text in found), found
        assert len(await driver.lines(one.id, 2)) == 2
    assert await ends.here.lines("unknown", 10) == ()


async def test_how_much_it_logs_is_said_and_disturbs_nothing(ends: Ends) -> None:
    before = await up(ends, connection())
    await ends.here.verbosity(2)
    await ends.here.verbosity(1)
    assert spis(await state(ends.here, connection())) == spis(before)


async def test_the_best_that_both_can_do_is_taken(ends: Ends) -> None:
    one = connection()
    best = GCM.model_copy(update={"groups": AES128.groups})
    many = changed(one, ipsec=Ipsec(proposals=(best, AES128)))
    await ends.there.load(mirrored(one), None, initiate=False)
    await ends.here.load(many, None, initiate=True)
    assert (await state(ends.here, one)).children
