"""The commands about sites against a real controller: no node, so that nothing comes up."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from edgeward.cli.__main__ import main
from tests.integration.controller_setup import Controller

SITE = {
    "name": "office-berlin",
    "peer": "198.51.100.9",
    "local_networks": "10.1.0.0/24",
    "remote_networks": ["192.168.4.0/24"],
    "local_id": "@edge.example.com",
    "secret": {"file": "berlin.psk"},
}
CONF = """\
conn paris
    authby=secret
    left=%defaultroute
    leftid=@edge.example.com
    leftsubnet=10.1.0.0/24
    right=198.51.100.30
    rightsubnet=192.168.30.0/24
    ikev2=insist
    auto=start
conn warriors
    left=%defaultroute
    leftid=@edge.example.com
    right=%any
"""
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def controller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Run a controller, and give its state directory."""
    state_dir = tmp_path_factory.mktemp("state")
    with Controller(state_dir).start():
        yield state_dir


@pytest.fixture
def run(
    controller: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Give the command, called in this process, beside a controller that runs."""
    monkeypatch.setenv("EDGEWARD_STATE_DIR", str(controller))
    monkeypatch.chdir(tmp_path)

    def command(*words: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["edgeward", *map(str, words)])
        code: int | str | None = 0
        try:
            main()
        except SystemExit as ended:
            code = ended.code
        said = capsys.readouterr()
        return int(code or 0), said.out, said.err

    return command


def written(place: Path, *sites: dict[str, object]) -> Path:
    (place / "berlin.psk").write_text("nobody knows this\n")
    file = place / "vpn.yaml"
    file.write_text(yaml.safe_dump({"version": 1, "vpn": list(sites)}))
    return file


def test_a_site_is_declared_planned_and_printed_for_the_other_side(run: Run, tmp_path: Path) -> None:
    place = tmp_path
    file = written(place, SITE)
    assert run("vpn", "plan", "-f", file)[:2] == (
        3,
        "+ default/office-berlin: comes up\nbrings up 1, 0 others untouched\n",
    )
    assert run("apply", "-f", file)[0] == 0
    assert run("vpn", "plan", "-f", file)[:2] == (0, "no tunnel is touched\n")
    written(place, {**SITE, "remote_networks": ["192.168.5.0/24"]})
    code, out, _ = run("vpn", "plan", "-f", file)
    assert code == 3
    assert "default/office-berlin, waiting now: re-initiates 1 CHILD_SA" in out
    written(place, {**SITE, "remote_networks": ["10.1.0.0/16"]})
    code, _, err = run("vpn", "plan", "-f", file)
    assert code == 2
    assert "vpn.yaml:" in err
    assert "overlap" in err

    code, out, err = run("vpn", "log", "office-berlin")
    assert (code, out) == (0, "nothing was heard of it yet\n")
    assert err.startswith("without what its daemon wrote: it waits for a node")

    code, out, err = run("vpn", "peer-config", "office-berlin", "--for", "strongswan")
    assert code == 0
    assert "PUT-THE-PRE-SHARED-KEY-HERE" in out
    assert "put the pre-shared key in the place" in err
    with_key = ("--for", "libreswan", "--secret-file", place / "berlin.psk")
    code, out, err = run("vpn", "peer-config", "office-berlin", *with_key)
    assert (code, err) == (0, "")
    assert "@edge.example.com : PSK 0sbm9ib2R5IGtub3dzIHRoaXM=\n" in out
    for form in ("strongswan", "libreswan", "sheet"):
        code, out, err = run(
            "vpn", "peer-config", "office-berlin", "--for", form, "--secret-file", place / "no"
        )
        assert (code, out) == (2, "") and "no: No such file" in err and err.count("\n") == 1
    code, out, err = run("vpn", "peer-config", "office-berlin", "--secret-file", place / "berlin.psk")
    assert code == 0 and out and "give it to the other side apart" in err
    code, _, err = run("vpn", "peer-config", "nowhere")
    assert (code, err) == (1, "edgeward: no tunnel 'nowhere' is declared\n")


def test_openswans_files_are_taken_over(run: Run, tmp_path: Path) -> None:
    place = tmp_path / "etc"
    place.mkdir()
    (place / "ipsec.conf").write_text(CONF)
    (place / "ipsec.secrets").write_text('198.51.100.30 @edge.example.com : PSK "of paris"\n')
    code, out, err = run("vpn", "import", place / "ipsec.conf", "--secrets-into", place / "keys")
    assert code == 0
    assert "conn warriors was left out: right=%any" in err
    assert "of paris" not in out + err
    key = place / "keys" / "paris.psk"
    assert key.read_text() == "of paris"
    assert key.stat().st_mode & 0o777 == 0o600
    (place / "vpn.yaml").write_text(out)
    assert run("validate", "-f", place / "vpn.yaml")[0] == 0

    code, out, _ = run("vpn", "import", place / "ipsec.conf", "--apply")
    assert (code, out) == (0, "+ vpn/default/paris\n")
    code, out, _ = run("vpn", "plan", "-f", place / "vpn.yaml", "--take-over", "--keep")
    assert (code, out) == (0, "no tunnel is touched\n")


@pytest.mark.parametrize(
    "content", ["", "config setup\n\tuniqueids=no\nconn %default\n", "vpn:\n  - name: x\n", "\0\xff\n"]
)
def test_what_is_no_ipsec_conf_is_said_to_be_none(run: Run, tmp_path: Path, content: str) -> None:
    file = tmp_path / "other.conf"
    file.write_text(content)
    code, out, err = run("vpn", "import", file)
    assert (code, out) == (2, "")
    assert err.startswith(f"edgeward: {file}: there is no conn in it") and err.count("\n") == 1
