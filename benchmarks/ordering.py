"""Certificates from an ACME authority (Pebble, which waits for nothing), beside Caddy at the same one.

Both prove every name by http-01, which Pebble visits at the one port it knows: so one runs after the other.
Caddy begins ten orders in ten seconds and no more, so only its CPU is compared.
"""

from __future__ import annotations

import ipaddress
import json
import ssl
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.edgeward import Edgeward, edgeward
from benchmarks.peers import program
from benchmarks.processes import Process, cpu_seconds, free_ports, tree, until
from benchmarks.table import NOT_INSTALLED, Goal, Row
from edgeward.certificates.local.signing import LeafSigner, new_intermediate, new_root

WHAT: Final = "certificates from an ACME authority"
CPU: Final = "CPU for one of them"
_GOAL_A_SECOND: Final = 20.0
_GOAL_CPU: Final = 2.0
_SUFFIX: Final = "ordered.bench.example"


@dataclass(frozen=True)
class Authority:
    """A running Pebble. ``http_port``: where it visits."""

    process: Process
    log: Path
    directory: str
    ca_file: Path
    dns: str
    http_port: int

    def issued(self) -> int:
        return self.log.read_text(errors="replace").count("Issued certificate serial")

    def cpu(self) -> float:
        return cpu_seconds([self.process.pid])


def measure(directory: Path, backend: int, count: int, count_of_caddy: int) -> list[Row]:
    if program("pebble") is None:
        return [Row(WHAT, "Pebble", NOT_INSTALLED)]
    with pebble(directory) as authority:
        ours, rows = _ours(directory, backend, authority, count)
        caddy = _caddy(directory, authority, count_of_caddy)
    if caddy is None:
        return [*rows, Row(CPU, "Edgeward", 1e3 * ours, "ms"), Row(CPU, "Caddy", NOT_INSTALLED)]
    goal = Goal(ours / caddy, _GOAL_CPU, "Caddy")
    beside = f"{count_of_caddy} names; it begins 10 orders in 10 s"
    return [
        *rows,
        Row(CPU, "Edgeward", 1e3 * ours, "ms", "supervisor, controller, node and Envoy", (goal,)),
        Row(CPU, "Caddy", 1e3 * caddy, "ms", beside),
    ]


def _ours(directory: Path, backend: int, authority: Authority, count: int) -> tuple[float, list[Row]]:
    """Give the CPU seconds for one certificate, and the rows."""
    unlimited = {"orders": None, "domain": None, "exact": None}
    acme = {
        "directory": authority.directory,
        "ca_file": str(authority.ca_file),
        "challenges": ["http-01"],
        "limits": unlimited,
    }
    more = {
        "listen": {"http": f"127.0.0.1:{authority.http_port}", "public": ["127.0.0.1"]},
        "issuers": [{"name": "pebble", "acme": acme}],
    }
    env = {"EDGEWARD_DNS_SERVERS": authority.dns}
    with edgeward(directory / "edgeward", backend, more=more, env=env) as running:
        _order(running, authority, "warm", 5)
        before, pebble_before, began = running.cpu(), authority.cpu(), time.monotonic()
        _order(running, authority, "name", count)
        took = time.monotonic() - began
        spent = {part: (cpu - before[part]) / count for part, cpu in running.cpu().items()}
        pebble_share = (authority.cpu() - pebble_before) / took
    parts = ", ".join(f"{part} {1e3 * spent[part]:.1f} ms" for part in ("controller", "node", "envoy"))
    note = f"{count} in {took:.1f} s, by http-01; {parts}; Pebble took {pebble_share:.0%} of a CPU"
    figure = count / took
    goal = Goal(_GOAL_A_SECOND / figure, 1.0, "20/s")
    return spent["all"], [Row(WHAT, "Edgeward", figure, "/s", note, (goal,))]


def _order(running: Edgeward, authority: Authority, prefix: str, count: int) -> None:
    wanted, issued = running.certificates() + count, authority.issued() + count
    domains = [{"name": f"{prefix}{n:04}.{_SUFFIX}", "issuer": "pebble"} for n in range(count)]
    body = {"source": f"file:{prefix}.yaml", "document": {"version": 1, "domains": domains}}
    running.ask("POST", "/v1/apply", body)
    until(lambda: _issued(authority, issued), 600, f"{count} orders", running.process.check)
    until(lambda: running.certificates() >= wanted, 60, f"{count} certificates", running.process.check)


def _issued(authority: Authority, wanted: int) -> bool:
    """Ask the authority, as for Caddy, now and then: our own answers cost the CPU that is measured."""
    time.sleep(0.25)
    return authority.issued() >= wanted


def _caddy(directory: Path, authority: Authority, count: int) -> float | None:
    """Give the CPU seconds for one certificate; None where Caddy is not installed."""
    binary = Path(sys.executable).with_name("caddy")
    if not binary.exists():
        return None
    challenges = {"http": {"alternate_port": authority.http_port}, "tls-alpn": {"disabled": True}}
    issuer = {
        "module": "acme",
        "ca": authority.directory,
        "trusted_roots_pem_files": [str(authority.ca_file)],
        "challenges": challenges,
    }
    names = [f"caddy{n:04}.{_SUFFIX}" for n in range(count)]
    tls = {"certificates": {"automate": names}, "automation": {"policies": [{"issuers": [issuer]}]}}
    config = directory / "caddy.json"
    admin = {"disabled": True, "config": {"persist": False}}
    config.write_text(json.dumps({"admin": admin, "apps": {"tls": tls}}))
    home = str(directory / "caddy")
    env = {"GOMAXPROCS": "1", "HOME": home, "XDG_DATA_HOME": home, "XDG_CONFIG_HOME": home}
    before = authority.issued()
    process = Process([binary, "run", "--config", config], directory / "caddy.log", env)
    try:
        until(lambda: authority.issued() - before >= count, 300, "Caddy's orders", process.check)
        return cpu_seconds(tree(process.pid)) / count
    finally:
        process.stop()


@contextmanager
def pebble(directory: Path) -> Iterator[Authority]:
    """Run Pebble, and the name server that leads every name to loopback."""
    port, management, dns, dns_management = free_ports(4)
    http_port, tls_port = free_ports(100)[-2:]  # nobody listens there yet: others are given higher ones
    ca = _loopback_certificate(directory)
    config = {
        "listenAddress": f"127.0.0.1:{port}",
        "managementListenAddress": f"127.0.0.1:{management}",
        "certificate": str(directory / "pebble.pem"),
        "privateKey": str(directory / "pebble.key"),
        "httpPort": http_port,
        "tlsPort": tls_port,
        "ocspResponderURL": "",
        "externalAccountBindingRequired": False,
    }
    path = directory / "pebble.json"
    path.write_text(json.dumps({"pebble": config}))
    unused = ["-http01", "", "-https01", "", "-tlsalpn01", "", "-defaultIPv6", ""]
    at = ["-dns01", f"127.0.0.1:{dns}", "-management", f"127.0.0.1:{dns_management}"]
    argv = ["pebble-challtestsrv", *at, "-defaultIPv4", "127.0.0.1", *unused]
    names = Process(argv, directory / "names.log")
    log = directory / "pebble.log"
    env = {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0", "PEBBLE_AUTHZREUSE": "0"}
    argv = ["pebble", "-config", str(path), "-dnsserver", f"127.0.0.1:{dns}"]
    process = Process(argv, log, env)
    try:
        until(lambda: _answers(management, ca), 30, "Pebble", process.check)
        directory_url = f"https://127.0.0.1:{port}/dir"
        yield Authority(process, log, directory_url, ca, f"127.0.0.1:{dns}", http_port)
    finally:
        process.stop()
        names.stop()


def _answers(management: int, ca: Path) -> bool:
    with suppress(OSError):
        context = ssl.create_default_context(cafile=ca)
        url = f"https://127.0.0.1:{management}/roots/0"
        with urllib.request.urlopen(url, context=context, timeout=2) as answer:
            return bool(answer.read())
    return False


def _loopback_certificate(directory: Path) -> Path:
    """Write a certificate for Pebble's own HTTPS; give the root it is trusted by."""
    root = new_root(time.time())
    signer = new_intermediate(root, time.time())
    leaf = LeafSigner(signer).sign(["localhost"], [ipaddress.IPv4Address("127.0.0.1")], 8.64e6, time.time())
    (directory / "pebble.pem").write_text(leaf.certificate + signer.pem)
    (directory / "pebble.key").write_text(leaf.key)
    ca = directory / "pebble-ca.pem"
    ca.write_text(root.pem)
    return ca
