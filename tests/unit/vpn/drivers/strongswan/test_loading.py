"""What charon is told of connections, beside a server that keeps them as charon does."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from vici.protocol import FiniteStream, Message, Packet

from edgeward.errors import Invalid
from edgeward.secret import Secret
from edgeward.vpn.desired import Certificate, Connection, Ike, Proposal
from edgeward.vpn.drivers.strongswan import wording
from edgeward.vpn.drivers.strongswan.loading import Loading
from edgeward.vpn.drivers.strongswan.told import Told
from edgeward.vpn.drivers.strongswan.vici import Vici
from tests.unit.vpn.drivers.strongswan.test_vici import CONFIRM, answer, event
from tests.unit.vpn.values import connection

ONE = connection()
TWO = connection(id="00000000-0000-4000-8000-000000000002", peer_networks=("10.3.0.0/24",))
PROVED = connection(
    id="00000000-0000-4000-8000-000000000003",
    peer_address="198.51.100.77",
    auth=Certificate(chain="", key=Secret("a key"), authority=""),
)


class Charon:
    """What it was told last, by name; ``refuses``: the words with which it takes no connection."""

    def __init__(self) -> None:
        self.connections: dict[str, Any] = {}
        self.secrets: set[str] = set()
        self.keys: set[str] = {"of another"}
        self.key = "a key's id"
        self.plugins = ["kernel-netlink"]
        self.refuses = ""

    def children(self, one: Connection) -> dict[str, Any]:
        found: dict[str, Any] = self.connections[wording.peers(one)]["children"]
        return found

    @asynccontextmanager
    async def serving(self, path: Path) -> AsyncIterator[Vici]:
        async with await asyncio.start_unix_server(self._talk, str(path)):
            yield Vici(path)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                (length,) = struct.unpack("!I", await reader.readexactly(4))
                packet = await reader.readexactly(length)
                named = 2 + packet[1]
                command, body = packet[2:named].decode(), packet[named:]
                message = Message.deserialize(FiniteStream(body)) if body else {}
                registers = packet[0] == Packet.EVENT_REGISTER
                writer.write(CONFIRM if registers else self._answered(command, message))
                await writer.drain()
        except (OSError, EOFError):
            pass
        finally:
            writer.close()

    def _answered(self, command: str, message: dict[str, Any]) -> bytes:
        match command:
            case "stats":
                return answer(plugins=self.plugins)
            case "list-conns":
                told = (event("list-conn", **{name: said}) for name, said in self.connections.items())
                return b"".join(told) + answer()
            case "load-conn" if self.refuses:
                return answer(success="no", errmsg=self.refuses)
            case "load-conn":
                self.connections.update(message)
            case "load-shared":
                self.secrets.add(message["id"].decode())
            case "load-key":
                self.keys.add(self.key)
                return answer(success="yes", id=self.key)
            case "get-algorithms" | "list-sas":
                return answer()
            case "get-keys":
                return answer(keys=sorted(self.keys))
            case "unload-key":
                self.keys.discard(message["id"].decode())
            case "unload-conn" | "unload-shared":
                kept = self.connections if command == "unload-conn" else self.secrets
                if (name := message.get("name", message.get("id")).decode()) not in kept:
                    return answer(success="no", errmsg="not found")
                kept.pop(name) if isinstance(kept, dict) else kept.discard(name)
        return answer(success="yes")


@pytest.fixture
def charon() -> Charon:
    return Charon()


@pytest.fixture
async def vici(charon: Charon, state_dir: Path) -> AsyncIterator[Vici]:
    async with charon.serving(state_dir / "vici") as vici:
        yield vici


async def test_all_between_the_same_peers_are_told_as_one_and_who_begins_anew_knows_them(
    charon: Charon, vici: Vici
) -> None:
    told = Told()
    loading = Loading(vici, told, {one.id: one for one in (ONE, TWO)}, set())
    name = await loading.load(ONE)
    assert await loading.load(TWO) == name

    assert list(charon.children(ONE)) == [ONE.id, TWO.id]
    assert charon.secrets == {name}
    again = Told()
    await Loading(vici, again, {}, set()).begin()
    assert list(again.ids(name)) == list(told.ids(name)) == [ONE.id, TWO.id]

    await loading.load(TWO, without=ONE.id, name=name)
    assert await loading.there() == {name: (TWO.id,)}
    assert (told.name(ONE.id), told.name(TWO.id)) == (None, name)


async def test_what_is_taken_away_leaves_neither_secret_nor_key_but_those_of_others(
    charon: Charon, vici: Vici
) -> None:
    told, known = Told(), {one.id: one for one in (ONE, PROVED)}
    loading = Loading(vici, told, known, set())
    first, second = await loading.load(ONE), await loading.load(PROVED)
    assert charon.keys == {"a key's id"}, "what is of no connection goes"

    del known[ONE.id]
    await loading.unload(first)
    assert (set(charon.connections), charon.secrets, charon.keys) == ({second}, set(), {"a key's id"})
    assert told.name(ONE.id) is None

    del known[PROVED.id]
    await loading.unload(second)
    assert (charon.connections, charon.keys) == ({}, set())
    await loading.unload(second)


async def test_traffic_starts_what_is_wanted_where_the_kernel_can_and_nobody_left_policies(
    charon: Charon, vici: Vici
) -> None:
    def starts() -> dict[str, str]:
        return {id_: said["start_action"].decode() for id_, said in charon.children(ONE).items()}

    loading = Loading(vici, Told(), {one.id: one for one in (ONE, TWO)}, {TWO.id})
    await loading.begin()
    await loading.load(ONE)
    await loading.load(TWO)
    assert starts() == {ONE.id: "none", TWO.id: "trap"}

    loading.left = True
    await loading.load(TWO)
    assert starts() == {ONE.id: "none", TWO.id: "none"}

    loading.left = False
    charon.plugins = ["kernel-netlink", "kernel-libipsec"]
    await loading.begin()
    await loading.load(TWO)
    assert starts() == {ONE.id: "none", TWO.id: "none"}


async def test_what_charon_does_not_take_is_told_in_its_words_or_by_the_field_and_changes_nothing(
    charon: Charon, vici: Vici
) -> None:
    told = Told()
    loading = Loading(vici, told, {}, set())
    charon.refuses = "invalid value for: proposals"
    with pytest.raises(Invalid, match="strongSwan does not take it: invalid value for: proposals"):
        await loading.load(ONE)

    newer = Proposal(encryption="aes-256-gcm-16", integrity="sha384", groups=("group20", "mlkem768"))
    with pytest.raises(Invalid, match=r"does not know mlkem768; it takes 6\.0 or later") as refused:
        await loading.load(connection(ike=Ike(proposals=(newer,))))
    assert [problem.field for problem in refused.value.problems] == ["ike.groups"]
    assert told.name(ONE.id) is None


async def test_a_key_is_kept_as_long_as_what_it_is_of_is_told_with_it_and_no_longer(
    charon: Charon, vici: Vici
) -> None:
    before = PROVED.model_copy(update={"auth": Certificate(chain="", key=Secret("its key"), authority="")})
    known = {one.id: one for one in (ONE, before)}
    loading = Loading(vici, Told(), known, set())
    charon.key = "its key's id"
    await loading.load(before)
    first = await loading.load(ONE)
    charon.key, charon.refuses = "a newer key's id", "invalid value for: proposals"
    with pytest.raises(Invalid):
        await loading.load(PROVED)
    charon.refuses = ""

    del known[ONE.id]
    await loading.unload(first)

    assert charon.keys == {"its key's id"}
