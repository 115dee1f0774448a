"""What nodes say of tunnels is kept as the node says it that carries them, and news is told once."""

from __future__ import annotations

import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeward.vpn import store
from tests.unit.certificates.issuing import opened
from tests.unit.vpn.tunnels import GATEWAY, NOW, connection, heard, state

OTHER = "ba9876543210"


@pytest.fixture
async def database(database_url):
    async with opened(database_url) as found:
        yield found


async def said(database, node, *gateways, whole=False):
    async with database.writing() as writing:
        return await store.take(writing, node, gateways, NOW + 1, whole=whole)


async def phases(database):
    async with database.reading() as found:
        return await store.phases(found)


def known(*numbers_and_phases):
    return {connection(number).id: phase for number, phase in numbers_and_phases}


async def test_the_first_word_of_a_connection_and_each_other_phase_or_reason_is_news(database):
    up, down = state(), state(phase="down", reason="pre-shared keys differ")

    first = await said(database, "n1", heard(up))
    again = await said(database, "n1", heard(up.model_copy(update={"algorithms": "AES"})))
    then = await said(database, "n1", heard(down))

    assert [(m.before, m.now.phase) for m in first] == [(None, "active")]
    assert again == []
    assert [(m.before.phase, m.now.reason) for m in then] == [("active", "pre-shared keys differ")]
    async with database.reading() as found:
        held = (await store.states(found))[up.connection]
    assert (held.state, held.gateway, held.node, held.at) == (down, GATEWAY, "n1", NOW + 1)


async def test_what_is_not_among_the_whole_of_a_gateway_is_forgotten_and_what_is_left_out_of_a_part_stays(
    database,
):
    await said(database, "n1", heard(state(1), state(2)))
    await said(database, "n1", heard(state(2, "down"), whole=False))
    assert await phases(database) == known((1, "active"), (2, "down"))

    await said(database, "n1", heard(state(2, "down")))
    assert await phases(database) == known((2, "down"))


async def test_what_a_daemon_carried_that_ended_is_down_and_why_another_was_down_before_is_kept(database):
    wrong = state(2, "error", reason="pre-shared keys differ")
    await said(database, "n1", heard(state(1), wrong))
    moved = await said(database, "n1", heard(phase="starting", since=NOW + 9))

    assert [(m.before.phase, m.now.phase, m.now.since) for m in moved] == [("active", "down", NOW + 9)]
    assert await phases(database) == known((1, "down"), (2, "error"))
    await said(database, "n1", heard(state(1)))
    assert await phases(database) == known((1, "active"))


async def test_a_node_that_stands_by_does_not_speak_for_the_one_that_carries(database):
    await said(database, "n1", heard(state()))
    await said(database, "n2", heard(state(phase="down"), phase="standby"))
    assert await phases(database) == known((1, "active"))

    await said(database, "n1", heard(state(phase="down"), phase="standby"))
    await said(database, "n2", heard(state(), phase="running"))
    assert await phases(database) == known((1, "active"))
    async with database.reading() as found:
        assert {d.node: d.phase for d in await store.daemons(found, GATEWAY)} == {
            "n1": "standby",
            "n2": "running",
        }


async def test_a_node_that_is_back_takes_nothing_down_that_another_one_carries_by_now(database):
    await said(database, "n1", heard(state()))
    await said(database, "n2", heard(state()))
    for phase in ("starting", "standby", "down"):
        assert await said(database, "n1", heard(phase=phase)) == []
        assert await phases(database) == known((1, "active"))


async def test_a_node_that_says_all_it_has_is_taken_to_have_nothing_else(database):
    other = heard(state(2), gateway=OTHER)
    await said(database, "n1", heard(state(1)), other)
    await said(database, "n2", heard(state(3), gateway="111111111111"))
    await said(database, "n1", other, whole=True)

    assert await phases(database) == known((2, "active"), (3, "active"))
    async with database.writing() as writing:
        await store.forget_node(writing, "n1")
    assert await phases(database) == known((3, "active"))


async def test_what_the_webhook_was_told_outlives_further_news(database):
    await said(database, "n1", heard(state(phase="down")))
    async with database.writing() as writing:
        await store.tell(writing, {connection().id: "down"})
    await said(database, "n1", heard(state()))

    async with database.reading() as found:
        assert (await store.states(found, [connection().id]))[connection().id].told == "down"


async def test_a_row_of_another_version_is_read_as_far_as_it_goes(database):
    await said(database, "n1", heard(state(phase="down")))
    async with database.writing() as writing:
        await writing.connection.exec_driver_sql("UPDATE vpn_connections SET state = '{}'")

    async with database.reading() as found:
        assert (await store.states(found))[connection().id].state.phase == "down"


SAYING = st.lists(
    st.tuples(
        st.sampled_from(["n1", "n2"]),
        st.sampled_from(["running", "standby", "down"]),
        st.dictionaries(st.integers(1, 3), st.sampled_from(["active", "down", "connecting"])),
        st.booleans(),
    ),
    max_size=8,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SAYING)
async def test_news_adds_up_to_what_is_known(tmp_path_factory, sqlite_template, sayings):
    copy = shutil.copy(sqlite_template, tmp_path_factory.mktemp("db"))
    told: dict[str, str] = {}
    async with opened(f"sqlite:///{copy}") as database:
        for node, phase, found, whole in sayings:
            states = [state(number, how) for number, how in found.items()]
            for moved in await said(database, node, heard(*states, phase=phase, whole=whole)):
                assert moved.before is None or moved.before.phase == told[moved.now.connection]
                told[moved.now.connection] = moved.now.phase
        for name, how in (await phases(database)).items():
            assert told[name] == how
