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
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeward.cli.demo.declared import MOVING_BACKEND, NEW_PLACE, OLD_PLACE, declaration
from edgeward.cli.demo.names import Names
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

    def declare(self, *more_routes: dict[str, Any]) -> None:
        """Write the declaration file anew and tell `edgeward up` with SIGHUP."""
        write_declaration(self.directory, self.ports, *more_routes)
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


def write_declaration(directory: Path, ports: Ports, *more_routes: dict[str, Any]) -> None:
    declared = declaration(ports.http, ports.https, ports.api, ports.backend, *more_routes)
    draft = directory / ".edgeward.yaml"
    draft.write_text(json.dumps(declared, indent=1))  # all JSON is YAML
    draft.replace(directory / "edgeward.yaml")


@asynccontextmanager
async def opened() -> AsyncIterator[World]:
    """Start everything; at the end stop it and remove its directory."""
    ports = Ports(free_port(8080), free_port(8443), free_port(2443), free_port())
    directory = Path(tempfile.mkdtemp(prefix="edgeward-demo-", dir=_short_directory()))
    write_declaration(directory, ports)
    servers = [await asyncio.start_server(_backend_at(p), p, ports.backend) for p in (OLD_PLACE, NEW_PLACE)]
    transport, names = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: Names({MOVING_BACKEND: OLD_PLACE}), local_addr=("127.0.0.1", 0)
    )
    process = _start(directory, transport.get_extra_info("sockname")[1])
    ended = asyncio.create_task(process.wait())
    try:
        yield World(directory, ports, names, process, ended)
    finally:
        await stop(process, ended, _ENDING_SECONDS)
        transport.close()
        for server in servers:
            server.close()
        shutil.rmtree(directory, ignore_errors=True)


def _start(directory: Path, dns_port: int) -> Child:
    with _log(directory).open("ab") as log:
        return Child.start(
            [
                sys.executable, "-P", "-m", "edgeward.cli", "up", "--name", "demo",
                "--config", str(directory / "edgeward.yaml"), "--state-dir", str(directory / "state"),
            ],
            # nothing of it needs root, and it is to run wherever it was cloned to
            env={**os.environ, "EDGEWARD_USER": "root", "EDGEWARD_DNS_SERVERS": f"127.0.0.1:{dns_port}"},
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
            trial.bind((OLD_PLACE, port))
            return int(trial.getsockname()[1])
    raise OSError("no free port on 127.0.0.1")


def _short_directory() -> str | None:
    # Unix sockets need short paths; mkdtemp makes a directory of our own in it
    return "/tmp" if os.access("/tmp", os.W_OK) else None  # noqa: S108
