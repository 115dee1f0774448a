"""Sites in network namespaces with a router between them: cables, an IKE daemon at each, pings and a look at the wire.

Nothing has a name on the host: namespaces are held by a process each, and go with it.
"""

from __future__ import annotations

import ctypes
import functools
import ipaddress
import os
import select
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from edgeward.rootd.table import kernel
from tests.integration.processes import Process, running, until

IS_ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not IS_ROOT, reason="only root makes network namespaces")
CHARON = "/usr/sbin/charon-systemd"
PLUGINS = (
    "random nonce openssl aes des sha1 sha2 hmac kdf xcbc cmac ctr ccm gcm chapoly curve25519 gmp pem pkcs1 pkcs8 "
    "x509 pubkey revocation constraints socket-default kernel-libipsec kernel-netlink vici"
)
_CLONE_NEWNET = 0x40000000
_ETH_P_ALL = 3
_SO_ATTACH_FILTER, _SO_RCVBUFFORCE = 26, 33
_SOL_PACKET, _PACKET_STATISTICS = 263, 6
_WIRE_BYTES = 8 << 20
_NOT_LOOPBACK = b"".join(
    struct.pack("HBBI", *words)
    for words in (
        (0x20, 0, 0, 0xFFFFF008),  # load the interface's index: SKF_AD_OFF + SKF_AD_IFINDEX of linux/filter.h
        (0x15, 0, 1, 1),  # that of a namespace's loopback is 1
        (0x06, 0, 0, 0),  # nothing of it
        (0x06, 0, 0, 64),  # the heads of all others
    )
)
_libc = ctypes.CDLL(None, use_errno=True)


class Namespace:
    """A network namespace: whoever holds it is ``pid``."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def within(self, *argv: str | Path) -> list[str]:
        """Give the command that runs something inside."""
        return ["nsenter", f"--net=/proc/{self.pid}/ns/net", "--", *map(str, argv)]

    def run(self, *argv: str | Path) -> str:
        """Run a command inside; gives what it prints, raises AssertionError where it fails."""
        done = subprocess.run(self.within(*argv), capture_output=True, text=True, timeout=20)
        assert done.returncode == 0, f"{' '.join(map(str, argv))}: {done.stdout}{done.stderr}"
        return done.stdout

    def ip(self, words: str) -> str:
        return self.run("ip", *words.split())

    def inside(self, function: Callable[[], Any], seconds: float = 30) -> Any:
        """Call a function in a thread that is inside, and give its result."""

        def called() -> Any:
            with Path(f"/proc/{self.pid}/ns/net").open() as namespace:
                if _libc.setns(namespace.fileno(), _CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), "setns")
            return function()

        with ThreadPoolExecutor(1) as pool:
            return pool.submit(called).result(seconds)

    def socket(self, family: int, kind: int, protocol: int = 0) -> socket.socket:
        """Give a socket of this namespace, to be used from anywhere."""
        found: socket.socket = self.inside(lambda: socket.socket(family, kind, protocol))
        return found


class Charon:
    """A charon of a test's own, as root: ``socket`` is the path of its vici."""

    def __init__(self, process: Process, place: Path) -> None:
        self.process = process
        self.socket = place / "charon.vici"


class Site(Namespace):
    """One side: an address outside, and one of a network inside, which stands on loopback."""

    def __init__(self, pid: int, number: int, place: Path) -> None:
        super().__init__(pid)
        self.place = place
        self.outside, self.outside6 = f"198.51.{number}.2", f"2001:db8:{number}::2"
        self.router = f"198.51.{number}.1"
        self.inner, self.inner6 = f"10.{number}.0.1", f"fd00:{number}::1"
        self.network, self.network6 = f"10.{number}.0.0/24", f"fd00:{number}::/64"

    @contextmanager
    def charon(self, plugins: str = "") -> Iterator[Charon]:
        """Run a charon here until the block ends: a peer that is configured by vici alone."""
        plugins = plugins or PLUGINS.replace("kernel-libipsec ", "" if has_esp() else "kernel-libipsec ")
        self.place.mkdir(parents=True, exist_ok=True)
        socket_, conf = self.place / "charon.vici", self.place / "strongswan.conf"
        socket_.unlink(missing_ok=True)
        conf.write_text(
            f"charon-systemd {{\n load = {plugins}\n retransmit_tries = 3\n retransmit_timeout = 1\n"
            " retransmit_base = 1.4\n make_before_break = yes\n install_virtual_ip = no\n"
            " i_dont_care_about_security_and_use_aggressive_mode_psk = yes\n block_threshold = 500\n"
            " cookie_threshold = 100\n ikesa_table_size = 256\n ikesa_table_segments = 8\n"
            f" plugins {{ vici {{ socket = unix://{socket_} }} }}\n"
            f" filelog {{ charon {{ path = {self.place}/charon.log\n default = 1\n flush_line = yes }} }}\n}}\n"
        )
        with running(self.within(CHARON), env={"STRONGSWAN_CONF": str(conf)}) as process:
            until(lambda: _answers(socket_), what=f"charon answers; see {self.place}/charon.log")
            yield Charon(process, self.place)


class Wan:
    """A router, and what hangs on its cables."""

    def __init__(self, router: Namespace, place: Path, stack: ExitStack) -> None:
        self.router = router
        self.place = place
        self._stack = stack

    def site(self, number: int) -> Site:
        """Make a namespace with a cable to the router, ``wan0``, and its networks."""
        site = Site(self._stack.enter_context(_held()), number, self.place / f"site{number}")
        self.attach(site, number)
        site.ip(f"addr add {site.inner}/32 dev lo")
        site.ip(f"-6 addr add {site.inner6}/128 dev lo")
        return site

    def attach(self, namespace: Namespace, number: int, interface: str = "wan0") -> None:
        """Plug the cable of a site's number into any namespace: addresses and default routes too."""
        router, cable = self.router, f"site{number}"
        router.ip(f"link add {cable} type veth peer name {interface} netns {namespace.pid}")
        for where, name, last in ((router, cable, 1), (namespace, interface, 2)):
            where.ip(f"addr add 198.51.{number}.{last}/24 dev {name}")
            where.ip(f"-6 addr add 2001:db8:{number}::{last}/64 dev {name} nodad")
            where.ip(f"link set {name} up")
        namespace.ip(f"route add default via 198.51.{number}.1")
        namespace.ip(f"-6 route add default via 2001:db8:{number}::1")

    def cut(self, number: int) -> None:
        """Take the cable of a site's number down; nothing is told to anybody."""
        self.router.ip(f"link set site{number} down")

    def mend(self, number: int) -> None:
        self.router.ip(f"link set site{number} up")
        self.router.ip(f"-6 addr replace 2001:db8:{number}::1/64 dev site{number} nodad")


@contextmanager
def wide_area(place: Path) -> Iterator[Wan]:
    """Make the router; sites and cables go with it when the block ends."""
    with ExitStack() as stack:
        router = Namespace(stack.enter_context(_held()))
        for path in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
            router.run("sh", "-c", f"echo 1 > /proc/sys/{path.replace('.', '/')}")
        yield Wan(router, place, stack)


@contextmanager
def _held() -> Iterator[int]:
    """Hold a network namespace whose loopback is up; gives the pid of who holds it."""
    argv = ["unshare", "--net", "sh", "-c", "ip link set lo up && echo up && exec sleep 3600"]
    holder = subprocess.Popen(argv, stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"up\n"
        yield holder.pid
    finally:
        holder.kill()
        holder.wait()
        if holder.stdout is not None:
            holder.stdout.close()


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as asking:
        try:
            asking.connect(str(path))
        except OSError:
            return False
    return True


class Pings:
    """What came of pings: each is known by its number."""

    def __init__(self) -> None:
        self.sent = 0
        self.back: set[int] = set()

    @property
    def lost(self) -> int:
        return self.sent - len(self.back)


@contextmanager
def pinging(
    site: Namespace, source: str, target: str, every: float = 0.02, most: int = 1_000_000
) -> Iterator[Pings]:
    """Ping (ICMP, IPv4 or IPv6) in the background until the block ends; the last have two seconds to come."""
    seen, ended = Pings(), threading.Event()
    six = ":" in target
    family = socket.AF_INET6 if six else socket.AF_INET
    raw = site.socket(family, socket.SOCK_RAW, socket.IPPROTO_ICMPV6 if six else socket.IPPROTO_ICMP)
    raw.bind((source, 0))
    raw.setblocking(False)

    def go() -> None:
        following, end = time.monotonic(), 0.0
        while not end or time.monotonic() < end:
            if ended.is_set() and not end:
                end = time.monotonic() + 2
            if not end and time.monotonic() >= following and seen.sent < most:
                following += every
                _send(raw, target, seen)
            select.select([raw], [], [], min(every, 0.02) / 2)
            _receive(raw, six, seen)
            if end and not seen.lost:
                break

    thread = threading.Thread(target=go, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join(30)
        raw.close()


def ping(site: Namespace, source: str, target: str, count: int = 3, every: float = 0.02) -> int:
    """Give how many of some pings are lost."""
    with pinging(site, source, target, every, count) as seen:
        until(lambda: seen.sent == count, what=f"{count} pings are sent")
    return seen.lost


def _send(raw: socket.socket, target: str, seen: Pings) -> None:
    kind, mark = (128, 0) if ":" in target else (8, 0)
    body = struct.pack("!HH", 0x4557, seen.sent & 0xFFFF) + b"edgeward-plain-text!"
    packet = struct.pack("!BBH", kind, mark, _checksum(struct.pack("!BBH", kind, mark, 0) + body)) + body
    seen.sent += 1
    try:
        raw.sendto(packet, (target, 0))
    except OSError:  # no route, or a rule that refuses: lost
        return


def _receive(raw: socket.socket, six: bool, seen: Pings) -> None:
    while True:
        try:
            packet = raw.recv(2048)
        except OSError:
            return
        said = packet if six else packet[(packet[0] & 15) * 4 :]
        if said[0] == (129 if six else 0) and said[4:6] == b"\x45\x57":
            seen.back.add(int.from_bytes(said[6:8]))


def _checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


@contextmanager
def wire(namespace: Namespace, interface: str, *networks: str) -> Iterator[list[str]]:
    """Watch a cable: gives ``SOURCE > TARGET`` of each packet from or to these networks that passes in clear.

    A blank interface stands for all that the namespace has, and will have, but its loopback.
    """
    inside = [ipaddress.ip_network(network) for network in networks]
    protocol = 0 if interface else socket.htons(_ETH_P_ALL)
    raw = namespace.socket(socket.AF_PACKET, socket.SOCK_RAW, protocol)
    program = ctypes.create_string_buffer(_NOT_LOOPBACK)
    filter_ = struct.pack("HL", len(_NOT_LOOPBACK) // 8, ctypes.addressof(program))
    raw.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, filter_)
    raw.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _WIRE_BYTES)
    if interface:
        namespace.inside(lambda: raw.bind((interface, _ETH_P_ALL)))
    raw.settimeout(0.05)
    seen: list[str] = []
    ended = threading.Event()

    def go() -> None:
        while not ended.is_set():
            try:
                ends = _ends(raw.recv(4096))
            except OSError:
                continue
            if any(end in network for end in ends for network in inside):
                seen.append(" > ".join(map(str, ends)))

    thread = threading.Thread(target=go, daemon=True)
    thread.start()
    try:
        yield seen
        time.sleep(0.1)
    finally:
        ended.set()
        thread.join(30)
        missed = struct.unpack("II", raw.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))[1]
        raw.close()
    assert missed == 0, f"{missed} packets passed unseen"


def _ends(frame: bytes) -> tuple[Any, ...]:
    kind = int.from_bytes(frame[12:14])
    if kind == 0x0800:
        return ipaddress.ip_address(frame[26:30]), ipaddress.ip_address(frame[30:34])
    if kind == 0x86DD:
        return ipaddress.ip_address(frame[22:38]), ipaddress.ip_address(frame[38:54])
    return ()


@functools.cache
def has_esp() -> bool:
    """Tell whether this kernel does ESP itself."""
    with _held() as pid:
        return bool(Namespace(pid).inside(kernel.has_esp))


def has_charon() -> bool:
    return shutil.which(CHARON) is not None
