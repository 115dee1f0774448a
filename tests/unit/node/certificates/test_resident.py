from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgeward.node.certificates.resident import Resident, Residents
from edgeward.node.state import Touched


def resident(asked: str, not_after: float = 1e9) -> Resident:
    return Resident(asked, asked.lower().rstrip("."), not_after, "d")


def test_the_oldest_leaves_first() -> None:
    residents = Residents(2, 1)
    assert residents.admit(resident("a.example")) == []
    assert residents.admit(resident("b.example")) == []
    assert residents.admit(resident("a.example")) == [], "it is young again"

    assert residents.admit(resident("c.example")) == ["b.example"]
    assert residents.evicted == 1


def test_a_million_spellings_evict_no_canonical_name() -> None:
    residents = Residents(10, 3)
    for n in range(10):
        residents.admit(resident(f"n{n}.example"))
    gone = [g for n in range(1000) for g in residents.admit(resident(f"A{n}.example"))]

    assert len(gone) == 997
    assert all(g.startswith("A") for g in gone)
    assert (residents.canonical, residents.spellings) == (10, 3)


def test_a_pinned_name_stays() -> None:
    residents = Residents(10, 1, frozenset(("edgeward:no-sni",)))
    residents.admit(Resident("edgeward:no-sni", "shop.example", 1e9, "d"))

    assert residents.admit(resident("Shop.example")) == ["Shop.example"]
    assert residents.get("edgeward:no-sni") is not None


def test_smaller_bounds_hold_at_once() -> None:
    residents = Residents(10, 10)
    for n in range(10):
        residents.admit(resident(f"n{n}.example"))
        residents.admit(resident(f"N{n}.example"))

    assert len(residents.resize(4, 1)) == 6 + 9
    assert len(residents) == 5


def test_residents_below_a_touched_wildcard_and_all_spellings_of_a_name_are_found() -> None:
    residents = Residents(10, 10)
    for asked in ("a.x.example", "A.x.example", "b.x.example", "a.y.example", "x.example"):
        residents.admit(resident(asked))

    wildcard, exact, all_ = (
        Touched(suffixes={"*.x.example"}),
        Touched(names={"a.x.example"}),
        Touched(expired={"*"}),
    )
    assert {r.asked for r in residents.touched(wildcard)} == {"a.x.example", "A.x.example", "b.x.example"}
    assert {r.asked for r in residents.touched(exact)} == {"a.x.example", "A.x.example"}
    assert len(residents.touched(all_)) == 5


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 20), st.booleans()), max_size=80))
def test_what_is_over_is_told_once_and_what_is_not_over_never(
    happenings: list[tuple[str, int, bool]],
) -> None:
    residents = Residents(100, 100)
    now = 0.0
    truth: dict[str, float] = {}
    for letter, number, admit in happenings:
        asked = f"{letter}.example"
        if admit:
            residents.admit(resident(asked, now + number))
            truth[asked] = now + number
        else:
            now += number / 10
            over = {r.asked for r in residents.expired(now)}
            assert over == {a for a, end in truth.items() if end <= now}
            for asked in over:
                residents.drop(asked)
                del truth[asked]


def test_timers_are_bounded_by_what_is_resident() -> None:
    residents = Residents(5, 5)
    for n in range(5000):
        residents.admit(resident(f"n{n}.example", 1e9 + n))

    assert len(residents._expiries) < 200
