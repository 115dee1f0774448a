"""Which names may be served, under which domain, and which certificate serves them: pure decisions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from edgeward.certificates.model import Domain, Issuer, LocalIssuer, Order
from edgeward.domain_name import wildcard_of
from edgeward.errors import Refused

_DAY_SECONDS: Final = 86400.0
LOCAL: Final = Issuer(name="local", local=LocalIssuer())
"""The issuer that is there without being declared."""


class Policy:
    """The domains and issuers as they are declared now; each is looked up in constant time."""

    def __init__(self, domains: Iterable[Domain] = (), issuers: Iterable[Issuer] = ()) -> None:
        self._domains = {domain.name: domain for domain in domains}
        self._hot = {name: domain for name, domain in self._domains.items() if domain.hot}
        self._issuers = {(issuer.project, issuer.name): issuer for issuer in issuers}
        self._fresh = {domain.name: domain for domain in self.eager()}

    def replace(self, before: object, after: object) -> None:
        """Take in a change of anything declared; None is what is not there, other kinds are passed over."""
        if isinstance(before, Domain) and self._domains.get(before.name) == before:
            del self._domains[before.name]  # else another project has it by now
            self._fresh.pop(before.name, None)
            self._hot.pop(before.name, None)
        elif isinstance(before, Issuer):
            self._issuers.pop((before.project, before.name), None)
        if isinstance(after, Domain):
            self._domains[after.name] = after
            if not after.on_demand:
                self._fresh[after.name] = after
            if after.hot:
                self._hot[after.name] = after
        elif isinstance(after, Issuer):
            self._issuers[after.project, after.name] = after

    def covering(self, name: str) -> Domain | None:
        """Give the domain that covers a canonical name: the one so named, else its wildcard."""
        found = self._domains.get(name)
        if found is None and (wildcard := wildcard_of(name)) is not None:
            found = self._domains.get(wildcard)
        return found

    def eager(self) -> Iterator[Domain]:
        """Give the domains whose certificate should exist now; it bears the domain's own name."""
        return (domain for domain in self._domains.values() if not domain.on_demand)

    def hot(self) -> Iterator[Domain]:
        """Give the names that have an RSA certificate and resume sessions."""
        return iter(self._hot.values())

    def fresh(self) -> list[Domain]:
        """Give those of ``eager()`` that are new or different since this was asked last."""
        found = list(self._fresh.values())
        self._fresh.clear()
        return found

    def wanted(self, certificate_name: str) -> Domain | None:
        """Give the domain for which a certificate so named should go on being renewed, if any.

        None for the own certificate of a name that an eager wildcard serves, and for a wildcard
        certificate whose domain now gives each name its own.
        """
        domain = self.covering(certificate_name)
        if domain is None or not domain.name.startswith("*."):
            return domain
        of_one_name = domain.name != certificate_name
        return domain if of_one_name == domain.on_demand else None

    def order(self, name: str, domain: Domain) -> Order:
        """Say what to issue; raises Refused where the domain's issuer is not declared in its project."""
        issuer = self._issuers.get((domain.project, domain.issuer))
        if issuer is None and domain.issuer != LOCAL.name:
            raise Refused(f"domain {domain.name}: its issuer '{domain.issuer}' does not exist; declare it")
        issuer = issuer or LOCAL
        if issuer.local is None:
            raise Refused(f"domain {domain.name}: ordering from '{issuer.name}' is not possible yet")
        lifetime = issuer.local.lifetime_days * _DAY_SECONDS
        return Order(name, domain.project, issuer.name, lifetime, beside=domain.hot)


def certificate_for(name: str, domain: Domain) -> str:
    """Give the name of the certificate that serves a covered name: its own, or an eager domain's."""
    return name if domain.on_demand else domain.name
