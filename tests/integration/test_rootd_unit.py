"""rootd's units: judged by systemd's own tools, and rootd held to what they allow."""

from __future__ import annotations

import re
import signal
import sys
from pathlib import Path

import pytest

from edgeward import actions
from tests.integration import units
from tests.integration.rootd_rig import IS_ROOT, NOBODY, Readable

SERVICE = units.UNITS / "edgeward-rootd.service"
RELAY = {"relay": "web", "address": "127.0.0.1", "port": 80, "resolver": "none"}
IN_A_NAMESPACE: list[tuple[str, dict[str, str | int]]] = [
    ("create-namespace", {}),
    ("start-relay", RELAY),
    ("apply-nft", {"rules": "drop ::/0 fd00::/8"}),
    ("remove-namespace", {}),
]
SOCKET = units.UNITS / "edgeward-rootd.socket"


def values(path: Path, name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", path.read_text(), re.MULTILINE)


@pytest.fixture(autouse=True)
def tools(needs) -> None:
    needs("systemd-analyze")
    needs("nft")


def test_rootd_is_exposed_to_no_more_than_said() -> None:
    assert units.exposure(SERVICE) <= 3.8


def test_its_units_are_sound(tmp_path: Path) -> None:
    assert units.sound(tmp_path, [SERVICE.name, SOCKET.name]) == ""


def test_the_socket_is_where_everybody_looks_for_it() -> None:
    assert values(SOCKET, "ListenStream") == [actions.SOCKET]
    assert values(SOCKET, "SocketMode") == ["0666"]


def test_its_restart_ends_nothing_that_it_was_asked_to_leave_running() -> None:
    assert values(SERVICE, "KillMode") == ["process"]
    assert values(SOCKET, "RemoveOnStop") == ["yes"]  # the socket: records stay
    assert "RuntimeDirectory=" not in SERVICE.read_text()  # it would be removed, and the records with it


@pytest.mark.skipif(not IS_ROOT, reason="only root can be held to root's rights")
def test_actions_work_within_what_the_unit_allows(state_dir, needs, python) -> None:
    rootd, trace = Readable(state_dir, python), state_dir / "trace"
    rights = values(SERVICE, "CapabilityBoundingSet")[0].lower().replace("cap_", "").split()
    kept = ",".join(["-all", *(f"+{right}" for right in rights)])
    sleeping = rootd.script("sleeping", "#!/bin/sh\nsleep 60 & wait\n")
    files = state_dir / "theirs"
    files.mkdir(mode=0o700)
    rootd.action("hello", ["/usr/bin/echo", "{text}"], 'values.text = {pattern = "[a-z]+"}')
    rootd.action("theirs", [rootd.script("theirs.sh", f"#!/bin/sh\nid -u > {files}/x; cat {files}/x\n")])
    rootd.action("other", ["/usr/bin/id", "-u"], 'run_as = "nobody"')
    rootd.action("late", [sleeping], 'run_as = "nobody"\ntimeout = 0.3')
    rootd.action("link", ["/usr/bin/ip", "link", "set", "lo", "up"])
    network = ["unshare", "--net", needs("setpriv"), "--bounding-set", kept]
    held = [*network, *units.held(sys.executable, trace, needs)]
    with rootd.serving("--relay-user", "games", before=held) as process:
        assert rootd.ask("hello", text="x")["output"] == "x\n"
        assert rootd.ask("theirs")["output"] == "0\n"
        assert rootd.ask("other")["output"] == f"{NOBODY}\n"
        assert rootd.ask("late")["outcome"] == "timed-out"  # it may signal those of other users
        assert rootd.ask("link")["exit"] == 0
        port: dict[str, str | int] = {"transport": "tcp", "address": "127.0.0.1", "port": 443}
        assert rootd.ask("bind-port", **port)["outcome"] == "done"
        made = [rootd.ask(action, namespace="office", **more) for action, more in IN_A_NAMESPACE]
        assert [said["exit"] for said in made] == [0] * 4, made
        assert process.alive()
        process.send(signal.SIGTERM)
        assert process.wait() == 0
    used = units.used(trace)
    assert {"execve", "setreuid", "kill", "unshare", "prctl"} <= used
    assert used - units.allowed(SERVICE) - units.REFUSED_AND_NOT_MISSED == set()
