"""Customers behind tunnels: all with the same networks, and each with a name that it answers by."""

from __future__ import annotations

import random
import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import vici

from edgeward.vpn.naming import gateway_id
from tests.integration.vpn_rig import Charon, Site

WEB: Final = "192.168.4.10"
LOCAL: Final = "10.77.0.0/24"
NETWORKS: Final = ("192.168.4.0/24", "192.168.5.0/24")
"""Those of every customer; the second one is declared now and then."""
WHO: Final = "x-customer"
_OFFERS: Final = {
    128: ("aes-128-gcm-16", "sha256", "group19"),
    256: ("aes-256-gcm-16", "sha384", "group20"),
}
_IKE: Final = ["aes128gcm16-prfsha256-ecp256", "aes256gcm16-prfsha384-ecp384"]
_ESP: Final = ["aes128gcm16-ecp256", "aes128gcm16", "aes256gcm16-ecp384", "aes256gcm16"]


class _Page(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header(WHO, self.server.customer)  # type: ignore[attr-defined]
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


class Customer:
    """A site with a web server, and a charon that takes both offers and all networks, but only one secret."""

    def __init__(self, name: str, site: Site) -> None:
        self.name, self.site = name, site
        self.namespace = f"vpn-{gateway_id('default', 'vpn', name)}"
        self.secret = secrets.token_hex(8)
        self.bits, self.networks = 128, 1
        self.charon: Charon | None = None

    @contextmanager
    def there(self) -> Iterator[None]:
        for one in NETWORKS:
            self.site.ip(f"addr add {one.removesuffix('0/24')}10/32 dev lo")
        self.site.ip(f"route add blackhole {LOCAL}")  # nor does this side let go of anything without a tunnel
        server = self.site.inside(lambda: ThreadingHTTPServer((WEB, 80), _Page))
        server.customer = self.name
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with self.site.charon() as self.charon:
            self._load()
            yield
        server.shutdown()
        server.server_close()

    def declared(self) -> dict[str, Any]:
        """Give what the edge is to be told of it."""
        encryption, integrity, group = _OFFERS[self.bits]
        ike = {"encryption": encryption, "integrity": integrity, "groups": [group]}
        esp = {"encryption": encryption, "groups": [group]}
        return {
            "peer": self.site.outside, "local_id": "@edge.example", "remote_id": f"@{self.name}.example",
            "local_networks": LOCAL, "remote_networks": list(NETWORKS[: self.networks]), "secret": self.secret,
            "profile": {"ike": {"proposals": [ike]}, "ipsec": {"proposals": [esp]}},
        }  # fmt: skip

    def change(self, chance: random.Random) -> str:
        """Have something be another way here; gives what. The edge is to be told then."""
        what = chance.choice(("secret", "bits", "networks"))
        if what == "secret":
            self.secret = secrets.token_hex(8)
            self._load()
        elif what == "bits":
            self.bits = 384 - self.bits
        else:
            self.networks = 3 - self.networks
        return what

    def tunnels(self) -> list[tuple[int, int, int]]:
        """Give those that are up here: number of the IKE_SA, bits of the key of ESP, networks of this side."""
        found = []
        for sa in (sa for each in self._session().list_sas() for sa in each.values()):
            for child in sa.get("child-sas", {}).values():
                if child["state"] == b"INSTALLED" and sa["state"] == b"ESTABLISHED":
                    bits = int(child.get("encr-keysize", b"0"))
                    found.append((int(sa["uniqueid"]), bits, len(child["local-ts"])))
        return found

    def is_as_declared(self, newer: int = 0) -> bool:
        """Whether a tunnel is up in the way that is declared, with an IKE_SA of a number above this one."""
        found = (number > newer and (bits, networks) == (self.bits, self.networks)
                 for number, bits, networks in self.tunnels())  # fmt: skip
        return any(found)

    def newest(self) -> int:
        """Give the highest number of an IKE_SA here."""
        return max((number for number, *_ in self.tunnels()), default=0)

    def end_all(self) -> None:
        """End all tunnels from this side."""
        session = self._session()
        with suppress(vici.exception.CommandException):  # there is none
            for _ in session.terminate({"ike": self.name, "force": "yes", "timeout": "-1"}):
                pass

    def _load(self) -> None:
        session = self._session()
        owners = ["edge.example", f"{self.name}.example"]
        session.load_shared({"id": self.name, "type": "ike", "data": self.secret, "owners": owners})
        child = {"local_ts": list(NETWORKS), "remote_ts": [LOCAL], "esp_proposals": _ESP}
        session.load_conn({self.name: {
            "version": "2", "proposals": _IKE, "remote_addrs": ["%any"], "unique": "replace",
            "local": {"auth": "psk", "id": f"{self.name}.example"}, "remote": {"auth": "psk", "id": "edge.example"},
            "children": {self.name: child},
        }})  # fmt: skip

    def _session(self) -> vici.Session:
        assert self.charon is not None
        opened = socket.socket(socket.AF_UNIX)
        opened.settimeout(20)
        opened.connect(str(self.charon.socket))
        return vici.Session(opened)
