"""IKE and IPsec policies: how two sites are to agree on their keys."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edgeward.parsing import Value
from edgeward.vpn.openstack import choices
from edgeward.vpn.openstack.identity import Known


class Lifetime(Value):
    """How long keys live."""

    units: Literal["seconds"] = "seconds"
    """There is no other."""
    value: int = Field(default=3600, ge=choices.LEAST_LIFETIME)
    """Seconds."""


class IkePolicy(Known):
    """How two sites prove who they are (phase 1), as OpenStack says it."""

    auth_algorithm: choices.Hash = "sha1"
    """Of messages; with an AEAD the pseudorandom function."""
    encryption_algorithm: choices.Cipher = "aes-128"
    """Of messages."""
    phase1_negotiation_mode: choices.Phase1 = "main"
    """Of IKEv1 only."""
    ike_version: choices.IkeVersion = "v1"
    """``v1`` is OpenStack's default; ``v2`` is what new tunnels should have."""
    pfs: choices.Group = "group5"
    """The group of the key exchange."""
    lifetime: Lifetime = Lifetime()
    """Until the sites authenticate each other anew."""


class IpsecPolicy(Known):
    """How traffic is protected (phase 2), as OpenStack says it."""

    transform_protocol: choices.Protocol = "esp"
    """``ah-esp`` can be declared, and no connection can use it."""
    auth_algorithm: choices.Hash = "sha1"
    """Of packets; an AEAD needs none."""
    encryption_algorithm: choices.Cipher = "aes-128"
    """Of packets."""
    encapsulation_mode: choices.Mode = "tunnel"
    """``transport`` is for traffic of the gateways themselves."""
    pfs: choices.Group = "group5"
    """The group of each further key exchange."""
    lifetime: Lifetime = Lifetime()
    """Until keys are no longer used; they are renewed before."""
