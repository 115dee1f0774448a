"""rootd's start-pluto: up means that it hears, it holds nothing but what it needs, and only the node may tell it."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import libreswan
from tests.integration.processes import is_alive, until
from tests.integration.rootd_rig import IS_ROOT, NOBODY, Readable, Rootd
from tests.integration.test_rootd_charon import NAME, NET_ADMIN, NET_BIND_SERVICE, ports, status

pytestmark = pytest.mark.skipif(not IS_ROOT, reason="only root makes network namespaces")
OTHER = 65533


class Edge:
    def __init__(self, rootd: Rootd) -> None:
        self.rootd = rootd
        self.place = Path(rootd.socket).parent / "vpn" / NAME
        self.options = ("--user", str(NOBODY), "--vpn-user", "games", "--libreswan", str(libreswan.prefix()))

    def do(self, action: str) -> str:
        said = self.rootd.ask(action, namespace=NAME)
        assert (said["outcome"], said.get("exit")) == ("done", 0), said
        return str(said["output"])

    def pid(self) -> int:
        return int(self.place.joinpath("daemon").read_text().split()[0])

    def whack(self, *words: str, uid: int = NOBODY) -> subprocess.CompletedProcess[str]:
        who = ("setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups")
        argv = [*who, libreswan.tool("whack"), "--ctlsocket", self.place / "pluto.ctl", *words]
        return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)


@pytest.fixture
def edge(state_dir: Path, python: str, needs: Callable[[str], str]) -> Iterator[Edge]:
    needs("certutil")
    made = Edge(Readable(state_dir, python))
    with made.rootd.serving(*made.options):
        made.do("create-namespace")
        assert "is started" in made.do("start-pluto")
    try:
        with made.rootd.serving(*made.options):  # another one: it has to find what is there
            yield made
    finally:
        with made.rootd.serving(*made.options):
            made.do("remove-namespace")


def test_it_hears_as_a_user_that_may_configure_the_network_and_nothing_else(edge: Edge) -> None:
    assert ports(edge.pid()) == {500, 4500}
    found = status(edge.pid())
    assert found["Uid"] == [str(pwd.getpwnam("games").pw_uid)] * 4
    kept = NET_ADMIN | NET_BIND_SERVICE
    assert {int(found[each][0], 16) for each in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {kept}
    assert (found["NoNewPrivs"], found["Groups"]) == (["1"], [])
    assert Path(f"/proc/{edge.pid()}/environ").read_bytes() == b""


def test_the_node_alone_tells_it_and_reads_back(edge: Edge) -> None:
    said = edge.whack("--status")
    assert "ikev1-policy=accept" in said.stdout
    assert f"nssdir={edge.place}/own/nss" in said.stdout
    assert edge.whack("--status", uid=OTHER).returncode != 0
    assert "Permission denied" in edge.rootd.as_user(
        OTHER, f"import os; os.listdir({str(edge.place / 'own')!r})"
    )


def test_what_the_node_writes_into_its_directory_is_what_it_reads(edge: Edge) -> None:
    secret = edge.place / "own" / "some.secrets"
    edge.rootd.as_user(NOBODY, f"open({str(secret)!r}, 'w').write('@a @b : PSK 0sYQ==\\n')")
    assert "ERROR" not in edge.whack("--rereadsecrets").stdout
    assert "PSK @b @a" in edge.whack("--listpsks").stdout
    edge.do("stop-daemon")
    assert not secret.parent.exists()


def test_one_that_runs_is_left_alone_and_is_ended_once(edge: Edge) -> None:
    first = edge.pid()
    assert "runs already" in edge.do("start-pluto")
    assert edge.pid() == first

    assert "is ended" in edge.do("stop-daemon")
    assert not is_alive(first)
    assert not (edge.place / "pluto.ctl").exists()
    assert "no daemon" in edge.do("stop-daemon")


def test_killed_it_is_started_anew_and_goes_with_its_namespace(edge: Edge) -> None:
    first = edge.pid()
    os.kill(first, signal.SIGKILL)
    until(lambda: not is_alive(first), what="it is gone")

    assert "is started" in edge.do("start-pluto")
    second = edge.pid()
    assert edge.whack("--trafficstatus").returncode == 0
    edge.do("remove-namespace")
    assert not is_alive(second)


def test_without_libreswan_the_answer_says_where_it_was_looked_for(state_dir: Path, python: str) -> None:
    made = Edge(Readable(state_dir, python))
    with made.rootd.serving("--user", str(NOBODY), "--vpn-user", "games", "--libreswan", "/usr/lib"):
        made.do("create-namespace")
        said = made.rootd.ask("start-pluto", namespace=NAME)
        made.do("remove-namespace")
    assert said["exit"] == 1
    assert "/usr/lib/usr/libexec" in said["output"]
    assert "rootd --libreswan" in said["output"]
