from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Mapping
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from edgeward.cli.tree.notified import NotifySocket, read_assignments


def test_assignments_are_read_line_by_line() -> None:
    assert read_assignments(b"READY=1\nSTATUS=a=b\nnonsense\n=x\n") == {"READY": "1", "STATUS": "a=b"}


@given(st.binary())
def test_any_bytes_are_survived(data: bytes) -> None:
    read_assignments(data)


async def test_the_kernel_says_who_spoke_and_passed_files_are_closed(state_dir: Path) -> None:
    heard: asyncio.Queue[tuple[int, Mapping[str, str]]] = asyncio.Queue()
    notified = NotifySocket(state_dir / "notify.sock")
    notified.listen(lambda pid, said: heard.put_nowait((pid, said)))
    try:
        before = len(os.listdir("/proc/self/fd"))
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as speaker:
            speaker.connect(str(state_dir / "notify.sock"))
            read_end, write_end = os.pipe()
            socket.send_fds(speaker, [b"READY=1"], [read_end, write_end])
            os.close(read_end)
            os.close(write_end)
        async with asyncio.timeout(30):
            assert await heard.get() == (os.getpid(), {"READY": "1"})
        assert len(os.listdir("/proc/self/fd")) == before
    finally:
        notified.close()


async def test_only_the_owner_may_speak(state_dir: Path) -> None:
    notified = NotifySocket(state_dir / "notify.sock")
    try:
        assert (state_dir / "notify.sock").stat().st_mode & 0o777 == 0o600
    finally:
        notified.close()
