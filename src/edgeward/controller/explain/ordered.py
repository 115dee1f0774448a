"""What there is to say of a name whose certificate is being ordered."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from edgeward.certificates.orders.model import Queued


def failure(order: Queued | None) -> tuple[str, str] | None:
    """Give reason and remedy where the last attempt failed."""
    if order is None or not order.problem:
        return None
    again = f"from {datetime.fromtimestamp(order.due, UTC).isoformat(timespec='seconds')} on"
    if order.state == "waiting" and order.due <= order.queued:  # not begun: its issuer has no account
        again = "each minute"
    return (
        f"its certificate could not be had: {order.problem}",
        f"see to that; it is tried again {again} (edgeward get orders {order.name})",
    )


def notes(order: Queued | None, *, valid: bool) -> Iterator[str]:
    """Give what is under way, and what failed where the certificate is still good."""
    if order is None:
        return
    failed = failure(order)
    if failed is not None and valid:
        yield f"its renewal failed so far: {order.problem}"
    elif failed is None:
        step = f": {order.step}" if order.step else ""
        yield f"its certificate is {'being ordered' if order.state == 'working' else 'to be ordered'}{step}"
