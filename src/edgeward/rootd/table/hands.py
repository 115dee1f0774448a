"""What a built-in action's child becomes: hands.py VERB PLACE WORD…, each word made by a type."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from edgeward.rootd import trusted
from edgeward.rootd.table import (
    allowed,
    cables,
    charon,
    daemons,
    filters,
    gateways,
    namespaces,
    pluto,
    relays,
    tunnels,
)  # fmt: skip


def _create(place: Path, found: int, name: str) -> str:
    _clear(place, found, name)
    return namespaces.create(found, name)


def _adopt(place: Path, found: int, file: str, name: str) -> str:
    _clear(place, found, name)
    return gateways.adopt(place, found, file, name)


def _clear(place: Path, found: int, name: str) -> None:
    """End what goes on in a namespace whose holder has died: it would not be in the new one."""
    if not namespaces.is_held(found, name):
        _leave(place, found, name)


def _remove(place: Path, found: int, name: str) -> str:
    _leave(place, found, name)
    return namespaces.remove(found, name)


def _leave(place: Path, found: int, name: str) -> None:
    relays.stop_all(place, name)
    _stop_daemon(place, found, name)
    gateways.forget(place, found, name)


def _stop_daemon(place: Path, found: int, name: str) -> str:
    said = tunnels.stop(place, found, name)
    if (place / "vpn" / name).is_dir():
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
    "adopt-namespace": _adopt,
    "apply-network": gateways.apply_network,
    "apply-guard": gateways.apply_guard,
    "announce": _announce,
    "observe-networks": gateways.observe,
}


_FAILURES = (
    OSError, subprocess.TimeoutExpired, trusted.Untrusted, allowed.NotAllowed,
    cables.NotMade, filters.NotApplied, namespaces.Missing, daemons.NotStarted,
)  # fmt: skip


def main(verb: str, place: str, *words: str) -> int:
    try:
        said = _VERBS[verb](Path(place), daemons.locked(Path(place)), *words)
    except _FAILURES as error:
        said = str(error)
        code = 1
    else:
        code = 0
    print(said)  # noqa: T201 - what rootd answers
    return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
