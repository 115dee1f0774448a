"""What is shown of certificates: found, filtered and counted, and never a key."""

from __future__ import annotations

import pytest

from edgeward.certificates import store, summaries
from edgeward.certificates.model import Wanted
from tests.unit.certificates.issuing import DAY, START, installation, put


@pytest.fixture
async def here(database_url):
    async with installation(database_url) as made:
        yield made


async def test_lists_are_paged_and_filtered_and_hold_no_key(here):
    await put(here, "a.example", "b.example", "*.c.example")
    await put(here, "c.example", project="p", life=DAY)
    async with here.database.reading() as connection:
        first = await summaries.listed(connection, Wanted(), 2)
        rest = await summaries.listed(connection, Wanted(), 10, after=first[-1].name)
        names = [s.name for s in [*first, *rest]]
        by = {
            "project": await summaries.listed(connection, Wanted(project="p"), 10),
            "end": await summaries.listed(connection, Wanted(ends_before=START + 2 * DAY), 10),
            "exact": await summaries.listed(connection, Wanted(name="c.example"), 10),
            "start": await summaries.listed(connection, Wanted(name="b*"), 10),
            "no pattern": await summaries.listed(connection, Wanted(name="%*"), 10),
        }
        one = await summaries.serving(connection, "*.c.example", START)
        below = await summaries.serving(connection, "x.c.example", START)

    assert names == sorted(["a.example", "b.example", "*.c.example", "c.example"])
    assert {k: [s.name for s in v] for k, v in by.items()} == {
        "project": ["c.example"],
        "end": ["c.example"],
        "exact": ["c.example"],
        "start": ["b.example"],
        "no pattern": [],
    }
    assert one is not None and "PRIVATE" not in repr(one)
    assert one == below


async def test_what_is_shown_as_serving_a_name_is_what_serves_it(here):
    await put(here, "a.b.example", life=DAY)
    await put(here, "*.b.example", life=2 * DAY)
    shown = {}
    async with here.database.reading() as connection:
        for days in (0, 1, 2):
            now = START + days * DAY
            found = await summaries.serving(connection, "a.b.example", now)
            kept = await store.find(connection, here.seal, "a.b.example", now)
            shown[days] = found and found.name, kept and kept.certificate.name

    assert shown == {
        0: ("a.b.example", "a.b.example"),
        1: ("*.b.example", "*.b.example"),
        2: ("a.b.example", None),
    }, "of two that have expired its own is shown"


async def test_certificates_are_counted_by_their_end(here):
    await put(here, "a.example", life=DAY / 2)
    await put(here, "b.example", "c.example", life=5 * DAY)
    await put(here, "d.example", life=60 * DAY)
    async with here.database.reading() as connection:
        assert await summaries.counts(connection, START) == {
            "total": 4,
            "expired": 0,
            "1d": 1,
            "7d": 3,
            "30d": 3,
        }
        late = await summaries.counts(connection, START + 5 * DAY)

    assert late == {"total": 4, "expired": 3, "1d": 0, "7d": 0, "30d": 0}
