from __future__ import annotations

import ipaddress
import os
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeward.rootd.table import filters
from edgeward.rootd.table.placeholders import Wrong

VERDICTS = st.sampled_from(["accept", "drop", "snat-exempt"])
V4 = st.builds(
    lambda a, n: ipaddress.ip_network((a, n), strict=False), st.integers(0, 2**32 - 1), st.integers(0, 32)
)
V6 = st.builds(
    lambda a, n: ipaddress.ip_network((ipaddress.IPv6Address(a), n), strict=False),
    st.integers(0, 2**128 - 1),
    st.integers(0, 128),
)
RULE = st.tuples(VERDICTS, st.one_of(st.tuples(V4, V4), st.tuples(V6, V6)))
RULES = st.lists(RULE, max_size=20).map(
    lambda found: "; ".join(f"{v} {ends[0]} {ends[1]}" for v, ends in found)
)


@given(RULES)
def test_each_rule_is_one_line_of_its_chain_in_the_order_given(typed):
    said = filters.text(filters.rules(typed))
    lines = [line for line in said.splitlines() if " saddr " in line and " daddr " in line]

    for kind, mark in (("accept", " accept"), ("drop", " drop"), ("snat-exempt", "snat ")):
        wanted = [rule.split()[1:] for rule in typed.split(";") if rule.split()[:1] == [kind]]
        found = [line.split() for line in lines if mark in line]
        assert [[line[2], line[5]] for line in found] == wanted


@given(st.text(max_size=60) | st.text(alphabet='acdeoprstnx- ;/:.0123456789%{}\n"#', max_size=60))
def test_whatever_is_given_nothing_but_networks_and_our_words_reaches_nft(text):
    try:
        typed = filters.rules(text)
    except Wrong:
        return
    for rule in filter(None, typed.split(";")):
        verdict, source, target = rule.split(" ")
        assert verdict in ("accept", "drop", "snat-exempt")
        assert str(ipaddress.ip_network(source)), str(ipaddress.ip_network(target))


@pytest.mark.parametrize(
    "wrong",
    [
        1,
        "accept",
        "accept 10.0.0.0/24",
        "reject 10.0.0.0/24 10.0.0.0/24",
        "accept 10.0.0.1/24 10.0.0.0/24",
        "accept 10.0.0.0/24 fd00::/8",
        "accept fe80::1%x fd00::/8",
        "accept 10.0.0.0/24 10.0.0.0/24 drop",
        "accept\t10.0.0.0/24 10.0.0.0/24",
        "accept 10.0.0.0/24 10.0.0.0/24\ndrop 10.0.0.0/24 10.0.0.0/24",
        "accept 10.0.0.0/24 @set",
        "; ".join(["drop 10.0.0.0/8 10.0.0.0/8"] * 501),
    ],
)
def test_other_rules_are_refused(wrong):
    with pytest.raises(Wrong):
        filters.rules(wrong)


@pytest.mark.skipif(os.geteuid() != 0, reason="nft looks at the kernel's rules")
@settings(max_examples=15, deadline=None)
@given(RULES)
def test_nft_takes_what_is_written(checked, typed):
    assert checked(filters.text(filters.rules(typed))) == ""


def test_nft_takes_none_and_the_most_and_not_something_else(checked):
    assert checked(filters.text("")) == ""
    most = "; ".join(["snat-exempt 2001:db8:1:2:3:4:5:6/128 2001:db8:1:2:3:4:5:7/128"] * filters.MOST_RULES)
    assert checked(filters.text(filters.rules(most))) == ""
    assert "syntax error" in checked("table inet edgeward { nonsense }")  # the control


@pytest.fixture(scope="module")
def checked(needs):
    argv = [needs("unshare"), "--net", needs("nft"), "-c", "-f", "-"]
    if os.geteuid() != 0:
        pytest.skip("nft looks at the kernel's rules")
    return lambda said: subprocess.run(argv, input=said, capture_output=True, text=True, timeout=30).stderr
