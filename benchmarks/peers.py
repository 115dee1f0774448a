"""The peers, each with one worker, one certificate and the same backend; no access log, no resumption.

All of them would hand out session tickets, which Edgeward does not: that is switched off, since a
ticket costs time in the very handshake that is measured.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.material import Material
from benchmarks.processes import Process, cpu_seconds, free_ports, tree
from edgeward.launcher.config import packaged_envoy

NAME = "site.static.bench.example"
_MANY = 100_000_000


@dataclass
class Contender:
    """A running server: visit ``name`` at 127.0.0.1:``port``; ``parts`` are counted apart as well."""

    label: str
    process: Process
    port: int
    name: str = NAME
    parts: dict[str, int] = field(default_factory=dict)

    def cpu(self) -> dict[str, float]:
        """Give CPU seconds of the whole tree as ``all``, and of each part."""
        found = {"all": cpu_seconds(tree(self.process.pid))}
        return found | {part: cpu_seconds([pid]) for part, pid in self.parts.items()}


@dataclass(frozen=True)
class Scene:
    """What every server is started with."""

    directory: Path
    material: Material
    backend: int


def program(name: str) -> str | None:
    """Find a program where Debian puts it, also without /usr/sbin on the path."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin:/usr/bin")


# --- backend ------------------------------------------------------------------------------------


@contextmanager
def backend(directory: Path) -> Iterator[int]:
    """Run nginx as the site behind everybody; gives its port, on which nobody listens without nginx."""
    port = free_ports(1)[0]
    if program("nginx") is None:
        yield port
        return
    server = f'server {{ listen 127.0.0.1:{port}; location / {{ return 200 "It works.\\n"; }} }}'
    process = nginx_process(directory / "backend", server)
    try:
        process.wait_for_port(port)
        yield port
    finally:
        process.stop()


def nginx_process(directory: Path, http: str) -> Process:
    binary = program("nginx")
    if binary is None:
        raise FileNotFoundError("nginx")
    directory.mkdir()
    temporary = "".join(
        f"{kind}_temp_path {directory}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = directory / "nginx.conf"
    config.write_text(
        f"{'user root;' if os.geteuid() == 0 else ''}\n"
        f"daemon off; worker_processes 1; worker_rlimit_nofile 20000; pid {directory}/pid;\n"
        f"error_log {directory}/error.log crit;\n"
        "events { worker_connections 8192; }\n"
        f"http {{\n{temporary}access_log off; keepalive_requests {_MANY};\n{http}\n}}\n"
    )
    argv: list[str | Path] = [binary, "-e", directory / "error.log", "-p", directory, "-c", config]
    return Process(argv, directory / "nginx.log")


# --- peers --------------------------------------------------------------------------------------


def nginx(scene: Scene) -> Contender:
    port = free_ports(1)[0]
    process = nginx_process(
        scene.directory / "nginx",
        f"upstream site {{ server 127.0.0.1:{scene.backend}; keepalive 64; keepalive_requests {_MANY}; }}\n"
        f"server {{ listen 127.0.0.1:{port} ssl http2; server_name {NAME};\n"
        f"ssl_certificate {scene.material.chain}; ssl_certificate_key {scene.material.key};\n"
        "ssl_protocols TLSv1.2 TLSv1.3; ssl_session_tickets off; ssl_session_cache off;\n"
        "location / { proxy_pass http://site; proxy_http_version 1.1; proxy_set_header Connection '';\n"
        "proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr;\n"
        "proxy_set_header X-Forwarded-Proto $scheme; } }",
    )
    return Contender("nginx", process, port)


def haproxy(scene: Scene) -> Contender:
    binary = program("haproxy")
    if binary is None:
        raise FileNotFoundError("haproxy")
    port = free_ports(1)[0]
    config = scene.directory / "haproxy.cfg"
    config.write_text(
        "global\n  nbthread 1\n  maxconn 8000\n  tune.ssl.cachesize 0\n"
        "  ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets\n"
        "defaults\n  mode http\n  timeout client 60s\n  timeout server 60s\n  timeout connect 5s\n"
        "  option forwardfor\n  http-reuse always\n"
        f"frontend edge\n  bind 127.0.0.1:{port} ssl crt {scene.material.both} alpn h2,http/1.1\n"
        "  http-request set-header X-Forwarded-Proto https\n  default_backend site\n"
        f"backend site\n  server site 127.0.0.1:{scene.backend}\n"
    )
    return Contender("HAProxy", Process([binary, "-f", config], scene.directory / "haproxy.log"), port)


def caddy(scene: Scene) -> Contender:
    binary = Path(sys.executable).with_name("caddy")
    if not binary.exists():
        raise FileNotFoundError("caddy")
    port = free_ports(1)[0]
    proxy = {"handler": "reverse_proxy", "upstreams": [{"dial": f"127.0.0.1:{scene.backend}"}]}
    server = {
        "listen": [f"127.0.0.1:{port}"],
        "protocols": ["h1", "h2"],
        "automatic_https": {"disable": True},
        "tls_connection_policies": [{}],
        "routes": [{"match": [{"host": [NAME]}], "handle": [proxy]}],
    }
    files = [{"certificate": str(scene.material.chain), "key": str(scene.material.key)}]
    tls = {"certificates": {"load_files": files}, "session_tickets": {"disabled": True}}
    home = scene.directory / "caddy"
    home.mkdir()
    config = home / "caddy.json"
    config.write_text(
        json.dumps(
            {
                "admin": {"disabled": True, "config": {"persist": False}},
                "apps": {"http": {"servers": {"edge": server}}, "tls": tls},
            }
        )
    )
    env = {"GOMAXPROCS": "1", "HOME": str(home), "XDG_DATA_HOME": str(home), "XDG_CONFIG_HOME": str(home)}
    process = Process([binary, "run", "--config", config], scene.directory / "caddy.log", env)
    return Contender("Caddy", process, port)


def envoy(scene: Scene) -> Contender:
    """Run Envoy alone: its own certificate selector, one route, no filter but the router, no limit."""
    binary = packaged_envoy()
    if binary is None:
        raise FileNotFoundError("envoy")
    port = free_ports(1)[0]
    config = scene.directory / "envoy.json"
    config.write_text(json.dumps(_bare_envoy(port, scene)))
    argv: list[str | Path] = [
        binary,
        "-c",
        config,
        "--concurrency",
        "1",
        "--disable-hot-restart",
        "-l",
        "error",
    ]
    return Contender("bare Envoy", Process(argv, scene.directory / "envoy.log"), port)


_TYPE = "type.googleapis.com/envoy.extensions"


def _bare_envoy(port: int, scene: Scene) -> dict[str, Any]:
    route = {"match": {"prefix": "/"}, "route": {"cluster": "site"}}
    router = {"@type": f"{_TYPE}.filters.http.router.v3.Router"}
    manager = {
        "@type": f"{_TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "edge",
        "route_config": {"virtual_hosts": [{"name": "site", "domains": [NAME], "routes": [route]}]},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": router}],
    }
    pair = {
        "certificate_chain": {"filename": str(scene.material.chain)},
        "private_key": {"filename": str(scene.material.key)},
    }
    tls = {
        "@type": f"{_TYPE}.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": {"tls_certificates": [pair], "alpn_protocols": ["h2", "http/1.1"]},
        "disable_stateless_session_resumption": True,
        "disable_stateful_session_resumption": True,
    }
    chain = {
        "filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}],
        "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": tls},
    }
    listener = {"name": "edge", "address": _address(port), "filter_chains": [chain]}
    assignment = {
        "cluster_name": "site",
        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(scene.backend)}}]}],
    }
    cluster = {"name": "site", "type": "STATIC", "load_assignment": assignment}
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


PEERS: tuple[tuple[str, Callable[[Scene], Contender]], ...] = (
    ("nginx", nginx),
    ("HAProxy", haproxy),
    ("Caddy", caddy),
    ("bare Envoy", envoy),
)


@contextmanager
def peers(scene: Scene) -> Iterator[tuple[list[Contender], list[str]]]:
    """Run all peers there are; gives them, and the labels of those that are not installed."""
    running: list[Contender] = []
    missing: list[str] = []
    with ExitStack() as stack:
        for label, start in PEERS:
            try:
                contender = start(scene)
            except FileNotFoundError:
                missing.append(label)
                continue
            stack.callback(contender.process.stop)
            contender.process.wait_for_port(contender.port)
            running.append(contender)
        yield running, missing
