"""The clients in examples/actions/clients, with the programs they are for, and strongSwan's own reload."""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

import edgeward
from edgeward import actions
from tests.integration.processes import running, until
from tests.integration.rootd_rig import IS_ROOT, Rootd

EXAMPLES = Path(edgeward.__file__).parents[2] / "examples" / "actions"
MODULES = Path("/usr/lib/nginx/modules")


@pytest.mark.skipif(not IS_ROOT, reason="only root has an unprivileged worker")
def test_an_unprivileged_worker_of_nginx_has_ipsec_reloaded(state_dir, needs, free_port):
    nginx = needs("nginx")
    if not (MODULES / "ngx_http_lua_module.so").exists():
        pytest.skip("nginx has no Lua module; see apt-packages.txt")
    rootd, port = Rootd(state_dir), free_port()
    rootd.action("ipsec-reload", ["/usr/bin/echo", "reloaded"], 'coalesce = true\nask.users = ["www-data"]')
    (state_dir / "rootd.lua").write_text((EXAMPLES / "clients" / "rootd.lua").read_text())
    (state_dir / "rootd.lua").chmod(0o644)
    text = (EXAMPLES / "clients" / "nginx.conf").read_text()
    for name, value in {"LUA": state_dir, "PORT": port, "SOCKET": rootd.socket}.items():
        text = text.replace(f"${{{name}}}", str(value))
    modules = "".join(f"load_module {MODULES}/{m}_module.so;\n" for m in ("ndk_http", "ngx_http_lua"))
    head = f"{modules}user www-data;\nworker_processes 1;\nevents {{}}\n"
    paths = "".join(
        f"{what}_temp_path {state_dir}/t;\n" for what in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    text = head + text.replace("http {", f"http {{\naccess_log off;\n{paths}")
    (state_dir / "nginx.conf").write_text(text)
    argv = [nginx, "-p", state_dir, "-c", state_dir / "nginx.conf", "-e", state_dir / "e", "-g",
            f"daemon off; pid {state_dir}/pid;"]  # fmt: skip
    with rootd.serving(), running(argv, output=state_dir / "nginx.out"):
        url = f"http://127.0.0.1:{port}/reload"
        said: list[bytes] = []

        def asked() -> bool:
            try:
                said.append(urllib.request.urlopen(url, timeout=30).read())
            except OSError:
                return False
            return True

        until(asked, what="nginx")
        line = rootd.written()[-1]

    assert json.loads(said[-1])["output"] == "reloaded\n"
    assert line["uid"] not in (0, os.getuid())
    assert (line["action"], line["outcome"], line["exit"]) == ("ipsec-reload", "done", 0)


def test_a_shell_client_is_ten_lines(state_dir, needs):
    needs("socat")
    rootd, client = Rootd(state_dir), EXAMPLES / "clients" / "rootd.sh"
    rootd.action("echo", ["/usr/bin/echo", "{text}"], 'values.text = {pattern = ".*"}')
    text = "x" * 200
    with rootd.serving():
        argv = [client, "echo", json.dumps({"text": text})]
        env = {**os.environ, "ROOTD_SOCKET": rootd.socket}
        said = json.loads(subprocess.run(argv, env=env, capture_output=True, timeout=30, check=True).stdout)

    assert said["output"] == text + "\n"
    for path in (client, client.with_suffix(".lua")):
        lines = [x for x in path.read_text().splitlines() if x and not x.startswith(("#", "--"))]
        assert len(lines) <= 12


@pytest.mark.skipif(not IS_ROOT, reason="strongSwan's daemons run as root")
def test_strongswans_own_reload_takes_a_new_connection_in_at_once(state_dir, needs):
    needs("ipsec")
    rootd, conf = Rootd(state_dir), state_dir / "ipsec.conf"
    text = (EXAMPLES / "ipsec-reload.toml").read_text()
    (rootd.actions / "ipsec-reload.toml").write_text(text)
    (rootd.actions / "ipsec-reload.toml").chmod(0o644)
    rootd.action("ipsec-status", ["/usr/sbin/ipsec", "statusall"])
    connection = "conn {}\n  left=127.0.0.1\n  right=127.0.0.2\n  auto=add\n  authby=secret\n"
    conf.write_text(connection.format("before"))
    prepare = (
        "set -e; ip link set lo up; mount -t tmpfs tmpfs /run; touch /etc/ipsec.conf;"
        f' mount --bind {conf} /etc/ipsec.conf; /usr/lib/ipsec/starter --daemon charon; exec "$@"'
    )
    with rootd.serving(before=["unshare", "--mount", "--net", "/bin/sh", "-c", prepare, "sh"]):
        try:
            until(lambda: "before" in rootd.ask("ipsec-status")["output"], 20, "charon has its connection")
            conf.write_text(connection.format("before") + connection.format("after"))
            said = rootd.ask("ipsec-reload")
            assert (said["outcome"], said["exit"]) == ("done", 0)
            assert "Reloading strongSwan IPsec configuration" in said["output"]
            until(lambda: "after" in rootd.ask("ipsec-status")["output"], 10, "the new connection is there")
        finally:
            rootd.action("ipsec-stop", ["/usr/sbin/ipsec", "stop"], "timeout = 10")
            actions.run("ipsec-stop", path=rootd.socket)
            time.sleep(0.2)
