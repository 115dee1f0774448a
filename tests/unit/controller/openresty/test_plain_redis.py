"""What may be told of Redis' errors: never the command that failed, which may hold a private key."""

from __future__ import annotations

import pytest
from redis.exceptions import OutOfMemoryError, ResponseError

from edgeward.controller.openresty.plain_redis import _reason

KEY = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OutOfMemoryError(f"Command # 2 (SET p:1 {KEY}) of pipeline caused error: used memory > 'maxmemory'."),
         "used memory > 'maxmemory'."),
        (ResponseError(f"Command # 2 (SET p:1 {KEY[:30]}"), "ResponseError"),
        (ResponseError(f"unknown: {KEY}"), "ResponseError"),
        (ConnectionError(), "ConnectionError"),
        (OSError("Connection refused"), "Connection refused"),
    ],
)  # fmt: skip
def test_the_reason_is_told_without_the_command(error, told):
    assert _reason(error) == told
