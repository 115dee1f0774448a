"""What the demo needs root for: rootd with an action of its own, and customers to make tunnels to."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import shutil
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from edgeward.cli.demo import customers
from edgeward.cli.tree import dropping
from edgeward.errors import Invalid
from edgeward.launcher.child import Child

USER = "edgeward"
ACTION = "who-am-i"
_OTHER_USERS = ("edgeward-relay", "edgeward-vpn")
_PROGRAMS = {
    "ip": "iproute2", "nft": "nftables", "nsenter": "util-linux", customers.CHARON: "charon-systemd"
}  # fmt: skip
_READY_SECONDS = 20.0
_PAUSE_SECONDS = 0.05


@dataclass(frozen=True)
class Rooted:
    """``place`` holds rootd's socket, its log and the operators' actions, apart from those of this host."""

    place: Path

    @property
    def environment(self) -> dict[str, str]:
        return {
            "EDGEWARD_USER": USER,
            "EDGEWARD_ROOTD_SOCKET": str(self.place / "run/rootd.sock"),
            "EDGEWARD_ROOTD_ACTIONS": str(self.place / "actions.d"),
            "EDGEWARD_ROOTD_LOG": str(self.place / "log"),
        }

    def namespaces(self) -> list[Path]:
        """Give the records of what rootd holds for tunnels."""
        return list((self.place / "run/namespaces").glob("vpn-*"))

    async def customers_come(self) -> Child:
        """Start the customers and give their program; raises TimeoutError, OSError."""
        path = self.place / "customers.log"
        with path.open("ab") as log:
            argv = [sys.executable, "-P", "-m", customers.__name__]
            process = Child.start(argv, orphaned=signal.SIGTERM, output=log.fileno())
        for _ in range(int(_READY_SECONDS / _PAUSE_SECONDS)):
            if customers.READY in path.read_text(errors="replace"):
                return process
            await asyncio.sleep(_PAUSE_SECONDS)
        raise TimeoutError("the customers did not come up: " + path.read_text(errors="replace")[-300:])


def made(place: Path) -> Rooted:
    """Make the place, and the action that only these demonstrations have."""
    (place / "actions.d").mkdir(parents=True, mode=0o755)
    action = place / "actions.d" / f"{ACTION}.toml"
    action.write_text(
        f"name = {json.dumps(ACTION)}\ndescription = 'Say who runs this'\nargv = ['/usr/bin/id', '-un']\n"
        "[ask]\nroles = ['admin']\n"
    )
    action.chmod(0o644)
    return Rooted(place)


def missing(directory: Path) -> str:
    """Say what of this is not to be had here, and how it would be; blank where all of it is."""
    if os.geteuid() != 0:
        return "started as root it shows more: ports below 1024, tunnels, a root action"
    for user in (USER, *_OTHER_USERS):
        try:
            pwd.getpwnam(user)
        except KeyError:
            return (
                f"there is no user {user}, as whom programs go on without root; run useradd --system {user}"
            )
    for program, package in _PROGRAMS.items():
        if shutil.which(program) is None:
            return f"{program} is not here, which tunnels need; install {package}"
    return _refusal(directory / "state")


def _refusal(state: Path) -> str:
    """Say why that user could not run it, with a state directory that is its own."""
    user = pwd.getpwnam(USER)
    state.mkdir(mode=0o700)
    os.chown(state, user.pw_uid, user.pw_gid)
    try:
        dropping.see_that_it_can(user, Path(__file__), state, None)
    except Invalid as error:
        state.rmdir()
        return str(error)
    return ""
