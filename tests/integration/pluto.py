"""A pluto of a test's own in a namespace, laid out as rootd does it, and the kernel it needs for more than IKE."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgeward.rootd.table import pluto as rootd
from tests import libreswan
from tests.integration.processes import Process, running, until
from tests.integration.vpn_rig import Namespace


class Pluto:
    """``place`` is what rootd's directory of its namespace would be."""

    def __init__(self, process: Process, place: Path) -> None:
        self.process = process
        self.place = place

    def whack(self, *words: str) -> str:
        argv = [str(libreswan.tool("whack")), "--ctlsocket", str(self.place / "pluto.ctl"), *words]
        return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False).stdout

    def log(self) -> str:
        return (self.place / "own" / "pluto.log").read_text()


@contextmanager
def pluto(namespace: Namespace, place: Path) -> Iterator[Pluto]:
    """Run a pluto there, as root, until the block ends."""
    for name in ("own/nss", "run"):
        (place / name).mkdir(parents=True)
    (place / "ipsec.conf").write_text(rootd.conf(place))
    (place / "ipsec.secrets").write_text(f"include {place}/own/*.secrets\n")
    made = ("certutil", "-N", "-d", f"sql:{place}/own/nss", "--empty-password")
    subprocess.run(made, check=True, capture_output=True, timeout=30)
    (place / "own" / "pluto.log").touch()
    (place / "programs").symlink_to(libreswan.tool("pluto").parent)
    (place / "pluto.ctl").symlink_to("run/pluto.ctl")
    prefix = libreswan.prefix()
    seen = f'mount --bind {prefix}/usr/libexec /usr/libexec && exec "$@"'
    own_mounts = ["unshare", "--mount", "--propagation=private", "sh", "-c", seen, "sh"]
    options = ("--config", f"{place}/ipsec.conf", "--rundir", f"{place}/run", "--nhelpers", "1", "--nofork")
    with running([*own_mounts, *namespace.within(libreswan.tool("pluto"), *options)]) as process:
        started = Pluto(process, place)
        until(lambda: "listening for IKE messages" in started.log(), what=f"pluto listens in {place}")
        yield started
