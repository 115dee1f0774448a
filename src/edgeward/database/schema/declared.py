"""What is declared: objects, their history, and what follows from their changes."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    Index,
    Integer,
    Table,
    Text,
)

from edgeward.database.schema.columns import Serial, metadata, string

counter = Table(
    "counter",
    metadata,
    Column("id", Integer, primary_key=True),  # always 1: updating the row puts writers in order
    Column("store", string(36), nullable=False),
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
    Column("kind", string(40), primary_key=True),
    Column("project", string(100), primary_key=True),
    Column("name", string(260), primary_key=True),
    Column("source", string(300), nullable=False),
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
    Column("kind", string(40), primary_key=True),
    Column("project", string(100), primary_key=True),
    Column("name", string(260), primary_key=True),
    Column("revision", BigInteger, nullable=False),
    Column("at", Float, nullable=False),
    Index("tombstones_by_revision", "revision", "kind", "project", "name"),
)

revisions = Table(
    "revisions",
    metadata,
    # what one revision changed in one project; its changes are the rows of audit
    Column("revision", BigInteger, primary_key=True, autoincrement=False),
    Column("project", string(100), primary_key=True),  # or * for what is of the whole installation
    Column("at", Float, nullable=False),
    Column("who", string(200), nullable=False),
    Column("source", string(300), nullable=False),
    Column("rolled_back_to", BigInteger),
    Column("created", Integer, nullable=False),
    Column("changed", Integer, nullable=False),
    Column("deleted", Integer, nullable=False),
    Column("size", BigInteger, nullable=False),  # bytes of its changes
    Column("objects", Text, nullable=False),  # JSON; the first of them: action and key
    Index("revisions_by_project", "project", "revision"),
)

audit = Table(
    "audit",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("at", Float, nullable=False),
    Column("who", string(200), nullable=False),
    Column("source", string(300), nullable=False),
    Column("action", string(40), nullable=False),
    Column("kind", string(40), nullable=False),
    Column("project", string(100), nullable=False),
    Column("name", string(260), nullable=False),
    Column("before", Text),
    Column("after", Text),
    Column("revision", BigInteger, nullable=False),
    Column("source_before", string(300)),  # whose the object was, where it was there
    Index("audit_by_object", "kind", "project", "name"),
    Index("audit_by_time", "at"),
    Index("audit_by_revision", "revision"),
)

events = Table(
    "events",
    metadata,
    # written in the one write transaction: a smaller id is never seen after a larger one
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("at", Float, nullable=False),
    Column("type", string(20), nullable=False),  # change, node, openresty
    Column("project", string(100)),  # none: of the whole installation
    Column("revision", BigInteger, nullable=False),
    Column("data", Text, nullable=False),  # JSON
    Index("events_by_time", "at"),
    sqlite_autoincrement=True,  # no id is given twice, whatever was swept
)
