"""Which names' keys gateways may have."""

from __future__ import annotations

import pytest

from edgeward.certificates.model import Domain, Withheld
from edgeward.certificates.policy import Policy
from edgeward.controller.openresty.facade import allowed
from edgeward.errors import NotFound, Refused

POLICY = Policy(
    [
        Domain(name="a.example"),
        Domain(name="*.wild.example"),
        Domain(name="eu.example", nodes={"region": ("eu",)}),
        Domain(name="off.example"),
    ],
    withheld=[Withheld(name="off.example"), Withheld(name="x.wild.example")],
)


def test_a_covered_name_is_theirs():
    assert allowed(POLICY, "a.example", {}).name == "a.example"
    assert allowed(POLICY, "any.wild.example", {}).name == "*.wild.example"


def test_a_name_nobody_declared_is_not_found():
    with pytest.raises(NotFound, match="no domain covers"):
        allowed(POLICY, "b.example", {})


@pytest.mark.parametrize("name", ["off.example", "x.wild.example"])
def test_a_deactivated_name_is_refused(name):
    with pytest.raises(Refused, match="activate"):
        allowed(POLICY, name, {})


@pytest.mark.parametrize(
    ("labels", "fits"), [({}, False), ({"region": "us"}, False), ({"region": "eu"}, True)]
)
def test_a_name_served_on_certain_nodes_is_for_gateways_that_count_as_such(labels, fits):
    if fits:
        assert allowed(POLICY, "eu.example", labels).name == "eu.example"
    else:
        with pytest.raises(Refused, match=r"openresty\.labels"):
            allowed(POLICY, "eu.example", labels)
