"""rootd's built-in actions: namespaces of ours, and what is started in them."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.processes import is_alive, until
from tests.integration.rootd_rig import IS_ROOT, NOBODY, Rootd

pytestmark = pytest.mark.skipif(not IS_ROOT, reason="only root makes network namespaces")
NAME = "office"


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

    def inside(self, *argv: str) -> str:
        words = ["nsenter", f"--net=/proc/{self.keeper()}/ns/net", *argv]
        return subprocess.run(words, capture_output=True, text=True, check=True, timeout=30).stdout

    def end_all(self) -> None:
        for path in self.place.glob("namespaces/*"):
            self.rootd.ask("remove-namespace", namespace=path.name)


@pytest.fixture
def edge(state_dir: Path) -> Iterator[Edge]:
    made = Edge(Rootd(state_dir))
    with made.rootd.serving("--user", str(NOBODY)):
        made.do("create-namespace", namespace=NAME)
    try:
        with made.rootd.serving("--user", str(NOBODY)):  # another one: it has to find what is there
            yield made
    finally:
        with made.rootd.serving("--user", str(NOBODY)):
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
        assert other.wait(10) == -signal.SIGTERM
    finally:
        other.kill()
        other.wait()


@pytest.mark.parametrize("name", ["", "../x", "-n", "a/b", "a b", "A", "a" * 33, "a\n", "a;id", "."])
def test_a_name_is_an_id_and_nothing_else(edge: Edge, name: str) -> None:
    assert edge.rootd.ask("create-namespace", namespace=name)["outcome"] == "invalid"


def test_only_root_and_the_nodes_user_ask_and_every_request_is_written_down(edge: Edge) -> None:
    code = "print(ask({'action': 'create-namespace', 'values': {'namespace': 'office'}}, path=PATH))"
    edge.rootd.action("theirs", ["/usr/bin/true"], "ask = {users = [65533]}")
    time.sleep(0.2)
    assert "that you may ask for" in edge.rootd.as_user(65533, code)
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


def test_a_namespace_whose_holder_was_killed_is_made_anew(edge: Edge) -> None:
    first = edge.keeper()
    os.kill(first, signal.SIGKILL)
    until(lambda: not is_alive(first), what="it is gone")

    assert "is made" in edge.do("create-namespace", namespace=NAME)["output"]
    assert edge.keeper() != first
