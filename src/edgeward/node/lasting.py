"""Secrets that listeners themselves refer to: Envoy asks for each once, and gets every new version."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgeward.certificates.client import ClientCertificates
from edgeward.gateway.envoy.tls import authority_of
from edgeward.node.state import State, Touched
from edgeward.xds import messages as m
from edgeward.xds.resource import Resource, resource
from edgeward.xds.server import Connection


class Lasting:
    """``find(name)`` gives a secret as it is now, or None where there is none."""

    def __init__(self, find: Callable[[str], Resource | None]) -> None:
        self._find = find
        self._asked: dict[Connection, set[str]] = {}

    def asked(self, connection: Connection, name: str) -> None:
        self._asked.setdefault(connection, set()).add(name)
        connection.delta.answer(name, self._find(name))

    def dropped(self, connection: Connection, name: str) -> None:
        self._asked.get(connection, set()).discard(name)

    def closed(self, connection: Connection) -> None:
        self._asked.pop(connection, None)

    def touched(self, touched: Touched) -> None:
        """Give every Envoy what may be another version now; what it has goes unsaid."""
        for connection, names in self._asked.items():
            for name in names:
                if touched.hits(domain_of(name)):
                    connection.delta.answer(name, self._find(name))
            connection.flush()


def domain_of(name: str) -> str:
    """Give the domain that a secret is about."""
    return name.partition("/")[2]


def finder(state: State) -> Callable[[str], Resource | None]:
    """Give the way from a secret's name to the secret, as the state says it."""

    def find(name: str) -> Resource | None:
        domain = state.own.get(domain_of(name))
        if domain is None or domain.client_certificates is None or name != authority_of(domain.name):
            return None
        owner = f"domains/{domain.project}/{domain.name}"
        return resource(_authority(name, domain.client_certificates), name, owner)

    return find


def _authority(name: str, client: ClientCertificates) -> Any:
    context = m.CertificateValidationContext(trusted_ca=m.DataSource(inline_string=client.ca))
    if client.crl is not None:
        context.crl.inline_string = client.crl
    return m.Secret(name=name, validation_context=context)
