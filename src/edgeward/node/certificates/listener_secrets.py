"""Secrets that listeners themselves refer to: Envoy asks for each once, and gets every new version."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgeward.certificates.model import Domain
from edgeward.certificates.model.client_certificates import ClientCertificates
from edgeward.gateway.envoy.tls import AUTHORITY, ECDSA, RSA, TICKETS, secret_of
from edgeward.node.certificates.secrets import beside
from edgeward.node.state import State, Touched
from edgeward.xds import messages as m
from edgeward.xds.on_demand import LASTING
from edgeward.xds.resource import Resource, resource
from edgeward.xds.server import Connection


class Lasting:
    """``stored(name)`` gives a certificate, or what goes with one, from the sealed copy."""

    def __init__(self, state: State, stored: Callable[[str], bytes | None]) -> None:
        self._state = state
        self._stored = stored
        self._asked: dict[Connection, set[str]] = {}
        self._whole: dict[str, bool] = {}

    def asked(self, connection: Connection, name: str) -> None:
        self._asked.setdefault(connection, set()).add(name)
        connection.delta.answer(name, self.secret(name))

    def dropped(self, connection: Connection, name: str) -> None:
        self._asked.get(connection, set()).discard(name)

    def closed(self, connection: Connection) -> None:
        self._asked.pop(connection, None)

    def touched(self, touched: Touched) -> None:
        """Give every Envoy what may be another version now; what it has goes unsaid."""
        for domain in [d for d in self._whole if touched.hits(d)]:
            del self._whole[domain]
        for connection, names in self._asked.items():
            for name in names:
                if touched.hits(_split(name)[1]):
                    connection.delta.answer(name, self.secret(name))
            connection.flush()

    def hot(self, domain: Domain) -> bool:
        """Tell whether a hot name has all it needs by now; until then it is served like all others."""
        if not domain.hot:
            return False
        if domain.name not in self._whole:
            parts = (self.secret(secret_of(domain.name, what)) for what in (ECDSA, RSA, TICKETS))
            self._whole[domain.name] = all(part is not None for part in parts)
        return self._whole[domain.name]

    def secret(self, name: str) -> Resource | None:
        """Give a secret as it is now, or None where there is none."""
        what, of = _split(name)
        domain = self._state.own.get(of)
        message = None if domain is None else self._message(what, domain)
        if message is None or domain is None:
            return None
        message.name = name
        return resource(message, name, f"domains/{domain.project}/{domain.name}")

    def _message(self, what: str, domain: Domain) -> Any:
        if what == AUTHORITY and domain.client_certificates is not None:
            return m.Secret(validation_context=_authority(domain.client_certificates))
        if not domain.hot or what not in (ECDSA, RSA, TICKETS):
            return None
        record = self._stored(domain.name if what == ECDSA else beside(domain.name, what))
        if record is None:
            return None
        if what == TICKETS:
            return m.Secret(session_ticket_keys=m.TlsSessionTicketKeys.FromString(record))
        return m.Secret(tls_certificate=m.TlsCertificate.FromString(record))


def _split(name: str) -> tuple[str, str]:
    """Give what a secret is, and of which domain."""
    what, _, domain = name.removeprefix(LASTING).partition("/")
    return what, domain


def _authority(client: ClientCertificates) -> Any:
    context = m.CertificateValidationContext(trusted_ca=m.DataSource(inline_string=client.ca))
    if client.crl is not None:
        context.crl.inline_string = client.crl
    return context
