"""How long tests wait: a limit is written as it holds on a machine that does nothing else."""

from __future__ import annotations

from typing import Final

PATIENCE: Final = 4.0
"""So many times a limit is waited for: beside other tests, and on others' machines, everything takes longer."""
