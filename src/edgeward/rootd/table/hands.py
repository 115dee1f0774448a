"""What a built-in action does, in a child of rootd's: VERB PLACE [NAMESPACE WORD…], each made by a type."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from edgeward.rootd import trusted
from edgeward.rootd.table import (
    allowed,
    cables,
    charon,
    daemons,
    filters,
    gateways,
    ip,
    leaving,
    namespaces,
    pluto,
    relays,
    remains,
    tunnels,
)  # fmt: skip


def _create(place: Path, found: int, name: str) -> str:
    _clear(place, found, name)
    return namespaces.create(found, name)


def _adopt(place: Path, found: int, name: str, file: str) -> str:
    _clear(place, found, name)
    return gateways.adopt(place, found, name, file)


def _clear(place: Path, found: int, name: str) -> None:
    """End what goes on in a namespace whose holder has died: it would not be in the new one."""
    if not namespaces.is_held(found, name):
        _leave(place, found, name)


def _remove(place: Path, found: int, name: str) -> str:
    _leave(place, found, name)
    said = namespaces.remove(found, name)
    remains.clear(place, name)
    return said


def _leave(place: Path, found: int, name: str) -> None:
    relays.stop_all(place, name)
    _stop_daemon(place, found, name)
    gateways.forget(place, found, name)


def _stop_daemon(place: Path, found: int, name: str) -> str:
    said = tunnels.stop(place, found, name)
    if (place / "vpn" / name).is_dir():
        if namespaces.is_held(found, name):
            leaving.clear(place, found, name)
        pluto.forget(tunnels.records(place, name))
    return said


def _apply_nft(_: Path, found: int, name: str, rules: str) -> str:
    namespaces.enter(found, name)
    return filters.apply(rules)


def _announce(_: Path, found: int, name: str) -> str:
    return cables.announce(found, name)


_VERBS: Mapping[str, Callable[..., str]] = {
    "create-namespace": _create,
    "remove-namespace": _remove,
    "start-relay": relays.start,
    "stop-relay": relays.stop,
    "apply-nft": _apply_nft,
    "start-charon": charon.start,
    "start-pluto": pluto.start,
    "stop-daemon": _stop_daemon,
    "leave-keys": leaving.leave,
    "clear-keys": leaving.clear,
    "adopt-namespace": _adopt,
    "apply-network": gateways.apply_network,
    "apply-guard": gateways.apply_guard,
    "announce": _announce,
    "observe-networks": gateways.observe,
}


_FAILURES = (
    OSError, subprocess.TimeoutExpired, trusted.Untrusted, allowed.NotAllowed,
    ip.NotMade, filters.NotApplied, namespaces.Missing, daemons.NotStarted,
)  # fmt: skip


def begin(argv: tuple[str, ...], writing: int) -> int:
    """Do it in a child, which is as a program would be but for the time in which Python starts: nothing
    open, no environment, no signal handled, a group of its own. Gives its pid; it says to ``writing``
    what it did."""
    pid = os.fork()
    if pid:
        with suppress(OSError):  # as the child does: whichever is first
            os.setpgid(pid, pid)
        return pid
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            if signal.getsignal(number) not in (signal.SIG_DFL, signal.SIG_IGN):
                signal.signal(number, signal.SIG_DFL)
        os.setpgid(0, 0)
        os.umask(0o022)
        os.chdir("/")
        os.environ.clear()
        for place, descriptor in enumerate((os.open(os.devnull, os.O_RDONLY), writing, writing)):
            os.dup2(descriptor, place)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        code, said = done(*argv)
        os.write(1, f"{said}\n".encode())
    except BaseException as error:
        os.write(1, f"{type(error).__name__}: {error}\n".encode())
    finally:
        os._exit(code)


def done(verb: str, place: str, *words: str) -> tuple[int, str]:
    """Do it, and give the exit code and what rootd answers."""
    try:
        return 0, _VERBS[verb](Path(place), daemons.locked(Path(place), *words[:1]), *words)
    except _FAILURES as error:
        return 1, str(error)
