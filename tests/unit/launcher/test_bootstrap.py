from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from edgeward.launcher.bootstrap import Bounds, bootstrap
from edgeward.launcher.config import packaged_envoy

_BOUNDS = Bounds(connections=5000, heap_bytes=1 << 30)


def made() -> dict[str, Any]:
    return bootstrap("edge-1", Path("/run/edgeward/node"), _BOUNDS)


def test_envoy_takes_it(tmp_path: Path) -> None:
    path = tmp_path / "bootstrap.json"
    path.write_text(json.dumps(made()))
    checked = subprocess.run(
        [str(packaged_envoy()), "--mode", "validate", "-c", path], capture_output=True, timeout=60, text=True
    )

    assert checked.returncode == 0, checked.stderr[-2000:]
    assert "deprecated" not in checked.stderr.lower()


def test_only_our_own_sockets_are_listened_on_and_spoken_to() -> None:
    text = json.dumps(made())

    assert "socket_address" not in text
    assert made()["admin"]["address"] == {"pipe": {"path": "/run/edgeward/node/admin.sock", "mode": 0o600}}
    assert "/run/edgeward/node/xds.sock" in text


def test_it_counts_as_ready_only_once_it_was_told_what_to_serve() -> None:
    discovery = made()["dynamic_resources"]

    assert discovery["cds_config"]["initial_fetch_timeout"] == "0s"
    assert discovery["lds_config"]["initial_fetch_timeout"] == "0s"
    assert discovery["ads_config"]["api_type"] == "DELTA_GRPC"


def test_visitors_are_bounded_and_the_admin_interface_still_answers() -> None:
    monitors = {m["name"]: m["typed_config"] for m in made()["overload_manager"]["resource_monitors"]}

    connections = monitors["envoy.resource_monitors.global_downstream_max_connections"]
    assert connections["max_active_downstream_connections"] == 5000
    assert monitors["envoy.resource_monitors.fixed_heap"]["max_heap_size_bytes"] == 1 << 30
    assert made()["admin"]["ignore_global_conn_limit"]


def test_certificates_get_no_figures_of_their_own() -> None:
    patterns = made()["stats_config"]["stats_matcher"]["exclusion_list"]["patterns"]

    assert {"prefix": "sds."} in patterns
    assert {"contains": ".ssl.certificate."} in patterns
