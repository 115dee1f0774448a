"""Which names a node serves: domains with several names, and names that were deactivated."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from edgeward.node.state import State, Touched, understand
from tests.client_certificates import Authority

NAMES = ["a.example", "b.example", "c.example", "*.c.example"]


def put(state: State, name: str, kind: str = "domains", project: str = "default", **value: Any) -> Touched:
    touched = Touched()
    state.put(kind, project, name, understand(kind, {"name": name, **value}), touched)
    return touched


def remove(state: State, name: str, kind: str = "domains", project: str = "default") -> Touched:
    touched = Touched()
    state.remove(kind, project, name, touched)
    return touched


def test_a_node_serves_every_name_of_a_domain_until_the_domain_drops_it():
    state = State()
    touched = put(state, "a.example", also=["b.example", "*.c.example"])
    assert touched.hits("b.example") and touched.hits("x.c.example")
    assert all(state.covered(n) for n in ("a.example", "b.example", "x.c.example"))

    touched = put(state, "a.example", also=["b.example"])
    assert touched.hits("x.c.example") and not state.covered("x.c.example")
    assert remove(state, "a.example").hits("b.example")
    assert not state.covered("a.example") and not state.covered("b.example")


def test_a_domain_stays_when_one_change_moves_it_to_another_project_in_whatever_order_that_comes():
    for elsewhere in (False, True):
        before, moved, apart = State(), State(), State()
        said = {"also": ["b.example"], "elsewhere": elsewhere}
        put(before, "a.example", project="new", **said)
        put(moved, "a.example", project="old", **said)
        put(moved, "a.example", project="new", **said)
        remove(moved, "a.example", project="old")
        put(apart, "a.example", project="old", **said)
        remove(apart, "a.example", project="old")
        put(apart, "a.example", project="new", **said)

        for state in (moved, apart):
            assert (state.domains, state.elsewhere) == (before.domains, before.elsewhere)
        remove(moved, "a.example", project="new")
        assert not moved.domains and not moved.elsewhere


splits = st.lists(st.sets(st.sampled_from(NAMES[1:])), min_size=2, max_size=2)


def domains_of(split: list[set[str]]) -> dict[str, tuple[str, ...]]:
    """Give domains of which no two say the same name; what nobody shares may stand by itself."""
    first, second = split[0], split[1] - split[0]
    alone = sorted(set(NAMES[1:]) - first - second)[:1]
    return {"a.example": tuple(sorted(first)), "z.example": tuple(sorted(second)), **dict.fromkeys(alone, ())}


@given(splits, splits, st.randoms())
def test_names_move_between_domains_in_whatever_order_one_change_comes(before, after, random):
    state = State()
    for name, also in domains_of(before).items():
        put(state, name, also=list(also))
    wanted = domains_of(after)
    steps = [*wanted, *(name for name in domains_of(before) if name not in wanted)]
    random.shuffle(steps)
    for name in steps:
        if name in wanted:
            put(state, name, also=list(wanted[name]))
        else:
            remove(state, name)

    assert set(state.domains) == {name for leader, also in wanted.items() for name in (leader, *also)}


def test_a_deactivated_name_is_not_covered_until_it_is_activated():
    state = State()
    put(state, "*.c.example")
    put(state, "own.c.example")
    assert put(state, "x.c.example", "withheld").hits("x.c.example")
    assert not state.covered("x.c.example") and state.covered("y.c.example")

    put(state, "*.c.example", "withheld")
    assert not state.covered("y.c.example") and state.covered("own.c.example")

    remove(state, "*.c.example", "withheld")
    assert remove(state, "x.c.example", "withheld").hits("x.c.example")
    assert state.covered("x.c.example") and state.covered("y.c.example")


def test_only_the_project_of_a_domain_deactivates_its_names():
    state = State()
    put(state, "a.example", project="p")
    put(state, "a.example", "withheld", project="q")

    assert state.covered("a.example")


def test_a_deactivated_name_has_no_filter_chain_of_its_own_whichever_came_first():
    ca = {"ca": Authority("ours").pem}
    for first, second in (("domains", "withheld"), ("withheld", "domains")):
        state = State()
        for kind in (first, second):
            touched = put(
                state, "a.example", kind, **({"client_certificates": ca} if kind == "domains" else {})
            )
        assert touched.gateway == (second == "withheld") and state.own == {}
        assert remove(state, "a.example", "withheld").gateway
        assert set(state.own) == {"a.example"}
