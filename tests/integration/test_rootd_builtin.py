"""rootd's built-in actions: namespaces of ours, and what is started in them."""

from __future__ import annotations

import ctypes
import json
import os
import pwd
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from edgeward import actions
from tests.integration.processes import is_alive, running, until
from tests.integration.relay_rig import word_from
from tests.integration.rootd_rig import IS_ROOT, NOBODY, Readable, Rootd

pytestmark = pytest.mark.skipif(not IS_ROOT, reason="only root makes network namespaces")
NAME = "office"
PR_SET_CHILD_SUBREAPER = 36
PRIVATE = "192.168.4.10"
RELAY = {"namespace": NAME, "relay": "web"}
TARGET = {"address": PRIVATE, "port": 80, "resolver": "none"}
OPTIONS = ("--user", str(NOBODY), "--relay-user", "games")
WRONG: list[dict[str, str | int]] = [
    {"address": "unix:/etc/shadow"},
    {"address": "--listen=0.0.0.0:1"},
    {"address": "@x"},
    {"address": "a b"},
    {"address": "fe80::1%lo"},
    {"port": 0},
    {"port": "80 --metrics"},
    {"resolver": "intranet.office.lan"},
    {"resolver": "--help"},
    {"relay": "web.sock"},
    {"relay": "../x"},
    {"user": "root"},
]
SITE = """
import sys, time
from tests.integration.name_server import NameServer
from tests.integration.relay_rig import answering
with answering((sys.argv[1], 80), b"office"):
    NameServer(sys.argv[1], 53).put("intranet.office.lan", "A", 60, sys.argv[1])
    print("up", flush=True)
    time.sleep(600)
"""


class Edge:
    """A rootd with its built-in actions, and a look at what they did."""

    def __init__(self, rootd: Rootd) -> None:
        self.rootd = rootd
        self.place = Path(rootd.socket).parent

    def do(self, action: str, **values: str | int) -> dict[str, Any]:
        said = self.rootd.ask(action, **values)
        assert (said["outcome"], said.get("exit")) == ("done", 0), said
        return said

    def pid(self, *record: str) -> int:
        return int(self.place.joinpath(*record).read_text().split()[0])

    def keeper(self, name: str = NAME) -> int:
        return self.pid("namespaces", name)

    def within(self) -> list[str]:
        """Give the command that runs something inside."""
        return ["nsenter", f"--net=/proc/{self.keeper()}/ns/net"]

    def inside(self, *argv: str) -> str:
        words = [*self.within(), *argv]
        return subprocess.run(words, capture_output=True, text=True, check=True, timeout=30).stdout

    def end_all(self) -> None:
        for path in self.place.glob("namespaces/*"):
            self.rootd.ask("remove-namespace", namespace=path.name)


@pytest.fixture
def edge(state_dir: Path, python: str) -> Iterator[Edge]:
    made = Edge(Readable(state_dir, python))
    with made.rootd.serving(*OPTIONS):
        made.do("create-namespace", namespace=NAME)
    try:
        with made.rootd.serving(*OPTIONS):  # another one: it has to find what is there
            yield made
    finally:
        with made.rootd.serving(*OPTIONS):
            made.end_all()


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


# --- namespaces ------------------------------------------------------------------------------------


def test_a_namespace_has_its_loopback_up_and_nothing_else_and_is_made_once(edge: Edge) -> None:
    first = edge.keeper()
    assert "already" in edge.do("create-namespace", namespace=NAME)["output"]

    assert edge.keeper() == first
    assert "LOOPBACK,UP" in edge.inside("ip", "-o", "link")
    assert len(edge.inside("ip", "-o", "link").splitlines()) == 1
    assert os.stat(f"/proc/{first}/ns/net").st_ino != os.stat("/proc/self/ns/net").st_ino


def test_what_holds_it_has_no_rights_and_nothing_open(edge: Edge) -> None:
    found = status(edge.keeper())

    assert {int(found[f"Cap{which}"], 16) for which in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {0}
    assert (found["NoNewPrivs"], found["Groups"]) == ("1", "")
    opened = {os.readlink(fd) for fd in Path(f"/proc/{edge.keeper()}/fd").iterdir()}
    assert opened == {"/dev/null"}
    assert Path(f"/proc/{edge.keeper()}/environ").read_bytes() == b""
    assert int(status(os.getpid())["CapBnd"], 16) != 0  # the control: others hold some


def test_it_is_removed_once_and_can_be_made_again(edge: Edge) -> None:
    first = edge.keeper()
    assert "is removed" in edge.do("remove-namespace", namespace=NAME)["output"]
    assert "was not there" in edge.do("remove-namespace", namespace=NAME)["output"]
    assert not is_alive(first)

    edge.do("create-namespace", namespace=NAME)
    assert is_alive(edge.keeper())


def test_a_process_that_is_not_ours_is_left_alone_whatever_a_record_says(edge: Edge) -> None:
    other = subprocess.Popen(["sleep", "60"])
    try:
        record = edge.place / "namespaces" / "other"
        words = (edge.place / "namespaces" / NAME).read_text().split()
        record.write_text(f"{other.pid} {words[1]} {words[2]}")
        record.chmod(0o600)
        assert "was not there" in edge.do("remove-namespace", namespace="other")["output"]
        assert other.poll() is None

        stat = Path(f"/proc/{other.pid}/stat").read_text().rpartition(")")[2].split()
        record.write_text(
            f"{other.pid} {stat[19]} {words[2]}"
        )  # the control: with its start time it is ended
        record.chmod(0o600)
        assert "is removed" in edge.do("remove-namespace", namespace="other")["output"]
        assert other.wait(30) == -signal.SIGTERM
    finally:
        other.kill()
        other.wait()


def test_a_name_is_an_id_and_nothing_else(edge: Edge) -> None:
    for name in ["", "../x", "-n", "a/b", "a b", "A", "a" * 49, "a\n", "a;id", "."]:
        assert edge.rootd.ask("create-namespace", namespace=name)["outcome"] == "invalid", name


def test_only_root_and_the_nodes_user_ask_and_every_request_is_written_down(edge: Edge) -> None:
    code = "print(ask({'action': 'create-namespace', 'values': {'namespace': 'office'}}, path=PATH))"
    edge.rootd.action("theirs", ["/usr/bin/true"], "ask = {users = [65533]}")
    until(lambda: "that you may ask for" in edge.rootd.as_user(65533, code), what="the action being known")
    assert "is there already" in edge.rootd.as_user(NOBODY, code)  # the control
    for role in ("admin", "viewer"):  # nor does the API, for nobody
        asker = code.replace("'action'", f"'asker': {{'role': '{role}'}}, 'action'")
        assert "that you may ask for" in edge.rootd.as_user(NOBODY, asker)

    lines = [line for line in edge.rootd.written() if line.get("action") == "create-namespace"]
    assert [(line["uid"], line["outcome"]) for line in lines] == [
        (0, "done"), (65533, "refused"), (NOBODY, "done"), (NOBODY, "refused"), (NOBODY, "refused"),
    ]  # fmt: skip


def test_a_file_of_an_operator_does_not_take_the_place_of_a_built_in_action(edge: Edge) -> None:
    edge.rootd.action("remove-namespace", ["/usr/bin/false"])

    assert "choose another name" in str(edge.rootd.ask("list")["refused"])
    assert edge.do("remove-namespace", namespace="none")["output"] == "none was not there\n"


def test_asked_by_many_at_once_it_is_made_once(edge: Edge) -> None:
    connections = [edge.rootd.connected() for _ in range(8)]
    data = b'{"action": "create-namespace", "values": {"namespace": "branch"}}'
    for connection in connections:
        connection.sendall(len(data).to_bytes(4, "big") + data)
    answers = [connection.recv(10_000) for connection in connections]
    for connection in connections:
        connection.close()

    assert sum(b"is made" in answer for answer in answers) == 1
    assert sum(b"already" in answer for answer in answers) == 7


def test_who_waits_in_one_namespace_keeps_nobody_waiting_in_another(edge: Edge) -> None:
    code = "import sys, time; from pathlib import Path; from edgeward.rootd.table import daemons"
    hold = "daemons.locked(Path(sys.argv[1]), sys.argv[2]); print('held', flush=True); time.sleep(600)"
    argv = [sys.executable, "-c", f"{code}; {hold}", str(edge.place), NAME]
    with running(argv) as holder:  # as a daemon that does not come up is waited for
        until(lambda: "held" in holder.output(), what="one waits")
        edge.do("create-namespace", namespace="branch")
        assert set(json.loads(edge.do("observe-networks")["output"])) == {NAME, "branch"}
        edge.do("remove-namespace", namespace="branch")
    assert "is there already" in edge.do("create-namespace", namespace=NAME)["output"]


def test_a_namespace_whose_holder_was_killed_is_made_anew(edge: Edge) -> None:
    first = edge.keeper()
    os.kill(first, signal.SIGKILL)
    until(lambda: not is_alive(first), what="it is gone")

    assert "is made" in edge.do("create-namespace", namespace=NAME)["output"]
    assert edge.keeper() != first


def test_killed_at_any_moment_it_leaves_nothing_that_is_not_found_again(edge: Edge) -> None:
    """Orphans come to this process as long as it is their reaper, so none can hide."""
    assert edge.rootd.process is not None
    rng, children = random.Random(5), f"/proc/{edge.rootd.process.pid}/task/{edge.rootd.process.pid}/children"
    libc = ctypes.CDLL(None)
    assert libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    try:
        for index in range(24):
            action = ("create-namespace", "remove-namespace")[index % 2]
            with edge.rootd.connected() as connection:
                connection.sendall(frame(action, namespace="branch"))
                time.sleep(rng.uniform(0.0, 0.03))  # it takes about 10 ms
                for child in Path(children).read_text().split():
                    with suppress(ProcessLookupError):  # it was quicker
                        os.kill(int(child), signal.SIGKILL)
                connection.recv(10_000)
        edge.do("create-namespace", namespace="branch")
        until(lambda: orphans() == {edge.keeper("branch")}, what="the end of all others")
        edge.do("remove-namespace", namespace="branch")
        until(lambda: orphans() == set(), what="the end of it")
    finally:
        libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
        with suppress(ChildProcessError):
            while True:
                if os.waitpid(-1, os.WNOHANG)[0] == 0:
                    break


def orphans() -> set[int]:
    """Give what runs `sleep` as a child of this process."""
    found = set()
    for task in Path("/proc/self/task").iterdir():
        for pid in map(int, task.joinpath("children").read_text().split()):
            if is_alive(pid) and Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"/usr/bin/sleep"):
                found.add(pid)
    return found


# --- relays ----------------------------------------------------------------------------------------


@pytest.fixture
def site(edge: Edge) -> Iterator[None]:
    """A web server and a DNS server that only the namespace knows."""
    edge.inside("ip", "address", "add", f"{PRIVATE}/32", "dev", "lo")
    inside = [*edge.within(), sys.executable, "-c", SITE, PRIVATE]
    with running(inside, env={"PYTHONPATH": str(Path(__file__).parents[2])}) as process:
        until(lambda: "up" in process.output(), what="the site")
        yield


def path_of(edge: Edge, name: str = "web", namespace: str = NAME) -> str:
    return str(edge.place / "relays" / namespace / f"{name}.sock")


@pytest.mark.usefixtures("site")
def test_a_relay_reaches_what_only_its_namespace_knows_by_address_and_by_name(edge: Edge) -> None:
    edge.do("start-relay", **RELAY, **TARGET)
    named = {"address": "Intranet.office.lan", "port": 80, "resolver": PRIVATE}
    edge.do("start-relay", **{**RELAY, "relay": "named"}, **named)

    assert word_from(path_of(edge), 6) == b"office"
    assert word_from(path_of(edge, "named"), 6) == b"office"
    elsewhere = {**RELAY, "namespace": "branch"}  # the control: another network, in which nobody is there
    edge.do("create-namespace", namespace="branch")
    edge.do("start-relay", **elsewhere, **TARGET)
    assert word_from(path_of(edge, namespace="branch"), 6) == b""


@pytest.mark.usefixtures("site")
def test_a_relay_is_a_user_without_rights_that_knows_its_socket_and_no_more(edge: Edge) -> None:
    edge.do("start-relay", **RELAY, **TARGET)
    relay = edge.pid("relays", NAME, "web")
    found, games = status(relay), pwd.getpwnam("games")

    assert found["Uid"].split() == [str(games.pw_uid)] * 4
    assert (found["Gid"].split(), found["Groups"]) == ([str(games.pw_gid)] * 4, "")
    assert {int(found[f"Cap{which}"], 16) for which in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {0}
    assert found["NoNewPrivs"] == "1"
    assert os.stat(f"/proc/{relay}/ns/net").st_ino == os.stat(f"/proc/{edge.keeper()}/ns/net").st_ino
    names = {word.partition("=")[0] for word in Path(f"/proc/{relay}/environ").read_text().split("\0")}
    assert names == {"LISTEN_FDS", "LISTEN_PID", "NOTIFY_SOCKET", ""}
    opened = [os.readlink(fd) for fd in Path(f"/proc/{relay}/fd").iterdir()]
    assert [name for name in opened if name.startswith("/")] == ["/dev/null"] * 3


@pytest.mark.usefixtures("site")
def test_envoys_user_connects_and_others_do_not(edge: Edge) -> None:
    edge.do("start-relay", **RELAY, **TARGET)
    code = f"s = socket.socket(socket.AF_UNIX); s.connect({path_of(edge)!r}); print(s.recv(9))"

    assert "b'office'" in edge.rootd.as_user(NOBODY, code)
    assert "Permission denied" in edge.rootd.as_user(65533, code)


@pytest.mark.usefixtures("site")
def test_a_relay_is_started_once_found_again_and_stopped_once(edge: Edge) -> None:
    edge.do("start-relay", **RELAY, **TARGET)
    relay = edge.pid("relays", NAME, "web")
    edge.rootd.process.end()  # type: ignore[union-attr]
    assert word_from(path_of(edge), 6) == b"office"
    with edge.rootd.serving(*OPTIONS):
        assert "runs already" in edge.do("start-relay", **RELAY, **TARGET)["output"]
        assert edge.pid("relays", NAME, "web") == relay
        assert "is stopped" in edge.do("stop-relay", **RELAY)["output"]
        assert "did not run" in edge.do("stop-relay", **RELAY)["output"]
    assert not is_alive(relay)
    assert os.listdir(Path(path_of(edge)).parent) == []


@pytest.mark.usefixtures("site")
def test_a_killed_relay_is_started_again_in_the_same_place(edge: Edge) -> None:
    edge.do("start-relay", **RELAY, **TARGET)
    relay = edge.pid("relays", NAME, "web")
    os.kill(relay, signal.SIGKILL)
    until(lambda: not is_alive(relay), what="it is gone")

    assert "is started" in edge.do("start-relay", **RELAY, **TARGET)["output"]
    assert word_from(path_of(edge), 6) == b"office"


def test_a_namespace_goes_with_its_relays(edge: Edge) -> None:
    edge.do("start-relay", **RELAY, **TARGET)
    relay = edge.pid("relays", NAME, "web")
    edge.do("remove-namespace", namespace=NAME)

    assert not is_alive(relay)
    said = edge.rootd.ask("start-relay", **RELAY, **TARGET)
    assert (said["exit"], "create it first" in said["output"]) == (1, True)


def test_what_a_relay_is_told_is_typed(edge: Edge) -> None:
    for wrong in WRONG:
        assert edge.rootd.ask("start-relay", **{**RELAY, **TARGET, **wrong})["outcome"] == "invalid", wrong


def test_a_relay_that_cannot_be_says_why(edge: Edge) -> None:
    by_name = edge.rootd.ask("start-relay", **RELAY, **{**TARGET, "address": "intranet.office.lan"})
    assert by_name["output"].startswith("resolver: give the DNS server")
    edge.rootd.process.end()  # type: ignore[union-attr]
    for user, reason in (("no-such-user", "there is no user"), ("root", "not to be root")):
        with edge.rootd.serving("--relay-user", user):
            said = edge.rootd.ask("start-relay", **RELAY, **TARGET)
            assert (said["exit"], reason in said["output"]) == (1, True)


# --- low ports -------------------------------------------------------------------------------------


@pytest.fixture
def fenced(state_dir: Path) -> Iterator[Rootd]:
    """A rootd in a network of its own, where every low port is free."""
    rootd = Rootd(state_dir)
    network = ["unshare", "--net", "sh", "-c", 'ip link set lo up; exec "$@"', "sh"]
    with rootd.serving("--user", str(NOBODY), before=network):
        yield rootd


def test_a_low_port_is_handed_over_and_its_number_is_whose_it_was_asked_for(fenced: Rootd) -> None:
    with actions.bind_port("tcp", "127.0.0.1", 443, path=fenced.socket) as bound:
        assert bound.getsockname() == ("127.0.0.1", 443)
        assert (bound.type, bound.family, bound.get_inheritable()) == (
            socket.SOCK_STREAM,
            socket.AF_INET,
            False,
        )
        bound.listen()
        with pytest.raises(actions.Unanswered, match="port 443: Address already in use"):
            actions.bind_port("tcp", "127.0.0.1", 443, path=fenced.socket)
    with actions.bind_port("udp", "::1", 53, path=fenced.socket) as bound:
        assert (bound.getsockname()[:2], bound.type) == (("::1", 53), socket.SOCK_DGRAM)


def test_rootd_keeps_nothing_of_it_whether_taken_or_not(fenced: Rootd) -> None:
    assert fenced.process is not None
    files = Path(f"/proc/{fenced.process.pid}/fd")
    before = len(list(files.iterdir()))
    for port in range(400, 420):
        assert fenced.ask("bind-port", transport="tcp", address="127.0.0.1", port=port)["outcome"] == "done"
    with fenced.connected() as gone:
        gone.sendall(frame("bind-port", transport="tcp", address="127.0.0.1", port=444))

    until(lambda: len(list(files.iterdir())) <= before, what="all is closed")
    actions.bind_port("tcp", "127.0.0.1", 400, path=fenced.socket).close()  # nobody else has it


def test_only_the_nodes_user_and_root_are_given_a_port(fenced: Rootd) -> None:
    fenced.action("theirs", ["/usr/bin/true"], "ask = {users = [65533]}")
    code = "print(bind_port('tcp', '127.0.0.1', 80, path=PATH).getsockname())"

    until(lambda: "that you may ask for" in fenced.as_user(65533, code), what="the action being known")
    assert "('127.0.0.1', 80)" in fenced.as_user(NOBODY, code)  # the control
    lines = [line for line in fenced.written() if line.get("action") == "bind-port"]
    assert [(line["uid"], line["outcome"]) for line in lines] == [(65533, "refused"), (NOBODY, "done")]


def test_what_is_bound_is_typed_and_of_this_host(fenced: Rootd) -> None:
    right: dict[str, str | int] = {"transport": "tcp", "address": "127.0.0.1", "port": 80}
    for wrong in (
        {"port": 1024},
        {"port": 0},
        {"transport": "raw"},
        {"address": "localhost"},
        {"address": "::1%lo"},
    ):
        assert fenced.ask("bind-port", **{**right, **wrong})["outcome"] == "invalid", wrong
    assert fenced.ask("bind-port", **{**right, "address": "192.0.2.1"})["outcome"] == "failed"
    assert fenced.ask("bind-port", **right)["outcome"] == "done"  # the control


def frame(action: str, **values: str | int) -> bytes:
    data = json.dumps({"action": action, "values": values}).encode()
    return len(data).to_bytes(4, "big") + data
