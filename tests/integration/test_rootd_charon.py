"""rootd's start-charon: up means that it answers and hears, and it holds nothing but what it needs."""

from __future__ import annotations

import os
import pwd
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import vici

from edgeward.rootd.table import remains
from tests.integration.processes import is_alive, until
from tests.integration.rootd_rig import IS_ROOT, NOBODY, Readable, Rootd
from tests.integration.vpn_rig import Namespace, has_charon

pytestmark = [
    pytest.mark.skipif(not IS_ROOT, reason="only root makes network namespaces"),
    pytest.mark.skipif(not has_charon(), reason="no charon-systemd here"),
]
NAME = "vpn-0123456789ab"
OPTIONS = ("--user", str(NOBODY), "--vpn-user", "games")
NET_BIND_SERVICE, NET_ADMIN = 1 << 10, 1 << 12


class Edge:
    def __init__(self, rootd: Rootd) -> None:
        self.rootd = rootd
        self.place = Path(rootd.socket).parent
        self.vici = self.place / "vpn" / NAME / "charon.vici"

    def do(self, action: str, **values: str | int) -> str:
        said = self.rootd.ask(action, namespace=NAME, **values)
        assert (said["outcome"], said.get("exit")) == ("done", 0), said
        return str(said["output"])

    def pid(self) -> int:
        return int(self.place.joinpath("vpn", NAME, "daemon").read_text().split()[0])

    def version(self) -> dict[str, bytes]:
        with socket.socket(socket.AF_UNIX) as asking:
            asking.connect(str(self.vici))
            found: dict[str, bytes] = vici.Session(asking).version()
            return found


@pytest.fixture
def edge(state_dir: Path, python: str) -> Iterator[Edge]:
    made = Edge(Readable(state_dir, python))
    with made.rootd.serving(*OPTIONS):
        made.do("create-namespace")
        assert "is started" in made.do("start-charon", level=1)
    (made.place / "vpn" / "dead").mkdir()
    try:
        with made.rootd.serving(*OPTIONS):  # another one: it has to find what is there
            yield made
    finally:
        with made.rootd.serving(*OPTIONS):
            made.do("remove-namespace")


def status(pid: int) -> dict[str, Any]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.split() for key, _, value in (line.partition(":") for line in lines)}


def ports(pid: int) -> set[int]:
    rows = Path(f"/proc/{pid}/net/udp").read_text().splitlines()[1:]
    return {int(row.split()[1].rpartition(":")[2], 16) for row in rows}


def test_it_answers_and_hears_as_a_user_that_may_configure_the_network_and_nothing_else(edge: Edge) -> None:
    assert edge.version()["daemon"] == b"charon-systemd"
    assert ports(edge.pid()) == {500, 4500}
    found = status(edge.pid())
    assert found["Uid"] == [str(pwd.getpwnam("games").pw_uid)] * 4
    assert int(found["CapEff"][0], 16) == int(found["CapPrm"][0], 16) == NET_ADMIN
    assert int(found["CapBnd"][0], 16) == NET_ADMIN | NET_BIND_SERVICE
    assert (found["NoNewPrivs"], found["Groups"]) == (["1"], [])
    environ = Path(f"/proc/{edge.pid()}/environ").read_bytes()
    assert {line.partition(b"=")[0] for line in environ.split(b"\0") if line} == {
        b"LISTEN_FDS", b"LISTEN_FDNAMES", b"LISTEN_PID", b"STRONGSWAN_CONF",
    }  # fmt: skip


def test_its_socket_is_for_the_nodes_group_and_it_loads_nothing_that_runs_programs(edge: Edge) -> None:
    found = edge.vici.stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (0, pwd.getpwuid(NOBODY).pw_gid, 0o660)
    knock = f"import socket; s = socket.socket(socket.AF_UNIX); s.connect({str(edge.vici)!r}); print('in')"
    assert "in" in edge.rootd.as_user(NOBODY, knock)
    assert "Permission denied" in edge.rootd.as_user(65533, knock)
    conf = (edge.vici.parent / "strongswan.conf").read_text()
    loaded = next(line for line in conf.splitlines() if "load =" in line).split()
    assert not {"updown", "stroke", "error-notify", "dhcp", "farp", "bypass-lan", "file"} & set(loaded)


def test_one_that_runs_is_left_alone_and_is_ended_once(edge: Edge) -> None:
    first = edge.pid()
    assert "runs already" in edge.do("start-charon", level=2)
    assert "default = 2" in (edge.vici.parent / "strongswan.conf").read_text()
    assert edge.pid() == first
    assert edge.version()["daemon"] == b"charon-systemd"

    assert "is ended" in edge.do("stop-daemon")
    assert not is_alive(first)
    assert not edge.vici.exists()
    assert "no daemon" in edge.do("stop-daemon")


def test_killed_it_is_started_anew_and_goes_with_its_namespace(edge: Edge) -> None:
    first = edge.pid()
    os.kill(first, signal.SIGKILL)
    until(lambda: not is_alive(first), what="it is gone")

    assert "is started" in edge.do("start-charon", level=1)
    second = edge.pid()
    assert edge.version()["daemon"] == b"charon-systemd"
    edge.do("remove-namespace")
    assert not is_alive(second)
    left = [each for each in edge.place.rglob("*") if each.name.partition(".")[0] == NAME]
    assert left == []


def test_what_is_left_of_the_dead_goes_and_what_lives_stays(edge: Edge) -> None:
    keeper = int((edge.place / "namespaces" / NAME).read_text().split()[0])
    (edge.place / "relays" / "dead").mkdir(parents=True)
    (edge.place / "relays" / "dead" / "r").write_text("1 2 3")
    (edge.place / "networks").mkdir(exist_ok=True)
    (edge.place / "networks" / "dead").write_text("{}")

    remains.sweep(edge.place)
    assert not list(edge.place.rglob("dead"))
    os.kill(keeper, signal.SIGKILL)
    until(lambda: not is_alive(keeper), what="it is gone")
    remains.sweep(edge.place)
    assert edge.version()["daemon"] == b"charon-systemd", "it carries tunnels yet"

    os.kill(daemon := edge.pid(), signal.SIGKILL)
    until(lambda: not is_alive(daemon), what="it is gone")
    remains.sweep(edge.place)
    assert not (edge.place / "vpn" / NAME).exists() and not (edge.place / "namespaces" / NAME).exists()


def test_rootd_looks_for_what_is_left_when_it_starts(edge: Edge) -> None:
    assert not (edge.place / "vpn" / "dead").exists(), "it was there before this one started"


def test_deaf_it_is_not_up_and_the_reason_is_said(edge: Edge) -> None:
    edge.do("stop-daemon")
    keeper = int((edge.place / "namespaces" / NAME).read_text().split()[0])
    inside = Namespace(keeper)
    taken = inside.socket(socket.AF_INET, socket.SOCK_DGRAM)
    taken.bind(("0.0.0.0", 4500))
    taken6 = inside.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    taken6.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    taken6.bind(("::", 4500))
    try:
        said = edge.rootd.ask("start-charon", namespace=NAME, level=1)
    finally:
        taken.close()
        taken6.close()
    assert said["exit"] == 1
    assert "4500" in said["output"]
    assert "another IKE daemon" in said["output"]
    assert not edge.vici.exists()


def test_nobody_is_to_be_root_and_a_namespace_is_to_be_there(edge: Edge) -> None:
    said = edge.rootd.ask("start-charon", namespace="vpn-none", level=1)
    assert "create it first" in said["output"]
    assert edge.rootd.ask("start-charon", namespace=NAME, level=5)["outcome"] == "invalid"
