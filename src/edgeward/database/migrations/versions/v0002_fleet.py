"""What several controllers on one database need: leases, events, history, labels, a second key type."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TABLES = (
    "audit",
    "authorities",
    "certificates",
    "controllers",
    "counter",
    "events",
    "expirations",
    "leases",
    "nodes",
    "objects",
    "revisions",
    "ticket_keys",
    "tokens",
    "tombstones",
)
_COLUMNS = "name, project, issuer, chain, sealed_key, fingerprint, not_before, not_after, renew_at, revision"


def upgrade() -> None:
    op.create_table(
        "controllers",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("url", sa.String(length=300), nullable=False),
        sa.Column("version", sa.String(length=40), nullable=False),
        sa.Column("started", sa.Float(), nullable=False),
        sa.Column("seen", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("holder", sa.String(length=36), nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("expires", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "events",
        sa.Column("id", _SERIAL, autoincrement=True, nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("type", sa.String(length=20), nullable=False),
        sa.Column("project", sa.String(length=100), nullable=True),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("events_by_time", "events", ["at"], unique=False)
    op.create_table(
        "ticket_keys",
        sa.Column("id", _SERIAL, autoincrement=True, nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("audit_by_revision", "audit", ["revision"], unique=False)
    op.add_column("nodes", sa.Column("labels", sa.Text(), server_default="{}", nullable=False))
    op.add_column("nodes", sa.Column("labelled", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("nodes", sa.Column("controller", sa.String(length=36), nullable=True))
    op.add_column("tokens", sa.Column("labels", sa.Text(), nullable=True))
    op.add_column("objects", sa.Column("placed", sa.BigInteger(), server_default="0", nullable=False))
    op.execute("UPDATE objects SET placed = revision")
    op.create_index("objects_by_placement", "objects", ["placed", "kind", "project", "name"], unique=False)
    op.add_column("nodes", sa.Column("told", sa.Text(), nullable=True))
    _keep_history()
    _give_certificates_an_algorithm()
    if op.get_bind().dialect.name == "postgresql":
        _order_by_bytes()
        _number_without_end()


def _keep_history() -> None:
    """Begin the history here: what the audit log holds so far may be shortened, and cannot be undone."""
    op.add_column("audit", sa.Column("source_before", sa.String(length=300), nullable=True))
    op.create_table(
        "revisions",
        sa.Column("revision", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("project", sa.String(length=100), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("who", sa.String(length=200), nullable=False),
        sa.Column("source", sa.String(length=300), nullable=False),
        sa.Column("rolled_back_to", sa.BigInteger(), nullable=True),
        sa.Column("created", sa.Integer(), nullable=False),
        sa.Column("changed", sa.Integer(), nullable=False),
        sa.Column("deleted", sa.Integer(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("objects", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("revision", "project"),
    )
    op.create_index("revisions_by_project", "revisions", ["project", "revision"], unique=False)
    for name in ("history", "events"):
        op.add_column("counter", sa.Column(name, sa.BigInteger(), server_default="0", nullable=False))
    op.execute("UPDATE counter SET history = revision")


def _give_certificates_an_algorithm() -> None:
    """SQLite cannot change a primary key in place, so both databases get the table anew."""
    for index in ("expiry", "renewal", "revision"):
        op.drop_index(f"certificates_by_{index}", "certificates")
    op.rename_table("certificates", "certificates_0001")
    op.create_table(
        "certificates",
        sa.Column("name", sa.String(length=260), nullable=False),
        sa.Column("algorithm", sa.String(length=10), server_default="ecdsa", nullable=False),
        sa.Column("project", sa.String(length=100), nullable=False),
        sa.Column("issuer", sa.String(length=100), nullable=False),
        sa.Column("chain", sa.Text(), nullable=False),
        sa.Column("sealed_key", sa.LargeBinary(), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("not_before", sa.Float(), nullable=False),
        sa.Column("not_after", sa.Float(), nullable=False),
        sa.Column("renew_at", sa.Float(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("placed", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("name", "algorithm"),
    )
    rows = f"SELECT {_COLUMNS}, revision FROM certificates_0001"  # noqa: S608 - names of columns
    op.execute(f"INSERT INTO certificates ({_COLUMNS}, placed) {rows}")
    op.drop_table("certificates_0001")
    op.create_index("certificates_by_expiry", "certificates", ["not_after"], unique=False)
    op.create_index("certificates_by_renewal", "certificates", ["renew_at"], unique=False)
    op.create_index("certificates_by_placement", "certificates", ["placed", "name"], unique=False)
    op.create_index("certificates_by_revision", "certificates", ["revision", "name"], unique=False)


def _order_by_bytes() -> None:
    """Sort as Python and SQLite do, whatever the database's own collation."""
    tables = ", ".join(f"'{name}'" for name in _TABLES)
    query = f"""SELECT table_name, column_name, character_maximum_length FROM information_schema.columns
        WHERE table_schema = current_schema() AND data_type = 'character varying'
        AND table_name IN ({tables})"""  # noqa: S608
    for table, column, length in op.get_bind().execute(sa.text(query)).all():
        op.execute(f'ALTER TABLE {table} ALTER COLUMN {column} TYPE VARCHAR({length}) COLLATE "C"')


def _number_without_end() -> None:
    for table in ("audit", "authorities"):
        op.execute(f"ALTER TABLE {table} ALTER COLUMN id TYPE BIGINT")
        op.execute(f"ALTER SEQUENCE {table}_id_seq AS BIGINT")
