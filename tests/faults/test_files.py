"""Files of the state directory lost or spoiled: each is put right, or told in one sentence with the remedy."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from edgeward.declaration import feed
from tests.faults.ledger import DECLARED
from tests.integration.controller_setup import Controller
from tests.integration.node_rig import Rig, rig, within
from tests.integration.processes import until

NODE = ("--local-node", "n1")


@pytest.fixture
def here(state_dir):
    """A controller that has run, and ended."""
    controller = Controller(state_dir / "state")
    controller.state_dir.mkdir(mode=0o700)
    controller.declare(DECLARED)
    with controller.start(*NODE):
        pass
    return controller


@pytest.fixture
def edge(state_dir):
    with rig(state_dir) as made:
        yield made


def refusal(here: Controller) -> str:
    """Give the one sentence with which the controller does not start."""
    with here.start(*NODE, ready=False) as process:
        assert process.wait(30) == 2, process.output()
        (said,) = process.output().splitlines()
        return said


@pytest.mark.parametrize(
    "how",
    [
        pytest.param("replaced", marks=pytest.mark.slow),
        "removed",
        pytest.param("cut", marks=pytest.mark.slow),
    ],
)
def test_without_its_seal_key_the_controller_says_what_to_restore_and_spoils_nothing(here, how):
    key = here.state_dir / "seal.key"
    kept = key.read_bytes()
    if how == "removed":
        key.unlink()
    else:
        key.write_bytes(b"k" * 32 if how == "replaced" else kept[:10])

    said = refusal(here)
    assert "seal.key" in said
    assert "restore" in said
    assert "from your backup" in said
    if how == "removed":
        assert not key.exists(), "a new key would only hide that the old one is lost"

    key.write_bytes(kept)
    key.chmod(0o600)
    with here.start(*NODE), here.client() as client:
        assert client.get("/v1/status").status_code == 200


@pytest.mark.slow
def test_spoiled_files_that_can_be_made_again_are_made_again_at_the_start(here):
    state = here.state_dir
    identity = feed.Identity.model_validate_json((state / "node" / "identity.json").read_text())
    (state / "node" / "identity.json").write_text('{"name": "n1", "contr')
    root = (state / "ca" / "root.pem").read_text()
    (state / "ca" / "root.pem").unlink()
    (state / "api" / "key.pem").write_text("garbage")
    (state / "api" / "address").unlink()
    (state / "up.json").write_text('{"programs": [7, {"name"')

    with here.start(*NODE), here.client() as client:
        again = feed.Identity.model_validate_json((state / "node" / "identity.json").read_text())
        assert again.name == identity.name
        with here.client(token=again.token) as node:
            assert node.post("/v1/certificates/x.c.example/obtain").status_code == 200
        assert (state / "ca" / "root.pem").read_text() == root
        assert not client.get("/v1/status").raise_for_status().json()["programs"]


@pytest.mark.slow
def test_a_lost_admin_token_is_told_with_the_way_to_another_one(here):
    token = here.state_dir / "admin.token"
    token.unlink()
    with here.start(*NODE):
        argv = [sys.executable, "-m", "edgeward.cli", "status", "--state-dir", here.state_dir]
        found = subprocess.run(argv, capture_output=True, text=True, timeout=30, env=_without_edgeward())
    assert found.returncode != 0
    assert "Traceback" not in found.stderr
    assert (
        f"{token} is not here; set EDGEWARD_TOKEN to another token, or create that file empty" in found.stderr
    )

    token.touch()
    with here.start(*NODE), here.client() as client:
        assert client.get("/v1/tokens").status_code == 200
        assert token.stat().st_mode & 0o777 == 0o600


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"\xff\xfe{{{", b'["no", {"such": 1}]', b'{"programs": [7, {}]}'])
def test_a_spoiled_record_of_the_supervisor_does_not_keep_the_cli_from_answering(here, content):
    (here.state_dir / "up.json").write_bytes(content)
    with here.start(*NODE):
        argv = [sys.executable, "-m", "edgeward.cli", "status", "--state-dir", here.state_dir]
        found = subprocess.run(argv, capture_output=True, text=True, timeout=30, env=_without_edgeward())
    assert found.returncode == 0, found.stderr
    assert "Traceback" not in found.stderr


def _without_edgeward() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("EDGEWARD_")}


# --- the node's -----------------------------------------------------------------------------


def test_a_node_with_a_spoiled_identity_serves_what_it_knows_until_it_is_put_right(edge: Rig) -> None:
    edge.controller.declare("shop.example")
    issued = edge.controller.certify("shop.example")["shop.example"]["fingerprint"]
    edge.start()
    assert edge.node is not None
    edge.node.end()
    identity = edge.node_dir / "identity.json"
    whole = identity.read_text()
    identity.write_text(whole[: len(whole) // 2])

    edge.start_node()
    edge.wait_ready()
    assert edge.visit("shop.example") == issued
    told = [line for line in edge.log() if "identity" in json.dumps(line) and line["level"] != "info"]
    assert "join again" in told[-1]["problem"]

    identity.write_text(whole)
    edge.controller.declare("later.example")
    edge.controller.certify("later.example")
    within(12, lambda: edge.served("later.example"), "the feed")


@pytest.mark.slow
def test_a_node_that_never_joined_says_so_where_its_identity_is_spoiled(edge: Rig) -> None:
    (edge.node_dir / "identity.json").write_text("{")
    node = edge.start_node()
    assert node.wait(30) == 2
    (said,) = node.output().splitlines()
    assert "remove it and join again" in said


@pytest.mark.slow
def test_a_node_whose_seal_key_is_lost_begins_its_copy_anew(edge: Rig) -> None:
    edge.controller.declare("shop.example")
    issued = edge.controller.certify("shop.example")["shop.example"]["fingerprint"]
    edge.start()
    assert edge.node is not None
    edge.node.send(signal.SIGTERM)
    edge.node.wait()
    (edge.state_dir / "seal.key").unlink()

    edge.start_node()
    within(10, edge.ready, "everything anew")
    assert edge.visit("shop.example") == issued
    assert (edge.state_dir / "seal.key").stat().st_mode & 0o777 == 0o600
    told = [line for line in edge.log() if line["level"] == "error"]
    assert any("another key" in line.get("problem", "") for line in told), told


@pytest.mark.slow
@pytest.mark.timeout(150)
def test_what_is_spoiled_under_a_running_controller_is_put_right_within_a_minute(here):
    state = here.state_dir
    spoiled = [state / "node" / "identity.json", state / "ca" / "root.pem"]
    with here.start(*NODE):
        whole = [path.read_text() for path in spoiled]
        spoiled[0].write_text("{")
        spoiled[1].unlink()

        def right() -> bool:
            return all(p.exists() and len(p.read_text()) > 100 for p in spoiled)

        until(right, 90, "all files")
        assert spoiled[1].read_text() == whole[1]
