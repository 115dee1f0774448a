"""What must hold between objects, looked at whole and change by change."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeward.declaration.document import from_data
from edgeward.errors import Invalid
from edgeward.kinds import KINDS, privileged, reaching_host
from edgeward.world.checks import LISTEN, check, conflicts, problems
from edgeward.world.objects import World
from edgeward.world.touch import touched_by
from tests.client_certificates import Authority
from tests.unit.declaration.examples import documents


def found(**sections) -> list[str]:
    objects = from_data({"version": 1, **sections}, "f", KINDS).objects
    return [f"{p.object} {p.field}: {p.message}" for p in check(objects)]


SHOP = {"name": "shop", "backends": ["http://b.example"]}
RAW = {"name": "raw", "backends": ["tcp://b.example:25", "unix:/run/raw"]}
DOMAIN = {"name": "shop.example"}
GUARDED = {**DOMAIN, "client_certificates": {"ca": Authority("ours").pem}}


def test_what_holds_together_has_no_problems():
    assert (
        found(
            issuers=[{"name": "mine", "local": {}}],
            domains=[
                {"name": "shop.example", "issuer": "mine", "also": ["www.shop.example"]},
                {"name": "*.c.example", "issuer": "uploaded"},
            ],
            withheld=[{"name": "www.shop.example"}, {"name": "y.c.example"}],
            services=[SHOP],
            routes=[
                {
                    "hosts": ["shop.example", "www.shop.example", "*.c.example", "x.c.example"],
                    "service": "shop",
                }
            ],
            listen={"default_domain": "x.c.example"},
        )
        == []
    )


@pytest.mark.parametrize(
    ("sections", "sentence"),
    [
        (
            {"domains": [DOMAIN, {"name": "z.example", "also": ["shop.example"]}]},
            "domains/default/z.example also[0]: 'shop.example' is declared by domains/default/shop.example already",
        ),
        (
            {"domains": [{"name": "y.example", "also": ["x.example"]}, {"name": "z.example", "also": ["x.example"]}]},
            "domains/default/y.example also[0]: 'x.example' is declared by domains/default/z.example already",
        ),
        (
            {"domains": [DOMAIN, {"name": "z.example", "project": "p", "also": ["shop.example"]}]},
            "domains/p/z.example name: 'shop.example' is declared in another project already",
        ),
        ({"withheld": [{"name": "x.example"}]}, "withheld/default/x.example name: no domain of project default covers"),
        ({"domains": [{"name": "a.example", "issuer": "other"}]}, "domains/default/a.example issuer: there is no issuer 'other'"),
        (
            {"domains": [DOMAIN], "routes": [{"name": "r", "hosts": ["shop.example"], "service": "gone"}]},
            "routes/default/r service: there is no service 'gone' in project default",
        ),
        (
            {"services": [SHOP], "routes": [{"name": "r", "hosts": ["shop.example"], "service": "shop"}]},
            "routes/default/r hosts[0]: no domain of project default covers 'shop.example'",
        ),
        (
            {"domains": [{"name": "*.c.example"}], "services": [SHOP],
             "routes": [{"name": "r", "hosts": ["c.example"], "service": "shop"}]},
            "routes/default/r hosts[0]: no domain",
        ),
        (
            {"domains": [{"name": "*.c.example"}], "services": [SHOP],
             "routes": [{"name": "r", "hosts": ["a.b.c.example"], "service": "shop"}]},
            "routes/default/r hosts[0]: no domain",
        ),
        (
            {"domains": [DOMAIN], "services": [SHOP],
             "routes": [{"name": "r", "hosts": ["shop.example"], "service": "shop", "canary": {"service": "new", "share": 1}}]},
            "routes/default/r canary.service: there is no service 'new' in project default",
        ),
        ({"listen": {"default_domain": "a.example"}}, "listen/default/listen default_domain: no domain covers 'a.example'"),
        (
            {"domains": [{**DOMAIN, "project": "t"}], "services": [SHOP],
             "routes": [{"name": "r", "hosts": ["shop.example"], "service": "shop"}]},
            "routes/default/r hosts[0]: no domain of project default",
        ),
        (
            {"domains": [{"name": "*.c.example"}, {"name": "x.c.example", "project": "t"}]},
            "domains/t/x.c.example name: 'x.c.example' is below the wildcard of another project",
        ),
        (
            {"domains": [DOMAIN], "services": [SHOP], "routes": [
                {"name": "r1", "hosts": ["shop.example"], "paths": ["/a", "/b"], "service": "shop"},
                {"name": "r2", "hosts": ["shop.example"], "paths": ["/b"], "service": "shop"}]},
            "routes/default/r2 : the route 'r1' matches shop.example/b in the same way",
        ),
        (
            {"domains": [DOMAIN], "services": [{**SHOP, "project": "t"}],
             "routes": [{"name": "r", "hosts": ["shop.example"], "service": "shop"}]},
            "there is no service 'shop' in project default",
        ),
        (
            {"domains": [DOMAIN], "services": [SHOP], "routes": [
                {"name": "r", "hosts": ["shop.example"], "service": "shop", "tls": "passthrough"}]},
            "routes/default/r service: the service 'shop' takes requests, not bytes unread; give it tcp:// or unix:",
        ),
        (
            {"domains": [DOMAIN], "services": [RAW], "routes": [
                {"name": "r", "hosts": ["shop.example"], "service": "raw"}]},
            "routes/default/r service: the service 'raw' takes bytes unread; use it with tls: passthrough",
        ),
        (
            {"domains": [DOMAIN], "services": [SHOP, RAW], "routes": [
                {"name": "r", "hosts": ["shop.example"], "service": "shop", "paths": ["/api"]},
                {"name": "p", "hosts": ["shop.example"], "service": "raw", "tls": "passthrough"}]},
            "routes/default/p hosts[0]: the route 'r' has 'shop.example', too, and what is passed through cannot be shared",
        ),
        (
            {"services": [RAW], "routes": [
                {"name": "p", "hosts": ["shop.example"], "service": "raw", "tls": "passthrough"}]},
            "routes/default/p hosts[0]: no domain of project default covers 'shop.example'",
        ),
        (
            {"domains": [DOMAIN], "services": [RAW], "listen": {"default_domain": "shop.example"}, "routes": [
                {"name": "p", "hosts": ["shop.example"], "service": "raw", "tls": "passthrough"}]},
            "default_domain: 'shop.example' is passed through unread",
        ),
        (
            {"domains": [GUARDED], "services": [RAW], "routes": [
                {"name": "p", "hosts": ["shop.example"], "service": "raw", "tls": "passthrough"}]},
            "routes/default/p hosts[0]: the domain 'shop.example' asks for client_certificates, which takes an edge",
        ),
        (
            {"domains": [{"name": "*.example.org"}, {**GUARDED, "name": "a.example.org"}], "services": [RAW], "routes": [
                {"name": "p", "hosts": ["*.example.org"], "service": "raw", "tls": "passthrough"}]},
            "domains/default/a.example.org client_certificates: the domain 'a.example.org' asks for client_certificates",
        ),
        (
            {"domains": [{**GUARDED, "name": "*.example.org"}], "services": [SHOP], "routes": [
                {"name": "r", "hosts": ["a.example.org"], "service": "shop", "http": "serve"}]},
            "routes/default/r hosts[0]: the domain '*.example.org' asks for client_certificates, and plain HTTP has none",
        ),
        (
            {"services": [SHOP], "tcp_routes": [{"name": "t", "listen": ":25", "service": "shop"}]},
            "tcp_routes/default/t service: the service 'shop' takes requests",
        ),
        (
            {"services": [RAW], "listen": {"https": "10.0.0.1:443"},
             "tcp_routes": [{"name": "t", "listen": [":25", ":443"], "service": "raw"}]},
            "tcp_routes/default/t listen[1]: listen (https) listens on 10.0.0.1:443 already; choose another port",
        ),
        (
            {"services": [RAW], "tcp_routes": [{"name": "t", "listen": "127.0.0.1:2443", "service": "raw"}]},
            "tcp_routes/default/t listen[0]: listen (api) listens on 127.0.0.1:2443 already",
        ),
        (
            {"services": [RAW], "tcp_routes": [
                {"name": "t", "listen": "[::1]:25", "service": "raw"}, {"name": "u", "listen": "[::]:25", "service": "raw"}]},
            "tcp_routes/default/u listen[0]: tcp_routes/default/t listens on [::1]:25 already",
        ),
        (
            {"domains": [{**DOMAIN, "nodes": {"region": "eu"}}], "services": [SHOP],
             "routes": [{"name": "r", "hosts": ["shop.example"], "service": "shop",
                         "nodes": {"region": ["us", "ap"]}}]},
            "routes/default/r hosts[0]: the domain 'shop.example' is served on other nodes (region: eu)"
            " than this route (region: ap or us)",
        ),
        (
            {"domains": [DOMAIN], "services": [SHOP], "routes": [
                {"name": "r1", "hosts": ["shop.example"], "service": "shop", "nodes": {"region": "eu"}},
                {"name": "r2", "hosts": ["shop.example"], "service": "shop", "nodes": {"tier": "gold"}}]},
            "routes/default/r2 : the route 'r1' matches shop.example/ in the same way",
        ),
    ],
)  # fmt: skip
def test_what_does_not_hold_is_named(sections, sentence):
    assert any(sentence in problem for problem in found(**sections)), found(**sections)


def test_routes_that_differ_in_methods_or_headers_do_not_overlap():
    routes = [
        {"name": "r1", "hosts": ["shop.example"], "service": "shop"},
        {"name": "r2", "hosts": ["shop.example"], "methods": ["GET"], "service": "shop"},
        {"name": "r3", "hosts": ["shop.example"], "headers": {"x-beta": "1"}, "service": "shop"},
        {"name": "r4", "hosts": ["shop.example"], "paths": ["=/"], "service": "shop"},
    ]
    assert found(domains=[DOMAIN], services=[SHOP], routes=routes) == []


def test_nodes_apart_may_open_the_same_port():
    def opened(*regions: str | None):
        return [
            {"name": f"t{i}", "listen": ":25", "service": "raw", **({"nodes": {"region": r}} if r else {})}
            for i, r in enumerate(regions)
        ]

    assert found(services=[RAW], tcp_routes=opened("eu", "us")) == []
    assert "listens on 0.0.0.0:25 already" in found(services=[RAW], tcp_routes=opened("eu", None))[0]


def test_there_is_room_for_a_thousand_filter_chains():
    domains = [{**GUARDED, "name": f"h{i}.example"} for i in range(1001)]
    assert found(domains=domains[1:]) == []
    assert "over 1,000 domains are hot or ask for certificates" in found(domains=domains)[0]


def test_what_asks_for_certificates_only_where_it_can_is_fine():
    optional = {"ca": GUARDED["client_certificates"]["ca"], "required": False}
    domains = [GUARDED, {"name": "o.example", "client_certificates": optional}]
    routes = [
        {"name": "r", "hosts": ["shop.example"], "service": "shop"},
        {"name": "o", "hosts": ["o.example"], "service": "shop", "http": "serve"},
    ]
    assert found(domains=domains, services=[SHOP], routes=routes) == []


def test_ports_of_other_addresses_and_families_do_not_meet():
    routes = [
        {"name": "a", "listen": ["127.0.0.1:25", "127.0.0.2:25", "[::]:25"], "service": "raw"},
        {"name": "b", "listen": ["127.0.0.3:25", "0.0.0.0:26"], "service": "raw"},
    ]
    assert found(services=[RAW], tcp_routes=routes) == []


def test_routes_that_no_node_can_have_both_do_not_overlap():
    routes = [
        {"hosts": ["shop.example"], "service": "shop", "nodes": {"region": "eu", "tier": ["gold", "silver"]}},
        {"hosts": ["shop.example"], "service": "shop", "nodes": {"region": "eu", "tier": "bronze"}},
        {"hosts": ["shop.example"], "service": "shop", "nodes": {"region": ["us", "ap"]}},
    ]
    assert found(domains=[DOMAIN], services=[SHOP], routes=routes) == []


@given(st.lists(documents(), min_size=1, max_size=4))
def test_looking_at_what_a_change_touches_finds_what_looking_at_everything_finds(stages):
    """One world is led through several documents, whose routes never overlap: those are told of one side."""
    world, known = World(), set()
    for stage in stages:
        objects = {d.key: d.value for d in from_data(stage, "f", KINDS).objects}
        before = dict(world.items())
        changed = {k for k in {*before, *objects} if before.get(k) != objects.get(k)}
        for key in changed:
            if key in objects:
                world.put(key, objects[key])
            else:
                world.remove(key)
        touched = changed.union(*(touched_by(world, k, before.get(k), objects.get(k)) for k in changed))
        known = {(k, p) for k, p in known if k not in touched}
        known |= {(k, p) for k in touched for p in _all(world, k)}

        assert known == {(k, p) for k in objects for p in _all(world, k)}


def test_a_port_that_listen_gave_away_is_missed_when_listen_goes():
    own = {"version": 1, "listen": {"api": ["127.0.0.1:3443"]}}
    raw = {"name": "raw", "backends": ["tcp://db.example:5432"]}
    route = {"name": "db", "listen": ["127.0.0.1:2443"], "service": "raw"}
    world = World()
    for declared in from_data({**own, "services": [raw], "tcp_routes": [route]}, "f", KINDS).objects:
        world.put(declared.key, declared.value)
    (key,) = (key for key, _ in world.items("tcp_routes"))
    before = world.get(LISTEN)
    assert problems(world, key) == []
    world.remove(LISTEN)

    assert key in touched_by(world, LISTEN, before, None)
    assert "listens on 127.0.0.1:2443 already" in problems(world, key)[0].message


def _all(world, key):
    return [*problems(world, key), *(c.problem for c in conflicts(world, key))]


SITE = {
    "name": "berlin",
    "peer": "198.51.100.9",
    "local_networks": "10.1.0.0/24",
    "remote_networks": "10.2.0.0/24",
    "secret": "a pre-shared key",
}


def test_what_is_removed_leaves_nothing_behind():
    world = World()
    objects = from_data(
        {"version": 1, "domains": [DOMAIN, {"name": "*.c.example"}], "services": [SHOP],
         "routes": [{"name": "r", "hosts": ["shop.example", "a.c.example", "b.c.example"], "service": "shop"}],
         "vpn": [SITE]},
        "f", KINDS,
    ).objects  # fmt: skip
    for declared in objects:
        world.put(declared.key, declared.value)
    for declared in objects:
        world.remove(declared.key)

    assert len(world) == 0
    indexes = [v for v in vars(world).values() if hasattr(v, "_places")]
    assert len(indexes) == 14
    assert all(index._places == {} for index in indexes)


OFFICE = {"name": "office", "peer": "203.0.113.9", "local_id": "@here.example", "secret": "nobody knows", "local_networks": "10.0.0.0/24",
          "remote_networks": ["192.168.4.0/24", "2001:db8:4::/64"]}  # fmt: skip


@pytest.mark.parametrize(
    ("backend", "site", "sentence"),
    [
        ("vpn://rome/192.168.4.10:80", OFFICE, "there is no site 'rome' in this project; declare it under vpn"),
        ("vpn://office/192.168.5.10:80", OFFICE,
         "192.168.5.10 is in none of the remote_networks of site 'office' (192.168.4.0/24, 2001:db8:4::/64)"),
        ("vpn://office/10.0.0.1:80", OFFICE, "10.0.0.1 is in none of the remote_networks of site 'office'"),
        ("vpn://office/intranet.lan:80", OFFICE, "'intranet.lan' is a name: say the dns server of site 'office'"),
        ("vpn://office/192.168.4.10:80", {**OFFICE, "project": "other"}, "there is no site 'office'"),
    ],
)  # fmt: skip
def test_a_backend_that_no_tunnel_leads_to_is_refused(backend, site, sentence):
    (said,) = found(vpn=[site], services=[{"name": "shop", "backends": [backend]}])

    assert said.startswith(f"services/default/shop backends[0]: {sentence}")


def test_backends_are_behind_sites_of_their_project_and_names_behind_those_with_a_dns_server():
    knowing = {**OFFICE, "name": "knowing", "peer": "203.0.113.10", "dns": "192.168.4.2"}
    backends = [
        "vpn://office/192.168.4.10:80",
        "vpn://office/[2001:db8:4::1]:80",
        "vpn://knowing/intranet.lan:80",
    ]

    assert found(vpn=[OFFICE, knowing], services=[{"name": "shop", "backends": backends}]) == []


def test_a_site_that_a_backend_is_behind_cannot_go_or_lose_its_network():
    world = World()
    for declared in from_data(
        {"version": 1, "vpn": [OFFICE], "services": [{"name": "s", "backends": ["vpn://office/192.168.4.1:80"]}]},
        "f", KINDS,
    ).objects:  # fmt: skip
        world.put(declared.key, declared.value)
    (site,) = (key for key, _ in world.items("vpn"))
    (service,) = (key for key, _ in world.items("services"))

    assert touched_by(world, site, world.get(site)) == {service}
    world.remove(site)
    assert "there is no site" in problems(world, service)[0].message


def test_a_private_address_behind_a_site_is_no_place_of_the_edges_own():
    (declared,) = from_data(
        {"version": 1, "services": [{"name": "s", "backends": ["vpn://office/192.168.4.1:80"]}]}, "f", KINDS
    ).objects

    assert privileged(declared.value) == reaching_host(declared.value) == ()


def test_literal_places_and_networks_are_privileged():
    def fields(*backends, **rest):
        (declared,) = from_data(
            {"version": 1, "services": [{"name": "s", "backends": list(backends), **rest}]}, "f", KINDS
        ).objects
        return privileged(declared.value)

    assert fields("http://b.example") == ()
    assert fields("http://b.example", "http://10.0.0.1", "unix:/run/x") == (
        "backends[1].url",
        "backends[2].url",
    )
    assert fields("http://b.example", allow_networks=["127.0.0.0/8"]) == ("allow_networks",)


@pytest.mark.parametrize(
    ("backend", "reaches"),
    [
        ("http://10.0.0.1", False),
        ("http://[fd00::1]", False),
        ("http://b.example", False),
        ("unix:/run/x", True),
        ("http://127.0.0.1", True),
        ("http://127.0.0.1.", True),
        ("http://[::1]", True),
        ("http://[::ffff:10.0.0.1]", True),
        ("http://0.0.0.0", True),
        ("http://169.254.169.254", True),
        ("http://[fd00:ec2::254]", True),
    ],
)
def test_sockets_and_literals_of_the_host_itself_are_told_apart(backend, reaches):
    document = {"version": 1, "services": [{"name": "s", "backends": [backend]}]}
    (declared,) = from_data(document, "f", KINDS).objects
    assert reaching_host(declared.value) == (("backends[0].url",) if reaches else ())


ANY = {"name": "*", "on_demand": True, "ask": "https://ask.example/"}


def test_any_name_may_be_routed_by_its_own_project_and_leaves_others_theirs():
    theirs = {"project": "theirs"}
    declared = {
        "domains": [ANY, {"name": "b.example", **theirs}, {"name": "*.c.example", **theirs}],
        "services": [SHOP, {**SHOP, **theirs}],
        "withheld": [{"name": "bad.example"}],
        "listen": {"default_domain": "any.example"},
    }

    assert found(**declared, routes=[{"hosts": ["*", "x.example", "a.b.example"], "service": "shop"}]) == []
    assert found(**declared, routes=[{"hosts": ["b.example"], "service": "shop", **theirs}]) == []
    for host in ("b.example", "x.c.example"):
        (problem,) = found(**declared, routes=[{"hosts": [host], "service": "shop", "name": "r"}])
        assert "no domain of project default covers" in problem
    (problem,) = found(**declared, routes=[{"hosts": ["*"], "service": "shop", "name": "r", **theirs}])
    assert "no domain of project theirs covers '*'" in problem


def test_what_only_the_domain_of_any_name_covers_stands_in_the_way_of_its_going():
    parts = {
        "domains": [ANY],
        "services": [SHOP],
        "routes": [{"name": "r", "hosts": ["x.example"], "service": "shop"}],
    }
    world = World()
    objects = from_data({"version": 1, **parts}, "f", KINDS).objects
    for declared in objects:
        world.put(declared.key, declared.value)
    gone = objects[0]
    world.remove(gone.key)

    touched = touched_by(world, gone.key, gone.value)
    assert [p.field for key in touched for p in problems(world, key)] == ["hosts[0]"]


@pytest.mark.parametrize(
    "said",
    [
        {"name": "*"},
        {"name": "*", "on_demand": True},
        {"name": "*", "ask": "https://ask.example/"},
        {**ANY, "nodes": {"region": "eu"}},
        {**ANY, "also": ["a.example"]},
        {**DOMAIN, "also": ["*"]},
        {**DOMAIN, "ask": "https://ask.example/"},
        {**DOMAIN, "on_demand": True, "ask": "ftp://ask.example/"},
        {**DOMAIN, "on_demand": True, "ask": "https://user@ask.example/"},
        {**DOMAIN, "on_demand": True, "new_names": 3},
    ],
)
def test_what_makes_no_sense_for_names_on_demand_is_refused(said):
    with pytest.raises(Invalid):
        from_data({"version": 1, "domains": [said]}, "f", KINDS)


def test_a_url_to_ask_is_for_admins_of_every_project():
    (declared,) = from_data({"version": 1, "domains": [ANY]}, "f", KINDS).objects
    assert reaching_host(declared.value) == ("ask",)


def test_a_domain_is_not_taken_from_under_a_site_that_shows_its_certificate():
    proven = {**SITE, "certificate": {"name": "vpn.example.com"}}
    del proven["secret"]
    document = from_data({"version": 1, "domains": [{"name": "*.example.com"}], "vpn": [proven]}, "f", KINDS)
    assert check(document.objects) == []
    world = World()
    for declared in document.objects:
        world.put(declared.key, declared.value)
    (domain,) = (key for key, _ in world.items("domains"))
    (site,) = (key for key, _ in world.items("vpn"))
    assert site in touched_by(world, domain, world.get(domain))
    world.remove(domain)
    assert [p.field for p in problems(world, site)] == ["certificate.name"]
