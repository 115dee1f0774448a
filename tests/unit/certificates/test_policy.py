"""Which domain covers a name and which certificate serves it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeward.certificates.model import Domain, Issuer, LocalIssuer
from edgeward.certificates.policy import Policy, certificate_for
from edgeward.domain_name import wildcard_of
from edgeward.errors import Refused

labels = st.sampled_from(["a", "b", "c"])
names = st.lists(labels, min_size=1, max_size=3).map(lambda parts: ".".join([*parts, "example"]))
patterns = st.one_of(names, names.filter(lambda n: "." in n).map(lambda n: f"*.{n}"))
domains = st.builds(lambda name, on_demand: Domain(name=name, on_demand=on_demand), patterns, st.booleans())


@given(st.lists(domains, max_size=8, unique_by=lambda d: d.name), names)
def test_the_exact_domain_decides_else_the_wildcard_over_one_label(declared, name):
    covering = Policy(declared).covering(name)
    by_name = {domain.name: domain for domain in declared}

    assert covering == (by_name.get(name) or by_name.get(wildcard_of(name) or ""))


@given(st.lists(domains, max_size=8, unique_by=lambda d: d.name), names)
def test_what_serves_a_covered_name_goes_on_being_renewed_for_the_same_domain(declared, name):
    policy = Policy(declared)
    covering = policy.covering(name)
    if covering is None:
        assert policy.wanted(name) is None
        return
    serving = certificate_for(name, covering)

    assert serving in (name, wildcard_of(name))
    assert policy.wanted(serving) == covering


def test_what_nobody_is_served_with_is_not_wanted():
    eager = Policy([Domain(name="*.a.example")])
    lazy = Policy([Domain(name="*.a.example", on_demand=True)])

    assert eager.wanted("b.a.example") is None
    assert lazy.wanted("*.a.example") is None
    assert Policy().wanted("a.example") is None


def test_issuers_are_those_of_the_domains_project_and_local_is_always_there():
    short = Issuer(name="short", project="a", local=LocalIssuer(lifetime_days=1))
    policy = Policy([], [short])

    assert policy.order("x.example", Domain(name="x.example")).lifetime == 7 * 86400
    assert policy.order("x.example", Domain(name="x.example", project="a", issuer="short")).lifetime == 86400
    with pytest.raises(Refused, match="'short' does not exist"):
        policy.order("x.example", Domain(name="x.example", project="b", issuer="short"))


projects = st.sampled_from(["p", "q"])
moving = st.builds(
    lambda name, project, on_demand: Domain(name=name, project=project, on_demand=on_demand),
    st.sampled_from(["a.example", "b.example"]),
    projects,
    st.booleans(),
)
steps = st.lists(st.tuples(moving, st.booleans()), max_size=12)


@given(steps, st.randoms())
def test_a_policy_kept_up_is_the_policy_made_anew_in_whatever_order_a_change_is_taken_in(steps, order):
    declared: dict[tuple[str, str], Domain] = {}
    kept_up = Policy()
    for domain, there in steps:
        wanted = {
            key: d for key, d in declared.items() if d.name != domain.name
        }  # names are unique everywhere
        if there:
            wanted[domain.project, domain.name] = domain
        touched = list(declared.keys() | wanted.keys())
        order.shuffle(touched)
        for key in touched:
            kept_up.replace(declared.get(key), wanted.get(key))
        declared = wanted

    anew = Policy(declared.values())
    assert {n: kept_up.covering(n) for n in ("a.example", "b.example")} == {
        n: anew.covering(n) for n in ("a.example", "b.example")
    }
    assert set(kept_up.eager()) == set(anew.eager())


def test_eager_domains_are_fresh_once_for_each_change_and_not_when_they_are_gone():
    there, gone, late = (
        Domain(name="a.example"),
        Domain(name="b.example"),
        Domain(name="c.example", on_demand=True),
    )
    policy = Policy([there, gone, late])

    policy.replace(gone, None)
    assert policy.fresh() == [there]
    assert policy.fresh() == []
    policy.replace(late, Domain(name="c.example"))
    policy.replace(there, Domain(name="a.example", on_demand=True))
    assert [domain.name for domain in policy.fresh()] == ["c.example"]
