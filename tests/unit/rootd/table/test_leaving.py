"""What ip lists of the kernel's keys and policies, as values."""

from __future__ import annotations

from edgeward.rootd.table.leaving import policies, states

STATES = """\
src 198.51.1.2 dst 198.51.2.2
\tproto esp spi 0xc2527e15 reqid 1 mode tunnel
\treplay-window 0 flag af-unspec
\taead rfc4106(gcm(aes)) <<Keys hidden>> 128
\tanti-replay context: seq 0x0, oseq 0x39, bitmap 0x00000000
src 2001:db8:2::2 dst 2001:db8:1::2
\tproto ah spi 0xc03ff194 reqid 16389 mode tunnel
\treplay-window 32 flag af-unspec
src 127.0.0.1 dst 127.0.0.1
\tproto esp spi 0x00001234 reqid 0 mode tunnel
src 198.51.1.2 dst 198.51.2.2
\tproto esp spi 0x00000000 reqid 1 mode tunnel
"""
POLICIES = """\
src 10.1.0.0/24 dst 10.2.0.0/24 uid 0
\tdir out action allow index 17 priority 375423 ptype main share any flag  (0x00000000)
\tlifetime config:
\t  limit: soft (INF)(bytes), hard (INF)(bytes)
\ttmpl src 198.51.1.2 dst 198.51.2.2
\t\tproto esp spi 0xc2527e15(3260186133) reqid 1(0x00000001) mode tunnel
src 10.2.0.0/24 dst 10.1.0.0/24 uid 0
\tdir fwd action allow index 26 priority 375423 ptype main share any flag  (0x00000000)
\ttmpl src 198.51.2.2 dst 198.51.1.2
\t\tproto esp spi 0x00000000(0) reqid 16389(0x00004005) mode tunnel
src ::/0 dst ::/0 uid 0
\tsocket out action allow index 20 priority 0 ptype main share any flag  (0x00000000)
"""


def test_keys_that_a_daemon_made_are_found_and_no_others() -> None:
    assert states(STATES) == [
        ("198.51.1.2", "198.51.2.2", "esp", "0xc2527e15", "1"),
        ("2001:db8:2::2", "2001:db8:1::2", "ah", "0xc03ff194", "16389"),
    ]


def test_policies_are_known_by_direction_and_index() -> None:
    assert policies(POLICIES) == [("out", "17", "1"), ("fwd", "26", "16389")]
