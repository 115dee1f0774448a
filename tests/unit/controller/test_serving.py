"""Addresses that cannot be listened on are told of: whoever listens already goes on."""

from __future__ import annotations

import resource

import pytest

from edgeward.controller.serving import listening
from edgeward.errors import Invalid
from edgeward.gateway.model import Address


def test_a_host_that_gives_no_socket_is_told_of_like_an_address_that_is_taken():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))  # as a kernel without IPv6 does for "[::1]:2443"
    try:
        with pytest.raises(Invalid, match=r"listen\.api: cannot listen on \[::1\]:2443: Too many open files"):
            listening(Address.parse("[::1]:2443"))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
