"""A node that serves any name: what it covers, and what a change of that touches."""

from __future__ import annotations

from edgeward.node.state import State, Touched, understand

ANY = {"on_demand": True, "ask": "https://ask.example/"}


def put(state: State, kind: str, name: str, project: str = "default", **value: object) -> Touched:
    touched = Touched()
    state.put(kind, project, name, understand(kind, {"name": name, **value}), touched)
    return touched


def test_any_name_is_covered_but_those_that_other_nodes_serve_or_that_are_withheld():
    state = State()
    assert not state.covered("a.example")
    put(state, "domains", "*", **ANY)
    put(state, "domains", "far.example", elsewhere=True)
    put(state, "withheld", "bad.example")

    assert state.covered("a.example") and state.covered("x.y.example")
    assert not state.covered("far.example")
    assert not state.covered("bad.example")
    put(state, "domains", "bad.example", project="other")
    assert state.covered("bad.example"), "it is another project's, which does not withhold it"


def test_when_the_domain_of_any_name_comes_or_goes_everything_is_looked_at_again():
    state, gone = State(), Touched()
    came = put(state, "domains", "*", **ANY)
    state.remove("domains", "default", "*", gone)

    assert came.hits("a.example") and gone.hits("a.example")
    assert not state.covered("a.example")
