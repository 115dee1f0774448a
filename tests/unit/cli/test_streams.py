"""The command where standard streams are closed, full or cut off, and where bytes are no text."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest

from edgeward.cli import __main__ as program
from edgeward.cli import server
from edgeward.cli.client import Client
from edgeward.errors import Invalid
from edgeward.secret import Secret
from tests.pairs import make
from tests.patience import PATIENCE

DECLARED = "version: 1\ndomains: [{name: a.example}]\n"


def run(words: str, redirected: str, **environment: str) -> tuple[int, str, str]:
    """Run the command from a shell; gives its exit code and what it said."""
    line = f"{sys.executable} -m edgeward.cli {words} {redirected}"
    done = subprocess.run(
        ["/bin/sh", "-c", line],
        capture_output=True,
        text=True,
        timeout=60 * PATIENCE,
        env={**os.environ, **environment},
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.yaml"
    path.write_text(DECLARED)
    return path


def test_closed_streams_are_as_if_they_led_nowhere(file):
    assert run(f"validate -f {file}", "<&- >&- 2>&-") == (0, "", "")
    assert run(f"validate -f {file}/none", "2>&-") == (2, "", "")
    code, _, err = run("validate -f -", "<&-")
    assert code == 2 and "standard input:1: the document is empty" in err


def test_a_full_disk_is_told_in_one_line(file):
    for words in (f"validate -f {file}", "ca root --how"):
        assert run(words, ">/dev/full") == (1, "", "edgeward: No space left on device\n")


def test_a_reader_that_reads_no_further_hears_no_more():
    code, out, err = run("ca root --how", "| head -c 5")
    assert (code, out, err) == (0, "Save ", "")


def test_a_file_that_may_not_be_looked_at_is_told_in_one_line(tmp_path):
    loop = tmp_path / "ca"
    loop.mkdir()
    (loop / "root.pem").symlink_to("x" * 300)  # the name is too long to be looked at

    code, _, err = run(f"ca root --state-dir {tmp_path}", "")
    assert code == 1 and err.startswith("edgeward: ") and err.count("\n") == 1 and "too long" in err


def test_what_an_encoding_has_no_letter_for_is_escaped():
    code, out, err = run("get --help", "", PYTHONIOENCODING="latin-1", COLUMNS="200")
    assert (code, err) == (0, "") and "\\u2026" in out


def test_a_host_that_no_resolver_takes_is_no_address_of_a_server():
    for host in ("a..b", f"{'a' * 70}.example"):
        with pytest.raises(Invalid, match="is not the address of a server"):
            server.canonical(host)
    assert server.canonical("a.example.") == "https://a.example.:2443"


def test_bytes_that_are_no_text_are_refused_and_nothing_around_them_is_told():
    client = Client(server.Server("https://127.0.0.1:1", Secret("ew_a_b"), make(["a.example"], ca=True).pem))
    with client:
        for ask in (
            lambda: client.get("/v1/domains", {"project": "hidden\udcff"}),
            lambda: client.post("/v1/tokens", {"name": "hidden\udcff"}),
            lambda: list(client.blocks("/v1/events", {"types": "hidden\udcff"}, None, 1.0)),
        ):
            with pytest.raises(Invalid) as refused:
                ask()
            assert str(refused.value) == "what was given has \\udcff in it, which is no text; write it anew"


def test_a_key_on_standard_input_that_is_no_text_is_not_a_crash(tmp_path):
    words = f"certificates upload a.example --cert /dev/null --key - --state-dir {tmp_path}"
    code, _, err = run(words, "</bin/true", PYTHONIOENCODING="utf-8")
    assert code == 1 and err.startswith("edgeward: ") and err.count("\n") == 1


def test_who_interrupts_it_while_it_begins_sees_nothing_of_its_insides(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["edgeward", "status"])
    monkeypatch.setattr(program, "build", Mock(side_effect=KeyboardInterrupt))
    with pytest.raises((SystemExit, KeyboardInterrupt)) as ended:
        program.main()

    assert ended.value.args == (130,)
    assert capsys.readouterr().err == ""
