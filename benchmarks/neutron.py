"""The way of Neutron's strongSwan driver: ipsec.conf, starter and stroke, as its agent uses them."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from edgeward.vpn.desired import Connection, Psk
from edgeward.vpn.drivers.strongswan import proposals
from tests.integration.processes import running, until
from tests.integration.vpn_rig import PLUGINS, Site

_STARTER = "/usr/lib/ipsec/starter"


class Agent:
    """Keeps what it was told in files; a change is all of them, written anew and reloaded."""

    def __init__(self, site: Site, place: Path, holder: int) -> None:
        self._site = site
        self._place = place
        self._holder = holder

    def ipsec(self, *words: str) -> str:
        inside = [
            "nsenter",
            f"--mount=/proc/{self._holder}/ns/mnt",
            f"--net=/proc/{self._holder}/ns/net",
            "--",
        ]
        done = subprocess.run(
            [*inside, "/usr/sbin/ipsec", *words], capture_output=True, text=True, timeout=60
        )
        return done.stdout + done.stderr

    def write(self, connections: Sequence[Connection]) -> None:
        write(self._place, connections)

    def reload(self) -> None:
        self.ipsec("rereadsecrets")
        self.ipsec("reload")


def installed() -> bool:
    files = (_STARTER, "/etc/ipsec.conf", "/etc/ipsec.secrets", "/etc/strongswan.conf")
    return all(Path(path).exists() for path in files)


@contextmanager
def agent(site: Site, place: Path, connections: Sequence[Connection]) -> Iterator[Agent]:
    """Run starter and charon in a site, all connections up; the files of /etc are its own there."""
    place.mkdir()
    write(place, connections)
    (place / "strongswan.conf").write_text(
        f"charon {{\n load = {PLUGINS.replace('vici', 'stroke')}\n install_virtual_ip = no\n"
        " block_threshold = 500\n cookie_threshold = 100\n}\n"
    )
    names = ("ipsec.conf", "ipsec.secrets", "strongswan.conf")
    binds = "".join(f" mount --bind {place / name} /etc/{name};" for name in names)
    prepare = f"set -e; mount -t tmpfs tmpfs /run;{binds} exec {_STARTER} --nofork --daemon charon"
    with running(site.within("unshare", "--mount", "/bin/sh", "-c", prepare)) as process:
        made = Agent(site, place, process.pid)
        last = connections[-1].id
        until(lambda: last in made.ipsec("statusall"), 30, "charon has its connections")
        for one in connections:
            made.ipsec("stroke", "up-nb", one.id)
        until(lambda: made.ipsec("status").count("INSTALLED") >= len(connections), 60, "all tunnels are up")
        try:
            yield made
        finally:
            made.ipsec("stop")
            time.sleep(0.2)


def write(place: Path, connections: Sequence[Connection]) -> None:
    defaults = (
        "conn %default\n\tauthby=psk\n\tmobike=no\n\tkeyexchange=ikev2\n\tauto=route\n\tkeyingtries=1\n"
    )
    (place / "ipsec.conf").write_text(defaults + "".join(map(_conn, connections)))
    (place / "ipsec.secrets").write_text("".join(map(_secret, connections)))


def _conn(one: Connection) -> str:
    given = {
        "left": one.local_address, "leftid": one.local_id, "leftsubnet": ",".join(one.local_networks),
        "right": one.peer_address, "rightid": one.peer_id, "rightsubnet": ",".join(one.peer_networks),
        "ike": f"{proposals.ike(one.ike.proposals[0])}!", "esp": f"{proposals.esp(one.ipsec.proposals[0])}!",
    }  # fmt: skip
    return f"conn {one.id}\n" + "".join(f"\t{key}={value}\n" for key, value in given.items())


def _secret(one: Connection) -> str:
    assert isinstance(one.auth, Psk)
    return f'{one.local_id} {one.peer_id} : PSK "{one.auth.secret.reveal()}"\n'
