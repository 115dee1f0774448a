from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeward.launcher.admin import (
    Admin,
    InFlight,
    Silent,
    is_whole,
    read_answer,
    read_connections,
    read_in_flight,
)


def test_the_admin_interface_itself_does_not_count() -> None:
    text = (
        "http.admin.downstream_cx_active: 1\n"
        "http.admin.downstream_rq_active: 1\n"
        "http.https.downstream_cx_active: 30\n"
        "http.https.downstream_rq_active: 2\n"
        "http.http.downstream_cx_active: 4\n"
        "http.http.downstream_rq_active: 0\n"
        "listener.127.0.0.1_8443.downstream_cx_active: 34\n"
    )

    assert read_in_flight(text) == InFlight(connections=34, requests=2)


def test_nothing_is_in_flight_where_nothing_is_said() -> None:
    assert read_in_flight("") == InFlight(connections=0, requests=0)


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=10))
def test_chunks_are_put_together(pieces: list[bytes]) -> None:
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"

    assert read_answer(answer) == b"".join(pieces).decode(errors="replace")


@given(st.data())
def test_an_answer_cut_anywhere_is_noticed_and_never_half_read(data: st.DataObject) -> None:
    answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nLIVE\n\r\n0\r\n\r\n"
    cut = data.draw(st.integers(min_value=0, max_value=len(answer) - 5))

    with pytest.raises(ValueError):
        read_answer(answer[:cut])


@given(st.binary(max_size=200))
def test_garbage_raises_nothing_but_value_error(garbage: bytes) -> None:
    with contextlib.suppress(ValueError):
        read_answer(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + garbage)


async def test_a_socket_nobody_listens_on_is_silent(state_dir: Path) -> None:
    with pytest.raises(Silent):
        await Admin(state_dir / "admin.sock").state()


async def test_an_admin_interface_that_is_stuck_is_silent_after_the_timeout(state_dir: Path) -> None:
    server = await asyncio.start_unix_server(lambda r, w: None, state_dir / "admin.sock")
    async with server:
        with pytest.raises(Silent):
            await Admin(state_dir / "admin.sock").state(timeout=0.1)


def test_connections_are_those_of_all_listeners_once() -> None:
    text = (
        "listener.admin.downstream_cx_active: 1\n"
        "listener.admin.main_thread.downstream_cx_active: 1\n"
        "listener.https.downstream_cx_active: 30\n"
        "listener.https.worker_0.downstream_cx_active: 20\n"
        "listener.https.worker_1.downstream_cx_active: 10\n"
        "listener.127.0.0.1_5432.downstream_cx_active: 4\n"
    )

    assert read_connections(text) == 34


@given(st.integers(min_value=0, max_value=60))
def test_an_answer_on_a_kept_connection_is_whole_at_its_end_only(cut: int) -> None:
    for answer in (
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nLIVE\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nLIVE\n\r\n0\r\n\r\n",
    ):
        assert is_whole(answer)
        assert not is_whole(answer[: min(cut, len(answer) - 5)])


async def test_a_kept_connection_goes_on_to_the_same_envoy_when_another_one_has_the_socket(
    state_dir: Path,
) -> None:
    async def serve(text: bytes) -> asyncio.Server:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(text), text))

        return await asyncio.start_unix_server(answer, state_dir / "admin.sock")

    old = await serve(b"OLD")
    admin = Admin(state_dir / "admin.sock")
    await admin.hold()
    new = await serve(b"NEW")

    assert [await admin.state(), await admin.state()] == ["OLD", "OLD"]
    admin.release()
    old.close()
    new.close()


async def test_a_kept_connection_that_is_lost_is_not_replaced_by_one_to_another_envoy(
    state_dir: Path,
) -> None:
    server = await asyncio.start_unix_server(lambda r, w: w.close(), state_dir / "admin.sock")
    admin = Admin(state_dir / "admin.sock")
    await admin.hold()
    for _ in range(2):
        with pytest.raises(Silent):
            await admin.state()
    server.close()
