"""Backends as Envoy's endpoints."""

from __future__ import annotations

from edgeward.gateway.envoy import endpoints
from edgeward.gateway.model import Service
from edgeward.xds import messages as m


def test_a_backend_is_called_by_its_host_as_a_host_header_has_it() -> None:
    urls = ("http://[fd00::1]:8080", "http://10.0.0.1:8080", "http://db.internal:80", "unix:/run/app.sock")
    found = endpoints(Service(name="s", backends=urls), {"db.internal": ["10.0.0.2"]})
    (group,) = m.ClusterLoadAssignment.FromString(found.body).endpoints

    hosts = [one.endpoint.hostname for one in group.lb_endpoints]
    assert hosts == ["[fd00::1]", "10.0.0.1", "db.internal", "localhost"]
    assert [one.endpoint.health_check_config.hostname for one in group.lb_endpoints] == hosts
