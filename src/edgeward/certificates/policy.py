"""Which names may be served, under which domain, and which certificate serves them: pure decisions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from edgeward.certificates.model import UPLOADED, Domain, Issuer, LocalIssuer, Order, Standing, Withheld
from edgeward.domain_name import CATCH_ALL, patterns_of, wildcard_of
from edgeward.errors import Refused

_DAY_SECONDS: Final = 86400.0
LOCAL: Final = Issuer(name="local", local=LocalIssuer())
"""The issuer that is there without being declared."""


@dataclass(frozen=True)
class Ordering:
    """How a certificate is ordered: for which names, and from whom, the first choice first."""

    project: str
    names: tuple[str, ...]
    chain: tuple[Issuer, ...]

    def of(self, project: str, issuer: str) -> bool:
        """Whether this is what an order was queued for."""
        return (self.project, self.chain[0].name) == (project, issuer)


class Policy:
    """The domains and issuers as they are declared now, and the names that are withheld; each is looked up
    in constant time.
    """

    def __init__(
        self,
        domains: Iterable[Domain] = (),
        issuers: Iterable[Issuer] = (),
        withheld: Iterable[Withheld] = (),
    ) -> None:
        self._domains = {domain.name: domain for domain in domains}
        self._also = {name: domain for domain in self._domains.values() for name in domain.also}
        self._withheld = {(one.project, one.name) for one in withheld}
        self._hot = {name: domain for name, domain in self._domains.items() if domain.hot}
        self._issuers = {(issuer.project, issuer.name): issuer for issuer in issuers}
        self._fresh = {domain.name: domain for domain in self.eager()}

    def replace(self, before: object, after: object) -> None:
        """Take in a change of anything declared; None is what is not there, other kinds are passed over."""
        if isinstance(before, Domain) and self._domains.get(before.name) == before:
            del self._domains[before.name]  # else another project has it by now
            self._fresh.pop(before.name, None)
            self._hot.pop(before.name, None)
            for name in before.also:
                if self._also.get(name) == before:
                    del self._also[name]
        elif isinstance(before, Issuer):
            self._issuers.pop((before.project, before.name), None)
        elif isinstance(before, Withheld):
            self._withheld.discard((before.project, before.name))
            self.look_again_at(before.name)
        if isinstance(after, Domain):
            self._domains[after.name] = after
            self._also.update(dict.fromkeys(after.also, after))
            if not after.on_demand:
                self._fresh[after.name] = after
            if after.hot:
                self._hot[after.name] = after
        elif isinstance(after, Issuer):
            self._issuers[after.project, after.name] = after
        elif isinstance(after, Withheld):
            self._withheld.add((after.project, after.name))

    def look_again_at(self, name: str) -> None:
        """Have ``fresh()`` give the eager domain that says this name."""
        domain = self._named(name)
        if domain is not None and not domain.on_demand:
            self._fresh[domain.name] = domain

    def _named(self, name: str) -> Domain | None:
        return self._domains.get(name) or self._also.get(name)

    def covering(self, name: str) -> Domain | None:
        """Give the domain that covers a canonical name: the one that says it, else its wildcard's, else that
        of any name.
        """
        found = self._named(name)
        if found is None and (wildcard := wildcard_of(name)) is not None:
            found = self._named(wildcard)
        return found or self._domains.get(CATCH_ALL)

    def withholding(self, name: str) -> str | None:
        """Give what was deactivated so that a canonical name is withheld: it, or the wildcard serving it."""
        domain = self.covering(name) if self._withheld else None
        if domain is None:
            return None
        if (domain.project, name) in self._withheld:
            return name
        over = next((pattern for pattern in patterns_of(name) if self._named(pattern) is not None), None)
        return over if (domain.project, over) in self._withheld else None

    def withheld(self, name: str) -> bool:
        return self.withholding(name) is not None

    def names_of(self, domain: Domain) -> tuple[str, ...]:
        """Give the names that a domain's own certificate is to bear now: all that are not withheld."""
        return tuple(name for name in domain.names if (domain.project, name) not in self._withheld)

    def lacks(self, domain: Domain, standing: Mapping[str, Standing]) -> bool:
        """Tell whether an eager domain wants a certificate other than those that stand now, by name."""
        names = self.names_of(domain)
        if not names:
            return False
        found = [standing.get(name) for name in names]
        if any(one is None for one in found):
            return domain.issuer != UPLOADED
        issued = [one for one in found if one is not None and one.source != UPLOADED]
        leaders = [None, *(names[0] for _ in names[1:])]
        if len(issued) == len(found) and [one.leader for one in issued] != leaders:
            return True
        wanted = {domain.issuer, *(issuer.name for issuer in self.chain(domain))}
        return any(one.project != domain.project or one.issuer not in wanted for one in issued) or (
            len({one.fingerprint for one in issued}) > 1
        )

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
        if domain is None:
            return None
        each_its_own = domain.on_demand and not domain.also
        if certificate_name not in domain.names:
            return domain if each_its_own else None
        return None if each_its_own and certificate_name.startswith("*.") else domain

    def order(self, name: str, domain: Domain) -> Order:
        """Say what to issue, or to order; raises Refused where the name is withheld, or where the domain's
        project has no such issuer, or one that cannot issue such a name.
        """
        names = self.names_of(domain) if name in domain.names else (name,)
        if not names or self.withheld(names[0]):
            raise Refused(withheld_sentence(name))
        if domain.issuer == UPLOADED:
            raise Refused(
                f"domain {domain.name}: its certificates are brought by people; edgeward certificates upload"
            )
        issuer = self.issuer(domain.project, domain.issuer)
        if issuer is None:
            raise Refused(
                f"domain {domain.name}: its issuer '{domain.issuer}' does not exist; declare it, or use local"
            )
        if issuer.acme is None:
            return local_order(names, domain.project, issuer, beside=domain.hot)
        if any(n.startswith("*.") for n in names) and "dns-01" not in issuer.acme.challenges:
            raise Refused(
                f"domain {domain.name}: a wildcard is proven by dns-01 only; put that into the challenges of"
                f" issuer '{issuer.name}', or make the domain on_demand"
            )
        return Order(names[0], domain.project, issuer.name, 0.0, also=names[1:], queued=True)

    def ordering(self, name: str) -> Ordering | None:
        """Say how a certificate is ordered; None where nobody wants it, or we sign it ourselves."""
        domain = self.wanted(name)
        chain = self.chain(domain) if domain is not None else ()
        if domain is None or not chain or chain[0].acme is None:
            return None
        names = self.names_of(domain) if name in domain.names else (name,)
        if not names or names[0] != name or self.withheld(name):
            return None
        return Ordering(domain.project, names, chain)

    def chain(self, domain: Domain) -> tuple[Issuer, ...]:
        """Give the domain's issuer and those to fall back to, as far as they are declared."""
        first = self.issuer(domain.project, domain.issuer)
        if first is None:
            return ()
        names = dict.fromkeys(name for name in first.fallback if name != first.name)  # each is tried once
        others = (self.issuer(domain.project, name) for name in names)
        return (first, *(issuer for issuer in others if issuer is not None))

    def orders(self, domain: Domain) -> bool:
        """Whether its certificates are ordered from an authority that is not ours."""
        issuer = self.issuer(domain.project, domain.issuer)
        return issuer is not None and issuer.acme is not None

    def issuers(self) -> Iterator[Issuer]:
        """Give those that are declared."""
        return iter(self._issuers.values())

    def issuer(self, project: str, name: str) -> Issuer | None:
        """Give a declared issuer, or our own, which always exists."""
        found = self._issuers.get((project, name))
        return LOCAL if found is None and name == LOCAL.name else found


def local_order(names: Sequence[str], project: str, issuer: Issuer, *, beside: bool = False) -> Order:
    """Say what our own authority signs; ``issuer`` is one of its kind."""
    lifetime = (issuer.local or LocalIssuer()).lifetime_days * _DAY_SECONDS
    return Order(names[0], project, issuer.name, lifetime, beside, tuple(names[1:]))


def certificate_for(name: str, domain: Domain) -> str:
    """Give the name of the certificate that serves a covered name: its own, or its domain's."""
    return name if domain.on_demand and not domain.also else domain.name


def withheld_sentence(name: str) -> str:
    return f"{name} is deactivated; edgeward certificates activate {name} has it served again"
