"""What Envoy tells of services in trouble, read."""

from __future__ import annotations

from edgeward.node.envoy.troubled import Troubled, left_out, over_limits, some_left_out


def host(address: object, out: bool = True) -> dict[str, object]:
    return {"address": address, "health_status": {"failed_outlier_check": out} if out else {}}


def at(where: str, port: int = 80) -> dict[str, object]:
    return {"socket_address": {"address": where, "port_value": port}}


def test_backends_that_envoy_leaves_out_are_named_by_service() -> None:
    shop = {"name": "default/shop", "host_statuses": [host(at("10.0.0.2")), host(at("10.0.0.1"), out=False)]}
    app = {"name": "p/app", "host_statuses": [host({"pipe": {"path": "/run/app"}}), host(at("::1", 8080))]}
    well = {"name": "default/well", "host_statuses": [host(at("10.0.0.1"), out=False)]}

    found = left_out({"cluster_statuses": [shop, app, well, {"name": "empty"}]})

    assert found == {"default/shop": ("10.0.0.2:80",), "p/app": ("/run/app", "[::1]:8080")}
    assert left_out({}) == {}


def test_a_sentence_names_three_of_many() -> None:
    said = Troubled({"default/shop": ("a:1", "b:1", "c:1", "d:1", "e:1")}).sentences()

    assert said == {
        "services/default/shop": "a:1, b:1, c:1 and 2 more failed visitors' requests and is left out for a while"
    }


def test_figures_are_read_from_envoys_names() -> None:
    stats = {
        "cluster.default/shop.v1.upstream_rq_pending_overflow": 4,
        "cluster.default/shop.v1.upstream_rq_retry_overflow": 0,
        "cluster.p/app.outlier_detection.ejections_active": 1,
    }

    assert over_limits(stats) == {("default/shop.v1", "requests"): 4}
    assert some_left_out(stats) and not some_left_out({"cluster.x.outlier_detection.ejections_active": 0})
