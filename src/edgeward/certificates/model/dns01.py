"""How names are proven by records in DNS (dns-01), as it is declared."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from edgeward.domain_name import normalise
from edgeward.parsing import Value, checked
from edgeward.sealing import Sealed

_PORT: Final = 53


def split_address(text: str) -> tuple[str, int]:
    """Give host and port of ``HOST``, ``HOST:PORT`` or ``[IPv6]:PORT``; raises ValueError."""
    try:
        return str(ipaddress.ip_address(text)), _PORT
    except ValueError:
        host, colon, told = text.rpartition(":")
    if not colon:
        return text, _PORT
    if not told.isascii() or not told.isdecimal() or not 1 <= int(told[:6]) <= 65535:
        raise ValueError(f"'{text}' is not HOST or HOST:PORT; ports are 1 to 65535")
    return host.removeprefix("[").removesuffix("]"), int(told)


def _address(text: str) -> str:
    host, port = split_address(text)
    try:
        host = str(ipaddress.ip_address(host))
    except ValueError:
        raise ValueError(
            f"'{text}' is not ADDRESS or ADDRESS:PORT; IPv6 with a port as [ADDRESS]:PORT"
        ) from None
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _server(text: str) -> str:
    try:
        return _address(text)
    except ValueError:
        host, port = split_address(text)
        return f"{normalise(host)}:{port}"


Address = Annotated[str, StringConstraints(max_length=100), AfterValidator(_address)]
"""``ADDRESS`` or ``ADDRESS:PORT``; port 53 is the default."""


class DnsUpdate(Value):
    """A name server that takes dynamic updates (RFC 2136), signed (TSIG, RFC 8945)."""

    server: Annotated[str, StringConstraints(max_length=300), checked(_server)]
    """Name or address of the primary name server, with its port where that is not 53."""
    key_name: str = Field(pattern=r"^[A-Za-z0-9._-]{1,253}$")
    """Name of the key, as the name server has it."""
    algorithm: Literal["hmac-sha256", "hmac-sha384", "hmac-sha512"] = "hmac-sha256"
    """How the key signs."""
    secret: Sealed
    """The key, in base64."""


class Credential(Value):
    """One secret that a provider's API wants."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")
    """What the provider calls it, such as ``auth_token``."""
    secret: Sealed
    """The secret itself."""


_Option = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
_Setting = Annotated[str, StringConstraints(pattern=r"^[^/~\s][^\r\n]*$", max_length=1000)]
"""Never a path: some providers would read files of the controller's host."""


class DnsProvider(Value):
    """A provider of DNS whose API dns-lexicon speaks."""

    name: str = Field(pattern=r"^[a-z][a-z0-9]{0,39}$")
    """As dns-lexicon calls it: ``cloudflare``, ``hetzner``, ``powerdns``, …"""
    settings: dict[_Option, _Setting] = Field(default={}, max_length=20)
    """What else its API wants and is no secret, such as ``auth_username``."""
    credentials: list[Credential] = Field(default=[], max_length=20)
    """What its API wants and is secret."""

    @model_validator(mode="after")
    def _of_others(self) -> Self:
        if self.name in _NOT_REMOTE:
            raise ValueError(
                f"'{self.name}' is no provider that is reached by its API; use update for RFC 2136"
            )
        return self


_NOT_REMOTE = frozenset({"auto", "base", "ddns", "localzone"})


class DnsProof(Value):
    """How the records that prove names get into DNS.

    ``_acme-challenge.NAME`` may be a CNAME to a name in another zone: the record is written there then, so
    that a customer's zone needs no credentials here.
    """

    update: DnsUpdate | None = None
    """A name server of one's own that takes dynamic updates."""
    provider: DnsProvider | None = None
    """A provider with an API."""
    resolvers: list[Address] = Field(default=[], max_length=5)
    """Name servers to look things up at, and to see the record at before the authority looks; unset: the
    system's, and for the record every name server of its zone."""
    wait_seconds: float = Field(default=120, ge=0, le=3600)
    """How long to wait for the record to be seen."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.update is None) == (self.provider is None):
            raise ValueError("say one of update: {server, …} and provider: {name, …}")
        return self
