"""Wrong words of a command are told in one line that names the option and what it takes."""

from __future__ import annotations

import sys

import pytest

from edgeward.cli.__main__ import main


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            "vpn peer-config x --for swanctl",
            "--for: 'swanctl' is not known here; write strongswan, libreswan or sheet; see edgeward vpn peer-config",
        ),
        ("get -o jsn x", "--output: 'jsn' is not known here; did you mean json? write table, json or yaml; see edgeward get"),
        ("vpn log x --last many", "--last: write a whole number; see edgeward vpn log"),
        ("vpn log x --last 0", "--last: give at least 1; see edgeward vpn log"),
        ("vpn log", "missing argument 'name'; see edgeward vpn log"),
        ("vpn migrate x", "missing option '--driver': write strongswan or libreswan; see edgeward vpn migrate"),
        ("vpn logg", "no such command 'logg'. Did you mean 'log'? see edgeward vpn"),
        ("vpn log x --lats", "no such option: --lats (Possible options: --last); see edgeward vpn log"),
    ],
)  # fmt: skip
def test_it_is_one_line_and_exit_code_2(monkeypatch, capsys, words, said):
    monkeypatch.setattr(sys, "argv", ["edgeward", *words.split()])
    with pytest.raises(SystemExit) as ended:
        main()

    assert ended.value.code == 2
    err = capsys.readouterr().err
    assert err == f"edgeward: {said} --help\n"


def test_help_and_version_are_no_mistakes(monkeypatch, capsys):
    for words, code in (("--version", 0), ("vpn --help", 0), ("vpn", 2)):
        monkeypatch.setattr(sys, "argv", ["edgeward", *words.split()])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        assert ended.value.code == code and said.out and not said.err
