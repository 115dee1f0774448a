"""The clock jumps: certificates that are over are not served and are renewed, and nothing ends or spins."""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from cryptography import x509

from edgeward.declaration import feed
from tests.integration.controller_setup import Controller
from tests.integration.node_rig import Rig, assert_rests, within
from tests.integration.processes import Process, running, until
from tests.redis_server import RedisServer

LIBRARY = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"
DAY = 86400
DECLARED = """version: 1
listen: {{https: "127.0.0.1:{https}"}}
domains: [{{name: shop.example}}, {{name: "*.c.example", on_demand: true}}]
"""


class Clocked:
    """A real controller and a real node whose clock stands in a file; Envoy has the true one."""

    def __init__(self, state_dir: Path) -> None:
        self.controller = Controller(state_dir / "s")
        self.controller.state_dir.mkdir(mode=0o700)
        self.rig = Rig(self.controller.state_dir)
        self.controller.declare(DECLARED.format(https=self.rig.port))
        self._file = state_dir / "clock"
        self.set_clock("+0d")
        self.env = {
            "LD_PRELOAD": LIBRARY,
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        self.controller.env = self.env
        self.offset = 0.0
        self.programs: dict[str, Process] = {}

    def set_clock(self, text: str) -> None:
        draft = self._file.with_suffix(".draft")
        draft.write_text(text + "\n")
        draft.replace(self._file)
        self.offset = float(text[:-1]) * DAY

    def start(self, stack: ExitStack) -> None:
        self.programs["controller"] = stack.enter_context(self.controller.start("--local-node", "n1"))
        stack.enter_context(self.rig.stack)
        self.programs["node"] = self.rig.start_node(**self.env)
        self.rig.start_envoy()
        self.rig.wait_ready()

    def ends(self, name: str) -> float | None:
        """Give when the certificate a visitor is shown ends, None where he is refused."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        import socket

        try:
            with (
                socket.create_connection(("127.0.0.1", self.rig.port), 12) as plain,
                context.wrap_socket(plain, server_hostname=name) as secure,
            ):
                der = secure.getpeercert(binary_form=True)
                assert der is not None
                return x509.load_der_x509_certificate(der).not_valid_after_utc.timestamp()
        except (ssl.SSLError, ConnectionResetError):
            return None

    def valid(self, name: str) -> bool:
        """Whether a visitor with the same clock is shown a certificate that is not over."""
        ends = self.ends(name)
        return ends is not None and ends > time.time() + self.offset

    def assert_calm(self) -> None:
        """Nothing ended, nothing spins, no unexpected error."""
        assert all(process.alive() for process in self.programs.values())
        assert_rests(*(process.pid for process in self.programs.values()))
        for name, process in self.programs.items():
            assert "Traceback" not in process.output(), name

    def followed(self) -> bool:
        return self.rig.metric("edgeward_node_controller_connected") == {"": 1.0}


@contextmanager
def clocked(state_dir: Path) -> Iterator[Clocked]:
    made = Clocked(state_dir)
    try:
        with ExitStack() as stack:
            made.start(stack)
            yield made
    finally:
        for name in ("node.log",):
            path = made.controller.state_dir / name
            print(*(path.read_text().splitlines()[-30:] if path.exists() else []), sep="\n")


@pytest.fixture
def edge(state_dir: Path, needs) -> Iterator[Clocked]:
    needs("faketime")
    if not os.path.exists(LIBRARY):
        pytest.skip(f"{LIBRARY} is not there")
    with clocked(state_dir) as made:
        yield made


def obtains(edge: Clocked, name: str) -> int:
    path = edge.controller.state_dir / "node" / "identity.json"
    identity = feed.Identity.model_validate_json(path.read_text())
    with edge.controller.client(token=identity.token) as client:
        return client.post(f"/v1/certificates/{name}/obtain").status_code


@pytest.mark.slow
def test_forty_days_later_what_is_over_is_not_shown_and_everything_is_renewed(edge: Clocked) -> None:
    for name in ("shop.example", "a.c.example"):
        within(8, lambda name=name: edge.valid(name), name)
    first = {name: edge.ends(name) for name in ("shop.example", "a.c.example")}
    edge.offset = 40 * DAY
    assert not edge.valid("shop.example"), "control: with that clock, the first certificate is over"

    edge.set_clock("+40d")
    jumped = time.monotonic()
    for name in ("shop.example", "a.c.example", "new.c.example"):
        within(30, lambda name=name: edge.valid(name), f"{name} renewed")
        assert edge.ends(name) not in first.values()
    print("served again after", time.monotonic() - jumped)
    edge.assert_calm()
    within(20, edge.followed, "the feed")
    assert edge.ends("shop.example") != first["shop.example"]


@pytest.mark.slow
def test_forty_days_later_without_a_controller_what_is_over_is_refused(edge: Clocked) -> None:
    within(8, lambda: edge.valid("shop.example"), "shop.example")
    edge.programs.pop("controller").end()
    edge.set_clock("+40d")

    within(5, lambda: edge.ends("shop.example") is None, "its end")
    edge.assert_calm()
    edge.set_clock("+0d")
    within(5, lambda: edge.valid("shop.example"), "the clock put right")


@pytest.mark.slow
def test_a_day_without_controller_database_and_redis_ends_with_every_known_name_served(
    state_dir: Path, needs
) -> None:
    needs("faketime")
    redis = RedisServer(needs("redis-server"), state_dir / "redis").start()
    edge = Clocked(state_dir)
    edge.env["EDGEWARD_REDIS"] = redis.url
    names = ["shop.example", *(f"n{number}.c.example" for number in range(20))]
    try:
        with ExitStack() as stack:
            edge.start(stack)
            for name in names:
                within(8, lambda name=name: edge.valid(name), name)
            first = {name: edge.ends(name) for name in names}
            edge.programs.pop("controller").end()
            (edge.controller.state_dir / "edgeward.db").rename(state_dir / "gone.db")
            redis.kill()
            edge.set_clock("+1d")
            edge.rig.kill_node()
            edge.rig.envoy.end()
            edge.programs["node"] = edge.rig.start_node(**edge.env)
            edge.rig.start_envoy()
            edge.rig.wait_ready()

            assert {name: edge.ends(name) for name in names} == first
            assert all(edge.valid(name) for name in names)
            assert edge.ends("new.c.example") is None, "control: nobody issues"
            edge.assert_calm()
    finally:
        redis.kill()


@pytest.mark.slow
def test_two_days_back_nothing_stops_being_served(edge: Clocked) -> None:
    names = ("shop.example", "a.c.example")
    for name in names:
        within(8, lambda name=name: edge.valid(name), name)
    first = {name: edge.ends(name) for name in names}

    edge.set_clock("-2d")
    deadline = time.monotonic() + 8
    while time.monotonic() < deadline:
        assert {name: edge.ends(name) for name in names} == first, "no visitor notices"
        time.sleep(0.2)
    within(10, lambda: edge.valid("new.c.example"), "a new name")
    edge.assert_calm()
    edge.set_clock("+0d")
    within(10, lambda: edge.valid("later.c.example"), "a new name with the clock put right")
    edge.assert_calm()


@pytest.mark.slow
def test_programs_started_two_days_back_serve_what_they_have(state_dir: Path, needs) -> None:
    needs("faketime")
    edge = Clocked(state_dir)
    with ExitStack() as stack:
        edge.start(stack)
        within(8, lambda: edge.valid("shop.example"), "shop.example")
        first = edge.ends("shop.example")
        for process in edge.programs.values():
            process.end()
        edge.set_clock("-2d")
        stack.enter_context(edge.controller.start("--local-node", "n1", ready=False))
        edge.rig.start_node(**edge.env)
        within(10, edge.rig.ready, "the node")
        assert edge.ends("shop.example") == first
        within(15, lambda: edge.valid("new.c.example"), "a new name")


def test_the_clock_of_a_program_is_moved(state_dir: Path, needs) -> None:
    """Control: the library moves the clock of the Python that runs here, while it runs."""
    import sys

    needs("faketime")
    edge = Clocked(state_dir)
    code = "import time\nfor _ in range(100): print(time.time(), time.monotonic(), flush=True); __import__('select').select([], [], [], .05)"
    with running([sys.executable, "-c", code], env=edge.env) as process:
        until(lambda: len(process.output().splitlines()) > 3, 5)
        edge.set_clock("+40d")

        def moved() -> bool:
            lines = [line.split() for line in process.output().splitlines() if line[:1].isdigit()]
            wall, monotonic = map(float, lines[-1])
            return wall > time.time() + 39 * DAY and abs(monotonic - time.monotonic()) < 5

        until(moved, 5, "the jump")
