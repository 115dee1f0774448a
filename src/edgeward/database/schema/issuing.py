"""What certificates are made of: themselves, orders and what these may cost, authorities and accounts."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
)

from edgeward.database.schema.columns import Serial, metadata, string

_PLANNED = (
    "name", "not_before", "not_after", "window_start", "project", "issuer", "leader", "algorithm"
)  # fmt: skip

certificates = Table(
    "certificates",
    metadata,
    Column("name", string(260), primary_key=True),  # canonical, exact or *.suffix
    Column("algorithm", string(10), primary_key=True, server_default="ecdsa"),  # or rsa, beside it
    Column("project", string(100), nullable=False),
    Column("issuer", string(100), nullable=False),
    Column("chain", Text, nullable=False),
    Column("sealed_key", LargeBinary, nullable=False),
    Column("fingerprint", string(64), nullable=False),
    Column("not_before", Float, nullable=False),
    Column("not_after", Float, nullable=False),
    Column("renew_at", Float, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("placed", BigInteger, nullable=False, server_default="0"),  # as of objects
    Column(
        "source", string(20), nullable=False, server_default="issued"
    ),  # issued, ordered, uploaded, imported
    Column("leader", string(260)),  # the name it is a copy of, where several names share one certificate
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
    Column("name", string(260), primary_key=True),  # a name, or * for every name
    Column("revision", BigInteger, nullable=False),
    Column("at", Float, nullable=False),
    Index("expirations_by_revision", "revision", "name"),
)

authorities = Table(
    "authorities",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("role", string(20), nullable=False),  # root, intermediate
    Column("parent", Integer),
    Column("certificate", Text, nullable=False),
    Column("sealed_key", LargeBinary, nullable=False),
    Column("not_before", Float, nullable=False),
    Column("not_after", Float, nullable=False),
    Column("signs_from", Float, nullable=False),  # a new root is published long before it signs
)

ticket_keys = Table(
    "ticket_keys",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("sealed", LargeBinary, nullable=False),  # 80 bytes for TLS session tickets
    Column("created", Float, nullable=False),
    Column("revision", BigInteger, nullable=False),
)

orders = Table(
    "orders",
    metadata,
    # a certificate that somebody waits for: one row a name, gone when it is there
    Column("name", string(260), primary_key=True),
    Column("project", string(100), nullable=False),
    Column("issuer", string(100), nullable=False),
    Column("reason", string(20), nullable=False),  # visitor, renewal, new
    Column("state", string(20), nullable=False),  # waiting, working, failed
    Column("queued", Float, nullable=False),
    Column("due", Float, nullable=False),  # not before; what failed waits longer each time
    Column("expires", Float),  # of the certificate it is to replace
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("began", Float),
    Column("step", string(40)),  # what is being done at the authority
    Column("authority", string(100)),  # the issuer that is tried now: its own, or one to fall back to
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
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("name", string(260), nullable=False),
    Column("project", string(100), nullable=False),
    Column("issuer", string(100), nullable=False),
    Column("at", Float, nullable=False),
    Column("outcome", string(20), nullable=False),  # issued, failed, uploaded, imported, revoked…
    Column("who", string(200)),  # where a person did it
    Column("seconds", Float),  # from queued to done
    Column("fingerprint", string(64)),
    Column("problem", Text),
    Index("issuances_by_name", "name", "id"),
    Index("issuances_by_time", "at"),
    sqlite_autoincrement=True,
)

accounts = Table(
    "accounts",
    metadata,
    Column("project", string(100), primary_key=True),
    Column("issuer", string(100), primary_key=True),
    Column("directory", Text, primary_key=True),
    Column("url", Text),  # none until the authority has told it
    Column("sealed_key", LargeBinary, nullable=False),
    Column("sealed_next", LargeBinary),  # the key it is being changed to
    Column("email", string(300)),
    Column("created", Float, nullable=False),
)

challenges = Table(
    "challenges",
    metadata,
    # what an authority asks the nodes for; any controller answers any node
    Column("type", string(20), primary_key=True),  # http-01, tls-alpn-01
    Column("key", string(300), primary_key=True),  # http-01: the token; tls-alpn-01: the name
    Column("name", string(260), nullable=False),
    Column("value", Text, nullable=False),  # the key authorization
    Column("expires", Float, nullable=False),
    Index("challenges_by_expiry", "expires"),
)

spendings = Table(
    "spendings",
    metadata,
    # what was asked of an authority that it allows only so often
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("account", Text, nullable=False),  # or the authority's directory, where that counts over all
    Column("scope", string(30), nullable=False),  # orders, domain, exact, failures
    Column("key", string(300), nullable=False),
    Column("name", string(260), nullable=False),  # the order it was for
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
    Column("scope", string(30), primary_key=True),
    Column("key", string(300), primary_key=True),
    Column("until", Float, nullable=False),
    Column("reason", Text, nullable=False),
)

budgets = Table(
    "budgets",
    metadata,
    # new names that strangers chose, by the five minutes they came in
    Column("scope", string(20), primary_key=True),  # domain, project, all
    Column("key", string(300), primary_key=True),
    Column("slot", BigInteger, primary_key=True, autoincrement=False),
    Column("taken", BigInteger, nullable=False),
    Index("budgets_by_slot", "slot"),
)
