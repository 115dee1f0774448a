from __future__ import annotations

import socket
import struct
from pathlib import Path

import pytest

from edgeward.launcher import lineage
from edgeward.launcher.lineage import Lineage


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory in place of the shared memory of this host."""
    place = tmp_path / "shm"
    place.mkdir()
    monkeypatch.setattr(lineage, "_SHARED", place)
    return place


def memory(shared: Path, base: int, flags: int, size: int = 104) -> Path:
    """Write what Envoy 1.40 has there: its size, its version, two locks, flags."""
    path = shared / f"envoy_shared_memory_{base * 10}"
    path.write_bytes(struct.pack("=QQ", size, 11) + b"L" * 80 + struct.pack("=Q", flags))
    return path


def test_a_number_in_use_is_not_given_again(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lineage, "_MOST_BASE", 2)
    memory(shared, 1, 0)

    assert {lineage.free_base() for _ in range(50)} == {2}


def test_without_shared_memory_nobody_takes_over(shared: Path, state_dir: Path) -> None:
    shared.rmdir()
    found = Lineage.begin(state_dir)

    assert not found.renewable
    assert found.arguments(0) == ["--disable-hot-restart"]


def test_the_mark_of_a_start_that_failed_goes_and_the_rest_stays(shared: Path, state_dir: Path) -> None:
    path, found = memory(shared, 7, flags=1), Lineage(state_dir, 7)
    assert found.is_starting
    found.start_failed()

    assert not found.is_starting
    assert path.read_bytes() == struct.pack("=QQ", 104, 11) + b"L" * 80 + bytes(8)


def test_memory_of_another_shape_is_left_alone(shared: Path, state_dir: Path) -> None:
    path, found = memory(shared, 7, flags=1, size=200), Lineage(state_dir, 7)
    before = path.read_bytes()
    found.start_failed()

    assert path.read_bytes() == before


def test_the_last_one_to_leave_takes_everything_along(shared: Path, state_dir: Path) -> None:
    path, found = memory(shared, 7, 0), Lineage(state_dir, 7)
    (state_dir / "hot_child_70").touch()
    (state_dir / "hot_child_170").touch()
    found.joined()
    found.joined()
    found.left()
    assert path.exists()
    found.left()

    assert not path.exists()
    assert [p.name for p in state_dir.iterdir()] == ["hot_child_170"]


async def test_whoever_stands_in_has_no_socket_to_give_and_is_silent_otherwise(
    shared: Path, state_dir: Path
) -> None:
    found = Lineage(state_dir, 7)
    found.joined()
    found.stand_in_for(4)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heir:
        heir.bind(str(state_dir / "heir"))
        heir.settimeout(30)
        ends = b"\x0a\x02\x2a\x00"  # request { terminate {} }
        asks = b"\x0a\x08\x0a\x06\x0a\x04tcp:"  # request { pass_listen_socket { address: "tcp:" } }
        for text in (ends, asks):
            heir.sendto(struct.pack("!Q", len(text)) + text, str(state_dir / "hot_parent_71"))
        heir.setblocking(False)
        import asyncio

        answer = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(heir, 4096), 30)
        with pytest.raises(BlockingIOError):
            heir.recv(4096)
    found.left()

    # reply { pass_listen_socket { fd: -1 } }
    assert answer == struct.pack("!Q", 15) + b"\x12\x0d\x0a\x0b\x08" + b"\xff" * 9 + b"\x01"
    assert not (state_dir / "hot_parent_71").exists()


def test_only_a_number_is_forgotten(shared: Path, state_dir: Path) -> None:
    memory(shared, 7, 0)
    for nonsense in (None, "7", -1, 0, 10**9):
        lineage.forget(state_dir, nonsense)

    assert len(list(shared.iterdir())) == 1
