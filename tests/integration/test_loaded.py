"""What programs load is what their start needs: each heavy library here was once a good part of one."""

import json
import os
import signal
import socket
import subprocess
import sys

from tests.ports import free_port

FOR_LATER = {
    "acme": "accounts that are bound to one at the authority's own site",
    "aioquic": "nothing of ours; it comes with queries by dnspython",
    "alembic": "databases of an earlier version",
    "dns": "orders at other authorities",
    "edgeward.certificates.acme.fulfiller": "orders at other authorities",
    "httpx": "domains with an `ask` URL, webhooks, OpenResty's gateways",
    "lexicon": "proofs in DNS",
    "psycopg": "PostgreSQL",
    "redis": "the tier between nodes and controllers",
    "requests": "nothing of ours; it comes with acme and dns-lexicon",
    "rich": "terminals",
    "sqlalchemy.dialects.postgresql": "PostgreSQL",
    "vici": "nodes",
}
"""What a controller on SQLite has no use for when it starts, and what each is for."""

TELLING = """
import atexit, json, sys
atexit.register(lambda: print(json.dumps(sorted(sys.modules))))
from edgeward.controller.__main__ import main
sys.exit(main())
"""

HELP = """
import json, sys
sys.argv = ["edgeward", "--help"]
from edgeward.cli.__main__ import main
try:
    main()
finally:
    print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


def test_help_loads_what_it_shows_and_not_what_commands_work_with():
    asked = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, timeout=100)
    loaded = set(json.loads(asked.stderr.splitlines()[-1]))
    assert "validate" in asked.stdout
    heavy = ("cryptography", "edgeward.gateway.model", "edgeward.kinds", "httpx", "pydantic", "yaml")
    assert [name for name in heavy if name in loaded] == []


def test_a_controller_on_sqlite_loads_nothing_for_its_start_that_only_others_need(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(str(tmp_path / "notify"))
        told.settimeout(100)
        controller = subprocess.Popen(
            [
                sys.executable,
                "-c",
                TELLING,
                "--state-dir",
                str(tmp_path / "state"),
                "--api",
                f"127.0.0.1:{free_port()}",
            ],
            env={**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")},
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            while "READY=1" not in told.recv(4096).decode():
                pass
            controller.send_signal(signal.SIGTERM)
            loaded = set(json.loads(controller.communicate(timeout=100)[0]))
        finally:
            controller.kill()
            controller.wait()
    assert "edgeward.api.app" in loaded
    assert {name: what for name, what in FOR_LATER.items() if name in loaded} == {}


VALIDATE = """
import json, sys
sys.argv = ["edgeward", "validate", "-f", "-"]
from edgeward.cli.__main__ import main
try:
    main()
finally:
    print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


def test_a_command_that_prints_a_line_loads_nothing_for_tables():
    asked = subprocess.run(
        [sys.executable, "-c", VALIDATE], input="version: 1\n", capture_output=True, text=True, timeout=100
    )
    loaded = set(json.loads(asked.stderr.splitlines()[-1]))
    assert "is valid" in asked.stdout
    assert [name for name in ("httpx", "rich", "sqlalchemy") if name in loaded] == []
