"""Many frames nobody wrote by hand: each is refused, or becomes an argv of the table, word for word."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import pytest

from edgeward.rootd.frames import MOST_BYTES, FrameReader, Malformed, request
from edgeward.rootd.table.actions import Action, Peer, read
from edgeward.rootd.table.placeholders import Wrong
from edgeward.rootd.table.reading import Denied, Table

FILES = [
    {"name": "plain", "argv": ["/usr/bin/true"]},
    {"name": "enum", "argv": ["/usr/bin/echo", "--", "{x}"], "values": {"x": {"enum": ["nginx", "haproxy"]}}},
    {"name": "port", "argv": ["/usr/bin/echo", "{x}"], "values": {"x": {"integer": [1, 65535]}}},
    {"name": "text", "argv": ["/usr/bin/echo", "{x}"], "values": {"x": {"pattern": "[ -~]+"}}},
    {"name": "host", "argv": ["/usr/bin/echo", "--to={x}"], "values": {"x": {"domain": True}}},
    {
        "name": "ip",
        "argv": ["/usr/bin/echo", "{x}"],
        "values": {"x": {"ip": True}},
        "ask": {"roles": ["admin"]},
    },
]
ACTIONS = {file["name"]: read(file) for file in FILES}
WORDS = {
    "plain": re.compile(r"/usr/bin/true"),
    "enum": re.compile(r"/usr/bin/echo\0--\0(nginx|haproxy)"),
    "port": re.compile(r"/usr/bin/echo\0[1-9][0-9]{0,4}"),
    "text": re.compile(r"/usr/bin/echo\0(?!-)[ -~]{1,255}"),
    "host": re.compile(r"/usr/bin/echo\0--to=[a-z0-9][a-z0-9.-]{0,252}"),
    "ip": re.compile(r"/usr/bin/echo\0[0-9a-f.:]{2,45}"),
}
SEEDS = [
    b'{"action": "plain", "values": {}}',
    b'{"action": "enum", "values": {"x": "nginx"}}',
    b'{"action": "port", "values": {"x": 443}}',
    b'{"action": "text", "values": {"x": "branch office"}}',
    b'{"action": "host", "values": {"x": "shop.example"}}',
    b'{"action": "ip", "values": {"x": "2001:db8::1"}, "asker": {"role": "admin", "token": "t", "address": "::1"}}',
    b'{"action": "list"}',
]
TOKENS = [b'"', b"\\", b"{", b"}", b"[", b",", b":", b"\0", b"\n", b"-", b"--x=", b"$(id)", b"`", b";", b"../", b"\\u0000", b"\\ud800",
          b"\xff", b"1e9", b"NaN", b"-1", b"null", b"true", b'"action"', b'"values"', b'"x"', b"fe80::1%\\n", b"%s", b"{x}"]  # fmt: skip
PEERS = [Peer(0, 0, frozenset(), 1), Peer(500, 500, frozenset(), 1), Peer(33, 33, frozenset(), 1)]


def mutated(rng: random.Random) -> bytes:
    data = rng.choice(SEEDS)
    for _ in range(rng.randrange(4)):
        at = rng.randrange(len(data) + 1)
        cut = rng.choice((0, 0, 1, 4))
        piece = rng.choice(TOKENS) if rng.random() < 0.7 else bytes((rng.randrange(256),))
        data = data[:at] + piece + data[at + cut :]
    return data


def run(actions: dict[str, Action], count: int, seed: int) -> dict[str, int]:
    """Give how many frames came to what; fails at the first that becomes anything but words of the table."""
    table = Table(Path("/nowhere"), actions, frozenset({500}))
    rng, came = random.Random(seed), {"malformed": 0, "refused": 0, "run": 0}
    for index in range(count):
        data = mutated(rng)
        length = len(data) if index % 16 else rng.choice((0, 1, len(data) + 5, MOST_BYTES + 1, 2**32 - 1))
        peer = PEERS[index % 3]
        try:
            for frame in FrameReader().feed(length.to_bytes(4, "big") + data):
                action, argv = table.decided(request(frame), peer)
                assert WORDS[action.name].fullmatch("\0".join(argv)), (data, argv)
                assert peer.uid != 33, (data, "a user of no action")
                came["run"] += 1
        except Malformed:
            came["malformed"] += 1
        except (Denied, Wrong):
            came["refused"] += 1
    return came


@pytest.mark.timeout(300)
def test_two_hundred_thousand_frames_run_nothing_outside_the_table():
    came = run(ACTIONS, 200_000, seed=1)

    assert min(came.values()) > 10_000  # all ways are taken


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_ten_million_frames_run_nothing_outside_the_table():
    for seed in range(2, 12):
        run(ACTIONS, 1_000_000, seed)


@pytest.mark.parametrize(
    ("name", "weak"),
    [
        ("text", lambda value: str(value)),  # no type at all
        ("host", lambda value: str(value).lower()),
        ("port", lambda value: str(value).strip()),
    ],
)
def test_the_fuzzer_finds_a_type_that_lets_anything_through(name, weak):
    action = ACTIONS[name]
    broken = Action(action.name, "", action.argv, {"x": weak}, {}, action.allowed)

    with pytest.raises(AssertionError):
        run({**ACTIONS, name: broken}, 100_000, seed=1)


def test_the_frames_are_such_that_some_get_through():
    assert json.loads(SEEDS[0]) == {"action": "plain", "values": {}}
    assert sum(bool(ACTIONS[file["name"]]) for file in FILES) == len(WORDS)
