"""Which filter chain a visitor's server name gets, as plain names: no messages, no address.

The name itself says it before its wildcard does, for routes and for domains alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edgeward.domain_name import wildcard_of
from edgeward.gateway.envoy.gateway import Gateway
from edgeward.gateway.envoy.proofs import TLS_CHAIN
from edgeward.gateway.model import Route

_PASSING = "passthrough "
PROOFS = TLS_CHAIN
COMMON = ""
"""The chain of all who have none of their own."""


@dataclass(frozen=True)
class Names:
    """``exact``: server name → chain; ``wildcards``: ``*.suffix`` → chain for one label below it, where
    the name itself is not in ``exact``; ``nameless``: the chain of a visitor who says none."""

    exact: Mapping[str, str] = field(default_factory=dict)
    wildcards: Mapping[str, str] = field(default_factory=dict)
    nameless: str = COMMON
    others: str = COMMON
    """The chain of all other names."""


def checks(names: Names) -> Names:
    """Give the chains of an authority that checks these names: the node's, but where TLS is passed on unread,
    behind which somebody else may prove a name.
    """

    def checked(chain: str) -> str:
        return chain if chain.startswith(_PASSING) else PROOFS

    chains = {*names.exact.values(), *names.wildcards.values(), names.nameless}
    if not any(chain.startswith(_PASSING) for chain in chains):
        return Names(nameless=PROOFS, others=PROOFS)
    exact = {name: checked(chain) for name, chain in names.exact.items()}
    wildcards = {name: checked(chain) for name, chain in names.wildcards.items()}
    return Names(exact, wildcards, checked(names.nameless), PROOFS)


def variants(chain: str) -> tuple[str, str | None]:
    """Give Envoy's names of a chain: for strangers, and for trusted proxies where that is another."""
    if chain == COMMON:
        return "strangers", "proxies"
    return (chain, None) if chain.startswith(_PASSING) else (chain, f"{chain} proxies")


def own_chain(domain: str) -> str:
    """Give the name of a domain's own filter chain."""
    return f"own {domain}"


def passing_chain(route: Route) -> str:
    """Give the filter chain of a passthrough route; routes to one service in the same way share one."""
    idle = "" if route.timeouts is None else f" {route.timeouts.idle:g}"
    return f"{_PASSING}{route.project}/{route.service}{idle}"


def names(gateway: Gateway) -> Names:
    """Give the names that do not simply get the common chain."""
    hosts = _passing(gateway)
    wildcards = {
        pattern: chain
        for pattern in {*hosts, *gateway.edges}
        if pattern.startswith("*.") and (chain := _decide(pattern, hosts, gateway)) != COMMON
    }
    exact = {}
    for name in _exact(gateway, hosts, wildcards):
        chain = _decide(name, hosts, gateway)
        if chain != wildcards.get(wildcard_of(name) or "", COMMON):
            exact[name] = chain
    default = gateway.listen.default_domain
    nameless = COMMON if default is None else _decide(default, hosts, gateway)
    return Names(exact, wildcards, nameless)


def _passing(gateway: Gateway) -> dict[str, Route | None]:
    """Give each host that some route says: its passthrough route, or None where the edge ends TLS."""
    if not any(r.tls == "passthrough" for r in gateway.routes):
        return {}
    return {h: (r if r.tls == "passthrough" else None) for r in gateway.routes for h in r.hosts}


def _exact(gateway: Gateway, hosts: Mapping[str, Route | None], wildcards: Mapping[str, str]) -> set[str]:
    """Give the exact names worth a decision: special ones, and all below a special wildcard."""
    special = {name for name, route in hosts.items() if route is not None} | set(gateway.edges)
    found = {name for name in special if not name.startswith("*.")}
    if wildcards:
        below = (n for n in (*hosts, *gateway.domains, *gateway.edges) if wildcard_of(n) in wildcards)
        found.update(n for n in below if not n.startswith("*."))
    return found


def _decide(name: str, hosts: Mapping[str, Route | None], gateway: Gateway) -> str:
    over = None if name.startswith("*.") else wildcard_of(name)
    route = hosts.get(name) if name in hosts or over is None else hosts.get(over)
    if route is not None:
        return passing_chain(route)
    exact = name in gateway.edges or name in gateway.domains or over is None
    domain = name if exact else over
    return own_chain(str(domain)) if domain in gateway.edges else COMMON
