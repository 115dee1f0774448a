"""Who takes part: tokens, nodes, controllers, the keys they share, and what nodes tell."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    Index,
    LargeBinary,
    Table,
    Text,
)

from edgeward.database.schema.columns import metadata, string

tokens = Table(
    "tokens",
    metadata,
    Column("id", string(16), primary_key=True),
    Column("name", string(100), nullable=False, unique=True),
    Column("hash", string(64), nullable=False),  # SHA-256 of the secret part, hex
    Column("role", string(20), nullable=False),
    Column("project", string(100), nullable=False),  # or * for all
    Column("node", string(100)),  # the node a node token is bound to
    Column("labels", Text),  # JSON; what a node that joins with it is labelled
    Column("created", Float, nullable=False),
    Column("expires", Float),
    Column("revoked", Float),
)

nodes = Table(
    "nodes",
    metadata,
    Column("name", string(100), primary_key=True),
    Column("joined", Float, nullable=False),
    Column("seen", Float, nullable=False),
    Column("report", Text, nullable=False),  # JSON of the last report
    Column("labels", Text, nullable=False, server_default="{}"),  # JSON; set by operators, never by the node
    Column("labelled", BigInteger, nullable=False, server_default="0"),  # revision of their last change
    Column("controller", string(36)),  # whom it follows; of controllers.id
    Column("told", Text),  # JSON; what the last events said of it
)

controllers = Table(
    "controllers",
    metadata,
    Column("id", string(36), primary_key=True),  # new at every start
    Column("name", string(100), nullable=False),
    Column("url", string(300), nullable=False),
    Column("version", string(40), nullable=False),
    Column("started", Float, nullable=False),
    Column("seen", Float, nullable=False),
)

leases = Table(
    "leases",
    metadata,
    Column("name", string(200), primary_key=True),  # the work that one controller does at a time
    Column("holder", string(36), nullable=False),
    Column("token", BigInteger, nullable=False),  # grows with every holder: late writes are seen
    Column("expires", Float, nullable=False),  # by the database's clock where it has one
)

seal_keys = Table(
    "seal_keys",
    metadata,
    # the keys that records are sealed with, wrapped by a key that is never in the database
    Column("id", string(16), primary_key=True),  # key id, hex
    Column("wrapped", LargeBinary, nullable=False),
    Column("wrapped_by", string(16), nullable=False),
    Column("created", Float, nullable=False),
    Column("active", Float),  # records are sealed with it since then; none: it waits until all hold it
    Column("retired", Float),  # records are sealed anew with another one since then
    Column("resealed", Float),  # every older record has been sealed anew with it since then
)

seal_holders = Table(
    "seal_holders",
    metadata,
    # which of them each controller holds by now
    Column("controller", string(36), primary_key=True),
    Column("keys", Text, nullable=False),  # ids, with blanks between
    Column("seals_with", string(16), nullable=False),
    Column("wraps_with", Text, nullable=False),  # ids of the keys that it can unwrap with
)

root_log_heads = Table(
    "root_log_heads",
    metadata,
    # what the audit log of a node's rootd ended with, each minute: who rewrites it there cannot do so here
    Column("node", string(100), primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("hash", string(64), nullable=False),
    Column("at", Float, nullable=False),
    Index("root_log_heads_by_time", "at"),
)

vpn_gateways = Table(
    "vpn_gateways",
    metadata,
    # what nodes say of the daemons of their gateways, and which node is the active one of each
    Column("gateway", string(12), primary_key=True),
    Column("node", string(100), primary_key=True),
    Column("phase", string(20), nullable=False),
    Column("since", Float, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", Float, nullable=False),
)

vpn_connections = Table(
    "vpn_connections",
    metadata,
    # what the node that has a connection said last of it; what nobody said anything of yet has no row
    Column("connection", string(36), primary_key=True),
    Column("gateway", string(12), nullable=False),
    Column("node", string(100), nullable=False),
    Column("phase", string(20), nullable=False),
    Column("since", Float, nullable=False),
    Column("state", Text, nullable=False),  # JSON: vpn.driver.State
    Column("at", Float, nullable=False),
    Column("told", string(20), nullable=False),  # the phase that the webhook was told; blank: none yet
    Index("vpn_connections_by_gateway", "gateway"),
)
