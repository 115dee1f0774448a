"""Every table, once, for SQLite and PostgreSQL; migrations build the same."""

from __future__ import annotations

from edgeward.database.schema.columns import metadata
from edgeward.database.schema.declared import (
    audit,
    counter,
    events,
    objects,
    revisions,
    tombstones,
)
from edgeward.database.schema.issuing import (
    accounts,
    authorities,
    budgets,
    certificates,
    challenges,
    expirations,
    issuances,
    orders,
    pauses,
    spendings,
    ticket_keys,
)
from edgeward.database.schema.running import (
    controllers,
    leases,
    nodes,
    root_log_heads,
    seal_holders,
    seal_keys,
    tokens,
    vpn_connections,
    vpn_gateways,
)

__all__ = [
    "accounts",
    "audit",
    "authorities",
    "budgets",
    "certificates",
    "challenges",
    "controllers",
    "counter",
    "events",
    "expirations",
    "issuances",
    "leases",
    "metadata",
    "nodes",
    "objects",
    "orders",
    "pauses",
    "revisions",
    "root_log_heads",
    "seal_holders",
    "seal_keys",
    "spendings",
    "ticket_keys",
    "tokens",
    "tombstones",
    "vpn_connections",
    "vpn_gateways",
]
