"""What other programs keep, read and planned: nothing twice, nothing lost without a word."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from edgeward.certificates.model import Domain
from edgeward.cli.imports import caddy, certbot, jwk
from edgeward.cli.imports.found import Account, Found, Lineage
from edgeward.cli.imports.planning import Declared, plan
from edgeward.declaration.document import from_data
from edgeward.errors import Invalid
from edgeward.kinds import KINDS
from edgeward.secret import Secret
from edgeward.world.checks import check
from tests.integration.foreign import LETSENCRYPT, certbot_directory
from tests.integration.foreign import jwk as written
from tests.pairs import Made, authority, key_pem, make

CA = authority("CA")
NOW = time.time()
NOTHING = Declared()


def lineage(made: Made, directory: str | None = LETSENCRYPT, account: str = "1", **more) -> Lineage:
    place = more.pop("place", made.certificate.subject.rfc4514_string().removeprefix("CN="))
    return Lineage(place, made.pem + CA.pem, Secret(made.key_pem), directory, account, **more)


def planned(*lineages: Lineage, declared: Declared = NOTHING, accounts=(), project="default"):
    return plan(Found(list(lineages), list(accounts)), declared, project, None, NOW)


def brought(made) -> set[tuple[tuple[str, ...], str]]:
    return {(bring.names, bring.issuer) for bring in made.pairs}


def test_what_is_printed_is_a_document_that_holds():
    made = planned(
        lineage(make(["*.a.example", "a.example"], CA), place="a.example"),
        lineage(make(["b.example"], CA), "https://ca.example:14000/dir"),
        lineage(make(["c.example"], CA), None, names=("c.example", "localhost")),
        project="p",
    )

    assert [d["name"] for d in made.document["domains"]] == ["a.example", "b.example", "c.example"]
    assert [i["name"] for i in made.document["issuers"]] == ["letsencrypt", "ca.example"]
    assert check(from_data(made.document, "f", KINDS).objects) == []
    assert brought(made) == {(("a.example", "*.a.example"), "letsencrypt"), (("b.example",), "ca.example")}
    assert any("*.a.example is renewed by dns-01 only" in note for note in made.notes)


def test_a_name_on_several_certificates_goes_to_the_longest():
    short = lineage(make(["a.example", "b.example"], CA, days=30), place="old")
    long = lineage(make(["a.example", "c.example"], CA, days=60), place="new")
    made = planned(short, long)

    assert brought(made) == {(("a.example", "c.example"), "letsencrypt"), (("b.example",), "letsencrypt")}
    assert any(note.startswith("old: another certificate bears some of its names") for note in made.notes)
    assert check(from_data(made.document, "f", KINDS).objects) == []


def test_what_is_declared_stays_as_it_is_and_gets_its_certificate():
    mine = Domain(name="a.example", also=("b.example",), issuer="mine", project="p")
    wild = Domain(name="*.c.example", on_demand=True, issuer="mine", project="p")
    declared = Declared([mine, wild], {("p", LETSENCRYPT): "mine"}, frozenset({"mine", "letsencrypt"}))
    account = Account("1", LETSENCRYPT, "https://le/1", Secret("key"))
    made = planned(
        lineage(make(["a.example", "b.example"], CA)),
        lineage(make(["x.c.example"], CA)),
        declared=declared,
        accounts=[account],
        project="p",
    )

    assert made.document == {"version": 1}
    assert brought(made) == {(("a.example", "b.example"), "mine"), (("x.c.example",), "mine")}
    assert [(r.project, r.issuer) for r in made.accounts] == [("p", "mine")]


def test_what_does_not_bear_all_names_of_a_declared_domain_is_told_and_left():
    declared = Declared([Domain(name="a.example", also=("z.example",))])
    made = planned(lineage(make(["a.example"], CA)), declared=declared)

    assert made.pairs == [] and made.domains == []
    assert "a.example: the domain a.example has z.example, too, which it does not bear" in made.notes


def test_an_expired_certificate_is_told_and_its_key_not_taken():
    made = planned(lineage(make(["a.example"], CA, days=0.01)), lineage(make(["b.example"], CA)))

    assert brought(made) == {(("b.example",), "letsencrypt")}
    assert any("a.example: its certificate is left out: cert: it expired" in note for note in made.notes)


def test_of_several_accounts_the_one_that_most_are_from_is_taken():
    accounts = [Account(id, LETSENCRYPT, f"https://le/{id}", Secret("key"), f"{id}@x.example") for id in "12"]
    made = planned(
        lineage(make(["a.example"], CA)),
        lineage(make(["b.example"], CA), account="2"),
        lineage(make(["c.example"], CA), account="2"),
        accounts=accounts,
    )

    assert [register.account.id for register in made.accounts] == ["2"]
    assert made.document["issuers"][0]["acme"]["email"] == "2@x.example"
    assert any("left out the account 1" in note for note in made.notes)


def test_a_copy_of_certbots_directory_without_its_links_is_read_from_the_archive(tmp_path):
    leaf = make(["a.example"], CA)
    directory = certbot_directory(tmp_path, {"a.example": (leaf, CA)})
    for link in (directory / "live" / "a.example").iterdir():
        link.unlink()
    found = certbot.read(directory)

    assert found.lineages[0].cert == leaf.pem + CA.pem, "version 12 is newer than 1"
    assert found.lineages[0].directory == LETSENCRYPT
    assert found.accounts[0].url.endswith("/acct/1") and "PRIVATE KEY" in found.accounts[0].key.reveal()
    assert "PRIVATE" not in repr(found)


def test_what_cannot_be_read_is_told_and_the_rest_is_taken(tmp_path):
    directory = certbot_directory(
        tmp_path, {n: (make([n], CA), CA) for n in ("a.example", "b.example", "c.example")}
    )
    (directory / "renewal" / "a.example.conf").write_text("version = 5")
    (directory / "live" / "b.example" / "privkey.pem").unlink()
    (directory / "archive" / "b.example" / "privkey1.pem").unlink()
    (directory / "archive" / "b.example" / "privkey12.pem").unlink()
    for key in directory.rglob("private_key.json"):
        key.write_text("[]")
    found = certbot.read(directory)

    assert [one.place for one in found.lineages] == ["c.example"] and found.accounts == []
    assert [note.split(":")[0] for note in found.notes if "left out" in note][:2] == [
        "left out a.example",
        "left out b.example",
    ]
    for nothing in (tmp_path / "none", directory / "live"):
        with pytest.raises(Invalid, match="name the"):
            certbot.read(nothing)


def test_of_what_has_another_shape_only_that_is_left_out(tmp_path):
    good = make(["b.example"], CA)
    for name, about in (
        ("a.example", {"sans": 1, "issuer_data": {"ca": LETSENCRYPT}}),
        ("b.example", {"sans": ["b.example"], "issuer_data": {"ca": LETSENCRYPT}}),
        ("c.example", {"sans": ["c.example"], "issuer_data": "x"}),
    ):
        place = tmp_path / "certificates" / "le" / name
        place.mkdir(parents=True)
        (place / f"{name}.json").write_text(json.dumps(about))
        (place / f"{name}.crt").write_text(good.pem)
        (place / f"{name}.key").write_text(good.key_pem)
    (tmp_path / "certificates" / "le" / "a.example" / "d.json").write_text("[" * 100_000)
    users = tmp_path / "acme" / "le" / "users" / "x"
    users.mkdir(parents=True)
    (users / "x.json").write_text(json.dumps({"location": "https://ca.example/1", "contact": 7}))
    found = caddy.read(tmp_path)

    assert [lineage.place for lineage in found.lineages] == ["b.example"]
    assert sum("does not say what its program writes there" in note for note in found.notes) == 3
    assert sum("is not JSON" in note for note in found.notes) == 1


def test_of_certbot_too(tmp_path):
    directory = certbot_directory(tmp_path, {n: (make([n], CA), CA) for n in ("a.example", "b.example")})
    conf = directory / "renewal" / "a.example.conf"
    conf.write_text(conf.read_text().replace(LETSENCRYPT, "https://[x"))
    for account in directory.rglob("regr.json"):
        account.write_text(json.dumps({"body": [1], "uri": "https://ca.example/1"}))
    found = certbot.read(directory)

    assert [lineage.place for lineage in found.lineages] == ["b.example"] and found.accounts == []
    assert "names no server" in found.notes[0]
    assert "does not say what its program writes there" in found.notes[1]


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(dir="/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@contextmanager
def without_rights(*closed: Path) -> Iterator[None]:
    """Be a user to whom these directories are closed."""
    for path in closed:
        path.chmod(0)
    user = os.geteuid()
    try:
        if user == 0:
            os.seteuid(65534)
        yield
    finally:
        os.seteuid(user)
        for path in closed:
            path.chmod(0o755)


def test_who_may_not_read_certbots_keys_is_told_so(open_to_all):
    directory = certbot_directory(open_to_all, {"a.example": (make(["a.example"], CA), CA)})
    assert len(certbot.read(directory).lineages) == 1
    with without_rights(directory / "live", directory / "archive", directory / "accounts"):
        found = certbot.read(directory)

    assert not found.lineages and not found.accounts
    left, accounts, _hooks = found.notes
    assert left.startswith(
        f"left out a.example: {directory}/live/a.example/fullchain.pem: Permission denied; run"
    )
    assert accounts.startswith(f"left out the accounts: {directory}/accounts: Permission denied; run this as")
    with without_rights(directory / "renewal"), pytest.raises(Invalid, match="renewal: Permission denied"):
        certbot.read(directory)


def test_who_may_not_read_caddys_storage_is_told_so_and_not_that_nothing_is_there(open_to_all):
    (open_to_all / "certificates").mkdir()
    (open_to_all / "acme").mkdir()
    assert caddy.read(open_to_all) == Found()
    with (
        without_rights(open_to_all / "certificates"),
        pytest.raises(Invalid, match="certificates: Permission"),
    ):
        caddy.read(open_to_all)
    with without_rights(open_to_all), pytest.raises(Invalid, match="Permission denied; run this as"):
        caddy.read(open_to_all)
    with without_rights(open_to_all / "acme"):
        assert "acme: Permission denied" in caddy.read(open_to_all).notes[0]


def test_of_caddys_storage_what_is_not_json_or_not_from_acme_is_told(tmp_path):
    for name, about in (
        ("a.example", "{"),
        ("b.example", json.dumps({"sans": ["b.example"], "issuer_data": {}})),
    ):
        place = tmp_path / "certificates" / "zerossl" / name
        place.mkdir(parents=True)
        (place / f"{name}.json").write_text(about)
    found = caddy.read(tmp_path)

    assert found.lineages == []
    assert ["is not JSON" in found.notes[0], "edgeward certificates upload" in found.notes[1]] == [True, True]


@pytest.mark.parametrize(
    ("folder", "url", "directory"),
    [
        (
            "acme-v02.api.letsencrypt.org-directory",
            "https://acme-v02.api.letsencrypt.org/acme/cert/04ab",
            "https://acme-v02.api.letsencrypt.org/directory",
        ),
        (
            "acme.zerossl.com-v2-dv90",
            "https://acme.zerossl.com/v2/DV90/cert/x",
            "https://acme.zerossl.com/v2/DV90",
        ),
        ("127.0.0.1-26400-dir", "https://127.0.0.1:26400/certZ/54e6", "https://127.0.0.1:26400/dir"),
    ],
)
def test_an_older_caddys_authority_is_known_by_its_folder_and_a_certificates_url(
    tmp_path, folder, url, directory
):
    place = tmp_path / "certificates" / folder / "a.example"
    place.mkdir(parents=True)
    (place / "a.example.json").write_text(json.dumps({"sans": ["a.example"], "issuer_data": {"url": url}}))
    (place / "a.example.crt").write_text("certificate")
    (place / "a.example.key").write_text("key")
    found = caddy.read(tmp_path)

    assert [lineage.directory for lineage in found.lineages] == [directory]
    assert directory in found.notes[0]


@pytest.mark.parametrize("factors", [True, False])
def test_rsa_keys_come_out_of_json_as_they_were(factors):
    key = rsa.generate_private_key(65537, 2048)
    data = written(key)
    if not factors:
        data = {name: data[name] for name in ("kty", "n", "e", "d")}

    found = serialization.load_pem_private_key(jwk.pem(data).reveal().encode(), None)
    assert found.private_numbers().d == key.private_numbers().d


def test_ec_keys_come_out_of_json_as_they_were_and_others_are_refused():
    key = ec.generate_private_key(ec.SECP256R1())
    from josepy.jwk import JWKEC

    data = JWKEC(key=key).to_json()
    assert jwk.pem(data).reveal() == key_pem(key)
    for bad in ({}, {"kty": "oct", "k": "x"}, {**data, "crv": "P-999"}, {"kty": "RSA", "n": 1}):
        with pytest.raises(Invalid, match="JSON Web Key"):
            jwk.pem(bad)
