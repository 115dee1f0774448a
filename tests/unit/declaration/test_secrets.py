"""Declared secrets are sealed where they are read, and their text is nowhere from there on."""

from __future__ import annotations

import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from edgeward.declaration import document, secrets
from edgeward.declaration.model import Change, Declared, Key, Stored
from edgeward.declaration.references import reader
from edgeward.errors import Invalid
from edgeward.kinds import KINDS
from edgeward.sealing import Seal, Sealed

SEAL = Seal(b"s" * 32)
DOOR = secrets.sealing(SEAL)
ISSUERS = KINDS["issuers"]
KEY = Key("issuers", "default", "le")


def issuer(secret, **more):
    eab = {"kid": "k", "hmac_key": secret}
    return {"name": "le", "acme": {"directory": "https://ca.example/directory", "eab": eab, **more}}


def read(secret, read_reference=None, door=DOOR, **more):
    data = {"version": 1, "issuers": [issuer(secret, **more)]}
    (found,) = document.from_data(data, "", KINDS, read_reference, door).objects
    return found


def stored(secret):
    return {KEY: Stored(KEY, read(secret).value, "api", 1)}


def text_of(declared: Declared) -> str:
    return declared.value.acme.eab.hmac_key.reveal(SEAL).reveal()


@given(
    st.text(min_size=6, max_size=200).filter(
        lambda t: not t.isdigit() and t.encode(errors="ignore") == t.encode(errors="replace")
    )
)
def test_a_value_holds_a_secret_sealed_and_shows_its_digest_only(text):
    found = read(text)

    assert text_of(found) == text
    kept = document.written([(found.key, found.value)], KINDS)["issuers"][0]["acme"]["eab"]["hmac_key"]
    assert kept == {"kept": SEAL.digest(text.encode())}
    in_json, other = json.dumps(text)[1:-1], read("something else")
    assume(in_json not in json.dumps(document.plain(other.value)) + repr(other))  # as 'https:', 'digest' are
    for said in (json.dumps(document.plain(found.value)), repr(found), json.dumps(kept)):
        assert in_json not in said


def test_equal_secrets_are_equal_and_others_are_not():
    first, second, other = read("same"), read("same"), read("other")

    assert first.value == second.value
    assert first.value.acme.eab.hmac_key.sealed != second.value.acme.eab.hmac_key.sealed
    assert first.value != other.value
    assert Seal(b"t" * 32).digest(b"same") != SEAL.digest(b"same")


def test_a_record_does_not_open_beside_another_digest():
    one, other = Sealed.of("one", SEAL), Sealed.of("other", SEAL)

    with pytest.raises(Invalid, match="changed"):
        Sealed(sealed=one.sealed, digest=other.digest).reveal(SEAL)


def test_a_secret_is_read_from_a_file_without_the_end_of_its_line(tmp_path):
    (tmp_path / "key").write_text("c2VjcmV0\n")
    reading = reader(tmp_path, {"KEY": "from the environment"})

    assert text_of(read({"file": "key"}, reading)) == "c2VjcmV0"
    assert text_of(read({"env": "KEY"}, reading)) == "from the environment"


@pytest.mark.parametrize(
    ("secret", "sentence"),
    [
        ("", "the secret is empty"),
        (5, "give the secret as a text"),
        (["x"], "give the secret as a text"),
        ("\ud800", "not valid Unicode"),
        ("x" * 70_000, "over 64 KB"),
        ({"file": "x"}, "not read over the API"),
        ({"kept": "x"}, "takes the digest that an export shows"),
        ({"kept": None}, "takes the digest that an export shows"),
        ({"sealed": "", "digest": "0" * 32}, "write the secret itself"),
        (Sealed.of("stolen", SEAL).model_dump(), "write the secret itself"),
        ({}, "write the secret itself"),
    ],
)
def test_what_is_no_secret_is_refused_with_its_field(secret, sentence):
    with pytest.raises(Invalid) as caught:
        read(secret)

    (problem,) = caught.value.problems
    assert problem.field == "issuers[0].acme.eab.hmac_key"
    assert sentence in problem.message


def test_no_problem_beside_a_secret_tells_it():
    with pytest.raises(Invalid) as caught:
        read("s3cret-in-here", directory="ftp://x", nonsense=1)

    assert "s3cret" not in str([str(p) for p in caught.value.problems])


def test_what_is_to_be_kept_comes_from_what_is_stored_there():
    kept = read({"kept": SEAL.digest(b"old")}, email="ops@example.com")

    ((found,), problems) = secrets.filled([kept], stored("old"), KINDS)

    assert problems == []
    assert text_of(found) == "old"
    assert found.value.acme.email == "ops@example.com"
    assert found.value != stored("old")[KEY].value
    ((same,), _) = secrets.filled([read({"kept": SEAL.digest(b"old")})], stored("old"), KINDS)
    assert same.value == stored("old")[KEY].value


@pytest.mark.parametrize("there", [{}, {Key("issuers", "other", "le"): "old"}, {KEY: "newer"}])
def test_what_is_not_stored_in_this_place_cannot_be_kept(there):
    held = {key: Stored(key, read(secret).value, "api", 1) for key, secret in there.items()}

    _, problems = secrets.filled([read({"kept": SEAL.digest(b"old")})], held, KINDS)

    assert [(p.object, p.field) for p in problems] == [("issuers/default/le", "acme.eab.hmac_key")]
    assert "give the secret itself" in problems[0].message


@pytest.mark.parametrize("secret", ["s3cret", {"kept": "0" * 32}])
def test_a_document_without_a_store_is_carried_on_as_it_was(secret):
    door = secrets.Carried()
    found = read(secret, door=door)

    sent = document.written([(found.key, found.value)], KINDS, door.written)

    assert sent["issuers"][0]["acme"]["eab"]["hmac_key"] == secret


def test_nodes_get_nothing_of_a_secret():
    value = secrets.without(document.plain(read("s3cret").value), ISSUERS)

    assert value["acme"]["eab"]["hmac_key"] == {"sealed": "", "digest": ""}
    assert ISSUERS.model.model_validate(value).acme.eab.kid == "k"


def test_every_sealed_field_of_a_kind_is_named_among_its_secrets():
    def sealed(model, path=()):
        for name, field in model.model_fields.items():
            yield from inside(field.annotation, (*path, name))

    def inside(annotation, path):
        if annotation is Sealed:
            yield path
        elif hasattr(annotation, "__metadata__"):
            yield from inside(annotation.__origin__, path)
        elif hasattr(annotation, "model_fields"):
            yield from sealed(annotation, path)
        elif getattr(annotation, "__origin__", None) in (list, tuple):
            yield from inside(annotation.__args__[0], (*path, "*"))
        else:
            for argument in getattr(annotation, "__args__", ()):
                yield from inside(argument, path)

    for kind in KINDS.values():
        assert set(sealed(kind.model)) == set(kind.secrets), kind.name


URL = "https://ops.example/hooks/T0/sEcReT"


def alarms(webhook, read_reference=None, door=DOOR):
    data = {"version": 1, "alarms": {"webhook": webhook}}
    (found,) = document.from_data(data, "", KINDS, read_reference, door).objects
    return found


def exported(found):
    return document.written([(found.key, found.value)], KINDS)["alarms"]["webhook"]


def test_a_url_stands_there_for_everybody_or_is_secret_as_a_whole(tmp_path):
    (tmp_path / "hook").write_text(f"{URL}\n")
    reading = reader(tmp_path, {"HOOK": URL})

    assert exported(alarms(URL)) == URL
    for given_ in ({"file": "hook"}, {"env": "HOOK"}, {"secret": URL}):
        found = alarms(given_, reading)
        assert exported(found) == {"kept": SEAL.digest(URL.encode())}
        assert found.value.webhook.reveal(SEAL).reveal() == URL
        assert "sEcReT" not in json.dumps(document.plain(found.value))
        assert found.value != alarms(URL).value


def test_a_secret_url_is_kept_and_sent_as_one(tmp_path):
    before = alarms({"secret": URL})
    stored_ = {before.key: Stored(before.key, before.value, "api", 1)}
    ((kept,), problems) = secrets.filled([alarms(exported(before))], stored_, KINDS)
    ((plain,), _) = secrets.filled([alarms(URL)], stored_, KINDS)
    sent = document.sendable({"alarms": {"webhook": {"env": "HOOK"}}}, KINDS, reader(tmp_path, {"HOOK": URL}))

    assert problems == []
    assert kept.value == before.value
    assert plain.value.webhook == URL
    assert sent == {"alarms": {"webhook": {"secret": URL}}}
    assert document.sendable({"alarms": {"webhook": URL}}, KINDS, lambda *_: "") == {
        "alarms": {"webhook": URL}
    }


def test_another_key_seals_a_secret_url_again_and_leaves_an_open_one():
    old = Seal(b"o" * 32)
    key, digesting = b"n" * 32, old.digest(b"x").encode()
    both = Seal(key)
    both.hold(key, (b"o" * 32,), digesting)
    kind = KINDS["alarms"]
    sealed = document.plain(alarms({"secret": URL}, door=secrets.sealing(old)).value)

    assert Sealed.model_validate(secrets.again(sealed, kind, both)["webhook"]).reveal(both).reveal() == URL
    assert secrets.again({"webhook": "https://me:pw@h/"}, kind, both) == {"webhook": "https://me:pw@h/"}


@pytest.mark.parametrize(
    ("webhook", "sentence"),
    [
        ("https://me:s3cret@ops.example/hook", "keep the whole URL secret, as {env: NAME}"),
        ("https://ops.example/hook?token=s3cret", "keep the whole URL secret, as {env: NAME}"),
        ({"secret": "s3cret"}, "is no URL"),
        ({"secret": {"env": "s3cret"}}, "not read over the API"),
        ({"env": "HOOK"}, "not read over the API"),
        ({"kept": "x"}, "takes the digest that an export shows"),
        ("ops.example", "write a URL as"),
        (5, "write a text here"),
    ],
)
def test_a_url_that_tells_a_secret_is_refused_without_telling_it(webhook, sentence):
    with pytest.raises(Invalid) as caught:
        alarms(webhook)

    (problem,) = caught.value.problems
    assert problem.field == "alarms.webhook"
    assert sentence in problem.message
    assert "s3cret" not in problem.message


def test_the_directory_of_an_authority_holds_no_password():
    with pytest.raises(Invalid) as caught:
        read("x", directory="https://me:s3cret@ca.example/directory")

    assert [str(problem) for problem in caught.value.problems] == [
        "issuers[0].acme.directory: whoever may read this sees the secret in this URL;"
        " leave it out: secrets have fields of their own"
    ]


def test_what_a_provider_is_told_beside_its_credentials_holds_no_password():
    settings = {"*": "x", "pdns_server": "https://me:s3cret@pdns.example", "pdns_server_id": "localhost"}
    data = {"acme": {"dns": {"provider": {"name": "powerdns", "settings": settings}}}}
    _, problems = secrets.take(data, ISSUERS, None, DOOR)
    shown = secrets.hidden(data, ISSUERS)["acme"]["dns"]["provider"]["settings"]

    assert [problem.field for problem in problems] == ["acme.dns.provider.settings.pdns_server"]
    assert shown == {**settings, "pdns_server": "https://****@pdns.example"}


def test_what_was_stored_before_there_were_rules_shows_no_password():
    kind, key = KINDS["alarms"], Key("alarms", "default", "alarms")
    value = kind.model.model_validate({"webhook": "https://me:s3cret@ops.example/hook"})
    change = secrets.hidden_change(Change("delete", key, document.plain(value), None), KINDS)

    assert exported(Declared(key, value)) == "https://****@ops.example/hook"
    assert document.shown(value, kind) == change.before == {"webhook": "https://****@ops.example/hook"}
