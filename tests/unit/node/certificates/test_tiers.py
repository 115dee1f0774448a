from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from edgeward.certificates.model import Cache
from edgeward.node.certificates.secrets import Kept, kept
from edgeward.node.certificates.tiers import Tiers, names_for
from edgeward.node.state import Touched


class Disk:
    """A disk in memory; ``reads`` counts lookups."""

    def __init__(self, *names: str) -> None:
        self.rows = {name: certificate(name) for name in names}
        self.reads = 0

    def find(self, names: Sequence[str], now: float) -> Kept | None:
        self.reads += 1
        return next((k for n in names if (k := self.rows.get(n)) is not None and now < k.not_after), None)


def certificate(name: str, not_after: float = 1e9, body: bytes = b"") -> Kept:
    return kept(name, "default", 1, not_after, "f" * 64, name.encode() + body)


def found(tiers: Tiers, name: str, now: float = 0.0) -> str | None:
    hit = tiers.find(name, now)
    return None if hit is None else f"{hit.tier} {hit.kept.name}"


def test_an_exact_certificate_goes_before_its_wildcard() -> None:
    tiers = Tiers(Disk("a.x.example", "*.x.example"))

    assert found(tiers, "a.x.example") == "disk a.x.example"
    assert found(tiers, "b.x.example") == "disk *.x.example"
    assert found(tiers, "b.y.example") is None


def test_what_was_read_once_is_in_memory() -> None:
    disk = Disk("a.example")
    tiers = Tiers(disk)

    assert [found(tiers, "a.example") for _ in range(3)] == ["disk a.example"] + ["memory a.example"] * 2
    assert disk.reads == 1
    assert (tiers.memory.hits, tiers.memory.misses, tiers.disk.hits) == (2, 1, 1)


def test_an_expired_certificate_is_a_missing_one_in_every_tier() -> None:
    disk = Disk()
    disk.rows["a.example"] = certificate("a.example", not_after=100.0)
    tiers = Tiers(disk)

    assert found(tiers, "a.example", now=99.0) == "disk a.example"
    assert found(tiers, "a.example", now=100.0) is None
    assert tiers.where("a.example", 100.0) == ("none", None)


def test_memory_holds_for_its_time_and_no_more_than_its_bound() -> None:
    tiers = Tiers(Disk("a.example", "b.example", "c.example"))
    tiers.resize(Cache(memory=2, memory_seconds=10))
    for name in ("a", "b", "c"):
        found(tiers, f"{name}.example")

    assert tiers.memory_size == 2
    assert tiers.memory.evictions == 1
    assert found(tiers, "a.example", 1) == "disk a.example"
    assert found(tiers, "a.example", 2) == "memory a.example"
    assert found(tiers, "a.example", 12) == "disk a.example"


def test_no_memory_means_no_memory() -> None:
    tiers = Tiers(Disk("a.example"))
    tiers.resize(Cache(memory=0, misses=0))
    tiers.miss("b.example", 0)

    assert [found(tiers, "a.example") for _ in range(2)] == ["disk a.example"] * 2
    assert not tiers.is_miss("b.example", 0)


def test_a_miss_is_remembered_briefly_and_within_its_bound() -> None:
    tiers = Tiers(Disk())
    tiers.resize(Cache(misses=2, miss_seconds=5))
    for name in ("a", "b", "c"):
        tiers.miss(f"{name}.example", 0)

    assert not tiers.is_miss("a.example", 1)
    assert tiers.is_miss("c.example", 4.9)
    assert not tiers.is_miss("c.example", 5)
    tiers.miss("d.example", 0, seconds=1)
    assert not tiers.is_miss("d.example", 1)


def test_a_clock_that_is_put_back_makes_nothing_last_longer() -> None:
    disk = Disk("a.example")
    tiers = Tiers(disk)
    tiers.resize(Cache(memory_seconds=60, miss_seconds=5))
    tiers.miss("new.example", now=100_000.0)
    assert found(tiers, "a.example", now=100_000.0) == "disk a.example"

    assert not tiers.is_miss("new.example", now=100_000.0 - 2 * 3600)
    tiers.miss("new.example", now=100_000.0)
    assert tiers.where("new.example", 100_000.0 - 2 * 3600) == ("none", None)
    assert found(tiers, "a.example", now=100_000.0 - 2 * 3600) == "disk a.example"


def test_a_refused_certificate_is_served_from_no_tier_until_it_is_another() -> None:
    disk = Disk("a.example")
    tiers = Tiers(disk)
    hit = tiers.find("a.example", 0)
    assert hit is not None
    tiers.refuse(hit.kept.digest, "the key does not fit")

    assert found(tiers, "a.example") is None
    assert tiers.where("a.example", 0) == ("none", None)

    disk.rows["a.example"] = certificate("a.example", body=b"new")
    assert found(tiers, "a.example") == "disk a.example"


names = st.sampled_from(["a.x.example", "b.x.example", "a.y.example", "x.example"])
patterns = st.sampled_from(["*.x.example", "*.y.example", "a.x.example", "x.example"])
changes = st.one_of(
    st.tuples(st.just("find"), names),
    st.tuples(st.just("miss"), names),
    st.tuples(st.just("put"), patterns),
    st.tuples(st.just("remove"), patterns),
)


@given(st.lists(changes, max_size=40))
def test_no_tier_ever_says_other_than_the_disk_once_a_change_was_told(
    happenings: list[tuple[str, str]],
) -> None:
    disk = Disk()
    tiers = Tiers(disk)
    for number, (what, name) in enumerate(happenings):
        if what == "find":
            tiers.find(name, 0)
        elif what == "miss":
            if disk.find(names_for(name), 0) is None:
                tiers.miss(name, 0)
        else:
            disk.rows.pop(name, None)
            if what == "put":
                disk.rows[name] = certificate(name, body=str(number).encode())
            touched = Touched()
            touched.add(name)
            tiers.invalidate(touched)
        for asked in ("a.x.example", "b.x.example", "a.y.example", "x.example"):
            truth = disk.find(names_for(asked), 0)
            _, said = tiers.where(asked, 0)
            assert said == truth
            assert not (tiers.is_miss(asked, 0) and truth is not None)
