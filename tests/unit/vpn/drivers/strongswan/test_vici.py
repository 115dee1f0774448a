"""The door to vici beside a server that says anything: what it makes of it is an answer, or Unavailable."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from vici.protocol import Message, Packet

from edgeward.errors import Invalid, Unavailable
from edgeward.vpn.drivers.strongswan.vici import NotDone, Vici


def packet(kind: int, body: bytes = b"") -> bytes:
    return struct.pack("!IB", 1 + len(body), kind) + body


def answer(**words: object) -> bytes:
    return packet(Packet.CMD_RESPONSE, Message.serialize(words))


def event(name: str, **words: object) -> bytes:
    return packet(Packet.EVENT, bytes([len(name)]) + name.encode() + Message.serialize(words))


CONFIRM = packet(Packet.EVENT_CONFIRM)


@asynccontextmanager
async def serving(path: Path, says: Sequence[bytes]) -> AsyncIterator[list[bytes]]:
    """Answer each packet that comes with the next of some, then end."""
    asked: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            for said in says:
                (length,) = struct.unpack("!I", await reader.readexactly(4))
                asked.append(await reader.readexactly(length))
                writer.write(said)
                await writer.drain()
        except (OSError, EOFError):
            pass
        finally:
            writer.close()

    async with await asyncio.start_unix_server(talk, str(path)):
        yield asked


async def test_a_request_gives_its_answer_as_texts(state_dir: Path) -> None:
    path = state_dir / "vici"
    async with serving(path, [answer(version="5.9.8", plugins=["vici", "é"], one={"two": b"3"})]) as asked:
        found = await Vici(path).request("version", {"a": "b", "secret": b"\0\xff"})

    assert found == {"version": "5.9.8", "plugins": ["vici", "é"], "one": {"two": "3"}}
    assert asked[0][:9] == b"\0\x07version"
    assert b"\0\xff" in asked[0]


async def test_what_is_refused_is_told_in_charons_words(state_dir: Path) -> None:
    path = state_dir / "vici"
    async with serving(path, [answer(success="no", errmsg="invalid value for: proposals")]):
        with pytest.raises(NotDone, match="invalid value for: proposals"):
            await Vici(path).request("load-conn", {})
    async with serving(path, [packet(Packet.CMD_UNKNOWN)]):
        with pytest.raises(Unavailable, match=r"5\.9\.8 and later"):
            await Vici(path).request("new-command")


async def test_events_of_a_request_come_before_its_end(state_dir: Path) -> None:
    path = state_dir / "vici"
    says = [CONFIRM, event("list-sa", a={"n": "1"}) + event("list-sa", a={"n": "2"}) + answer()]
    async with serving(path, says), Vici(path).talk() as talk:
        found = [each async for each in talk.streamed("list-sas", "list-sa", {})]
    assert found == [{"a": {"n": "1"}}, {"a": {"n": "2"}}]


async def test_who_listens_hears_until_charon_ends(state_dir: Path) -> None:
    path = state_dir / "vici"
    async with serving(path, [CONFIRM, CONFIRM + event("log", msg="x") + event("ike-updown", up="yes")]):
        found = [each async for each in Vici(path).events(("log", "ike-updown"))]
    assert found == [("", {}), ("log", {"msg": "x"}), ("ike-updown", {"up": "yes"})]


async def test_an_event_that_charon_does_not_know_is_named(state_dir: Path) -> None:
    path = state_dir / "vici"
    async with serving(path, [packet(Packet.EVENT_UNKNOWN)]):
        with pytest.raises(Unavailable, match="no event ike-update"):
            async for _ in Vici(path).events(("ike-update",)):
                pass


async def test_nobody_there_and_nobody_answering_are_unavailable(state_dir: Path) -> None:
    with pytest.raises(Unavailable, match="does not answer"):
        await Vici(state_dir / "none").request("version")
    path = state_dir / "vici"
    async with serving(path, [b"", b""]), Vici(path).talk() as talk:
        with pytest.raises(Unavailable, match=r"within 0\.1 s"):
            await talk.request("version", seconds=0.1)


async def test_who_comes_while_too_many_wait_already_waits_until_there_is_room(state_dir: Path) -> None:
    path = state_dir / "charon.vici"
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as first:
        listener.bind(str(path))
        listener.listen(0)  # has room for one
        first.connect(str(path))

        async def come() -> None:
            async with Vici(path).talk():
                pass

        coming = asyncio.create_task(come())
        await asyncio.sleep(0.1)
        assert not coming.done()
        listener.accept()[0].close()
        await asyncio.wait_for(coming, 30)


async def test_a_value_that_vici_cannot_carry_is_refused(state_dir: Path) -> None:
    path = state_dir / "vici"
    async with serving(path, [answer()]):
        with pytest.raises(Invalid, match="65535"):
            await Vici(path).request("load-shared", {"data": b"x" * 70_000})


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(said=st.binary(max_size=60) | st.binary(max_size=40).map(lambda body: packet(1, body))
       | st.tuples(st.sampled_from([1, 5, 7]), st.binary(max_size=12)).map(lambda said: packet(*said)))  # fmt: skip
@example(said=packet(Packet.EVENT))
@example(said=packet(Packet.EVENT, b"\x02\xff\xff"))
@example(said=b"\xff\xff\xff\xff")
@example(said=b"\0\0\0\0")
def test_whatever_is_said_is_an_answer_or_unavailable(state_dir: Path, said: bytes) -> None:
    path = state_dir / "any"

    async def asked() -> None:
        path.unlink(missing_ok=True)
        async with serving(path, [said]), Vici(path).talk() as talk:
            for ask in (_request, _heard):
                try:
                    await ask(talk)
                except Unavailable:
                    return

    asyncio.run(asked())


async def _request(talk) -> None:  # type: ignore[no-untyped-def]
    await talk.request("version", seconds=0.2)


async def _heard(talk) -> None:  # type: ignore[no-untyped-def]
    await asyncio.wait_for(talk.heard(), 0.2)
