"""How often one client may fail to log in: a bucket an address, bounded in number."""

from __future__ import annotations

import ipaddress
import math
from collections import OrderedDict
from dataclasses import dataclass


@dataclass
class _Bucket:
    failures: float
    at: float


class FailureLimit:
    """Counts failures by client address (IPv6: by /64, which one visitor has whole).

    ``burst`` failures are free, then one every ``seconds``. At most ``clients`` addresses are
    remembered; the one that failed longest ago is forgotten first.
    """

    def __init__(self, burst: int = 10, seconds: float = 6.0, clients: int = 10_000) -> None:
        self._burst = burst
        self._seconds = seconds
        self._most = clients
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def wait(self, client: str, now: float) -> int:
        """Give how many whole seconds this client has to wait before its next try; 0: none."""
        bucket = self._buckets.get(network_of(client))
        if bucket is None:
            return 0
        over = self._left(bucket, now) - self._burst + 1
        return math.ceil(over * self._seconds) if over > 0 else 0

    def failed(self, client: str, now: float) -> None:
        network = network_of(client)
        bucket = self._buckets.pop(network, None) or _Bucket(0.0, now)
        self._buckets[network] = _Bucket(min(self._left(bucket, now) + 1, self._burst + 1.0), now)
        while len(self._buckets) > self._most:
            self._buckets.popitem(last=False)

    def _left(self, bucket: _Bucket, now: float) -> float:
        bucket.at = min(bucket.at, now)  # else who failed before a clock was put back would wait for it
        return max(0.0, bucket.failures - (now - bucket.at) / self._seconds)


def network_of(client: str) -> str:
    """Give what one visitor has whole: an IPv4 address, or a /64 of IPv6."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return client[:64]
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.IPv6Network((int(address), 64), strict=False).network_address)
    return str(address)
