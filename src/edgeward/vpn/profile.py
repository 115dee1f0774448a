"""Profiles: which algorithms a connection offers, and for how long keys are used."""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from edgeward.parsing import Value, checked
from edgeward.vpn import algorithms, desired

Encryption = Annotated[str, checked(algorithms.encryption)]
Integrity = Annotated[str, checked(algorithms.integrity)]
Group = Annotated[str, checked(algorithms.group)]
Seconds = Annotated[int, Field(ge=60, le=30 * 86400)]


class Offer(Value):
    """One set of algorithms, spelled as OpenStack does."""

    encryption: Encryption
    """`aes-256-gcm-16`, `aes-256`, `aes-128-ctr`, `chacha20poly1305` and so on."""
    integrity: Integrity | None = None
    """`sha256`, `sha384`, `sha512`, `sha1`, `aes-xcbc` or `aes-cmac`; beside `-gcm-`, `-ccm-` and
    `chacha20poly1305` it is what IKE derives its keys with, and ESP takes none."""
    groups: Annotated[tuple[Group, ...], Field(max_length=2)] = ()
    """The key exchange, as `[group20]`; a second one (`mlkem768`) is done in addition to it."""

    @model_validator(mode="after")
    def _second_is_additional(self) -> Self:
        if self.groups[:1] and self.groups[0] in algorithms.MORE_EXCHANGES:
            raise ValueError(f"{self.groups[0]} is done in addition to a group; write [group20, mlkem768]")
        if self.groups[1:] and self.groups[1] not in algorithms.MORE_EXCHANGES:
            raise ValueError("give one group, and beside it mlkem768 at most; another group is another offer")
        return self

    def proposal(self) -> desired.Proposal:
        return desired.Proposal(encryption=self.encryption, integrity=self.integrity, groups=self.groups)


Offers = Annotated[tuple[Offer, ...], Field(min_length=1, max_length=10)]


class IkeProfile(Value):
    """How the peers speak with each other."""

    version: Literal[1, 2] = 2
    """Of IKE; 1 only for what knows no other."""
    aggressive: bool = False
    """IKEv1 only, and unsafe with a secret that can be guessed."""
    proposals: Offers
    """The best first."""
    lifetime: Seconds = 86400
    """Seconds until the peers authenticate each other anew."""

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.aggressive and self.version != 1:
            raise ValueError("aggressive is of IKEv1; say version: 1 beside it, or leave it out")
        for offer in self.proposals:
            if not offer.groups:
                raise ValueError("IKE needs a group in each proposal; add groups: [group20]")
            if offer.integrity is None:
                raise ValueError("IKE needs an integrity in each proposal; add integrity: sha384")
            if offer.groups[1:] and self.version == 1:
                raise ValueError("IKEv1 has one key exchange; leave the second group out")
        return self


class IpsecProfile(Value):
    """How what goes through the tunnel is protected."""

    protocol: Literal["esp", "ah"] = "esp"
    """`ah` signs and does not encrypt."""
    mode: Literal["tunnel", "transport"] = "tunnel"
    """`transport` is for two hosts without networks behind them."""
    proposals: Offers
    """The best first."""
    lifetime: Seconds = 3600
    """Seconds until its keys are no longer used; they are renewed before."""

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        for offer in self.proposals:
            aead = offer.encryption in algorithms.AEADS
            if self.protocol == "ah" and offer.integrity is None:
                raise ValueError("AH only signs; add integrity: sha256")
            if self.protocol == "esp" and aead and offer.integrity is not None:
                raise ValueError(f"{offer.encryption} takes no integrity in ESP; leave that out")
            if self.protocol == "esp" and not aead and offer.integrity is None:
                raise ValueError(f"{offer.encryption} needs an integrity beside it; add integrity: sha256")
        return self


class Profile(Value):
    """Every knob."""

    ike: IkeProfile
    """How the peers speak with each other."""
    ipsec: IpsecProfile
    """How what goes through the tunnel is protected."""

    def desired_ike(self) -> desired.Ike:
        proposals = tuple(offer.proposal() for offer in self.ike.proposals)
        return desired.Ike(
            version=self.ike.version,
            aggressive=self.ike.aggressive,
            proposals=proposals,
            lifetime=self.ike.lifetime,
        )

    def desired_ipsec(self) -> desired.Ipsec:
        proposals = tuple(offer.proposal() for offer in self.ipsec.proposals)
        return desired.Ipsec(
            protocol=self.ipsec.protocol,
            mode=self.ipsec.mode,
            proposals=proposals,
            lifetime=self.ipsec.lifetime,
        )


def _offer(encryption: str, integrity: str | None, *groups: str) -> Offer:
    return Offer(encryption=encryption, integrity=integrity, groups=groups)


MODERN: Final = Profile(
    ike=IkeProfile(
        proposals=(
            _offer("aes-256-gcm-16", "sha384", "group20", "mlkem768"),
            _offer("aes-256-gcm-16", "sha384", "group20"),
        )
    ),
    ipsec=IpsecProfile(
        proposals=(
            _offer("aes-256-gcm-16", None, "group20", "mlkem768"),
            _offer("aes-256-gcm-16", None, "group20"),
        )
    ),
)
"""IKEv2, AES-GCM and ECP-384, with ML-KEM where the daemon has it: drivers leave out what theirs has not."""
COMPATIBLE: Final = Profile(
    ike=IkeProfile(
        proposals=(
            _offer("aes-256-gcm-16", "sha384", "group20"),
            _offer("aes-256", "sha256", "group14"),
            _offer("aes-128", "sha256", "group14"),
            _offer("aes-128", "sha1", "group14"),
        ),
        lifetime=28800,
    ),
    ipsec=IpsecProfile(
        proposals=(
            _offer("aes-256-gcm-16", None, "group14"),
            _offer("aes-256", "sha256", "group14"),
            _offer("aes-128", "sha256", "group14"),
            _offer("aes-128", "sha1", "group14"),
        )
    ),
)
"""IKEv2, and what devices of the last fifteen years can do; ESP with one group, as Libreswan takes it."""
NAMED: Final = {"modern": MODERN, "compatible": COMPATIBLE}
