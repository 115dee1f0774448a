"""`edgeward rootd`, as a module or as a file: python -I -S sees the standard library and this, no more."""

from __future__ import annotations

import sys
from pathlib import Path

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
# asyncio and hashlib do without OpenSSL: 10 MB less, and less that runs as root
sys.modules.update({"ssl": None, "_hashlib": None})  # type: ignore[dict-item]

from edgeward.rootd.program import main  # noqa: E402 - after the lines above

if __name__ == "__main__":
    sys.exit(main())
