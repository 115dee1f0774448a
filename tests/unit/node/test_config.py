from __future__ import annotations

from pathlib import Path

import pytest

from edgeward.errors import Invalid
from edgeward.node.config import read


def test_options_go_before_the_environment() -> None:
    config = read(["--state-dir", "/a"], {"EDGEWARD_STATE_DIR": "/b", "EDGEWARD_LOG_LEVEL": "debug"})

    assert (config.state_dir, config.log_level) == (Path("/a"), "debug")
    assert read([], {"EDGEWARD_STATE_DIR": "/b"}).identity_file == Path("/b/node/identity.json")


def test_how_much_is_said_is_one_of_four_words_whatever_their_case() -> None:
    def level(text: str) -> str:
        return read(["--state-dir", "/a"], {"EDGEWARD_LOG_LEVEL": text}).log_level

    assert (level("WARNING"), level("")) == ("warning", "info")
    with pytest.raises(Invalid, match="EDGEWARD_LOG_LEVEL is one of debug, info, warning and error"):
        level("loud")


def test_joining_needs_to_know_whom_and_how_to_know_them() -> None:
    with pytest.raises(Invalid, match="--controller"):
        read(["--state-dir", "/a", "--join", "ew_x_y"], {})

    options = ["--controller", "https://c:2443", "--join", "ew_x_y", "--ca-sha256", "ab", "--name", "e"]
    joining = read(["--state-dir", "/a", *options], {}).joining
    assert joining is not None
    assert (joining.controllers, joining.name, joining.token.reveal()) == (("https://c:2443",), "e", "ew_x_y")
    assert "ew_x_y" not in repr(joining)


def test_the_url_of_a_controller_holds_no_password_and_the_sentence_on_it_tells_none() -> None:
    with pytest.raises(Invalid, match=r"https://HOST:PORT") as caught:
        read(["--state-dir", "/a", "--controller", "https://me:s3cret@c:2443"], {})

    assert "s3cret" not in str(caught.value)


def test_dns_servers_are_addresses_with_ports() -> None:
    assert read(
        [], {"EDGEWARD_STATE_DIR": "/a", "EDGEWARD_DNS_SERVERS": "127.0.0.1:53, [::1]:5353 [0::2]:53"}
    ).dns_servers == (
        "127.0.0.1:53",
        "[::1]:5353",
        "[::2]:53",
    )
    with pytest.raises(Invalid, match="EDGEWARD_DNS_SERVERS: write an address as IP:PORT"):
        read([], {"EDGEWARD_STATE_DIR": "/a", "EDGEWARD_DNS_SERVERS": "ns.example"})


def test_a_state_directory_must_be_named() -> None:
    with pytest.raises(Invalid, match="--state-dir"):
        read([], {})
