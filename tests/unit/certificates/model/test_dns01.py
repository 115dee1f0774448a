"""What may be declared about proofs by DNS."""

from __future__ import annotations

import pytest

from edgeward.certificates.model import AcmeIssuer
from edgeward.certificates.model.dns01 import DnsProof, DnsProvider
from edgeward.errors import Invalid
from edgeward.parsing import parse

SECRET = {"sealed": "", "digest": "d"}
UPDATE = {"server": "192.0.2.1", "key_name": "edgeward.", "secret": SECRET}


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("192.0.2.1", "192.0.2.1:53"),
        ("192.0.2.1:5353", "192.0.2.1:5353"),
        ("2001:DB8::1", "[2001:db8::1]:53"),
        ("[2001:db8::1]:5353", "[2001:db8::1]:5353"),
        ("NS1.Example.com", "ns1.example.com:53"),
        ("ns1.example.com:5353", "ns1.example.com:5353"),
    ],
)
def test_a_name_server_is_told_by_name_or_address_with_or_without_a_port(said, kept):
    proof = parse(DnsProof, {"update": {**UPDATE, "server": said}})

    assert proof.update is not None and proof.update.server == kept


@pytest.mark.parametrize(
    "said", ["", "192.0.2.1:0", "192.0.2.1:99999", "192.0.2.1:x", "a b", "-", "localhost", "[::1"]
)
def test_what_is_no_name_server_is_refused(said):
    with pytest.raises(Invalid, match=r"update\.server"):
        parse(DnsProof, {"update": {**UPDATE, "server": said}})


def test_resolvers_are_addresses():
    assert parse(DnsProof, {"update": UPDATE, "resolvers": ["::1"]}).resolvers == ["[::1]:53"]
    with pytest.raises(Invalid, match="is not ADDRESS or ADDRESS:PORT"):
        parse(DnsProof, {"update": UPDATE, "resolvers": ["ns1.example.com"]})


@pytest.mark.parametrize("ways", [{}, {"update": UPDATE, "provider": {"name": "cloudflare"}}])
def test_there_is_exactly_one_way(ways):
    with pytest.raises(Invalid, match="say one of update"):
        parse(DnsProof, ways)


@pytest.mark.parametrize("name", ["localzone", "ddns", "auto", "base"])
def test_providers_that_would_work_on_this_host_are_refused(name):
    with pytest.raises(Invalid, match="no provider that is reached by its API"):
        parse(DnsProvider, {"name": name})


@pytest.mark.parametrize("value", ["/run/pdns.sock", "~/.aws", " /etc/passwd", "a\nb", ""])
def test_settings_of_a_provider_are_no_paths_of_this_host(value):
    with pytest.raises(Invalid, match="settings"):
        parse(DnsProvider, {"name": "powerdns", "settings": {"pdns_server": value}})


@pytest.mark.parametrize("more", [{"challenges": ["dns-01"]}, {"dns": {"provider": {"name": "cloudflare"}}}])
def test_the_challenge_and_the_way_to_answer_it_go_together(more):
    with pytest.raises(Invalid, match="declare both, or neither"):
        parse(AcmeIssuer, {"directory": "https://ca.example/dir", **more})
