from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeward import notify


@pytest.fixture
def manager(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(state_dir / "notify"))
        receiver.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", str(state_dir / "notify"))
        yield receiver


def test_the_manager_hears_what_was_said(manager: socket.socket) -> None:
    assert notify.ready("serving 3 domains")
    assert manager.recv(4096) == b"READY=1\nSTATUS=serving 3 domains"


def test_a_status_is_one_line_whatever_is_in_it(manager: socket.socket) -> None:
    notify.status("one\nMAINPID=1")

    assert manager.recv(4096) == b"STATUS=one MAINPID=1"


def test_a_reload_names_its_time(manager: socket.socket) -> None:
    notify.reloading()

    first, second = manager.recv(4096).split(b"\n")
    assert first == b"RELOADING=1"
    assert second.startswith(b"MONOTONIC_USEC=") and second[15:].isdigit()


def test_an_abstract_address_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(f"\0edgeward-test-{os.getpid()}")
        receiver.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@edgeward-test-{os.getpid()}")

        assert notify.stopping()
        assert receiver.recv(4096) == b"STOPPING=1"


@pytest.mark.parametrize("address", ["", "relative", "/nonexistent/notify"])
def test_without_a_manager_nothing_happens(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)

    assert not notify.ready()


def test_a_manager_that_does_not_listen_blocks_nobody(manager: socket.socket) -> None:
    for _ in range(10_000):
        if not notify.watchdog():
            return
    pytest.fail("the manager's socket took everything")


@pytest.mark.parametrize(
    ("microseconds", "pid", "seconds"),
    [
        ("30000000", "", 15.0),
        ("30000000", "mine", 15.0),
        ("30000000", "1", None),
        ("0", "", None),
        ("soon", "", None),
        ("", "", None),
    ],
)
def test_the_watchdog_is_told_twice_within_its_patience(
    microseconds: str, pid: str, seconds: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", microseconds)
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()) if pid == "mine" else pid)

    assert notify.watchdog_seconds() == seconds


async def test_who_stays_alive_says_so_as_often_as_it_is_asked_and_not_at_all_where_nobody_asks(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    monkeypatch.setenv("WATCHDOG_USEC", "0")
    async with asyncio.timeout(30):
        await notify.stay_alive()

    monkeypatch.setenv("WATCHDOG_USEC", "20000")
    staying = asyncio.create_task(notify.stay_alive())
    for _ in range(3):
        assert await asyncio.to_thread(manager.recv, 4096) == b"WATCHDOG=1"
    staying.cancel()
    await asyncio.wait([staying])
