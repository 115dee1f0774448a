"""The configuration reference says what the models say."""

from __future__ import annotations

import runpy
from pathlib import Path

GENERATOR = Path(__file__).parents[2] / "docs" / "generate_reference.py"


def test_the_reference_is_up_to_date_and_explains_every_field() -> None:
    module = runpy.run_path(str(GENERATOR))

    written = module["TARGET"].read_text()
    assert written == module["reference"](), "run `make reference`"
    assert "|  |\n" not in written
