"""The other side's configuration: read by the real parsers, it mirrors what is declared."""

from __future__ import annotations

import base64
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeward.errors import Invalid
from edgeward.vpn.desired import Connection, Ike, Ipsec, Proposal
from edgeward.vpn.drivers.libreswan import identity as libreswan_identity
from edgeward.vpn.drivers.libreswan import proposals as libreswan_proposals
from edgeward.vpn.drivers.strongswan import identity as strongswan_identity
from edgeward.vpn.drivers.strongswan import proposals as strongswan_proposals
from edgeward.vpn.other_side import written
from edgeward.vpn.other_side.seen import KEY_HERE
from tests import libreswan
from tests.unit.vpn.charon_told import Told, listening
from tests.unit.vpn.values import CONNECTIONS, connection

_HOSTILE = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        ['a"b', "a\nb", "a # b", "{x}", "a=b", 'CN=x\\", O=y', "%any", "$(id)", "@a}b", "gw }\n x {"]
    ),
)
_GOOD = st.sampled_from(["203.0.113.5", "@gw.example.com", "user@gw.example", "C=DE, O=Example, CN=gw 1"])
_PSK = connection().auth  # files of certificates would have to be there
_IDS = st.one_of(_GOOD, _GOOD, _HOSTILE)
_PEERS = st.sampled_from(["198.51.100.9", "vpn.example.com"])
_NAMES = st.one_of(st.just("default/berlin"), _HOSTILE.map(lambda text: f"default/{text}"))


@pytest.fixture(scope="module")
def swanctl() -> Iterator[Told]:
    with listening() as told:
        yield told


@settings(max_examples=25, deadline=None)
@given(CONNECTIONS, _IDS, _IDS, _PEERS, _NAMES)
def test_swanctl_reads_what_is_declared_from_the_other_side_of_it(
    swanctl: Told, one: Connection, ours: str, theirs: str, peer: str, name: str
) -> None:
    declared = one.model_copy(
        update={"local_id": ours, "peer_id": theirs, "peer_address": peer, "name": name, "auth": _PSK}
    )
    try:
        text = written(declared, "strongswan")
    except Invalid:
        return
    said = swanctl.load(text)
    (loaded,) = (message for command, message in said if command == "load-conn")
    (found,) = loaded.values()
    assert found["local_addrs"] == ["%any" if peer == "vpn.example.com" else peer]
    assert found["local"]["id"] == strongswan_identity.spelled(theirs)
    assert found["remote"]["id"] == strongswan_identity.spelled(ours)
    assert found["version"] == str(one.ike.version)
    assert found["proposals"] == [strongswan_proposals.ike(offer) for offer in one.ike.proposals]
    pairs = {(m, t) for c in found["children"].values() for m in c["local_ts"] for t in c["remote_ts"]}
    assert pairs == {(m, t) for m in one.peer_networks for t in one.local_networks}
    (shared,) = (message for command, message in said if command == "load-shared")
    assert set(shared["owners"]) == {found["local"]["id"], found["remote"]["id"]}


@pytest.fixture(scope="module")
def addconn() -> Iterator[Callable[[str], dict[str, str]]]:
    program, judge = libreswan.tool("readwriteconf"), libreswan.tool("addconn")
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "ipsec.conf"

        def read(text: str) -> dict[str, str]:
            file.write_text(text)
            for argv in ([judge, "--checkconfig"], [program]):
                command = [*argv, "--config", str(file)]
                done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
                assert (done.returncode, done.stderr) == (0, ""), text
            head, *lines = done.stdout.partition("conn ")[2].splitlines()
            assert "conn " not in "\n".join(lines)
            return dict(line.strip().split("=", 1) for line in lines if "=" in line) | {"conn": head}

        yield read


@settings(max_examples=25, deadline=None)
@given(CONNECTIONS, _IDS, _IDS, _PEERS, _NAMES)
def test_libreswan_reads_what_is_declared_from_the_other_side_of_it(
    addconn: Callable[[str], dict[str, str]], one: Connection, ours: str, theirs: str, peer: str, name: str
) -> None:
    declared = one.model_copy(
        update={"local_id": ours, "peer_id": theirs, "peer_address": peer, "name": name, "auth": _PSK}
    )
    try:
        text = written(declared, "libreswan")
    except Invalid:
        return
    conf, secrets = _parted(text)
    read = addconn(conf)
    assert read["left"] == ("%defaultroute" if peer == "vpn.example.com" else peer)
    assert read["right"] == one.local_address
    assert read["leftid"].strip('"') == libreswan_identity.spelled(theirs).strip('"')
    assert read["rightid"].strip('"') == libreswan_identity.spelled(ours).strip('"')
    assert read["ike"] == libreswan_proposals.ike(one.ike.proposals)
    for side, networks in (("left", one.peer_networks), ("right", one.local_networks)):
        said = read.get(f"{side}subnet") or read[f"{side}subnets"].strip("{} ")
        assert set(said.replace(",", " ").split()) == set(networks)
    assert secrets.count("\n") <= 1


def _parted(text: str) -> tuple[str, str]:
    """Give the two files without the comments that say what they are."""
    files = [part.partition("\n")[2] for part in text.split("# /etc/ipsec.d/")[1:]]
    return files[0], files[1] if len(files) > 1 else ""


def test_a_sheet_says_every_parameter_in_words():
    offers = (
        Proposal(encryption="aes-256-gcm-16", integrity="sha384", groups=("group20", "mlkem768")),
        Proposal(encryption="aes-128", integrity="sha1", groups=("group14",)),
    )
    ike = Ike(version=2, proposals=offers, lifetime=28800)
    sheet = written(connection(ike=ike, ipsec=Ipsec(proposals=offers[1:]), peer_id="@gw.example"), "sheet")
    for words in (
        "AES-GCM, 256-bit key, 128-bit tag",
        "PRF 1:",
        "group 20 (384-bit random ECP, NIST P-384) and ML-KEM-768",
        "AES-CBC, 128-bit key",
        "HMAC-SHA-1",
        "28800 seconds (8 h)",
        "gw.example (FQDN)",
        "10.2.0.0/24",
        "198.51.100.9",
        "a pre-shared key, which comes to you on another way",
    ):
        assert words in sheet


@pytest.mark.parametrize("form", ["strongswan", "libreswan", "sheet"])
def test_the_secret_is_in_none_of_them(form):
    assert "a secret" not in written(connection(), form)


def test_who_shares_the_hosts_address_is_found_by_its_id_or_has_to_begin():
    shared = {"local_address": "0.0.0.0"}
    assert "right=203.0.113.5\n" in written(connection(**shared), "libreswan")
    assert "right=gw.example\n" in written(connection(**shared, local_id="@gw.example"), "libreswan")
    anybody = written(connection(**shared, local_id="user@gw.example"), "libreswan")
    assert "right=%any\n" in anybody
    assert "auto=add\n" in anybody
    assert "it begins" in written(connection(**shared, local_id="user@gw.example"), "sheet")
    unknown = connection(**shared, local_id="0.0.0.0")
    assert "our gateway's address" in written(unknown, "sheet")
    for form in ("strongswan", "libreswan"):
        with pytest.raises(Invalid, match="say it as local_id"):
            written(unknown, form)


def test_a_secret_put_in_its_place_is_read_whatever_is_in_it(swanctl):
    secret = 'a "b" \\ # {c}\x00é'.encode()
    text = written(connection(), "strongswan").replace(f'"{KEY_HERE}"', KEY_HERE)
    said = swanctl.load(text.replace(KEY_HERE, "0s" + base64.b64encode(secret).decode()))
    (shared,) = (message for command, message in said if command == "load-shared")
    assert shared["data"].encode(errors="surrogateescape") == secret
