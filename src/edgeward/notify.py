"""Tells the service manager (systemd, or `edgeward up`) how a program is, after sd_notify(3); stdlib only."""

from __future__ import annotations

import os
import socket
import time


def notify(state: str) -> bool:
    """Send newline-separated assignments such as ``READY=1`` or ``STATUS=…``; False where nobody listens.

    Never raises and never blocks: a program does not fail because its manager is slow.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]  # Linux's abstract namespace
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.setblocking(False)
            sender.sendto(state.encode(), address)
    except OSError:
        return False
    return True


def ready(status: str = "") -> bool:
    """Say that this program does its work now, also at the end of a reload."""
    return notify(f"READY=1\nSTATUS={_one_line(status)}" if status else "READY=1")


def stopping() -> bool:
    return notify("STOPPING=1")


def reloading() -> bool:
    """Say that a reload begins; ``ready()`` ends it."""
    return notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")


def status(text: str) -> bool:
    return notify(f"STATUS={_one_line(text)}")


def waiting_on(seconds: float) -> bool:
    """Ask for that much more time to start: what we wait for is not in our hands."""
    return notify(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")


def watchdog() -> bool:
    """Say that this program is alive; call at least every ``watchdog_seconds()``."""
    return notify("WATCHDOG=1")


def watchdog_seconds() -> float | None:
    """Give how often to call ``watchdog()``, half the manager's patience; None where it does not ask."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    meant_for = os.environ.get("WATCHDOG_PID", "")
    if not microseconds.isdecimal() or int(microseconds) == 0:
        return None
    if meant_for and meant_for != str(os.getpid()):
        return None
    return int(microseconds) / 2_000_000


async def stay_alive() -> None:
    """Call ``watchdog()`` as often as the manager asks, until cancelled; ends where it does not ask."""
    import asyncio  # the relay, which has a loop of its own, goes without

    seconds = watchdog_seconds()
    while seconds is not None:
        watchdog()
        await asyncio.sleep(seconds)


def _one_line(text: str) -> str:
    return " ".join(text.split())
