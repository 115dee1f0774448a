"""A relay to a name: its addresses change, its DNS fails, and connections do not notice."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.integration.name_server import NameServer, name_server
from tests.integration.processes import running, until
from tests.integration.relay_rig import (
    Answering,
    answering,
    asked,
    black_hole,
    fetched,
    relay,
    said,
    word_from,
)
from tests.ports import free_port

NAME = "backend.example"
RELAY = [sys.executable, "-m", "edgeward.relay"]


@pytest.fixture
def dns() -> Iterator[NameServer]:
    with name_server() as made:
        yield made


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def front() -> int:
    return free_port()


def at(host: str, port: int) -> Answering:
    return Answering((host, port), host.encode())


def now_at(front: int, host: str) -> bool:
    return word_from(front, len(host)) == host.encode()


def test_new_connections_follow_the_name_within_its_ttl_and_a_second(
    dns: NameServer, port: int, front: int
) -> None:
    backends = [at(host, port) for host in ("127.0.0.11", "127.0.0.12")]
    dns.put(NAME, "A", 1, "127.0.0.11")
    with relay("--to", f"{NAME}:{port}", "--listen", front, "--resolver", dns.address):
        assert now_at(front, "127.0.0.11")
        for host in ("127.0.0.12", "127.0.0.11"):
            dns.put(NAME, "A", 1, host)
            until(lambda host=host: now_at(front, host), timeout=10, what=f"connections at {host}")
    for backend in backends:
        backend.close()


@pytest.mark.parametrize("trouble", ["NXDOMAIN", "SERVFAIL", "silence"])
def test_the_last_good_answer_serves_while_dns_fails(
    dns: NameServer, port: int, front: int, trouble: str, state_dir: Path
) -> None:
    path = state_dir / "status"
    dns.put(NAME, "A", 1, "127.0.0.11")
    to = ("--to", f"{NAME}:{port}", "--listen", front, "--resolver", dns.address)
    with answering(("127.0.0.11", port), b"127.0.0.11"), relay(*to, "--metrics", f"unix:{path}") as process:
        assert now_at(front, "127.0.0.11")
        if trouble == "NXDOMAIN":
            dns.drop(NAME)
        elif trouble == "SERVFAIL":
            dns.fails.add(NAME)
        else:
            dns.mute = True
        until(lambda: said(process, "DNS fails"), timeout=15, what="the warning")
        assert now_at(front, "127.0.0.11")
        assert asked(path)["dns"]["failures"] >= 1
        assert asked(path)["addresses"] == [f"127.0.0.11:{port}"]

        dns.put(NAME, "A", 1, "127.0.0.11")
        dns.fails.clear()
        dns.mute = False
        until(lambda: not asked(path)["dns"]["failing"], timeout=30, what="DNS in order again")


def test_connections_that_come_before_the_first_answer_wait_for_it(
    dns: NameServer, port: int, front: int
) -> None:
    dns.slow = 0.4
    dns.put(NAME, "A", 60, "127.0.0.11")
    to = ("--to", f"{NAME}:{port}", "--listen", front, "--resolver", dns.address)
    with answering(("127.0.0.11", port), b"127.0.0.11"), relay(*to):
        assert now_at(front, "127.0.0.11")


def test_connections_never_wait_for_dns_after_that(dns: NameServer, port: int, front: int) -> None:
    dns.put(NAME, "A", 1, "127.0.0.11")
    to = ("--to", f"{NAME}:{port}", "--listen", front, "--resolver", dns.address)
    with answering(("127.0.0.11", port), b"127.0.0.11"), relay(*to):
        assert now_at(front, "127.0.0.11")
        dns.slow = 60.0
        time.sleep(1.2)  # the answer is too old now, and another is asked for
        for _ in range(20):
            assert now_at(front, "127.0.0.11")


def test_a_name_that_never_was_is_a_clear_line_and_an_end(dns: NameServer, port: int, front: int) -> None:
    to = ("--to", f"{NAME}:{port}", "--listen", front, "--resolver", dns.address, "--connect-timeout", 2)
    with relay(*to) as process:
        assert word_from(front, 1) == b""
        until(lambda: said(process, "backend not reached"), what="the line")
        (line,) = said(process, "backend not reached")
        assert line["reason"] == f"{NAME}:{port} has no address yet: there is no such name"


def test_a_name_that_failed_for_a_while_is_asked_for_at_once_when_somebody_comes(
    dns: NameServer, port: int, front: int
) -> None:
    to = ("--to", f"{NAME}:{port}", "--listen", front, "--resolver", dns.address, "--connect-timeout", 20)
    with answering(("127.0.0.11", port), b"127.0.0.11"), relay(*to):
        until(lambda: dns.count(NAME) >= 10, 30, "five failures, after which four seconds pass")
        dns.put(NAME, "A", 60, "127.0.0.11")

        assert now_at(front, "127.0.0.11")


def test_long_answers_come_over_tcp(dns: NameServer, port: int, front: int) -> None:
    dns.truncates = True
    dns.put(NAME, "A", 60, *(f"127.0.1.{number}" for number in range(1, 60)))
    backend = at("127.0.1.7", port)
    to = ("--to", f"{NAME}:{port}", "--listen", front, "--resolver", dns.address)
    with relay(*to):
        assert now_at(front, "127.0.1.7")
    assert (NAME, "A", "tcp") in dns.asked
    backend.close()


def test_aliases_are_followed_and_the_shortest_ttl_counts(dns: NameServer, port: int, front: int) -> None:
    dns.put(NAME, "CNAME", 1, "second.example")
    dns.put("second.example", "CNAME", 600, "third.example")
    dns.put("third.example", "A", 600, "127.0.0.11")
    dns.put("fourth.example", "A", 600, "127.0.0.12")
    backends = [at(host, port) for host in ("127.0.0.11", "127.0.0.12")]
    with relay("--to", f"{NAME}:{port}", "--listen", front, "--resolver", dns.address):
        assert now_at(front, "127.0.0.11")
        dns.put(NAME, "CNAME", 1, "fourth.example")
        until(lambda: now_at(front, "127.0.0.12"), timeout=10, what="the new alias")
    for backend in backends:
        backend.close()


def test_the_bounds_of_ttls_hold(dns: NameServer, port: int, front: int) -> None:
    dns.put(NAME, "A", 0, "127.0.0.11")
    to = ("--to", f"{NAME}:{port}", "--listen", front, "--resolver", dns.address, "--ttl-min", 30)
    with answering(("127.0.0.11", port), b"127.0.0.11"), relay(*to):
        assert now_at(front, "127.0.0.11")
        time.sleep(1.5)
        assert dns.count(NAME) == 2  # one A, one AAAA


def test_services_are_tried_by_priority_and_share_by_weight(dns: NameServer, front: int) -> None:
    ports = [free_port() for _ in range(3)]
    dns.put("_pg._tcp.example", "SRV", 60, f"10 30 {ports[0]} one.example.", f"10 10 {ports[1]} two.example.",
            f"20 0 {ports[2]} spare.example.")  # fmt: skip
    for host, address in (("one", "127.0.0.11"), ("two", "127.0.0.12"), ("spare", "127.0.0.13")):
        dns.put(f"{host}.example", "A", 60, address)
    one, two, spare = (Answering((f"127.0.0.1{n}", ports[n - 1]), b"%d" % n) for n in (1, 2, 3))
    with relay("--to", "srv:_pg._tcp.example", "--listen", front, "--resolver", dns.address):
        seen = [word_from(front, 1) for _ in range(80)]
        assert 40 < seen.count(b"1") < 79
        assert seen.count(b"2") == 80 - seen.count(b"1")
        one.close()
        two.close()
        until(lambda: word_from(front, 1) == b"3", what="the spare")
    spare.close()


def test_the_first_priority_is_tried_first_however_many_others_are_told_before_it(
    dns: NameServer, front: int
) -> None:
    ports = [free_port() for _ in range(2)]
    spares = [f"spare{number}.example" for number in range(26)]
    records = [f"20 0 {ports[1]} {name}." for name in spares]
    dns.put("_pg._tcp.example", "SRV", 60, *records, f"10 0 {ports[0]} one.example.")
    dns.put("one.example", "A", 60, "127.0.0.11")
    for name in spares:
        dns.put(name, "A", 60, "127.0.0.13")
    one, spare = Answering(("127.0.0.11", ports[0]), b"1"), Answering(("127.0.0.13", ports[1]), b"3")
    with relay("--to", "srv:_pg._tcp.example", "--listen", front, "--resolver", dns.address):
        assert {word_from(front, 1) for _ in range(5)} == {b"1"}
    one.close()
    spare.close()


def test_an_address_that_is_a_black_hole_costs_one_connection_a_moment_and_the_next_ones_nothing(
    dns: NameServer, port: int, front: int, state_dir: Path
) -> None:
    path = state_dir / "status"
    dns.put(NAME, "A", 60, "127.0.0.14", "127.0.0.11")
    to = ("--to", f"{NAME}:{port}", "--listen", front, "--resolver", dns.address, "--metrics", f"unix:{path}")
    with black_hole("127.0.0.14", port), answering(("127.0.0.11", port), b"127.0.0.11"), relay(*to):
        for _ in range(20):
            assert now_at(front, "127.0.0.11")
        slow = [line for line in fetched(path, "/metrics").splitlines() if "connect_seconds_bucket" in line]
    before = {line.partition('le="')[2].partition('"')[0]: int(line.split()[1]) for line in slow}
    assert before["+Inf"] == 20
    assert before["0.1"] >= 10  # all but the first, or a second while the first was on its way; and hiccups


def test_both_families_are_raced(dns: NameServer, port: int, front: int) -> None:
    dns.put(NAME, "A", 60, "127.0.0.11")
    dns.put(NAME, "AAAA", 60, "::1")
    to = ("--to", f"{NAME}:{port}", "--listen", front, "--resolver", dns.address)
    with answering(("127.0.0.11", port), b"127.0.0.11"), relay(*to):
        assert now_at(front, "127.0.0.11")  # nobody listens on ::1


def _with_file(path: Path, over: str, command: list[object]) -> list[object]:
    """Run a command that sees ``path`` where the host has ``over``."""
    probe = subprocess.run(["unshare", "--mount", "true"], capture_output=True, timeout=30)
    if probe.returncode != 0:
        pytest.skip("needs a mount namespace")
    return [
        "unshare",
        "--mount",
        "sh",
        "-c",
        'mount --bind "$0" "$1" && shift && exec "$@"',
        path,
        over,
        *command,
    ]


def test_the_hosts_file_goes_before_dns(dns: NameServer, port: int, front: int, tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text(f"127.0.0.11 {NAME}\n")
    dns.put(NAME, "A", 60, "127.0.0.12")
    to = [*RELAY, "--to", f"{NAME}:{port}", "--listen", front, "--resolver", dns.address]
    with (
        answering(("127.0.0.11", port), b"127.0.0.11"),
        running(_with_file(hosts, "/etc/hosts", to)) as process,
    ):
        until(lambda: said(process, "relay started"), what="the relay")
        assert now_at(front, "127.0.0.11")


@pytest.mark.skipif(os.geteuid() != 0, reason="listens on port 53")
def test_another_dns_server_in_resolv_conf_is_asked_from_then_on(
    port: int, front: int, tmp_path: Path
) -> None:
    settings = tmp_path / "resolv.conf"
    with ExitStack() as stack:
        for last in (1, 2):
            host = f"127.0.77.{last}{os.getpid() % 10}"
            server = stack.enter_context(name_server(host, 53))
            server.put(NAME, "A", 1, f"127.0.0.1{last}")
            stack.enter_context(answering((f"127.0.0.1{last}", port), b"127.0.0.1%d" % last))
            if last == 1:
                settings.write_text(f"nameserver {host}\n")
        to = [*RELAY, "--to", f"{NAME}:{port}", "--listen", front]
        process = stack.enter_context(running(_with_file(settings, "/etc/resolv.conf", to)))
        until(lambda: said(process, "relay started"), what="the relay")
        assert now_at(front, "127.0.0.11")
        settings.write_text(f"nameserver {host}\n")
        until(lambda: now_at(front, "127.0.0.12"), timeout=15, what="the other server's answer")


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_a_name_with_ipv6_alone_is_reached_from_an_ipv6_socket(dns: NameServer, port: int) -> None:
    dns.put(NAME, "AAAA", 60, "::1")
    front = free_port()
    try:
        backend = socket.create_server(("::1", port), family=socket.AF_INET6)
    except OSError:
        pytest.skip("no IPv6 on loopback")
    to = ("--to", f"{NAME}:{port}", "--listen", f"[::1]:{front}", "--resolver", dns.address)
    with backend, relay(*to), socket.create_connection(("::1", front), timeout=30) as near:
        backend.settimeout(30)
        far, _ = backend.accept()
        far.sendall(b"six")
        assert near.recv(3) == b"six"
        far.close()
