"""rootd's `apply-nft`: what a namespace's own table lets through, seen by packets."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.integration.processes import running, until
from tests.integration.rootd_rig import IS_ROOT, NOBODY, Rootd

pytestmark = pytest.mark.skipif(not IS_ROOT, reason="only root makes network namespaces")
NEAR, FAR = "10.91.0.2", "10.92.0.2"
LISTENS = """
import socket, sys
s = socket.socket(type=socket.SOCK_DGRAM)
s.bind((sys.argv[1], 5000))
print("up", flush=True)
while True:
    data, (host, _) = s.recvfrom(99)
    print(data.decode(), "from", host, flush=True)
"""
SENDS = """
import socket, sys
s = socket.socket(type=socket.SOCK_DGRAM)
s.sendto(sys.argv[2].encode(), (sys.argv[1], 5000))
"""


class Router:
    """A namespace of ours between two others: what is sent from the near to the far goes through it."""

    def __init__(self, rootd: Rootd, near: str, far: str) -> None:
        self.rootd, self._near, self.far = rootd, near, far
        record = Path(rootd.socket).parent / "namespaces" / "office"
        self.pid = record.read_text().split()[0]
        for index, (name, here, there) in enumerate(((near, "10.91.0.1", NEAR), (far, "10.92.0.1", FAR))):
            ip("-n", name, *f"link add way type veth peer name v{index}".split())
            ip("-n", name, "link", "set", f"v{index}", "netns", self.pid)
            ip("-n", name, "address", "add", f"{there}/24", "dev", "way")
            ip("-n", name, "link", "set", "way", "up")
            ip("-n", name, "route", "add", "default", "via", here)
            self.inside("ip", "address", "add", f"{here}/24", "dev", f"v{index}")
            self.inside("ip", "link", "set", f"v{index}", "up")
        self.inside("sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")

    def inside(self, *argv: str) -> str:
        words = ["nsenter", f"--net=/proc/{self.pid}/ns/net", *argv]
        return subprocess.run(words, capture_output=True, text=True, check=True, timeout=30).stdout

    def apply(self, rules: str) -> dict[str, Any]:
        return self.rootd.ask("apply-nft", namespace="office", rules=rules)

    def send(self, word: str) -> None:
        argv = ["ip", "netns", "exec", self._near, sys.executable, "-c", SENDS, FAR, word]
        subprocess.run(argv, check=True, timeout=30)


def ip(*argv: str) -> None:
    subprocess.run(["ip", *argv], check=True, timeout=30)


@pytest.fixture
def router(state_dir: Path, needs: Callable[[str], str]) -> Iterator[Router]:
    needs("nft")
    rootd = Rootd(state_dir)
    with ExitStack() as stack:
        stack.enter_context(rootd.serving("--user", str(NOBODY)))
        near, far = (f"ewt-{os.getpid()}-{end}" for end in ("near", "far"))
        for name in (near, far):
            ip("netns", "add", name)
            stack.callback(ip, "netns", "del", name)
        assert rootd.ask("create-namespace", namespace="office")["exit"] == 0
        stack.callback(rootd.ask, "remove-namespace", namespace="office")
        yield Router(rootd, near, far)


def test_packets_pass_or_not_and_keep_their_address_as_the_rules_say(router: Router) -> None:
    near, far = "10.91.0.0/24", "10.92.0.0/24"
    chain = "{ type nat hook postrouting priority srcnat; }"
    listens = ["ip", "netns", "exec", router.far, sys.executable, "-c", LISTENS, FAR]
    with running(listens) as far_end:
        until(lambda: "up" in far_end.output(), what="the far end")

        def comes(word: str, source: str) -> None:
            until(lambda: f"{word} from {source}\n" in far_end.output(), what=f"{word} from {source}")

        def applied(rules: str) -> None:
            assert router.apply(rules)["exit"] == 0

        router.send("plain")
        comes("plain", NEAR)
        applied(f"drop {near} {far}")
        router.send("dropped")
        applied(f"accept {near} {far}; drop 0.0.0.0/0 {far}")
        router.send("accepted")
        comes("accepted", NEAR)
        applied("")
        for words in ("table ip other", f"chain ip other c {chain}", "rule ip other c oifname v1 masquerade"):
            router.inside("nft", f"add {words}")
        router.send("translated")  # the control
        comes("translated", "10.92.0.1")
        applied(f"snat-exempt {near} {far}")
        router.send("exempt")
        comes("exempt", NEAR)
        assert "dropped" not in far_end.output()
        assert "masquerade" in router.inside("nft", "list", "ruleset")  # others' tables are theirs


def test_rules_are_replaced_as_one_and_stay_where_new_ones_are_refused(router: Router) -> None:
    for rules in ("accept fd00::/64 fd01::/64", "drop 10.0.0.0/8 10.1.0.0/16; drop fd00::/8 ::/0"):
        assert router.apply(rules)["exit"] == 0
    before = router.inside("nft", "list", "ruleset")
    assert before.count("drop") == 2
    assert "fd01::" not in before

    assert router.apply("drop 10.0.0.0/8 10.1.0.0/16; flush ruleset")["outcome"] == "invalid"
    assert router.inside("nft", "list", "ruleset") == before
    said = router.rootd.ask("apply-nft", namespace="none", rules="")
    assert (said["exit"], "create it first" in said["output"]) == (1, True)


def test_only_root_and_the_nodes_user_give_rules(router: Router) -> None:
    router.rootd.action("theirs", ["/usr/bin/true"], "ask = {users = [65533]}")
    code = "print(ask({'action': 'apply-nft', 'values': {'namespace': 'office', 'rules': ''}}, path=PATH))"

    until(lambda: "that you may ask for" in router.rootd.as_user(65533, code), what="it is refused")
    assert "0 rules are in force" in router.rootd.as_user(NOBODY, code)  # the control
