"""What may be served with which certificate, where it comes from, and how long each tier keeps it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Annotated, Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from edgeward.certificates.model.client_certificates import ClientCertificates
from edgeward.certificates.model.dns01 import DnsProof
from edgeward.domain_name import CATCH_ALL
from edgeward.parsing import HostPattern, Name, Value
from edgeward.placement import Selector
from edgeward.sealing import Sealed
from edgeward.secret import Secret

Challenge = Literal["http-01", "tls-alpn-01", "dns-01"]
ORDERED: Final = "ordered"
"""The source of certificates that other authorities issued to us."""
UPLOADED: Final = "uploaded"
"""The issuer of domains whose certificates people bring, and the source of these certificates."""
IMPORTED: Final = "imported"
"""The source of certificates that another program obtained, and that are renewed here."""


AskUrl = Annotated[str, Field(pattern=r"^https?://[^\s/?#@]+([/?][^\s#]*)?$", max_length=1000)]


class LocalIssuer(Value):
    """Certificates from this installation's own authority."""

    lifetime_days: float = Field(default=7, gt=0.0005, le=397, allow_inf_nan=False)
    """Validity of a certificate; it is renewed when a third is left."""


class ExternalAccount(Value):
    """The account at the authority's own site that an ACME account is bound to (RFC 8555, 7.3.4)."""

    kid: str = Field(min_length=1, max_length=300)
    """The key's identifier, as the authority gave it."""
    hmac_key: Sealed
    """The key, in base64url, as the authority gave it."""


class Limit(Value):
    """How many of something an authority allows within any so many seconds."""

    most: int = Field(ge=1, le=100_000_000)
    """How many."""
    seconds: float = Field(ge=1, le=366 * 86400, allow_inf_nan=False)
    """Within how long."""


class Limits(Value):
    """What an authority allows; the defaults are those of Let's Encrypt. ``null``: it has no such limit."""

    orders: Limit | None = Limit(most=300, seconds=3 * 3600)
    """New orders of one account."""
    domain: Limit | None = Limit(most=50, seconds=7 * 86400)
    """Certificates below one registered domain, as the public suffix list has it."""
    exact: Limit | None = Limit(most=5, seconds=7 * 86400)
    """Certificates of the same set of names."""
    failures: Limit | None = Limit(most=5, seconds=3600)
    """Failed proofs of one name."""


class AcmeIssuer(Value):
    """Certificates from an authority that speaks ACME (RFC 8555)."""

    directory: str = Field(pattern=r"^https://[^\s/]+(/[^\s]*)?$", max_length=500)
    """URL of its directory."""
    email: str | None = Field(default=None, pattern=r"^[^@\s,]+@[^@\s,]+$", max_length=300)
    """Whom it writes to about expiry, where it still does."""
    ca_file: str | None = Field(default=None, max_length=1000)
    """PEM file on the controller's host with the roots its HTTPS is trusted by, instead of the system's."""
    challenges: list[Challenge] = Field(default=["http-01", "tls-alpn-01"], min_length=1)
    """How names are proven, in the order of preference; wildcards need ``dns-01``."""
    eab: ExternalAccount | None = None
    """Where it wants accounts bound to one of its own site."""
    key: Literal["ecdsa", "rsa"] = "ecdsa"
    """Kind of the certificates' keys: ECDSA P-256, or RSA of 2048 bits."""
    dns: DnsProof | None = None
    """How records get into DNS, for ``dns-01``."""
    profile: str | None = Field(default=None, max_length=100)
    """Which of the authority's profiles to order, such as ``shortlived``."""
    preferred_chain: str | None = Field(default=None, max_length=200)
    """Common name of the root, or of an issuer, in the chain to choose where it offers several."""
    limits: Limits = Limits()
    """How much it allows; orders wait rather than be refused. Renewals it suggested itself do not count."""
    parallel: int = Field(default=20, ge=1, le=100)
    """How many orders are worked on at once."""

    @model_validator(mode="after")
    def _records_have_a_way(self) -> Self:
        if ("dns-01" in self.challenges) != (self.dns is not None):
            raise ValueError("dns-01 among the challenges and dns: {…} go together; declare both, or neither")
        return self


class Issuer(Value):
    """A source of certificates: this installation's own authority, or one that speaks ACME."""

    name: Name
    project: Name = "default"
    local: LocalIssuer | None = None
    """This installation's own authority."""
    acme: AcmeIssuer | None = None
    """An authority that speaks ACME, such as Let's Encrypt."""
    fallback: list[Name] = Field(default=[], max_length=5)
    """Issuers of the same project that are tried, in this order, where this one cannot issue."""

    @field_validator("name")
    @classmethod
    def _not_of_people(cls, name: str) -> str:
        if name == UPLOADED:
            raise ValueError(f"'{UPLOADED}' stands for certificates that people bring; choose another name")
        return name

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.local is None) == (self.acme is None):
            raise ValueError("say one of local: {} and acme: {directory: …}")
        return self


class Domain(Value):
    """A name that may be served: exact, or ``*.suffix`` for any single label below the suffix.

    Eager (the default): the certificate exists soon after the declaration; a wildcard gets one
    wildcard certificate. On demand: it exists after the first handshake; each name below a
    wildcard gets its own.
    """

    name: HostPattern
    """An exact name, ``*.suffix``, or ``*`` for any name that nothing else covers (with ``ask``; for admins
    of every project); unique over all projects."""
    project: Name = "default"
    issuer: Name = "local"
    """Where its certificates come from; ``local`` always exists, and ``uploaded``: people bring them."""
    also: tuple[HostPattern, ...] = Field(default=(), max_length=99)
    """More names on the same certificate, exact or ``*.suffix``; they belong to this domain in all else."""
    on_demand: bool = False
    """Issue at the first handshake instead of at the declaration."""
    ask: AskUrl | None = None
    """Asked before a name gets its first certificate: `GET` with `?domain=NAME`; 200 allows it, all else does
    not, redirects too. Where it does not answer, names that have a certificate are served and renewed as
    ever. For names on demand; for admins of every project."""
    new_names: int | None = Field(default=None, ge=1, le=100_000_000)
    """How many new names below a wildcard on demand may come about within an hour, instead of what
    ``budgets`` says."""
    most_names: int = Field(default=100_000, ge=1, le=100_000_000)
    """How many names below a wildcard on demand may have certificates: strangers choose these names."""
    nodes: Selector | None = None
    """Labels of the nodes that serve it and hold its keys, `{region: eu, tier: [gold, silver]}`; else all."""
    client_certificates: ClientCertificates | None = None
    """Which certificates its visitors show of themselves; unset: none."""

    hot: bool = False
    """For exact names with much traffic: TLS sessions are resumed on every node, RSA stands beside ECDSA, and
    HTTP/3 is offered."""

    @property
    def names(self) -> tuple[str, ...]:
        """Its own name, then the others on its certificate."""
        return (self.name, *self.also)

    @property
    def many(self) -> bool:
        """Whether strangers choose names of it."""
        return self.on_demand and self.name.startswith("*")

    @property
    def own_chain(self) -> bool:
        """Whether its visitors get a filter chain of their own; there is room for a thousand."""
        return self.hot or self.client_certificates is not None

    @model_validator(mode="after")
    def _any_name(self) -> Self:
        if CATCH_ALL in self.also:
            raise ValueError("* stands for any name and is a domain of its own; leave it out of also")
        if self.name != CATCH_ALL:
            return self
        if not self.on_demand or self.ask is None:
            raise ValueError("* stands for any name; say on_demand: true, and in ask who knows which names")
        if self.nodes is not None or self.client_certificates is not None or self.also:
            raise ValueError("* is for all names, nodes and visitors; say only on_demand, ask and issuer")
        return self

    @model_validator(mode="after")
    def _asked_on_demand(self) -> Self:
        if self.ask is not None and not self.on_demand:
            raise ValueError("ask is for names on demand; say on_demand: true, or leave it out")
        if self.new_names is not None and not self.many:
            raise ValueError("new_names is for wildcards on demand; leave it out")
        return self

    @model_validator(mode="after")
    def _hot_ahead(self) -> Self:
        if self.hot and self.name.startswith("*."):
            raise ValueError("hot is for exact names; declare the names that have much traffic by themselves")
        if self.hot and self.on_demand:
            raise ValueError("hot names have their certificates ahead of visitors; leave out on_demand")
        return self

    @model_validator(mode="after")
    def _one_certificate(self) -> Self:
        if not self.also:
            return self
        if self.on_demand and self.name.startswith("*."):
            raise ValueError("below a wildcard on demand each name has its own certificate; leave out also")
        if self.own_chain:
            raise ValueError(
                "a domain that is hot or asks for client_certificates stands by itself; leave out also"
            )
        twice = next((name for name in self.names if self.names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"'{twice}' is said twice in name and also; say it once")
        return self


class Withheld(Value):
    """A name that is deactivated: no certificate of it is served or obtained until it is activated again."""

    name: HostPattern
    """A name of a domain of the project; ``*.suffix`` stands for all names that this wildcard serves."""
    project: Name = "default"
    reason: str | None = Field(default=None, max_length=500)
    """Why, for people."""


class Budgets(Value):
    """How many new names strangers may bring about within an hour; one object, named ``budgets``."""

    each_domain: int = Field(default=10_000, ge=1, le=100_000_000)
    """Below one wildcard on demand, with certificates of this installation's own authority."""
    each_ordering_domain: int = Field(default=300, ge=1, le=100_000_000)
    """Below one whose certificates are ordered from an authority that allows only so many."""
    each_project: int = Field(default=20_000, ge=1, le=100_000_000)
    """Below all wildcards of a project."""
    in_all: int = Field(default=50_000, ge=1, le=100_000_000)
    """Below all there are."""


class Alarms(Value):
    """Who is told of certificates that are not renewed in time and of tunnels that stay down; one object,
    named ``alarms``.

    A certificate is late when half of the time for its renewal has gone: with a sixth of its life left, a
    quarter where that is below ten days. It is told of at once, and each day until it is renewed. A tunnel
    is told of when it is down for ten seconds, and when it is up again.
    """

    webhook: str | None = Field(default=None, pattern=r"^https?://[^\s/]+(/[^\s]*)?$", max_length=1000)
    """URL they are sent to: a POST of JSON with ``alarm`` (``certificates_late``, ``tunnels``), ``count``,
    and ``certificates`` or ``tunnels``."""
    authorization: Sealed | None = None
    """What is sent with it as the header ``Authorization``."""


class Cache(Value):
    """Bounds and durations of the tiers on every node; one object, named ``cache``."""

    resident: int = Field(default=10_000, ge=10, le=1_000_000)
    """Certificates in Envoy."""
    spellings: int = Field(default=256, ge=1, le=100_000)
    """Certificates in Envoy under non-canonical spellings, counted apart."""
    memory: int = Field(default=20_000, ge=0, le=1_000_000)
    """Certificates in the node's memory."""
    memory_seconds: float = Field(default=3600, ge=1, le=86400 * 30)
    """How long a certificate stays in memory at most."""
    misses: int = Field(default=50_000, ge=0, le=1_000_000)
    """Names remembered as not to be had."""
    miss_seconds: float = Field(default=5, ge=0, le=3600)
    """How long a name is remembered as not to be had; any change of its domain forgets it."""


@dataclass(frozen=True)
class Certificate:
    """A certificate with its key, as stored and as sent to nodes.

    ``name`` is the canonical name it is looked up by (exact or ``*.suffix``); ``chain`` is PEM, leaf
    first, without the root; ``key`` is PKCS#8 PEM. Times are aware, in UTC.
    """

    name: str
    project: str
    issuer: str
    chain: str
    key: Secret[str]
    not_before: datetime
    not_after: datetime
    renew_at: datetime
    fingerprint: str
    """SHA-256 of the leaf's DER, lower-case hex."""
    beside: Beside | None = None
    """Its twin for visitors who know no ECDSA."""
    source: str = "issued"
    """``issued`` by ourselves, ``ordered``, ``uploaded`` or ``imported``; uploaded ones are not renewed."""
    leader: str | None = None
    """The name whose certificate this is a copy of, where several names share one."""

    def under(self, names: Sequence[str]) -> list[Certificate]:
        """Give it as it is kept for each of its names: the first leads, and is the one that is renewed."""
        first, *others = names
        copies = [replace(self, name=name, leader=first) for name in others]
        return [replace(self, name=first, leader=None), *copies]


@dataclass(frozen=True)
class Beside:
    """An RSA certificate of the same name, made and renewed together with the ECDSA one."""

    chain: str
    key: Secret[str]
    fingerprint: str


@dataclass(frozen=True)
class Order:
    """A certificate to be issued for one canonical name; ``lifetime`` is in seconds."""

    name: str
    project: str
    issuer: str
    lifetime: float
    beside: bool = False
    """With an RSA twin."""
    also: tuple[str, ...] = ()
    """More names that it bears."""
    queued: bool = False
    """From an authority that is not ours: it takes its time."""

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name, *self.also)


@dataclass(frozen=True)
class Kept:
    """A certificate as the store holds it."""

    certificate: Certificate
    revision: int
    placed: int = field(default=0, compare=False)
    """The revision at which it, or which nodes may have it, last changed."""


@dataclass(frozen=True)
class Summary:
    """A certificate without its key, for people. Times are Unix seconds."""

    name: str
    project: str
    issuer: str
    chain: str
    fingerprint: str
    not_before: float
    not_after: float
    renew_at: float
    revision: int
    source: str = "issued"
    leader: str | None = None
    withheld: bool = False
    """Whether its name is deactivated: nobody is served with it."""


@dataclass(frozen=True)
class Standing:
    """What a name has: enough to see whether its domain wants another certificate."""

    project: str
    issuer: str
    source: str
    leader: str | None
    fingerprint: str


@dataclass(frozen=True)
class Wanted:
    """Which certificates are asked for; None means any. ``name`` may end in ``*``."""

    project: str | None = None
    issuer: str | None = None
    name: str | None = None
    ends_before: float | None = None
    since: int | None = None
    """Only what changed after this revision."""
