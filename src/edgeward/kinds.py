"""The kinds of declared objects, and who may write which of their fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from edgeward.certificates.model import Alarms, Budgets, Cache, Domain, Issuer, Withheld
from edgeward.declaration.model import Kind
from edgeward.domain_name import normalise_host
from edgeward.gateway.model import Listen, OpenResty, Route, Service, TcpRoute
from edgeward.gateway.resolve import permitted
from edgeward.parsing import Value
from edgeward.vpn.openstack import identity as openstack
from edgeward.vpn.openstack.networks import Network, Router, Subnet
from edgeward.vpn.openstack.policies import IkePolicy, IpsecPolicy
from edgeward.vpn.openstack.services import EndpointGroup, SiteConnection, VpnService
from edgeward.vpn.site import Site

KINDS: Final[Mapping[str, Kind]] = {
    kind.name: kind
    for kind in (
        Kind("listen", Listen),
        Kind("cache", Cache),
        Kind("budgets", Budgets),
        Kind("alarms", Alarms, secrets=(("authorization",), ("webhook",)), urls=(("webhook",),)),
        Kind(
            "openresty",
            OpenResty,
            references=(("redis", "ca"), ("gateways", "*", "tls", "ca")),
            secrets=(("secret",), ("redis", "password"), ("gateways", "*", "password")),
        ),
        Kind(
            "issuers",
            Issuer,
            secrets=(
                ("acme", "eab", "hmac_key"),
                ("acme", "dns", "update", "secret"),
                ("acme", "dns", "provider", "credentials", "*", "secret"),
            ),
            urls=(("acme", "directory"), ("acme", "dns", "provider", "settings", "*")),
        ),
        Kind(
            "domains",
            Domain,
            unique_everywhere=True,
            spelling=normalise_host,
            references=(("client_certificates", "ca"), ("client_certificates", "crl")),
        ),
        Kind("withheld", Withheld, spelling=normalise_host),
        Kind("services", Service, references=(("backends", "*", "tls", "ca"),)),
        Kind("routes", Route),
        Kind("tcp_routes", TcpRoute),
        Kind("vpn", Site, references=(("certificate", "authority"),), secrets=(("secret",),)),
        Kind("networks", Network),
        Kind("subnets", Subnet),
        Kind("routers", Router),
        Kind("ikepolicies", IkePolicy),
        Kind("ipsecpolicies", IpsecPolicy),
        Kind("vpnservices", VpnService),
        Kind("endpoint_groups", EndpointGroup),
        Kind("ipsec_site_connections", SiteConnection, secrets=(("psk",),)),
    )
}

OF_TUNNELS: Final = frozenset({"vpn", *openstack.KINDS})
"""Kinds that gateways of tunnels are made of; nodes get those, and nothing of these."""


def privileged(value: Value) -> tuple[str, ...]:
    """Give the fields of a value that only admins may write: they say places past any name."""
    if not isinstance(value, Service):
        return ()
    fields = [f"backends[{i}].url" for i, b in enumerate(value.backends) if b.literal]
    return (*fields, "allow_networks") if value.allow_networks else tuple(fields)


def reaching_host(value: Value) -> tuple[str, ...]:
    """Give the fields that reach the edge host itself, which is every project's: its sockets (Envoy's own
    among them, which give all private keys), loopback, link-local, metadata; or what the controller reaches.
    """
    if isinstance(value, Domain):
        return ("ask",) if value.ask is not None else ()
    if isinstance(value, Site):
        return value.of_host
    if isinstance(value, Network):
        return tuple(name for name in ("external", "bridge") if getattr(value, name))
    if isinstance(value, Router):
        return ("namespace",) if value.namespace is not None else ()
    if not isinstance(value, Service):
        return ()
    fields = [
        f"backends[{i}].url" for i, b in enumerate(value.backends) if b.literal and not permitted(b.host)
    ]
    return (*fields, "allow_networks") if value.allow_networks else tuple(fields)
