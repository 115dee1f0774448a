"""What certificates from other authorities need: orders, accounts, challenges, budgets, wrapped keys."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _string(length: int) -> sa.String:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def upgrade() -> None:
    _certificates()
    _orders()
    _authorities()
    _keys()
    _root_logs()


def _certificates() -> None:
    op.add_column("certificates", sa.Column("source", _string(20), server_default="issued", nullable=False))
    op.add_column("certificates", sa.Column("leader", _string(260), nullable=True))
    for name in ("start", "end", "next"):
        op.add_column("certificates", sa.Column(f"window_{name}", sa.Float(), nullable=True))
    op.drop_index("certificates_by_renewal", "certificates")
    planned = ["name", "not_before", "not_after", "window_start", "project", "issuer", "leader", "algorithm"]
    op.create_index("certificates_by_renewal", "certificates", ["source", "renew_at", *planned])
    op.create_index("certificates_by_leader", "certificates", ["leader"])
    op.create_index("certificates_by_window", "certificates", ["window_next"])


def _orders() -> None:
    op.create_table(
        "orders",
        sa.Column("name", _string(260), primary_key=True),
        sa.Column("project", _string(100), nullable=False),
        sa.Column("issuer", _string(100), nullable=False),
        sa.Column("reason", _string(20), nullable=False),
        sa.Column("state", _string(20), nullable=False),
        sa.Column("queued", sa.Float(), nullable=False),
        sa.Column("due", sa.Float(), nullable=False),
        sa.Column("expires", sa.Float(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("began", sa.Float(), nullable=True),
        sa.Column("step", _string(40), nullable=True),
        sa.Column("authority", _string(100), nullable=True),
        sa.Column("url", sa.Text(), nullable=True),
        sa.Column("sealed_key", sa.LargeBinary(), nullable=True),
        sa.Column("problem", sa.Text(), nullable=True),
    )
    op.create_index("orders_by_due", "orders", ["reason", "state", "due"])
    op.create_index("orders_by_expiry", "orders", ["reason", "expires"])
    op.create_index("orders_by_project", "orders", ["project", "name"])
    op.create_table(
        "issuances",
        sa.Column("id", _SERIAL, primary_key=True, autoincrement=True),
        sa.Column("name", _string(260), nullable=False),
        sa.Column("project", _string(100), nullable=False),
        sa.Column("issuer", _string(100), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("outcome", _string(20), nullable=False),
        sa.Column("who", _string(200), nullable=True),
        sa.Column("seconds", sa.Float(), nullable=True),
        sa.Column("fingerprint", _string(64), nullable=True),
        sa.Column("problem", sa.Text(), nullable=True),
        sqlite_autoincrement=True,
    )
    op.create_index("issuances_by_name", "issuances", ["name", "id"])
    op.create_index("issuances_by_time", "issuances", ["at"])


def _authorities() -> None:
    op.create_table(
        "accounts",
        sa.Column("project", _string(100), primary_key=True),
        sa.Column("issuer", _string(100), primary_key=True),
        sa.Column("directory", sa.Text(), primary_key=True),
        sa.Column("url", sa.Text(), nullable=True),
        sa.Column("sealed_key", sa.LargeBinary(), nullable=False),
        sa.Column("sealed_next", sa.LargeBinary(), nullable=True),
        sa.Column("email", _string(300), nullable=True),
        sa.Column("created", sa.Float(), nullable=False),
    )
    op.create_table(
        "challenges",
        sa.Column("type", _string(20), primary_key=True),
        sa.Column("key", _string(300), primary_key=True),
        sa.Column("name", _string(260), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("expires", sa.Float(), nullable=False),
    )
    op.create_index("challenges_by_expiry", "challenges", ["expires"])
    op.create_table(
        "spendings",
        sa.Column("id", _SERIAL, primary_key=True, autoincrement=True),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("scope", _string(30), nullable=False),
        sa.Column("key", _string(300), nullable=False),
        sa.Column("name", _string(260), nullable=False),
        sa.Column("pending", sa.Boolean(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
    )
    op.create_index("spendings_by_name", "spendings", ["name"])
    op.create_index("spendings_by_time", "spendings", ["at"])
    op.create_table(
        "pauses",
        sa.Column("account", sa.Text(), primary_key=True),
        sa.Column("scope", _string(30), primary_key=True),
        sa.Column("key", _string(300), primary_key=True),
        sa.Column("until", sa.Float(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
    )


def _keys() -> None:
    op.create_table(
        "budgets",
        sa.Column("scope", _string(20), primary_key=True),
        sa.Column("key", _string(300), primary_key=True),
        sa.Column("slot", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("taken", sa.BigInteger(), nullable=False),
    )
    op.create_index("budgets_by_slot", "budgets", ["slot"])
    op.create_table(
        "seal_keys",
        sa.Column("id", _string(16), primary_key=True),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.Column("wrapped_by", _string(16), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.Column("active", sa.Float(), nullable=True),
        sa.Column("resealed", sa.Float(), nullable=True),
        sa.Column("retired", sa.Float(), nullable=True),
    )
    op.create_table(
        "seal_holders",
        sa.Column("controller", _string(36), primary_key=True),
        sa.Column("keys", sa.Text(), nullable=False),
        sa.Column("seals_with", _string(16), nullable=False),
        sa.Column("wraps_with", sa.Text(), nullable=False),
    )


def _root_logs() -> None:
    op.create_table(
        "root_log_heads",
        sa.Column("node", _string(100), primary_key=True),
        sa.Column("number", sa.BigInteger(), primary_key=True),
        sa.Column("hash", _string(64), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
    )
    op.create_index("root_log_heads_by_time", "root_log_heads", ["at"])
