"""What a relay makes of its command line."""

from __future__ import annotations

import resource

from edgeward.relay import config


def test_who_says_how_many_connections_gets_the_descriptors_for_them() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = min(soft, 256)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (few, hard))
        given = config.read(["--to", "127.0.0.1:9", "--connections-max", "5000"])

        assert given.connections_max == 5000
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
