"""Which domain covers a name and which certificate serves it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeward.certificates.model import Domain, Issuer, LocalIssuer, Standing, Withheld
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


SHARED = Domain(name="a.example", also=("www.a.example", "*.b.example"))


def test_every_name_of_a_domain_is_served_by_its_one_certificate():
    policy = Policy([SHARED])
    for name in ("a.example", "www.a.example", "x.b.example"):
        assert policy.covering(name) == SHARED
        assert certificate_for(name, SHARED) == "a.example"
    assert policy.covering("b.example") is None
    assert policy.order("a.example", SHARED).names == SHARED.names
    assert policy.wanted("www.a.example") == SHARED
    assert policy.wanted("x.b.example") is None

    policy.replace(SHARED, Domain(name="a.example"))
    assert policy.covering("www.a.example") is None


def test_a_withheld_name_has_no_order_and_the_others_of_its_certificate_go_on_without_it():
    held = Withheld(name="a.example")
    policy = Policy([SHARED], withheld=[held, Withheld(name="x.b.example"), Withheld(name="c.example")])

    assert policy.withheld("a.example") and policy.withheld("x.b.example")
    assert not policy.withheld("www.a.example") and not policy.withheld("y.b.example")
    assert policy.order("a.example", SHARED).names == ("www.a.example", "*.b.example")
    with pytest.raises(Refused, match=r"x\.b\.example is deactivated; edgeward certificates activate"):
        policy.order("x.b.example", SHARED)

    policy.replace(held, None)
    assert not policy.withheld("a.example")
    assert policy.fresh() == [SHARED], "who makes certificates ahead looks at it again"


def test_a_withheld_wildcard_withholds_the_names_it_serves_and_no_others():
    domains = [Domain(name="*.a.example", on_demand=True), Domain(name="own.a.example")]
    policy = Policy(
        domains, withheld=[Withheld(name="*.a.example"), Withheld(name="own.a.example", project="p")]
    )

    assert policy.withholding("x.a.example") == "*.a.example"
    assert not policy.withheld("own.a.example"), (
        "it stands by itself, and another project withholds nothing here"
    )


def standing(leader=None, source="issued", fingerprint="f", issuer="local") -> Standing:
    return Standing("default", issuer, source, leader, fingerprint)


def test_a_domain_lacks_a_certificate_until_all_its_names_share_one_of_its_issuer():
    policy = Policy([SHARED])
    others = {name: standing("a.example") for name in SHARED.also}
    whole = {"a.example": standing(), **others}

    assert policy.lacks(SHARED, {})
    assert not policy.lacks(SHARED, whole)
    assert policy.lacks(SHARED, {**whole, "*.b.example": standing("a.example", fingerprint="other")})
    assert policy.lacks(SHARED, {**whole, "www.a.example": standing()}), "one of its own from before"
    assert policy.lacks(Domain(name="www.a.example"), others), "a copy that nobody renews any more"
    assert policy.lacks(SHARED, {**whole, "a.example": standing(issuer="mine")})


def test_a_name_with_an_uploaded_certificate_lacks_none():
    uploaded = {name: standing(source="uploaded", issuer="uploaded") for name in SHARED.names}

    assert not Policy([SHARED]).lacks(SHARED, uploaded)
    only = Domain(name="a.example", issuer="uploaded")
    assert not Policy([only]).lacks(only, {}), "nobody issues for it"
    with pytest.raises(Refused, match="edgeward certificates upload"):
        Policy([only]).order("a.example", only)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"name": "*.a.example", "on_demand": True}, "leave out also"),
        ({"name": "a.example", "hot": True}, "stands by itself"),
        ({"name": "B.example"}, "said twice"),
    ],
)
def test_what_cannot_share_a_certificate_is_refused(fields, sentence):
    with pytest.raises(ValueError, match=sentence):
        Domain(**fields, also=["b.example"])


ANY = Domain(name="*", on_demand=True, ask="https://ask.example/")


def test_any_name_is_covered_where_nothing_nearer_is():
    wild, own = Domain(name="*.a.example"), Domain(name="b.example")
    policy = Policy([ANY, wild, own])

    assert policy.covering("x.a.example") is wild
    assert policy.covering("b.example") is own
    assert policy.covering("a.example") is policy.covering("x.b.example") is ANY
    assert policy.wanted("a.example") is ANY
    assert list(policy.eager()) == [wild, own]
    policy.replace(ANY, None)
    assert policy.covering("a.example") is None


def test_single_names_and_all_names_of_the_domain_of_any_name_may_be_withheld():
    policy = Policy([ANY], withheld=[Withheld(name="bad.example")])
    assert policy.withheld("bad.example")
    assert not policy.withheld("good.example")

    assert Policy([ANY], withheld=[Withheld(name="*")]).withholding("good.example") == "*"


def test_an_issuer_that_is_named_twice_to_fall_back_to_is_tried_once():
    issuers = [Issuer(name=name, local=LocalIssuer(), fallback=["b", "a", "b", "c"]) for name in "abc"]
    domain = Domain(name="a.example", issuer="a")

    assert [issuer.name for issuer in Policy([domain], issuers).chain(domain)] == ["a", "b", "c"]
