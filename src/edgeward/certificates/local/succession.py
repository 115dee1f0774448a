"""Which roots and intermediates of the local authority there should be, and which of them sign now.

A root lasts ten years. Two years before its end its successor is made and published at once, and
signs only 90 days later, when every trust store had time to learn of it. Intermediates are
renewed when a third of their life is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from edgeward.certificates.local.signing import DAY, INTERMEDIATE_LIFE, Signer, new_intermediate, new_root

SUCCESSOR_BEFORE_END: Final = 730 * DAY
PUBLISHED_BEFORE_SIGNING: Final = 90 * DAY
_RENEWAL_LEFT: Final = 1 / 3


@dataclass(frozen=True)
class Held:
    """A root or an intermediate as it is kept; times are Unix seconds."""

    role: Literal["root", "intermediate"]
    signer: Signer
    signs_from: float
    id: int | None = None
    """As stored; None before that."""

    def signed(self, other: Held) -> bool:
        """Whether this root signed that intermediate; an authority's name is made from its key."""
        ours, theirs = self.signer.certificate, other.signer.certificate
        return other.role == "intermediate" and ours.subject == theirs.issuer

    @property
    def not_before(self) -> float:
        return self.signer.certificate.not_valid_before_utc.timestamp()

    @property
    def not_after(self) -> float:
        return self.signer.certificate.not_valid_after_utc.timestamp()


def due(held: Sequence[Held], now: float) -> list[Held]:
    """Make the authorities that are missing now, roots first; nothing where all is as it should be."""
    roots = unexpired_roots(held, now)
    fresh: list[Held] = []
    if not roots:
        fresh.append(Held("root", new_root(now), signs_from=now))
    elif max(r.not_after for r in roots) - now < SUCCESSOR_BEFORE_END:
        fresh.append(Held("root", new_root(now), signs_from=now + PUBLISHED_BEFORE_SIGNING))
    root = signing_root([*roots, *fresh], now)
    intermediate = signing_intermediate(held, root)
    if intermediate is None or _third_left(intermediate, now):
        signer = new_intermediate(root.signer, now)
        fresh.append(Held("intermediate", signer, signs_from=now))
    return fresh


def unexpired_roots(held: Sequence[Held], now: float) -> list[Held]:
    return [h for h in held if h.role == "root" and h.not_after > now]


def signing_root(roots: Sequence[Held], now: float) -> Held:
    """Give the newest of some roots that may sign, or the first one to come where none may yet."""
    ready = [r for r in roots if r.signs_from <= now]
    return max(ready, key=lambda r: r.signs_from) if ready else min(roots, key=lambda r: r.signs_from)


def signing_intermediate(held: Sequence[Held], root: Held) -> Held | None:
    return max((h for h in held if root.signed(h)), key=lambda h: h.not_after, default=None)


def _third_left(held: Held, now: float) -> bool:
    left, life = held.not_after - now, held.not_after - held.signs_from
    if life < INTERMEDIATE_LIFE * _RENEWAL_LEFT:
        return left <= 0  # cut short by its root's end: another one would last no longer
    return left < life * _RENEWAL_LEFT
