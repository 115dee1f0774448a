"""A real name server (Knot DNS) that takes dynamic updates, started by the tests on a port of its own."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dns.exception
import dns.message
import dns.query
import dns.rcode
import dns.tsigkeyring
import dns.update

from tests.integration.processes import running, until
from tests.ports import free_port

KEY = "edgeward"
SECRET = base64.b64encode(b"a key of the tests, thirty-two b").decode()

_CONFIG = """
server:
    listen: 127.0.0.1@{port}
    rundir: {directory}
    pidfile: {directory}/knot.pid
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
    dbus-event: none
database:
    storage: {directory}/db
key:
  - id: {key}
    algorithm: hmac-sha256
    secret: {secret}
acl:
  - id: proofs
    key: {key}
    action: update
    update-type: [TXT]
{owner}
zone:
  - domain: {zone}
    file: {directory}/zone
    acl: proofs
    semantic-checks: off
log:
  - target: stderr
    any: warning
"""
_ZONE = """$ORIGIN {zone}.
$TTL 60
@ SOA ns1 hostmaster 1 3600 600 86400 1
@ NS ns1
ns1 A 127.0.0.1
{records}
"""


@dataclass(frozen=True)
class Knot:
    port: int

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def texts(self, name: str) -> list[str]:
        answer = dns.query.tcp(dns.message.make_query(name, "TXT"), "127.0.0.1", 5, self.port)
        return sorted(str(record).strip('"') for found in answer.answer for record in found)

    def put(self, zone: str, name: str, texts: Iterable[str]) -> None:
        """Have these and no other texts under a name."""
        update = dns.update.UpdateMessage(
            zone, keyring=dns.tsigkeyring.from_text({KEY: SECRET}), keyalgorithm="hmac-sha256"
        )
        update.delete(name, "TXT")
        for text in texts:
            update.add(name, 60, "TXT", text)
        assert dns.query.tcp(update, "127.0.0.1", 5, self.port).rcode() == dns.rcode.NOERROR

    def ready(self) -> bool:
        try:
            self.texts("ready.test")
        except (dns.exception.DNSException, OSError):
            return False
        return True


@contextmanager
def knot(
    directory: Path, needs: Callable[[str], str], zone: str, records: str = "", only: str | None = None
) -> Iterator[Knot]:
    """Serve ``zone`` with these records; ``only``: the key may write there and below, not elsewhere."""
    directory = directory / "knot"
    (directory / "db").mkdir(parents=True)
    owner = ""
    if only is not None:
        owner = f"    update-owner: name\n    update-owner-match: sub-or-equal\n    update-owner-name: {only}"
    made = Knot(free_port())
    places = {"port": made.port, "directory": directory, "zone": zone, "owner": owner}
    (directory / "zone").write_text(_ZONE.format(zone=zone, records=records))
    (directory / "knot.conf").write_text(_CONFIG.format(key=KEY, secret=SECRET, **places))
    with running([needs("knotd"), "-c", directory / "knot.conf"]) as process:
        until(lambda: made.ready() or not process.alive(), what="the name server's readiness")
        assert process.alive(), process.output()
        yield made
