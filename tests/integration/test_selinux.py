"""The SELinux modules compile against the reference policy, and let little by default."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

MODULES = Path(__file__).parents[2] / "deploy/selinux"
MAKEFILE = "/usr/share/selinux/devel/Makefile"
ANYWHERE = {
    "edgeward": {"edgeward_connect_any", "edgeward_bind_any", "edgeward_controller_connect_any"},
    "edgeward-relay": {"edgeward_relay_connect_any", "edgeward_relay_bind_any"},
}
a_type_of = {"edgeward": "type edgeward_port_t;", "edgeward-relay": "type edgeward_relay_port_t;"}

every_module = pytest.mark.parametrize("module", ANYWHERE)


@pytest.fixture(autouse=True)
def tools(needs: Callable[[str], str]) -> None:
    needs("checkmodule")


def compiled(
    module: str, directory: Path, change: Callable[[str], str] = str
) -> subprocess.CompletedProcess[str]:
    directory.mkdir(exist_ok=True)
    for path in MODULES.glob("edgeward*"):
        shutil.copy(path, directory)
    policy = directory / f"{module}.te"
    policy.write_text(change(policy.read_text()))
    argv = ["make", "-s", "-f", MAKEFILE, f"{module}.pp"]
    return subprocess.run(argv, cwd=directory, capture_output=True, text=True, timeout=300)


@every_module
def test_a_module_compiles_and_a_broken_one_does_not(module: str, tmp_path: Path) -> None:
    made = compiled(module, tmp_path / "whole")
    assert made.returncode == 0, made.stdout + made.stderr
    assert "warning" not in (made.stdout + made.stderr).lower()
    assert (tmp_path / "whole" / f"{module}.pp").stat().st_size > 1000

    broken = compiled(module, tmp_path / "broken", lambda text: text.replace(a_type_of[module], ""))
    assert broken.returncode != 0


@every_module
def test_it_goes_anywhere_only_where_somebody_said_so(module: str) -> None:
    text = policy(module)
    tunables = dict(re.findall(r"gen_tunable\((\w+), (\w+)\)", text))
    assert tunables == dict.fromkeys(ANYWHERE[module], "false")
    unconditional = re.sub(r"tunable_policy\(.*?^'\)", "", text, flags=re.DOTALL | re.MULTILINE)
    for anywhere in (
        "all_ports",
        "domain:unix_stream_socket",
        "file_type:sock_file",
        "unreserved",
        "unconfined",
    ):
        assert anywhere not in unconditional


def test_the_three_are_apart() -> None:
    text = re.sub(r"^#.*$", "", policy("edgeward"), flags=re.MULTILINE)
    rights = dict(re.findall(r"allow (edgeward_\w+_t) self:capability (\{[^}]*\}|\w+);", text))
    assert "edgeward_controller_t" not in rights
    assert rights["edgeward_node_t"] == "net_bind_service"
    keys = [line for line in text.splitlines() if "edgeward_node_t" in line and "edgeward_var_lib_t" in line]
    assert all(line.startswith(("list_dirs_pattern", "filetrans_pattern")) for line in keys), (
        "a node reads nothing of the controller's store"
    )
    assert not re.search(r"edgeward_rootd_t, edgeward_(node_)?var_lib_t", text)


def policy(module: str) -> str:
    return (MODULES / f"{module}.te").read_text()
