"""Two sites on one machine, joined by Edgeward; everything goes when it ends.

    sudo .venv/bin/python examples/site-to-site/show.py

Berlin is a network namespace with strongSwan, configured by what `edgeward vpn peer-config` prints. Our
office is a namespace on a bridge, and between the two stands a gateway that Edgeward makes. Needs Debian's
charon-systemd, strongswan-swanctl, libcharon-extra-plugins, libstrongswan-extra-plugins, iproute2, util-linux
and ping; with `openstack` on the PATH the tunnel is declared by OpenStack's command too.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).resolve().parent
OFFICE, BERLIN, INTERNET = "ew-office", "ew-berlin", "ew-world"
CUSTOMERS = "ew-internet"
"""The bridge of the other example, whose gateway is called as ours is."""
PC, WEB = "10.1.0.10", "192.168.4.10"
CHARON, SWANCTL = "/usr/sbin/charon-systemd", "/usr/sbin/swanctl"
PLUGINS = (
    "random nonce openssl aes sha1 sha2 hmac kdf gcm gmp pem pkcs1 x509 pubkey constraints socket-default"
    " kernel-libipsec kernel-netlink vici"
)
PROFILE = """    profile:
      ike:                                          # as before
        proposals:
          - {encryption: aes-256-gcm-16, integrity: sha384, groups: [group20, mlkem768]}
          - {encryption: aes-256-gcm-16, integrity: sha384, groups: [group20]}
      ipsec: {proposals: [{encryption: aes-256, integrity: sha384, groups: [group20]}]}
"""
OPENSTACK = """\
network create internet --external --provider-network-type flat --provider-physical-network ew-world
subnet create internet --network internet --subnet-range 203.0.113.0/24 --gateway 203.0.113.1
network create office --provider-network-type flat --provider-physical-network ew-office
subnet create office --network office --subnet-range 10.1.0.0/24
router create edge
router set edge --external-gateway internet --fixed-ip subnet=internet,ip-address=203.0.113.5
router add subnet edge office
vpn ike policy create modern --ike-version v2 --encryption-algorithm aes-256-gcm-16 \
--auth-algorithm sha384 --pfs group20
vpn ipsec policy create modern --encryption-algorithm aes-256-gcm-16 \
--auth-algorithm sha384 --pfs group20
vpn service create office --router edge
vpn endpoint group create here --type subnet --value office
vpn endpoint group create there --type cidr --value 192.168.4.0/24
vpn ipsec site connection create berlin --vpnservice office --ikepolicy modern --ipsecpolicy modern \
--local-endpoint-group here --peer-endpoint-group there --peer-address 203.0.113.9 --peer-id 203.0.113.9 \
--psk 'correct horse battery staple'"""
EDGEWARD = [sys.executable, "-m", "edgeward.cli"]


class Show:
    def __init__(self, stack: ExitStack, place: Path) -> None:
        self.stack, self.place = stack, place
        self.state, self.yaml = place / "state", place / "berlin.yaml"
        self.run = place / "rootd"
        for name in [name for name in os.environ if name.startswith("OS_")]:
            del os.environ[name]  # of somebody's cloud: `openstack` is to ask this Edgeward
        os.environ |= {
            "EDGEWARD_STATE_DIR": str(self.state),
            "EDGEWARD_ROOTD_SOCKET": str(self.run / "rootd.sock"),
            "PYTHONPATH": os.pathsep.join(sys.path),
            "COLUMNS": "110",
        }

    # --- the machine ---------------------------------------------------------------------------

    def build(self) -> None:
        """Make the internet (a bridge), Berlin on it, and our office on another bridge."""
        for bridge in (INTERNET, OFFICE):
            quiet(f"ip link add {bridge} type bridge")
            self.stack.callback(quiet, f"ip link del {bridge}")
            quiet(f"ip link set {bridge} up")
        self._host(BERLIN, INTERNET, "203.0.113.9/24")
        self._host("ew-pc", OFFICE, f"{PC}/24", "10.1.0.1")
        quiet(f"ip -n {BERLIN} address add {WEB}/32 dev lo")

    def _host(self, name: str, bridge: str, address: str, router: str = "") -> None:
        quiet(f"ip netns add {name}")
        self.stack.callback(quiet, f"ip netns del {name}")
        quiet(f"ip link add {name}-0 type veth peer name eth0 netns {name}")
        quiet(f"ip link set {name}-0 master {bridge} up")
        for words in ("link set lo up", f"address add {address} dev eth0", "link set eth0 up"):
            quiet(f"ip -n {name} {words}")
        if router:
            quiet(f"ip -n {name} route add default via {router}")

    def berlin(self) -> None:
        """Start strongSwan there; it knows nothing yet."""
        configuration = self.place / "strongswan.conf"
        configuration.write_text(
            f"charon-systemd {{\n load = {PLUGINS}\n"
            f" plugins {{ vici {{ socket = unix://{self.place}/berlin.vici }} }}\n}}\n"
        )
        self.start("ip", "netns", "exec", BERLIN, CHARON, STRONGSWAN_CONF=str(configuration))
        until((self.place / "berlin.vici").exists, "strongSwan in Berlin")

    def told(self, configuration: str) -> None:
        """Have Berlin's strongSwan take a swanctl.conf."""
        (self.place / "swanctl.conf").write_text(configuration)
        quiet(
            f"ip netns exec {BERLIN} {SWANCTL} --load-all --clear --file {self.place}/swanctl.conf"
            f" --uri unix://{self.place}/berlin.vici"
        )

    def edge(self) -> None:
        """Start Edgeward, with a rootd that lends it the two bridges."""
        (self.place / "actions.d").mkdir()
        (self.place / "network.toml").write_text(f'bridges = ["{INTERNET}", "{OFFICE}"]\n')
        (self.place / "log").mkdir()
        self.start(
            *EDGEWARD, "rootd", "--socket", f"{self.run}/rootd.sock", "--actions", f"{self.place}/actions.d",
            "--log", f"{self.place}/log", "--user", "root",
        )  # fmt: skip
        until((self.run / "rootd.sock").exists, "rootd")
        self.stack.callback(self._end_gateways)  # once nobody makes them anew
        self.start(*EDGEWARD, "up", "-c", str(HERE / "edge.yaml"), "--user", "root")
        until(lambda: "node" in ran(*EDGEWARD, "status", check=False), "edgeward up", 60)

    def _end_gateways(self) -> None:
        for path in self.run.glob("namespaces/*"):
            ran(*EDGEWARD, "action", "run", "remove-namespace", f"namespace={path.name}", check=False)

    def start(self, *argv: str, **more: str) -> None:
        log = (self.place / "programs.log").open("ab")
        program = subprocess.Popen(argv, stdout=log, stderr=log, env={**os.environ, **more})

        def end() -> None:
            program.terminate()
            try:
                program.wait(20)
            except subprocess.TimeoutExpired:
                program.kill()
                program.wait()

        self.stack.callback(end)

    # --- what is shown -------------------------------------------------------------------------

    def declare(self) -> None:
        self.write(lambda text: text)
        said("edgeward", "apply", "-f", str(self.yaml), "--wait")

    def write(self, change: Callable[[str], str]) -> None:
        text = (HERE / "berlin.yaml").read_text().replace("SECRET", str(self.place / "secret"))
        self.yaml.write_text(change(text))

    def up(self, name: str = "berlin") -> None:
        until(lambda: phase(name) == "active", f"the tunnel {name}", 30)
        said("edgeward", "vpn", "status")

    def ping(self, count: int = 3) -> None:
        say(f"ip netns exec ew-pc ping -c {count} -i 0.2 {WEB}")
        print(ran("ip", "netns", "exec", "ew-pc", "ping", "-c", str(count), "-i", "0.2", WEB, check=False))

    def daemon(self) -> int:
        (found,) = self.run.glob("vpn/*/daemon")
        return int(found.read_text().split()[0])

    def own_words(self) -> str:
        """Show it; gives what Berlin is configured with."""
        title("The tunnel in our own words")
        (self.place / "secret").write_text("correct horse battery staple\n")
        self.declare()
        title("What Berlin is to be configured with")
        there = said("edgeward", "vpn", "peer-config", "berlin", "--for", "strongswan", "--secret-file",
                     str(self.place / "secret"))  # fmt: skip
        self.told(there)
        self.up()
        self.ping()

        title("Other algorithms for ESP, on both sides, while somebody pings")
        print(f"--- berlin.yaml, at its end\n+{PROFILE}", flush=True)
        self.write(lambda text: text + PROFILE)
        said("edgeward", "vpn", "plan", "-f", str(self.yaml), check=False)
        pinging = self.pings()
        self.told(
            there.replace(
                "aes256gcm16-ecp384\n                mode", "aes256-sha384-ecp384\n                mode"
            )
        )
        said("edgeward", "apply", "-f", str(self.yaml), "--wait")
        self.report(pinging)
        said("edgeward", "vpn", "status", "berlin")

        title("The daemon of our gateway is killed, while somebody pings")
        pinging = self.pings(60)
        os.kill(self.daemon(), 9)
        say(f"kill -9 {'charon'}")
        time.sleep(1)
        self.report(pinging)
        self.up()

        title("A wrong pre-shared key in Berlin")
        other = there.replace("aes256gcm16-ecp384\n", "aes256-sha384-ecp384\n")
        self.told(re.sub("secret = .*", "secret = another one", other))
        say("edgeward vpn terminate berlin")
        ran(*EDGEWARD, "vpn", "terminate", "berlin")
        time.sleep(0.5)
        said("edgeward", "vpn", "initiate", "berlin", check=False)
        said("edgeward", "vpn", "explain", "berlin", check=False)

        title("And away with it")
        self.yaml.write_text("version: 1\n")
        said("edgeward", "apply", "-f", str(self.yaml), "--wait")
        return there

    def openstacks_words(self, there: str) -> None:
        title("The same tunnel in OpenStack's words, by its own command")
        self.told(there)
        options = ("--os-auth-type", "none", "--os-endpoint", "http://127.0.0.1:19696")
        for line in OPENSTACK.splitlines():
            say(f"openstack {line}")
            out = ran("openstack", *options, *shlex.split(line))
            if " show " in line:
                print(out)
        self.up()
        self.ping()
        status = "vpn ipsec site connection show berlin -c name -c status -c peer_address"
        say(f"openstack {status}")
        print(ran("openstack", *options, *status.split()))

    def pings(self, count: int = 40) -> subprocess.Popen[str]:
        argv = ["ip", "netns", "exec", "ew-pc", "ping", "-c", str(count), "-i", "0.05", "-q", WEB]
        found = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        time.sleep(0.4)
        return found

    def report(self, pinging: subprocess.Popen[str]) -> None:
        out, _ = pinging.communicate(timeout=30)
        print("ping:", next(line for line in out.splitlines() if "packet loss" in line), "\n")


# --- programs --------------------------------------------------------------------------------


def title(text: str) -> None:
    print(f"\n--- {text} ---\n", flush=True)


def say(command: str) -> None:
    print(f"$ {command}", flush=True)


def said(*words: str, check: bool = True) -> str:
    say(" ".join(words))
    out = ran(*(EDGEWARD if words[0] == "edgeward" else words[:1]), *words[1:], check=check)
    print(out, flush=True)
    return out


def phase(name: str) -> str:
    out = ran(*EDGEWARD, "vpn", "status", name, "-o", "json", check=False)
    try:
        found = json.loads(out)
        return str(found.get("phase") or found.get("state", {}).get("phase"))
    except (ValueError, AttributeError):
        return ""


def quiet(command: str) -> None:
    ran(*command.split())


def ran(*argv: str, check: bool = True) -> str:
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=90)
    if check and done.returncode != 0:
        raise SystemExit(f"{' '.join(argv)}:\n{done.stdout}")
    return done.stdout


def until(true: Callable[[], object], what: str, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise SystemExit(f"{what} did not come up")
        time.sleep(0.1)


def check() -> None:
    """Say beforehand why it cannot be."""
    if os.geteuid() != 0:
        raise SystemExit("only root makes namespaces: sudo .venv/bin/python examples/site-to-site/show.py")
    if find_spec("edgeward") is None:
        raise SystemExit(
            f"{sys.executable} has no Edgeward; run this with .venv/bin/python (make demo makes it)"
        )
    missing = [program for program in (CHARON, SWANCTL, "ping") if shutil.which(program) is None]
    if missing:
        raise SystemExit(f"install what has {' and '.join(missing)}")
    there = [name for _, name in socket.if_nameindex()]
    if CUSTOMERS in there:
        raise SystemExit(
            f"examples/everything, or a demo, runs on this host (it has {CUSTOMERS}) and has a gateway "
            "default/berlin too: each would take the other's cables; end it first, or where a killed one "
            f"left the link, run: ip link del {CUSTOMERS}"
        )
    for link in (INTERNET, OFFICE, f"{BERLIN}-0", "ew-pc-0"):
        if link in there:
            raise SystemExit(
                f"the link {link} is there already: another show runs here, or a killed one left it; "
                f"wait for it, or run: ip link del {link}"
            )


def end(_number: int, _frame: object) -> None:
    raise SystemExit(143)


def main() -> None:
    check()
    signal.signal(signal.SIGTERM, end)
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sites-")))
        place.chmod(0o755)
        show = Show(stack, place)
        show.build()
        show.berlin()
        show.edge()
        there = show.own_words()
        if shutil.which("openstack") is not None:
            show.openstacks_words(there)


if __name__ == "__main__":
    main()
