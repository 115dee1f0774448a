"""Keys that are known are searched for everywhere: sealed, they are found nowhere."""

from __future__ import annotations

import base64
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.client_certificates import Authority
from tests.integration.controller_setup import Controller
from tests.integration.processes import running, until
from tests.redis_server import RedisServer

NAME = "canary.people.example"
SECRET = "c2VjcmV0LW9mLXRoZS1leHRlcm5hbC1hY2NvdW50"
PSK = "pre-shared-key-of-the-office"
HOOK = "https://ops.example/hooks/path-that-only-we-know"
DECLARED = """version: 1
alarms: {{webhook: {{env: CANARY_HOOK}}}}
domains: [{{name: "*.people.example", on_demand: true}}]
issuers:
  - name: le
    acme:
      directory: https://ca.example/directory
      eab: {{kid: k, hmac_key: {{env: CANARY_EAB}}}}
vpn:
  - name: office
    peer: 198.51.100.9
    local_networks: 10.1.0.0/24
    remote_networks: 10.2.0.0/24
    local_id: "@edge.example"
    secret: {{env: CANARY_PSK}}
"""


@pytest.fixture
def redis(tmp_path: Path, needs) -> Iterator[RedisServer]:
    server = RedisServer(needs("redis-server"), tmp_path / "redis").start()
    yield server
    server.kill()


def spelled(key: bytes) -> list[bytes]:
    """Give what a private key may look like: in any encoding, a part of it is enough."""
    number = load_pem_private_key(key, None).private_numbers().private_value.to_bytes(32, "big")
    lines = key.splitlines()
    whole = load_pem_private_key(key, None).private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return [
        number,
        number.hex().encode(),
        lines[1],
        base64.b64encode(whole)[20:60],
        base64.b64encode(number)[:40],
    ]


def fresh_files(since: float) -> Iterator[tuple[str, bytes]]:
    for place in {Path(tempfile.gettempdir()), Path("/dev/shm"), Path.cwd()}:
        for path in place.iterdir():
            with suppress(OSError):  # other programs' come and go
                if path.is_file() and path.stat().st_mtime >= since:
                    yield str(path), path.read_bytes()


def test_keys_and_secrets_that_are_known_are_found_nowhere(
    state_dir: Path, redis: RedisServer, tmp_path: Path
) -> None:
    began = time.time()
    pair = Authority("somebody's").issue(tmp_path, "canary", server=True).read_bytes()
    parts = sorted(pair.replace(b"-----END", b"\0-----END").split(b"-----BEGIN "), key=len)
    certificate = b"".join(b"-----BEGIN " + p.replace(b"\0", b"") for p in parts if b"CERTIFICATE" in p)
    key = next(b"-----BEGIN " + p.replace(b"\0", b"") for p in parts if b"PRIVATE" in p)
    assert any(canary in key for canary in spelled(key)), "else nothing would be found wherever it were"
    wrapping = base64.b64encode(b"the canary of all wrapping keys!")
    env = {
        "EDGEWARD_SEAL_KEY": wrapping.decode(),
        "EDGEWARD_REDIS": redis.url,
        "CANARY_EAB": SECRET,
        "CANARY_PSK": PSK,
        "CANARY_HOOK": HOOK,
    }
    here = Controller(state_dir / "state", ("--local-node", "n1"), env)
    here.declare(DECLARED.format())
    answers: dict[str, bytes] = {}

    with here.start() as controller, here.client() as admin:
        command = [sys.executable, "-m", "edgeward.node", "--state-dir", str(here.state_dir)]
        with running(command, env=env) as node:
            body = {"cert": certificate.decode(), "key": key.decode()}
            admin.put(f"/v1/certificates/{NAME}", json=body).raise_for_status()
            until(lambda: any(name.endswith(NAME) for name in redis.names()), what="the entry in Redis")
            until(lambda: kept(here, admin), what="the node's copy")
            until(lambda: gateways(here) == 1, what="the node's copy of its gateway")
            for path in ("export", "alarms", "history?kind=alarms&name=alarms", "issuers/le", "vpn", "vpn/office", "vpn/office/status", "vpn/office/peer-config", "tunnels",
                          "certificates", f"certificates/{NAME}", "audit", "history",
                         f"explain/{NAME}", "status", "nodes", "keys"):  # fmt: skip
                answers[path] = admin.get(f"/v1/{path}").raise_for_status().content
            answers["metrics"] = admin.get("/metrics").content
            answers["a wrong upload"] = admin.put("/v1/certificates/x.people.example", json=body).content
            redis.command("SAVE")
            for process in (controller, node):
                line = next(
                    text
                    for text in Path(f"/proc/{process.pid}/limits").read_text().splitlines()
                    if text.startswith("Max core file size")
                )
                assert line.split()[4:6] == ["0", "0"]
                answers[f"command line of {process.pid}"] = Path(f"/proc/{process.pid}/cmdline").read_bytes()
                process.send(signal.SIGABRT)
                process.wait()
                answers[f"log of {process.pid}"] = process.output().encode()

    places = [
        p for directory in (here.state_dir, redis.directory) for p in directory.rglob("*") if p.is_file()
    ]
    found = {str(path): path.read_bytes() for path in places} | dict(fresh_files(began)) | answers
    psks = [PSK.encode(), base64.b64encode(PSK.encode()), PSK.encode().hex().encode()]
    canaries = [
        *spelled(key),
        SECRET.encode(),
        HOOK[20:].encode(),
        *psks,
        wrapping,
        b"the canary of all wrapping keys!",
    ]
    assert {"edgeward.db", "last-good.db", "tunnels.db", "copy.key", "dump.rdb"} <= {
        Path(p).name for p in found
    }
    assert NAME.encode() in found[str(here.state_dir / "edgeward.db")] + found.get(
        str(here.state_dir / "edgeward.db-wal"), b""
    )
    assert not (here.state_dir / "seal.key").exists()
    assert [(place, c[:8]) for place, text in found.items() for c in canaries if c in text] == []
    assert not [place for place in found if Path(place).name.startswith("core")]


def kept(here: Controller, admin: httpx.Client) -> bool:
    nodes = admin.get("/v1/nodes").json()["items"]
    return any((node["report"] or {}).get("certificates") for node in nodes)


def gateways(here: Controller) -> int:
    file = here.state_dir / "node" / "tunnels.db"
    if not file.exists():
        return 0
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as kept:
        return int(kept.execute("SELECT count(*) FROM gateways").fetchone()[0])
