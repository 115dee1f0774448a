"""Where certificates come from: issuers as they are declared."""

from __future__ import annotations

from typing import Any, Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from edgeward.certificates.model.dns01 import DnsProof
from edgeward.errors import Invalid
from edgeward.parsing import Name, Value
from edgeward.sealing import Sealed

Challenge = Literal["http-01", "tls-alpn-01", "dns-01"]
UPLOADED: Final = "uploaded"
"""The issuer of domains whose certificates people bring, and the source of these certificates."""


class LocalIssuer(Value):
    """Certificates from this installation's own authority."""

    lifetime_days: float = Field(default=7, gt=0.0005, le=397, allow_inf_nan=False)
    """Validity of a certificate; it is renewed when a third is left."""

    @field_validator("lifetime_days", mode="before")
    @classmethod
    def _lives(cls, given: Any) -> Any:
        if isinstance(given, int | float) and not isinstance(given, bool) and not 0.0005 < given <= 397:
            raise ValueError("a certificate lives longer than 45 seconds (0.0005) and at most 397 days")
        return given


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

    @property
    def theirs(self) -> AcmeIssuer:
        """How it is asked; raises Invalid for our own authority."""
        if self.acme is None:
            raise Invalid(f"issuer {self.name} is not one that speaks ACME")
        return self.acme

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.local is None) == (self.acme is None):
            raise ValueError("say one of local: {} and acme: {directory: …}")
        return self
