"""Certificates of people's own on a running edge: uploaded, revoked, withheld, imported, written out as PEM."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from tests.integration.acme import pebble
from tests.integration.controller_setup import Controller
from tests.integration.foreign import caddy_storage, certbot_directory
from tests.integration.processes import running, until
from tests.integration.test_commands import SHOP, Edge, edge  # noqa: F401 - a fixture
from tests.pairs import SERVER, Made, authority, key_pem, make
from tests.ports import free_port

CA = authority("Some CA")


def own(*names: str, **how) -> Made:
    return make(names, CA, extensions=[SERVER], **how)


def files(directory: Path, made: Made) -> tuple[Path, Path]:
    cert, key = directory / "cert.pem", directory / "key.pem"
    cert.write_text(CA.pem + made.pem)
    key.write_text(made.key_pem)
    return cert, key


def shown(edge: Edge, name: str) -> str | None:  # noqa: F811
    """Visit, and give the certificate shown as PEM, whoever signed it; None where there is none."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection(("127.0.0.1", edge.https), 10) as tcp,
            context.wrap_socket(tcp, server_hostname=name) as tls,
        ):
            return ssl.DER_cert_to_PEM_cert(tls.getpeercert(binary_form=True) or b"")
    except (ssl.SSLError, ConnectionError):
        return None


def number(pem: str | None) -> int | None:
    return None if pem is None else x509.load_pem_x509_certificate(pem.encode()).serial_number


def serves(edge: Edge, name: str, made: Made | str | None) -> None:  # noqa: F811
    wanted = number(made.pem if isinstance(made, Made) else made)
    until(lambda: number(shown(edge, name)) == wanted, what=f"the certificate of {name}")


@contextmanager
def declared(edge: Edge, tmp_path: Path, **sections) -> Iterator[None]:  # noqa: F811
    """Declare some more for the length of a test."""
    file = edge.file(f"{tmp_path.name}.yaml", **sections)
    assert edge.run("apply", "-f", file, "--wait").code == 0
    yield
    edge.file(file.name, **{name: [] for name in sections})
    assert edge.run("apply", "-f", file).code == 0


def test_an_own_certificate_is_served_and_its_successor_and_what_is_wrong_is_said(edge, tmp_path):  # noqa: F811
    with declared(edge, tmp_path, domains=[{"name": "own.example", "also": ["www.own.example"]}]):
        names = ("own.example", "www.own.example")
        first, second = own(*names, days=9), own(*names)
        cert, key = files(tmp_path, first)
        done = edge.run("certificates", "upload", "own.example", "--cert", cert, "--key", key)
        assert done.code == 0 and "own.example, www.own.example" in done.out
        assert "it ends in 9 days" in done.err
        for name in names:
            serves(edge, name, first)
        listed = edge.run("get", "certificates", "--expiring", "14d").out
        assert "www.own.example" in listed and "by you" in listed

        cert, key = files(tmp_path, second)
        done = edge.run(
            "certificates", "upload", "own.example", "--cert", cert, "--key", "-", stdin=key.read_text()
        )
        assert done.code == 0, done.err
        for name in names:
            serves(edge, name, second)

        locked = key_pem(second.key, b"secret")
        told = edge.run("certificates", "upload", "own.example", "--cert", cert, "--key", key.read_text())
        assert told.code == 2 and "--key: give a file" in told.err
        assert "PRIVATE" not in told.err + told.out

        done = edge.run("certificates", "upload", "own.example", "--cert", cert, "--key", "-", stdin=locked)
        assert done.code == 2 and "key: it is encrypted with a passphrase" in done.err


def test_a_revoked_certificate_is_replaced_before_the_eyes_of_visitors(edge):  # noqa: F811
    before = shown(edge, SHOP)
    done = edge.run("certificates", "revoke", SHOP, "--reason", "keyCompromise", "--replace")
    assert done.code == 0, done.err
    until(lambda: number(shown(edge, SHOP)) not in (None, number(before)), what="another certificate")
    assert "revoked" in edge.run("certificates", "history", SHOP).out


def test_a_deactivated_name_is_not_served_until_it_is_activated(edge):  # noqa: F811
    serves(edge, "dora.customers.example", edge.certificate("dora.customers.example"))
    assert edge.run("certificates", "deactivate", "*.customers.example", "--reason", "a dispute").code == 0
    serves(edge, "dora.customers.example", None)
    explained = edge.run("explain", "dora.customers.example").out
    assert "deactivated" in explained and "activate *.customers.example" in explained
    edge.run("certificates", "expire", "dora.customers.example")
    assert shown(edge, "dora.customers.example") is None, "no tier brings it back"
    assert "deactivated" in edge.run("get", "certificates", "dora.customers.example*").out
    assert edge.run("certificates", "activate", "*.customers.example").code == 0
    until(lambda: shown(edge, "dora.customers.example"), what="the name served again")


def imported(edge: Edge, program: str, directory: Path, *more: str) -> str:  # noqa: F811
    before = snapshot(directory)
    done = edge.run("import", program, directory, *more)
    assert done.code == 0, done.err
    assert snapshot(directory) == before, "nothing in it is changed"
    return done.out


def snapshot(directory: Path) -> dict[str, tuple[float, bytes]]:
    return {
        str(p): (p.lstat().st_mtime, p.read_bytes() if p.is_file() else b"") for p in directory.rglob("*")
    }


def test_what_certbot_keeps_is_taken_over_with_its_account_and_a_second_time_nothing_is(edge, tmp_path):  # noqa: F811
    pair = own("old.example", "www.old.example")
    directory = certbot_directory(tmp_path / "letsencrypt", {"old.example": (pair, CA)})
    printed = imported(edge, "certbot", directory)
    assert "directory: https://acme-v02.api.letsencrypt.org/directory" in printed
    assert "- www.old.example" in printed

    out = imported(edge, "certbot", directory, "--apply")
    assert [line[0] for line in out.splitlines()] == ["+", "+", "+", "+"], out
    for name in ("old.example", "www.old.example"):
        serves(edge, name, pair)
    found = edge.run("get", "certificates", "old.example", "-o", "json").data()
    assert found["source"] == "imported" and found["issuer"] == "letsencrypt"
    again = imported(edge, "certbot", directory, "--apply")
    assert [line[0] for line in again.splitlines()] == ["=", "="], again
    assert edge.run("delete", "domains", "old.example").code == 0
    assert edge.run("delete", "issuers", "letsencrypt").code == 0


def test_what_caddy_keeps_is_taken_over_as_the_real_one_wrote_it(edge, tmp_path, needs):  # noqa: F811
    names = ["one.example", "two.example"]
    storage, ca_file = caddy_storage(tmp_path, needs, names, inner="inner.example")
    out = imported(edge, "caddy", storage, "--apply", "--ca-file", str(ca_file))
    assert "+ account https://" in out and "+ domains/inner.example" in out
    for name in names:
        path = next(storage.rglob(f"{name}.crt"))
        serves(edge, name, path.read_text())
    until(lambda: shown(edge, "inner.example"), what="a certificate of our own authority")
    assert all(line[0] == "=" for line in imported(edge, "caddy", storage, "--apply").splitlines())


@pytest.mark.slow
def test_what_kong_has_is_declared_and_its_certificates_are_uploaded(edge, tmp_path):  # noqa: F811
    pair = own("kong.example")
    file = tmp_path / "kong.yaml"
    service = {"name": "k", "url": "http://b.example", "routes": [{"name": "k", "hosts": ["kong.example"]}]}
    certificate = {"cert": CA.pem + pair.pem, "key": pair.key_pem, "snis": [{"name": "kong.example"}]}
    kong = {"_format_version": "3.0", "services": [service], "certificates": [certificate]}
    file.write_text(json.dumps(kong))
    for sign in "+=":
        done = edge.run("import", "kong", file, "--apply")
        assert done.code == 0 and [line[0] for line in done.out.splitlines()] == [sign] * 4, done
    serves(edge, "kong.example", pair)


def test_pem_files_follow_the_certificates_and_the_hook_runs_once_for_each_batch(edge, tmp_path):  # noqa: F811
    target, log = tmp_path / "pem", tmp_path / "log"
    hook = tmp_path / "hook"
    hook.write_text(f"#!/bin/sh\necho ran >> {log}\n")
    hook.chmod(0o700)
    done = edge.run("export", "--pem", target, "--after", str(hook))
    assert done.code == 0 and log.read_text() == "ran\n", done.err

    environment = {"EDGEWARD_STATE_DIR": str(edge.state)}
    argv = [
        sys.executable,
        "-P",
        "-m",
        "edgeward.cli",
        "export",
        "--pem",
        target,
        "--after",
        hook,
        "--follow",
    ]
    before = (target / SHOP / "privkey.pem").read_text()
    with running(argv, env=environment) as process:
        until(lambda: "0 of them new" in process.output(), what="the first round")
        assert edge.run("certificates", "revoke", SHOP, "--replace").code == 0
        until(lambda: log.read_text() == "ran\nran\n", what="the hook, and not for what had not changed")
        assert (target / SHOP / "privkey.pem").read_text() != before
        fullchain = (target / SHOP / "fullchain.pem").read_text()
        assert number(fullchain) == number(shown(edge, SHOP))
    failing = edge.run("export", "--pem", tmp_path / "other", "--after", "false")
    assert failing.code == 1 and "run again" in failing.err
    assert (tmp_path / "other" / ".due").exists()


def test_an_authority_hears_of_a_revocation_and_all_names_get_the_certificate_it_issues_then(
    state_dir, needs
):
    names = ["a.example.com", "www.a.example.com"]
    with pebble(state_dir, needs, always_valid=True) as ca:
        env = {"EDGEWARD_DNS_SERVERS": ca.names.address}
        controller = Controller(state_dir / "state", env=env)
        acme = f'{{directory: "{ca.directory}", ca_file: "{ca.ca_file}"}}'
        controller.declare(
            f"version: 1\nissuers: [{{name: le, acme: {acme}}}]\n"
            f"domains: [{{name: {names[0]}, also: [{names[1]}], issuer: le}}]\n"
        )
        with controller.start(), controller.client() as client:

            def held() -> list[dict[str, Any]]:
                answers = [client.get(f"/v1/certificates/{name}") for name in names]
                return [answer.json() for answer in answers if answer.status_code == 200]

            until(lambda: len(held()) == 2, what="the certificate")
            first, copy = held()
            assert first["fingerprint"] == copy["fingerprint"] and copy["shares"] == names[0]
            body = {"reason": "keyCompromise", "replace": True}
            revoked = client.post(f"/v1/certificates/{names[1]}/revoke", json=body)
            assert revoked.status_code == 200, revoked.text
            assert ca.status(number(first["chain"]) or 0) == "Revoked"
            until(lambda: len(held()) == 2, what="another certificate")
            assert (
                {one["fingerprint"] for one in held()} == {held()[0]["fingerprint"]} != {first["fingerprint"]}
            )
            lines = client.get(f"/v1/certificates/{names[1]}/history").json()["items"]
            assert [line["outcome"] for line in lines] == ["issued", "revoked", "issued"]


@pytest.mark.slow
def test_what_the_real_certbot_wrote_is_taken_over(edge, tmp_path, needs):  # noqa: F811
    """Certbot comes into an environment of its own: its versions of libraries are not ours."""
    virtual = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", virtual], check=True)
    subprocess.run([virtual / "bin" / "pip", "install", "-q", "certbot"], check=True, timeout=300)
    directory = tmp_path / "letsencrypt"
    with pebble(tmp_path, needs, always_valid=True) as ca:
        argv = [virtual / "bin" / "certbot", "certonly", "--standalone", "--http-01-port", str(free_port())]
        argv += ["--server", ca.directory, "--config-dir", directory, "--work-dir", tmp_path / "w"]
        argv += ["--logs-dir", tmp_path / "l", "-n", "--agree-tos", "-m", "ops@real.example"]
        environment = {**os.environ, "REQUESTS_CA_BUNDLE": str(ca.ca_file)}
        subprocess.run(
            [*argv, "-d", "real.example", "-d", "www.real.example"], check=True, env=environment, timeout=120
        )
        out = imported(edge, "certbot", directory, "--apply", "--ca-file", str(ca.ca_file))
    assert [line[0] for line in out.splitlines()] == ["+"] * 4, out
    serves(edge, "www.real.example", (directory / "live" / "real.example" / "cert.pem").read_text())
