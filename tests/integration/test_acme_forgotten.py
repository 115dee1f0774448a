"""An order that was made when somebody died, before its URL was kept: found again, however many came after it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from edgeward.certificates.orders.fulfilment import Saved
from tests.integration.acme import Needs, pebble
from tests.integration.acme_orders import desk, issuer

NEWER = 30


class Died(Exception):
    """Stands for the end of the process."""


async def test_it_is_found_behind_many_newer_orders(
    sqlite_template: Path, state_dir: Path, needs: Needs
) -> None:
    ours = desk(sqlite_template, state_dir)
    with pebble(state_dir, needs, always_valid=True) as authority:
        wanted = issuer(authority)

        async def die(saved: Saved) -> None:
            if saved.url is not None:
                raise Died

        ours.save = die  # type: ignore[method-assign]
        with pytest.raises(Died):
            await ours.order(wanted, "lost.example.com")
        assert authority.orders() == 1
        restarted = ours.again()
        await asyncio.gather(*(restarted.order(wanted, f"n{n}.example.com") for n in range(NEWER)))

        once_more = ours.again()
        await once_more.order(wanted, "lost.example.com", saved=Saved(step="order"))

        assert authority.orders() == 1 + NEWER
        assert authority.issued() == 1 + NEWER
        for one in (ours, restarted, once_more):
            await one.close()
