"""A relay inside a network namespace, as a tunnel's: its socket is outside, its backend and DNS are inside."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.integration.processes import Process, running, until
from tests.integration.relay_rig import dial, exactly, said
from tests.ports import free_port

PRIVATE = "192.168.4.10"
SITE = """
import sys, time
from tests.integration.name_server import name_server
from tests.integration.relay_rig import answering
address, port, word = sys.argv[1], int(sys.argv[2]), sys.argv[3].encode()
with answering((address, port), word), name_server() as dns:
    dns.put("intranet.office.lan", "A", 60, address)
    print("dns", dns.address, flush=True)
    time.sleep(600)
"""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces")


@pytest.fixture
def ip(needs: Callable[[str], str]) -> str:
    return needs("ip")


@contextmanager
def namespace(ip: str, name: str) -> Iterator[list[str]]:
    """Make a namespace with the private address in it; gives the command that runs something inside."""
    made = subprocess.run([ip, "netns", "add", name], capture_output=True, text=True, timeout=30)
    if made.returncode != 0:
        pytest.skip(f"no network namespaces here: {made.stderr}")
    try:
        for command in (["link", "set", "lo", "up"], ["addr", "add", f"{PRIVATE}/32", "dev", "lo"]):
            subprocess.run([ip, "-n", name, *command], check=True, timeout=30)
        yield [ip, "netns", "exec", name]
    finally:
        subprocess.run([ip, "netns", "del", name], check=True, timeout=30)


def _dns(site: Process) -> str:
    until(lambda: "dns " in site.output(), what="the site")
    return site.output().partition("dns ")[2].split()[0]


def test_two_tenants_with_the_same_private_address_are_reached_each_by_its_own_relay(
    ip: str, state_dir: Path
) -> None:
    port = free_port()
    with ExitStack() as stack:
        for tenant in ("office", "branch"):
            inside = stack.enter_context(namespace(ip, f"ew-{os.getpid()}-{tenant}"))
            site = [*inside, sys.executable, "-c", SITE, PRIVATE, str(port), tenant]
            dns = _dns(stack.enter_context(running(site, env={"PYTHONPATH": str(Path(__file__).parents[2])})))
            relay = [
                *inside, sys.executable, "-m", "edgeward.relay", "--to", f"intranet.office.lan:{port}",
                "--resolver", dns, "--listen", f"unix:{state_dir}/{tenant}",
            ]  # fmt: skip
            process = stack.enter_context(running(relay))
            until(lambda of=process: said(of, "relay started"), what="the relay")
        for tenant in ("office", "branch", "office"):
            with dial(f"{state_dir}/{tenant}") as stream:
                assert exactly(stream, 6) == tenant.encode()


def test_a_socket_of_the_host_that_is_handed_into_a_namespace_stays_the_hosts(ip: str) -> None:
    port = free_port()
    with ExitStack() as stack:
        inside = stack.enter_context(namespace(ip, f"ew-{os.getpid()}-handed"))
        site = [*inside, sys.executable, "-c", SITE, PRIVATE, str(port), "office"]
        _dns(stack.enter_context(running(site, env={"PYTHONPATH": str(Path(__file__).parents[2])})))
        handed = stack.enter_context(socket.socket())
        handed.bind(("127.0.0.1", 0))
        handed.listen(16)
        child = subprocess.Popen(
            ["/bin/sh", "-c", 'LISTEN_PID=$$ exec "$@"', "sh", *inside, sys.executable, "-m", "edgeward.relay",
             "--to", f"{PRIVATE}:{port}"],
            env={**os.environ, "LISTEN_FDS": "1"}, preexec_fn=lambda: os.dup2(handed.fileno(), 3), close_fds=False,
        )  # fmt: skip
        try:
            with dial(handed.getsockname()[1]) as stream:
                assert exactly(stream, 6) == b"office"
        finally:
            child.terminate()
            assert child.wait(30) == 0
