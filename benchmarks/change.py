"""One site more beside ten thousand: a change over each server's own way, until a visitor gets its page."""

from __future__ import annotations

import http.client
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.edgeward import Edgeward
from benchmarks.material import Material, material
from benchmarks.peers import nginx_process, program
from benchmarks.processes import Process, cpu_seconds, free_ports, tree, until
from benchmarks.scale import Admin, until_served
from benchmarks.table import NOT_INSTALLED, Row

_SUFFIX = "change.bench.example"
_PAUSE = 0.1
_LONGEST = 60.0
"""A server that takes this long over its changes is asked for no more of them."""
Add = Callable[[str], None]


def measure(edgeward: Edgeward, directory: Path, backend: int, sites: int, changes: int) -> list[Row]:
    """Add ``changes`` sites one after the other to ``sites`` on Edgeward, Caddy and nginx."""
    what = f"one site more beside {sites:,}, until it is served"
    rows = []
    for label, running in (
        ("nginx, reload", _nginx),
        ("Caddy, admin API", _caddy),
        ("Edgeward, API", _edgeward),
    ):
        place = directory / label.partition(",")[0].lower()
        place.mkdir()
        try:
            with running(edgeward, place, backend, sites) as (port, pid, add):
                rows += _row(what, label, port, pid, add, changes)
        except FileNotFoundError:
            rows.append(Row(what, label, NOT_INSTALLED))
    return rows


def _row(what: str, label: str, port: int, pid: int, add: Add, changes: int) -> list[Row]:
    waits = []
    before = cpu_seconds(tree(pid))
    end = time.monotonic() + _LONGEST
    while len(waits) < changes and time.monotonic() < end:
        name = f"more{len(waits)}.{_SUFFIX}"
        began = time.monotonic()
        add(name)
        until_served(port, name, 60.0, pause=0.01)
        waits.append(1e3 * (time.monotonic() - began))
        time.sleep(_PAUSE)
    used = 1e3 * (cpu_seconds(tree(pid)) - before) / len(waits)
    waits.sort()
    note = f"slowest {waits[-1]:,.0f} ms, server CPU {used:,.0f} ms a change, {len(waits)} changes"
    return [Row(what, label, waits[len(waits) // 2], "ms", note)]


def _names(sites: int) -> list[str]:
    return [f"n{number}.{_SUFFIX}" for number in range(sites)]


@contextmanager
def _edgeward(edgeward: Edgeward, place: Path, backend: int, sites: int) -> Iterator[tuple[int, int, Add]]:
    names = _names(sites)
    document = {
        "version": 1,
        "domains": [{"name": f"*.{_SUFFIX}", "on_demand": True}],
        "services": [{"name": "change", "backends": [f"http://127.0.0.1:{backend}"]}],
        "routes": [{"name": f"change-{n}", "hosts": [n], "service": "change"} for n in names],
    }
    body = {"source": "file:change.json", "document": document}
    revision = edgeward.ask("POST", "/v1/apply", body, 120.0)["revision"]
    edgeward.ask("GET", f"/v1/wait?revision={revision}&timeout=60", timeout=90.0)
    admin = Admin(edgeward)

    def add(name: str) -> None:
        routes = [{"name": f"change-{name}", "hosts": [name], "service": "change"}]
        more = {"version": 1, "routes": routes}
        admin.post("/v1/apply", {"source": "file:change.json", "document": more, "keep": True})

    try:
        yield edgeward.port, edgeward.process.pid, add
    finally:
        edgeward.ask("POST", "/v1/apply", {**body, "document": {"version": 1}}, 120.0)


@contextmanager
def _caddy(_edgeward: Edgeward, place: Path, backend: int, sites: int) -> Iterator[tuple[int, int, Add]]:
    binary = Path(sys.executable).with_name("caddy")
    if not binary.exists():
        raise FileNotFoundError("caddy")
    port, admin = free_ports(2)
    shared = material(place, f"*.{_SUFFIX}")
    config = place / "caddy.json"
    config.write_text(json.dumps(_caddy_config(port, admin, shared, backend, sites)))
    env = {"HOME": str(place), "XDG_DATA_HOME": str(place), "XDG_CONFIG_HOME": str(place)}
    process = Process([binary, "run", "--config", config], place / "caddy.log", env)

    def add(name: str) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", admin, timeout=60)
        path = "/config/apps/http/servers/edge/routes/0"  # PUT inserts before it
        headers = {"content-type": "application/json"}
        connection.request("PUT", path, json.dumps(_caddy_route(name, backend)), headers)
        answer = connection.getresponse()
        if answer.status != 200:
            raise RuntimeError(f"caddy: {answer.read()[:300].decode()}")
        connection.close()

    try:
        process.wait_for_port(port, 60)
        yield port, process.pid, add
    finally:
        process.stop()


def _caddy_config(port: int, admin: int, shared: Material, backend: int, sites: int) -> dict[str, Any]:
    server = {
        "listen": [f"127.0.0.1:{port}"],
        "protocols": ["h1", "h2"],
        "automatic_https": {"disable": True},
        "tls_connection_policies": [{}],
        "routes": [_caddy_route(name, backend) for name in _names(sites)],
    }
    files = [{"certificate": str(shared.chain), "key": str(shared.key)}]
    return {
        "admin": {"listen": f"127.0.0.1:{admin}", "config": {"persist": False}},
        "apps": {"http": {"servers": {"edge": server}}, "tls": {"certificates": {"load_files": files}}},
    }


def _caddy_route(name: str, backend: int) -> dict[str, Any]:
    proxy = {"handler": "reverse_proxy", "upstreams": [{"dial": f"127.0.0.1:{backend}"}]}
    return {"match": [{"host": [name]}], "handle": [proxy]}


@contextmanager
def _nginx(_edgeward: Edgeward, place: Path, backend: int, sites: int) -> Iterator[tuple[int, int, Add]]:
    if program("nginx") is None:
        raise FileNotFoundError("nginx")
    port = free_ports(1)[0]
    shared = material(place, f"*.{_SUFFIX}")
    listed = place / "sites.conf"
    listed.write_text("".join(_nginx_site(name, port, backend) for name in _names(sites)))
    process = nginx_process(
        place / "run",
        f"ssl_certificate {shared.chain}; ssl_certificate_key {shared.key}; ssl_session_tickets off;\n"
        f"server_names_hash_max_size 65536; server_names_hash_bucket_size 128;\n"
        f"server {{ listen 127.0.0.1:{port} ssl default_server; return 404; }} include {listed};",
    )

    def add(name: str) -> None:
        with listed.open("a") as file:
            file.write(_nginx_site(name, port, backend))
        os.kill(process.pid, signal.SIGHUP)

    try:
        process.wait_for_port(port, 60)
        until(lambda: len(tree(process.pid)) > 1, 20, "nginx's worker")
        yield port, process.pid, add
    finally:
        process.stop()


def _nginx_site(name: str, port: int, backend: int) -> str:
    return (
        f"server {{ listen 127.0.0.1:{port} ssl; server_name {name};"
        f" location / {{ proxy_pass http://127.0.0.1:{backend}; }} }}\n"
    )
