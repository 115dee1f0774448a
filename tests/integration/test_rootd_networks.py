"""rootd's actions for the networks of tunnels: cables, addresses, guards, a shared address."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from edgeward import actions
from tests.integration.processes import running, until
from tests.integration.rootd_rig import IS_ROOT, Rootd

pytestmark = pytest.mark.skipif(not IS_ROOT, reason="only root connects namespaces")
HOST = (
    "sysctl -qw net.ipv4.ip_forward=1",
    "ip link set lo up",
    "ip link add br-ex type bridge",
    "ip addr add 198.18.77.1/24 dev br-ex",
    "ip link set br-ex up",
)
HEAR = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(float(sys.argv[2]))
s.bind((sys.argv[1], int(sys.argv[3])))
print("up", flush=True)
try:
    data, sender = s.recvfrom(100)
    s.sendto(data, sender)
    print(sender[0])
except TimeoutError:
    print("nothing")
"""
SAY = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(float(sys.argv[3]))
if sys.argv[1]:
    s.bind((sys.argv[1], int(sys.argv[4])))
try:
    s.sendto(b"x", (sys.argv[2], int(sys.argv[4]) or 53))
    print(s.recvfrom(100)[1][0])
except OSError as error:
    print("no answer", error)
"""


LISTEN = """
import socket, sys, time
s = socket.create_server((sys.argv[1], 8080))
print("up", flush=True)
time.sleep(60)
"""
CONNECT = """
import encodings.idna, os, pwd, socket, sys  # before it may read nothing any more
os.setuid(pwd.getpwnam(sys.argv[2]).pw_uid)
try:
    socket.create_connection((sys.argv[1], 8080), timeout=5)
    print("connected")
except OSError as error:
    print(type(error).__name__)
"""


class Host:
    """A host, which is a namespace, with a bridge; its rootd; and a namespace of others on it."""

    def __init__(self, rootd: Rootd) -> None:
        self.rootd = rootd
        mark = uuid4().hex[:8]
        self.name, self.bridge, self.theirs = f"host-{mark}", "br-ex", f"qrouter-{mark}"
        self.one, self.other = f"vpn-{mark}0000", f"vpn-{mark}1111"

    def do(self, action: str, **values: str) -> str:
        said = self.rootd.ask(action, **values)
        assert (said["outcome"], said.get("exit")) == ("done", 0), said
        return str(said["output"])

    def refused(self, action: str, **values: str) -> str:
        said = self.rootd.ask(action, **values)
        assert said.get("exit") == 1, said
        return str(said["output"])

    def lend(self, **what: list[str]) -> None:
        lines = [f"{key} = {json.dumps(names)}\n" for key, names in what.items()]
        (self.rootd.actions.parent / "network.toml").write_text("".join(lines))

    def seen(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.do("observe-networks")).get(name, {})
        return found

    def on_host(self, *argv: str) -> str:
        return ran("ip", "netns", "exec", self.name, *argv)

    def inside(self, name: str, *argv: str, check: bool = True) -> str:
        return ran(*self.within(name), *argv, check=check)

    def within(self, name: str) -> list[str]:
        keeper = (Path(self.rootd.socket).parent / "namespaces" / name).read_text().split()[0]
        return ["nsenter", f"--net=/proc/{keeper}/ns/net"]

    def connect(self, name: str, network: str, elsewhere: str = "drop", pairs: str = "") -> None:
        self.do("create-namespace", namespace=name)
        self.do("apply-guard", namespace=name, elsewhere=elsewhere, pairs=pairs)
        self.do("apply-network", namespace=name, network=network)


def ran(*argv: str, check: bool = True) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0 or not check, done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def host(state_dir: Path) -> Iterator[Host]:
    made = Host(Rootd(state_dir))
    ran("ip", "netns", "add", made.name)
    try:
        for words in HOST:
            made.on_host(*words.split())
        with made.rootd.serving("--relay-user", "games", before=("ip", "netns", "exec", made.name)):
            try:
                yield made
            finally:
                for path in made.rootd.place.glob("run/namespaces/*"):
                    with suppress(actions.Unanswered):
                        made.rootd.ask("remove-namespace", namespace=path.name)
    finally:
        ran("ip", "netns", "del", made.name)
        ran("ip", "netns", "del", made.theirs, check=False)


def test_a_cable_into_a_lent_bridge_carries_what_is_sent(host: Host) -> None:
    host.lend(bridges=[host.bridge])
    network = f"outside 198.18.77.5/24; outside 2001:db8:77::5/64; bridge {host.bridge}; next-hop 198.18.77.1; inside 10.1.0.1/24"
    host.connect(host.one, network)

    assert reached(host, host.one) == "198.18.77.5"
    assert "10.1.0.1/32" in host.inside(host.one, "ip", "addr", "show", "dev", "lo")
    assert "default via 198.18.77.1 dev outside" in host.inside(host.one, "ip", "route")
    assert host.inside(host.one, "cat", "/proc/sys/net/ipv4/ip_forward").strip() == "1"
    assert host.seen(host.one)["network"] and host.seen(host.one)["guard"]


def test_asking_again_changes_nothing_and_asking_for_less_takes_it_away(host: Host) -> None:
    host.lend(bridges=[host.bridge])
    network = (
        f"outside 198.18.77.5/24; bridge {host.bridge}; inside 10.1.0.1/24 {host.bridge}; inside 10.2.0.1/24"
    )
    host.connect(host.one, network)
    before = host.inside(host.one, "ip", "-json", "addr"), host.seen(host.one)

    host.do("apply-network", namespace=host.one, network=network)

    assert (host.inside(host.one, "ip", "-json", "addr"), host.seen(host.one)) == before
    host.do("apply-network", namespace=host.one, network=f"outside 198.18.77.6/24; bridge {host.bridge}")
    after = host.inside(host.one, "ip", "addr")
    assert "198.18.77.6/24" in after
    assert not any(gone in after for gone in ("198.18.77.5", "10.1.0.1", "10.2.0.1"))
    assert len(json.loads(host.inside(host.one, "ip", "-json", "link"))) == 2  # loopback and the outside


def test_a_bridge_or_namespace_that_root_does_not_lend_is_refused(host: Host) -> None:
    host.do("create-namespace", namespace=host.one)
    network = f"outside 198.18.77.5/24; bridge {host.bridge}"

    said = host.refused("apply-network", namespace=host.one, network=network)

    assert f'network.toml: bridges = ["{host.bridge}"]' in said
    assert "is not lent" in host.refused("adopt-namespace", namespace=host.theirs)
    host.lend(bridges=["other-*"], namespaces=["qrouter-*"])
    assert "is not lent" in host.refused("apply-network", namespace=host.one, network=network)
    assert "there is no namespace" in host.refused("adopt-namespace", namespace=host.theirs)
    assert host.seen(host.one) == {"network": "", "guard": "", "stale": False, "lent": False}


def test_what_is_on_standby_is_silent_until_it_is_not(host: Host) -> None:
    host.lend(bridges=[host.bridge])
    network = f"outside 198.18.77.5/24; bridge {host.bridge}; next-hop 198.18.77.1"
    host.connect(host.one, f"{network}; standby")

    assert reached(host, host.one, seconds=0.3) == "nothing"
    host.do("apply-network", namespace=host.one, network=network)
    assert reached(host, host.one) == "198.18.77.5"
    assert "default via 198.18.77.1" in host.inside(host.one, "ip", "route")
    host.do("apply-network", namespace=host.one, network=f"{network}; standby")
    assert reached(host, host.one, seconds=0.3) == "nothing"


def test_neighbours_learn_who_has_an_address_now_though_another_had_it(host: Host) -> None:
    host.lend(bridges=[host.bridge])
    ran("ip", "netns", "add", host.theirs)
    plug_in_peers(host)
    known = ("ip", "-n", host.theirs, "neigh", "show", "198.18.77.5")
    network = f"outside 198.18.77.5/24; bridge {host.bridge}"
    host.connect(host.one, network)
    said(["ip", "netns", "exec", host.theirs], "", "198.18.77.5", 0.2)
    before = ran(*known)
    assert "lladdr" in before
    host.do("remove-namespace", namespace=host.one)

    host.connect(host.other, network)

    mac = json.loads(host.inside(host.other, "ip", "-json", "link", "show", "outside"))[0]["address"]
    until(lambda: mac in ran(*known), what="the neighbour knows it", timeout=3)
    assert mac not in before  # the control


def test_the_guard_keeps_what_belongs_in_a_tunnel_from_the_outside(host: Host) -> None:
    host.lend(bridges=[host.bridge])
    network = f"outside 198.18.77.5/24; bridge {host.bridge}; next-hop 198.18.77.1; inside 10.1.0.1/24"
    host.connect(host.one, network, pairs="10.1.0.0/24 1400 198.18.77.0/30")

    assert reached(host, host.one, source="10.1.0.1", seconds=0.3) == "nothing"
    assert reached(host, host.one, seconds=0.3) == "nothing"  # from any other address neither

    host.do("apply-guard", namespace=host.one, elsewhere="drop", pairs="")
    assert reached(host, host.one) == "198.18.77.5"  # the control


def test_somebody_elses_namespace_is_used_as_it_is_and_left_behind(host: Host) -> None:
    host.lend(namespaces=["qrouter-*"])
    ran("ip", "netns", "add", host.theirs)
    host.do("adopt-namespace", namespace=host.theirs)
    host.do("apply-guard", namespace=host.theirs, elsewhere="leave", pairs="10.1.0.0/24 1400 10.2.0.0/24")

    said = host.refused("apply-network", namespace=host.theirs, network="inside 10.1.0.1/24")
    assert "somebody else's" in said
    assert "10.2.0.0/24" in ran("ip", "netns", "exec", host.theirs, "nft", "list", "ruleset")
    host.do("remove-namespace", namespace=host.theirs)
    assert ran("ip", "netns", "exec", host.theirs, "nft", "list", "ruleset") == ""


def test_a_namespace_that_its_owner_makes_anew_is_seen_to_be_stale(host: Host) -> None:
    host.lend(namespaces=["qrouter-*"])
    ran("ip", "netns", "add", host.theirs)
    host.do("adopt-namespace", namespace=host.theirs)
    assert host.seen(host.theirs)["stale"] is False

    ran("ip", "netns", "del", host.theirs)
    ran("ip", "netns", "add", host.theirs)

    assert host.seen(host.theirs)["stale"] is True
    host.do("adopt-namespace", namespace=host.theirs)
    assert host.seen(host.theirs)["stale"] is False


def test_what_was_made_of_a_namespace_is_gone_with_its_keeper_and_no_record_says_else(host: Host) -> None:
    host.lend(bridges=[host.bridge])
    network = f"outside 198.18.77.5/24; bridge {host.bridge}"
    host.connect(host.one, network)
    host.do("remove-namespace", namespace=host.one)
    assert host.seen(host.one) == {}

    host.do("create-namespace", namespace=host.one)
    assert host.seen(host.one) == {"network": "", "guard": "", "stale": False, "lent": False}
    host.connect(host.one, network)
    assert reached(host, host.one) == "198.18.77.5"


def test_the_host_routes_only_lent_addresses_to_a_namespace_and_shares_only_its_own(host: Host) -> None:
    host.do("create-namespace", namespace=host.one)
    routed = "outside 203.0.113.5/32"

    assert 'network.toml: addresses = ["203.0.113.5"]' in host.refused(
        "apply-network", namespace=host.one, network=routed
    )
    host.lend(addresses=["203.0.113.0/29"])
    host.on_host("sysctl", "-qw", "net.ipv4.ip_forward=1")
    host.do("apply-network", namespace=host.one, network=routed)
    assert "203.0.113.5" in host.on_host("ip", "route")
    host.refused("apply-network", namespace=host.one, network="outside 203.0.113.9/32")
    said = host.refused("apply-network", namespace=host.one, network="shared 203.0.113.1; peer 203.0.113.2")
    assert "is not an address of this host" in said
    host.lend(addresses=["all"])
    assert "network.toml" in host.refused("apply-network", namespace=host.one, network=routed)


def test_two_namespaces_share_an_address_by_their_peers(host: Host) -> None:
    ran("ip", "netns", "add", host.theirs)
    plug_in_peers(host)
    host.connect(host.one, "shared 198.18.77.1; peer 198.18.77.21")
    host.connect(host.other, "shared 198.18.77.1; peer 198.18.77.22")

    for name, peer in ((host.one, "198.18.77.21"), (host.other, "198.18.77.22")):
        with hearing(host.within(name), "198.18.77.1") as heard:
            assert said(["ip", "netns", "exec", host.theirs], peer, "198.18.77.1", port=500) == "198.18.77.1"
            assert heard() == peer
    refused = host.refused(
        "apply-network", namespace=host.other, network="shared 198.18.77.1; peer 198.18.77.21"
    )
    assert f"belongs to {host.one} already" in refused
    for name in (host.one, host.other):
        host.do("remove-namespace", namespace=name)
    assert "map" not in host.on_host("nft", "list", "ruleset")


def test_a_network_that_was_begun_and_failed_is_not_said_to_be_what_was_there_before(host: Host) -> None:
    ran("ip", "netns", "add", host.theirs)
    plug_in_peers(host)
    host.on_host("ip", "addr", "add", "198.18.78.1/24", "dev", host.bridge)
    network = "shared 198.18.77.1; peer 198.18.77.21"
    host.connect(host.one, network)
    assert host.seen(host.one)["network"] != ""

    host.on_host("sysctl", "-qw", "net.ipv4.ip_forward=0")
    other = "shared 198.18.78.1; peer 198.18.77.21"
    assert "does not forward" in host.refused("apply-network", namespace=host.one, network=other)
    host.on_host("sysctl", "-qw", "net.ipv4.ip_forward=1")

    assert host.seen(host.one)["network"] == ""
    host.connect(host.one, network)
    assert host.seen(host.one)["network"] != ""
    with hearing(host.within(host.one), "198.18.77.1"):
        assert (
            said(["ip", "netns", "exec", host.theirs], "198.18.77.21", "198.18.77.1", port=500)
            == "198.18.77.1"
        )


def plug_in_peers(host: Host) -> None:
    host.on_host("ip", "link", "add", "peers", "type", "veth", "peer", "name", "eth0")
    host.on_host("ip", "link", "set", "eth0", "netns", host.theirs)
    host.on_host("ip", "link", "set", "peers", "master", host.bridge, "up")
    within = ("ip", "-n", host.theirs)
    for last in (21, 22):
        ran(*within, "addr", "add", f"198.18.77.{last}/24", "dev", "eth0")
    ran(*within, "link", "set", "eth0", "up")


@contextmanager
def hearing(
    within: list[str], address: str, seconds: float = 5, port: int = 500
) -> Iterator[Callable[[], str]]:
    """Have somebody listen, and answer; gives who was heard."""
    argv = [*within, "python3", "-c", HEAR, address, str(seconds), str(port)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        out = process.stdout
        assert out is not None
        assert out.readline() == "up\n"
        yield lambda: out.readline().strip()
        process.kill()


def said(within: list[str], source: str, target: str, seconds: float = 5, port: int = 0) -> str:
    """Say something; gives who answered."""
    return ran(*within, "python3", "-c", SAY, source, target, str(seconds), str(port)).strip()


def reached(host: Host, name: str, target: str = "198.18.77.1", source: str = "", seconds: float = 5) -> str:
    """Say something from within to the host; gives from whom it came there, or nothing."""
    with hearing(["ip", "netns", "exec", host.name], target, seconds, 53) as heard:
        said(host.within(name), source, target, seconds)
        return heard()


def test_a_relay_reaches_nothing_but_through_tunnels_wherever_a_customers_dns_sends_it(host: Host) -> None:
    host.lend(bridges=[host.bridge])
    network = f"outside 198.18.77.5/24; bridge {host.bridge}; next-hop 198.18.77.1"
    host.connect(host.one, network, elsewhere="masquerade", pairs="10.1.0.0/24 1400 10.2.0.0/24")
    argv = ["ip", "netns", "exec", host.name, sys.executable, "-c", LISTEN, "198.18.77.1"]
    with running(argv) as listening:
        until(lambda: "up" in listening.output(), what="the host's server")

        said = [
            host.inside(host.one, sys.executable, "-c", CONNECT, "198.18.77.1", user)
            for user in ("root", "games")
        ]

    assert [one.strip() for one in said] == ["connected", "ConnectionRefusedError"]


XTABLES = """
import sys
from edgeward.rootd.table import guard, guard_xtables
guard_xtables.have(sys.argv[1], guard.read(sys.argv[2]), None)
"""


def test_without_nft_iptables_guards_in_the_same_way(host: Host, needs: Callable[[str], str]) -> None:
    needs("xtables-legacy-multi")
    host.lend(bridges=[host.bridge])
    network = f"outside 198.18.77.5/24; bridge {host.bridge}; next-hop 198.18.77.1; inside 10.1.0.1/24"
    host.connect(host.one, network, elsewhere="leave")
    pairs = "10.1.0.0/24 1400 198.18.77.0/30 203.0.113.0/24; fd01::/64 1400 fd02::/64"
    for _ in range(2):  # the second time, its chains are there already
        host.inside(host.one, sys.executable, "-c", XTABLES, "drop", pairs)

    assert reached(host, host.one, source="10.1.0.1", seconds=0.3) == "nothing"
    assert reached(host, host.one, seconds=0.3) == "nothing"  # from any other address neither
    for command, peer in (("iptables", "203.0.113.0/24"), ("ip6tables", "fd02::/64")):
        kinds = ("xtables-legacy-multi", "xtables-nft-multi")  # whichever tables the kernel has
        rules = [r for k in kinds for r in host.inside(host.one, k, command, "-S", check=False).splitlines()]
        assert sum(f"-d {peer} -j DROP" in rule for rule in rules) == 1
        assert sum(rule.endswith("-j EDGEWARD-FORWARD") for rule in rules) == 1

    host.inside(host.one, sys.executable, "-c", XTABLES, "drop", "")
    assert reached(host, host.one) == "198.18.77.5"  # the control


def test_a_look_is_written_down_only_where_it_failed(host: Host) -> None:
    host.do("create-namespace", namespace=host.one)
    host.seen(host.one)
    assert host.rootd.ask("observe-networks", x=1)["outcome"] == "invalid"

    written = [(line["action"], line["outcome"]) for line in host.rootd.written() if "action" in line]
    assert written == [("create-namespace", "done"), ("observe-networks", "invalid")]
