"""OpenStack's API with ten thousand connections: lists, pages, one more, and what it costs the controller."""

from __future__ import annotations

import http.client
import json
import ssl
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.processes import Process, free_ports, rss_mb, until
from benchmarks.table import Goal, Row

_ROUTERS = 100
_PATH = "/v2.0/vpn/ipsec-site-connections"


def measure(directory: Path, connections: int, rounds: int) -> list[Row]:
    """Declare ``connections`` over a hundred routers, and ask for them as clients do."""
    directory.mkdir(parents=True, exist_ok=True)
    state, (port,) = directory / "state", free_ports(1)
    argv = [sys.executable, "-m", "edgeward.controller", "--state-dir", str(state)]
    process = Process([*argv, "--api", f"127.0.0.1:{port}"], directory / "controller.log")
    try:
        token = state / "admin.token"
        until(lambda: token.exists() and _answers(port, state), 30, "the controller", process.check)
        return _measured(_Asking(port, state), process, connections, rounds)
    finally:
        process.stop()


def _measured(ask: _Asking, process: Process, connections: int, rounds: int) -> list[Row]:
    began = time.monotonic()
    ask("POST", "/v1/apply", {"source": "file:bench", "document": document(connections)})
    applied = time.monotonic() - began
    what = f"OpenStack's API, {connections:,} connections on {_ROUTERS} routers"
    page = 1e3 * _timed(lambda: ask("GET", f"{_PATH}?limit=100"), rounds)
    whole = _timed(lambda: ask("GET", _PATH), rounds)
    named = _timed(lambda: ask("GET", f"{_PATH}?name=con-77"), rounds)
    one = ask("GET", f"{_PATH}?limit=1")["ipsec_site_connections"][0]
    shown = _timed(lambda: ask("GET", f"{_PATH}/{one['id']}"), rounds * 4)
    made = _timed(lambda: ask("POST", _PATH, {"ipsec_site_connection": _more(one)}), rounds)
    listed = len(ask("GET", _PATH)["ipsec_site_connections"])
    if listed != connections + rounds:
        raise RuntimeError(f"{listed} connections are listed, not {connections + rounds}")
    return [
        Row(what, "applied at once", applied, "s", f"controller then {rss_mb(process.pid):.0f} MB"),
        Row(what, "first page of 100", page, "ms", goals=(Goal(page, 100.0),)),
        Row(what, "the whole list", whole, "s", goals=(Goal(whole, 3.0),)),
        Row(what, "found by its name", named, "s"),
        Row(what, "one shown", 1e3 * shown, "ms"),
        Row(what, "one more made", 1e3 * made, "ms"),
    ]


def document(connections: int) -> dict[str, Any]:
    """Give networks, routers with a service each, and their connections."""
    routers = range(_ROUTERS)
    return {
        "version": 1,
        "networks": [{"name": "world", "external": True}, {"name": "inner"}],
        "subnets": [
            {"name": "out", "network": "world", "cidr": "198.18.0.0/15", "gateway_ip": "198.18.0.1"},
            *({"name": f"in-{r}", "network": "inner", "cidr": f"10.{r}.0.0/24"} for r in routers),
        ],
        "routers": [_router(number) for number in routers],
        "ikepolicies": [{"name": "ike", "ike_version": "v2"}],
        "ipsecpolicies": [{"name": "ipsec"}],
        "vpnservices": [{"name": f"svc-{r}", "router": f"gw-{r}", "subnet": f"in-{r}"} for r in routers],
        "ipsec_site_connections": [_connection(number) for number in range(connections)],
    }


def _router(number: int) -> dict[str, Any]:
    return {
        "name": f"gw-{number}",
        "gateway": {"network": "world", "addresses": [{"subnet": "out", "address": f"198.18.1.{number}"}]},
        "interfaces": [{"subnet": f"in-{number}", "address": f"10.{number}.0.1"}],
    }


def _connection(number: int) -> dict[str, Any]:
    peer = f"198.19.{number // 250}.{number % 250}"
    return {
        "name": f"con-{number}",
        "vpnservice": f"svc-{number % _ROUTERS}",
        "ikepolicy": "ike",
        "ipsecpolicy": "ipsec",
        "peer_address": peer,
        "peer_id": peer,
        "peer_cidrs": [f"172.{16 + number // 4096}.{number // 16 % 256}.{number % 16 * 16}/28"],
        "psk": f"secret of {number}",
    }


def _more(one: dict[str, Any]) -> dict[str, Any]:
    kept = ("vpnservice_id", "ikepolicy_id", "ipsecpolicy_id", "peer_cidrs")
    return {key: one[key] for key in kept} | {"peer_address": "198.19.255.1", "peer_id": "x", "psk": "y"}


def _timed(work: Callable[[], object], rounds: int) -> float:
    """Give the median seconds of some rounds."""
    found = []
    for _ in range(rounds):
        began = time.monotonic()
        work()
        found.append(time.monotonic() - began)
    return median(found)


def _answers(port: int, state: Path) -> bool:
    try:
        _Asking(port, state)("GET", "/v2.0/extensions")
    except (OSError, http.client.HTTPException, RuntimeError):
        return False
    return True


class _Asking:
    """One connection that is kept, as clients keep theirs."""

    def __init__(self, port: int, state: Path) -> None:
        context = ssl.create_default_context(cafile=str(state / "ca" / "root.pem"))
        self._http = http.client.HTTPSConnection("127.0.0.1", port, timeout=300, context=context)
        self._headers = {"x-auth-token": (state / "admin.token").read_text().strip()}

    def __call__(self, method: str, path: str, body: Any = None) -> Any:
        headers = self._headers
        if path.startswith("/v1/"):
            headers = {"authorization": f"Bearer {self._headers['x-auth-token']}"}
            headers["content-type"] = "application/json"
        data = None if body is None else json.dumps(body).encode()
        self._http.request(method, path, data, headers)
        answer = self._http.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {text[:300].decode()}")
        return json.loads(text) if text else None
