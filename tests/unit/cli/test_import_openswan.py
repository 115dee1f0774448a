"""Files of Openswan and Libreswan become sites, and what is not carried over is said."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeward.cli.vpn.openswan import algorithms, reading, sites
from edgeward.errors import Invalid
from edgeward.parsing import parse
from edgeward.sealing import Sealed
from edgeward.secret import Secret
from edgeward.vpn.desired import Connection, Psk
from edgeward.vpn.drivers.libreswan.identity import spelled
from edgeward.vpn.other_side import written
from edgeward.vpn.site import Outside, Site
from edgeward.vpn.translate import connection as translated
from tests.unit.vpn.sites import SEAL
from tests.unit.vpn.values import CONNECTIONS, connection

CONF = """\
version 2.0
config setup
    protostack=netkey
    # a comment

conn %default
    ikelifetime=8h
    keylife=1h   # another one
    authby=secret

conn office
    left=%defaultroute
    leftid=203.0.113.5
    leftsubnet=10.1.0.0/24
    leftsourceip=10.1.0.7
    also=berlin
    auto=start
    ikev2=never
    ike=aes256-sha1;modp1024,3des-sha1-modp1536
    phase2alg=aes128-sha1+sha2_256
    pfs=no
    dpddelay=10s
    dpdtimeout=1m
    dpdaction=restart_by_peer
    xauthserver=yes

conn berlin
    right=198.51.100.9
    rightid=@gw.berlin.example
    rightsubnets={192.168.4.0/24 192.168.5.0/24}

conn roadwarriors
    left=%defaultroute
    leftid=203.0.113.5
    leftsubnet=10.1.0.0/24
    right=%any

conn signed
    left=203.0.113.5
    right=198.51.100.7
    authby=rsasig
include more/*.conf
"""
MORE = """\
conn hosts
    left=203.0.113.5
    right=vpn.example.com
    rightsubnet=192.168.9.0/24
    leftsubnet=10.1.0.0/24
    ikev2=insist
    auto=add
"""
SECRETS = """\
# keys
203.0.113.5 @gw.berlin.example : PSK "of # both"
: RSA {
    Modulus: 0x1
}
%any vpn.example.com :
    PSK 0x6869
include nowhere/*
"""


@pytest.fixture
def place(tmp_path) -> Path:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "one.conf").write_text(MORE)
    (tmp_path / "ipsec.conf").write_text(CONF)
    (tmp_path / "ipsec.secrets").write_text(SECRETS)
    return tmp_path


def test_connections_become_sites_with_their_keys(place):
    keys, notes = reading.keys(place / "ipsec.secrets")
    found = sites.carried(reading.read(place / "ipsec.conf"), keys, "edge", None)
    office, hosts = found.sites
    assert office == {
        "name": "office",
        "router": "edge",
        "peer": "198.51.100.9",
        "local_networks": ["10.1.0.0/24"],
        "remote_networks": ["192.168.4.0/24", "192.168.5.0/24"],
        "local_id": "203.0.113.5",
        "remote_id": "@gw.berlin.example",
        "inside": [{"network": "10.1.0.0/24", "address": "10.1.0.7"}],
        "dpd": {"action": "restart", "interval": 10, "timeout": 60},
        "profile": {
            "ike": {
                "version": 1,
                "lifetime": 28800,
                "proposals": [
                    {"encryption": "aes-256", "integrity": "sha1", "groups": ["group2"]},
                    {"encryption": "3des", "integrity": "sha1", "groups": ["group5"]},
                ],
            },
            "ipsec": {
                "lifetime": 3600,
                "proposals": [
                    {"encryption": "aes-128", "integrity": "sha1"},
                    {"encryption": "aes-128", "integrity": "sha256"},
                ],
            },
        },
    }
    assert (hosts["peer"], hosts["local_id"], hosts["initiator"]) == ("vpn.example.com", "203.0.113.5", False)
    assert {name: key.secret for name, key in found.keys.items()} == {"office": b"of # both", "hosts": b"hi"}
    text = "\n".join([*found.notes, *notes])
    assert "conn office: not carried over: xauthserver" in text
    assert "conn roadwarriors was left out: right=%any: a peer has an address or a name here" in text
    assert "conn signed was left out: authby=rsasig" in text
    assert "no pre-shared key; it was passed over" in text
    assert "of # both" not in text + repr(found.keys)


@pytest.mark.parametrize(
    ("entry", "ids", "secret"),
    [
        ('a.example b.example :\tPSK\t"x: y"', {"a.example", "b.example"}, b"x: y"),
        ('a.example:PSK "x:y"', {"a.example"}, b"x:y"),
        ('2001:db8:: 2001:db8::2 : PSK "x"', {"2001:db8::", "2001:db8::2"}, b"x"),
        ('include.example : psk "x" # of include', {"include.example"}, b"x"),
        (": PSK 'x #1'", set(), b"x #1"),
        (': PSK "it\'s #1"', set(), b"it's #1"),
    ],
)
def test_keys_are_found_however_their_line_is_spelled(tmp_path, entry, ids, secret):
    (tmp_path / "ipsec.secrets").write_text(f"{entry}\n: RSA {{\n  Modulus: 0x1\n  }}\n")
    keys, notes = reading.keys(tmp_path / "ipsec.secrets")

    assert [(set(key.ids), key.secret) for key in keys] == [(ids, secret)]
    assert [note.rpartition(":")[2] for note in notes] == [" no pre-shared key; it was passed over"]


def test_names_that_differ_only_by_what_no_name_has_here_stay_two_sites(tmp_path):
    conn = "conn {}\n  left=203.0.113.5\n  right=198.51.100.{}\n"
    (tmp_path / "c").write_text(conn.format("a/b", 1) + conn.format("a-b", 2) + conn.format("a:b", 3))
    keys = [reading.Key(frozenset({f"198.51.100.{n}", "203.0.113.5"}), b"%d" % n) for n in (1, 2, 3)]
    found = sites.carried(reading.read(tmp_path / "c"), keys, "edge", None)

    assert [(s["name"], s["peer"][-1], found.keys[s["name"]].secret) for s in found.sites] == [
        ("a-b", "1", b"1"),
        ("a-b-2", "2", b"2"),
        ("a-b-3", "3", b"3"),
    ]


def test_a_file_that_includes_itself_ends(tmp_path):
    (tmp_path / "ipsec.conf").write_text("include ipsec.conf\n")
    with pytest.raises(Invalid):
        reading.read(tmp_path / "ipsec.conf")


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("aes_gcm256-sha2", {"encryption": "aes-256-gcm-16", "integrity": "sha256", "groups": ["group14"]}),
        ("aes_gcm_c256-sha2_384;dh20", {"encryption": "aes-256-gcm-16", "integrity": "sha384", "groups": ["group20"]}),
        ("aes_gcm_a128-sha1;modp2048", {"encryption": "aes-128-gcm-8", "integrity": "sha1", "groups": ["group14"]}),
        ("aes_ctr192-sha512;dh31", {"encryption": "aes-192-ctr", "integrity": "sha512", "groups": ["group31"]}),
        ("aes-sha;modp3072!", {"encryption": "aes-128", "integrity": "sha1", "groups": ["group15"]}),
        ("chacha20_poly1305-sha2_256;dh19", {"encryption": "chacha20poly1305", "integrity": "sha256", "groups": ["group19"]}),
    ],
)  # fmt: skip
def test_algorithms_are_read_as_they_are_spelled_there(said, meant):
    assert algorithms.ike(said) == [meant]


@pytest.mark.parametrize("said", ["", "blowfish-sha1", "aes128-md5", "3des-sha1;modp768x"])
def test_algorithms_that_there_are_none_of_here_are_refused(said):
    with pytest.raises(Invalid):
        algorithms.ike(said)


@settings(max_examples=30, deadline=None)
@given(CONNECTIONS)
def test_the_other_sides_file_read_back_is_what_was_declared(tmp_path_factory, one: Connection):
    declared = one.model_copy(update={"auth": connection().auth, "name": "default/berlin", "enabled": True})
    try:
        text = written(declared, "libreswan")
    except Invalid:
        return
    file = tmp_path_factory.mktemp("read") / "ipsec.conf"
    file.write_text(text.partition("\n# ")[0])
    (site,) = sites.carried(reading.read(file), [], "edge", "right").sites
    back = translated(
        parse(
            Site, {**site, "secret": Sealed.of("a secret", SEAL), "outside": {"address": "203.0.113.5/24"}}
        ),
        Outside.model_validate({"address": "203.0.113.5/24"}),
        "libreswan",
        Psk(secret=Secret("a secret")),
    )
    assert [spelled(i) for i in (back.local_id, back.peer_id)] == [
        spelled(i) for i in (declared.local_id, declared.peer_id)
    ]
    assert (back.local_networks, back.peer_networks) == (declared.local_networks, declared.peer_networks)
    assert back.ike.version == declared.ike.version
    assert list(back.ike.proposals) == list(dict.fromkeys(declared.ike.proposals))
    assert back.ike.lifetime == declared.ike.lifetime
    assert back.ipsec.lifetime == declared.ipsec.lifetime


@given(st.text(max_size=200))
def test_whatever_is_written_there_is_read_or_refused(tmp_path_factory, text):
    place = tmp_path_factory.mktemp("any")
    (place / "ipsec.conf").write_text("conn a\n " + text.replace("include", ""))
    (place / "ipsec.secrets").write_text(text.replace("include", ""))
    try:
        keys, _ = reading.keys(place / "ipsec.secrets")
        sites.carried(reading.read(place / "ipsec.conf"), keys, "edge", None)
    except Invalid:
        pass
