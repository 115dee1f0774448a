"""The commands with which people look inside a daemon themselves: as root on its host."""

from __future__ import annotations

import shlex
from pathlib import Path


def commands(driver: str, place: Path, namespace: str) -> list[str]:
    """Give them for the daemon of a namespace; ``place`` is rootd's directory."""
    within = place / "vpn" / namespace
    record = shlex.quote(str(place / "namespaces" / namespace))
    enter = f"nsenter -n -t \"$(cut -d' ' -f1 {record})\""
    kernel = [f"{enter} ip -s xfrm state", f"{enter} ip xfrm policy", f"{enter} ip route show table all"]
    if driver == "strongswan":
        uri = shlex.quote(f"unix://{within}/charon.vici")
        asked = [f"swanctl --{what} --uri {uri}" for what in ("list-sas", "list-conns", "log")]
        return [*asked, "journalctl -t charon-systemd", *kernel]
    if driver == "libreswan":
        control = shlex.quote(str(within / "pluto.ctl"))
        asked = [
            f"{shlex.quote(str(within / 'programs' / 'whack'))} --ctlsocket {control} --{what}"
            for what in ("status", "trafficstatus")
        ]
        return [*asked, f"tail -f {shlex.quote(str(within / 'own' / 'pluto.log'))}", *kernel]
    return []
