"""rootd as it runs: who is let in, what is run and how, and what is written down."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edgeward import actions
from tests.integration.processes import is_alive, until
from tests.integration.rootd_rig import IS_ROOT, NOBODY, Rootd

root = pytest.mark.skipif(not IS_ROOT, reason="only root has other users to be")


@pytest.fixture
def rootd(state_dir: Path) -> Iterator[Rootd]:
    found = Rootd(state_dir)
    found.action("echo", ["/usr/bin/echo", "{text}"], 'values.text = {pattern = ".*"}')
    with found.serving():
        yield found


def test_an_action_is_run_with_its_values_and_says_what_came_of_it(rootd):
    said = rootd.ask("echo", text="$(id); `id` | cat")

    assert (said["outcome"], said["exit"], said["output"]) == ("done", 0, "$(id); `id` | cat\n")
    assert rootd.ask("echo", text="-n")["outcome"] == "invalid"
    assert rootd.ask("other")["outcome"] == "refused"
    assert actions.run("echo", {"text": "x"}, path=rootd.socket).ok


def test_every_request_is_a_line_of_the_log(rootd):
    rootd.ask("echo", text="x")
    rootd.ask("other")
    with rootd.connected() as connection:
        connection.sendall(b"\0\0\0\1x")
        connection.recv(1000)

    done, refused, malformed = rootd.written()
    assert (done["uid"], done["pid"]) == (os.getuid(), os.getpid())
    assert (done["action"], done["values"], done["outcome"], done["exit"]) == (
        "echo",
        {"text": "x"},
        "done",
        0,
    )
    assert (refused["action"], refused["outcome"]) == ("other", "refused")
    assert malformed["outcome"] == "malformed"


def test_a_child_has_no_environment_nothing_open_and_a_group_of_its_own(rootd):
    script = rootd.script(
        "look", "#!/bin/sh\nenv -0 | tr '\\0' ' '; ls /proc/self/fd | tr '\\n' ' '; umask; pwd\n"
    )
    rootd.action("look", [script])
    with rootd.connected():
        said = rootd.ask("look")

    words = said["output"].split()
    assert sorted(w for w in words if not w.startswith(("PWD=", "_=", "OLDPWD=", "SHLVL="))) == sorted(
        ["0", "1", "2", "3", "0022", "/"]  # 3 is the directory that ls reads
    )


def test_what_takes_too_long_is_ended_with_its_whole_group(rootd):
    rootd.action("polite", ["/usr/bin/sleep", "60"], "timeout = 0.2")
    stubborn = rootd.script("stubborn", "#!/bin/sh\ntrap '' TERM\nsleep 60 & echo $!\nwait; sleep 60\n")
    rootd.action("stubborn", [stubborn], "timeout = 1.5")  # in which a shell is there on any machine

    said = rootd.ask("polite")
    assert (said["outcome"], said["exit"], said["signal"]) == ("timed-out", None, "SIGTERM")
    said = rootd.ask("stubborn")
    assert (said["outcome"], said["signal"]) == ("timed-out", "SIGKILL")
    assert said["seconds"] > 2.4, "it is given a second more to end by itself"
    until(lambda: not is_alive(int(said["output"])), what="what it had started is gone")


def test_output_is_cut_and_whoever_writes_on_without_end_does_no_harm(rootd):
    rootd.action("much", ["/usr/bin/yes"], "timeout = 0.6\noutput = 10")
    rootd.action("exactly", ["/usr/bin/echo", "123456789"], "output = 10")

    said = rootd.ask("much")
    assert (said["outcome"], said["output"], said["truncated"]) == ("timed-out", "y\n" * 5, True)
    said = rootd.ask("exactly")
    assert (said["output"], said["truncated"]) == ("123456789\n", False)


def test_a_daemon_that_keeps_the_output_open_holds_nobody_up(rootd):
    until_it_is = "until [ $(cut -d' ' -f6 /proc/$!/stat) = $! ]; do :; done"  # in a session of its own
    script = rootd.script("start", f"#!/bin/sh\nsetsid sleep 60 &\n{until_it_is}\necho $!\n")
    rootd.action("start", [script])

    said = rootd.ask("start")
    daemon = int(said["output"])
    assert said["outcome"] == "done"
    assert is_alive(daemon), "it was not waited for"
    os.kill(daemon, signal.SIGKILL)


def test_a_thousand_reloads_become_two_and_the_last_change_is_taken_in(rootd):
    state, seen, go = rootd.place / "state", rootd.place / "seen", rootd.place / "go"
    began = rootd.place / "began"
    text = f"read now < {state}\n> {began}\nwhile [ ! -e {go} ]; do sleep 0.05; done\necho $now >> {seen}\n"
    rootd.action("reload", [rootd.script("reload", f"#!/bin/sh\n{text}")], "coalesce = true\ntimeout = 60")
    state.write_text("0\n")
    first = threading.Thread(target=rootd.ask, args=("reload",))
    first.start()
    until(began.exists, what="the first one runs")

    def change(index: int) -> socket.socket:
        state.write_text(f"{index}\n")
        connection = rootd.connected()
        data = b'{"action": "reload"}'
        connection.sendall(len(data).to_bytes(4, "big") + data)
        return connection

    with ThreadPoolExecutor(1) as pool:
        connections = list(pool.map(change, range(1, 1000)))
    until(lambda: not any(map(unread, connections)), what="all of them were read")
    go.touch()
    for connection in connections:
        assert b'"done"' in connection.recv(10_000)
        connection.close()
    first.join()

    runs = seen.read_text().split()
    assert runs[-1] == "999"
    assert (
        len(runs) <= 3
    )  # the first, one for all who came while it ran, and those who were still on their way
    assert len([line for line in rootd.written() if line["action"] == "reload"]) == 1000


def test_an_action_cools_down(rootd):
    rootd.action("often", ["/usr/bin/true"], "cooldown = 30")

    assert rootd.ask("often")["outcome"] == "done"
    said = rootd.ask("often")
    assert said["outcome"] == "busy"
    assert "cools down; ask again in" in said["reason"]


def test_one_connection_may_ask_again_and_the_first_malformed_request_ends_it(rootd):
    with rootd.connected() as connection:
        for _ in range(3):
            connection.sendall(frame({"action": "echo", "values": {"text": "x"}}) * 2)
            got = b""
            while got.count(b'"done"') < 2:
                got += connection.recv(10_000)
        connection.sendall(frame({"action": "echo", "path": "/bin/sh"}) + frame({"action": "echo"}))
        got = b"".join(iter(lambda: connection.recv(10_000), b""))

    assert got.count(b"outcome") == 1
    assert b"malformed" in got


def test_who_sends_no_request_is_let_go_after_two_seconds(rootd):
    began = time.monotonic()
    with rootd.connected() as connection:
        connection.sendall(b"\0\0")
        got = b"".join(iter(lambda: connection.recv(10_000), b""))

    assert got == b""
    assert [line["outcome"] for line in rootd.written()] == ["late"]
    assert time.monotonic() - began > 1.5


def test_a_peer_that_goes_leaves_its_action_to_end_and_nothing_behind(rootd):
    mark = rootd.place / "mark"
    rootd.action("slow", [rootd.script("slow", f"#!/bin/sh\nsleep 0.5\necho done > {mark}\n")])
    with rootd.connected() as connection:
        connection.sendall(frame({"action": "slow"}))
        time.sleep(0.1)
    with rootd.connected() as connection:
        connection.sendall(frame({"action": "slow"})[:-3])

    until(mark.exists, what="the action has ended")
    until(lambda: [x for x in rootd.written() if x.get("action") == "slow"], what="it is in the log")
    assert rootd.ask("echo", text="x")["outcome"] == "done"


def test_descriptors_that_are_passed_are_closed(rootd):
    files = Path(f"/proc/{rootd.process.pid}/fd")
    before = len(list(files.iterdir()))
    pipes = [os.pipe() for _ in range(20)]
    connections = [rootd.connected() for _ in range(5)]
    for connection in connections:
        data = frame({"action": "echo", "values": {"text": "x"}})
        socket.send_fds(connection, [data], [fd for pipe in pipes for fd in pipe])
        assert b'"done"' in connection.recv(10_000)

    until(lambda: len(list(files.iterdir())) <= before + len(connections), what="descriptors being closed")
    for reading, writing in pipes:
        os.close(writing)
        assert os.read(reading, 1) == b""  # nobody else has the other end
        os.close(reading)
    for connection in connections:
        connection.close()


def test_that_check_sees_a_program_that_takes_descriptors():
    ours, theirs = socket.socketpair()
    reading, writing = os.pipe()
    before = len(os.listdir("/proc/self/fd"))
    socket.send_fds(ours, [b"x"], [writing])
    _, taken, _, _ = socket.recv_fds(theirs, 10, 10)

    assert len(os.listdir("/proc/self/fd")) == before + 1
    for descriptor in (reading, writing, *taken):
        os.close(descriptor)
    ours.close()
    theirs.close()


@root
def test_another_user_is_refused_at_the_door(rootd):
    said = rootd.as_user(NOBODY, "print(ask({'action': 'echo', 'values': {'text': 'x'}}, path=PATH))")
    assert "no action is for it" in said
    until(lambda: any(line["outcome"] == "turned-away" for line in rootd.written()), what="that is noted")

    rootd.action("theirs", ["/usr/bin/true"], f"ask = {{users = [{NOBODY}]}}")  # the control
    code = "print(ask({'action': 'theirs'}, path=PATH))"
    until(lambda: "'outcome': 'done'" in rootd.as_user(NOBODY, code), what="the action being known")
    said = rootd.as_user(NOBODY, "print(ask({'action': 'echo', 'values': {'text': 'x'}}, path=PATH))")
    assert "that you may ask for" in said


@root
def test_nobody_but_the_edges_own_programs_asks_for_others(rootd):
    rootd.action("api", ["/usr/bin/true"], f'ask = {{users = [{NOBODY}], roles = ["admin"]}}')
    code = "print(ask({'action': 'api', 'asker': {'role': 'admin'}}, path=PATH))"
    time.sleep(0.2)
    assert "refused" in rootd.as_user(NOBODY, code)
    rootd.process.end()
    with rootd.serving("--user", str(NOBODY)):
        assert "'outcome': 'done'" in rootd.as_user(NOBODY, code)
        assert "refused" in rootd.as_user(NOBODY, code.replace("admin", "viewer"))


@root
def test_an_action_runs_as_the_user_its_file_says(rootd):
    rootd.action("who", ["/usr/bin/id", "-un"], 'run_as = "nobody"')
    rootd.action("none", ["/usr/bin/id"], 'run_as = "no-such-user"')

    assert rootd.ask("who")["output"] == "nobody\n"
    assert rootd.ask("none")["outcome"] == "failed"


def test_a_file_made_writable_for_others_while_rootd_runs_is_not_used(rootd):
    path = rootd.action("mine", ["/usr/bin/true"])
    assert rootd.ask("mine")["outcome"] == "done"
    path.chmod(0o664)
    assert rootd.ask("mine")["outcome"] == "refused"
    assert "chmod go-w" in str(rootd.ask("list")["refused"]) or not IS_ROOT
    path.chmod(0o644)  # the control
    assert rootd.ask("mine")["outcome"] == "done"


def test_nor_is_a_program_that_others_could_have_changed(rootd):
    program = rootd.script("program", "#!/bin/sh\n")
    rootd.action("mine", [program])
    assert rootd.ask("mine")["outcome"] == "done"
    Path(program).chmod(0o775)
    said = rootd.ask("mine")
    assert said["outcome"] == "failed"
    assert "can be written by others" in said["reason"]


def test_nothing_is_done_that_cannot_be_written_down(state_dir):
    rootd = Rootd(state_dir)
    mark = state_dir / "mark"
    rootd.action("touch", [rootd.script("touch", f"#!/bin/sh\necho x >> {mark}\n")])
    with rootd.serving(before=["prlimit", "--fsize=2000:20000"]):
        while "cannot be written" not in rootd.ask("touch").get("reason", ""):
            assert len(rootd.written()) < 20
        done = len(mark.read_text().split())
        assert rootd.ask("touch")["outcome"] == "failed"
        assert len(mark.read_text().split()) == done
        os.system(f"prlimit --pid {rootd.process.pid} --fsize=20000")
        until(lambda: rootd.ask("touch")["outcome"] == "done", what="it goes on")

    assert len([x for x in rootd.written() if x["outcome"] == "done"]) == len(mark.read_text().split())


def test_told_to_end_it_lets_what_runs_end(rootd):
    mark = rootd.place / "mark"
    began = rootd.place / "began"
    rootd.action("slow", [rootd.script("slow", f"#!/bin/sh\n> {began}\nsleep 0.5\necho done > {mark}\n")])
    with rootd.connected() as connection:
        connection.sendall(frame({"action": "slow"}))
        until(began.exists, what="it runs")
        rootd.process.send(signal.SIGTERM)
        assert b'"done"' in connection.recv(10_000)
    assert rootd.process.wait() == 0
    assert mark.exists()


def test_killed_it_starts_again_and_its_log_goes_on(rootd):
    rootd.ask("echo", text="1")
    rootd.process.send(signal.SIGKILL)
    rootd.process.wait()
    with rootd.serving():
        rootd.ask("echo", text="2")
        assert [line["values"]["text"] for line in rootd.written()] == ["1", "2"]


def test_a_second_one_is_refused_and_a_socket_that_is_passed_is_taken(rootd, running):
    with running(rootd.command()) as second:
        assert second.wait() == 2
    other = Rootd(rootd.place / "other")
    other.action("echo", ["/usr/bin/echo", "passed"])
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(other.place / "own.sock"))
        listener.listen()
        number = listener.fileno()
        words = f'exec 3<&{number}; LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"'
        started = subprocess.Popen(["/bin/bash", "-c", words, "sh", *other.command()], pass_fds=[number])
        try:
            said = actions.ask({"action": "echo"}, path=str(other.place / "own.sock"), timeout=30)
        finally:
            started.terminate()
            assert started.wait(30) == 0
    assert said["output"] == "passed\n"
    assert not Path(other.socket).exists()


def unread(connection: socket.socket) -> int:
    """Give how many bytes of what was sent the other side has not read yet."""
    return int.from_bytes(fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)), sys.byteorder)


def frame(request: dict[str, object]) -> bytes:
    data = json.dumps(request).encode()
    return struct.pack(">I", len(data)) + data
