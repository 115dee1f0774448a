"""Two hosts that may have one gateway, a controller and a peer, all on one switch: each a network namespace."""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
import ssl
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import vici
import yaml

from edgeward.vpn.naming import gateway_id
from tests.integration.processes import Process, running, until
from tests.integration.rootd_rig import Readable, readable_python
from tests.integration.vpn_rig import Charon, Namespace, Site, Wan, wide_area

OPTIONS = ("--user", "0", "--vpn-user", "games", "--relay-user", "games")
OURS, CONTROL, PEER = "198.51.99.5", "198.51.99.254", "198.51.99.2"
GATEWAY = gateway_id("default", "vpn", "berlin")
SITE = {
    "name": "berlin",
    "peer": PEER,
    "local_id": "@edge.example",
    "remote_id": "@berlin.example",
    "local_networks": "10.77.0.0/24",
    "remote_networks": "10.2.0.0/24",
    "secret": "nobody knows",
    "outside": {"address": f"{OURS}/24", "bridge": "br-ex"},
}


class Host:
    """One edge host: its rootd, and its node, which nobody starts again."""

    def __init__(self, name: str, namespace: Site, rootd: Readable, stack: ExitStack) -> None:
        self.name, self.namespace, self.rootd = name, namespace, rootd
        self._stack = stack
        self.state = rootd.place / "state"
        self.state.mkdir()
        self.log = rootd.place / "node.log"
        self.node: Process | None = None

    def start(self, *joining: str) -> Process:
        argv = [sys.executable, "-m", "edgeward.node", "--state-dir", str(self.state), *joining]
        environment = {"EDGEWARD_ROOTD_SOCKET": self.rootd.socket}
        self.node = self._stack.enter_context(
            running(self.namespace.within(*argv), output=self.log, env=environment)
        )
        return self.node

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    @property
    def active(self) -> bool:
        """Whether its outside is plugged in: it has the address that peers speak to."""
        return "state UP" in self._inside("link", "show", "dev", "outside")

    @property
    def carries(self) -> bool:
        """Whether there are keys: the userspace data plane has its route then."""
        return "10.2.0.0/24" in self._inside("route", "show", "table", "220")

    @property
    def stands_by(self) -> bool:
        """Whether it has everything but the address: its daemon answers."""
        found = self._inside("link", "show", "dev", "outside")
        daemon = Path(self.rootd.socket).parent / "vpn" / f"vpn-{GATEWAY}" / "charon.vici"
        return "state DOWN" in found and daemon.exists()

    def _inside(self, *words: str) -> str:
        keeper = Path(self.rootd.socket).parent / "namespaces" / f"vpn-{GATEWAY}"
        try:
            within = Namespace(int(keeper.read_text().split()[0]))
            return within.run("ip", *words)
        except (OSError, IndexError, AssertionError):
            return ""


class Takeover:
    def __init__(self, wan: Wan, place: Path, python: str, stack: ExitStack) -> None:
        self.wan, self.place, self._python, self._stack = wan, place, python, stack
        self.switch = wan.router
        self.switch.ip("link add sw type bridge")
        self.switch.ip("link set sw up")
        self.switch.ip(f"addr add {CONTROL}/24 dev sw")
        self.state = place / "control"

    def plug(self, number: int, *, bridge: bool) -> Site:
        """Give a namespace on the switch: with its address on a bridge of its own, or on the cable itself."""
        site = self.wan.site(number)
        self.switch.ip(f"addr flush dev site{number}")
        self.switch.ip(f"link set site{number} master sw")
        site.ip("addr flush dev wan0")
        if bridge:
            for words in ("link add br-ex type bridge", "link set wan0 master br-ex", "link set br-ex up"):
                site.ip(words)
        site.ip(f"addr add 198.51.99.{number}/24 dev {'br-ex' if bridge else 'wan0'}")
        return site

    def controller(self) -> None:
        self.state.mkdir()
        file = self.place / "edgeward.yaml"
        listen = {"http": [], "https": [], "api": ["127.0.0.1:2443", f"{CONTROL}:2443"]}
        file.write_text(yaml.safe_dump({"version": 1, "listen": listen, "vpn": [SITE]}))
        argv = [sys.executable, "-m", "edgeward.controller", "--state-dir", self.state, "--config", file]
        self._stack.enter_context(running(self.switch.within(*argv), output=self.place / "control.log"))
        until(lambda: (self.state / "ca" / "root.pem").exists() and self._answers(), 20, "the controller")

    def _answers(self) -> bool:
        try:
            return bool(self.said("status"))
        except AssertionError:
            return False

    def said(self, *words: str) -> Any:
        argv = [sys.executable, "-m", "edgeward.cli", *words, "-o", "json", "--state-dir", self.state]
        return json.loads(self.switch.run(*argv))

    def joining(self, name: str) -> list[str]:
        token = self.said("token", "create", f"join-{name}", "--role", "node")["token"]
        der = ssl.PEM_cert_to_DER_cert((self.state / "ca" / "root.pem").read_text())
        pin = hashlib.sha256(der).hexdigest()
        where = f"https://{CONTROL}:2443"
        return ["--controller", where, "--join", token, "--ca-sha256", pin, "--name", name]

    def host(self, name: str, number: int) -> Host:
        place = self.place / name
        rootd = Readable(place, self._python)
        (rootd.actions.parent / "network.toml").write_text('bridges = ["br-ex"]\n')
        site = self.plug(number, bridge=True)
        self._stack.enter_context(rootd.serving(*OPTIONS, before=site.within()))
        made = Host(name, site, rootd, self._stack)
        self._stack.callback(rootd.ask, "remove-namespace", namespace=f"vpn-{GATEWAY}")
        return made


@contextmanager
def takeover(needs: Callable[[str], str]) -> Iterator[Takeover]:
    place = Path(tempfile.mkdtemp(prefix="ew-", dir="/tmp"))
    place.chmod(0o755)  # daemons run as users of their own
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, place, ignore_errors=True)
        wan, python = (
            stack.enter_context(wide_area(place / "wan")),
            stack.enter_context(readable_python(needs)),
        )
        made = Takeover(wan, place, python, stack)
        made.controller()
        yield made


@contextmanager
def answering(peer: Site) -> Iterator[Charon]:
    """Have the peer know the site, and wait for it."""
    peer.outside = PEER
    with peer.charon() as charon, socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(charon.socket))
        session = vici.Session(connection)
        session.load_shared(
            {"id": "b", "type": "ike", "data": SITE["secret"], "owners": ["edge.example", "berlin.example"]}
        )
        proposals = ["aes256gcm16-prfsha384-ecp384"]
        child = {"local_ts": ["10.2.0.0/24"], "remote_ts": ["10.77.0.0/24"],
                 "esp_proposals": ["aes256gcm16-ecp384", "aes256gcm16"]}  # fmt: skip
        session.load_conn(
            {"b": {"version": "2", "proposals": proposals, "remote_addrs": ["%any"], "unique": "replace",
                   "local": {"auth": "psk", "id": "berlin.example"},
                   "remote": {"auth": "psk", "id": "edge.example"}, "children": {"b": child}}}
        )  # fmt: skip
        yield charon
