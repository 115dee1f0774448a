"""Libreswan's texts: its own parsers read from them what was declared, whatever others wrote into ids and secrets."""

from __future__ import annotations

import base64
import datetime
import itertools
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeward.errors import Invalid
from edgeward.secret import Secret
from edgeward.vpn import algorithms
from edgeward.vpn.desired import Certificate, Connection, Ike, Ipsec, Proposal, Psk
from edgeward.vpn.drivers.libreswan import identity, proposals, text
from edgeward.vpn.drivers.libreswan.refusals import refusals
from tests import libreswan
from tests.pairs import unreadable
from tests.unit.vpn.values import CONNECTIONS, connection

_HOSTILE = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        ["", "@", "%any", "a b", 'x"\n\tleftupdown="id"', "x\nconn y", "x\n\talso=z", "{a}", "a=b", "CN=a\\", "@[x]"]
    ),
    st.builds(
        lambda head, sign, tail: head + sign + tail,
        st.sampled_from(["gw", "CN=gw", "user@gw", "203.0.113.5", "fe80::1"]),
        st.sampled_from([*"\n\r\t \0\"'{}\\#%;:,@=$`|", "\n\n", "\u2028", "é", "%\n"]),
        st.sampled_from(["", "x", "conn z", "CN=a", "leftupdown=id"]),
    ),
)  # fmt: skip
_GOOD = st.sampled_from(
    [
        "203.0.113.5",
        "2001:DB8::5",
        "gw",
        "@gw.example.com",
        "user@gw.example",
        "C=DE, O=Example (EU), CN=gw 1",
    ]
)
_IDS = st.one_of(_GOOD, _GOOD, _HOSTILE)
_NAMES = st.sampled_from(["vpn.example.com", "198.51.100.9"])
_WORD = re.compile(r'"[^"\n]+"|[^"\s#{}%]+')


@pytest.fixture(scope="module")
def parsed() -> Iterator[Callable[[str], dict[str, str]]]:
    """Have Libreswan's own programs read a text, and give what they made of the one section in it."""
    program, judge = libreswan.tool("readwriteconf"), libreswan.tool("addconn")
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "ipsec.conf"

        def read(written: str) -> dict[str, str]:
            file.write_text(written)
            for argv in ([judge, "--checkconfig"], [program]):
                done = subprocess.run(
                    [*argv, "--config", str(file)], capture_output=True, text=True, timeout=10, check=False
                )
                assert (done.returncode, done.stderr) == (0, ""), written
            head, *lines = done.stdout.partition("conn ")[2].splitlines()
            assert "conn " not in "\n".join(lines)
            found = dict(line.strip().split("=", 1) for line in lines if "=" in line)
            return found | {"conn": head}

        yield read


@settings(max_examples=150, deadline=None)
@given(CONNECTIONS, _IDS, _IDS, _NAMES | _NAMES | _HOSTILE, st.text(max_size=30))
def test_their_parser_reads_what_was_declared_or_it_was_refused(
    parsed: Callable[[str], dict[str, str]], one: Connection, local: str, peer: str, where: str, name: str
) -> None:
    declared = one.model_copy(
        update={"local_id": local, "peer_id": peer, "peer_address": where, "name": name}
    )
    if refusals(declared):
        return
    sections = text.sections(declared)
    assert len(sections) == len(one.local_networks) * len(one.peer_networks)
    (pair, *_) = itertools.product(one.local_networks, one.peer_networks)
    read = parsed(sections[text.name(one.id, pair)])
    assert read["conn"] == text.name(one.id, pair)
    assert (read["left"], read["right"]) == (one.local_address, where)
    assert (read["leftid"].strip('"'), read["rightid"].strip('"')) == (_plain(local), _plain(peer))
    assert (read["leftsubnet"], read["rightsubnet"]) == pair
    assert read["leftupdown"] == "%disabled"
    assert read["ike"] == proposals.ike(one.ike.proposals)
    assert read["ikelifetime"] == str(one.ike.lifetime * 1000)


def _plain(said: str) -> str:
    return identity.spelled(said).strip('"')


@given(_IDS, _IDS, st.text(min_size=1, max_size=40))
def test_a_secret_stands_on_a_line_with_both_ids_or_is_refused(local: str, peer: str, secret: str) -> None:
    try:
        one = connection(local_id=local, peer_id=peer, auth=Psk(secret=Secret(secret)))
        line = text.secrets([one])
    except (Invalid, UnicodeEncodeError):
        return
    ids, _, shown = line.removesuffix("\n").rpartition(" : PSK 0s")
    assert "\n" not in line[:-1]
    assert len(_WORD.findall(ids)) == 2
    assert " ".join(_WORD.findall(ids)) == ids
    assert base64.b64decode(shown).decode() == secret


@given(_HOSTILE)
def test_an_id_is_one_word_of_few_characters_or_is_refused(said: str) -> None:
    try:
        word = identity.spelled(said)
    except Invalid as error:
        assert "Libreswan cannot be told the id" in str(error)
        assert "\n" not in str(error)
    else:
        assert word.isascii()
        assert word.isprintable()
        assert _WORD.fullmatch(word)


def test_ids_keep_their_kind() -> None:
    assert identity.spelled("203.0.113.5") == "203.0.113.5"
    assert identity.spelled("2001:DB8:0::5") == "2001:db8::5"
    assert identity.spelled("gw.example.com") == identity.spelled("@gw.example.com") == "@gw.example.com"
    assert identity.spelled("anna@example.com") == "anna@example.com"
    assert identity.spelled("C=DE, O=Example, CN=gw 1") == '"C=DE, O=Example, CN=gw 1"'


def test_nothing_of_a_secret_is_in_a_section() -> None:
    one = connection(auth=Psk(secret=Secret("canary in a coal mine")))
    assert "canary" not in "".join(text.sections(one).values())


def test_each_pair_of_networks_has_a_name_that_stays_when_others_come_and_go() -> None:
    few = text.sections(connection(local_networks=("10.1.0.0/24",)))
    many = text.sections(connection(local_networks=("10.0.0.0/24", "10.1.0.0/24", "10.3.0.0/24")))
    assert len(many) == 3
    assert few.items() <= many.items()
    assert {text.whose(name) for name in many} == {connection().id}


_ALL = [
    Proposal(encryption=encryption, integrity=integrity, groups=(group,))
    for encryption, integrity, group in itertools.chain(
        ((one, "sha256", "group14") for one in sorted(algorithms.ENCRYPTIONS)),
        (("aes-128", one, "group14") for one in sorted(algorithms.INTEGRITIES)),
        (("aes-128", "sha256", one) for one in sorted(algorithms.GROUPS)),
    )
]


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("kind", ["ike", "esp", "ah"])
def test_what_is_refused_is_what_their_parser_refuses(kind: str, version: int) -> None:
    judge = libreswan.tool("algparse")
    for one in _ALL:
        refused = _refused(kind, version, one)
        if kind == "ike":
            said = _anyhow(lambda one=one: proposals.ike((one,)))
        else:
            said = _anyhow(lambda one=one: proposals.ipsec((one,), kind))
        if said is None:
            assert refused, one
            continue
        argv = [judge, f"-v{version}", "-pfs", f"{kind}={said}"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
        assert (done.returncode != 0) == refused, (one, done.stdout + done.stderr)


def _refused(kind: str, version: int, one: Proposal) -> bool:
    good = Proposal(encryption="aes-128", integrity="sha256", groups=("group14",))
    ike = Ike(version=version, proposals=(one if kind == "ike" else good,))
    ipsec = Ipsec(protocol="ah" if kind == "ah" else "esp", proposals=(good if kind == "ike" else one,))
    return bool(refusals(connection(ike=ike, ipsec=ipsec)))


def _anyhow(said: Callable[[], str]) -> str | None:
    try:
        return said()
    except KeyError:
        return None


def test_refusals_name_the_field_and_a_way_out() -> None:
    weak = Proposal(encryption="aes-128-ccm-8", integrity="aes-cmac", groups=("group2", "mlkem768"))
    found = dict(
        refusals(connection(ike=Ike(proposals=(weak,)), local_id="a\nb", auth=Psk(secret=Secret(""))))
    )
    assert set(found) == {"ike.encryption", "ike.integrity", "ike.groups", "local_id", "secret"}
    assert all("take" in one or "give" in one for one in found.values())


_TWO = tuple(Proposal(encryption="aes-128", groups=(group,)) for group in ("group14", "group15"))


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"ipsec": Ipsec(proposals=_TWO)}, "ipsec.groups"),
        ({"peer_address": "vpn example"}, "peer_address"),
        ({"ike": Ike(version=2, aggressive=True, proposals=connection().ike.proposals)}, "ike.aggressive"),
        ({"ike": Ike(lifetime=604_800, proposals=connection().ike.proposals)}, "ike.lifetime"),
        ({"ipsec": Ipsec(lifetime=604_800, proposals=connection().ipsec.proposals)}, "ipsec.lifetime"),
    ],
)
def test_what_pluto_would_take_otherwise_than_said_is_refused(changed: dict[str, object], field: str) -> None:
    one: Connection = connection(**changed)
    assert [refused for refused, _ in refusals(one)] == [field]


def _proof(key: object, *name: tuple[object, str]) -> Certificate:
    subject = x509.Name([x509.NameAttribute(oid, value) for oid, value in name])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject).issuer_name(subject).public_key(key.public_key()).serial_number(7)
        .not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())
    )  # fmt: skip
    pem = made.public_bytes(serialization.Encoding.PEM).decode()
    return Certificate(chain=pem, key=Secret("only its certificate is looked at"), authority=pem)


def test_a_certificate_is_said_by_its_kind_and_its_authority() -> None:
    named = (
        (NameOID.COUNTRY_NAME, "DE"),
        (NameOID.ORGANIZATION_NAME, "Example"),
        (NameOID.COMMON_NAME, "CA 1"),
    )
    one = connection(auth=_proof(ec.generate_private_key(ec.SECP256R1()), *named))
    (section,) = text.sections(one).values()
    assert "\tauthby=ecdsa\n" in section
    assert '\trightca="C=DE, O=Example, CN=CA 1"\n' in section
    assert refusals(one) == ()
    assert text.secrets([one]) == ""


@pytest.mark.parametrize("hostile", ['CA"\n\tleftupdown="id', "Ämter", "a, CN=b", "a\\2c"])
def test_an_authority_whose_name_could_be_read_otherwise_is_refused(hostile: str) -> None:
    one = connection(auth=_proof(ec.generate_private_key(ec.SECP256R1()), (NameOID.COMMON_NAME, hostile)))
    ((field, why),) = refusals(one)
    assert (field, "authority" in why) == ("certificate", True)


def test_a_key_that_pluto_cannot_sign_with_is_refused() -> None:
    name = (NameOID.COMMON_NAME, "CA")
    edwards = connection(auth=_proof(ed25519.Ed25519PrivateKey.generate(), name))
    assert "RSA and ECDSA" in refusals(edwards)[0][1]
    old = Ike(version=1, proposals=(Proposal(encryption="aes-128", integrity="sha256", groups=("group14",)),))
    proof = _proof(ec.generate_private_key(ec.SECP256R1()), name)
    plain = Ipsec(proposals=old.proposals)
    assert [field for field, _ in refusals(connection(ike=old, ipsec=plain, auth=proof))] == ["certificate"]


def test_a_certificate_that_is_not_known_yet_is_not_refused() -> None:
    unknown = Certificate(chain="", key=Secret("-"), authority="")
    assert refusals(connection(auth=unknown)) == ()


def test_an_authority_whose_name_cannot_be_read_is_refused() -> None:
    auth = Certificate(chain="", key=Secret("-"), authority=unreadable("Berlin"))
    with pytest.raises(Invalid, match="is not readable"):
        text.authority(auth)
