"""From what another program keeps to what is declared and brought here: values in, values out."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from edgeward.certificates.brought.pair import Pair
from edgeward.certificates.brought.pair import read as read_pair
from edgeward.certificates.model import UPLOADED, Domain
from edgeward.cli.imports.found import Account, Found, Lineage
from edgeward.domain_name import normalise_pattern, patterns_of
from edgeward.errors import Invalid

_KNOWN: Final[Mapping[str, str]] = {
    "acme-v02.api.letsencrypt.org": "letsencrypt",
    "acme-staging-v02.api.letsencrypt.org": "letsencrypt-staging",
    "acme.zerossl.com": "zerossl",
    "dv.acme-v02.api.pki.goog": "google",
    "api.buypass.com": "buypass",
    "acme.ssl.com": "sslcom",
}
LOCAL: Final = "local"
_MOST_NAMES: Final = 100


@dataclass(frozen=True)
class Bring:
    """A pair, and the names it is kept under."""

    names: tuple[str, ...]
    issuer: str
    project: str
    pair: Pair


@dataclass(frozen=True)
class Register:
    issuer: str
    project: str
    account: Account


@dataclass
class Plan:
    """``issuers`` and ``domains`` are those to be declared, as a document has them."""

    issuers: list[dict[str, Any]] = field(default_factory=list)
    domains: list[dict[str, Any]] = field(default_factory=list)
    pairs: list[Bring] = field(default_factory=list)
    accounts: list[Register] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def document(self) -> dict[str, Any]:
        sections = {"issuers": self.issuers, "domains": self.domains}
        return {"version": 1, **{name: items for name, items in sections.items() if items}}


@dataclass(frozen=True)
class Declared:
    """What the server has already: its domains, and its issuers by the directory they order from."""

    domains: Sequence[Domain] = ()
    issuers: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """Project and directory → name."""
    names: frozenset[str] = frozenset()
    """Of issuers, whatever they order from."""


@dataclass(frozen=True)
class _Read:
    lineage: Lineage
    names: tuple[str, ...]
    pair: Pair | None


def plan(found: Found, declared: Declared, project: str, ca_file: str | None, now: float) -> Plan:
    """Say what to declare and to bring; a name that several certificates bear goes to the longest of them."""
    made = Plan(notes=list(found.notes))
    known = {name: domain for domain in declared.domains for name in domain.names}
    names = _named(found.lineages, declared, project)
    read = [one for lineage in found.lineages if (one := _read(lineage, made.notes, now)) is not None]
    given: set[str] = set()
    for one in sorted(read, key=lambda r: (-_end(r.pair), r.lineage.place)):
        fresh = [name for name in one.names if name not in given]
        if len(fresh) < len(one.names):
            made.notes.append(
                f"{one.lineage.place}: another certificate bears some of its names, and is longer"
            )
        given.update(fresh)
        _to_declared(made, one, {known[name].name: known[name] for name in fresh if name in known})
        issuer = LOCAL if one.lineage.directory is None else names[one.lineage.directory]
        left = [name for name in fresh if name not in known]
        each = {name: domain for name in left if (domain := _each_its_own(name, known)) is not None}
        if one.pair is not None:
            made.pairs += [Bring((name,), d.issuer, d.project, one.pair) for name, d in each.items()]
        _to_fresh(made, one, [name for name in left if name not in each], issuer, project)
    used = {domain["issuer"] for domain in made.domains if "issuer" in domain}
    _issuers(made, found, declared, (project, ca_file), {d: n for d, n in names.items() if n in used})
    made.domains.sort(key=lambda domain: str(domain["name"]))
    return made


def _each_its_own(name: str, known: Mapping[str, Domain]) -> Domain | None:
    """Give the domain that has certificates of names on demand, and this among them."""
    domain = next((known[pattern] for pattern in patterns_of(name) if pattern in known), None)
    return domain if domain is not None and domain.many and name not in domain.names else None


def _read(lineage: Lineage, notes: list[str], now: float) -> _Read | None:
    """Read a certificate; its names stay where it is of no use itself."""
    pair = None
    if lineage.directory is not None:
        try:
            pair = read_pair(lineage.cert, lineage.key.reveal(), now)
        except Invalid as error:
            notes.append(f"{lineage.place}: its certificate is left out: {error}")
    names = pair.names if pair is not None else _canonical(lineage.names)
    if not names:
        return None
    first = min(names, key=lambda name: (name != lineage.place, name.startswith("*."), names.index(name)))
    ordered = (first, *(name for name in names if name != first))
    if len(ordered) > _MOST_NAMES:
        notes.append(f"{lineage.place}: only the first {_MOST_NAMES} of its names are taken")
    return _Read(lineage, ordered[:_MOST_NAMES], pair)


def _canonical(names: Iterable[str]) -> tuple[str, ...]:
    found = []
    for name in names:
        try:
            found.append(normalise_pattern(name))
        except Invalid:
            continue  # localhost, or an address: nothing to be served here
    return tuple(dict.fromkeys(found))


def _end(pair: Pair | None) -> float:
    return 0.0 if pair is None else pair.not_after.timestamp()


def _to_declared(made: Plan, one: _Read, domains: Mapping[str, Domain]) -> None:
    """Bring a pair under the names of domains that are declared already, as far as it bears them."""
    for domain in domains.values():
        missing = next((n for n in domain.names if one.pair is None or not one.pair.bears(n)), None)
        if one.pair is None or domain.issuer == UPLOADED:
            continue
        if missing is not None:
            made.notes.append(
                f"{one.lineage.place}: the domain {domain.name} has {missing}, too, which it does not bear"
            )
            continue
        made.pairs.append(Bring(domain.names, domain.issuer, domain.project, one.pair))


def _to_fresh(made: Plan, one: _Read, names: Sequence[str], issuer: str, project: str) -> None:
    if not names:
        return
    domain: dict[str, Any] = {"name": names[0]}
    if len(names) > 1:
        domain["also"] = list(names[1:])
    if issuer != LOCAL:
        domain["issuer"] = issuer
    if project != "default":
        domain["project"] = project
    made.domains.append(domain)
    if one.pair is not None:
        made.pairs.append(Bring(tuple(names), issuer, project, one.pair))
    wildcard = next((name for name in names if name.startswith("*.")), None)
    if wildcard is not None and issuer != LOCAL:
        made.notes.append(f"{wildcard} is renewed by dns-01 only: say so in the issuer '{issuer}', and how")


def _issuers(
    made: Plan, found: Found, declared: Declared, place: tuple[str, str | None], names: Mapping[str, str]
) -> None:
    """Declare the issuers that are missing, and have each the account that most certificates are from."""
    uses = Counter((lineage.directory, lineage.account) for lineage in found.lineages)
    fresh = {(place[0], directory): name for directory, name in names.items()}
    for (project, directory), name in sorted({**fresh, **declared.issuers}.items()):
        accounts = [account for account in found.accounts if account.directory == directory]
        best = max(accounts, key=lambda account: uses[directory, account.id], default=None)
        if (project, directory) not in declared.issuers:
            made.issuers.append(_issuer(name, directory, best, found, place))
        if best is not None:
            made.accounts.append(Register(name, project, best))
            others = [account.id for account in accounts if account is not best]
            made.notes += [f"left out the account {id}: the issuer '{name}' takes {best.id}" for id in others]


def _issuer(
    name: str, directory: str, account: Account | None, found: Found, place: tuple[str, str | None]
) -> dict[str, Any]:
    project, ca_file = place
    acme: dict[str, Any] = {"directory": directory}
    if account is not None and account.email:
        acme["email"] = account.email
    if ca_file is not None:
        acme["ca_file"] = ca_file
    chains = {lineage.preferred_chain for lineage in found.lineages if lineage.directory == directory}
    if len(chains) == 1 and (chain := chains.pop()) is not None:
        acme["preferred_chain"] = chain
    return {"name": name, **({} if project == "default" else {"project": project}), "acme": acme}


def _named(lineages: Iterable[Lineage], declared: Declared, project: str) -> dict[str, str]:
    """Give each authority the name of its issuer: the one it has here, or a new one."""
    names: dict[str, str] = {}
    for directory in sorted({lineage.directory for lineage in lineages if lineage.directory is not None}):
        known = declared.issuers.get((project, directory))
        names[directory] = known or _fresh_name(directory, {*names.values(), *declared.names})
    return names


def _fresh_name(directory: str, taken: set[str]) -> str:
    host = urlsplit(directory).hostname or "acme"
    name = _KNOWN.get(host) or re.sub(r"[^A-Za-z0-9.-]+", "-", host).strip("-.")[:80]
    return next(n for n in (name, *(f"{name}-{i}" for i in range(2, 1000))) if n not in taken)
