"""What columns are of, so that both databases compare and order them alike."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Integer,
    MetaData,
    String,
)

metadata = MetaData()


def string(length: int) -> String:
    """Give text that both databases put in the order of its bytes, as Python does."""
    return String(length).with_variant(String(length, collation="C"), "postgresql")


Serial = BigInteger().with_variant(Integer(), "sqlite")  # which numbers rows by Integer alone

# Times in all tables are Unix seconds in UTC as floats: both databases compare and index them alike.
