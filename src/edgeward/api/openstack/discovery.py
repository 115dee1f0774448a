"""What clients look at before anything else: versions, resources, extensions and flavors."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final

from edgeward.api.openstack.faults import Fault, not_found
from edgeward.vpn.desired import DriverName

_EXTENSIONS: Final[Mapping[str, tuple[str, str]]] = {
    "vpnaas": ("VPN service", "Extension for VPN service"),
    "vpn-endpoint-groups": ("VPN Endpoint Groups", "VPN endpoint groups support"),
    "vpn-aes-ctr": ("VPNaaS AES CTR", "AES-CTR encryption algorithms for VPN"),
    "vpn-flavors": ("VPN Service Flavor Extension", "Flavor support for vpnservices."),
    "service-type": ("Neutron Service Type Management", "API for retrieving service providers"),
    "router": ("Neutron L3 Router", "Router abstraction for basic L3 forwarding between L2 networks"),
    "external-net": ("Neutron external network", "Adds external network attribute to network resource."),
    "flavors": ("Neutron Service Flavors", "Flavor specification for Neutron advanced services."),
    "pagination": ("Pagination support", "Extension that indicates that pagination is enabled."),
    "sorting": ("Sorting support", "Extension that indicates that sorting is enabled."),
    "project-id": ("project_id field enabled", "Extension that indicates that project_id field is enabled."),
}
_UPDATED: Final = "2013-05-29T10:00:00-00:00"
_OURS: Final = uuid.UUID("0a1c2a52-6ad0-5b0e-8e8e-5f7d9c5a3b21")
_DAEMONS: Final[Sequence[DriverName]] = ("strongswan", "libreswan")
FLAVORS: Final[Mapping[str, DriverName]] = {str(uuid.uuid5(_OURS, driver)): driver for driver in _DAEMONS}
"""By id, which daemon each means."""
_FLAVOR_OF: Final[Mapping[str, str]] = {driver: id_ for id_, driver in FLAVORS.items()}


def flavor_of(driver: str | None) -> str | None:
    """Give the id of the flavor that means a daemon."""
    return None if driver is None else _FLAVOR_OF.get(driver)


def _version(base: str) -> dict[str, Any]:
    link = {"rel": "self", "href": f"{base}/v2.0/"}
    return {"id": "v2.0", "status": "CURRENT", "links": [link]}


def versions(base: str) -> dict[str, Any]:
    """Give the document at ``/``; ``base`` is the address that the client came to."""
    return {"versions": [_version(base)]}


def version(base: str, plurals: Sequence[str]) -> dict[str, Any]:
    """Give the document at ``/v2.0``: also for clients that were given that as their endpoint."""
    resources = [
        {"name": name, "collection": name, "links": [{"rel": "self", "href": f"{base}/v2.0/{name}"}]}
        for name in plurals
    ]
    return {"version": _version(base), "resources": resources}


def extensions() -> dict[str, Any]:
    return {"extensions": [_extension(alias) for alias in _EXTENSIONS]}


def extension(alias: str) -> dict[str, Any]:
    if alias not in _EXTENSIONS:
        raise not_found()
    return {"extension": _extension(alias)}


def _extension(alias: str) -> dict[str, Any]:
    name, description = _EXTENSIONS[alias]
    return {"name": name, "alias": alias, "description": description, "updated": _UPDATED, "links": []}


def flavors() -> list[dict[str, Any]]:
    """Give all flavors: each is a daemon that carries tunnels."""
    return [
        {
            "id": id_,
            "name": driver,
            "description": f"tunnels carried by {driver}",
            "service_type": "VPN",
            "enabled": True,
            "service_profiles": [],
        }
        for id_, driver in FLAVORS.items()
    ]


def driver_of(flavor: str | None) -> DriverName | None:
    """Give the daemon that a flavor means; raises Fault."""
    if flavor is None:
        return None
    if flavor not in FLAVORS:
        raise Fault(404, "FlavorNotFound", f"Flavor {flavor} could not be found.")
    return FLAVORS[flavor]
