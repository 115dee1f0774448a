"""OpenStack's own command and SDK, unchanged, over HTTPS with our tokens and on loopback with none."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.controller_setup import Controller
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / ".tools" / "openstack-client" / "bin"
SITE = ROOT / "tests" / "foreign" / "site.py"


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controller]:
    with _started(tmp_path_factory.mktemp("openstack")) as controller:
        yield controller


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Controller]:
    with _started(tmp_path) as controller:
        yield controller


@contextmanager
def _started(place: Path) -> Iterator[Controller]:
    if not (CLIENT / "openstack").exists():
        missing = "OpenStack's client is not there: .ci/set-up foreign python3"
        pytest.fail(missing) if os.environ.get("CI") == "true" else pytest.skip(missing)
    controller = Controller(place / "state")
    controller.declare(f"version: 1\nlisten: {{openstack: '127.0.0.1:{free_port()}'}}\n")
    with controller.start():
        yield controller


def loopback(here: Controller) -> str:
    return f"http://{here.file.read_text().split(chr(39))[1]}"


def token(here: Controller) -> str:
    return (here.state_dir / "admin.token").read_text().strip()


def client(*argv: object, fails: bool = False) -> str:
    """Give what a program of OpenStack's environment says, which must end well."""
    with tempfile.TemporaryDirectory() as home:  # it writes there, and as root it makes what is not
        done = subprocess.run(
            [str(CLIENT / str(argv[0])), *map(str, argv[1:])],
            env={"PATH": os.environ["PATH"], "HOME": home},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert (done.returncode != 0) is fails, done.stdout + done.stderr
    return done.stdout + (done.stderr if fails else "")


def project_of(here: Controller, name: str, role: str = "admin") -> str:
    """Give a token of a project of its own, so that no test sees what another one made."""
    with here.client() as api:
        answer = api.post("/v1/tokens", json={"name": name, "role": role, "project": name})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["token"])


def test_the_sdk_sets_a_site_up_over_https(here):
    root = here.state_dir / "ca" / "root.pem"
    auth = (f"endpoint={here.url}", f"token={token(here)}", f"verify={root}")

    said = json.loads(client("python", SITE, "admin_token", *auth))

    assert said == {
        "service": "203.0.113.2",
        "status": "PENDING_CREATE",
        "found": True,
        "psk": "hush",
        "renamed": "over there",
        "paged": ["ike"],
        "gone": True,
        "refused": said["refused"],
        "pending": said["pending"],
        "ports": ["network:router_gateway", "network:router_interface"],
    }
    assert "is still in use" in said["refused"]
    assert "Invalid state PENDING_CREATE of vpnaas resource" in said["pending"]


def test_the_command_logs_in_with_a_token_as_password(here):
    secret = project_of(here, "basic")
    options = ("--os-auth-type", "http_basic", "--os-endpoint", here.url, "--os-username", "anybody")
    options += ("--os-password", secret, "--os-cacert", here.state_dir / "ca" / "root.pem")

    made = client("openstack", *options, "vpn", "ike", "policy", "create", "ike", "-f", "json")

    assert json.loads(made)["Project"] == "basic"


def test_the_command_needs_no_token_on_loopback(here):
    options = ("--os-auth-type", "none", "--os-endpoint", loopback(here))

    listed = client("openstack", *options, "vpn", "service", "list", "-f", "json")

    assert json.loads(listed) == []


def test_a_wrong_token_is_told_so(here):
    options = ("--os-auth-type", "admin_token", "--os-endpoint", here.url, "--os-token", "wrong")
    options += ("--os-cacert", here.state_dir / "ca" / "root.pem")

    said = client("openstack", *options, "vpn", "service", "list", fails=True)

    assert "401" in said or "requires authentication" in said


COMMANDS = """
extension list --network
network create --external world
network create inner
subnet create --network world --subnet-range 198.51.100.0/24 out
subnet create --network inner --subnet-range 10.1.0.0/24 in
router create gw
router set --external-gateway world gw
router add subnet gw in
vpn ike policy create ike --ike-version v2 --encryption-algorithm aes-256 --lifetime units=seconds,value=7200
vpn ike policy set ike --auth-algorithm sha256
vpn ipsec policy create ipsec --encryption-algorithm aes-256 --pfs group14
vpn service create svc --router gw --description text
vpn endpoint group create here --type subnet --value in
vpn endpoint group create there --type cidr --value 10.2.0.0/24 --value 10.3.0.0/24
vpn ipsec site connection create con --vpnservice svc --ikepolicy ike --ipsecpolicy ipsec \
--local-endpoint-group here --peer-endpoint-group there --peer-address 198.51.100.9 --peer-id peer --psk secret \
--mtu 1400 --dpd action=restart,interval=5,timeout=20 --initiator response-only
vpn ike policy list --long
vpn ipsec policy show ipsec
vpn service show svc
vpn endpoint group list --long
vpn ipsec site connection list --long
vpn ipsec site connection show con
port list --router gw
router show gw
vpn service create old --router gw --subnet in
vpn ipsec site connection create legacy --vpnservice old --ikepolicy ike --ipsecpolicy ipsec \
--peer-cidr 10.9.0.0/24 --peer-address 198.51.100.10 --peer-id other --psk secret
vpn endpoint group set there --name over-there
vpn ipsec site connection delete con legacy
vpn service delete svc old
vpn endpoint group delete here over-there
vpn ipsec policy delete ipsec
vpn ike policy delete ike
router unset --external-gateway gw
router remove subnet gw in
router delete gw
network delete inner world
"""


@pytest.mark.slow
def test_every_command_of_the_client_works(empty):
    options = ("--os-auth-type", "none", "--os-endpoint", loopback(empty))
    lines = COMMANDS.replace("\\\n", "").strip().splitlines()

    said = {line: client("openstack", *options, *line.split()) for line in lines}

    shown = said["vpn ipsec site connection show con"]
    assert "198.51.100.9" in shown
    assert "response-only" in shown
    assert "1400" in shown
    assert "PENDING_CREATE" in said["vpn service show svc"]
    assert "7200" in said["vpn ike policy list --long"]
