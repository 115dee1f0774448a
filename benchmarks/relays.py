"""Relays side by side: ours, systemd-socket-proxyd, HAProxy in TCP mode, nginx's stream module."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers import program
from benchmarks.processes import Process, cpu_seconds, free_ports, rss_mb, tree

OURS, PROXYD, HAPROXY, NGINX = "Edgeward", "socket-proxyd", "HAProxy", "nginx"
_PROXYD = Path("/lib/systemd/systemd-socket-proxyd")
_STREAM = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
_MOST = 9500
_MOST_OF_HAPROXY = 7500  # it takes more descriptors than it needs


@dataclass
class Relay:
    """A running relay: connect to 127.0.0.1:``port``."""

    label: str
    process: Process
    port: int

    def cpu(self) -> float:
        return cpu_seconds(tree(self.process.pid))

    def memory_kb(self) -> float:
        return 1024 * sum(rss_mb(pid) for pid in tree(self.process.pid))


Start = Callable[[Path, int, str], Process]


def _edgeward(directory: Path, port: int, target: str) -> Process:
    settings = directory / "resolv.conf"
    options = ["--resolver", settings.read_text().split()[1]] if settings.exists() else []
    argv = [sys.executable, "-m", "edgeward.relay", "--to", target, "--listen", f"127.0.0.1:{port}", *options]
    return Process(_on_one_core(argv), directory / f"edgeward-{port}.log")


def _proxyd(directory: Path, port: int, target: str) -> Process:
    activate = _found(program("systemd-socket-activate"))
    argv = [activate, "-l", f"127.0.0.1:{port}", str(_found(_PROXYD)), f"--connections-max={_MOST}", target]
    settings = directory / "resolv.conf"
    if settings.exists():  # its resolver is the host's: show it another file in a mount namespace of its own
        script = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
        argv = ["unshare", "--mount", "sh", "-c", script, str(settings), *argv]
    return Process(_on_one_core(argv), directory / f"proxyd-{port}.log")


def _haproxy(directory: Path, port: int, target: str) -> Process:
    config = directory / f"haproxy-{port}.cfg"
    config.write_text(
        f"global\n  nbthread 1\n  maxconn {_MOST_OF_HAPROXY}\ndefaults\n  mode tcp\n  option splice-auto\n"
        f"  timeout client 1h\n  timeout server 1h\n  timeout connect 5s\nlisten relay\n"
        f"  bind 127.0.0.1:{port} backlog 4096\n"
        f"  server backend {target}\n"
    )
    argv = [_found(program("haproxy")), "-f", str(config)]
    return Process(_on_one_core(argv), directory / f"haproxy-{port}.log")


def _nginx(directory: Path, port: int, target: str) -> Process:
    config = directory / f"nginx-{port}.conf"
    config.write_text(
        f"load_module {_found(_STREAM)};\nuser root;\ndaemon off;\nworker_processes 1;\n"
        f"worker_rlimit_nofile 20000;\npid {directory}/nginx-{port}.pid;\n"
        f"error_log {directory}/nginx.error crit;\n"
        f"events {{ worker_connections {2 * _MOST}; }}\n"
        f"stream {{ server {{ listen 127.0.0.1:{port} backlog=4096; proxy_pass {target};\n"
        "proxy_timeout 1h; } }\n"
    )
    argv = [
        _found(program("nginx")),
        "-e",
        f"{directory}/nginx.error",
        "-p",
        str(directory),
        "-c",
        str(config),
    ]
    return Process(_on_one_core(argv), directory / f"nginx-{port}.log")


def _on_one_core(argv: list[str]) -> list[str | Path]:
    return [_found(program("taskset")), "--cpu-list", "0", *argv]


def _found(path: str | Path | None) -> str:
    if path is None or not Path(path).exists():
        raise FileNotFoundError(path)
    return str(path)


@contextmanager
def ours_to(name: str, resolver: str, directory: Path) -> Iterator[Relay]:
    """Run ours to a name that this DNS server tells."""
    port = free_ports(1)[0]
    argv = [
        sys.executable,
        "-m",
        "edgeward.relay",
        "--to",
        name,
        "--listen",
        str(port),
        "--resolver",
        resolver,
    ]
    process = Process(argv, directory / "moving.log")
    try:
        process.wait_for_port(port)
        yield Relay(OURS, process, port)
    finally:
        process.stop()


STARTS: dict[str, Start] = {OURS: _edgeward, PROXYD: _proxyd, HAPROXY: _haproxy, NGINX: _nginx}


@contextmanager
def running(label: str, directory: Path, target: str) -> Iterator[Relay]:
    """Run one; raises FileNotFoundError where it is not installed."""
    directory.mkdir(exist_ok=True)
    port = free_ports(1)[0]
    process = STARTS[label](directory, port, target)
    try:
        process.wait_for_port(port)
        yield Relay(label, process, port)
    finally:
        process.stop()
