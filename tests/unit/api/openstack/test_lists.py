"""Lists of OpenStack's API: filters, fields, order, pages and their links."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeward.api.openstack import lists
from edgeward.api.openstack.faults import Fault
from edgeward.api.openstack.resources import IKE_POLICY
from tests.unit.api.openstack.neutron import NOBODY, neutron
from tests.unit.controller.assembled import on_both

IKE = "/vpn/ikepolicies"


async def test_lists_are_filtered_by_any_attribute(tmp_path):
    async with neutron(tmp_path) as here:
        for name in ("a", "b", "c"):
            await here.made(IKE, "ikepolicy", name=name, pfs="group14" if name == "c" else "group5")

        async def names(query: str) -> list[str]:
            answer = await here.ask("GET", f"{IKE}?{query}")
            return [policy["name"] for policy in answer.json()["ikepolicies"]]

        assert await names("") == ["a", "b", "c"]
        assert await names("name=a&name=c") == ["a", "c"]
        assert await names("name=a&pfs=group14") == []
        assert await names("pfs=group14") == ["c"]
        assert await names("nothing=known") == ["a", "b", "c"]
        assert await names("sort_key=name&sort_dir=desc") == ["c", "b", "a"]
        only = (await here.ask("GET", f"{IKE}?name=a&fields=name&fields=pfs")).json()["ikepolicies"]
        assert only == [{"name": "a", "pfs": "group5"}]
        assert await here.error("GET", f"{IKE}?sort_key=x&sort_dir=asc") == (
            400, "HTTPBadRequest", "['x'] is invalid attribute for sort_keys",
        )  # fmt: skip
        assert await here.error("GET", f"{IKE}?limit=abc") == (
            400, "BadRequest", "Bad limit request: Limit must be an integer 0 or greater and not 'abc'.",
        )  # fmt: skip
        assert (await here.error("GET", f"{IKE}?limit=2&marker={NOBODY}"))[:2] == (404, "IKEPolicyNotFound")


@on_both
async def test_pages_follow_each_other_by_their_links(tmp_path, url):
    async with neutron(tmp_path, url) as here:
        for name in "abcde":
            await here.made(IKE, "ikepolicy", name=name)
        path, seen = f"{IKE}?limit=2&sort_key=name&sort_dir=asc", []
        while path:
            page = (await here.ask("GET", path)).json()
            seen.append([policy["name"] for policy in page["ikepolicies"]])
            links = {link["rel"]: link["href"] for link in page["ikepolicies_links"]}
            back = links.get("previous")
            parts = urlsplit(links["next"]) if "next" in links else None
            path = f"{parts.path.removeprefix('/v2.0')}?{parts.query}" if parts else ""
        assert back is not None
        parts = urlsplit(back)
        before = (await here.ask("GET", f"{parts.path.removeprefix('/v2.0')}?{parts.query}")).json()

    assert seen == [["a", "b"], ["c", "d"], ["e"]]
    assert [policy["name"] for policy in before["ikepolicies"]] == ["c", "d"]


async def test_booleans_in_filters_may_be_written_in_many_ways(tmp_path):
    async with neutron(tmp_path) as here:
        await here.made("/networks", "network", name="n", **{"router:external": True})

        async def found(query: str) -> int:
            return len((await here.ask("GET", f"/networks?{query}")).json()["networks"])

        assert [await found(f"router:external={word}") for word in ("True", "1", "false", "yes")] == [
            1,
            1,
            0,
            1,
        ]
        assert (await here.error("GET", "/networks?router:external=maybe"))[1] == "InvalidInput"


@settings(max_examples=50)
@given(
    names=st.lists(st.sampled_from("abcd"), max_size=12),
    limit=st.integers(1, 5),
    sort=st.sampled_from([[], [("name", False)], [("name", True)]]),
)
def test_pages_together_are_the_list(names, limit, sort):
    bodies = {f"{at:02}": {"id": f"{at:02}", "name": name} for at, name in enumerate(names)}
    whole = lists.page(_asked(None, sort, None), list(bodies), bodies.__getitem__, _absent)
    marker, pages = None, []
    while page := lists.page(_asked(limit, sort, marker), list(bodies), bodies.__getitem__, _absent):
        assert len(page) <= limit
        pages += page
        marker = page[-1]["id"]

    assert pages == (sorted(whole, key=lambda body: body["id"]) if not sort else whole)


def _asked(limit, sort, marker):
    return lists.asked(_query(limit, sort, marker), IKE_POLICY)


def _query(limit, sort, marker):
    query = [(key, value) for name, down in sort for key, value in
             (("sort_key", name), ("sort_dir", "desc" if down else "asc"))]  # fmt: skip
    query += [("limit", str(limit))] if limit else []
    return [*query, *([("marker", marker)] if marker else [])]


def _absent(identity):
    return Fault(404, "x", identity)


@pytest.mark.parametrize("sort", [[], [("name", False)]])
def test_a_page_follows_a_marker_that_came_to_be_another_meanwhile(sort):
    bodies = {f"{at:02}": {"id": f"{at:02}", "name": "n", "pfs": "group5"} for at in range(6)}

    def names(marker, *more):
        asked = lists.asked([*_query(2, sort, marker), ("pfs", "group5"), *more], IKE_POLICY)
        return [body["id"] for body in lists.page(asked, list(bodies), bodies.__getitem__, _absent)]

    assert names(None) == ["00", "01"]
    bodies["01"]["pfs"] = "group14"

    assert names("01") == ["02", "03"]
    assert names("01", ("page_reverse", "True")) == ["00"]
