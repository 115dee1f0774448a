"""`edgeward wait-for database`: what a controller's start is held back by."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from edgeward.database.__main__ import main
from tests.postgres import Postgres


def test_it_returns_once_the_server_answers(
    pulled_postgres: Postgres, capsys: pytest.CaptureFixture[str]
) -> None:
    pulled_postgres.stop()
    codes = []
    environment = {"EDGEWARD_DATABASE": pulled_postgres.url()}
    waiting = threading.Thread(
        target=lambda: codes.append(main(["wait", "--state-dir", "/none"], environment))
    )
    waiting.start()
    time.sleep(0.5)
    pulled_postgres.start()
    waiting.join(30)

    said = capsys.readouterr()
    assert codes == [0]
    assert "waiting for the database: " in said.err
    assert "the database answers after" in said.out


def test_it_gives_up_in_time_and_says_why(
    free_port: Callable[[], int], capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"postgresql://edgeward@127.0.0.1:{free_port()}/edgeward"

    code = main(["wait", "--state-dir", "/none", "--timeout", "0.5"], {"EDGEWARD_DATABASE": url})

    assert code == 1
    assert "the database does not answer within 0.5 s: " in capsys.readouterr().err


def test_sqlite_is_never_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["wait", "--state-dir", "/none"], {}) == 0
    assert "nothing to wait for" in capsys.readouterr().out


def test_a_wait_without_end_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["wait", "--timeout", "inf"], {"EDGEWARD_STATE_DIR": "/none"})
    assert "say seconds, from 0 to 86400" in capsys.readouterr().err
