"""What nodes say of their gateways and of the tunnels in them."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def _string(length: int) -> sa.String:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "vpn_gateways",
        sa.Column("gateway", _string(12), primary_key=True),
        sa.Column("node", _string(100), primary_key=True),
        sa.Column("phase", _string(20), nullable=False),
        sa.Column("since", sa.Float(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
    )
    op.create_table(
        "vpn_connections",
        sa.Column("connection", _string(36), primary_key=True),
        sa.Column("gateway", _string(12), nullable=False),
        sa.Column("node", _string(100), nullable=False),
        sa.Column("phase", _string(20), nullable=False),
        sa.Column("since", sa.Float(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("told", _string(20), nullable=False),
    )
    op.create_index("vpn_connections_by_gateway", "vpn_connections", ["gateway"])
