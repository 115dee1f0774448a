"""Two customers of an edge, and the internet between, on one machine; everything goes when it ends.

Each is a network namespace with an IKE daemon (strongSwan), a web server at 192.168.4.10, and a DNS server.
They are somebody else's: what they say to their daemon they say in its own words.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import FrameType
from typing import NamedTuple, NoReturn

import vici

READY = "customers are there"
_MODULE = "edgeward.cli.demo.customers"
BRIDGE, EDGE = "ew-internet", "198.51.100.1"
_OTHERS = "ew-world"
"""The bridge of the other example, whose gateway is called as one of ours is."""
WEB, DNS = "192.168.4.10", "192.168.4.53"
FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
CHARON = "/usr/sbin/charon-systemd"
PLUGINS = (
    "random nonce openssl aes sha1 sha2 hmac kdf gcm gmp pem pkcs1 x509 pubkey constraints socket-default"
    " kernel-libipsec kernel-netlink vici"
)
PROPOSALS = {"ike": ["aes256gcm16-prfsha384-ecp384"], "esp": ["aes256gcm16-ecp384", "aes256gcm16"]}


class Customer(NamedTuple):
    name: str
    outside: str


CUSTOMERS = (Customer("berlin", "198.51.100.11"), Customer("paris", "198.51.100.12"))


def main() -> None:
    _check()
    with ExitStack() as stack:
        stack.enter_context(_alone())
        for link in (BRIDGE, *(_link(customer) for customer in CUSTOMERS)):
            _unlink(link)  # a killed one left it
        signal.signal(signal.SIGTERM, _end)
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="customers-")))
        _internet(stack)
        for customer in CUSTOMERS:
            _customer(stack, customer, place / customer.name)
        print(READY, flush=True)  # noqa: T201 - for who started it
        signal.pause()


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(0)


def _check() -> None:
    """Say beforehand why it cannot be."""
    if os.geteuid() != 0:
        raise SystemExit("only root makes network namespaces; run it with sudo")
    if not Path(CHARON).exists():
        raise SystemExit(f"there is no {CHARON}; apt install charon-systemd")
    if _is_there(_OTHERS):
        raise SystemExit(
            f"examples/site-to-site runs on this host (it has {_OTHERS}) and has a gateway default/berlin"
            " too: each would take the other's cables; end it first, or where a killed one left the link,"
            f" run: ip link del {_OTHERS}"
        )


def _alone() -> socket.socket:
    """Hold the name that is given once in a network, until this process ends, however it does."""
    held = socket.socket(socket.AF_UNIX)
    try:
        held.bind("\0edgeward-customers")
    except OSError:
        held.close()
        raise SystemExit("other customers, or a demo, run on this host already; end them first") from None
    return held


def _link(customer: Customer) -> str:
    return f"ew-{customer.name}-wan"


def _internet(stack: ExitStack) -> None:
    """Make a bridge on which the host has an address, and have the host forward for its gateways."""
    _ip(f"link add {BRIDGE} type bridge")
    stack.callback(_unlink, BRIDGE)
    _ip(f"address add {EDGE}/24 dev {BRIDGE}")
    _ip(f"link set {BRIDGE} up")
    before = FORWARDING.read_text()
    FORWARDING.write_text("1")
    stack.callback(FORWARDING.write_text, before)


def _customer(stack: ExitStack, customer: Customer, place: Path) -> None:
    place.mkdir()
    holder = _started(
        stack, "unshare", "--net", "sh", "-c", "ip link set lo up && echo up && exec sleep infinity"
    )
    assert holder.stdout is not None
    holder.stdout.readline()
    _ip(f"link add {_link(customer)} type veth peer name wan0 netns {holder.pid}")
    stack.callback(_unlink, _link(customer))  # what is half closed keeps a namespace for minutes
    _ip(f"link set {_link(customer)} master {BRIDGE} up")
    inside = ["nsenter", f"--net=/proc/{holder.pid}/ns/net"]
    for words in (
        f"address add {customer.outside}/24 dev wan0",
        "link set wan0 up",
        f"address add {WEB}/32 dev lo",
        f"address add {DNS}/32 dev lo",
    ):
        _done(*inside, "ip", *words.split())
    _started(stack, *inside, sys.executable, "-m", _MODULE, "serve", customer.name)
    _tunnel(stack, inside, customer, place)


def _tunnel(stack: ExitStack, inside: list[str], customer: Customer, place: Path) -> None:
    path = place / "charon.vici"
    configuration = place / "strongswan.conf"
    configuration.write_text(
        f"charon-systemd {{\n load = {PLUGINS}\n plugins {{ vici {{ socket = unix://{path} }} }}\n"
        f" filelog {{ charon {{ path = {place}/charon.log\n default = 1\n flush_line = yes }} }}\n}}\n"
    )
    _started(stack, *inside, CHARON, STRONGSWAN_CONF=str(configuration))
    session = _session(path)
    name = customer.name
    session.load_shared(
        {"id": name, "type": "ike", "data": f"only for this example, {name}",
         "owners": ["edge.example", f"{name}.example"]}
    )  # fmt: skip
    child = {"local_ts": ["192.168.4.0/24"], "remote_ts": ["10.77.0.0/24"], "esp_proposals": PROPOSALS["esp"]}
    session.load_conn(
        {name: {
            "version": "2", "proposals": PROPOSALS["ike"], "remote_addrs": ["%any"],
            "local": {"auth": "psk", "id": f"{name}.example"},
            "remote": {"auth": "psk", "id": "edge.example"},
            "children": {name: child},
        }}
    )  # fmt: skip


def _session(path: Path) -> vici.Session:
    end = time.monotonic() + 10
    while True:
        found = socket.socket(socket.AF_UNIX)
        try:
            found.connect(str(path))
            return vici.Session(found)
        except OSError:
            found.close()
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


# --- inside a customer's network -------------------------------------------------------------


def _serve(name: str) -> None:
    """Be the customer's web server and DNS server."""

    class Page(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = f"{name}: asked by {self.client_address[0]} for {self.headers.get('Host')}\n".encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    names.bind((DNS, 53))
    threading.Thread(target=_answer, args=(names,), daemon=True).start()
    ThreadingHTTPServer((WEB, 80), Page).serve_forever()


def _answer(names: socket.socket) -> None:
    """Say of every name, in RFC 1035's words, that its address is that of the web server."""
    while True:
        query, client = names.recvfrom(512)
        end = query.index(0, 12) + 5
        is_address = query[end - 4 : end - 2] == b"\0\1"
        record = (
            b"\xc0\x0c\0\1\0\1" + struct.pack("!IH", 60, 4) + socket.inet_aton(WEB) if is_address else b""
        )
        head = query[:2] + b"\x85\x80" + struct.pack("!HHHH", 1, is_address, 0, 0)
        names.sendto(head + query[12:end] + record, client)


# --- programs --------------------------------------------------------------------------------


def _ip(words: str) -> None:
    _done("ip", *words.split())


def _unlink(link: str) -> None:
    """Take a link away; one whose other end went with its namespace is gone already, or goes meanwhile."""
    done = subprocess.run(["ip", "link", "del", link], capture_output=True, timeout=20, check=False)  # noqa: S603, S607
    if done.returncode and _is_there(link):
        sys.stderr.buffer.write(done.stderr)


def _is_there(link: str) -> bool:
    """Tell of this process's network; what is mounted at /sys may be of another one."""
    return link in (name for _, name in socket.if_nameindex())


def _done(*argv: str) -> None:
    subprocess.run(argv, check=True, timeout=20)  # noqa: S603 - fixed argv, no shell


def _started(stack: ExitStack, *argv: str, **environment: str) -> subprocess.Popen[bytes]:
    """Start a program that is killed when this one dies."""
    argv = ("setpriv", "--pdeathsig", "KILL", *argv)
    environment = {**os.environ, **environment}
    program = subprocess.Popen(argv, stdout=subprocess.PIPE, env=environment)  # noqa: S603 - no shell

    def end() -> None:
        program.terminate()
        try:
            program.wait(5)
        except subprocess.TimeoutExpired:
            program.kill()
            program.wait()

    stack.callback(end)
    return program


def run() -> None:
    """Be there until SIGTERM or Ctrl-C; as root."""
    try:
        _serve(sys.argv[2]) if sys.argv[1:2] == ["serve"] else main()
    except KeyboardInterrupt:
        sys.exit(0)


if __name__ == "__main__":
    run()
