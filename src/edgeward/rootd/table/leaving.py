"""Has an IKE daemon end while the kernel goes on with its keys, until another daemon has agreed on its own.

Neither kind takes away, at its start, what it does not know; where networks are the same, it puts its own
policies in the place of those that are there. What was left is written down, and what had been dropped then.
"""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from edgeward.rootd import trusted
from edgeward.rootd.table import cables, charon, daemons, ip, kernel, pluto, tunnels

_LEFT: Final = "left"
_SECONDS: Final = 10.0
_MOST_BYTES: Final = 1 << 24
_ROUTES: Final = "220"
"""charon's table of routes, which it empties where it ends by itself."""
_STATE: Final = re.compile(r"^src (\S+) dst (\S+).*\n\s+proto (\S+) spi (0x[0-9a-f]+) reqid (\d+)", re.M)
_POLICY: Final = re.compile(r"^\s+dir (\S+) .*\bindex (\d+) ", re.M)
_REQID: Final = re.compile(r"\breqid (\d+)")


@dataclass(frozen=True)
class Left:
    """What one daemon left in the kernel."""

    daemon: str
    """Its record: as long as it lives, nothing is left."""
    at: float
    """Unix time."""
    dropped: int
    states: tuple[tuple[str, ...], ...] = ()
    """Source, target, protocol, SPI and reqid of each."""


def leave(place: Path, records: int, name: str, driver: str) -> str:
    """End the daemon of a namespace for one of another kind, and leave its keys in the kernel.

    Raises NotStarted where the other could not carry anything; then nothing has ended.
    """
    within = tunnels.records(place, name)
    found = daemons.living(within, tunnels.RECORD)
    if found is None:
        return "no daemon ran"
    trusted.program(ip.PROGRAM)
    here = os.listdir(within)  # noqa: PTH208 - of an open directory
    kernel.leave_network()  # asking leaves a state behind
    if driver == "libreswan" and not kernel.has_esp():
        why = "this kernel has no ESP, and Libreswan does none itself; modprobe esp4 esp6"
        raise daemons.NotStarted(why)
    with cables.inside(records, name):
        record = trusted.file(tunnels.RECORD, within, tunnels.RECORD).decode()
        _note(within, record)
        if charon.SOCKET not in here or charon.has_esp(within):
            signal.pidfd_send_signal(found[1], signal.SIGKILL)  # whoever ends by itself takes its keys along
            daemons.ended(found[1], _SECONDS)
            _note(within, record)  # what it may have agreed on since the first look
    os.close(found[1])
    tunnels.stop(place, records, name)
    pluto.forget(within)
    return "the daemon is ended, and its keys stay"


def clear(place: Path, records: int, name: str) -> str:
    """End what a former daemon left; says how many packets the kernel dropped since, as JSON."""
    within = tunnels.records(place, name)
    here = os.listdir(within)  # noqa: PTH208 - of an open directory
    trusted.program(ip.PROGRAM)
    with cables.inside(records, name):
        dropped, left = _dropped(), _clear(within, charons=charon.SOCKET in here)
    if left is None:
        return "{}"
    return json.dumps({"at": left.at, "dropped": max(0, dropped - left.dropped), "keys": len(left.states)})


def since(place: Path, name: str) -> float:
    """Give when a daemon left its keys that are there yet, in Unix seconds; 0: none has."""
    try:
        within = trusted.directory(place / "vpn" / name)
    except trusted.Untrusted:  # who looks makes none: it may have just gone
        return 0.0
    try:
        left = _left(within)
        return left.at if left else 0.0
    finally:
        os.close(within)


def _clear(within: int, *, charons: bool) -> Left | None:
    """Raises ip.NotMade where something of it stays."""
    left = _left(within)
    if left is None:
        return None
    _each("state delete src {} dst {} proto {} spi {}", [one[:4] for one in _states() if one in left.states])
    there = _states()
    gone = {one[4] for one in left.states} - {one[4] for one in there}
    _each(
        "policy delete dir {} index {}",
        [policy[:2] for policy in policies(_ran("-s", "xfrm", "policy", "list")) if policy[2] in gone],
    )
    if not charons:
        for family in ("-4", "-6"):
            _ran(family, "route", "flush", "table", _ROUTES)
    if more := set(there) & set(left.states):
        raise ip.NotMade(f"{len(more)} keys of the former daemon do not go")
    os.unlink(_LEFT, dir_fd=within)
    return left


def _left(within: int) -> Left | None:
    """Give what is left by a daemon that does not live any more."""
    try:
        said = json.loads(trusted.file(_LEFT, within, _LEFT, most=_MOST_BYTES))
        left = Left(said["daemon"], said["at"], said["dropped"], tuple(map(tuple, said["states"])))
    except (trusted.Untrusted, ValueError, TypeError, KeyError):
        return None
    found = daemons.living(within, tunnels.RECORD)
    if found is None:
        return left
    os.close(found[1])
    try:
        return None if trusted.file(tunnels.RECORD, within, tunnels.RECORD).decode() == left.daemon else left
    except trusted.Untrusted:  # it has ended meanwhile
        return left


def _note(within: int, daemon: str) -> None:
    left = Left(daemon, time.time(), _dropped(), tuple(_states()))
    how = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(f"{_LEFT}.new", how, 0o600, dir_fd=within), "w") as file:  # noqa: PTH123 - a descriptor
        json.dump(asdict(left), file)
    os.rename(f"{_LEFT}.new", _LEFT, src_dir_fd=within, dst_dir_fd=within)


def states(listed: str) -> list[tuple[str, ...]]:
    """Give those that have keys and a daemon, of what ip lists: what people made by hand has no reqid."""
    found = (match.groups() for match in _STATE.finditer(listed))
    return [one for one in found if one[4] != "0" and int(one[3], 16)]


def policies(listed: str) -> list[tuple[str, str, str]]:
    """Give direction, index and reqid of each, of what ip lists with ``-s``."""
    found = []
    for part in re.split(r"^(?=src )", listed, flags=re.M):
        policy, reqid = _POLICY.search(part), _REQID.search(part)
        if policy and reqid:
            found.append((policy[1], policy[2], reqid[1]))
    return found


def _states() -> list[tuple[str, ...]]:
    return states(_ran("xfrm", "state", "list", "nokeys"))


def _dropped() -> int:
    """Give how many packets this namespace's kernel dropped, ever, for want of keys or policies that fit."""
    try:
        lines = Path("/proc/thread-self/net/xfrm_stat").read_text().splitlines()
    except OSError:  # a kernel that does not count
        return 0
    return sum(int(line.split()[1]) for line in lines)


def _each(words: str, values: Iterable[Sequence[str]]) -> None:
    """Do this with each of some; what is not there any more is as well, though ip ends with it."""
    lines = [f"xfrm {words.format(*one)}" for one in values]
    if lines and ip.run("-batch", "-", said="".join(f"{line}\n" for line in lines)).returncode:
        for line in lines:
            ip.run(*line.split())


def _ran(*words: str) -> str:
    return ip.run(*words).stdout.decode(errors="replace")
