"""When a certificate is renewed, when it is about to be too late, and when what failed is tried again."""

from __future__ import annotations

from typing import Final

from edgeward.certificates.orders.fulfilment import Window

_DAY: Final = 86400.0
_SHORT: Final = 10 * _DAY
_MARGIN_OF_SHORT: Final = 1 / 4
_MARGIN: Final = 1 / 6
_THIRD: Final = 1 / 3
_SPREAD: Final = 1 / 10
_WAITS: Final = (60.0, 600.0, 6000.0, _DAY)
_OUTAGE_WAITS: Final = _WAITS[:2]
_LATEST_OF_LEFT: Final = 1 / 8


def renewal(not_before: float, not_after: float, spread: float, window: Window | None = None) -> float:
    """Give when to renew: somewhere within the window its authority suggests (RFC 9773, 4.2), else at a
    third of life left, half of it where that is below ten days; ``spread`` in [0, 1) puts it up to a tenth of
    life before that, so that not all come at once.
    """
    if window is not None and window.start < not_after:
        return window.start + max(0.0, min(window.end, not_after) - window.start) * spread
    return _with_left(1 / 2 if not_after - not_before < _SHORT else _THIRD, not_before, not_after, spread)


def renewal_of_own(not_before: float, not_after: float, spread: float) -> float:
    """Give when to renew what our own authority signed: it answers at once, so a third of life is enough."""
    return _with_left(_THIRD, not_before, not_after, spread)


def _with_left(share: float, not_before: float, not_after: float, spread: float) -> float:
    return not_after - (not_after - not_before) * (share + _SPREAD * spread)


def margins() -> tuple[float, float, float]:
    """Give when a certificate that is still not renewed is told of, half of the time for renewal being gone:
    below which life in seconds, with which share of it left, and with which share above that.
    """
    return _SHORT, _MARGIN_OF_SHORT, _MARGIN


def next_try(attempts: int, now: float, expires: float | None, *, outage: bool = False) -> float:
    """Give when to try again after so many failures: 1, 10, 100 minutes, a day.

    Sooner where a certificate would expire meanwhile; an authority's own outage is no fault of the name, and
    not held against it for long.
    """
    waits = _OUTAGE_WAITS if outage else _WAITS
    wait = waits[min(max(attempts, 1), len(waits)) - 1]
    if expires is not None and expires > now:
        wait = min(wait, max((expires - now) * _LATEST_OF_LEFT, _WAITS[0]))
    return now + wait
