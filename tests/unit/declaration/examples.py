"""Documents for the tests of the declared state."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

EXAMPLE = """version: 1
listen: {http: "127.0.0.1:8080", https: "127.0.0.1:8443"}
domains:
  - {name: shop.example, issuer: local}
  - {name: "*.customers.example", on_demand: true}
services:
  - name: shop
    backends: ["http://backend.internal:8080"]
routes:
  - {name: r1, hosts: [shop.example, "*.customers.example"], service: shop}
"""

_NAMES = st.sampled_from(["a", "b", "c", "d"])
_PROJECTS = st.sampled_from(["default", "tenant"])
_HOSTS = st.sampled_from(["a.example", "b.example", "*.c.example", "x.c.example"])


SELECTORS = st.dictionaries(
    st.sampled_from(["region", "tier", "name"]),
    st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=2, unique=True),
    min_size=1,
    max_size=2,
)


def _listed(kind: Any) -> Any:
    return st.lists(kind, max_size=4, unique_by=lambda o: (o.get("project"), o["name"]))


@st.composite
def documents(draw: Any, consistent: bool = False) -> dict[str, Any]:
    """Documents that parse; ``consistent`` ones also hold together."""
    domains = draw(
        st.lists(
            st.fixed_dictionaries(
                {
                    "name": _HOSTS,
                    "on_demand": st.booleans(),
                    "project": st.just("default") if consistent else _PROJECTS,
                },
                optional={} if consistent else {"nodes": SELECTORS},
            ),
            max_size=4,
            unique_by=lambda d: d["name"],
        )
    )
    services = draw(_listed(st.fixed_dictionaries({"name": _NAMES, "backends": _BACKENDS})))
    document: dict[str, Any] = {"version": 1, "domains": domains, "services": services}
    if draw(st.booleans()):
        document["listen"] = {"https": draw(st.sampled_from(["127.0.0.1:8443", "127.0.0.1:9443"]))}
    hosts = [d["name"] for d in domains] if consistent else ["a.example", "x.c.example"]
    targets = [s["name"] for s in services] if consistent else ["a", "z"]
    if hosts and targets:
        document["routes"] = [
            {"name": f"r{i}", "hosts": [host], "paths": [f"/{i}"], "service": draw(st.sampled_from(targets)),
             "http": draw(st.sampled_from(["redirect", "serve"]))}
            for i, host in enumerate(draw(st.lists(st.sampled_from(hosts), max_size=3)))
        ]  # fmt: skip
        for route in [] if consistent else document["routes"]:
            if draw(st.booleans()):
                route["nodes"] = draw(SELECTORS)
    return document


_BACKENDS = st.lists(
    st.sampled_from(
        ["http://one.example:80", "http://two.example:8080", {"url": "http://three.example", "weight": 3}]
    ),
    min_size=1,
    max_size=3,
)
