"""What pluto wrote of a tunnel is read out of its log."""

from __future__ import annotations

import time

import pytest

from edgeward.errors import Unavailable
from edgeward.vpn.drivers.libreswan import lines

ONE, OTHER, PEER = (
    "00000001-0000-4000-8000-000000000001",
    "00000002-0000-4000-8000-000000000001",
    "203.0.113.9",
)
LOG = f'''\
Nov 22 10:00:01.500000: loading secrets from "/run/x/ipsec.secrets"
Nov 22 10:00:02.000000: "{ONE}.0a1b2c3d": added IKEv2 connection
Nov 22 10:00:02.100000: "{ONE}.0a1b2c3d" #1: initiating IKEv2 connection to {PEER}
Nov 22 10:00:02.200000: "{OTHER}.0a1b2c3d" #2: initiating IKEv2 connection to 192.0.2.1
Nov 22 10:00:02.300000: "{ONE}.0a1b2c3d"[1] {PEER} #3: authentication failed
Nov 22 10:00:02.400000: packet from {PEER}:500: initial Main Mode message received but no connection
Nov 22 10:00:02.500000: packet from 192.0.2.66:500: of a stranger
Nov 22 10:00:02.600000: | of the debugger
a torn line "{ONE}.0a1b2c3d"
'''


def test_the_lines_of_one_are_given_with_their_moments():
    now = time.mktime((2026, 11, 22, 12, 0, 0, 0, 0, -1))
    found = list(lines.read(LOG, ONE, PEER, now))

    assert [text for _, text in found] == [
        "added IKEv2 connection",
        f"#1: initiating IKEv2 connection to {PEER}",
        "#3: authentication failed",
        f"packet from {PEER}:500: initial Main Mode message received but no connection",
    ]
    assert found[1][0] == pytest.approx(time.mktime((2026, 11, 22, 10, 0, 2, 0, 0, -1)) + 0.1)


def test_december_is_of_the_year_before_in_january():
    now = time.mktime((2027, 1, 1, 0, 5, 0, 0, 0, -1))
    ((at, _),) = lines.read(f'Dec 31 23:59:59.0: "{ONE}.0a1b2c3d": late', ONE, PEER, now)

    assert at == time.mktime((2026, 12, 31, 23, 59, 59, 0, 0, -1))


def test_the_newest_come_out_of_a_long_log_and_a_missing_one_is_said(tmp_path):
    log = tmp_path / "pluto.log"
    log.write_text("x" * 3_000_000 + "\n" + LOG)

    assert [text for _, text in lines.newest(log, ONE, "", 1)] == ["#3: authentication failed"]
    with pytest.raises(Unavailable, match="cannot be read"):
        lines.newest(tmp_path / "none", ONE, "", 1)
