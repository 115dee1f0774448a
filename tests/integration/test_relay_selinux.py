"""The relay's SELinux module compiles against the reference policy, and lets little by default."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

MODULE = Path(__file__).parents[2] / "deploy/selinux"
MAKEFILE = "/usr/share/selinux/devel/Makefile"


def _compiled(directory: Path, change: Callable[[str], str] = str) -> subprocess.CompletedProcess[str]:
    directory.mkdir(exist_ok=True)
    for path in MODULE.glob("edgeward-relay.*"):
        shutil.copy(path, directory)
    policy = directory / "edgeward-relay.te"
    policy.write_text(change(policy.read_text()))
    argv = ["make", "-s", "-f", MAKEFILE, "edgeward-relay.pp"]
    return subprocess.run(argv, cwd=directory, capture_output=True, text=True, timeout=300)


def test_the_module_compiles_and_a_broken_one_does_not(needs: Callable[[str], str], tmp_path: Path) -> None:
    needs("checkmodule")
    made = _compiled(tmp_path / "whole")
    assert made.returncode == 0, made.stdout + made.stderr
    assert (tmp_path / "whole/edgeward-relay.pp").stat().st_size > 1000

    broken = _compiled(tmp_path / "broken", lambda text: text.replace("type edgeward_relay_port_t;", ""))
    assert broken.returncode != 0


def test_a_relay_connects_and_listens_anywhere_only_where_somebody_said_so() -> None:
    text = (MODULE / "edgeward-relay.te").read_text()
    tunables = dict(re.findall(r"gen_tunable\((\w+), (\w+)\)", text))
    assert tunables == {"edgeward_relay_connect_any": "false", "edgeward_relay_bind_any": "false"}
    unconditional = re.sub(r"tunable_policy\(.*?^'\)", "", text, flags=re.DOTALL | re.MULTILINE)
    for anywhere in ("all_ports", "domain:unix_stream_socket", "file_type:sock_file", "unreserved"):
        assert anywhere not in unconditional
