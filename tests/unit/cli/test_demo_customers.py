"""The customers of the example go away without complaint, also from what has gone before them."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess

import pytest

from edgeward.cli.demo import customers

pytestmark = pytest.mark.skipif(shutil.which("ip") is None, reason="needs ip")


def test_a_link_that_went_with_its_other_end_is_no_trouble(capfd):
    customers._unlink(f"ew{secrets.token_hex(4)}")

    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_link_that_is_there_goes():
    link = f"ew{secrets.token_hex(4)}"
    made = subprocess.run(["ip", "link", "add", link, "type", "bridge"], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("no links can be made here")
    customers._unlink(link)

    assert not customers._is_there(link)
