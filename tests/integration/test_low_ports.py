"""Low ports without root: who holds which capability when root starts `edgeward up`, and what it says if not."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import edgeward
from edgeward import capabilities
from tests.integration.processes import Process, is_alive, running, until
from tests.integration.rootd_rig import IS_ROOT

pytestmark = pytest.mark.skipif(not IS_ROOT, reason="only root may become somebody else")
LOW = 1 << capabilities.NET_BIND_SERVICE
CONFIG = """version: 1
listen: {http: "127.0.0.1:80", https: "127.0.0.1:443", api: "127.0.0.1:2443"}
domains: [{name: shop.example}]
services: [{name: shop, backends: ["http://127.0.0.1:9"]}]
routes: [{hosts: [shop.example], service: shop}]
"""


def command() -> tuple[list[str], dict[str, str]]:
    """Give a command that anybody may run, also where this interpreter is root's alone."""
    packages = [p for p in sys.path if p.endswith("site-packages")]
    source = str(Path(edgeward.__file__).parents[1])
    interpreter = Path("/usr/bin/python3.11")
    if not interpreter.exists():
        pytest.skip("there is no Python that others may run")
    env = {"PYTHONPATH": ":".join([source, *packages]), "EDGEWARD_USER": "nobody"}
    return [str(interpreter), "-P", "-m", "edgeward.cli", "up"], env


class Up:
    def __init__(self, place: Path, process: Process) -> None:
        self.place, self.process = place, process

    def pids(self) -> dict[str, int]:
        programs = json.loads((self.place / "state/up.json").read_text())["programs"]
        found = {p["name"]: p["pid"] for p in programs}
        found["launcher"] = found.pop("envoy")
        found["envoy"] = json.loads((self.place / "state/node/envoy.json").read_text())["pid"]
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        keeper = [pid for pid in map(int, children) if b"keeper" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        return found | {"up": self.process.pid, "keeper": keeper[0]}

    def rootd(self) -> dict[str, object]:
        programs = json.loads((self.place / "state/up.json").read_text())["programs"]
        return next(program for program in programs if program["name"] == "rootd")


@pytest.fixture
def up(state_dir: Path) -> Iterator[Up]:
    """In a network namespace of its own, where port 443 is free; whoever may read it, may not write it."""
    place = state_dir / "place"
    place.mkdir(mode=0o755)
    state_dir.chmod(0o755)
    (place / "edgeward.yaml").write_text(CONFIG)
    (place / "edgeward.yaml").chmod(0o644)
    argv, env = command()
    for name in ("actions", "log"):
        env[f"EDGEWARD_ROOTD_{name.upper()}"] = str(place / name)
    (place / "actions").mkdir(mode=0o755)
    (place / "actions" / "who.toml").write_text(
        'name = "who"\nargv = ["/usr/bin/id", "-u"]\nask.roles = ["admin"]\n'
    )
    (place / "actions" / "who.toml").chmod(0o644)
    env["EDGEWARD_ROOTD_SOCKET"] = str(place / "run" / "rootd.sock")
    network = ["unshare", "--net", "/bin/sh", "-c", 'ip link set lo up; exec "$@"', "sh"]
    options = ["-c", place / "edgeward.yaml", "--state-dir", place / "state", "--drain-seconds", "0"]
    with running([*network, *argv, *options], env=env, output=place / "out") as process:
        found = Up(place, process)

        def serves() -> bool:
            assert process.alive(), process.output()
            path = place / "state/up.json"
            return path.exists() and bool(json.loads(path.read_text()).get("ready"))

        until(serves, 60, "everything is ready")
        yield found


def test_nothing_but_rootd_is_root_and_envoy_has_one_capability(up):
    pids = up.pids()
    assert set(pids) == {"up", "controller", "node", "launcher", "envoy", "keeper", "rootd"}
    for name, pid in pids.items():
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        uids = {int(word) for line in lines if line.startswith("Uid:") for word in line.split()[1:]}
        held = capabilities.held(pid)
        if name in ("keeper", "rootd"):
            assert uids == {0}
            continue
        assert uids == {65534}, name
        assert held.no_new_privs, name
        assert held.bounding == LOW, name
        expected = LOW if name in ("up", "launcher", "envoy") else 0
        assert (held.permitted, held.effective, held.ambient) == (expected, expected, expected), name
    inside = ["nsenter", f"--net=/proc/{pids['envoy']}/ns/net"]
    curl = [
        "curl",
        "-s",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        "-H",
        "Host: shop.example",
        "http://127.0.0.1:80/",
    ]

    def is_served() -> bool:
        said = subprocess.run([*inside, *curl], capture_output=True, text=True).stdout
        return said in ("301", "308", "503")

    until(is_served, what="the node had Envoy listen on what the file says")
    listening = subprocess.run([*inside, "ss", "-Hltn"], capture_output=True, text=True).stdout
    assert "127.0.0.1:443 " in listening
    token = (up.place / "state" / "admin.token").read_text().strip()
    ask = [
        "curl",
        "-s",
        "--cacert",
        up.place / "state/ca/root.pem",
        "-H",
        f"Authorization: Bearer {token}",
        "-X",
        "POST",
    ]
    answer = subprocess.run(
        [*inside, *ask, "https://127.0.0.1:2443/v1/actions/who/run"], capture_output=True, text=True
    )
    assert json.loads(answer.stdout)["output"] == "0\n", answer.stdout
    assert up.place.joinpath("state").stat().st_uid == 65534
    assert (up.place / "run" / "rootd.sock").is_socket()

    os.kill(pids["rootd"], 9)
    until(lambda: up.rootd()["restarts"] == 1 and up.rootd()["state"] == "ready", what="rootd is back")
    assert up.rootd()["last_exit"] == "killed by SIGKILL"
    os.kill(pids["keeper"], 9)
    until(lambda: up.rootd()["state"] == "unkept", what="up says that nobody keeps rootd")
    until(lambda: "rootd is unkept" in up.process.output(), what="the log of up says so too")
    assert "rootd died and is started again" in up.process.output()

    pids["rootd"] = up.rootd()["pid"]
    up.process.end()
    for pid in pids.values():
        until(lambda pid=pid: not is_alive(pid), what="all have ended")


def test_who_has_become_another_user_still_dies_with_its_parent():
    script = (
        "import os, signal, sys, time\n"
        "from edgeward import capabilities\n"
        "from edgeward.launcher.child import Child\n"
        "if sys.argv[1:]:\n"
        "    capabilities.become(65534, 65534, [])\n"
        "    print(os.getpid(), flush=True)\n"
        "    time.sleep(300)\n"
        "Child.start([sys.executable, '-c', os.environ['SCRIPT'], 'child'], orphaned=signal.SIGTERM)\n"
        "time.sleep(300)\n"
    )
    with running([sys.executable, "-c", script], env={"SCRIPT": script}) as parent:
        until(lambda: parent.output().strip(), what="the child to be nobody")
        child = int(parent.output())
        assert "Uid:\t65534" in Path(f"/proc/{child}/status").read_text()

        parent.send(signal.SIGKILL)

        until(lambda: not is_alive(child), what="the child to go, too")


def test_a_clone_that_the_user_cannot_read_is_told_in_one_sentence(state_dir):
    home = state_dir / "home"
    (home / "clone").mkdir(mode=0o755, parents=True)
    home.chmod(0o700)
    state_dir.chmod(0o755)
    argv, env = command()
    shutil.copytree(Path(edgeward.__file__).parent, home / "clone" / "edgeward")
    env["PYTHONPATH"] = env["PYTHONPATH"].replace(
        str(Path(edgeward.__file__).parents[1]), str(home / "clone")
    )
    (state_dir / "edgeward.yaml").write_text(CONFIG)
    words = [*argv, "-c", str(state_dir / "edgeward.yaml"), "--state-dir", str(state_dir / "state")]
    done = subprocess.run(words, env={**os.environ, **env}, capture_output=True, text=True, timeout=60)

    assert done.returncode == 2
    assert f"as {home} is closed to it" in done.stderr
    assert "the user 'nobody', as whom all but rootd is to run, may not read" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_state_directory_of_somebody_else_and_a_user_who_is_not_there_are_told_too(state_dir):
    argv, env = command()
    state_dir.chmod(0o755)
    (state_dir / "edgeward.yaml").write_text(CONFIG)
    (state_dir / "state").mkdir(mode=0o700)
    (state_dir / "state" / "edgeward.db").touch()
    words = [*argv, "-c", str(state_dir / "edgeward.yaml"), "--state-dir", str(state_dir / "state")]
    done = subprocess.run(words, env={**os.environ, **env}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "may not write to" in done.stderr

    env["EDGEWARD_USER"] = "nobody-of-that-name"
    done = subprocess.run(words, env={**os.environ, **env}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "useradd --system nobody-of-that-name" in done.stderr


def test_a_refused_start_leaves_no_directory_behind(state_dir):
    argv, env = command()
    state_dir.chmod(0o755)
    (state_dir / "edgeward.yaml").write_text(CONFIG)
    (state_dir / "edgeward.yaml").chmod(0o600)  # root's own, and not for nobody
    words = [*argv, "-c", str(state_dir / "edgeward.yaml"), "--state-dir", str(state_dir / "a" / "state")]
    done = subprocess.run(words, env={**os.environ, **env}, capture_output=True, text=True, timeout=60)

    assert done.returncode == 2
    assert "may not read" in done.stderr
    assert not (state_dir / "a").exists()


@pytest.mark.parametrize(
    ("rights", "works", "said"),
    [
        (["--bounding-set", "-net_bind_service"], False, "not in the bounding set"),
        (["--no-new-privs"], False, "none was handed on"),
        (
            ["--inh-caps", "+net_bind_service", "--ambient-caps", "+net_bind_service"],
            True,
            "CAP_NET_BIND_SERVICE is ambient",
        ),
    ],
)
def test_doctor_says_which_way_works_here_and_why_the_others_do_not(needs, rights, works, said):
    argv, env = command()
    become = ["--reuid", "nobody", "--regid", "nogroup", "--clear-groups"]
    words = ["unshare", "--net", needs("setpriv"), *become, *rights, "--", *argv[:-1], "doctor"]
    done = subprocess.run(words, env={**os.environ, **env}, capture_output=True, text=True, timeout=60)

    assert said in done.stdout
    assert done.returncode == (0 if works else 1), done.stderr
    assert ("0.0.0.0:443: can be listened on" in done.stdout) is works


def test_doctor_names_who_has_a_port(needs):
    argv, env = command()
    held = "import socket,subprocess,sys; s=socket.create_server(('127.0.0.1',443)); sys.exit(subprocess.call(sys.argv[1:]))"
    up = 'ip link set lo up; exec "$@"'
    words = ["unshare", "--net", "/bin/sh", "-c", up, "sh", sys.executable, "-c", held, *argv[:-1], "doctor"]
    done = subprocess.run(words, env={**os.environ, **env}, capture_output=True, text=True, timeout=60)

    assert done.returncode == 1
    assert "0.0.0.0:443 is taken by python" in done.stdout
    assert "0.0.0.0:80: can be listened on" in done.stdout


def test_a_user_without_any_way_is_told_three_remedies_and_the_sysctl_is_one(state_dir, needs):
    argv, env = command()
    state_dir.chmod(0o755)
    (state_dir / "edgeward.yaml").write_text(CONFIG)
    (state_dir / "edgeward.yaml").chmod(0o644)
    state = state_dir / "state"
    state.mkdir()
    os.chown(state, 65534, 65534)
    state.chmod(0o700)
    become = [needs("setpriv"), "--reuid", "nobody", "--regid", "nogroup", "--clear-groups", "--"]
    options = ["-c", str(state_dir / "edgeward.yaml"), "--state-dir", str(state)]

    def said(before: str, *words: str) -> subprocess.CompletedProcess[str]:
        network = ["unshare", "--net", "/bin/sh", "-c", f'ip link set lo up; {before}; exec "$@"', "sh"]
        everything = [*network, *become, *words]
        return subprocess.run(
            everything, env={**os.environ, **env}, capture_output=True, text=True, timeout=60
        )

    refused = said("true", *argv, *options)
    assert refused.returncode == 2
    for remedy in ("choose a higher port", "ip_unprivileged_port_start=443", "CAP_NET_BIND_SERVICE"):
        assert remedy in refused.stderr
    opened = "echo 80 > /proc/sys/net/ipv4/ip_unprivileged_port_start"
    told = said(opened, *argv[:-1], "doctor", "-c", str(state_dir / "edgeward.yaml"))
    assert told.returncode == 0, told.stderr
    assert "everybody may listen on ports from 80 on" in told.stdout
    assert "127.0.0.1:443: can be listened on" in told.stdout
