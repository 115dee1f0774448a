"""What the demo is played with: backends, a name server and `edgeward up`, all on loopback."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeward.cli.demo import authority, rooted
from edgeward.cli.demo.authority import Authority
from edgeward.cli.demo.declared import MOVING_BACKEND, NEW_PLACE, OLD_PLACE, ORDERED, declaration, ordered
from edgeward.cli.demo.names import Names
from edgeward.cli.demo.rooted import Rooted
from edgeward.launcher import files
from edgeward.launcher.child import Child, stop

_ENDING_SECONDS = 25.0


@dataclass(frozen=True)
class Ports:
    http: int
    https: int
    api: int
    backend: int


@dataclass(frozen=True)
class World:
    """Everything the steps of the demo need; ``ended`` is done once `edgeward up` has ended."""

    directory: Path
    ports: Ports
    names: Names
    process: Child
    ended: asyncio.Task[int]
    more: dict[str, list[Any]]
    """What is declared beyond what always is, by section."""
    others: list[Child]
    """Programs beside, that end with the demo."""
    authority: Authority | None
    """None: Pebble is not installed."""
    rooted: Rooted | None
    """None: the demo shows what needs no root."""
    left_out: str
    """Why there is nothing that needs root, and what to do."""

    @property
    def state(self) -> Path:
        return self.directory / "state"

    @property
    def root(self) -> Path:
        return self.state / "ca/root.pem"

    def is_ready(self) -> bool:
        return self.ended.done() or bool(files.read_json(self.state / "up.json").get("ready"))

    def program(self, name: str) -> dict[str, Any]:
        """Give what up.json says of a program; empty where it says nothing."""
        programs = files.read_json(self.state / "up.json").get("programs", [])
        return next((p for p in programs if p["name"] == name), {})

    def envoy_pid(self) -> int:
        return int(files.read_json(self.state / "node/envoy.json").get("pid") or 0)

    def declare(self, **more: list[Any]) -> None:
        """Declare more in these sections, and tell `edgeward up` with SIGHUP."""
        for section, items in more.items():
            self.more[section] = [*items, *self.more.get(section, ())]
        self._tell()

    def forget(self, *sections: str) -> None:
        """Declare no more than always in these sections."""
        for section in sections:
            self.more.pop(section, None)
        self._tell()

    async def leave_no_tunnel(self) -> None:
        """Tunnels outlive who started them: have them end, before rootd does."""
        if self.rooted is None or self.ended.done() or not self.rooted.namespaces():
            return
        self.forget("vpn", "services", "routes")
        with suppress(TimeoutError):
            await until(self._has_none, _ENDING_SECONDS, "the end of the tunnels")

    async def _has_none(self) -> bool:
        return self.rooted is None or not self.rooted.namespaces()

    def _tell(self) -> None:
        write_declaration(self.directory, self.ports, self.more)
        self.process.send(signal.SIGHUP)

    def log_tail(self, lines: int = 30) -> list[str]:
        with suppress(OSError):
            return _log(self.directory).read_text(errors="replace").splitlines()[-lines:]
        return []


async def until(condition: Callable[[], Awaitable[object]], timeout: float, what: str) -> float:
    """Ask every 20 ms; give the seconds it took, or raise TimeoutError saying what did not happen."""
    start = time.monotonic()
    while not await condition():
        if time.monotonic() - start > timeout:
            raise TimeoutError(f"{what} did not happen within {timeout:g} s")
        await asyncio.sleep(0.02)
    return time.monotonic() - start


def write_declaration(directory: Path, ports: Ports, more: Mapping[str, list[Any]]) -> None:
    declared = declaration(ports.http, ports.https, ports.api, ports.backend, more)
    draft = directory / ".edgeward.yaml"
    draft.write_text(json.dumps(declared, indent=1))  # all JSON is YAML
    draft.replace(directory / "edgeward.yaml")


@asynccontextmanager
async def opened() -> AsyncIterator[World]:
    """Start everything; at the end stop it and remove its directory."""
    directory = Path(tempfile.mkdtemp(prefix="edgeward-demo-", dir=_short_directory()))
    left_out, by_root = _with_root(directory)
    ports = _ports(below_1024=by_root is not None)
    servers = [await asyncio.start_server(_backend_at(p), p, ports.backend) for p in (OLD_PLACE, NEW_PLACE)]
    transport, names = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: Names({MOVING_BACKEND: OLD_PLACE}), local_addr=("127.0.0.1", 0)
    )
    dns = transport.get_extra_info("sockname")[1]
    others: list[Child] = []
    try:
        found = await authority.started(
            directory / "authority", (free_port(), free_port()), ports.http, ports.https, dns
        )
        others += [] if found is None else [found.process]
        more = {} if found is None else ordered(found.directory, str(found.ca_file))
        names.addresses |= {} if found is None else {ORDERED: OLD_PLACE}
        write_declaration(directory, ports, more)
        process = _start(directory, dns, {} if by_root is None else by_root.environment)
        ended = asyncio.create_task(process.wait())
        world = World(directory, ports, names, process, ended, more, others, found, by_root, left_out)
        try:
            yield world
        finally:
            await world.leave_no_tunnel()
            await stop(process, ended, _ENDING_SECONDS)
    finally:
        for other in others:
            await stop(other, asyncio.create_task(other.wait()), _ENDING_SECONDS)
        transport.close()
        for server in servers:
            server.close()
        shutil.rmtree(directory, ignore_errors=True)


def _with_root(directory: Path) -> tuple[str, Rooted | None]:
    """Give why nothing that needs root is shown, or what that is done with."""
    if os.geteuid() == 0:
        directory.chmod(0o711)  # for the user as whom all but rootd goes on
    left_out = rooted.missing(directory)
    return left_out, None if left_out else rooted.made(directory / "root")


def _ports(*, below_1024: bool) -> Ports:
    http, https = (free_port(80), free_port(443)) if below_1024 else (free_port(8080), free_port(8443))
    return Ports(http, https, free_port(2443), free_port())


def _start(directory: Path, dns_port: int, environment: Mapping[str, str]) -> Child:
    with _log(directory).open("ab") as log:
        return Child.start(
            [
                sys.executable, "-P", "-m", "edgeward.cli", "up", "--name", "demo",
                "--config", str(directory / "edgeward.yaml"), "--state-dir", str(directory / "state"),
            ],
            # without rootd nothing of it needs root, and it is to run wherever it was cloned to
            env={
                **os.environ, "EDGEWARD_USER": "root", "EDGEWARD_DNS_SERVERS": f"127.0.0.1:{dns_port}",
                **environment,
            },
            orphaned=signal.SIGTERM,
            output=log.fileno(),
        )  # fmt: skip


def _log(directory: Path) -> Path:
    return directory / "edgeward.log"


def _backend_at(place: str) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    body = f"Hello from the backend at {place}\n".encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n".encode()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(head + body)
                await writer.drain()
        writer.close()

    return answer


def free_port(wanted: int = 0) -> int:
    """Give ``wanted`` where it is free on loopback, else another port that is.

    Not one of those the kernel gives to outgoing connections: while a program is being started
    again, a visitor's own end could take its port.
    """
    for port in (*([wanted] if wanted else []), *random.sample(range(10_000, 30_000), 100)):
        with socket.socket() as trial, suppress(OSError):
            # as servers bind: what the demo before this one served, and waits for its end, is not in the way
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind((OLD_PLACE, port))
            return int(trial.getsockname()[1])
    raise OSError("no free port on 127.0.0.1")


def _short_directory() -> str | None:
    # Unix sockets need short paths; mkdtemp makes a directory of our own in it
    return "/tmp" if os.access("/tmp", os.W_OK) else None  # noqa: S108
