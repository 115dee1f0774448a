"""A second authority, of other people than Pebble's: Caddy's ``acme_server``, on ports of its own."""

from __future__ import annotations

import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.integration.acme import Trust, trust
from tests.integration.processes import Process, running, until
from tests.ports import free_port

_CONFIG = """
{{
    admin off
    auto_https disable_redirects
    http_port {http_port}
    https_port {port}
    skip_install_trust
    storage file_system {directory}/storage
}}
https://127.0.0.1:{port} {{
    bind 127.0.0.1
    tls {certificate} {key}
    acme_server {{
        lifetime 1h
        challenges dns-01
        resolvers udp/{resolver}
    }}
}}
"""


@dataclass(frozen=True)
class Caddy:
    trust: Trust
    port: int
    process: Process

    @property
    def directory(self) -> str:
        return f"https://127.0.0.1:{self.port}/acme/local/directory"

    @property
    def ca_file(self) -> Path:
        return self.trust.ca_file

    def ready(self) -> bool:
        context = ssl.create_default_context(cafile=self.ca_file)
        try:
            return httpx.get(self.directory, verify=context, timeout=30).is_success
        except httpx.HTTPError:
            return False


@contextmanager
def caddy(directory: Path, resolver: str) -> Iterator[Caddy]:
    """Run it for the length of the block; it looks for records at ``resolver``, ADDRESS:PORT."""
    directory = directory / "caddy"
    own, port = trust(directory), free_port()
    places = {"directory": directory, "certificate": own.certificate, "key": own.key, "resolver": resolver}
    config = directory / "Caddyfile"
    config.write_text(_CONFIG.format(http_port=free_port(), port=port, **places))
    program = Path(sys.executable).with_name("caddy")
    with running([program, "run", "--config", config, "--adapter", "caddyfile"]) as process:
        made = Caddy(own, port, process)
        until(lambda: made.ready() or not process.alive(), what="Caddy's readiness")
        assert process.alive(), process.output()
        yield made
