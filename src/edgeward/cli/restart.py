"""`edgeward envoy restart`: has this host's launcher let another Envoy take over, and says how it went."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from edgeward.cli.options import StateDir, resolve_state_dir
from edgeward.cli.printing import show
from edgeward.errors import Refused, Unavailable
from edgeward.launcher import files

_LOOK_SECONDS = 0.05
_PATIENCE = 180.0
"""A check takes up to 60 s, the start of a new Envoy 30 s."""


def run(arguments: Sequence[str]) -> None:
    app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
    app.command()(restart)
    app(list(arguments), prog_name="edgeward envoy restart")


def restart(state_dir: StateDir = None) -> None:
    """Have a new Envoy, also of another version, take over from the one that runs; no visitor is cut."""
    record = resolve_state_dir(state_dir) / "node" / "envoy.json"
    before = _ask(record)
    said = _wait(record, int(before.get("launcher", 0)), int(before.get("asked", 0)) + 1)
    last = said["last_restart"]
    if last["outcome"] == "failed":
        raise Unavailable(f"Envoy was not restarted: {last['text']}")
    show.line(f"{last['text']}, in {last['seconds']:g} s")
    draining = len(said.get("draining") or ())
    if draining:
        many = "1 Envoy lets its" if draining == 1 else f"{draining} Envoys let their"
        left = max(0, round(max(one["until"] for one in said["draining"]) - time.time()))
        show.line(f"{many} visitors finish, for {left} s at most")


def _ask(record: Path) -> dict[str, Any]:
    """Signal the launcher that wrote the record; gives what it said before."""
    said = files.read_json(record)
    pid = said.get("launcher")
    if not isinstance(pid, int) or pid <= 1:
        raise Unavailable(_none(record))
    try:
        handle = os.pidfd_open(pid)
    except OSError as error:
        raise Unavailable(_none(record)) from error
    try:
        if b"edgeward.launcher" not in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
            raise Unavailable(_none(record))
        signal.pidfd_send_signal(handle, signal.SIGHUP)
    except PermissionError as error:
        raise Refused(f"the launcher, process {pid}, is another user's; do this as that user") from error
    except OSError as error:
        raise Unavailable(_none(record)) from error
    finally:
        os.close(handle)
    return said


def _wait(record: Path, launcher: int, upto: int) -> dict[str, Any]:
    """Print how far it is until the restart is answered; gives what the launcher says then."""
    phase, deadline = "", time.monotonic() + _PATIENCE
    while True:
        said = files.read_json(record)
        if said.get("launcher") != launcher or not Path(f"/proc/{launcher}").exists():
            raise Unavailable("the launcher ended meanwhile; look at its log")
        if said.get("answered", 0) >= upto:
            return said
        now = str(said.get("phase", "")) or _waits_for(said)
        if now and now != phase:
            show.line(now)
            deadline = time.monotonic() + _PATIENCE
        phase = now
        oldest = min((one["until"] for one in said.get("draining") or ()), default=0.0)
        if time.monotonic() > deadline and time.time() > oldest + _PATIENCE:
            raise Unavailable("the launcher does not answer; look at its log")
        time.sleep(_LOOK_SECONDS)


def _waits_for(said: dict[str, Any]) -> str:
    if said.get("state") != "serving":
        return f"Envoy is {said.get('state')}; waiting for it to serve first"
    if said.get("draining"):
        return f"{len(said['draining'])} Envoys still let visitors finish; waiting for the oldest to end"
    return ""


def _none(record: Path) -> str:
    return (
        f"no launcher of Envoy runs on {record.parent.parent}; name its --state-dir, or start it: edgeward up"
    )
