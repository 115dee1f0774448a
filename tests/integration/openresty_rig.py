"""A controller with its facade, a Redis, and Debian's nginx whose Lua asks them for certificates."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from cryptography import x509

from tests.integration.controller_setup import Controller
from tests.integration.processes import Process, running, until
from tests.ports import free_port

SECRET = "3f9c1d5b7a2e48c6"
USER, PASSWORD = "peter", "sslers"
LUA = Path("/usr/lib/nginx/modules/ngx_http_lua_module.so")
HERE = Path(__file__).parent

DOMAINS = """version: 1
issuers:
  - {{name: hour, local: {{lifetime_days: 0.04}}}}
domains:
  - {{name: shop.example}}
  - {{name: "*.wild.example"}}
  - {{name: "*.c.example", on_demand: true, issuer: hour}}
openresty:
  listen: "127.0.0.1:{facade}"
  secret: {secret}
{more}"""


@dataclass
class Rig:
    """``declare`` and ``controller.start()`` as often as wanted."""

    directory: Path
    controller: Controller
    facade: int = field(default_factory=free_port)
    redis: int = field(default_factory=free_port)
    gateway: int = field(default_factory=free_port)
    visitors: int = field(default_factory=free_port)

    def declare(self, *, redis: bool = False, gateway: bool = False, domains: str = "") -> None:
        more = ""
        if redis:
            more += f'  redis: {{url: "redis://127.0.0.1:{self.redis}", plain_keys: true}}\n'
        if gateway:
            url = f"http://127.0.0.1:{self.gateway}"
            more += f"  gateways: [{{url: '{url}', username: {USER}, password: {PASSWORD}}}]\n"
        text = DOMAINS.format(facade=self.facade, secret=SECRET, more=more)
        self.controller.declare(text.replace("domains:\n", f"domains:\n{domains}", 1))

    def withhold(self, *names: str) -> None:
        """Deactivate exactly these names."""
        text = self.controller.file.read_text().partition("withheld:")[0]
        said = ", ".join(f"{{name: {name}}}" for name in names)
        self.controller.declare(f"{text}withheld: [{said}]\n")

    # --- what the client asks -----------------------------------------------------------------

    def lookup(self, name: str) -> httpx.Response:
        url = f"http://127.0.0.1:{self.facade}/{SECRET}/domain/{name}/config.json?openresty=1"
        return httpx.get(url, trust_env=False, timeout=30)

    def autocert(self, name: str) -> httpx.Response:
        url = f"http://127.0.0.1:{self.facade}/{SECRET}/api/domain/autocert.json?openresty=1"
        with httpx.Client(trust_env=False, timeout=60) as client:
            request = client.build_request("POST", url, content=f"domain_name={name}".encode())
            assert "content-type" not in request.headers
            return client.send(request)

    def listens(self) -> bool:
        try:
            return self.lookup("nobody.example").status_code == 404
        except httpx.HTTPError:
            return False

    def status(self) -> Mapping[str, Any]:
        with self.controller.client() as client:
            return client.get("/v1/status").json()["openresty"]

    def gateway_is(self, state: str) -> bool:
        return [found["state"] for found in self.status().get("gateways") or ()] == [state]

    def redis_is(self, state: str) -> bool:
        return (self.status().get("redis") or {}).get("state") == state

    def told(self) -> str:
        """Give the events there were."""
        with self.controller.client() as client:
            return client.get("/v1/events?types=openresty&last=10&follow=false").text

    def here(self) -> bool:
        """Say whether this controller is the one that keeps the gateways up to date."""
        return bool((self.status() or {}).get("here"))

    # --- programs -----------------------------------------------------------------------------

    @contextmanager
    def started(self) -> Iterator[Process]:
        with self.controller.start() as process:
            until(self.listens, what="the facade")
            yield process

    @contextmanager
    def started_redis(self, program: str, *more: str) -> Iterator[Process]:
        directory = self.directory / "redis"
        directory.mkdir(exist_ok=True)
        argv = [program, "--port", str(self.redis), "--bind", "127.0.0.1", "--dir", str(directory)]
        with running([*argv, "--save", "", "--appendonly", "no", *more]) as process:
            until(lambda: _open(self.redis), what="redis")
            yield process

    @contextmanager
    def started_nginx(self, program: str, *, use: str, lua: Path | None = None) -> Iterator[Process]:
        """``use`` is the Lua of a handshake; ``lua`` holds the real client and what it needs, else ours."""
        directory = self.directory / "nginx"
        directory.mkdir(exist_ok=True)
        _self_signed(directory)
        hashed = base64.b64encode(hashlib.sha1(PASSWORD.encode()).digest()).decode()
        (directory / "htpasswd").write_text(f"{USER}:{{SHA}}{hashed}\n")
        real = lua is not None
        if lua is None:
            lua = directory / "lua"
            lua.mkdir(exist_ok=True)
            shutil.copy(HERE / "openresty.lua", lua / "client.lua")
        text = (HERE / "openresty.nginx.conf").read_text()
        words = {
            "DIRECTORY": directory,
            "LUA": lua,
            "VISITORS": self.visitors,
            "GATEWAY": self.gateway,
            "USER": "user root;" if os.geteuid() == 0 else "",
            "HANDSHAKE": use,
            "CLIENT": "resty.peter_sslers" if real else "client",
            "EXPIRE": "expire_ssl_certs" if real else "expire",
            "STATUS": "status_ssl_certs" if real else "status",
            "BEGIN": 'require("resty.peter_sslers").initialize_worker(600, 1, 200)' if real else "",
        }
        for word, value in words.items():
            text = text.replace(f"@{word}@", str(value))
        (directory / "nginx.conf").write_text(text)
        argv = [program, "-p", directory, "-c", directory / "nginx.conf", "-e", "stderr"]
        with running(argv) as process:
            until(lambda: _open(self.visitors) or not process.alive(), what="nginx")
            assert process.alive(), process.output()
            yield process

    def handshake(self, strategy: int | None = None) -> str:
        """Give the Lua of a handshake: Redis read in this way, if any, then the facade asked to autocert."""
        api = f'{{host="127.0.0.1", port={self.facade}, secret="{SECRET}", autocert=true}}'
        where = f'{{host="127.0.0.1", port={self.redis}, db=9, strategy={strategy}}}' if strategy else "nil"
        return f'require("client").handshake({api}, {where})'

    def visit(self, name: str) -> x509.Certificate:
        """Give the certificate a visitor of nginx is shown."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        plain = socket.create_connection(("127.0.0.1", self.visitors), timeout=60)
        with plain, context.wrap_socket(plain, server_hostname=name) as tls:
            found = tls.getpeercert(binary_form=True)
        assert found is not None
        return x509.load_der_x509_certificate(found)

    def trusted(self, name: str) -> bool:
        """Say whether a visitor who trusts our authority alone trusts what nginx shows: chain and name."""
        context = ssl.create_default_context(cafile=str(self.controller.state_dir / "ca" / "root.pem"))
        try:
            plain = socket.create_connection(("127.0.0.1", self.visitors), timeout=60)
            with plain, context.wrap_socket(plain, server_hostname=name):
                return True
        except ssl.SSLCertVerificationError:
            return False


def names_of(certificate: x509.Certificate) -> list[str]:
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return found.value.get_values_for_type(x509.DNSName)


def _open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _self_signed(directory: Path) -> None:
    """Write the certificate nginx falls back to."""
    from edgeward.certificates.local.signing import LeafSigner, new_intermediate, new_root

    root = new_root(1_700_000_000.0)
    leaf = LeafSigner(new_intermediate(root, 1_700_000_000.0)).sign(["default.invalid"], [], 1e9, 1.7e9)
    (directory / "default.pem").write_text(leaf.certificate)
    (directory / "default.key").write_text(leaf.key)
