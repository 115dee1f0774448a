"""What is told of nodes: each change once, whatever controller they follow and however often it starts."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeward.access.authenticate import Authenticator
from edgeward.controller.declared.state import State
from edgeward.controller.nodes.fleet import Controller as Member
from edgeward.controller.nodes.fleet import Fleet
from edgeward.controller.nodes.health_events import Telling
from edgeward.controller.nodes.registry import Registry
from edgeward.controller.nodes.usecases import Nodes
from edgeward.declaration import events, told
from edgeward.declaration.events import Wanted
from edgeward.declaration.feed import EnvoyState, Rejection, Report
from edgeward.declaration.store import Position
from edgeward.declaration.told import Told
from edgeward.sealing import Seal
from tests.unit.certificates.issuing import opened

START = 1_800_000_000.0


class Installation:
    """Some controllers over one database, and a clock that is set by hand."""

    def __init__(self, database) -> None:
        self.database = database
        self.now = START
        self.position = 0

    def controller(self) -> Controller:
        return Controller(self)

    def clock(self) -> float:
        return self.now

    async def news(self) -> list[tuple]:
        """Give what was told since the last time."""
        async with self.database.reading() as connection:
            found = await events.after(connection, self.position, Wanted(("node",)), 1000)
        self.position = found[-1].id if found else self.position
        return [
            (e.data["node"], e.data["what"], *(e.data[k] for k in ("revision", "object") if k in e.data))
            for e in found
        ]


class Controller:
    def __init__(self, installation: Installation) -> None:
        self.registry = Registry(installation.clock)
        self.state = State()
        database, clock = installation.database, installation.clock
        access = Authenticator(database, clock)
        me = Member(str(uuid.uuid4()), "host", "", "1", clock(), clock())
        fleet = Fleet(database, self.registry, access, me, clock)
        self.nodes = Nodes(database, Seal(bytes(32)), self.registry, access, lambda: "", clock, fleet.note)
        self.telling = Telling(database, self.registry, self.state, clock, me.id)
        self.here = installation
        self.streams = {}

    async def join(self, *names: str) -> None:
        for name in names:
            await self.nodes.identity(name, "https://127.0.0.1:1", "test")

    async def connect(self, name: str, revision: int | None = 0) -> None:
        self.streams[name] = await self.registry.begin(name, "t")
        if revision is not None:
            await self.report(name, revision)

    async def report(self, name: str, revision: int, *rejected: str) -> None:
        rejections = tuple(Rejection(object=key, message="no", revision=revision) for key in rejected)
        state = EnvoyState(state="serving")
        one = Report(version="1", revision=revision, received=revision, envoy=state, rejections=rejections)
        if await self.registry.reported(name, one):
            async with self.here.database.writing() as writing:
                await writing.connection.exec_driver_sql(
                    f"UPDATE nodes SET seen = {self.here.now} WHERE name = '{name}'"
                )

    async def leave(self, name: str) -> None:
        await self.registry.end(name, self.streams.pop(name))

    async def tell(self, seconds: float = 0.0) -> list[tuple]:
        """Let time pass a second at a time; give what is told of it."""
        for _ in range(round(seconds)):
            await self.telling.tell()
            self.here.now += 1
        await self.telling.tell()
        return await self.here.news()

    def declared(self, revision: int) -> None:
        self.state._position = Position(revision)


@pytest.fixture
async def here(database_url):
    async with opened(database_url) as database:
        yield Installation(database)


async def test_joining_coming_and_going_are_told_once(here):
    one = here.controller()
    await one.join("n1")
    assert await one.tell() == [("n1", "joined")]
    await one.connect("n1")
    assert await one.tell(3) == [("n1", "connected")]
    await one.leave("n1")
    assert await one.tell(2) == [], "it may be back in a moment"
    assert await one.tell(5) == [("n1", "disconnected")]
    await one.connect("n1")
    assert await one.tell(3) == [("n1", "connected")]


async def test_a_node_that_is_back_at_once_was_not_away(here):
    one = here.controller()
    await one.join("n1")
    await one.connect("n1")
    await one.tell()
    await one.leave("n1")
    await one.tell(1)
    await one.connect("n1")
    assert await one.tell(10) == []


async def test_a_node_that_falls_silent_is_told_to_be_gone(here):
    one = here.controller()
    await one.join("n1")
    await one.connect("n1")
    await one.tell()

    assert await one.tell(30) == [("n1", "disconnected")]


async def test_declared_revisions_in_force_are_told_and_those_of_certificates_are_not(here):
    one = here.controller()
    one.declared(7)
    await one.join("n1")
    await one.connect("n1", 7)
    assert await one.tell() == [("n1", "joined"), ("n1", "connected"), ("n1", "revision", 7)]
    await one.report("n1", 9)
    assert await one.tell(10) == []
    one.declared(12)
    assert await one.tell(4) == []
    await one.report("n1", 14)
    assert await one.tell() == [("n1", "revision", 12)]


async def test_nodes_that_lag_behind_many_changes_are_told_of_now_and_then(here):
    one = here.controller()
    one.declared(1)
    await one.join("n1")
    await one.connect("n1", 1)
    await one.tell()
    told_of = []
    for revision in range(2, 32):
        async with here.database.writing() as writing:
            await writing.connection.exec_driver_sql(
                "INSERT INTO revisions (revision, project, at, who, source, created, changed, deleted, size, objects)"
                f" VALUES ({revision}, 'p', 0, 'ann', 'api', 1, 0, 0, 0, '[]')"
            )
        one.declared(revision)
        await one.report("n1", revision - 1)
        told_of += await one.tell(1)
    await one.report("n1", 31)
    told_of += await one.tell()

    seen = [revision for _, what, revision in told_of[3:] if what == "revision"]
    assert seen == sorted(set(seen))
    assert 4 <= len(seen) <= 9
    assert seen[-1] == 31


async def test_rejections_are_told_as_they_come_and_go_to_their_projects(here):
    one = here.controller()
    await one.join("n1")
    await one.connect("n1")
    await one.tell()
    await one.report("n1", 0, "routes/t/r", "listener:x")
    assert await one.tell() == [("n1", "rejected", "listener:x"), ("n1", "rejected", "routes/t/r")]
    await one.report("n1", 0, "routes/t/r")
    assert await one.tell(5) == [("n1", "cleared", "listener:x")]

    async with here.database.reading() as connection:
        theirs = await events.after(connection, 0, Wanted(project="t"), 10)
    assert [(e.data["node"], e.data["object"]) for e in theirs] == [("n1", "routes/t/r")]


async def test_a_restarted_controller_goes_on_where_the_last_one_was(here):
    one = here.controller()
    one.declared(5)
    await one.join("n1", "n2")
    await one.connect("n1", 5)
    await one.connect("n2", 5)
    await one.tell()

    again = here.controller()
    again.declared(5)
    await again.nodes.load()
    await again.connect("n1", None)
    assert await again.tell(2) == [], "it follows, and has not reported yet"
    await again.report("n1", 5)
    assert await again.tell(3) == []
    found = []
    for _ in range(5):
        here.now += 10
        await again.report("n1", 5)
        found += await again.tell()
    assert found == [("n2", "disconnected")], "n2 did not come back"


async def test_a_node_that_moves_between_controllers_stays_connected(here):
    one, two = here.controller(), here.controller()
    one.declared(5)
    two.declared(5)
    await one.join("n1")
    await one.connect("n1", 5)
    await one.tell()
    await two.tell()
    await two.connect("n1", 5)
    assert await two.tell() == []
    await one.leave("n1")
    assert await one.tell(8) == []
    await two.leave("n1")
    assert await two.tell(8) == [("n1", "disconnected")]


async def test_a_controller_whose_clock_is_behind_has_no_nodes_told_to_be_gone(here):
    one, two = here.controller(), here.controller()
    await one.join("n1")
    await one.connect("n1")
    await one.tell()
    async with here.database.writing() as writing:
        await writing.connection.exec_driver_sql(f"UPDATE nodes SET seen = {here.now - 60}")
    node = two.registry.know("n1", here.now, here.now, None)
    node.elsewhere = "one"

    assert await two.tell(12) == []
    assert [what for _, what in await two.tell(8)] == ["disconnected"], "nobody heard of it any more"


async def test_one_transaction_tells_of_a_whole_fleet(here):
    one = here.controller()
    names = [f"n{i}" for i in range(30)]
    await one.join(*names)
    for name in names:
        await one.connect(name)
    writes = []
    original = here.database.writing

    def counted():
        writes.append(1)
        return original()

    here.database.writing = counted
    assert len(await one.tell()) == 60
    assert len(writes) == 1
    await one.tell(9)
    assert len(writes) == 1, "and nothing is written while nothing changes"


_TOLD = st.builds(
    Told,
    connected=st.booleans(),
    revision=st.integers(0, 9),
    rejections=st.dictionaries(
        st.sampled_from(["routes/a/r", "routes/b/r", "x"]), st.sampled_from(["m", "n"])
    ),
    by=st.sampled_from(["", "me"]),
)


@given(_TOLD, _TOLD)
def test_who_hears_the_news_knows_how_a_node_is(before, after):
    known = {
        "connected": before.connected,
        "revision": before.revision,
        "rejections": dict(before.rejections),
    }
    for happened in told.news("n1", before, after, START):
        data = happened.data
        if data["what"] in ("connected", "disconnected"):
            known["connected"] = data["what"] == "connected"
        elif data["what"] == "revision":
            known["revision"] = data["revision"]
        elif data["what"] == "rejected":
            known["rejections"][data["object"]] = data["message"]
        else:
            del known["rejections"][data["object"]]

    assert Told(**known, by=after.by) == after
    assert told.read(after.text()) == after
    assert list(told.news("n1", after, after, START)) == []


@pytest.mark.parametrize("text", [None, "", "[]", "{", '{"revision": "x"}', '{"rejections": 7}'])
def test_what_another_version_wrote_counts_as_nothing_told(text):
    assert told.read(text) == Told()
