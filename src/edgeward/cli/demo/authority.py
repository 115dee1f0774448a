"""An ACME authority on loopback for the demo: Pebble, where it is installed."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
import shutil
import signal
import ssl
import time
from dataclasses import dataclass
from pathlib import Path

import httpx

from edgeward.certificates.local.signing import LeafSigner, new_intermediate, new_root
from edgeward.launcher.child import Child

_READY_SECONDS = 10.0
_LIFETIME = 86400.0


@dataclass(frozen=True)
class Authority:
    directory: str
    """Its URL."""
    ca_file: Path
    """Whom to trust when asking it."""
    root: str
    """Under which it issues, in PEM."""
    process: Child


def program() -> str | None:
    return shutil.which("pebble")


async def started(place: Path, ports: tuple[int, int], http: int, https: int, dns: int) -> Authority | None:
    """Start it on two ports; it validates at ``http`` and ``https``. None where it is not installed.

    Raises TimeoutError where it does not come up.
    """
    found = program()
    if found is None:
        return None
    ca_file, argv = _written(place, found, ports, http, https, dns)
    with (place / "log").open("ab") as log:
        process = Child.start(
            argv, env={**os.environ, "PEBBLE_VA_NOSLEEP": "1"}, orphaned=signal.SIGTERM, output=log.fileno()
        )
    root = await _root(f"https://127.0.0.1:{ports[1]}/roots/0", ca_file)
    return Authority(f"https://127.0.0.1:{ports[0]}/dir", ca_file, root, process)


def _written(
    place: Path, program: str, ports: tuple[int, int], http: int, https: int, dns: int
) -> tuple[Path, list[str]]:
    """Write what it reads; gives whom to trust when asking it, and its command line."""
    place.mkdir(mode=0o755)
    ca_file = _trusted_on_loopback(place)
    config = {
        "listenAddress": f"127.0.0.1:{ports[0]}",
        "managementListenAddress": f"127.0.0.1:{ports[1]}",
        "certificate": str(place / "own.pem"),
        "privateKey": str(place / "own.key"),
        "httpPort": http,
        "tlsPort": https,
        "ocspResponderURL": "",
        "externalAccountBindingRequired": False,
    }
    (place / "pebble.json").write_text(json.dumps({"pebble": config}))
    argv = [program, "-strict", "-config", str(place / "pebble.json"), "-dnsserver", f"127.0.0.1:{dns}"]
    return ca_file, argv


def _trusted_on_loopback(place: Path) -> Path:
    """Write the certificate it shows itself, and give the file of the root that this is from."""
    now = time.time()
    root = new_root(now)
    signer = new_intermediate(root, now)
    leaf = LeafSigner(signer).sign([], [ipaddress.IPv4Address("127.0.0.1")], _LIFETIME, now)
    (place / "own.pem").write_text(leaf.certificate + signer.pem)
    (place / "own.key").write_text(leaf.key)
    (place / "own.key").chmod(0o600)
    (place / "ca.pem").write_text(root.pem)
    (place / "ca.pem").chmod(0o644)
    return place / "ca.pem"


async def _root(url: str, ca_file: Path) -> str:
    trust = ssl.create_default_context(cafile=ca_file)
    async with asyncio.timeout(_READY_SECONDS), httpx.AsyncClient(verify=trust, trust_env=False) as client:
        while True:
            try:
                return (await client.get(url)).raise_for_status().text
            except httpx.HTTPError:
                await asyncio.sleep(0.05)
