#!/usr/bin/env python3
"""PostgreSQL, two controllers and three nodes on this machine, and what they lose while visitors come.

    .venv/bin/python examples/fleet/fleet.py          stays up until Ctrl-C, with the commands to try
    .venv/bin/python examples/fleet/fleet.py --once   one round; exits with 1 where anything was lost

Everything listens on loopback and lives in one temporary directory. As root the third node runs in a
network namespace of its own, so that its network to the controllers can be cut.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import http.client
import http.server
import json
import os
import pwd
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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

EDGEWARD = str(Path(sys.executable).with_name("edgeward"))
CONTROLLERS = {"c1": 22443, "c2": 22444}
NODES = {"n1": 28441, "n2": 28442, "n3": 28443}
POSTGRES_PORT = 25432
BACKEND_PORT = 29000
SPACE = "edgeward-fleet"
# The third node's networks, of the range for benchmarks (RFC 2544): to the controllers, and to visitors.
CONTROL = ("198.18.0.1", "198.18.0.2")
PUBLIC = ("198.18.0.5", "198.18.0.6")


class Fleet:
    """Starts everything, keeps it running as systemd would, and ends it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.apart = os.geteuid() == 0 and shutil.which("ip") is not None
        self._running: dict[str, tuple[Callable[[], subprocess.Popen[bytes]], subprocess.Popen[bytes]]] = {}
        self._ending = threading.Event()
        self._watch: threading.Thread | None = None

    # --- the parts ---------------------------------------------------------------------------

    def start(self) -> None:
        step("PostgreSQL")
        self._start_postgres()
        if self.apart:
            self._make_space()
        self._start_backend()
        for name in CONTROLLERS:
            step(f"controller {name}")
            self._start_controller(name)
        step("what is declared")
        self._declare()
        pin = self._pin()
        token = json.loads(self._edgeward("token", "create", "fleet", "--role", "node", "-o", "json"))[
            "token"
        ]
        for name in NODES:
            step(f"node {name}")
            self._start_node(name, pin, token)
        self._edgeward("token", "revoke", "fleet")
        self._watch = threading.Thread(target=self._restart_what_dies, daemon=True)
        self._watch.start()

    def address(self, node: str) -> tuple[str, int]:
        """Where visitors reach a node."""
        return (PUBLIC[1] if node == "n3" and self.apart else "127.0.0.1", NODES[node])

    def pid(self, name: str) -> int:
        return self._running[name][1].pid

    def _start_postgres(self) -> None:
        data, binaries = self.directory / "postgres", _postgres_binaries()
        data.mkdir(mode=0o700)
        options = "-c fsync=on -c unix_socket_directories='' -c listen_addresses=127.0.0.1"
        self._as = {}
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            user = pwd.getpwnam("postgres" if _is_user("postgres") else "nobody")
            os.chown(data, user.pw_uid, user.pw_gid)
            self.directory.chmod(0o711)
            self._as = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        argv = [binaries / "initdb", "-D", data, "-U", "edgeward", "-A", "trust", "--no-instructions"]
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, timeout=120, cwd="/", **self._as)
        self._postgres = [binaries / "pg_ctl", "-D", data, "-w", "-t", "60"]
        self._postgres_start = ["-l", data / "log", "-o", f"{options} -p {POSTGRES_PORT}", "start"]
        self.postgres("start")
        argv = [
            binaries / "createdb",
            "-h",
            "127.0.0.1",
            "-p",
            str(POSTGRES_PORT),
            "-U",
            "edgeward",
            "edgeward",
        ]
        subprocess.run(argv, check=True, timeout=60)

    def postgres(self, what: str) -> None:
        """``start``, ``stop`` (immediate: as if the power failed), ``pause`` or ``resume``."""
        if what in ("pause", "resume"):
            number = signal.SIGSTOP if what == "pause" else signal.SIGCONT
            leader = int((self.directory / "postgres/postmaster.pid").read_text().split()[0])
            for pid in [leader, *_children(leader)]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            return
        words = self._postgres_start if what == "start" else ["-m", "immediate", "stop"]
        argv = [*self._postgres, *words]
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, timeout=90, cwd="/", **self._as)

    def _make_space(self) -> None:
        self._remove_space()
        _ip("netns", "add", SPACE)
        for link, (ours, theirs) in (("ewcontrol", CONTROL), ("ewpublic", PUBLIC)):
            _ip("link", "add", link, "type", "veth", "peer", "name", f"{link}1", "netns", SPACE)
            _ip("address", "add", f"{ours}/30", "dev", link)
            _ip("link", "set", link, "up")
            _ip("-n", SPACE, "address", "add", f"{theirs}/30", "dev", f"{link}1")
            _ip("-n", SPACE, "link", "set", f"{link}1", "up")
        _ip("-n", SPACE, "link", "set", "lo", "up")

    def _remove_space(self) -> None:
        for argv in (
            ("netns", "delete", SPACE),
            ("link", "delete", "ewcontrol"),
            ("link", "delete", "ewpublic"),
        ):
            subprocess.run(["ip", *argv], stderr=subprocess.DEVNULL, timeout=30)

    def _start_backend(self) -> None:
        for host in ["127.0.0.1", *([PUBLIC[0]] if self.apart else [])]:
            server = _BackendServer((host, BACKEND_PORT), _Backend)
            threading.Thread(target=server.serve_forever, daemon=True).start()

    def _start_controller(self, name: str) -> None:
        state = self.directory / name
        state.mkdir(mode=0o700)
        if name != "c1":  # every controller opens what the others sealed
            shutil.copy2(self.directory / "c1/seal.key", state / "seal.key")
        addresses = ["127.0.0.1", *([CONTROL[0]] if self.apart else [])]
        apis = [word for host in addresses for word in ("--api", f"{host}:{CONTROLLERS[name]}")]
        database = f"postgresql://edgeward@127.0.0.1:{POSTGRES_PORT}/edgeward"
        argv = [EDGEWARD, "controller", "--state-dir", str(state), *apis]
        self._run(name, argv, {"EDGEWARD_DATABASE": database})
        until(lambda: self.ready(name), 60, f"{name} ready")

    def _declare(self) -> None:
        """Say what is served; the file is also what a person would write."""
        file = self.directory / "fleet.yaml"
        listen = {n: {"https": ":".join(map(str, self.address(n)))} for n in NODES}
        near = f"http://127.0.0.1:{BACKEND_PORT}"
        far = f"http://{PUBLIC[0]}:{BACKEND_PORT}" if self.apart else near
        hosts = ["shop.example", "*.customers.example"]
        document = {
            "version": 1,
            "listen": {"access_log": "off", "nodes": listen},
            "domains": [{"name": hosts[0]}, {"name": hosts[1], "on_demand": True}],
            "services": [{"name": "near", "backends": [near]}, {"name": "far", "backends": [far]}],
            "routes": [
                {"name": "near", "hosts": hosts, "service": "near", "nodes": {"name": ["n1", "n2"]}},
                {"name": "far", "hosts": hosts, "service": "far", "nodes": {"name": "n3"}},
            ],
        }
        file.write_text(json.dumps(document, indent=1))  # JSON is YAML, too
        self._edgeward("apply", "-f", str(file))

    def _pin(self) -> str:
        pem = (self.directory / "c1/ca/root.pem").read_text()
        first = pem[: pem.index("-----END CERTIFICATE-----") + 26]
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(first)).hexdigest()

    def _start_node(self, name: str, pin: str, token: str) -> None:
        state = str(self.directory / name)
        host = CONTROL[0] if name == "n3" and self.apart else "127.0.0.1"
        inside = ["ip", "netns", "exec", SPACE] if name == "n3" and self.apart else []
        urls = [word for port in CONTROLLERS.values() for word in ("--controller", f"https://{host}:{port}")]
        node = [*inside, EDGEWARD, "node", "--state-dir", state, "--name", name, *urls, "--ca-sha256", pin]
        self._run(f"{name}/node", node, {"EDGEWARD_JOIN": token})
        until(lambda: (self.directory / name / "node/identity.json").exists(), 30, f"{name} joined")
        envoy = [*inside, EDGEWARD, "envoy", "--state-dir", state, "--node-name", name, "--concurrency", "1"]
        self._run(f"{name}/envoy", envoy, {})

    # --- running, asking, ending -----------------------------------------------------------------

    def _run(self, name: str, argv: list[str], environment: dict[str, str]) -> None:
        log = self.directory / f"{name.replace('/', '-')}.log"

        def begin() -> subprocess.Popen[bytes]:
            with log.open("ab") as output:
                return subprocess.Popen(
                    argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                    env={**os.environ, **environment}, start_new_session=True,
                )  # fmt: skip

        self._running[name] = (begin, begin())

    def _restart_what_dies(self) -> None:
        while not self._ending.wait(0.2):
            for name, (begin, process) in list(self._running.items()):
                if process.poll() is not None and not self._ending.is_set():
                    self._running[name] = (begin, begin())

    def kill(self, name: str) -> None:
        os.kill(self.pid(name), signal.SIGKILL)

    def _edgeward(self, *words: str, controller: str = "c1") -> str:
        argv = [EDGEWARD, *words, "--state-dir", str(self.directory / controller)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120)
        if done.returncode != 0:
            raise RuntimeError(f"edgeward {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    def ready(self, controller: str) -> bool:
        try:
            self.ask(controller, "GET", "/readyz")
        except (OSError, urllib.error.URLError):
            return False
        return True

    def ask(self, controller: str, method: str, path: str, body: Any = None) -> Any:
        """Ask a controller's API; raises urllib.error.URLError."""
        token = self.directory / "c1/admin.token"
        headers = {"content-type": "application/json"}
        if token.exists():
            headers["authorization"] = f"Bearer {token.read_text().strip()}"
        url = f"https://127.0.0.1:{CONTROLLERS[controller]}{path}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=10, context=self.trust()) as answer:
            text = answer.read()
            return json.loads(text) if text.startswith(b"{") else text

    def trust(self) -> ssl.SSLContext:
        file = self.directory / "c1/ca/root.pem"
        return ssl.create_default_context(cafile=str(file)) if file.exists() else ssl.create_default_context()

    def end(self) -> None:
        self._ending.set()
        if self._watch is not None:
            self._watch.join(5)
        for _, process in self._running.values():
            process.terminate()
        for _, process in self._running.values():
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
        with contextlib.suppress(OSError, AttributeError, subprocess.SubprocessError):
            self.postgres("resume")
            self.postgres("stop")
        if self.apart:
            self._remove_space()


class Visitors:
    """Visits every node again and again, verified, and keeps what failed."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._context = fleet.trust()
        self._ending = threading.Event()
        self.served = dict.fromkeys(NODES, 0)
        self.failed: dict[str, list[str]] = {name: [] for name in NODES}
        self._threads = [threading.Thread(target=self._go, args=(name,), daemon=True) for name in NODES]

    def begin(self) -> None:
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join(10)

    def _go(self, node: str) -> None:
        names = ["shop.example", *(f"known{i}.customers.example" for i in range(5))]
        turn = 0
        while not self._ending.wait(0.05):
            name = names[turn % len(names)]
            turn += 1
            try:
                self.visit(node, name)
                self.served[node] += 1
            except (OSError, ValueError) as error:
                self.failed[node].append(f"{time.strftime('%H:%M:%S')} {name}: {error}")

    def visit(self, node: str, name: str, timeout: float = 10.0) -> str:
        """Visit, and give the certificate's serial number; raises OSError or ValueError."""
        with (
            socket.create_connection(self._fleet.address(node), timeout=timeout) as plain,
            self._context.wrap_socket(plain, server_hostname=name) as tls,
        ):
            tls.sendall(f"GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
            answer = http.client.HTTPResponse(tls)
            answer.begin()
            if answer.status != 200:
                raise ValueError(f"status {answer.status}")
            certificate = tls.getpeercert()
            return str(certificate["serialNumber"]) if certificate else ""


class Writers:
    """Declares one domain after the other, at the controllers by turns; keeps what was acknowledged."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._ending = threading.Event()
        self.acknowledged: list[str] = []
        self.refused = 0
        self._thread = threading.Thread(target=self._go, daemon=True)

    def begin(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._ending.set()
        self._thread.join(30)

    def _go(self) -> None:
        number = 0
        while not self._ending.wait(0.1):
            number += 1
            name = f"written{number}.example"
            controller = tuple(CONTROLLERS)[number % 2]
            try:
                self._fleet.ask(controller, "PUT", f"/v1/domains/{name}", {"on_demand": True})
                self.acknowledged.append(name)
            except OSError:
                self.refused += 1  # told that it was not done, or not told at all: both are honest


class Round:
    """The losses, one after the other, each with what came of it."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._visitors = Visitors(fleet)
        self._writers = Writers(fleet)
        self._new = 0
        self.rows: list[tuple[str, bool, str]] = []

    def run(self) -> bool:
        fleet, visitors = self._fleet, self._visitors
        for node in NODES:
            until(lambda node=node: self._visits(node, "shop.example"), 60, f"{node} serves")
            for number in range(5):
                visitors.visit(node, f"known{number}.customers.example")
        visitors.begin()
        self._writers.begin()
        self._loss("kill -9 of a controller", lambda: fleet.kill("c1"))
        self._loss("kill -9 of the other controller", lambda: fleet.kill("c2"))
        self._loss("kill -9 of a node (not its Envoy)", lambda: fleet.kill("n1/node"))
        self._loss("another Envoy takes over on a node", self._restart_envoy)
        self._loss("PostgreSQL stopped at once, back after 3 s", lambda: self._without_postgres(3.0))
        self._loss("PostgreSQL paused for 5 s", self._paused_postgres)
        if fleet.apart:
            self._loss("a node cut off from both controllers for 20 s", self._cut_off)
        else:
            self.rows.append(
                ("a node cut off from both controllers", True, "left out: needs root, for network namespaces")
            )
        self._writers.end()
        visitors.end()
        self._nothing_lost()
        return all(good for _, good, _ in self.rows)

    def _loss(self, what: str, do: Callable[[], None]) -> None:
        step(what)
        before = sum(self._visitors.served.values()), sum(map(len, self._visitors.failed.values()))
        began = time.monotonic()
        do()
        serial = self._new_name_everywhere()
        took = time.monotonic() - began
        until(lambda: all(map(self._fleet.ready, CONTROLLERS)), 60, "both controllers ready")
        time.sleep(max(0.0, began + 4 - time.monotonic()))
        served = sum(self._visitors.served.values()) - before[0]
        failed = sum(map(len, self._visitors.failed.values())) - before[1]
        told = f"{served} visits, {failed} failed; a new name on every node after {took:.1f} s"
        good = failed == 0 and len(serial) == 1
        if len(serial) != 1:
            told += f"; {len(serial)} certificates for one name"
        self.rows.append((what, good, told))

    def _new_name_everywhere(self) -> set[str]:
        """Have a name that nobody asked for yet served by all nodes at once; gives its certificates."""
        self._new += 1
        name = f"new{self._new}.customers.example"
        found: set[str] = set()

        def visit(node: str) -> None:
            end = time.monotonic() + 60
            while time.monotonic() < end:
                try:
                    found.add(self._visitors.visit(node, name))
                    return
                except (OSError, ValueError):
                    time.sleep(0.2)
            found.add(f"not served by {node}")

        threads = [threading.Thread(target=visit, args=(node,)) for node in NODES]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return found

    def _visits(self, node: str, name: str) -> bool:
        try:
            self._visitors.visit(node, name)
        except (OSError, ValueError):
            return False
        return True

    def _restart_envoy(self) -> None:
        argv = [EDGEWARD, "envoy", "restart", "--state-dir", str(self._fleet.directory / "n2")]
        subprocess.run(argv, check=True, timeout=90, capture_output=True)

    def _without_postgres(self, seconds: float) -> None:
        self._fleet.postgres("stop")
        time.sleep(seconds)
        self._fleet.postgres("start")

    def _paused_postgres(self) -> None:
        self._fleet.postgres("pause")
        time.sleep(5)
        self._fleet.postgres("resume")

    def _cut_off(self) -> None:
        _ip("link", "set", "ewcontrol", "down")
        time.sleep(20)
        _ip("link", "set", "ewcontrol", "up")

    def _nothing_lost(self) -> None:
        step("what was acknowledged, at both controllers and on every node")
        fleet, acknowledged = self._fleet, self._writers.acknowledged
        until(lambda: all(map(fleet.ready, CONTROLLERS)), 60, "both controllers ready")
        for controller in CONTROLLERS:
            there = set(self._domains(controller))
            lost = [name for name in acknowledged if name not in there]
            told = f"{len(acknowledged)} acknowledged, {len(lost)} lost, {self._writers.refused} not taken"
            self.rows.append((f"changes, at {controller}", not lost and bool(acknowledged), told))
        revision = self._revision()
        began = time.monotonic()
        with contextlib.suppress(RuntimeError):
            until(lambda: not self._behind(revision), 60, "every node")
        behind = self._behind(revision)
        told = f"revision {revision} in force after {time.monotonic() - began:.1f} s"
        self.rows.append(("all nodes", not behind, f"behind: {', '.join(behind)}" if behind else told))
        for node, failures in self._visitors.failed.items():
            for failure in failures[:5]:
                print(f"  failed visit of {node}: {failure}", file=sys.stderr)

    def _behind(self, revision: int) -> list[str]:
        nodes = self._fleet.ask("c2", "GET", f"/v1/wait?revision={revision}&timeout=0")["nodes"]
        there = {node["name"] for node in nodes if node["connected"] and node["revision"] >= revision}
        return sorted(NODES.keys() - there)

    def _revision(self) -> int:
        return int(self._fleet.ask("c1", "GET", "/v1/status")["revision"])

    def _domains(self, controller: str) -> Iterator[str]:
        after = ""
        while True:
            path = f"/v1/domains?limit=1000{'&after=' + after if after else ''}"
            page = self._fleet.ask(controller, "GET", path)
            yield from (item["name"] for item in page["items"])
            after = page["next"]
            if not after:
                return


class _BackendServer(http.server.ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Say nothing of connections that a restarted Envoy left."""


class _Backend(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = b"It works.\n"
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def _postgres_binaries() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[4]))
    elsewhere = shutil.which("initdb")
    if found:
        return found[-1].parent
    if elsewhere:
        return Path(elsewhere).parent
    raise SystemExit("fleet: there is no PostgreSQL; apt-get install postgresql")


def _is_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _children(pid: int) -> list[int]:
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, timeout=30)


def until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError(f"{what}: not within {seconds:g} s; the logs are in the directory above")
        time.sleep(0.1)


def step(what: str) -> None:
    print(f"{what} …", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--once", action="store_true", help="end after one round")
    options = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="edgeward-fleet-"))
    print(f"everything is in {directory}")
    fleet = Fleet(directory)
    good = False
    try:
        fleet.start()
        round_ = Round(fleet)
        good = round_.run()
        width = max(len(what) for what, _, _ in round_.rows)
        print()
        for what, well, told in round_.rows:
            print(f"{'✓' if well else '✗'} {what:<{width}}  {told}")
        if not options.once:
            print(f"\nTry: {EDGEWARD} status --state-dir {directory}/c1\nCtrl-C ends it.")
            signal.pause()
    except KeyboardInterrupt:
        print()
    finally:
        step("Ending")
        fleet.end()
        if good:
            shutil.rmtree(directory, ignore_errors=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
