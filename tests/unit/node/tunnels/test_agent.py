"""The agent of tunnels beside a rootd and daemons that are fakes: what it does, and what it leaves alone."""

from __future__ import annotations

import asyncio
import errno
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from edgeward.actions import Unanswered
from edgeward.declaration import feed
from edgeward.errors import Invalid, Unavailable
from edgeward.node.backends.resolver import Resolved
from edgeward.node.tunnels import tending
from edgeward.node.tunnels.agent import Agent
from edgeward.node.tunnels.holding import Holding
from edgeward.node.tunnels.kept import Kept
from edgeward.node.tunnels.peers import Peers
from edgeward.node.tunnels.root import Root
from edgeward.node.tunnels.telling import Telling
from edgeward.rootd.running import MOST_CHILDREN
from edgeward.sealing import Seal, new_key
from edgeward.secret import Secret
from edgeward.vpn import wiring
from edgeward.vpn.desired import Gateway, Outside, Psk
from edgeward.vpn.drivers.memory import Daemon, Internet, Memory
from edgeward.vpn.wiring import digest
from tests.unit.vpn.values import connection, gateway

ONE = connection()
TWO = connection(id="00000000-0000-4000-8000-000000000002", peer_networks=("10.3.0.0/24",))
WHERE = "vpn-0123456789ab"
KEY = new_key()


class Host:
    """What lives on when the agent dies: rootd's namespaces, and daemons. ``asked``: what rootd was asked."""

    def __init__(self) -> None:
        self.made: dict[str, dict[str, Any]] = {}
        self.daemons: dict[str, Daemon] = {}
        self.asked: list[tuple[str, str]] = []
        self.loads: list[tuple[str, bool]] = []
        self.internet = Internet()
        self.dead = self.stuck = False
        self.refuses: set[str] = set()
        self.before_each: Callable[[], None] = lambda: None
        self.at_once = self.most_at_once = 0
        self.names: dict[str, str] = {}
        self.address: str | None = "127.0.0.1"

    async def ask(self, request: Any) -> dict[str, Any]:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(0)
            return self._done(request)
        finally:
            self.at_once -= 1

    def _done(self, request: Any) -> dict[str, Any]:
        if self.dead:
            raise Unanswered("there is no rootd on this node; start edgeward rootd there")
        action, values = request["action"], request.get("values", {})
        where = values.get("namespace", "")
        if action == "observe-networks":
            return {"outcome": "done", "exit": 0, "output": json.dumps(self.made)}
        self.before_each()
        self.asked.append((action, where))
        if action == "create-namespace":
            if where not in self.made:
                self.end(where)
            self.made[where] = {"network": "", "guard": "", "stale": False, "lent": False}
        elif action == "remove-namespace":
            self.made.pop(where, None)
            self.end(where)
        elif action == "apply-network":
            self.made[where]["network"] = digest(values["network"])
        elif action == "apply-guard":
            self.made[where]["guard"] = digest(f"{values['elsewhere']} {values['pairs']}")
        return {"outcome": "done", "exit": 0, "output": "done"}

    def end(self, where: str) -> None:
        gone = self.daemons.pop(where, None)
        if gone is not None:
            gone.listeners.end()

    async def found(self, namespace: str, driver: str, known: object) -> Told | None:
        daemon = self.daemons.get(namespace)
        return Told(self, daemon) if daemon is not None and driver == "memory" else None

    async def start(self, namespace: str, driver: str, known: object) -> Told:
        assert namespace in self.made
        self.before_each()
        self.asked.append(("start", namespace))
        return Told(self, self.daemons.setdefault(namespace, self.internet.daemon()))

    async def stop(self, namespace: str) -> None:
        self.asked.append(("stop", namespace))
        self.end(namespace)

    async def resolve(self, name: str) -> Resolved:
        if name not in self.names:
            raise Unavailable("DNS does not answer")
        return Resolved((self.names[name],), 0)


class Told(Memory):
    """A driver that writes down what it was told, and refuses what the host says."""

    def __init__(self, host: Host, daemon: Daemon) -> None:
        super().__init__(daemon)
        self._host = host

    async def answers(self) -> None:
        if self._host.stuck:
            raise Unavailable("charon does not answer within 8 s")

    async def loaded(self) -> frozenset[str]:
        await self.answers()
        return await super().loaded()

    async def load(self, connection: Any, before: Any, *, initiate: bool) -> None:
        if connection.name in self._host.refuses:
            raise Invalid(f"{connection.name} is not taken")
        self._host.before_each()
        self._host.loads.append((connection.id, before is not None))
        await super().load(connection, before, initiate=initiate)


@pytest.fixture
def host() -> Host:
    return Host()


@asynccontextmanager
async def agent(host: Host, place: Path) -> AsyncIterator[Agent]:
    """Run an agent until the block ends, as a kill would end it."""
    root = Root(host.ask)

    async def nobody(*_: object) -> Any:
        raise Unavailable("nobody can tell")

    holding = Holding(nobody, place / "active.json")
    made = Agent(
        Kept(place / "tunnels.db", Seal(KEY)), root, host, holding, Peers(host), lambda _: host.address
    )
    running = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


def says(*gateways: Gateway, whole: bool = True) -> feed.Gateways:
    return feed.Gateways(put=tuple(one.model_dump(mode="json") for one in gateways), whole=whole)


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(30):  # what was forgotten is looked for every 5 s
        while not true():
            await asyncio.sleep(0.005)


def phases(agent: Agent) -> dict[str, str]:
    return {id_: state.phase for one in agent.doings().values() for id_, state in one.states.items()}


async def test_a_gateway_is_made_guarded_connected_and_told_in_this_order(host: Host, tmp_path: Path) -> None:
    async with agent(host, tmp_path) as one:
        one.take(says(gateway(ONE, TWO)))
        await until(lambda: len(phases(one)) == 2)

        kinds = [action for action, _ in host.asked]
        assert kinds == ["create-namespace", "apply-guard", "apply-network", "start"]
        assert sorted(host.loads) == [(ONE.id, False), (TWO.id, False)]
        assert one.doings()["0123456789ab"].phase == "running"


async def test_many_gateways_that_come_at_once_ask_no_more_of_rootd_than_it_does(
    host: Host, tmp_path: Path
) -> None:
    many = [
        gateway(connection(id=f"00000000-0000-4000-8000-{number:012x}"), id=f"{number:012x}")
        for number in range(100)
    ]
    async with agent(host, tmp_path) as one:
        one.take(says(*many))
        await until(lambda: len(phases(one)) == 100)
        one.take(says())
        await until(lambda: not host.made)

    assert 2 < host.most_at_once < MOST_CHILDREN / 2


async def test_what_changes_is_told_and_nothing_else(host: Host, tmp_path: Path) -> None:
    async with agent(host, tmp_path) as one:
        one.take(says(gateway(ONE, TWO)))
        await until(lambda: len(phases(one)) == 2)
        host.loads.clear()
        host.asked.clear()

        one.take(says(gateway(ONE, TWO.model_copy(update={"auth": Psk(secret=Secret("another"))}))))
        await until(lambda: host.loads)

        assert (host.loads, host.asked) == ([(TWO.id, True)], [])
        one.take(says(gateway(ONE)))
        await until(lambda: TWO.id not in host.daemons[WHERE].connections)
        await until(lambda: host.asked)
        assert (host.loads, host.asked) == ([(TWO.id, True)], [("apply-guard", WHERE)])


async def test_an_agent_that_comes_back_finds_everything_and_makes_nothing(
    host: Host, tmp_path: Path
) -> None:
    async with agent(host, tmp_path) as one:
        one.take(says(gateway(ONE)))
        await until(lambda: phases(one))
    host.asked.clear()

    async with agent(host, tmp_path) as one:  # no controller says anything
        await until(lambda: phases(one))
        assert one.doings()["0123456789ab"].phase == "running"
        one.take(says(gateway(ONE)))
        await asyncio.sleep(0.05)

    assert host.asked == []
    assert host.loads == [(ONE.id, False), (ONE.id, True)]  # told again what it is to keep up, as it was


@pytest.mark.parametrize("ended", [False, True])
async def test_an_agent_that_comes_back_says_a_daemon_has_ended_only_where_it_has(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ended: bool
) -> None:
    async with agent(host, tmp_path) as one:
        one.take(says(gateway(ONE)))
        await until(lambda: phases(one))
    if ended:
        host.end(WHERE)
    messages: list[feed.Tunnels] = []
    told, start = asyncio.Event(), host.start

    async def send(message: feed.Tunnels) -> None:
        messages.append(message)
        if any(head.whole and not head.connections for head in message.gateways):
            told.set()

    async def starts_once_that_is_told(*given: Any) -> Told:
        await told.wait()
        return await start(*given)

    monkeypatch.setattr(host, "start", starts_once_that_is_told)

    async with agent(host, tmp_path) as one:
        telling = Telling(one.doings, send)
        one.changed = telling.changed
        async with asyncio.TaskGroup() as group:
            running = group.create_task(telling.run())
            telling.changed()
            await until(lambda: any(said.connections for message in messages for said in message.gateways))
            running.cancel()

    said = [head for message in messages for head in message.gateways]
    assert messages[0].whole
    assert told.is_set() == ended
    assert next(head for head in said if head.connections).whole != ended


async def test_what_changed_while_it_was_dead_is_told_with_what_was_before(
    host: Host, tmp_path: Path
) -> None:
    async with agent(host, tmp_path) as one:
        one.take(says(gateway(ONE)))
        await until(lambda: phases(one))
    kept = Kept(tmp_path / "tunnels.db", Seal(KEY))
    changed = ONE.model_copy(update={"peer_networks": ("10.9.0.0/24",)})
    kept.keep([gateway(changed)], [])
    kept.close()

    async with agent(host, tmp_path) as one:
        await until(lambda: host.daemons[WHERE].connections[ONE.id] == changed)

    assert host.loads[1:] == [(ONE.id, True)]


async def test_a_dead_rootd_keeps_nobody_from_seeing_how_tunnels_do(host: Host, tmp_path: Path) -> None:
    async with agent(host, tmp_path) as one:
        one.take(says(gateway(ONE)))
        await until(lambda: phases(one))
    host.dead = True

    async with agent(host, tmp_path) as one:
        await until(lambda: phases(one))
        assert "no rootd" in one.doings()["0123456789ab"].reason

        host.dead = False
        await until(lambda: one.doings()["0123456789ab"].phase == "running")


async def test_a_daemon_that_ends_is_started_and_told_everything_again(host: Host, tmp_path: Path) -> None:
    async with agent(host, tmp_path) as one:
        one.take(says(gateway(ONE)))
        await until(lambda: phases(one))
        host.loads.clear()

        host.end(WHERE)
        await until(lambda: host.loads)

        assert host.loads == [(ONE.id, False)]


async def test_a_daemon_that_is_stuck_is_told_of_without_being_ended_and_of_its_return_too(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tending, "_ANSWER_SECONDS", 0.05)
    async with agent(host, tmp_path) as one:
        one.take(says(gateway(ONE)))
        await until(lambda: phases(one))
        host.asked.clear()

        host.stuck = True
        await until(lambda: one.doings()["0123456789ab"].phase == "down")
        assert "does not answer" in one.doings()["0123456789ab"].reason
        host.stuck = False
        await until(lambda: one.doings()["0123456789ab"].phase == "running")

    assert host.asked == []


async def test_what_is_declared_no_more_is_removed_also_where_it_was_removed_half_and_nothing_of_other_nodes(
    host: Host, tmp_path: Path
) -> None:
    before = Kept(tmp_path / "tunnels.db", Seal(KEY))
    before.use(["vpn-00000000dead"])
    before.close()
    others = {"vpn-00000000beef", "office"}
    for name in ("vpn-00000000dead", *others):
        host.made[name] = {"network": "x", "guard": "y", "stale": False, "lent": False}
    async with agent(host, tmp_path) as one:
        one.take(says(gateway(ONE)))
        await until(lambda: phases(one))
        one.take(says())
        await until(lambda: set(host.made) == others and one.doings() == {})
        await until(lambda: Kept(tmp_path / "tunnels.db", Seal(KEY)).used() == set())
    assert Kept(tmp_path / "tunnels.db", Seal(KEY)).loaded() == {}


async def test_what_a_killed_node_left_of_another_daemon_is_removed(host: Host, tmp_path: Path) -> None:
    left = {"network": "", "guard": "", "stale": False, "lent": False}
    host.made[wiring.rehearsing("0123456789ab")] = dict(left)
    host.made[wiring.rehearsing("00000000beef")] = dict(left)  # another node's
    async with agent(host, tmp_path) as one:
        one.take(says(gateway(ONE)))
        await until(lambda: phases(one))

        assert set(host.made) == {WHERE, wiring.rehearsing("00000000beef")}


async def test_a_connection_that_is_not_taken_keeps_no_other_from_coming_up(
    host: Host, tmp_path: Path
) -> None:
    host.refuses.add("default/paris")
    paris = TWO.model_copy(update={"name": "default/paris"})
    async with agent(host, tmp_path) as one:
        one.take(says(gateway(paris, ONE)))
        await until(lambda: len(phases(one)) == 2)

        state = one.doings()["0123456789ab"].states[paris.id]
        assert (state.phase, state.reason) == ("error", "default/paris is not taken")
        assert set(host.daemons[WHERE].connections) == {ONE.id}
        one.take(says(gateway(paris.model_copy(update={"name": "default/rome"}), ONE)))
        await until(lambda: set(host.daemons[WHERE].connections) == {ONE.id, paris.id})
        await until(lambda: paris.id in phases(one) and host.daemons[WHERE].why)


async def test_a_connection_that_is_not_taken_any_more_keeps_no_other_from_being_kept_up(
    host: Host, tmp_path: Path
) -> None:
    many = [
        connection(id=f"00000000-0000-4000-8000-{number:012x}", name=f"default/site{number}")
        for number in range(40)
    ]
    async with agent(host, tmp_path) as one:
        one.take(says(gateway(*many)))
        await until(lambda: len(phases(one)) == 40)
    host.refuses.add("default/site0")  # what it names has gone since
    host.loads.clear()

    async with agent(host, tmp_path) as one:
        await until(lambda: {id_ for id_, _ in host.loads} == {one.id for one in many[1:]})
        await until(lambda: phases(one).get(many[0].id) == "error")

        assert one.doings()["0123456789ab"].states[many[0].id].reason == "default/site0 is not taken"
        await until(lambda: one.doings()["0123456789ab"].phase == "running")
        assert one.doings()["0123456789ab"].reason == ""


async def test_a_full_disk_below_one_daemon_is_told_of_and_ends_no_other_gateway(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full, load = True, Told.load

    async def loaded(self: Told, one: Any, before: Any, *, initiate: bool) -> None:
        if full and one.id == ONE.id:
            raise OSError(errno.ENOSPC, "No space left on device", "/run/edgeward-rootd/vpn")
        await load(self, one, before, initiate=initiate)

    monkeypatch.setattr(Told, "load", loaded)
    other = gateway(TWO, id="00000000000b")
    async with agent(host, tmp_path) as one:
        one.take(says(gateway(ONE), other))
        await until(lambda: "No space left" in one.doings()["0123456789ab"].reason)
        await until(lambda: TWO.id in phases(one))

        full = False
        await until(lambda: ONE.id in phases(one))
        await until(lambda: not one.doings()["0123456789ab"].reason)


async def test_the_copy_on_disk_shows_no_secret(host: Host, tmp_path: Path) -> None:
    secret = connection(auth=Psk(secret=Secret("correct horse battery")))
    async with agent(host, tmp_path) as one:
        one.take(says(gateway(secret)))
        await until(lambda: phases(one))

    written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"correct horse" not in written
    assert secret.id.encode() in written  # the control
    for path in tmp_path.glob("tunnels.db*"):
        assert path.stat().st_mode & 0o077 == 0, path


async def test_a_damaged_copy_ends_nothing_until_the_controller_says_what_there_is(
    host: Host, tmp_path: Path
) -> None:
    async with agent(host, tmp_path) as one:
        one.take(says(gateway(ONE)))
        await until(lambda: phases(one))
    for path in tmp_path.glob("tunnels.db*"):
        path.unlink()
    (tmp_path / "tunnels.db").write_bytes(b"no database" * 100)
    host.asked.clear()

    async with agent(host, tmp_path) as one:
        await asyncio.sleep(0.05)
        assert (set(host.made), host.asked) == ({WHERE}, [])
        one.take(says(gateway(ONE)))
        await until(lambda: phases(one))
    assert host.asked == []


async def test_who_shares_an_address_is_told_apart_by_peers_or_refused(host: Host, tmp_path: Path) -> None:
    nowhere = {"outside": Outside(), "inside": ()}
    mine = connection(local_address="0.0.0.0", peer_address="127.0.0.1")
    theirs = mine.model_copy(update={"id": TWO.id})
    async with agent(host, tmp_path) as one:
        one.take(says(gateway(mine, **nowhere), gateway(theirs, id="ba9876543210", **nowhere)))
        await until(lambda: len(phases(one)) == 2)

        found = one.doings()["ba9876543210"].states[theirs.id]
        assert (found.phase, "another gateway that shares" in found.reason) == ("error", True)
        assert host.daemons[WHERE].connections[mine.id].local_address == "127.0.0.1"
        told = one.doings()[gateway().id].states[mine.id]
        assert (told.local_address, told.driver) == ("127.0.0.1", "memory")


async def test_the_hosts_own_address_is_followed_and_kept_while_it_has_none(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgeward.node.tunnels.agent._LOOK_SECONDS", 0.02)
    host.address = None  # it starts before its network
    mine = connection(local_address="0.0.0.0", peer_address="198.51.100.9")

    def here() -> str | None:
        found = host.daemons[WHERE].connections.get(mine.id) if WHERE in host.daemons else None
        return None if found is None else found.local_address

    async with agent(host, tmp_path) as one:
        one.take(says(gateway(mine, outside=Outside(), inside=())))
        await until(lambda: phases(one) == {mine.id: "error"})
        host.address = "203.0.113.5"
        await until(lambda: here() == "203.0.113.5")
        host.address = None
        await asyncio.sleep(0.1)
        assert here() == "203.0.113.5"
        assert "no way" not in one.doings()["0123456789ab"].states[mine.id].reason
        host.address = "203.0.113.6"
        await until(lambda: here() == "203.0.113.6")
        await until(lambda: one.doings()[gateway().id].states[mine.id].local_address == "203.0.113.6")


async def test_a_peer_with_a_name_is_followed_and_kept_while_dns_is_dead(host: Host, tmp_path: Path) -> None:
    named = ONE.model_copy(update={"peer_address": "vpn.example.com"})
    host.names["vpn.example.com"] = "198.51.100.20"

    def address() -> str:
        daemon = host.daemons.get(WHERE)
        known = daemon.connections.get(ONE.id) if daemon is not None else None
        return known.peer_address if known is not None else ""

    async with agent(host, tmp_path) as one:
        one.take(says(gateway(named)))
        await until(lambda: address() == "198.51.100.20")
        host.names["vpn.example.com"] = "198.51.100.21"
        await until(lambda: address() == "198.51.100.21")
        host.names.clear()
        await asyncio.sleep(0.05)
        assert address() == "198.51.100.21"
        assert one.gateways == (gateway(named),)
    host.asked.clear()
    host.loads.clear()

    async with agent(host, tmp_path) as one:
        await until(lambda: phases(one))
        await asyncio.sleep(0.05)
        assert address() == "198.51.100.21"
    assert (host.asked, host.loads) == ([], [(ONE.id, True)])


@pytest.mark.parametrize("last", range(12))
async def test_an_agent_killed_after_any_step_is_followed_by_one_that_arrives(
    host: Host, tmp_path: Path, last: int
) -> None:
    other = TWO.model_copy(update={"auth": Psk(secret=Secret("another"))})
    done = 0

    class Killed(BaseException):
        pass

    def die() -> None:
        nonlocal done
        done += 1
        if done > last:
            raise Killed

    host.before_each = die
    with suppress(BaseExceptionGroup, Killed):
        async with agent(host, tmp_path) as one:
            one.take(says(gateway(ONE, TWO)))
            await until(lambda: len(phases(one)) == 2 or done > last)
            one.take(says(gateway(other)))
            await until(lambda: set(phases(one)) == {TWO.id} or done > last)
    host.before_each = lambda: None

    async with agent(host, tmp_path) as one:
        one.take(says(gateway(other)))
        await until(lambda: phases(one) and one.doings()["0123456789ab"].phase == "running")
        await until(lambda: set(host.daemons[WHERE].connections) == {TWO.id})

    assert host.daemons[WHERE].connections == {TWO.id: other}
    guard = digest(f"drop {wiring.pairs([other])}")
    assert (set(host.made), host.made[WHERE]["guard"]) == ({WHERE}, guard)
