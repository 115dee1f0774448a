"""Every table, once, for SQLite and PostgreSQL; migrations build the same."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

metadata = MetaData()


def _string(length: int) -> String:
    """Give text that both databases put in the order of its bytes, as Python does."""
    return String(length).with_variant(String(length, collation="C"), "postgresql")


_Serial = BigInteger().with_variant(Integer(), "sqlite")  # which numbers rows by Integer alone

# Times are Unix seconds in UTC as floats: both databases compare and index them alike.

counter = Table(
    "counter",
    metadata,
    Column("id", Integer, primary_key=True),  # always 1: updating the row puts writers in order
    Column("store", _string(36), nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column(
        "floor", BigInteger, nullable=False
    ),  # tombstones at or below were swept: older readers start over
    Column("history", BigInteger, nullable=False, server_default="0"),  # changes up to here cannot be undone
    Column("events", BigInteger, nullable=False, server_default="0"),  # events up to here were swept
)

objects = Table(
    "objects",
    metadata,
    Column("kind", _string(40), primary_key=True),
    Column("project", _string(100), primary_key=True),
    Column("name", _string(260), primary_key=True),
    Column("source", _string(300), nullable=False),
    Column("value", Text, nullable=False),  # JSON
    Column("revision", BigInteger, nullable=False),
    # when it was last changed, or which nodes use it was: what nodes follow
    Column("placed", BigInteger, nullable=False, server_default="0"),
    Index("objects_by_revision", "revision", "kind", "project", "name"),
    Index("objects_by_placement", "placed", "kind", "project", "name"),
    Index("objects_by_name", "kind", "name"),
    Index("objects_by_source", "source"),
)

tombstones = Table(
    "tombstones",
    metadata,
    Column("kind", _string(40), primary_key=True),
    Column("project", _string(100), primary_key=True),
    Column("name", _string(260), primary_key=True),
    Column("revision", BigInteger, nullable=False),
    Column("at", Float, nullable=False),
    Index("tombstones_by_revision", "revision", "kind", "project", "name"),
)

_PLANNED = (
    "name", "not_before", "not_after", "window_start", "project", "issuer", "leader", "algorithm"
)  # fmt: skip
certificates = Table(
    "certificates",
    metadata,
    Column("name", _string(260), primary_key=True),  # canonical, exact or *.suffix
    Column("algorithm", _string(10), primary_key=True, server_default="ecdsa"),  # or rsa, beside it
    Column("project", _string(100), nullable=False),
    Column("issuer", _string(100), nullable=False),
    Column("chain", Text, nullable=False),
    Column("sealed_key", LargeBinary, nullable=False),
    Column("fingerprint", _string(64), nullable=False),
    Column("not_before", Float, nullable=False),
    Column("not_after", Float, nullable=False),
    Column("renew_at", Float, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("placed", BigInteger, nullable=False, server_default="0"),  # as of objects
    Column(
        "source", _string(20), nullable=False, server_default="issued"
    ),  # issued, ordered, uploaded, imported
    Column("leader", _string(260)),  # the name it is a copy of, where several names share one certificate
    Column("window_start", Float),  # when its authority suggests to renew it (RFC 9773)
    Column("window_end", Float),
    Column("window_next", Float),  # when to ask again; none: its authority makes no suggestion
    Index("certificates_by_leader", "leader"),
    Index("certificates_by_window", "window_next"),
    Index("certificates_by_placement", "placed", "name"),
    Index("certificates_by_revision", "revision", "name"),
    # all that planning renewals looks at: the rows themselves are large, and a million of them are planned
    Index("certificates_by_renewal", "source", "renew_at", *_PLANNED),
    Index("certificates_by_expiry", "not_after"),
)

expirations = Table(
    "expirations",
    metadata,
    Column("name", _string(260), primary_key=True),  # a name, or * for every name
    Column("revision", BigInteger, nullable=False),
    Column("at", Float, nullable=False),
    Index("expirations_by_revision", "revision", "name"),
)

authorities = Table(
    "authorities",
    metadata,
    Column("id", _Serial, primary_key=True, autoincrement=True),
    Column("role", _string(20), nullable=False),  # root, intermediate
    Column("parent", Integer),
    Column("certificate", Text, nullable=False),
    Column("sealed_key", LargeBinary, nullable=False),
    Column("not_before", Float, nullable=False),
    Column("not_after", Float, nullable=False),
    Column("signs_from", Float, nullable=False),  # a new root is published long before it signs
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", _string(16), primary_key=True),
    Column("name", _string(100), nullable=False, unique=True),
    Column("hash", _string(64), nullable=False),  # SHA-256 of the secret part, hex
    Column("role", _string(20), nullable=False),
    Column("project", _string(100), nullable=False),  # or * for all
    Column("node", _string(100)),  # the node a node token is bound to
    Column("labels", Text),  # JSON; what a node that joins with it is labelled
    Column("created", Float, nullable=False),
    Column("expires", Float),
    Column("revoked", Float),
)

nodes = Table(
    "nodes",
    metadata,
    Column("name", _string(100), primary_key=True),
    Column("joined", Float, nullable=False),
    Column("seen", Float, nullable=False),
    Column("report", Text, nullable=False),  # JSON of the last report
    Column("labels", Text, nullable=False, server_default="{}"),  # JSON; set by operators, never by the node
    Column("labelled", BigInteger, nullable=False, server_default="0"),  # revision of their last change
    Column("controller", _string(36)),  # whom it follows; of controllers.id
    Column("told", Text),  # JSON; what the last events said of it
)

controllers = Table(
    "controllers",
    metadata,
    Column("id", _string(36), primary_key=True),  # new at every start
    Column("name", _string(100), nullable=False),
    Column("url", _string(300), nullable=False),
    Column("version", _string(40), nullable=False),
    Column("started", Float, nullable=False),
    Column("seen", Float, nullable=False),
)

leases = Table(
    "leases",
    metadata,
    Column("name", _string(200), primary_key=True),  # the work that one controller does at a time
    Column("holder", _string(36), nullable=False),
    Column("token", BigInteger, nullable=False),  # grows with every holder: late writes are seen
    Column("expires", Float, nullable=False),  # by the database's clock where it has one
)

events = Table(
    "events",
    metadata,
    # written in the one write transaction: a smaller id is never seen after a larger one
    Column("id", _Serial, primary_key=True, autoincrement=True),
    Column("at", Float, nullable=False),
    Column("type", _string(20), nullable=False),  # change, node, openresty
    Column("project", _string(100)),  # none: of the whole installation
    Column("revision", BigInteger, nullable=False),
    Column("data", Text, nullable=False),  # JSON
    Index("events_by_time", "at"),
    sqlite_autoincrement=True,  # no id is given twice, whatever was swept
)

ticket_keys = Table(
    "ticket_keys",
    metadata,
    Column("id", _Serial, primary_key=True, autoincrement=True),
    Column("sealed", LargeBinary, nullable=False),  # 80 bytes for TLS session tickets
    Column("created", Float, nullable=False),
    Column("revision", BigInteger, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("id", _Serial, primary_key=True, autoincrement=True),
    Column("at", Float, nullable=False),
    Column("who", _string(200), nullable=False),
    Column("source", _string(300), nullable=False),
    Column("action", _string(40), nullable=False),
    Column("kind", _string(40), nullable=False),
    Column("project", _string(100), nullable=False),
    Column("name", _string(260), nullable=False),
    Column("before", Text),
    Column("after", Text),
    Column("revision", BigInteger, nullable=False),
    Column("source_before", _string(300)),  # whose the object was, where it was there
    Index("audit_by_object", "kind", "project", "name"),
    Index("audit_by_time", "at"),
    Index("audit_by_revision", "revision"),
)

revisions = Table(
    "revisions",
    metadata,
    # what one revision changed in one project; its changes are the rows of audit
    Column("revision", BigInteger, primary_key=True, autoincrement=False),
    Column("project", _string(100), primary_key=True),  # or * for what is of the whole installation
    Column("at", Float, nullable=False),
    Column("who", _string(200), nullable=False),
    Column("source", _string(300), nullable=False),
    Column("rolled_back_to", BigInteger),
    Column("created", Integer, nullable=False),
    Column("changed", Integer, nullable=False),
    Column("deleted", Integer, nullable=False),
    Column("size", BigInteger, nullable=False),  # bytes of its changes
    Column("objects", Text, nullable=False),  # JSON; the first of them: action and key
    Index("revisions_by_project", "project", "revision"),
)

orders = Table(
    "orders",
    metadata,
    # a certificate that somebody waits for: one row a name, gone when it is there
    Column("name", _string(260), primary_key=True),
    Column("project", _string(100), nullable=False),
    Column("issuer", _string(100), nullable=False),
    Column("reason", _string(20), nullable=False),  # visitor, renewal, new
    Column("state", _string(20), nullable=False),  # waiting, working, failed
    Column("queued", Float, nullable=False),
    Column("due", Float, nullable=False),  # not before; what failed waits longer each time
    Column("expires", Float),  # of the certificate it is to replace
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("began", Float),
    Column("step", _string(40)),  # what is being done at the authority
    Column("authority", _string(100)),  # the issuer that is tried now: its own, or one to fall back to
    Column("url", Text),  # of the order at the authority: it is gone on with after a crash
    Column("sealed_key", LargeBinary),  # the key the certificate will have
    Column("problem", Text),  # why the last attempt failed
    Index("orders_by_due", "reason", "state", "due"),
    Index("orders_by_expiry", "reason", "expires"),
    Index("orders_by_project", "project", "name"),
)

issuances = Table(
    "issuances",
    metadata,
    # what became of orders, and of certificates that people brought or took away: the history of a name
    Column("id", _Serial, primary_key=True, autoincrement=True),
    Column("name", _string(260), nullable=False),
    Column("project", _string(100), nullable=False),
    Column("issuer", _string(100), nullable=False),
    Column("at", Float, nullable=False),
    Column("outcome", _string(20), nullable=False),  # issued, failed, uploaded, imported, revoked…
    Column("who", _string(200)),  # where a person did it
    Column("seconds", Float),  # from queued to done
    Column("fingerprint", _string(64)),
    Column("problem", Text),
    Index("issuances_by_name", "name", "id"),
    Index("issuances_by_time", "at"),
    sqlite_autoincrement=True,
)

accounts = Table(
    "accounts",
    metadata,
    Column("project", _string(100), primary_key=True),
    Column("issuer", _string(100), primary_key=True),
    Column("directory", Text, primary_key=True),
    Column("url", Text),  # none until the authority has told it
    Column("sealed_key", LargeBinary, nullable=False),
    Column("sealed_next", LargeBinary),  # the key it is being changed to
    Column("email", _string(300)),
    Column("created", Float, nullable=False),
)

challenges = Table(
    "challenges",
    metadata,
    # what an authority asks the nodes for; any controller answers any node
    Column("type", _string(20), primary_key=True),  # http-01, tls-alpn-01
    Column("key", _string(300), primary_key=True),  # http-01: the token; tls-alpn-01: the name
    Column("name", _string(260), nullable=False),
    Column("value", Text, nullable=False),  # the key authorization
    Column("expires", Float, nullable=False),
    Index("challenges_by_expiry", "expires"),
)

spendings = Table(
    "spendings",
    metadata,
    # what was asked of an authority that it allows only so often
    Column("id", _Serial, primary_key=True, autoincrement=True),
    Column("account", Text, nullable=False),  # or the authority's directory, where that counts over all
    Column("scope", _string(30), nullable=False),  # orders, domain, exact, failures
    Column("key", _string(300), nullable=False),
    Column("name", _string(260), nullable=False),  # the order it was for
    Column("pending", Boolean, nullable=False),  # the order is under way: it counts as if it happened now
    Column("at", Float, nullable=False),
    Index("spendings_by_name", "name"),
    Index("spendings_by_time", "at"),
)

pauses = Table(
    "pauses",
    metadata,
    # what an authority refused with 429, until when
    Column("account", Text, primary_key=True),
    Column("scope", _string(30), primary_key=True),
    Column("key", _string(300), primary_key=True),
    Column("until", Float, nullable=False),
    Column("reason", Text, nullable=False),
)

budgets = Table(
    "budgets",
    metadata,
    # new names that strangers chose, by the five minutes they came in
    Column("scope", _string(20), primary_key=True),  # domain, project, all
    Column("key", _string(300), primary_key=True),
    Column("slot", BigInteger, primary_key=True, autoincrement=False),
    Column("taken", BigInteger, nullable=False),
    Index("budgets_by_slot", "slot"),
)

seal_keys = Table(
    "seal_keys",
    metadata,
    # the keys that records are sealed with, wrapped by a key that is never in the database
    Column("id", _string(16), primary_key=True),  # key id, hex
    Column("wrapped", LargeBinary, nullable=False),
    Column("wrapped_by", _string(16), nullable=False),
    Column("created", Float, nullable=False),
    Column("active", Float),  # records are sealed with it since then; none: it waits until all hold it
    Column("retired", Float),  # records are sealed anew with another one since then
    Column("resealed", Float),  # every older record has been sealed anew with it since then
)

seal_holders = Table(
    "seal_holders",
    metadata,
    # which of them each controller holds by now
    Column("controller", _string(36), primary_key=True),
    Column("keys", Text, nullable=False),  # ids, with blanks between
    Column("seals_with", _string(16), nullable=False),
    Column("wraps_with", Text, nullable=False),  # ids of the keys that it can unwrap with
)

root_log_heads = Table(
    "root_log_heads",
    metadata,
    # what the audit log of a node's rootd ended with, each minute: who rewrites it there cannot do so here
    Column("node", _string(100), primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("hash", _string(64), nullable=False),
    Column("at", Float, nullable=False),
    Index("root_log_heads_by_time", "at"),
)

vpn_gateways = Table(
    "vpn_gateways",
    metadata,
    # what nodes say of the daemons of their gateways, and which node is the active one of each
    Column("gateway", _string(12), primary_key=True),
    Column("node", _string(100), primary_key=True),
    Column("phase", _string(20), nullable=False),
    Column("since", Float, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", Float, nullable=False),
)

vpn_connections = Table(
    "vpn_connections",
    metadata,
    # what the node that has a connection said last of it; what nobody said anything of yet has no row
    Column("connection", _string(36), primary_key=True),
    Column("gateway", _string(12), nullable=False),
    Column("node", _string(100), nullable=False),
    Column("phase", _string(20), nullable=False),
    Column("since", Float, nullable=False),
    Column("state", Text, nullable=False),  # JSON: vpn.driver.State
    Column("at", Float, nullable=False),
    Column("told", _string(20), nullable=False),  # the phase that the webhook was told; blank: none yet
    Index("vpn_connections_by_gateway", "gateway"),
)
