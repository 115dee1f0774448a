#!/usr/bin/env python3
"""A hundred customers' domains from a real ACME authority (Pebble) on this machine, renewed, with the
controller killed in the middle.

    .venv/bin/python examples/certificates/certificates.py          stays up until Ctrl-C, to look around
    .venv/bin/python examples/certificates/certificates.py --once   one round; exits with 1 where it failed

Everything listens on loopback and lives in one temporary directory. Needs Debian's `pebble`.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import ipaddress
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgeward.certificates.local.signing import LeafSigner, new_intermediate, new_root

EDGEWARD = str(Path(sys.executable).with_name("edgeward"))
PEBBLE, PEBBLE_MANAGEMENT = 21400, 21500
NAMES, NAMES_MANAGEMENT = 21053, 21055
HTTP, HTTPS, API, BACKEND = 21080, 21443, 21244, 21900
LIFE = 240
"""Seconds: so that renewals can be watched. Certificates this short are renewed at half their life."""
DOMAINS = [f"www.customer{number:03}.example" for number in range(1, 101)]


class World:
    """Pebble with the name server it asks, a backend, and Edgeward."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._running: list[subprocess.Popen[bytes]] = []
        self._trust = ssl.create_default_context(cadata=self._write_trust())
        self._log = directory / "pebble.log"

    def start(self) -> None:
        _say("Pebble, which issues for four minutes, and a name server that leads every name here")
        self._pebble()
        _serve_backend()
        _say("Edgeward, with the domains of a hundred customers")
        (self.directory / "edgeward.yaml").write_text(self._declaration())
        env = {"EDGEWARD_DNS_SERVERS": f"127.0.0.1:{NAMES}", "EDGEWARD_LOG_LEVEL": "warning"}
        env["EDGEWARD_USER"] = "root"  # where root starts it: nothing of it needs root, wherever it lies
        self._run(
            "edgeward", [EDGEWARD, "up", "-c", "edgeward.yaml", "--state-dir", "state", "--name", "edge"], env
        )
        until(lambda: (self.directory / "state/admin.token").exists(), 60, "the controller")
        until(lambda: self.status()["nodes"], 60, "the node")

    def stop(self) -> None:
        for process in reversed(self._running):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()

    # --- what is asked ------------------------------------------------------------------------

    def status(self) -> Any:
        return self.ask("/v1/status")

    def ask(self, path: str) -> Any:
        state = self.directory / "state"
        context = ssl.create_default_context(cafile=str(state / "ca/root.pem"))
        headers = {"Authorization": f"Bearer {(state / 'admin.token').read_text().strip()}"}
        request = urllib.request.Request(f"https://127.0.0.1:{API}{path}", headers=headers)
        with urllib.request.urlopen(request, context=context, timeout=10) as answer:
            return json.load(answer)

    def certificates(self) -> dict[str, str]:
        """Give the fingerprint of every name's certificate."""
        with contextlib.suppress(OSError, ValueError):
            return {c["name"]: c["fingerprint"] for c in self.ask("/v1/certificates?limit=1000")["items"]}
        return {}

    def command(self, *words: str) -> None:
        """Run a command of Edgeward's, and show it as one would type it."""
        print(f"\n$ edgeward {' '.join(words)}", flush=True)
        env = {**os.environ, "EDGEWARD_STATE_DIR": str(self.directory / "state"), "COLUMNS": "110"}
        subprocess.run([EDGEWARD, *words], env=env, check=False, timeout=60)

    def look_around(self) -> None:
        print(
            f"\nexport EDGEWARD_STATE_DIR={self.directory}/state; {EDGEWARD} status     Ctrl-C ends all of it"
        )
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()

    def show_logs(self) -> None:
        for log in sorted(self.directory.glob("*.log")):
            print(f"--- {log.name}\n{log.read_text(errors='replace')[-2000:]}", file=sys.stderr)

    def kill_controller(self) -> float:
        """Kill it as the kernel would; give after how many seconds another one answers."""
        began = time.monotonic()
        pid = self.status()["controller"]["pid"]
        os.kill(pid, signal.SIGKILL)

        def back() -> bool:
            with contextlib.suppress(OSError, ValueError):
                return bool(self.status()["controller"]["pid"] != pid)
            return False

        until(back, 60, "the controller's return")
        return time.monotonic() - began

    def orders(self) -> tuple[int, int]:
        """Give how many orders Pebble got, and how many certificates it issued, by its own log."""
        lines = self._log.read_text(errors="replace").splitlines()
        return sum("Added order" in line for line in lines), sum(
            "Issued certificate" in line for line in lines
        )

    def root(self) -> str:
        """Give the root of what it issues."""
        url = f"https://127.0.0.1:{PEBBLE_MANAGEMENT}/roots/0"
        with urllib.request.urlopen(url, context=self._trust, timeout=10) as answer:
            return str(answer.read().decode())

    # --- the parts ----------------------------------------------------------------------------

    def _pebble(self) -> None:
        config = {
            "listenAddress": f"127.0.0.1:{PEBBLE}",
            "managementListenAddress": f"127.0.0.1:{PEBBLE_MANAGEMENT}",
            "certificate": "pebble.pem",
            "privateKey": "pebble.key",
            "httpPort": HTTP,
            "tlsPort": HTTPS,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": False,
            "certificateValidityPeriod": LIFE,
        }
        (self.directory / "pebble.json").write_text(json.dumps({"pebble": config}))
        unused = [
            word for name in ("http01", "https01", "tlsalpn01", "defaultIPv6") for word in (f"-{name}", "")
        ]
        at = ["-dns01", f"127.0.0.1:{NAMES}", "-management", f"127.0.0.1:{NAMES_MANAGEMENT}"]
        self._run("names", ["pebble-challtestsrv", *at, "-defaultIPv4", "127.0.0.1", *unused])
        argv = ["pebble", "-strict", "-config", "pebble.json", "-dnsserver", f"127.0.0.1:{NAMES}"]
        env = {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "5", "PEBBLE_AUTHZREUSE": "0"}
        self._run("pebble", argv, env)
        until(self._has_root, 30, "Pebble")

    def _has_root(self) -> bool:
        with contextlib.suppress(OSError):
            return bool(self.root())
        return False

    def _write_trust(self) -> str:
        root = new_root(time.time())
        signer = new_intermediate(root, time.time())
        loopback = ipaddress.IPv4Address("127.0.0.1")
        leaf = LeafSigner(signer).sign(["localhost"], [loopback], 30 * 86400.0, time.time())
        (self.directory / "pebble-ca.pem").write_text(root.pem)
        (self.directory / "pebble.pem").write_text(leaf.certificate + signer.pem)
        (self.directory / "pebble.key").write_text(leaf.key)
        return root.pem

    def _declaration(self) -> str:
        domains = "".join(f"  - {{name: {name}, issuer: pebble}}\n" for name in DOMAINS)
        hosts = ", ".join(DOMAINS)
        return f"""version: 1
listen:
  http: "127.0.0.1:{HTTP}"
  https: "127.0.0.1:{HTTPS}"
  api: "127.0.0.1:{API}"
  access_log: "off"
  public: [127.0.0.1]
issuers:
  - name: pebble
    acme: {{directory: "https://127.0.0.1:{PEBBLE}/dir", ca_file: {self.directory}/pebble-ca.pem}}
domains:
{domains}services:
  - {{name: shop, backends: ["http://127.0.0.1:{BACKEND}"]}}
routes:
  - {{name: shop, hosts: [{hosts}], service: shop}}
"""

    def _run(self, name: str, argv: list[str], env: dict[str, str] | None = None) -> None:
        with (self.directory / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                argv,
                cwd=self.directory,
                env={**os.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
            )
        self._running.append(process)


class Visitors:
    """Go through all the names until they are told to end, trusting the authority's root alone."""

    def __init__(self, root: str) -> None:
        self._trust = ssl.create_default_context(cadata=root)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._go, daemon=True)
        self.served = 0
        self.failed: list[str] = []

    def begin(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._ending.set()
        self._thread.join(30)

    def visit(self, name: str) -> None:
        """Raise OSError or ValueError where the name is not served as it should be."""
        plain = socket.create_connection(("127.0.0.1", HTTPS), timeout=10)
        with plain, self._trust.wrap_socket(plain, server_hostname=name) as tls:
            tls.sendall(f"GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
            answer = http.client.HTTPResponse(tls)
            answer.begin()
            if answer.status != 200:
                raise ValueError(f"status {answer.status}")

    def _go(self) -> None:
        while not self._ending.is_set():
            for name in DOMAINS:
                try:
                    self.visit(name)
                    self.served += 1
                except (OSError, ValueError) as error:
                    self.failed.append(f"{name}: {error}")
                if self._ending.wait(0.02):
                    return


class Round:
    """What is to hold, one after the other, each with what came of it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.rows: list[tuple[str, bool, str]] = []

    def run(self) -> bool:
        world, began = self._world, time.monotonic()
        first = self._killed("issued", 30, lambda: world.certificates().keys() & set(DOMAINS))
        until(lambda: len(world.certificates()) >= len(DOMAINS), 120, "every certificate")
        took = time.monotonic() - began
        self._ordered(f"{len(DOMAINS)} certificates", took, len(DOMAINS))
        world.command("get", "certificates", "www.customer00*")
        visitors = Visitors(world.root())
        until(lambda: self._all_served(visitors), 60, "every name served")
        visitors.begin()
        issued = world.certificates()
        self._killed(
            "renewed", 30, lambda: [n for n, f in world.certificates().items() if issued.get(n) != f]
        )
        until(lambda: self._renewed(issued), LIFE, "every renewal")
        self._ordered("all of them renewed", time.monotonic() - began, 2 * len(DOMAINS))
        visitors.end()
        world.command("certificates", "history", DOMAINS[0])
        told = f"{visitors.served} over HTTPS while they were renewed, {len(visitors.failed)} failed"
        self.rows.append(("visits", not visitors.failed and first >= 0, told))
        return all(good for _, good, _ in self.rows)

    def _killed(self, what: str, count: int, done: Callable[[], Any]) -> float:
        """Kill the controller once so many are done, and see it go on."""
        until(lambda: len(done()) >= count, LIFE, f"{count} {what}")
        reached = len(done())
        took = self._world.kill_controller()
        _say(f"kill -9 of the controller with {reached} of {len(DOMAINS)} {what}")
        self.rows.append((f"kill -9 with {reached} {what}", True, f"another one answers after {took:.1f} s"))
        return took

    def _ordered(self, what: str, took: float, wanted: int) -> None:
        orders, issued = self._world.orders()
        told = f"after {took:.0f} s; {orders} orders at the authority, {issued} issued: none twice"
        self.rows.append((what, orders == issued == wanted, told))

    def _renewed(self, issued: dict[str, str]) -> bool:
        now = self._world.certificates()
        return len(now) == len(issued) and all(now[name] != issued[name] for name in issued)

    def _all_served(self, visitors: Visitors) -> bool:
        try:
            for name in DOMAINS:
                visitors.visit(name)
        except (OSError, ValueError):
            return False
        return True


def until(condition: Callable[[], Any], seconds: float, what: str) -> None:
    end = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError, ValueError):
            if condition():
                return
        if time.monotonic() > end:
            raise SystemExit(f"{what}: not within {seconds:g} s")
        time.sleep(0.1)


def _serve_backend() -> None:
    import http.server

    class Shop(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "6")
            self.end_headers()
            self.wfile.write(b"hello\n")

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", BACKEND), Shop)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def _say(text: str) -> None:
    print(f"· {text}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--once", action="store_true", help="one round, then end")
    options = parser.parse_args()
    if shutil.which("pebble") is None:
        raise SystemExit("there is no pebble; as root: apt-get install pebble")
    for port in (PEBBLE, PEBBLE_MANAGEMENT, NAMES_MANAGEMENT, HTTP, HTTPS, API, BACKEND):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                raise SystemExit(f"port {port} is taken: does another one run?  ss -ltnp 'sport = {port}'")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that all it started ends with it
    directory = Path(tempfile.mkdtemp(prefix="edgeward-certificates-", dir="/tmp"))
    world = World(directory)
    try:
        return _round(world, options.once)
    except SystemExit as ended:
        if isinstance(ended.code, str):  # something did not come about
            world.show_logs()
        raise
    finally:
        world.stop()
        shutil.rmtree(directory, ignore_errors=True)


def _round(world: World, once: bool) -> int:
    world.start()
    one = Round(world)
    good = one.run()
    print()
    for what, well, told in one.rows:
        print(f"{'✓' if well else '✗'} {what:28} {told}")
    if not once:
        world.look_around()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
