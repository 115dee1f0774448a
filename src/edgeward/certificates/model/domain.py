"""What may be served: domains as they are declared, and names that are withheld."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from edgeward.certificates.model.client_certificates import ClientCertificates
from edgeward.domain_name import CATCH_ALL
from edgeward.parsing import HostPattern, Name, Value
from edgeward.placement import Selector

AskUrl = Annotated[str, Field(pattern=r"^https?://[^\s/?#@]+([/?][^\s#]*)?$", max_length=1000)]


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
