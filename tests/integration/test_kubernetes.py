"""The manifests of deploy/kubernetes, as kustomize writes them out: valid, and as tight as they are said to be."""

from __future__ import annotations

import stat
import subprocess
import sysconfig
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from edgeward import kinds
from edgeward.declaration import document

DEPLOY = Path(__file__).parents[2] / "deploy" / "kubernetes"
KUBECTL = Path(sysconfig.get_path("scripts")) / "kubectl"
OVERLAYS = ("hostport", "service", "with-postgres")
USER = 10001
Object = dict[str, Any]

every_overlay = pytest.mark.parametrize("overlay", OVERLAYS)


@cache
def written(overlay: str) -> tuple[Object, ...]:
    done = subprocess.run(
        [KUBECTL, "kustomize", DEPLOY / "overlays" / overlay], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
    return tuple(yaml.safe_load_all(done.stdout))


def find(overlay: str, kind: str, name: str) -> Object:
    (found,) = [o for o in written(overlay) if o["kind"] == kind and o["metadata"]["name"] == name]
    return found


def pods(overlay: str) -> Iterator[Object]:
    for one in written(overlay):
        if "template" in one.get("spec", {}):
            yield one["spec"]["template"]["spec"]


def containers(overlay: str) -> dict[str, Object]:
    return {
        c["name"]: c for pod in pods(overlay) for c in (*pod.get("initContainers", ()), *pod["containers"])
    }


def environment(container: Object) -> dict[str, Any]:
    return {one["name"]: one.get("value", one.get("valueFrom")) for one in container["env"]}


@every_overlay
def test_each_object_is_valid_by_the_schema_of_kubernetes(overlay: str) -> None:
    for one in written(overlay):
        kubernetes_validate.validate(one, kubernetes_validate.latest_version(), strict=True)


@every_overlay
def test_no_pod_has_more_rights_than_it_needs(overlay: str) -> None:
    for pod in pods(overlay):
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False
        security = pod["securityContext"]
        assert security["runAsNonRoot"] is True
        assert security["runAsUser"] == security["runAsGroup"] == security["fsGroup"] == USER
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    for name, container in containers(overlay).items():
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False
        assert security["readOnlyRootFilesystem"] is True
        low_ports = overlay == "hostport" and name == "envoy"
        assert security["capabilities"] == {
            "drop": ["ALL"],
            **({"add": ["NET_BIND_SERVICE"]} if low_ports else {}),
        }
        assert "privileged" not in security and "runAsUser" not in security


@every_overlay
def test_every_container_is_bounded_and_writes_only_where_it_may(overlay: str) -> None:
    for container in containers(overlay).values():
        assert container["resources"]["limits"]["memory"]
        assert set(container["resources"]["requests"]) == {"cpu", "memory"}
        writable = {m["mountPath"] for m in container["volumeMounts"] if not m.get("readOnly")}
        assert writable == {"/state", "/tmp"}


def test_hostport_listens_on_the_hosts_own_low_ports() -> None:
    daemons = find("hostport", "DaemonSet", "edgeward-node")["spec"]
    pod = daemons["template"]["spec"]
    (envoy,) = [c for c in pod["containers"] if c["name"] == "envoy"]

    assert pod["hostNetwork"] is True
    assert pod["dnsPolicy"] == "ClusterFirstWithHostNet"
    assert {p["name"]: (p["containerPort"], p["hostPort"]) for p in envoy["ports"]} == {
        "http": (80, 80),
        "https": (443, 443),
    }
    assert Path(envoy["command"][0]).name == "python-low-ports"
    assert "replicas" not in daemons
    declared = find("hostport", "ConfigMap", _config_map("hostport"))["data"]["edgeward.yaml"]
    listen = yaml.safe_load(declared)["listen"]
    assert (listen["http"], listen["https"]) == ("0.0.0.0:80", "0.0.0.0:443")


@pytest.mark.parametrize("overlay", ["service", "with-postgres"])
def test_behind_a_service_high_ports_do(overlay: str) -> None:
    service = find(overlay, "Service", "edgeward")["spec"]
    envoy = containers(overlay)["envoy"]

    ports = {p["name"]: p["containerPort"] for p in envoy["ports"]}
    led = {p["port"]: ports[p["targetPort"]] for p in service["ports"]}
    assert led == {80: 8080, 443: 8443, 8443: 8443}, "plain HTTP is redirected to where the edge listens"
    assert "command" not in envoy, "the plain interpreter, which has no capability"
    pod = find(overlay, "Deployment", "edgeward-node")["spec"]["template"]["spec"]
    assert "hostNetwork" not in pod


@every_overlay
def test_what_selects_pods_finds_some(overlay: str) -> None:
    labels = [
        o["spec"]["template"]["metadata"]["labels"]
        for o in written(overlay)
        if "template" in o.get("spec", {})
    ]
    for one in written(overlay):
        spec = one.get("spec", {})
        selector = spec.get("podSelector") or spec.get("selector")
        if selector is None:
            continue
        wanted = selector.get("matchLabels", selector)
        assert any(wanted.items() <= found.items() for found in labels), (
            one["kind"],
            one["metadata"]["name"],
        )


@every_overlay
def test_the_controller_is_watched_at_endpoints_it_has(overlay: str) -> None:
    controller = containers(overlay)["controller"]
    (port,) = controller["ports"]

    for probe, path in (
        ("startupProbe", "/healthz"),
        ("livenessProbe", "/healthz"),
        ("readinessProbe", "/readyz"),
    ):
        assert controller[probe]["httpGet"] == {"path": path, "port": port["name"], "scheme": "HTTPS"}
    start = controller["startupProbe"]
    assert start["periodSeconds"] * start["failureThreshold"] >= 300
    assert containers(overlay)["wait-for-database"]["args"][:2] == ["wait-for", "database"]


@every_overlay
def test_one_pod_at_most_goes_at_a_time(overlay: str) -> None:
    budgets = [o for o in written(overlay) if o["kind"] == "PodDisruptionBudget"]
    assert {b["spec"]["maxUnavailable"] for b in budgets} == {1}
    covered = {b["spec"]["selector"]["matchLabels"]["app.kubernetes.io/component"] for b in budgets}
    assert covered == {"controller"} | ({"node"} if overlay != "hostport" else set())


@every_overlay
def test_strangers_do_not_reach_the_controller(overlay: str) -> None:
    policy = find(overlay, "NetworkPolicy", "edgeward-controller")["spec"]
    (rule,) = policy["ingress"]

    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    assert rule["ports"] == [{"port": "api", "protocol": "TCP"}]
    assert any("ipBlock" in peer for peer in rule["from"]) == (overlay == "hostport")


def test_two_controllers_share_a_database_and_the_key_it_is_sealed_with() -> None:
    spec = find("with-postgres", "StatefulSet", "edgeward-controller")["spec"]
    assert spec["replicas"] == 2
    for name in ("controller", "wait-for-database"):
        assert (
            environment(containers("with-postgres")[name])["EDGEWARD_DATABASE_FILE"]
            == "/run/secrets/edgeward/url"
        )
    assert "EDGEWARD_SEAL_KEY_FILE" in environment(containers("with-postgres")["controller"])
    assert find("service", "StatefulSet", "edgeward-controller")["spec"]["replicas"] == 1


@every_overlay
def test_secrets_are_files_that_only_the_programs_read(overlay: str) -> None:
    for container in containers(overlay).values():
        for name, value in environment(container).items():
            assert isinstance(value, str) or "fieldRef" in value, f"{name} is in the environment"
    for pod in pods(overlay):
        for volume in pod["volumes"]:
            if "secret" in volume:
                assert volume["secret"]["defaultMode"] & (stat.S_IRWXO | stat.S_IWGRP) == 0


@every_overlay
def test_what_is_declared_is_valid(overlay: str) -> None:
    text = find(overlay, "ConfigMap", _config_map(overlay))["data"]["edgeward.yaml"]
    assert document.parse(text.encode(), "edgeward.yaml", kinds.KINDS).objects


def _config_map(overlay: str) -> str:
    (found,) = [o["metadata"]["name"] for o in written(overlay) if o["kind"] == "ConfigMap"]
    assert isinstance(found, str)
    return found
